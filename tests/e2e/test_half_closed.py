"""One side of a connection has ended and the other has not: how long that may last, and how it ends."""

import contextlib
import socket
import struct
import threading
import time

import pytest

from harness import fakes, raw, tunnel, wait, wire

pytestmark = pytest.mark.tunnel
HELD = 8


class HangingBroker(fakes.Broker):
    """Answers ApiVersions, then takes requests and says no more; does not close either."""

    def __init__(self, reads=True):
        super().__init__([])
        self.reads, self.requests, self.ended, self.over = reads, 0, 0, threading.Event()

    def _serve(self, sock):
        with sock, contextlib.suppress(OSError):
            if not wire.answer_check(sock) or (request := wire.read_frame(sock)) is None:
                return  # the server's own probe
            sock.sendall(self._answer(request))
            while self.reads and wire.read_frame(sock):
                self.requests += 1
            self.ended += 1
            self.over.wait(60)

    def __exit__(self, *_):
        self.over.set()
        super().__exit__()


class OnceEnded(fakes.Listening):
    """A raw target that waits for the end of file and for `go`, and then answers."""

    def __init__(self):
        self.ended, self.go = threading.Event(), threading.Event()
        super().__init__("127.0.0.2")

    def _serve(self, sock):
        with sock, contextlib.suppress(OSError):
            while sock.recv(65536):
                pass
            self.ended.set()
            self.go.wait(60)
            sock.sendall(b"late")


def api_versions_request():
    return wire.frame(struct.pack(">hhih4s", wire.API_VERSIONS, 0, 1, 4, b"test"))


def connect(port):
    sock = socket.create_connection(("127.0.0.1", port), 30)
    sock.sendall(api_versions_request())
    assert wire.read_frame(sock)
    return sock


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False])
def test_clients_that_have_left_a_hanging_broker(reads, pair):
    """They give their streams back within seconds, so that others find room; half-closed raw connections stay as long as they like."""
    with HangingBroker(reads) as broker, OnceEnded() as target, fakes.Broker() as healthy:
        healthy.brokers = [healthy.node(1)]
        server = pair.server(kafka=f"kafka={broker.address}", tcp={"raw": f"{target.host}:{target.port}"},
                             args=["--kafka", f"healthy={healthy.address}", "--max-streams", str(HELD + 1)])
        client = pair.client(server, kafka={"kafka": 0, "healthy": 0}, tcp={"raw": 0})
        with socket.create_connection(("127.0.0.1", tunnel.port(client, "raw")), 60) as patient:
            patient.shutdown(socket.SHUT_WR)
            assert target.ended.wait(10)
            began = time.monotonic()
            socks = [connect(tunnel.port(client, "kafka")) for _ in range(HELD)]
            for sock in socks:
                sock.sendall(wire.metadata_request() if reads else wire.frame(bytes(1) * 14 + bytes(100_000)) * 10)
            if reads:
                wait.until(lambda: broker.requests == HELD, 10, "the broker to have all requests")
            for sock in socks:
                sock.close()
            with pytest.raises((ConnectionError, AssertionError)):
                wire.ask_metadata(tunnel.port(client, "healthy"))
            cut = [server.wait_for("audit_stream", 25, target="kafka", end="upstream_timeout")]
            wait.until(lambda: len(server.events("audit_stream", target="kafka", end="upstream_timeout")) == HELD, 5,
                       "all to be given up")
            assert 9 < time.monotonic() - began < 25
            assert "the client closed the connection" in cut[0]["reason"], cut
            assert server.wait_for("stream_reset", level="warning")["address"] == broker.address
            wait.until(lambda: len(client.events("connection_reset", listener="kafka")) == HELD, 5, "the client to hear of it")
            assert wire.ask_metadata(tunnel.port(client, "healthy"))
            target.go.set()
            assert raw.read_rest(patient) == b"late"


@pytest.mark.slow
def test_broker_that_closes_and_a_client_that_does_not(pair):
    """The client sees an end of file, no reset, and its stream is given back however long it keeps its socket."""
    with fakes.Broker() as broker:
        broker.brokers = None  # the question for them ends the connection
        server = pair.server(kafka=f"kafka={broker.address}", args=["--log-level", "debug"])
        client = pair.client(server, kafka={"kafka": 0}, args=["--log-level", "debug"])
        with connect(tunnel.port(client, "kafka")) as sock:
            sock.sendall(wire.metadata_request())
            assert sock.recv(1) == b""
            began = time.monotonic()
            ended = server.wait_for("audit_stream", 25, target="kafka")
            assert ended["end"] == "complete" and time.monotonic() - began > 8
            client.wait_for("connection_closed", listener="kafka")
            assert sock.recv(1) == b""
        assert not client.events("connection_reset")


def test_half_closed_and_then_gone(pair):
    """A local program that dies after it has half-closed is noticed at once, also on a raw connection, which may stay half closed."""
    with OnceEnded() as target:
        server = pair.server(tcp={"raw": f"{target.host}:{target.port}"})
        client = pair.client(server, tcp={"raw": 0})
        sock = socket.create_connection(("127.0.0.1", tunnel.port(client, "raw")), 30)
        sock.shutdown(socket.SHUT_WR)
        assert target.ended.wait(10)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        assert "reset" in client.wait_for("connection_reset", 5, listener="raw")["reason"]
        assert server.wait_for("audit_stream", 5, target="raw")["end"] == "peer_reset"
