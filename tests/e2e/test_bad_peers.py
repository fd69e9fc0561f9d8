"""Bytes nobody should send, on every port: closed and bounded, and nobody else notices."""

import random
import socket
import ssl
import struct
import time

import pytest

from harness import fakes, process, raw, tunnel, wait, ws

pytestmark = pytest.mark.tunnel

# Garbage, the same in every run.
NOISE = random.Random(7)


IMPATIENT = ["--handshake-timeout", "2s"]


@pytest.fixture
def server(request, pair, peer):
    """With options, if a test gives some."""
    return pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None, args=getattr(request, "param", ()))


impatient = pytest.mark.parametrize("server", [IMPATIENT], indirect=True, ids=["impatient"])


@pytest.fixture
def client(pair, server):
    return pair.client(server, tcp={"peer": 0})


@pytest.fixture
def unharmed(client, server):
    """A stream opened before and used after the misdeed, and a new one: both must work."""
    sock = raw.connect(tunnel.port(client, "peer"), "echo")
    sock.sendall(b"before")
    assert sock.recv(6) == b"before"
    yield
    sock.sendall(b"after")
    assert sock.recv(5) == b"after"
    sock.close()
    assert raw.echo_once(tunnel.port(client, "peer"), b"new") == b"new"
    assert not client.events("dial_failed"), "the link was lost"


# -- before the upgrade ----------------------------------------------------------------------------------------------

NO_HTTP = {
    "random bytes": NOISE.randbytes(4096),
    "TLS hello on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + NOISE.randbytes(500),
    "a Kafka request": struct.pack(">ihhih", 20, 18, 3, 1, 4) + b"test" + bytes(6),
    "no such method": b"BREW /tunnel HTTP/1.1\r\nHost: x\r\n\r\n",
    "endless header": b"GET /tunnel HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 200_000,
    "a million headers": b"GET /tunnel HTTP/1.1\r\n" + b"X-A: b\r\n" * 100_000,
    "endless path": b"GET /" + b"a" * 100_000,
    "nothing but zeros": bytes(10_000),
    "newlines": b"\r\n" * 10_000,
}


@pytest.mark.parametrize("case", NO_HTTP)
def test_garbage_instead_of_http(case, server, unharmed):
    sock = ws.connect(server)
    try:
        sock.sendall(NO_HTTP[case])
    except ConnectionError:
        pass
    assert ws.closed_within(sock, 60), "still open"


@pytest.mark.parametrize("headers", [
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
    b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
], ids=["no key", "another protocol"])
def test_half_an_upgrade(headers, server, unharmed):
    sock = ws.connect(server)
    sock.sendall(b"GET /tunnel HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n")
    head = ws.read_head(sock)
    sock.close()
    assert not head.startswith("HTTP/1.1 101"), head


@impatient
def test_slow_headers_are_ended(server, unharmed):
    """One byte now and then must not hold a connection for ever."""
    slow = [ws.connect(server) for _ in range(20)]
    head = ws.request()
    start = time.monotonic()
    ended = set()

    def trickle():
        at = int((time.monotonic() - start) / 0.5)
        for i, sock in enumerate(slow):
            if i in ended:
                continue
            try:
                sock.setblocking(False)
                if at < len(head) - 4:
                    sock.send(head[at:at + 1])
                if sock.recv(4096) == b"":
                    ended.add(i)
            except BlockingIOError:
                pass
            except OSError:
                ended.add(i)
        return len(ended) == len(slow)
    wait.until(trickle, 70, lambda: f"{len(slow) - len(ended)} slow connections still open", 0.5)


@impatient
def test_silent_connections_are_ended(server, unharmed):
    quiet = [ws.connect(server) for _ in range(20)]
    for sock in quiet:
        assert ws.closed_within(sock, 70), "a connection that says nothing stays open"


# -- after the upgrade -----------------------------------------------------------------------------------------------

