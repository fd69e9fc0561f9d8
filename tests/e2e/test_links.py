"""Several links in a session: they come where the path is long, go and are replaced without an outage, and are not insisted on."""

import contextlib
import queue
import socket
import struct
import threading
import time

import pytest

from harness import fakes, faults, mux, pages, raw, tunnel, wait, ws

pytestmark = pytest.mark.tunnel
MIB = 1 << 20
UNKNOWN_SESSION, LIMIT = 12, 6
RESUME, JOIN = 1, 2


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
        return far_end, made[-1], pair.client(f"http://127.0.0.1:{made[-1].port}", tcp={"raw": 0}, several=True,
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
        loud = [e for e in program.events() if e.get("event") not in ("capacity", "listener_at_risk") and (  # said at the start
            e.get("level") in ("warning", "error") or e.get("event") in ("link_lost", "session_lost"))]
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


@pytest.mark.alone  # on a machine that has much else to do, loopback is a long path
def test_not_on_loopback(pair, peer):
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
    client = pair.client(server, tcp={"raw": 0}, several=True)
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
        client = pair.client(f"http://127.0.0.1:{proxy.port}", tcp={"raw": 0}, several=True)
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
    server, proxy, client = far(client=["--links", "2"])  # with more, another one may have just come when one is cut
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
    secret.chmod(0o600)
    for handed_on in (True, False):
        ports = [wait.free_port() for _ in range(2)]
        servers = [pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=[
            *(f"--peers=127.0.0.1:{other}" for other in ports), f"--peer-listen=127.0.0.1:{port}",
            f"--peer-secret-file={secret}"] if handed_on else []) for port in ports]
        proxy = faults.Proxy([("127.0.0.1", s.port) for s in servers])
        proxy.delay = 0.025
        client = pair.client(f"http://127.0.0.1:{proxy.port}", tcp={"raw": 0}, several=True)
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

    def __init__(self, server, key=bytes(48), attempt=1, flags=0, token=None, source=None):
        self.sock, status, _ = ws.upgrade(server, [f"Authorization: Bearer {token}"] if token else [], source=source)
        assert status == 101
        self.sock.settimeout(20)
        self.sock.sendall(ws.frame(2, hello(key, attempt, flags)))
        head = ws.exactly(self.sock, 2)
        size = head[1] & 127
        if size > 125:
            size = int.from_bytes(ws.exactly(self.sock, 2 if size == 126 else 8), "big")
        payload = ws.exactly(self.sock, size)
        self.answer, body = payload[0], payload[8:]
        self.key = body[12:60]
        self.code = struct.unpack_from(">H", body)[0]
        self.reason = body[7:].decode("latin-1")

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
    tokens.chmod(0o600)
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=["--token-file", tokens])
    alice = Link(server, token="alices-token-123")
    bob = Link(server, alice.key, 2, JOIN, token="bobs-token-456")
    assert bob.answer == mux.REJECT and bob.code == UNKNOWN_SESSION
    assert server.wait_for("join_refused")["identity"] == "bob"
    assert Link(server, alice.key, 2, JOIN, token="alices-token-123").answer == mux.WELCOME


def test_joined_links_give_way(pair, peer, tmp_path):
    """They are a quarter of the descriptors at the most; whoever has fewer gets one of those that have more, whose sessions go on."""
    tokens = tmp_path / "tokens"
    tokens.write_text("alices-token-123 alice\nbobs-token-456 bob\n")
    tokens.chmod(0o600)
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, descriptors=48,  # just enough for one worker
                         args=["--token-file", tokens, "--max-links", "16", "--status", "127.0.0.1:0", "--workers", "1"])
    alice = [Link(server, token="alices-token-123")]
    while (link := Link(server, alice[0].key, len(alice) + 1, JOIN, token="alices-token-123")).answer == mux.WELCOME:
        alice.append(link)
    assert len(alice) == 1 + 48 // 4 and link.code == LIMIT and "ulimit" in link.reason, (len(alice), link.reason)
    bob = Link(server, token="bobs-token-456")
    second = Link(server, bob.key, 2, JOIN, token="bobs-token-456")
    assert second.answer == mux.WELCOME
    assert server.wait_for("join_gave_way")["identity"] == "alice"
    assert pages.Pages(server).metrics().sum("links") == len(alice) - 1 + 2
    no_outage(server)


