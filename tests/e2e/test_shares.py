"""One identity takes all that it can get; another one, with a token of its own, works as if it were alone."""

import contextlib
import socket
import struct

import pytest

from harness import fakes, pages, raw, tunnel, wait, wire, ws
from harness.mux_client import CLUSTER, DATA, LIMIT, OPENED, REFUSED, REJECT, RESET, WELCOME, Client

pytestmark = pytest.mark.tunnel
MALLORY, BOB = "token-of-mallory-0123456789", "token-of-bob-0123456789"


@pytest.fixture
def full():
    """The address of a port that takes no more connections and does not say so."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.2", 0), backlog=0))
        stack.enter_context(socket.create_connection(listener.getsockname()))
        yield f"127.0.0.2:{listener.getsockname()[1]}"


@pytest.fixture
def start(pair, peer, full, tmp_path):
    """start(options) -> the server; its clients are those of MALLORY (raw) and BOB (bob())."""
    (tmp_path / "tokens").write_text(f"{MALLORY} mallory\n{BOB} bob\n", encoding="utf-8")

    def run(*args, **kw):
        return pair.server(tcp={"peer": f"{peer.host}:{peer.port}", "silent": full}, tls=None, secrets=[MALLORY, BOB],
                           args=["--token-file", tmp_path / "tokens", "--status", "127.0.0.1:0", *args], **kw)
    return run


@pytest.fixture
def bob(pair, tmp_path):
    def run(server):
        (tmp_path / "bob").write_text(BOB, encoding="utf-8")
        client = pair.client(server, tcp={"peer": 0}, args=["--token-file", tmp_path / "bob"], secrets=[BOB])
        return tunnel.port(client, "peer")
    return run


def limited(server, limit):
    """How often that limit was met, by the metric."""
    return pages.Pages(server).metrics().sum("limited_total", limit=limit)


def answers(client, count):
    """(how many of so many streams were opened, why the others were not)"""
    opened, reasons = 0, set()
    for _ in range(count):
        kind, body = client.next_message((OPENED, REFUSED))
        if kind == OPENED:
            opened += 1
        else:
            assert struct.unpack_from(">H", body, 12)[0] == LIMIT
            reasons.add(body[15:].decode())
    return opened, reasons


def test_streams_that_carry_nothing(start, bob):
    """16 MiB were 128 connections once: of two sessions' idle ones, nobody notices anything."""
    server = start("--memory", "16MiB")
    with Client(server, token=MALLORY) as one, Client(server, token=MALLORY) as other:
        for client in (one, other):
            for stream in range(1, 301):
                client.open(stream, "peer")
            assert answers(client, 300) == (300, set())
        raw.check_both(bob(server), 4 << 20)
    assert not limited(server, "gave_way")


@pytest.mark.parametrize("workers", [1, 3])
def test_memory(start, bob, workers):
    """Bytes that nobody takes, as many as credit allows; with several workers, bob's session is at another one."""
    server = start("--memory", "16MiB", "--connect-timeout", "60", "--workers", str(workers))
    with Client(server, token=MALLORY) as client:
        for stream in range(1, 151):
            client.open(stream, "silent")
            for offset in range(0, 65536, 16376):
                size = min(16376, 65536 - offset)
                client.send(ws.mux_frame(DATA, stream, struct.pack(">Q", offset) + bytes(size)))
        # The last ones find nothing left: an identity that is alone may have all.
        _, body = client.next_message((REFUSED, RESET))
        assert struct.unpack_from(">H", body, 12)[0] == LIMIT and b"--memory" in body
        assert "--memory" in server.wait_for("stream_limited", identity="mallory")["reason"]
        raw.check_both(bob(server), 4 << 20)
        # Of several workers' memory an eighth is kept, which does for bob, or mallory is asked in time.
        assert workers > 1 or limited(server, "gave_way") and server.events("stream_gave_way", identity="mallory")
        assert not server.events("stream_gave_way", identity="bob") and not server.events("stream_limited", identity="bob")


class Large(fakes.Broker):
    """Answers Metadata with 3 MiB of brokers."""

    def __init__(self):
        one = struct.pack(">ih", 1, 200) + b"h" * 200 + struct.pack(">ih", 9092, -1)
        self.answer = wire.frame(struct.pack(">ii", 7, 15000) + 15000 * one + struct.pack(">ii", 1, 0))
        super().__init__([])

    def _answer(self, request):
        return super()._answer(request) if wire.is_check(request) else self.answer


class Hanging(fakes.Listening):
    """Takes all requests and answers none but the server's own."""

    def _serve(self, sock):
        with sock, contextlib.suppress(OSError):
            while wire.answer_check(sock) and sock.recv(1 << 20):
                while sock.recv(1 << 20):
                    pass


def reset_for_memory(server, client):
    _, body = client.next_message((RESET,))
    assert struct.unpack_from(">H", body, 12)[0] == LIMIT
    return "--memory" in server.wait_for("audit_stream", identity="mallory", end="limit")["reason"]


@pytest.mark.memory
def test_held_responses(start, bob):
    """A response waits for a listener that its client does not open, on many connections: 3 MiB each."""
    with Large() as broker:
        server = start("--memory", "16MiB", kafka=broker.address)
        before = server.rss_mib()
        with Client(server, token=MALLORY) as client:
            for stream in range(1, 21):
                client.open(stream, "kafka", CLUSTER)
                client.send(ws.mux_frame(DATA, stream, bytes(8) + wire.metadata_request()))
            for _ in range(15):
                assert reset_for_memory(server, client)
            assert server.rss_mib() < before + 30
            raw.check_both(bob(server), 1 << 20)


