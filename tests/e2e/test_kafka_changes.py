"""Brokers stop, start and move while clients work: they recover through the same local ports."""

import json
import uuid

import pytest

from harness import clients, process, tunnel, wait
from harness.live import Live, wait_progress

PARTITIONS = 6


def local_addresses(route):
    seen = json.loads(process.run(clients.python("confluent", "describe", bootstrap=route.bootstrap), 60).stdout)
    return seen["metadata"]


@pytest.fixture
def topic(cluster):
    name = cluster.create_topic(PARTITIONS)
    yield name
    cluster.delete_topic(name)


@pytest.mark.parametrize("hard", [pytest.param(False, marks=pytest.mark.again), True], ids=["stopped", "killed"])
def test_broker_stops_and_starts(hard, kafka_route, cluster, topic, processes, figure):
    live = Live(processes, kafka_route.bootstrap, topic)
    wait_progress(cluster, topic)
    before = local_addresses(kafka_route)
    broker = cluster.broker(2)
    try:
        broker.stop(hard)
        wait_progress(cluster, topic)
    finally:
        broker.start()
        cluster.wait_ready()
    wait_progress(cluster, topic)
    produced = live.finish(cluster, leaders_move=True)
    figure("records", produced["records"])
    if kafka_route.client:
        assert local_addresses(kafka_route) == before, "local addresses changed"


@pytest.mark.again
def test_broker_moves_to_another_address(kafka_route, cluster, topic, processes, figure):
    """Another port on the broker's side, the same port on the client's side."""
    live = Live(processes, kafka_route.bootstrap, topic)
    wait_progress(cluster, topic)
    before = local_addresses(kafka_route)
    broker = cluster.broker(3)
    old = broker.port
    try:
        broker.stop()
        broker.move()
        cluster.wait_ready()
        wait_progress(cluster, topic)
        produced = live.finish(cluster, leaders_move=True)
        figure("records", produced["records"])
        after = local_addresses(kafka_route)
        if kafka_route.client:
            assert after == before, "local addresses changed"
        else:
            assert after["3"] == broker.address != before["3"]
        # All partitions of the moved broker are reachable again, for a client that knows nothing yet.
        clients.consume("confluent", kafka_route.bootstrap, topic, "g-" + uuid.uuid4().hex[:8], produced["records"])
    finally:
        broker.stop()
        broker.port = old
        broker.start()
        cluster.wait_ready()


def test_all_brokers_restart(kafka_route, cluster, topic, processes):
    live = Live(processes, kafka_route.bootstrap, topic)
    wait_progress(cluster, topic)
    for broker in cluster.brokers:
        broker.stop(hard=True)
    for broker in cluster.brokers:
        broker.start()
    cluster.wait_ready()
    wait_progress(cluster, topic)
    live.finish(cluster, leaders_move=True)


@pytest.mark.tunnel
def test_one_bootstrap_broker_is_enough(pair, cluster, topic):
    """The first bootstrap broker is down, the second answers; the others are learned."""
    dead = f"127.0.0.2:{wait.free_port()}"
    server = pair.server(kafka=f"{dead},{cluster.broker(2).address}")
    client = pair.client(server, kafka={"kafka": 0})
    bootstrap = f"localhost:{tunnel.port(client, 'kafka')}"
    want = clients.produce("confluent", bootstrap, topic, 500, 100)
    clients.same(clients.consume("confluent", bootstrap, topic, "g-" + uuid.uuid4().hex[:8], 500), want)


@pytest.mark.tunnel
def test_two_clients_share_a_server(pair, cluster, topic):
    """Each laptop has listeners of its own; each client hears only of its own."""
    server = pair.server(kafka=cluster.bootstrap)
    laptops = [pair.client(server, kafka={"kafka": 0}) for _ in range(2)]
    for client in laptops:
        bootstrap = f"localhost:{tunnel.port(client, 'kafka')}"
        seen = json.loads(process.run(clients.python("confluent", "describe", bootstrap=bootstrap), 60).stdout)
        assert {int(a.rsplit(":", 1)[1]) for a in seen["metadata"].values()} <= tunnel.ports(client)


@pytest.mark.tunnel
def test_link_is_cut_and_clients_go_on(pair, cluster, topic, processes, pki):
    """The server goes away and comes back on the same port: Kafka clients reconnect by themselves and lose nothing."""
    server = pair.server(kafka=cluster.bootstrap)
    client = pair.client(server, kafka={"kafka": 0})
    live = Live(processes, f"localhost:{tunnel.port(client, 'kafka')}", topic)
    wait_progress(cluster, topic)
    port = server.port
    server.stop()
    mark = client.mark()
    server = pair.server(kafka=cluster.bootstrap, listen=f"127.0.0.1:{port}")
    client.wait_log(r"link|connected|ready|session", since=mark, deadline=30)
    wait_progress(cluster, topic)
    live.finish(cluster)
