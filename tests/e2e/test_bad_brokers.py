"""Brokers that answer with nonsense: that connection ends with a log line, and nothing real leaks to the client."""

import socket
import struct

import pytest

from harness import fakes, tunnel

METADATA, CORRELATION_ID = 3, 7


def frame(body):
    return struct.pack(">i", len(body)) + body


def metadata_v1(brokers, count=None, correlation_id=CORRELATION_ID):
    """A Metadata v1 response; `count` may lie about the number of brokers."""
    body = struct.pack(">ii", correlation_id, len(brokers) if count is None else count)
    for node, host, port in brokers:
        body += struct.pack(">ih", node, len(host)) + host + struct.pack(">ih", port, -1)
    return frame(body + struct.pack(">ii", 1, 0))


REAL = (1, b"real-broker.example", 19092)
ANSWERS = {
    "negative length": struct.pack(">i", -1) + bytes(8),
    "length without room for a correlation id": struct.pack(">i", 2) + bytes(2),
    "unknown correlation id": metadata_v1([REAL], correlation_id=4711),
    "negative host length": frame(struct.pack(">iiih", CORRELATION_ID, 1, 1, -5) + bytes(30)),
    "host beyond the frame": frame(struct.pack(">iiih", CORRELATION_ID, 1, 1, 30000) + b"real-broker.example"),
    "more brokers than bytes": metadata_v1([REAL], count=0x7FFFFFFF),
}


class FakeBroker(fakes.Listening):
    """Answers each request with the same bytes, on 127.0.0.2."""

    def __init__(self, answer):
        self.answer = answer
        super().__init__("127.0.0.2")

    def _serve(self, sock):
        with sock:
            try:
                while sock.recv(65536):
                    sock.sendall(self.answer)
            except OSError:
                pass


def ask(client, name):
    sock = socket.create_connection(("127.0.0.1", tunnel.port(client, name)), 20)
    sock.sendall(frame(struct.pack(">hhih", METADATA, 1, CORRELATION_ID, 4) + b"test" + struct.pack(">i", 0)))
    return sock


def read_all(sock):
    sock.settimeout(20)
    data = b""
    try:
        while got := sock.recv(65536):
            data += got
    except ConnectionResetError:
        pass
    return data


@pytest.mark.tunnel
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_malformed_response(answer, pair):
    with FakeBroker(answer) as bad, FakeBroker(metadata_v1([REAL])) as good:
        server = pair.server(kafka=f"bad=127.0.0.2:{bad.port}", args=["--kafka", f"good=127.0.0.2:{good.port}"])
        client = pair.client(server, kafka={"bad": 0, "good": 0})
        with ask(client, "good") as beside:
            beside.settimeout(20)
            first = beside.recv(65536)
            with ask(client, "bad") as sock:
                assert b"real-broker" not in read_all(sock)
            event = server.wait_for("stream_reset", 20)
            assert event["target"] == "bad" and event["reason"], event
            assert client.wait_for("connection_reset", 20)["listener"] == "bad"
            # The connection beside it goes on.
            beside.sendall(frame(struct.pack(">hhih", METADATA, 1, CORRELATION_ID, 4) + b"test" + struct.pack(">i", 0)))
            assert beside.recv(65536) == first
            assert b"real-broker" not in first and b"127.0.0.1" in first
