"""Each configured limit: what is over it is refused with a reason, and nobody else notices."""

import time

import pytest

from harness import raw, tunnel, wait, ws

pytestmark = pytest.mark.tunnel


@pytest.fixture
def start(pair, peer):
    """start(server=[...], client=[...]): a plain pair with these options, and somebody who is connected already."""
    socks = []

    def make(server=(), client=()):
        server_ = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=server)
        client_ = pair.client(server_, tcp={"raw": 0}, args=client)
        socks.append(raw.connect(tunnel.port(client_, "raw"), "echo"))
        socks[-1].sendall(b"before")
        assert socks[-1].recv(10) == b"before"
        return server_, client_
    yield make
    for sock in socks:
        sock.sendall(b"after")
        assert sock.recv(10) == b"after", "somebody was harmed who was within the limits"
        sock.close()


def refused(port):
    """Whether a new connection is cut instead of answered."""
    try:
        with raw.connect(port, "echo", timeout=20) as sock:
            sock.sendall(b"hello")
            return sock.recv(10) == b""
    except ConnectionResetError:
        return True


def test_sessions(start, pair):
    server, first = start(["--max-sessions", "1"])
    second = pair.client(server, tcp={"raw": 0}, ready=False)
    failed = second.wait_for("dial_failed")
    assert "--max-sessions" in failed["reason"] and server.wait_for("session_rejected"), failed
    first_port = tunnel.port(first, "raw")
    assert raw.echo_once(first_port) == b"ping"


def test_session_without_streams_makes_room(start, pair, peer):
    """A client that vanished holds no place that somebody else needs, unless connections wait for it."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=["--max-sessions", "1"])
    gone = pair.client(server, tcp={"raw": 0})
    assert raw.echo_once(tunnel.port(gone, "raw")) == b"ping"
    # Not before the server has nothing of that connection any more: with streams a session keeps its place.
    server.wait_for("audit_stream")
    gone.kill()
    server.wait_for("link_lost")
    second = pair.client(server, tcp={"raw": 0})
    assert raw.echo_once(tunnel.port(second, "raw")) == b"ping"


@pytest.mark.parametrize("end", ["client", "server"])
def test_streams_of_a_session(end, start):
    options = ["--max-streams", "5"]
    server, client = start(**{end: options})
    port = tunnel.port(client, "raw")
    socks = [raw.connect(port, "echo") for _ in range(4)]
    for sock in socks:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    assert refused(port)
    wait.until(lambda: client.events("connection_refused") or client.events("connection_reset"), 20, "a line about it")
    socks.pop().close()
    wait.until(lambda: not refused(port), 20, "a place")
    for sock in socks:
        sock.close()


def test_handshakes(start, pair):
    server, client = start(["--max-handshakes", "4", "--handshake-timeout", "3"])
    silent = [ws.connect(server) for _ in range(4)]
    silent.append(ws.connect(server))
    assert ws.closed_within(silent.pop(0), 2), "the oldest makes way"
    assert "limit" in server.wait_for("handshake_refused")
    assert not ws.closed_within(silent[-1], 0.2), "and only that one"
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
    started = time.monotonic()
    assert all(ws.closed_within(sock, 20) for sock in silent)
    assert time.monotonic() - started < 15
    late = pair.client(server, tcp={"raw": 0})
    assert raw.echo_once(tunnel.port(late, "raw")) == b"ping"


def test_header_size(start):
    server, _ = start(["--max-header-size", "2KiB"])
    sock, status, _ = ws.upgrade(server, headers=["X-Fill: " + "a" * 1000])
    assert status == 101
    sock.close()
    sock = ws.connect(server)
    try:
        sock.sendall(ws.request(headers=["X-Fill: " + "a" * 1000 for _ in range(8)]))
        assert not ws.read_head(sock).startswith("HTTP/1.1 101")
    except OSError:
        pass
    sock.close()


def test_log_rate(start):
    """Whoever makes the log fill up: the rest is counted."""
    server, _ = start(["--log-rate", "3"])
    mark = server.mark()

    def drop_one():
        sock, status, _ = ws.upgrade(server)
        assert status == 101
        sock.close()
    for _ in range(40):
        drop_one()

    def limited():
        drop_one()
        return server.events("log_limited", since=mark)
    wait.until(limited, 20, "a line that says how many were left out", 0.2)
    assert sum(e["count"] for e in server.events("log_limited", since=mark)) > 20


def test_connections_without_a_link_wait_and_are_then_reset(start, pair):
    server, _ = start()
    client = pair.client(f"http://localhost:{wait.free_port()}", tcp={"raw": 0}, args=["--connect-wait", "1"], ready=False)
    port = tunnel.port(client, "raw")
    started = time.monotonic()
    assert refused(port)
    assert 0.9 < time.monotonic() - started < 10
    client.wait_for("connection_reset")
