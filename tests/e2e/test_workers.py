"""A server with several workers is one server: whose session is where makes no difference to anybody."""

import contextlib
import signal
import time

import pytest

from harness import faults, pages, raw, tunnel, wait, ws
from harness.mux_client import LIMIT, OPENED, REFUSED, REJECT, WELCOME, Client

pytestmark = pytest.mark.tunnel
WORKERS = 3


@pytest.fixture
def start(pair, peer):
    """start(options) -> a plain server with several workers"""
    def run(*args, **kw):
        return pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None,
                           args=["--workers", str(WORKERS), "--status", "127.0.0.1:0", *args], **kw)
    return run


def state(server):
    return pages.Pages(server).json()


def sessions(server):
    return [worker["sessions"] for worker in state(server)["workers"]]


def test_sessions_are_spread_and_counted_together(start):
    server = start()
    assert server.wait_for("ready")["workers"] == WORKERS
    with contextlib.ExitStack() as stack:
        for _ in range(2 * WORKERS):
            assert stack.enter_context(Client(server)).answer == WELCOME
        now = state(server)
        assert sessions(server) == [2] * WORKERS
        assert sorted(session["worker"] for session in now["sessions"]) == sorted(2 * list(range(WORKERS)))
        assert now["session_count"] == 2 * WORKERS
        figures = pages.Pages(server).metrics()
        assert figures.sum("sessions") == figures.sum("sessions_opened_total") == figures.sum("links_opened_total") == 2 * WORKERS
        assert figures.sum("links") == 2 * WORKERS


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_links_find_their_session(start, pair, peer, tls):
    """Each link comes to the first worker; each session goes on over new ones wherever it is, and what it carries is complete."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls="server" if tls else None,
                         args=["--workers", str(WORKERS), "--status", "127.0.0.1:0"])
    proxy = faults.Proxy([("127.0.0.1", server.port)])
    with contextlib.ExitStack() as stack:
        stack.callback(proxy.close)
        clients = [pair.client(f"{'https' if tls else 'http'}://localhost:{proxy.port}", tcp={"raw": 0}) for _ in range(WORKERS)]
        assert sessions(server) == [1] * WORKERS
        socks = [stack.enter_context(raw.connect(tunnel.port(client, "raw"), "echo")) for client in clients]
        for number in range(4):
            marks = [client.mark() for client in clients]
            proxy.drop()
            for client, mark, sock in zip(clients, marks, socks):
                sock.sendall(b"word %d" % number)
                assert sock.recv(100) == b"word %d" % number
                client.wait_for("link_resumed", since=mark)
        for client in clients:
            raw.check_both(tunnel.port(client, "raw"), 4 << 20)
        assert sessions(server) == [1] * WORKERS and not server.events("session_rejected")
        # Counted per worker, shown in one place: what was carried in the end is all there.
        assert pages.Pages(server).metrics().sum("stream_bytes_total") >= WORKERS * 2 * (4 << 20)


def test_links_join_their_session(start):
    server = start()
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(Client(server, version=2)) for _ in range(WORKERS)]
        for client in first:
            joined = stack.enter_context(Client(server, key=client.key, attempt=2, join=True, version=2))
            assert joined.answer == WELCOME
        assert [worker["links"] for worker in state(server)["workers"]] == [2] * WORKERS
        assert pages.Pages(server).metrics().sum("link_joins_total", result="joined") == WORKERS


def test_unknown_sessions(start):
    server = start()
    with Client(server, key=b"\7" * 48, resume=True) as client:
        assert client.answer == REJECT and "unknown" in client.reason
    assert sessions(server) == [0] * WORKERS


def test_limits_of_an_identity_hold_at_all_workers_together(start):
    server = start("--max-sessions-per-identity", "4", "--max-streams-per-identity", "5")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server)) for _ in range(4)]
        assert [client.answer for client in clients] == [WELCOME] * 4
        for client in clients:
            for stream in range(1, 4):
                client.open(stream, "raw")
        kinds = [client.next_message((OPENED, REFUSED))[0] for client in clients for _ in range(3)]
        assert kinds.count(OPENED) == 5
        fifth = stack.enter_context(Client(server))
        assert (fifth.answer, fifth.code) == (REJECT, LIMIT) and "--max-sessions-per-identity" in fifth.reason
        figures = pages.Pages(server).metrics()
        assert figures.sum("limited_total", limit="sessions_of_identity") == 1
        assert figures.sum("limited_total", limit="connections_of_identity") == 7


def test_a_place_is_found_at_whichever_worker_it_is(start):
    """A session without link and streams makes room for another one that would begin elsewhere."""
    server = start("--max-sessions", "3")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server)) for _ in range(3)]
        for number in range(3):
            clients[number].sock.close()
            wait.until(lambda number=number: len(server.events("link_lost")) == number + 1, 10, "a lost link")
            assert stack.enter_context(Client(server)).answer == WELCOME, "the place of worker %d" % number
        assert stack.enter_context(Client(server)).answer == REJECT


def test_who_has_most_gives_way_at_another_worker(start):
    """Sessions of one identity at every worker; another one gets its part nevertheless."""
    server = start("--max-sessions", "6")
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            assert stack.enter_context(Client(server)).answer == WELCOME
        for number in range(3):
            assert stack.enter_context(Client(server, source="127.0.0.3")).answer == WELCOME, f"newcomer {number}"
        assert len(server.events("session_gave_way")) == 3 and sum(sessions(server)) == 6


def test_strangers_before_hello_take_no_place_of_others(start):
    server = start("--max-handshakes", "4")
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            sock, status, _ = ws.upgrade(server)
            stack.callback(sock.close)
            assert status == 101
        assert stack.enter_context(Client(server, source="127.0.0.3")).answer == WELCOME


def test_draining(start, pair):
    """All workers drain: the program ends as soon as the last session has, wherever that is."""
    server = start(drain="20")
    clients = [pair.client(server, tcp={"raw": 0}) for _ in range(WORKERS)]
    with raw.connect(tunnel.port(clients[-1], "raw"), "echo") as last:
        last.sendall(b"before")
        assert last.recv(10) == b"before"
        server.popen.send_signal(signal.SIGTERM)
        for client in clients:
            client.wait_for("server_going_away")
        last.sendall(b"after")
        assert last.recv(10) == b"after"
    started = time.monotonic()
    assert server.wait_exit(10) == 0 and time.monotonic() - started < 8


def test_stopping_with_sessions_everywhere(start, pair):
    server = start()
    for _ in range(WORKERS):
        client = pair.client(server, tcp={"raw": 0})
        assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
    server.popen.send_signal(signal.SIGTERM)
    assert server.wait_exit(10) == 0
    assert len(server.events("audit_session")) == WORKERS


def test_pages_while_sessions_come_and_go(start):
    """Figures are asked for again and again while workers are busy: none is torn, none is lost."""
    server = start()
    page = pages.Pages(server)
    opened = 0
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        with Client(server) as client:
            assert client.answer == WELCOME
            opened += 1
            client.open(1, "raw")
            assert client.next_message((OPENED, REFUSED))[0] == OPENED
            assert page.metrics().sum("sessions_opened_total") == opened
            assert sum(sessions(server)) >= 1
    assert opened > 5 and not server.events("worker_hangs")
