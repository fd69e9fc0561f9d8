"""--access with real brokers: each client does what it may, and says in its own words what it may not."""

import re
import sys

import pytest

from harness import cache, clients, process, tunnel

pytestmark = [pytest.mark.tunnel, pytest.mark.again]
CLIENTS = ["java", "confluent", "kafka-python", "franz-go", "kafkajs"]
# What clients call the errors. Producers that are idempotent, as most are by default, ask for an id before they ask for the topic, and
# without any right to produce they get what a broker gives: CLUSTER_AUTHORIZATION_FAILED.
DENIED = {"topic": r"topic.?authorization|not authorized to access topics", "group": r"group.?authorization|not authorized to access group",
          "any": r"(topic|cluster).?authorization|not authorized to access topics|InitProducerIdResponse"}
# And what some say of it: kafkajs does not tell why a group has no coordinator for it; kafka-python only logs that a topic which it has
# subscribed to is denied.
OWN = {("kafkajs", "group"): "failed to find group coordinator", ("kafka-python", "subscribed"): "no records"}


@pytest.fixture(scope="module")
def topics(cluster):
    return cluster.create_topic(1, 1), cluster.create_topic(1, 1)


@pytest.fixture(scope="module")
def server(request, cluster, session_processes, pki, topics, tmp_path_factory):
    directory = tmp_path_factory.mktemp("access")
    rules = f"""
reader.identity=reader
reader.allow=read-only
writer.identity=writer
writer.allow=produce
writer.topic={topics[0]}
consumer.identity=consumer
consumer.allow=consume
consumer.topic={topics[0]}
consumer.group=mine-*
owner.identity=owner
owner.allow=all
"""
    (directory / "access").write_text(rules, encoding="ascii")
    names = ("reader", "writer", "consumer", "owner")
    (directory / "tokens").write_text("".join(f"tok-{n}-0123456789 {n}\n" for n in names), encoding="ascii")
    (directory / "tokens").chmod(0o600)
    maker = tunnel.Tunnel(request.getfixturevalue("binaries"), session_processes, pki)
    server = maker.server(cluster.bootstrap, args=["--token-file", directory / "tokens", "--access", directory / "access"])
    server.clients = {n: maker.client(server, kafka={"kafka": 0}, args=["--token", f"tok-{n}-0123456789"]) for n in names}
    return server


def attempt(client, server, who, *actions):
    """What the client says of each action."""
    bootstrap = f"bootstrap=localhost:{tunnel.port(server.clients[who], 'kafka')}"
    if client == "java":
        argv = clients.java("Rights")
    elif client == "franz-go":
        argv = [cache.go_clients(), "rights"]
    elif client == "kafkajs":
        argv = ["node", cache.node_client().with_name("rights.js")]
    else:
        argv = [sys.executable, cache.HERE / "clients" / "rights.py", client]
    said = process.run([*argv, bootstrap, *actions], 240).stdout.strip().splitlines()
    return dict(zip(actions, said, strict=True))


def judge(client, said, expected):
    for action, (got, due) in zip(said, zip(said.values(), expected, strict=True)):
        if due == "ok":
            assert got == "ok", (action, got)
        else:
            words = "|".join((DENIED[due.replace("subscribed", "topic")], OWN.get((client, due), "authorization failed")))
            assert re.search(words, got, re.IGNORECASE), (action, got)


def without(client, *pairs):
    """kafkajs cannot consume without a group."""
    return [(action, due) for action, due in pairs if client != "kafkajs" or not action.startswith("assign")]


@pytest.fixture(scope="module", autouse=True)
def records(server, topics):
    assert set(attempt("confluent", server, "owner", *(f"produce={t}" for t in topics)).values()) == {"ok"}


def go(client, server, who, figure, *pairs):
    pairs = without(client, *pairs)
    said = attempt(client, server, who, *(action for action, _ in pairs))
    figure(f"{client} as {who}", "; ".join(f"{action.split('=')[0]}: {got[:70]}" for action, got in said.items()))
    judge(client, said, [due for _, due in pairs])


@pytest.mark.parametrize("client", CLIENTS)
def test_read_only(client, server, topics, figure):
    one, _ = topics
    go(client, server, "reader", figure, (f"assign={one}", "ok"), (f"produce={one}", "any"), (f"group={one},mine-{client}-r", "group"),
       (f"create=new-{client}", "topic"))


@pytest.mark.parametrize("client", CLIENTS)
def test_produce_to_one_topic(client, server, topics, figure):
    one, two = topics
    go(client, server, "writer", figure, (f"produce={one}", "ok"), (f"produce={two}", "topic"), (f"assign={one}", "topic"),
       (f"create=new-{client}", "topic"))


@pytest.mark.parametrize("client", CLIENTS)
def test_consume_with_one_group(client, server, topics, figure):
    one, two = topics
    go(client, server, "consumer", figure, (f"group={one},mine-{client}", "ok"), (f"group={one},others-{client}", "group"),
       (f"group={two},mine-{client}-2", "subscribed"), (f"produce={one}", "any"))


def test_a_broker_knows_nothing_of_what_was_denied(client_of_owner, topics):
    """Neither records nor groups nor topics came of it."""
    groups, names = client_of_owner
    assert not [g for g in groups if g.startswith("others-")]
    assert not [n for n in names if n.startswith("new-")]


@pytest.fixture
def client_of_owner(cluster):
    from confluent_kafka.admin import AdminClient
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    groups = [g.group_id for g in admin.list_consumer_groups().result(30).valid]
    return groups, list(admin.list_topics(timeout=30).topics)