BAD_FRAMES = {
    "garbage": NOISE.randbytes(3000),
    "unmasked": ws.frame(2, b"x" * 100, mask=False),
    "text": ws.frame(1, b"hello"),
    "reserved bit": ws.frame(2, b"x", rsv=4),
    "reserved opcode 3": ws.frame(3, b"x"),
    "reserved opcode 11": ws.frame(11, b"x"),
    "oversized ping": ws.frame(9, b"p" * 126),
    "oversized close": ws.frame(8, b"\x03\xe8" + b"c" * 200),
    "fragmented ping": ws.frame(9, b"p", fin=False),
    "continuation of nothing": ws.frame(0, b"x"),
    "length beyond 2^63": struct.pack(">BBQ", 0x82, 0x80 | 127, 1 << 63 | 5) + bytes(4),
    "length not minimal": struct.pack(">BBH", 0x82, 0x80 | 126, 5) + bytes(4) + b"hello",
    "close with one byte": ws.frame(8, b"x"),
    "no tunnel frame": ws.frame(2, b"GET / HTTP/1.1\r\n\r\n" * 10),
    "tunnel garbage": ws.frame(2, NOISE.randbytes(2000)),
    "zeros": ws.frame(2, bytes(5000)),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_bad_frames_end_that_link_only(case, server, unharmed):
    sock, status, head = ws.upgrade(server)
    assert status == 101, head
    mark = server.mark()
    sock.sendall(BAD_FRAMES[case])
    assert ws.closed_within(sock, 40), "still open"
    wait.until(lambda: server.lines(mark), 5, "a log line about it")
    sock.close()


def test_a_frame_that_never_ends_is_bounded(server, unharmed):
    """A frame header claims a terabyte: nothing is allocated for it, and the link ends."""
    before = server.rss_mib()
    sock, status, _ = ws.upgrade(server)
    assert status == 101
    try:
        sock.sendall(ws.frame(2, b"", length=1 << 40))
        for _ in range(400):
            sock.sendall(bytes(1 << 18))
    except OSError:
        pass
    assert ws.closed_within(sock, 40), "still open"
    assert server.rss_mib() < before + 40, f"{before:.1f} -> {server.rss_mib():.1f} MiB"


@pytest.mark.slow
def test_upgraded_and_silent(server, unharmed):
    """A link without HELLO is ended."""
    sock, status, _ = ws.upgrade(server)
    assert status == 101
    assert ws.closed_within(sock, 70), "still open"


@pytest.mark.slow
def test_ping_is_answered_before_hello_or_the_link_ends(server, unharmed):
    sock, status, _ = ws.upgrade(server)
    assert status == 101
    for _ in range(2000):
        try:
            sock.sendall(ws.frame(9, b"flood"))
        except OSError:
            break
    assert ws.closed_within(sock, 70)


def test_many_links_of_garbage_leave_nothing(server, client, unharmed, figure):
    raw.echo_once(tunnel.port(client, "peer"))
    descriptors, rss = server.descriptors(), server.rss_mib()
    for i in range(150):
        sock, status, _ = ws.upgrade(server)
        assert status == 101
        sock.sendall(list(BAD_FRAMES.values())[i % len(BAD_FRAMES)])
        sock.close()
    wait.until(lambda: server.descriptors() <= descriptors, 40,
               lambda: f"{server.descriptors()} descriptors, {descriptors} before", 0.2)
    figure("server", f"{rss:.1f} -> {server.rss_mib():.1f} MiB")
    assert server.rss_mib() < rss + 24


def test_tls_garbage(pair, peer):
    """On a TLS port: garbage, a plain request, a handshake broken off."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, args=IMPATIENT)
    client = pair.client(server, tcp={"peer": 0})
    opened = []
    for data in (NOISE.randbytes(1000), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"\x16\x03\x01\x40\x00" + NOISE.randbytes(100), b""):
        opened.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        opened[-1].sendall(data)
    for i, sock in enumerate(opened):
        assert ws.closed_within(sock, 60), f"number {i} is still open"
    assert raw.echo_once(tunnel.port(client, "peer"), b"fine") == b"fine"


def test_streams_reset_for_whatever_reason(server, unharmed):
    """A client may give any code for a reset, also one that only servers have a use for."""
    sock, status, _ = ws.upgrade(server)
    assert status == 101
    messages, codes = b"", range(20)
    for code in codes:
        stream = code + 1
        opened = struct.pack(">IBi", stream, 3, -1) + b"\x04peer" + b"\x00"
        reset = struct.pack(">IQH", stream, 0, code) + b"\x00"
        messages += struct.pack(">BBH", 1, 0, len(opened)) + opened + struct.pack(">BBH", 6, 0, len(reset)) + reset
    mark = server.mark()
    sock.sendall(ws.frame(2, ws.hello() + ws.mux_frame(5, 0, bytes(8) + messages)))
    wait.until(lambda: len(tunnel.cut_streams(server, mark)) == len(codes), 20, "every stream is reset")
    sock.close()


def test_part_of_a_tls_record_is_waited_for(pair, peer, pki):
    """Records arrive in pieces on every real network: the rest is waited for, not asked for again and again."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"})
    context = ssl.create_default_context(cafile=str(pki.ca))
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sent, server_hostname="localhost")
    with socket.create_connection(("localhost", server.port), timeout=20) as sock:
        def exchange(step):
            while True:
                try:
                    done = step()
                    sock.sendall(sent.read())
                    return done
                except ssl.SSLWantReadError:
                    sock.sendall(sent.read())
                    received.write(sock.recv(65536))
        exchange(tls.do_handshake)
        exchange(lambda: tls.write(ws.request()))
        assert b" 101 " in exchange(lambda: tls.read(65536))
        tls.write(ws.frame(2, bytes(10_000)))
        record = sent.read()
        busy = server.cpu_seconds()
        sock.sendall(record[:5000])
        # Time passes: what is asked is how little is done in it.
        time.sleep(1)
        assert server.cpu_seconds() - busy < 0.3
        sock.sendall(record[5000:])
        assert ws.closed_within(sock, 20), "zeros are no HELLO"


