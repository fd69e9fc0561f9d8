"""Unmodified Kafka clients against a real cluster: only bootstrap.servers says that there is a tunnel."""

import json
import uuid

import pytest

from conftest import size
from harness import clients, process, trace, tunnel

PARTITIONS = 6


@pytest.fixture
def topic(cluster):
    name = cluster.create_topic(PARTITIONS)
    yield name
    cluster.delete_topic(name)


def check_connects(strace, route, direct):
    """Through the tunnel: nothing but its listeners. In the control run the same look must find the brokers."""
    connects = strace.connects()
    if direct:
        with pytest.raises(AssertionError, match="past the tunnel"):
            trace.only(connects, {0})
    else:
        trace.only(connects, route.ports())
        bootstrap = int(route.bootstrap.rsplit(":", 1)[1])
        assert any(port != bootstrap for _, port in connects), "no listener of a single broker was used"


@pytest.mark.parametrize("client", [
    pytest.param(client, marks=[] if client in ("java", "confluent") else pytest.mark.again) for client in clients.CLIENTS])
def test_produce_and_consume_as_a_group(client, kafka_route, cluster, topic, strace, direct):
    """Complete and in order both ways, offsets committed, and not one connection past the tunnel."""
    count, record = 3000, 500
    want = clients.expected(count, record, client, PARTITIONS)
    produced = clients.produce(client, kafka_route.bootstrap, topic, count, record, seed=client, trace=strace)
    clients.same(produced, want)
    check_connects(strace, kafka_route, direct)

    group = "g-" + uuid.uuid4().hex[:8]
    consumed = clients.consume(client, kafka_route.bootstrap, topic, group, count, trace=strace)
    clients.same(consumed, want)
    check_connects(strace, kafka_route, direct)
    if client != "kcat":  # kcat -c leaves without waiting for its last commit
        assert cluster.committed(group, topic, PARTITIONS) == count


@pytest.mark.records
@pytest.mark.parametrize("producer,consumer", [("java", "confluent"), ("confluent", "java"), ("aiokafka", "kafka-python")])
def test_one_client_reads_what_another_wrote(producer, consumer, kafka_route, topic):
    produced = clients.produce(producer, kafka_route.bootstrap, topic, 1000, 300)
    consumed = clients.consume(consumer, kafka_route.bootstrap, topic, "g-" + uuid.uuid4().hex[:8], 1000)
    clients.same(consumed, produced)


@pytest.mark.again
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_group_of_three_members_shares_the_partitions(protocol, kafka_route, topic):
    want = clients.produce("confluent", kafka_route.bootstrap, topic, 3000, 200)
    got = clients.consume("confluent", kafka_route.bootstrap, topic, "g-" + uuid.uuid4().hex[:8], 3000, members=3,
                          protocol=protocol)
    assert len(got["members"]) == 3 and all(got["members"]), got["members"]
    clients.same(got, want)


def test_java_consumer_group_protocol(kafka_route, topic):
    """KIP-848: the group protocol of Kafka 4."""
    want = clients.produce("java", kafka_route.bootstrap, topic, 1000, 200)
    got = clients.consume("java", kafka_route.bootstrap, topic, "g-" + uuid.uuid4().hex[:8], 1000, prop_group__protocol="consumer")
    clients.same(got, want)


@pytest.mark.records
@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_records(codec, kafka_route, topic):
    want = clients.produce("java", kafka_route.bootstrap, topic, 2000, 1000, prop_compression__type=codec)
    got = clients.consume("java", kafka_route.bootstrap, topic, "g-" + uuid.uuid4().hex[:8], 2000)
    clients.same(got, want)


def test_records_of_a_mebibyte(kafka_route, topic):
    """Requests and responses far larger than any buffer of the tunnel."""
    want = clients.produce("java", kafka_route.bootstrap, topic, 60, 1_000_000, prop_max__request__size=2_000_000)
    got = clients.consume("java", kafka_route.bootstrap, topic, "g-" + uuid.uuid4().hex[:8], 60,
                          prop_fetch__max__bytes=20_000_000, prop_max__partition__fetch__bytes=10_000_000)
    clients.same(got, want)


