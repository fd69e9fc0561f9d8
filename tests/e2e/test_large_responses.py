"""Responses far larger than the tunnel's memory: they stream through, and only what holds addresses is kept."""

import hashlib
import socket
import struct
import threading
import uuid

import pytest
from confluent_kafka.admin import NewTopic

from harness import cache, clients, fakes, schema, tunnel, wire

pytestmark = pytest.mark.tunnel
MIB = 1 << 20


def peaks(*programs):
    return ", ".join(f"{p.name} {p.status_kib('VmHWM') / 1024:.1f} MiB" for p in programs)


def test_records_of_20_mb(pair, cluster, figure):
    """Each is a request of its own, and much more than a Fetch response is allowed to hold of others."""
    server = pair.server(kafka=cluster.bootstrap)
    client = pair.client(server, kafka={"kafka": 0})
    bootstrap = f"localhost:{tunnel.port(client, 'kafka')}"
    name, size, count, admin = f"large-{uuid.uuid4().hex[:8]}", 20_000_000, 6, cluster.admin()
    for future in admin.create_topics([NewTopic(name, 2, 1, config={"max.message.bytes": "25000000"})]).values():
        future.result(30)
    large = {"prop_max__request__size": 25_000_000, "prop_buffer__memory": 60_000_000}
    want = clients.produce("java", bootstrap, name, count, size, partitions=2, **large)
    got = clients.consume("java", bootstrap, name, f"g-{name}", count, prop_max__partition__fetch__bytes=25_000_000)
    clients.same(got, want)
    figure("peak memory", f"{peaks(server, client)}, of {count} records of {size / 1e6:.0f} MB")
    assert server.status_kib("VmHWM") < 100 * 1024


class Answering(fakes.Listening):
    """Answers every request with this body."""

    def __init__(self, body):
        self.body = body
        super().__init__("127.0.0.2")

    def _serve(self, sock):
        with sock:
            try:
                wire.answer_check(sock)
                while request := wire.read_frame(sock):
                    sock.sendall(struct.pack(">i", 4 + len(self.body)) + request[4:8] + self.body)
            except OSError:
                pass


def metadata(message, version, partitions):
    """Three brokers, and as many partitions as asked for in a hundred topics."""
    def partition(index):
        return {"ErrorCode": 0, "PartitionIndex": index, "LeaderId": 1 + index % 3, "LeaderEpoch": 7,
                "ReplicaNodes": [1, 2, 3], "IsrNodes": [1, 2, 3], "OfflineReplicas": []}
    topics = [{"ErrorCode": 0, "Name": f"topic-{t}", "TopicId": bytes([t]) * 16, "IsInternal": False, "TopicAuthorizedOperations": -1,
               "Partitions": [partition(i) for i in range(partitions // 100)]} for t in range(100)]
    value = {"ThrottleTimeMs": 0, "ClusterId": "c", "ControllerId": 1, "Topics": topics, "ErrorCode": 0,
             "Brokers": [{"NodeId": n, "Host": f"broker-{n}.real.example", "Port": 9092, "Rack": None} for n in (1, 2, 3)]}
    return value, message.encode(value, version)


@pytest.mark.java
@pytest.mark.parametrize("partitions", [20_000, pytest.param(1_000_000, marks=pytest.mark.memory)])
def test_metadata_of_many_partitions(partitions, pair, figure):
    """Held is the part up to the end of Brokers; the rest streams, byte for byte."""
    version = 12
    message = schema.responses(next(cache.kafka_jars().glob("kafka-clients-*.jar")))[wire.METADATA]
    value, body = metadata(message, version, partitions)
    tail = hashlib.sha256(body[body.index(b"\x02c\x00\x00\x00\x01"):]).hexdigest()  # from ClusterId on
    with Answering(b"\0" + body) as broker:
        server = pair.server(kafka=f"127.0.0.2:{broker.port}")
        client = pair.client(server, kafka={"kafka": 0})
        with socket.create_connection(("127.0.0.1", tunnel.port(client, "kafka")), 30) as sock:
            sock.sendall(wire.frame(struct.pack(">hhih", wire.METADATA, version, 7, 4) + b"test" + b"\0\1\0\0\0"))
            answer = wire.read_frame(sock)
        assert b".real.example" not in answer
        assert hashlib.sha256(answer[answer.index(b"\x02c\x00\x00\x00\x01"):]).hexdigest() == tail
        if partitions <= 20_000:
            got, _ = message.decode(answer[5:], version)
            assert got["Topics"] == value["Topics"]
            assert {b["Host"] for b in got["Brokers"]} == {"127.0.0.1"}
        figure("peak memory", f"{peaks(server, client)}, of a response of {len(body) / MIB:.1f} MiB")
        assert server.status_kib("VmHWM") < 60 * 1024


HUGE = 0x7FFFFFF0
# What a hostile broker may answer with, by API: the beginning of a frame that claims two gigabytes, and never ends.
ENDLESS = {
    "Metadata": (3, 12, b"\0" + struct.pack(">i", 0) + b"\xff\xff\xff\x7f" + b"\0\0\0\1\xff\xff\xff\x3f"),
    "FindCoordinator": (10, 4, b""),
    "DescribeCluster": (60, 1, b""),
    "Produce": (0, 11, b""),
    "Fetch": (1, 17, b"\0" + bytes(10) + b"\x01"),
    "ShareFetch": (78, 1, b"\0" + bytes(6) + b"\0" + bytes(4) + b"\x01"),
    "ApiVersions": (18, 3, b""),
}


class Endless(fakes.Listening):
    """Answers with a head that claims a huge frame, and then sends zeros as long as they are taken."""

    def __init__(self, head):
        self.head = head
        super().__init__("127.0.0.2")

    def _serve(self, sock):
        with sock:
            try:
                wire.answer_check(sock)
                request = wire.read_frame(sock)
                sock.sendall(struct.pack(">i", HUGE) + request[4:8] + self.head)
                for _ in range(4096):
                    sock.sendall(b"\x01" * 65536)
            except (OSError, TypeError):
                pass


@pytest.mark.parametrize("api", ENDLESS)
def test_frames_that_claim_gigabytes(api, pair, figure):
    """Forty connections at once: each ends with a line in the log that says why, and memory stays bounded."""
    key, version, head = ENDLESS[api]
    with Endless(head) as broker:
        server = pair.server(kafka=f"bad=127.0.0.2:{broker.port}")
        client = pair.client(server, kafka={"bad": 0})
        before, port = server.rss_mib(), tunnel.port(client, "bad")
        ended = []

        def ask():
            body = b"\0" * 8 if key else b"\0\0\xff\xff" + b"\0" * 8
            with socket.create_connection(("127.0.0.1", port), 60) as sock:
                sock.sendall(wire.frame(struct.pack(">hhih", key, version, 7, 4) + b"test" + body))
                try:
                    while sock.recv(65536):
                        pass
                except ConnectionResetError:
                    ended.append("reset")
        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert ended == ["reset"] * 40
        said = server.wait_for("stream_reset", api=api)
        assert (said["cluster"], said["version"], said["client_id"], said["level"]) == ("bad", version, "test", "warning"), said
        assert server.alive()
        assert server.status_kib("VmHWM") < 1 << 20, "of the 80 GiB that were claimed"
        figure("memory", f"{before:.1f} MiB before, {server.status_kib('VmHWM') / 1024:.1f} at its peak, {server.rss_mib():.1f} after")
