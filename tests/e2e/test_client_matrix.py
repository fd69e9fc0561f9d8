"""Every feature of every client, on a real cluster: through the tunnel, or with --direct at the brokers.

One program a client tries its features one after the other, so that a client is started once; each feature is a test of its own.
"""

import json

import pytest

from conftest import Route
from harness import clients, kafka, matrix, process, tunnel

PRODUCER = ["produce acks=0", "produce acks=1", "produce acks=all", "idempotent producer", "transactions"]
GROUP = ["consumer group (classic)"]
OFFSETS = ["admin: delete records", "admin: list offsets"]
ADMIN = ["admin: topics", "admin: groups", "admin: describe cluster"]

# Column of the table -> what the client can do.
FEATURES = {
    "Java": [*PRODUCER, *GROUP, "consumer group (KIP-848)", "share group", *ADMIN, "admin: configs", *OFFSETS, "admin: elect leaders"],
    "confluent-kafka (librdkafka)": [*PRODUCER, "compression", *GROUP, "consumer group (KIP-848)", *ADMIN, "admin: configs", *OFFSETS,
                                     "admin: elect leaders"],
    "kafka-python": [*PRODUCER, "compression", *GROUP, *ADMIN, "admin: configs", *OFFSETS],
    "aiokafka": [*PRODUCER, "compression", *GROUP, *ADMIN, *OFFSETS],
    "franz-go": [*PRODUCER, "compression", *GROUP, "consumer group (KIP-848)", "share group", *ADMIN, "admin: configs", *OFFSETS,
                 "admin: elect leaders"],
    "sarama": [*PRODUCER, "compression", *GROUP, *ADMIN, "admin: configs", *OFFSETS, "admin: elect leaders"],
    "kafka-go": [*PRODUCER[:3], "compression", *GROUP, *ADMIN, "admin: list offsets"],
    "kafkajs": [*PRODUCER, "compression", *GROUP, *ADMIN, "admin: configs", *OFFSETS],
}


# Clients of Kafka 3 at brokers of Kafka 4, and a few at brokers of Kafka 3: neither knows the new kinds of groups.
NEW = {"consumer group (KIP-848)", "share group"}
FEATURES["Java of Kafka 3"] = [f for f in FEATURES["Java"] if f not in NEW]
OLD_BROKERS = ["Java", "Java of Kafka 3", "confluent-kafka (librdkafka)", "kafka-python"]
OLD_ROW = "all this but new groups, Kafka 3 brokers"


class Outcomes:
    """outcome(client) -> {feature: "ok" or what failed}; each client runs once."""

    def __init__(self, bootstrap, nodes, **more):
        self.bootstrap, self.nodes, self.more, self.found = bootstrap, nodes, more, {}

    def __call__(self, client):
        if client not in self.found:
            more = dict(self.more, modern="false") if client in clients.JAVA and client != "Java" else self.more
            argv = clients.features(client, bootstrap=self.bootstrap, nodes=",".join(self.nodes), **more)
            done = process.run(argv, 240, check=False)
            lines = done.stdout.strip().splitlines()
            found = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
            found["log"] = f"exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
            self.found[client] = found
        return self.found[client]


def local_nodes(route):
    clients.nodes_known(route)
    return [f"127.0.0.1:{port}" for port in route.ports()]


@pytest.fixture(scope="module")
def outcome(kafka_route, cluster, direct):
    return Outcomes(kafka_route.bootstrap, [b.address for b in cluster.brokers] if direct else local_nodes(kafka_route))


class OldCluster(kafka.Cluster):
    pom = "pom-3.xml"


@pytest.fixture(scope="module")
def old_outcome(request, session_processes, tmp_path_factory, direct):
    """At one broker of Kafka 3."""
    cluster = OldCluster(tmp_path_factory.mktemp("kafka3"), session_processes, nodes=1)
    more = {"replication": 1, "modern": "false"}
    try:
        cluster.start()
        if direct:
            yield Outcomes(cluster.bootstrap, [b.address for b in cluster.brokers], **more)
            return
        maker = tunnel.Tunnel(request.getfixturevalue("binaries"), session_processes, request.getfixturevalue("pki"))
        server = maker.server(kafka=cluster.bootstrap)
        client = maker.client(server, kafka={"kafka": 0})
        route = Route(client, server, bootstrap=f"localhost:{tunnel.port(client, 'kafka')}")
        yield Outcomes(route.bootstrap, local_nodes(route), **more)
    finally:
        cluster.stop(hard=True)


@pytest.mark.parametrize("client,feature", [
    pytest.param(client, feature, marks=matrix.case(client, feature)) for client, names in FEATURES.items() for feature in names])
def test_feature(client, feature, outcome):
    found = outcome(client)
    assert found.get(feature) == "ok", f"{client}: {feature}: {found.get(feature)}\n{found['log']}"


@pytest.mark.parametrize("client", FEATURES)
def test_every_feature_that_is_tried_is_in_the_table(client, outcome):
    assert set(outcome(client)) - {"log"} == set(FEATURES[client])


@pytest.mark.kafka
@pytest.mark.parametrize("client", [pytest.param(client, marks=matrix.case(client, OLD_ROW)) for client in OLD_BROKERS])
def test_brokers_of_kafka_3(client, old_outcome):
    found = dict(old_outcome(client))
    log = found.pop("log")
    assert set(found) == set(FEATURES[client]) - NEW, log
    assert set(found.values()) == {"ok"}, f"{found}\n{log}"
