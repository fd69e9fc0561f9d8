"""Several links in a session: they come where the path is long, go and are replaced without an outage, and are not insisted on."""

import contextlib
import socket
import struct
import threading
import time

import pytest

from harness import fakes, faults, mux, pages, raw, tunnel, wait, ws

pytestmark = pytest.mark.tunnel
MIB = 1 << 20
UNKNOWN_SESSION, LIMIT = 12, 6
JOIN = 2


class Door(fakes.Listening):
    """An ingress that lets `allowed` WebSockets in at a time, and answers one more with `refusal`; b"" closes the connection without a
    word. `delay` s each way behind it. `opened` counts all who asked."""

    def __init__(self, target, allowed, refusal, delay=0.025):
        self.allowed, self.refusal = allowed, refusal
        self.opened = self.refused = self.inside = 0
        self.lock = threading.Lock()
        self.way = faults.Proxy([target])
        self.way.delay = delay
        super().__init__()

    def close(self):
        fakes.close(self.listener)
        self.way.close()

    def _serve(self, sock):
        with self.lock:
            self.opened += 1
            full = self.inside >= self.allowed
            self.refused += full
            self.inside += not full
        with sock, contextlib.suppress(OSError):
            if full:
                ws.read_head(sock)
                sock.sendall(self.refusal)
                return
            try:
                with socket.create_connection(("127.0.0.1", self.way.port)) as other:
                    back = threading.Thread(target=self._pipe, args=(other, sock), daemon=True)
                    back.start()
                    self._pipe(sock, other)
                    back.join(10)
            finally:
                with self.lock:
                    self.inside -= 1

    @staticmethod
    def _pipe(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def far(pair, peer):
    """start(...): server, proxy (25 ms each way) and client."""
    made = []

    def start(client=(), server=(), door=None):
        far_end = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=server)
        target = "127.0.0.1", far_end.port
        if door:
            made.append(door(target))
        else:
            made.append(faults.Proxy([target]))
            made[-1].delay = 0.025
        return far_end, made[-1], pair.client(f"http://127.0.0.1:{made[-1].port}", tcp={"raw": 0},
                                              args=["--log-level", "debug", *client])
    yield start
    for one in made:
        one.close()


@contextlib.contextmanager
def load(client):
    """Bytes both ways until the end, and then all of them are checked."""
    stop, failure = threading.Event(), []

    def run():
        try:
            while not stop.is_set():
                raw.check_both(tunnel.port(client, "raw"), 8 * MIB)
        except BaseException as error:  # pylint: disable=broad-except
            failure.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)
    assert not thread.is_alive()
    if failure:
        raise failure[0]


def no_outage(*programs):
    for program in programs:
        loud = [e for e in program.events() if e.get("level") in ("warning", "error") or e.get("event") in ("link_lost", "session_lost")]
        assert not loud, loud


def passes(seconds):
    since = time.monotonic()
    wait.until(lambda: time.monotonic() - since > seconds, seconds + 5, "time")


def links(client):
    """How many the client has now, by its log."""
    count = 0
    for e in client.events():
        if e["event"] in ("link_up", "link_resumed"):
            count = 1
        elif e["event"] in ("link_joined", "link_left", "link_closed"):
            count = e["links"]
        elif e["event"] == "link_lost":
            count = 0
    return count


def test_they_come_under_load(far):
    """On a long path; every byte is at its place."""
    server, _, client = far()
    with load(client):
        client.wait_for("link_joined", links=2)
    assert server.wait_for("link_joined")["session"] == server.events("session_up")[0]["session"]
    no_outage(client, server)


def test_not_on_loopback(pair, peer):
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
    client = pair.client(server, tcp={"raw": 0})
    raw.check_both(tunnel.port(client, "raw"), 256 * MIB)
    assert not client.events("link_joined")


def test_one_is_what_there_was_before(far):
    server, proxy, client = far(client=["--links", "1"])
    raw.check_both(tunnel.port(client, "raw"), 32 * MIB)
    assert proxy.accepted == 1 and not server.events("link_joined")


def test_a_peer_that_speaks_version_1(pair):
    """Its session has one link, however long the path is."""
    def on_open(stream):
        return [(mux.OPENED, struct.pack(">I", stream))]
    with mux.Server(mux.welcome(offers=((mux.TCP, "raw"),)), on_open) as server:
        proxy = faults.Proxy([("127.0.0.1", server.port)])
        proxy.delay = 0.025
        client = pair.client(f"http://127.0.0.1:{proxy.port}", tcp={"raw": 0})
        with raw.connect(tunnel.port(client, "raw"), None) as sock:
            sock.settimeout(1)
            with contextlib.suppress(socket.timeout):
                sock.sendall(bytes(4 * MIB))
        assert proxy.accepted == 1
        proxy.close()