# -- the client's listeners ------------------------------------------------------------------------------------------


@pytest.fixture
def kafka_client(pair):
    """A Kafka listener."""
    with fakes.Broker() as broker:
        yield pair.client(pair.server(kafka=broker.address, tls=None), kafka={"kafka": 0})


def test_tls_spoken_to_a_kafka_listener(kafka_client):
    context = ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", tunnel.port(kafka_client, "kafka")), 20) as sock:
        with pytest.raises(OSError):
            context.wrap_socket(sock, server_hostname="localhost")
    line = kafka_client.wait_log("TLS")
    assert "security.protocol" in line or "plaintext" in line.lower(), line


def test_http_spoken_to_a_kafka_listener(kafka_client):
    sock = socket.create_connection(("127.0.0.1", tunnel.port(kafka_client, "kafka")), 20)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert ws.closed_within(sock, 20)
    kafka_client.wait_log("HTTP")


@pytest.mark.parametrize("data", [
    struct.pack(">i", -1) + bytes(20), struct.pack(">i", 0x7FFFFFFF) + bytes(20), struct.pack(">ihhi", 4, 3, 9, 1),
    struct.pack(">ihhih", 20, 999, 0, 1, 0) + bytes(10),
], ids=["negative length", "invalid length", "too short", "unknown api"])
def test_impossible_kafka_requests(data, kafka_client, kafka_route):
    """That connection ends with a log line; a real client beside it notices nothing."""
    sock = socket.create_connection(("127.0.0.1", tunnel.port(kafka_route.client, "kafka")), 20)
    before = (kafka_route.client.mark(), kafka_route.server.mark())
    sock.sendall(data)
    assert ws.closed_within(sock, 40)
    assert wait.until(lambda: kafka_route.client.lines(before[0]) or kafka_route.server.lines(before[1]), 10, "a log line")
    listed = process.run(["kcat", "-b", kafka_route.bootstrap, "-L", "-m", "20"], 30).stdout
    assert "3 brokers" in listed