def test_joined_links_give_way_whosever_session_it_is(pair, peer):
    """Who is anonymous counts by his address, and may come from two: with a session from one and its links from the other."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, descriptors=48,
                         args=["--max-links", "16", "--workers", "1"])
    greedy = [Link(server, source="127.0.0.2")]
    while (link := Link(server, greedy[0].key, len(greedy) + 1, JOIN, source="127.0.0.3")).answer == mux.WELCOME:
        greedy.append(link)
    assert len(greedy) == 1 + 48 // 4
    modest = Link(server, source="127.0.0.4")
    assert Link(server, modest.key, 2, JOIN, source="127.0.0.4").answer == mux.WELCOME
    assert server.wait_for("join_gave_way")["peer"].startswith("127.0.0.3:")
    no_outage(server)


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


# -- a server by hand --------------------------------------------------------------------------------------------------


class Hand:
    """A server's end of a link, from the request on: the test answers. `flags` and `attempt` are HELLO's."""

    def __init__(self, sock, head):
        self.sock, self.head, self.bytes = sock, head, b""
        self.flags = self.attempt = self.closed = None

    def upgrade(self):
        """Answers the request, and reads HELLO."""
        self.sock.sendall(mux.accept_upgrade(self.head))
        _, body = self.frame(mux.HELLO)
        self.flags, self.attempt = struct.unpack_from(">HI", body, 8)
        return self

    def welcome(self):
        flags = {0: 0, RESUME: 1, JOIN: 2}[self.flags]
        self.send(mux.welcome(offers=((mux.TCP, "raw"),), version=2, flags=flags))
        if self.flags == RESUME:
            self.send(ws.mux_frame(4, 0, struct.pack(">QQQ", 0, 0, 262144)))
        return self

    def send(self, frames):
        self.sock.sendall(ws.frame(2, frames, mask=False))

    def frame(self, wanted):
        """(stream, payload) of the next frame of that type; pings are answered, others are not of interest."""
        while True:
            while len(self.bytes) >= 8:
                kind, _, size, stream = struct.unpack_from(">BBHI", self.bytes)
                if len(self.bytes) < 8 + size:
                    break
                body, self.bytes = self.bytes[8:8 + size], self.bytes[8 + size:]
                if kind == mux.PING:
                    self.send(ws.mux_frame(mux.PONG, 0, body))
                if kind == wanted:
                    return stream, body
            self.bytes += self._message()

    def end(self):
        """The close frame's payload; b"": the connection just ended."""
        with contextlib.suppress(OSError, EOFError):
            while True:
                self.frame(None)
        return self.closed or b""

    def serve(self):
        """Answers pings from now on."""
        threading.Thread(target=self.end, daemon=True).start()
        return self

    def cut(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.shutdown(socket.SHUT_RDWR)

    def _message(self):
        opcode, size = ws.exactly(self.sock, 2)
        size &= 127
        if size > 125:
            size = int.from_bytes(ws.exactly(self.sock, 2 if size == 126 else 8), "big")
        key, data = ws.exactly(self.sock, 4), ws.exactly(self.sock, size)
        data = bytes(byte ^ key[i % 4] for i, byte in enumerate(data))
        if opcode & 15 == 8:
            self.closed = data
            with contextlib.suppress(OSError):
                self.sock.sendall(ws.frame(8, data, mask=False))
            raise EOFError
        return data if opcode & 15 in (0, 2) else b""


class Hands(fakes.Listening):
    """Hands out each request that comes."""

    def __init__(self):
        self.requests = queue.Queue()
        super().__init__()

    def _serve(self, sock):
        sock.settimeout(30)
        with contextlib.suppress(OSError):
            self.requests.put(Hand(sock, ws.read_head(sock)))

    def next(self, deadline=15):
        return self.requests.get(timeout=deadline)

    def nobody(self, seconds):
        """Nobody comes for so long."""
        with pytest.raises(queue.Empty):
            self.next(seconds)


def more_links(count):
    return ws.mux_frame(14, 0, struct.pack(">I", count))


@pytest.fixture
def by_hand(pair):
    """(server, client, its first link), which is up."""
    with Hands() as server:
        client = pair.client(f"http://127.0.0.1:{server.port}", tcp={"raw": 0}, several=True, ready=False, args=["--log-level", "debug"])
        first = server.next().upgrade().welcome().serve()
        client.wait_for("link_up")
        yield server, client, first


def joined(server, client, number):
    link = server.next().upgrade()
    assert link.flags == JOIN
    link.welcome().serve()
    client.wait_for("link_joined", links=number)
    return link


def test_the_server_asks_for_links(by_hand):
    """It gets so many, one after another; when fewer are wanted, those that are too many are closed in good order."""
    server, client, first = by_hand
    first.send(more_links(3))
    links_now = [first, joined(server, client, 2), joined(server, client, 3)]
    assert [link.attempt for link in links_now] == [1, 2, 3]
    server.nobody(0.5)
    first.send(more_links(1))
    client.wait_for("link_closed", links=1)
    wait.until(lambda: sum(link.closed is not None for link in links_now) == 2, 10, "close frames")
    assert all(struct.unpack_from(">H", link.closed)[0] == 1000 for link in links_now if link.closed)
    no_outage(client)
    # And again.
    next(link for link in links_now if link.closed is None).send(more_links(2))
    joined(server, client, 2)


def test_a_link_that_is_saying_hello_when_the_last_is_lost(by_hand):
    """It has said that it joins: it is given up, and another one resumes."""
    server, client, first = by_hand
    first.send(more_links(2))
    joining = server.next().upgrade()
    assert joining.flags == JOIN
    first.cut()
    resumes = server.next().upgrade()
    assert resumes.flags == RESUME and resumes.attempt == joining.attempt + 1
    resumes.welcome().serve()
    client.wait_for("link_resumed")
    joined(server, client, 2)
    assert len(client.events("link_lost")) == 1 and not client.events("session_lost")


def test_a_dial_that_has_just_begun_when_the_last_is_lost(by_hand):
    """It resumes."""
    server, client, first = by_hand
    first.send(more_links(2))
    dialled = server.next()
    first.cut()
    client.wait_for("link_lost")
    assert dialled.upgrade().flags == RESUME
    dialled.welcome().serve()
    client.wait_for("link_resumed")
    joined(server, client, 2)


def test_a_dial_that_hangs_when_the_last_is_lost(by_hand):
    """It hangs where the lost one is gone: another one is made at once."""
    server, client, first = by_hand
    first.send(more_links(2))
    server.next()
    passes(1.2)
    first.cut()
    lost = client.wait_for("link_lost")
    assert lost["retry_ms"] <= 200, lost
    assert server.next(5).upgrade().flags == RESUME


@pytest.mark.parametrize("code, reason", [(LIMIT, "--max-links"), (UNKNOWN_SESSION, "several instances"), (9, "stops"), (13, "what")])
def test_a_join_that_is_rejected(code, reason, by_hand):
    """Whatever for: the session goes on over the link that it has, and that is all."""
    server, client, first = by_hand
    first.send(more_links(4))
    link = server.next().upgrade()
    link.send(mux.reject(reason, code))
    link.sock.close()
    failed = client.wait_for("join_failed")
    assert reason in failed["reason"] and failed["links"] == 1 and failed["retry_ms"] >= 30000, failed
    server.nobody(1)
    no_outage(client)
    assert first.closed is None


def test_goaway_with_two_links(by_hand):
    """The session that ends keeps both, a new one begins; GOAWAY comes over each of them and counts once."""
    server, client, first = by_hand
    first.send(more_links(2))
    second = joined(server, client, 2)
    with raw.connect(tunnel.port(client, "raw"), None):
        client.wait_for("connection_opened")
        for link in (first, second):
            link.send(mux.goaway("it stops"))
        new = server.next().upgrade()
        assert new.flags == 0 and new.attempt == 1
        new.welcome().serve()
        wait.until(lambda: len(client.events("link_up")) == 2, 10, "the new session")
        assert len(client.events("server_going_away")) == 1
        assert first.closed is None and second.closed is None
        server.nobody(0.5)
    # The connection is over with its client's reset: then so is the session.


def tell(links_now, wanted):
    for each in links_now:
        with contextlib.suppress(OSError):
            each.send(more_links(wanted))


@pytest.mark.parametrize("how", ["cut", "GONE", "MORE_LINKS"])
def test_a_server_that_takes_back_each_link(how, by_hand):
    """Closed as soon as it is up, or not wanted any more: the client does not dial as fast as it can."""
    server, client, first = by_hand
    first.send(more_links(8))
    # After a link that is not wanted any more, the next dial has five seconds to wait.
    end, dials, links_now = time.monotonic() + (8 if how == "MORE_LINKS" else 4), 0, [first]
    while (left := end - time.monotonic()) > 0:
        try:
            link = server.next(left).upgrade()
        except (queue.Empty, OSError, EOFError, StopIteration):  # a dial may be given up
            continue
        dials += 1
        link.welcome().serve()
        links_now.append(link)
        if how == "cut":
            link.cut()
        elif how == "GONE":
            first.send(ws.mux_frame(12, 0, struct.pack(">I", link.attempt)))
        else:
            tell(links_now, 1)
            wait.until(lambda: sum(each.closed is None for each in links_now) == 1, 10, "one is left")
            links_now = [each for each in links_now if each.closed is None]
            tell(links_now, 8)
    assert 2 <= dials <= 20, dials
    no_outage(client)