def test_the_server_allows_one(far):
    """Nobody misses the second, and it is not asked for again soon."""
    server, proxy, client = far(server=["--max-links", "1"])
    with load(client):
        failed = client.wait_for("join_failed")
        passes(2)  # whoever insists would do so now
    assert "--max-links" in failed["reason"] and failed["retry_ms"] >= 30000 and failed["links"] == 1, failed
    assert "--max-links" in server.wait_for("join_refused")["reason"]
    assert proxy.accepted == 2
    no_outage(client, server)


@pytest.mark.parametrize("refusal, retry_ms", [
    (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", 30000),
    (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 50\r\nContent-Length: 0\r\n\r\n", 50000),
    (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 30000),
    (b"", 30000)])
def test_an_ingress_that_allows_one(refusal, retry_ms, far):
    """It is dialled twice: once for the link, once for one more; then not for half a minute, or what it asks for."""
    server, door, client = far(door=lambda target: Door(target, 1, refusal))
    with load(client):
        failed = client.wait_for("join_failed")
        passes(2)  # whoever insists would do so now
    assert retry_ms <= failed["retry_ms"] <= retry_ms * 1.25 and failed["links"] == 1, failed
    assert failed["level"] == "info" and door.opened == 2
    no_outage(client, server)


def test_one_of_two_is_cut(far):
    """Again and again, and connections do not notice: the other one carries on, and the lost one is replaced."""
    server, proxy, client = far()
    with load(client):
        client.wait_for("link_joined")
        for _ in range(4):
            wait.until(lambda: links(client) >= 2 and proxy.count() >= 2, 20, "two links")
            # Who cuts a link for each new one is another matter (tunnel-client/joining.h).
            passes(1)
            mark = client.mark()
            with proxy.lock:
                proxy._end(proxy.links[0])
            left = client.wait_for("link_left", since=mark)
            assert left["level"] == "info" and left["links"] >= 1
            client.wait_for("link_joined", since=mark)
    assert len(server.events("session_up")) == 1 and not server.events("session_resumed")
    no_outage(client, server)


def test_all_are_cut(far):
    """One link resumes the session, and more come again."""
    server, proxy, client = far()
    with load(client):
        client.wait_for("link_joined")
        for _ in range(3):
            mark = client.mark()
            proxy.drop()
            client.wait_for("link_resumed", since=mark)
            client.wait_for("link_joined", since=mark)
    assert len(server.events("session_resumed")) >= 3 and not client.events("session_lost")


def test_one_stops_without_a_word(far):
    """What it had goes over the other one long before it is given up."""
    server, proxy, client = far()
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        with load(client):
            client.wait_for("link_joined")
            with proxy.lock:
                proxy.links[0].stalled = True
            before, longest = time.monotonic(), 0
            while time.monotonic() - before < 4:
                asked = time.monotonic()
                sock.sendall(b"ping")
                got = b""
                while len(got) < 4:
                    got += sock.recv(4)
                longest = max(longest, time.monotonic() - asked)
            client.wait_for("link_left", deadline=20)
    assert longest < 3, longest
    no_outage(client, server)


def test_links_over_instances_without_stickiness(pair, peer, tmp_path):
    """With --peers each link is handed on to the instance that has the session; without, it is refused, and the client says why."""
    secret = tmp_path / "secret"
    secret.write_text("between-us\n")
    for handed_on in (True, False):
        ports = [wait.free_port() for _ in range(2)]
        servers = [pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=[
            *(f"--peers=127.0.0.1:{other}" for other in ports), f"--peer-listen=127.0.0.1:{port}",
            f"--peer-secret-file={secret}"] if handed_on else []) for port in ports]
        proxy = faults.Proxy([("127.0.0.1", s.port) for s in servers])
        proxy.delay = 0.025
        client = pair.client(f"http://127.0.0.1:{proxy.port}", tcp={"raw": 0})
        with load(client):
            if handed_on:
                client.wait_for("link_joined")
            else:
                failed = client.wait_for("join_failed")
                assert "several instances" in failed["reason"] and "--peers" in failed["reason"], failed
                assert failed["retry_ms"] >= 30000
        if handed_on:
            assert any(s.events("link_forwarded") for s in servers)
        else:
            assert any(s.events("join_refused") for s in servers)
        no_outage(client, *servers)
        proxy.close()


def test_a_server_that_stops_keeps_the_links(far):
    """The session that ends keeps all of them until its last connection is over."""
    server, proxy, client = far(server=["--drain-timeout", "20"])
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        with load(client):
            client.wait_for("link_joined")
        with contextlib.ExitStack() as stack:
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            stack.callback(stopping.join)
            client.wait_for("server_going_away")
            for number in range(20):
                sock.sendall(b"%02d" % number)
                assert sock.recv(2) == b"%02d" % number
            sock.shutdown(socket.SHUT_WR)
            assert raw.read_rest(sock) == b""
            client.wait_for("server_left")
    assert not client.events("link_left") and not client.events("session_lost")


def test_the_client_stops(far):
    """Both links are closed in good order, and the server keeps nothing."""
    server, _, client = far()
    with load(client):
        client.wait_for("link_joined")
    assert client.stop() == 0
    assert server.wait_for("audit_session")["end"] == "complete"
    assert server.events("audit_session")[0]["links"] >= 2
    no_outage(server)


def hello(key, attempt, flags, version=2):
    return ws.mux_frame(1, 0, struct.pack(">IHHHII", 0x4B54554E, version, version, flags, attempt, 1 << 20) + key + b"\x04test")


class Link:
    """A link of a client by hand, in version 2."""

    def __init__(self, server, key=bytes(48), attempt=1, flags=0, token=None):
        self.sock, status, _ = ws.upgrade(server, [f"Authorization: Bearer {token}"] if token else [])
        assert status == 101
        self.sock.settimeout(20)
        self.sock.sendall(ws.frame(2, hello(key, attempt, flags)))
        head = self._exactly(2)
        size = head[1] & 127
        if size > 125:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        payload = self._exactly(size)
        self.answer, body = payload[0], payload[8:]
        self.key = body[12:60]
        self.code = struct.unpack_from(">H", body)[0]
        self.reason = body[7:].decode("latin-1")

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            got = self.sock.recv(size - len(data))
            if not got:
                raise EOFError
            data += got
        return data

    def ended(self):
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass
        return True


def test_who_may_not_join(pair, peer):
    """An unknown session, a wrong secret, an old attempt, one too many: refused with the reason; the others go on."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=["--max-links", "3"])
    first = Link(server)
    assert first.answer == mux.WELCOME
    second = Link(server, first.key, 2, JOIN)
    assert second.answer == mux.WELCOME and second.key == first.key
    wrong = bytearray(first.key)
    wrong[-1] ^= 1
    for key, attempt, code in ((bytes(48), 3, UNKNOWN_SESSION), (bytes(wrong), 3, UNKNOWN_SESSION), (first.key, 2, LIMIT),
                               (first.key, 1, LIMIT)):
        assert (refused := Link(server, key, attempt, JOIN)).answer == mux.REJECT and refused.code == code, refused.reason
    third = Link(server, first.key, 3, JOIN)
    assert third.answer == mux.WELCOME
    many = Link(server, first.key, 4, JOIN)
    assert many.answer == mux.REJECT and many.code == LIMIT and "--max-links" in many.reason
    # A resume closes all of them; then there is room.
    resumed = Link(server, first.key, 5, 1)
    assert resumed.answer == mux.WELCOME and first.ended() and second.ended() and third.ended()
    server.wait_for("session_resumed")
    no_outage(server)


def test_somebody_else_may_not_join(pair, peer, tmp_path):
    """Whatever secret he knows."""
    tokens = tmp_path / "tokens"
    tokens.write_text("alices-token-123 alice\nbobs-token-456 bob\n")
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=["--token-file", tokens])
    alice = Link(server, token="alices-token-123")
    bob = Link(server, alice.key, 2, JOIN, token="bobs-token-456")
    assert bob.answer == mux.REJECT and bob.code == UNKNOWN_SESSION
    assert server.wait_for("join_refused")["identity"] == "bob"
    assert Link(server, alice.key, 2, JOIN, token="alices-token-123").answer == mux.WELCOME


def test_a_broken_protocol_ends_all_links(pair, peer):
    """Whatever is wrong on one of them."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
    first = Link(server)
    second = Link(server, first.key, 2, JOIN)
    third = Link(server, first.key, 3, JOIN)
    second.sock.sendall(ws.frame(2, ws.mux_frame(77, 0, b"")))
    server.wait_for("protocol_error")
    assert first.ended() and second.ended() and third.ended()
    server.wait_for("audit_session")
    assert Link(server, first.key, 4, 1).code == UNKNOWN_SESSION


def test_what_there_is_to_see(far):
    """The figures count links, and sessions as before."""
    server, _, client = far(client=["--status", "127.0.0.1:0"], server=["--status", "127.0.0.1:0"])
    with load(client):
        client.wait_for("link_joined")
    for program in (client, server):
        figures = pages.Pages(program).metrics()
        assert figures.sum("links") == links(client), program.name
        assert figures.sum("sessions") == 1 == figures.sum("sessions_opened_total")
        assert figures.sum("links_opened_total") == links(client)
    assert pages.Pages(client).json()["link"]["state"] == "up"
