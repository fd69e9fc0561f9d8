"""--access with real brokers: each client does what it may, and says in its own words what it may not; and the brokers' request logs
have nothing of that."""

import re
import sys

import pytest

from harness import cache, clients, process, request_log, tunnel

pytestmark = [pytest.mark.tunnel, pytest.mark.again]
CLIENTS = ["java", "confluent", "kafka-python", "franz-go", "kafkajs"]
# What clients call the errors. Producers that are idempotent, as most are by default, ask for an id before they ask for the topic, and
# without any right to produce they get what a broker gives: CLUSTER_AUTHORIZATION_FAILED.
DENIED = {"topic": r"topic.?authorization|not authorized to access topics", "group": r"group.?authorization|not authorized to access group",
          "any": r"(topic|cluster).?authorization|not authorized to access topics|InitProducerIdResponse"}
# And what some say of it: kafkajs does not tell why a group has no coordinator for it; kafka-python only logs that a topic which it has
# subscribed to is denied.
OWN = {("kafkajs", "group"): "failed to find group coordinator", ("kafka-python", "subscribed"): "no records"}

# What may reach a broker from whom, by the names in its log: what the client is for, and what brokers are found and described with.
FOUND = {"API_VERSIONS", "METADATA", "FIND_COORDINATOR", "DESCRIBE_CLUSTER", "GET_TELEMETRY_SUBSCRIPTIONS", "PUSH_TELEMETRY"}
READ = {"FETCH", "LIST_OFFSETS", "OFFSET_FETCH", "OFFSET_FOR_LEADER_EPOCH"}
GROUP = {"JOIN_GROUP", "SYNC_GROUP", "HEARTBEAT", "LEAVE_GROUP", "OFFSET_COMMIT", "CONSUMER_GROUP_HEARTBEAT"}
MAY = {"reader": FOUND | READ, "writer": FOUND | {"PRODUCE", "INIT_PRODUCER_ID"}, "consumer": FOUND | READ | GROUP}


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


@pytest.fixture(scope="module")
def log(cluster):
    with request_log.RequestLog(cluster) as requests:
        yield requests


@pytest.fixture(scope="module")
def ids(cluster, topics):
    """What the topics are called in requests that do not name them, as Kafka writes it (base64 for URLs)."""
    from confluent_kafka import TopicCollection
    admin = cluster.admin()
    found = admin.describe_topics(TopicCollection(list(topics)))
    return [str(found[t].result(30).topic_id).replace("+", "-").replace("/", "_") for t in topics]


def attempt(client, server, who, *actions):
    """What the client says of each action."""
    bootstrap = f"bootstrap=localhost:{tunnel.port(server.clients[who], 'kafka')}"
    client_id = f"id={who}-{client}"
    if client == "java":
        argv = clients.java("Rights")
    elif client == "franz-go":
        argv = [cache.go_clients(), "rights"]
    elif client == "kafkajs":
        argv = ["node", cache.node_client().with_name("rights.js")]
    else:
        argv = [sys.executable, cache.HERE / "clients" / "rights.py", client]
    said = process.run([*argv, bootstrap, client_id, *actions], 240).stdout.strip().splitlines()
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


@pytest.fixture
def go(server, log, topics, ids, figure):
    """go(client, who, arrive, (action, what is due)...): the client's words, and what the brokers have got of it: requests of all these
    kinds that name the first topic or one of the client's own groups, and nothing that is denied."""
    def run(client, who, arrive, *pairs):
        pairs = without(client, *pairs)
        said = attempt(client, server, who, *(action for action, _ in pairs))
        figure(f"{client} as {who}", "; ".join(f"{action.split('=')[0]}: {got[:70]}" for action, got in said.items()))
        judge(client, said, [due for _, due in pairs])
        log.catch_up()
        got = log.of(f"{who}-{client}")
        figure(f"brokers' logs of {client} as {who}", ", ".join(sorted({api for api, _ in got})))
        assert not denied(who, got, topics, ids)
        own = {topics[0], ids[0], f"mine-{client}"}
        for kinds in arrive:
            assert any(api in kinds and own & texts for api, texts in got), (kinds, got)
    return run


def denied(who, got, topics, ids):
    """What has arrived and must not."""
    names = {topics[1], ids[1]} if who != "reader" else set()
    return [(api, texts) for api, texts in got
            if api not in MAY[who] or names & texts or any(t.startswith(("others-", "new-")) for t in texts)]


@pytest.mark.parametrize("client", CLIENTS)
def test_read_only(client, go, topics):
    one, _ = topics
    fetches = [{"FETCH"}] if client != "kafkajs" else []
    go(client, "reader", fetches, (f"assign={one}", "ok"), (f"produce={one}", "any"), (f"group={one},mine-{client}-r", "group"),
       (f"create=new-{client}", "topic"))


@pytest.mark.parametrize("client", CLIENTS)
def test_produce_to_one_topic(client, go, topics):
    one, two = topics
    go(client, "writer", [{"PRODUCE"}], (f"produce={one}", "ok"), (f"produce={two}", "topic"), (f"assign={one}", "topic"),
       (f"create=new-{client}", "topic"))


@pytest.mark.parametrize("client", CLIENTS)
def test_consume_with_one_group(client, go, topics):
    one, two = topics
    arrive = [{"FETCH"}, {"JOIN_GROUP", "CONSUMER_GROUP_HEARTBEAT"}, {"OFFSET_COMMIT"}]
    go(client, "consumer", arrive, (f"group={one},mine-{client}", "ok"), (f"group={one},others-{client}", "group"),
       (f"group={two},mine-{client}-2", "subscribed"), (f"produce={one}", "any"))


def test_the_log_has_what_arrives(server, log, topics, ids, cluster):
    """What the others are denied, done by somebody who may: so its absence above says something."""
    control = "new-control-" + topics[1]
    said = attempt("confluent", server, "owner", f"produce={topics[1]}", f"group={topics[1]},others-control", f"create={control}")
    assert set(said.values()) == {"ok"}, said
    log.catch_up()
    got = log.of("owner-confluent")
    found = {api: set().union(*(texts for a, texts in got if a == api)) for api, _ in got}
    assert {"PRODUCE", "JOIN_GROUP", "OFFSET_COMMIT", "CREATE_TOPICS", "FETCH"} <= set(found)
    assert {topics[1], ids[1]} & found["PRODUCE"] and "others-control" in found["JOIN_GROUP"] and control in found["CREATE_TOPICS"]
    for who in MAY:
        apis = {api for api, _ in denied(who, got, topics, ids)}
        assert "CREATE_TOPICS" in apis and ("PRODUCE" in apis) and ("JOIN_GROUP" in apis), who
    cluster.delete_topic(control)


def test_a_broker_knows_nothing_of_what_was_denied(client_of_owner, topics):
    """Neither records nor groups nor topics came of it."""
    groups, names = client_of_owner
    assert not [g for g in groups if g.startswith("others-") and g != "others-control"]
    assert not [n for n in names if n.startswith("new-") and not n.startswith("new-control-")]


@pytest.fixture
def client_of_owner(cluster):
    from confluent_kafka.admin import AdminClient
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    groups = [g.group_id for g in admin.list_consumer_groups().result(30).valid]
    return groups, list(admin.list_topics(timeout=30).topics)