def test_target_that_speaks_no_kafka(pair, tmp_path):
    """The broker address leads to an HTTP server: the connection ends, and the log says what answered."""
    with fakes.Fake(fakes.HTML) as fake:
        fake_port = fake.port
        server = pair.server(kafka=f"127.0.0.1:{fake_port}", tls=None)
        client = pair.client(server, kafka={"kafka": 0})
        sock = socket.create_connection(("127.0.0.1", tunnel.port(client, "kafka")), 20)
        # A Kafka request that an HTTP server takes for the head of a request.
        body = struct.pack(">hhih", 18, 0, 1, 4) + b"\r\n\r\n"
        sock.sendall(struct.pack(">i", len(body)) + body)
        assert ws.closed_within(sock, 30)
        mark = client.log() + server.log()
        assert any(w in mark.lower() for w in ("malformed", "length", "impossible", "protocol", "http", "not kafka")), mark[-2000:]


def test_unknown_target_is_refused(pair, peer):
    """The client asks for a name the server does not offer: said at start, on both sides; connections are reset."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None)
    client = pair.client(server, tcp={"peer": 0, "nosuch": 0}, ready=False)
    client.wait_log("nosuch.*(unknown|not offer|no such|does not)|(unknown|not offer|no such|does not).*nosuch")
    client.wait_log("offered\":\"--tcp peer\"")
    port = tunnel.port(client, "nosuch")
    with pytest.raises(ConnectionError):
        with raw.connect(port, "echo") as sock:
            assert sock.recv(1) != b"", "a clean end of file"
    server.wait_log("nosuch")
    assert raw.echo_once(tunnel.port(client, "peer"), b"the other works") == b"the other works"


# -- out of descriptors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["client", "server"])
def test_out_of_descriptors(which, pair, peer):
    """Accepting pauses and says so; nothing dies; when some come back it goes on."""
    few = 60
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None, descriptors=few if which == "server" else None)
    client = pair.client(server, tcp={"peer": 0}, descriptors=few if which == "client" else None)
    short = client if which == "client" else server
    port = tunnel.port(client, "peer")
    mark = short.mark()
    sockets = []
    for _ in range(150):
        try:
            sockets.append(raw.connect(port, "echo", timeout=5))
        except OSError:
            break
    short.wait_log("descriptor|too many open files|EMFILE", since=mark, deadline=20)

    def at_rest():
        """One second of its life: no more log lines than a few, hardly any processor time."""
        lines, busy = len(short.lines(mark)), short.cpu_seconds()
        time.sleep(1)
        return len(short.lines(mark)) - lines < 5 and short.cpu_seconds() - busy < 0.3
    wait.until(at_rest, 15, "it neither spins nor floods the log while it has no descriptors")
    for sock in sockets:
        sock.close()

    def recovered():
        try:
            return raw.echo_once(port, b"back", timeout=5) == b"back"
        except OSError:
            return False
    wait.until(recovered, 30, "it serves again", 0.2)
    assert client.alive() and server.alive()


def test_many_links_at_the_server_port(pair, peer):
    """The server's port itself runs out of descriptors; links that stand go on."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None, descriptors=60)
    client = pair.client(server, tcp={"peer": 0})
    mark = server.mark()
    flood = []
    for _ in range(120):
        try:
            flood.append(socket.create_connection(("127.0.0.1", server.port), timeout=5))
        except OSError:
            break
    server.wait_log("descriptor|too many open files|EMFILE", since=mark, deadline=20)
    assert not client.events("dial_failed")
    for sock in flood:
        sock.close()

    def recovered():
        try:
            return raw.echo_once(tunnel.port(client, "peer"), b"back", timeout=5) == b"back"
        except OSError:
            return False
    wait.until(recovered, 30, "it serves again", 0.2)
