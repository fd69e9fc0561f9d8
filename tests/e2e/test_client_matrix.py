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
    "Java": [*PRODUCER, "compression", *GROUP, "consumer group (KIP-848)", "share group", *ADMIN, "admin: configs", *OFFSETS,
             "admin: elect leaders"],
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
# Other lines of brokers -> the pom that names them, and the clients that are tried there.
LINES = {
    "Kafka 3.9": ("pom-3.xml", ["Java", "Java of Kafka 3", "confluent-kafka (librdkafka)", "kafka-python"]),
    # Its client asks a broker whether it is the one that it means to reach (ApiVersions v5, KIP-1242).
    "Kafka 4.4": ("pom-4.4.xml", ["Java of Kafka 4.4", "Java"]),
}
FEATURES["Java of Kafka 4.4"] = []


class Outcomes:
    """outcome(client) -> {feature: "ok" or what failed}; each client runs once."""

    def __init__(self, bootstrap, nodes, **more):
        self.bootstrap, self.nodes, self.more, self.found = bootstrap, nodes, more, {}

    def __call__(self, client):
        if client not in self.found:
            more = dict(self.more, modern="false") if client == "Java of Kafka 3" else self.more
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


@pytest.fixture(scope="module", params=LINES)
def line_outcome(request, session_processes, tmp_path_factory, direct):
    """At one broker of another line: (its name, Outcomes)."""
    cluster = kafka.Cluster(tmp_path_factory.mktemp("line"), session_processes, nodes=1)
    cluster.pom = LINES[request.param][0]
    more = {"replication": 1, "modern": "false" if request.param.startswith("Kafka 3") else "true"}
    try:
        cluster.start()
        if direct:
            yield request.param, Outcomes(cluster.bootstrap, [b.address for b in cluster.brokers], **more)
            return
        maker = tunnel.Tunnel(request.getfixturevalue("binaries"), session_processes, request.getfixturevalue("pki"))
        server = maker.server(kafka=cluster.bootstrap)
        client = maker.client(server, kafka={"kafka": 0})
        route = Route(client, server, bootstrap=f"localhost:{tunnel.port(client, 'kafka')}")
        yield request.param, Outcomes(route.bootstrap, local_nodes(route), **more)
    finally:
        cluster.stop(hard=True)


@pytest.mark.parametrize("client,feature", [
    pytest.param(client, feature, marks=matrix.case(client, feature)) for client, names in FEATURES.items() for feature in names])
def test_feature(client, feature, outcome):
    found = outcome(client)
    assert found.get(feature) == "ok", f"{client}: {feature}: {found.get(feature)}\n{found['log']}"


@pytest.mark.again
@pytest.mark.parametrize("client", [client for client, features in FEATURES.items() if features])
def test_every_feature_that_is_tried_is_in_the_table(client, outcome):
    assert set(outcome(client)) - {"log"} == set(FEATURES[client])


@pytest.mark.kafka
@pytest.mark.parametrize("line_outcome,client", [
    pytest.param(line, client, marks=matrix.case(client, f"all of these at brokers of {line}"))
    for line, (_, names) in LINES.items() for client in names], indirect=["line_outcome"])
def test_brokers_of_another_line(client, line_outcome):
    line, outcome = line_outcome
    found = dict(outcome(client))
    log = found.pop("log")
    due = set(FEATURES["Java" if client in clients.JAVA else client])
    assert set(found) == (due - NEW if line.startswith("Kafka 3") else due), log
    assert set(found.values()) == {"ok"}, f"{found}\n{log}"
