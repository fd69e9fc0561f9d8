"""Every feature of every client, on a real cluster: through the tunnel, or with --direct at the brokers.

One program a client tries its features one after the other, so that a client is started once; each feature is a test of its own.
"""

import json

import pytest

from harness import clients, matrix, process

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


@pytest.fixture(scope="module")
def outcome(kafka_route, cluster, direct):
    """outcome(client) -> {feature: "ok" or what failed}; the client runs once."""
    found = {}

    def nodes():
        if direct:
            return [b.address for b in cluster.brokers]
        clients.nodes_known(kafka_route)
        return [f"127.0.0.1:{port}" for port in kafka_route.ports()]

    def run(client):
        if client not in found:
            argv = clients.features(client, bootstrap=kafka_route.bootstrap, nodes=",".join(nodes()))
            done = process.run(argv, 240, check=False)
            lines = done.stdout.strip().splitlines()
            found[client] = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
            found[client]["log"] = f"exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        return found[client]
    return run


@pytest.mark.parametrize("client,feature", [
    pytest.param(client, feature, marks=matrix.case(client, feature)) for client, names in FEATURES.items() for feature in names])
def test_feature(client, feature, outcome):
    found = outcome(client)
    assert found.get(feature) == "ok", f"{client}: {feature}: {found.get(feature)}\n{found['log']}"


@pytest.mark.parametrize("client", FEATURES)
def test_every_feature_that_is_tried_is_in_the_table(client, outcome):
    assert set(outcome(client)) - {"log"} == set(FEATURES[client])