@pytest.mark.memory
def test_requests_in_flight(start, bob, pair, tmp_path):
    """As many as there may be on a connection take 4 MiB, and nobody answers."""
    (tmp_path / "mallory").write_text(MALLORY, encoding="utf-8")
    requests = wire.metadata_request() * 60000
    with Hanging("127.0.0.2") as broker, contextlib.ExitStack() as stack:
        server = start("--memory", "16MiB", kafka=f"127.0.0.2:{broker.port}")
        client = pair.client(server, kafka={"kafka": 0}, args=["--token-file", tmp_path / "mallory"], secrets=[MALLORY])
        before = server.rss_mib()
        for _ in range(12):
            with contextlib.suppress(ConnectionError):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", tunnel.port(client, "kafka")), 20))
                sock.sendall(requests)
        assert "--memory" in server.wait_for("audit_stream", identity="mallory", end="limit")["reason"]
        assert server.rss_mib() < before + 30
        raw.check_both(bob(server), 1 << 20)


def test_connections(start, bob):
    server = start("--max-sessions", "8", "--max-handshakes", "8", descriptors=300)
    with Client(server, token=MALLORY) as client:
        for stream in range(1, 401):
            client.open(stream, "peer")
        opened, reasons = answers(client, 400)
        assert 100 < opened < 300 and len(reasons) == 1 and "ulimit -n" in reasons.pop()
        assert limited(server, "connections") == 400 - opened
        port = bob(server)
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(raw.connect(port, "echo")) for _ in range(50)]
            for sock in socks:
                sock.sendall(b"mine")
                assert sock.recv(10) == b"mine"
        assert len(server.events("stream_gave_way", identity="mallory")) >= 50
        assert not server.events("stream_gave_way", identity="bob")


def test_a_session_that_waits_for_its_client_is_nobody_elses_place(start):
    server = start("--max-sessions", "6")
    with Client(server, token=BOB) as client:
        key = client.key
    server.wait_for("link_lost", session=key[:16].hex())
    with contextlib.ExitStack() as stack:
        rejected = 0
        for _ in range(30):
            client = stack.enter_context(Client(server, token=MALLORY))
            if client.answer == REJECT:
                assert client.code == LIMIT and "--max-sessions" in client.reason
                rejected += 1
        assert rejected == 25
        assert server.wait_for("session_rejected", identity="mallory") and limited(server, "sessions") == 25
        with Client(server, key, resume=True, attempt=2, token=BOB) as client:
            assert client.answer == WELCOME


def test_a_newcomer_gets_a_session(start, bob):
    server = start("--max-sessions", "6")
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            assert stack.enter_context(Client(server, token=MALLORY)).answer == WELCOME
        assert raw.echo_once(bob(server)) == b"ping"
        assert len(server.events("session_gave_way")) == 1
        assert server.wait_for("session_gave_way")["identity"] == "mallory"


def test_links_that_say_nothing(start, bob):
    server = start("--max-handshakes", "8")
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            sock, status, _ = ws.upgrade(server, [f"Authorization: Bearer {MALLORY}"])
            assert status == 101
            stack.callback(sock.close)
        assert "--max-handshakes" in server.wait_for("link_refused", identity="mallory")["reason"]
        assert limited(server, "links") == 42
        assert raw.echo_once(bob(server)) == b"ping"


def test_dials(start, bob):
    server = start("--max-dials-per-minute", "20")
    for n in range(2):  # a new session is no new start
        with Client(server, token=MALLORY) as client:
            for stream in range(1, 31):
                client.open(stream, "peer")
            opened, reasons = answers(client, 30)
            assert (n == 0) == (opened >= 20) and opened <= 22
            assert len(reasons) == 1 and "--max-dials-per-minute" in reasons.pop()
            for stream in range(31, 61):
                client.open(stream, "no such target")
            opened, reasons = answers(client, 30)
            assert opened == 0 and any("--max-dials-per-minute" in reason for reason in reasons), "whatever is asked for counts"
    assert len(server.events("audit_stream")) <= 24, "what a limit stops does not fill the record"
    assert "--max-dials-per-minute" in server.wait_for("stream_refused")["reason"]
    assert limited(server, "dials") >= 38
    assert raw.echo_once(bob(server)) == b"ping"


def test_limits_of_an_identity(start, bob):
    server = start("--max-sessions-per-identity", "2", "--max-streams-per-identity", "5")
    with Client(server, token=MALLORY) as one, Client(server, token=MALLORY) as two, Client(server, token=MALLORY) as three:
        assert (three.answer, three.code) == (REJECT, LIMIT) and "--max-sessions-per-identity" in three.reason
        opened = 0
        for client in (one, two):
            for stream in range(1, 5):
                client.open(stream, "peer")
            got, reasons = answers(client, 4)
            opened += got
        assert opened == 5 and len(reasons) == 1 and "--max-streams-per-identity" in reasons.pop()
        assert limited(server, "sessions_of_identity") == 1 and limited(server, "connections_of_identity") == 3
        assert raw.echo_once(bob(server)) == b"ping"


def test_strangers_are_told_apart_by_address(pair, peer):
    """Without tokens: whoever comes from 127.0.0.3 is somebody else than who comes from 127.0.0.1."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None, args=["--max-sessions", "4"], listen="127.0.0.1:0")
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            assert stack.enter_context(Client(server)).answer == WELCOME
        assert stack.enter_context(Client(server, source="127.0.0.3")).answer == WELCOME
    wait.until(lambda: server.events("session_gave_way"), 5, "a session that makes way")
