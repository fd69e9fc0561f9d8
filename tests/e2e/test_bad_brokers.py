"""Brokers that answer with nonsense: that connection ends with a log line, and nothing real leaks to the client."""

import socket
import struct

import pytest

from harness import fakes, tunnel, wire

CORRELATION_ID = 7
REAL = (1, "real-broker.example", 19092)
ANSWERS = {
    "negative length": struct.pack(">i", -1) + bytes(8),
    "length without room for a correlation id": struct.pack(">i", 2) + bytes(2),
    "unknown correlation id": wire.metadata_response([REAL], correlation_id=4711),
    "negative host length": wire.frame(struct.pack(">iiih", CORRELATION_ID, 1, 1, -5) + bytes(30)),
    "host beyond the frame": wire.frame(struct.pack(">iiih", CORRELATION_ID, 1, 1, 30000) + b"real-broker.example"),
    "more brokers than bytes": wire.metadata_response([REAL], count=0x7FFFFFFF),
}


class FakeBroker(fakes.Listening):
    """Answers each request with the same bytes, on 127.0.0.2."""

    def __init__(self, answer):
        self.answer = answer
        super().__init__("127.0.0.2")

    def _serve(self, sock):
        with sock:
            try:
                if wire.answer_check(sock):
                    while sock.recv(65536):
                        sock.sendall(self.answer)
            except OSError:
                pass


def ask(client, name):
    sock = socket.create_connection(("127.0.0.1", tunnel.port(client, name)), 20)
    sock.sendall(wire.metadata_request(CORRELATION_ID))
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
    with FakeBroker(answer) as bad, FakeBroker(wire.metadata_response([REAL])) as good:
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
            beside.sendall(wire.metadata_request(CORRELATION_ID))
            assert beside.recv(65536) == first
            assert b"real-broker" not in first and b"127.0.0.1" in first