def test_acks_zero(kafka_route, topic):
    """A Produce request with acks=0 has no response: what follows on the connection must still match."""
    want = clients.produce("java", kafka_route.bootstrap, topic, 2000, 100, prop_acks="0", prop_enable__idempotence="false")
    got = clients.consume("java", kafka_route.bootstrap, topic, "g-" + uuid.uuid4().hex[:8], 2000)
    clients.same(got, want)


def test_bulk_with_checksum(kafka_route, topic, figure):
    """Incompressible records, complete and in order, up and then down."""
    mib = size("KAFKA_TUNNEL_E2E_MIB", 256, 1024)
    record = 16 * 1024
    count = mib * 1024 * 1024 // record
    produced = clients.produce("java", kafka_route.bootstrap, topic, count, record, random="true", deadline=280,
                               prop_batch__size=262144, prop_linger__ms=5)
    assert produced["bytes"] == count * record
    figure("produce", f"{mib} MiB in {produced['seconds']:.1f} s, {mib / produced['seconds']:.0f} MiB/s")
    consumed = clients.consume("java", kafka_route.bootstrap, topic, "g-" + uuid.uuid4().hex[:8], count, deadline=280)
    clients.same(consumed, produced)
    figure("consume", f"{mib} MiB in {consumed['seconds']:.1f} s, {mib / consumed['seconds']:.0f} MiB/s")
    for program in kafka_route.programs():
        figure(f"{program.name} afterwards", f"{program.rss_mib():.1f} MiB resident, {program.descriptors()} descriptors")


def test_cluster_as_the_client_sees_it(kafka_route, cluster, direct):
    """Metadata and DescribeCluster name every broker at a local address, the same in both."""
    seen = json.loads(process.run(clients.python("confluent", "describe", bootstrap=kafka_route.bootstrap), 60).stdout)
    assert set(seen["metadata"]) == {"1", "2", "3"}
    assert seen["metadata"] == seen["describe_cluster"]
    for node, address in seen["metadata"].items():
        if direct:
            assert address == cluster.broker(int(node)).address
        else:
            host, port = address.rsplit(":", 1)
            assert host == "127.0.0.1" and int(port) in kafka_route.ports()
    assert len(set(seen["metadata"].values())) == 3


@pytest.mark.tunnel
def test_a_second_run_gets_the_same_ports(kafka_route):
    """Node listeners stay: what one client learned is true for the next."""
    first, second = (json.loads(process.run(clients.python("confluent", "describe", bootstrap=kafka_route.bootstrap), 60).stdout)
                     for _ in range(2))
    assert first["metadata"] == second["metadata"]


@pytest.mark.tunnel
def test_kcat_lists_through_ipv6_loopback(kafka_route):
    """People type localhost, which may be ::1 first."""
    port = kafka_route.bootstrap.rsplit(":", 1)[1]
    listed = json.loads(process.run(["kcat", "-b", f"[::1]:{port}", "-L", "-J", "-m", "20"], 30).stdout)
    assert len(listed["brokers"]) == 3
    assert all(b["name"].startswith("127.0.0.1:") for b in listed["brokers"])


@pytest.mark.tunnel
@pytest.mark.parametrize("args,host", [([], "127.0.0.1"), (["--advertise", "localhost"], "localhost")])
def test_listening_everywhere_never_advertises_that(args, host, pair, cluster):
    """A sidecar listens on all addresses; 0.0.0.0 is nothing a client could dial."""
    client = pair.client(pair.server(kafka=cluster.bootstrap), kafka={"kafka": "0.0.0.0:0"}, args=args)
    bootstrap = f"127.0.0.1:{tunnel.port(client, 'kafka')}"
    seen = json.loads(process.run(clients.python("confluent", "describe", bootstrap=bootstrap), 60).stdout)
    assert {a.rsplit(":", 1)[0] for a in seen["metadata"].values()} == {host}
