"""What comes from an end that means no good, or knows no better, ends that end's session or connection, never a program."""

import contextlib
import socket
import struct
import threading
import time

import pytest

from harness import fakes, openssl, proxy as proxies, raw, tunnel, wait, wire, ws
from harness.mux_client import CLUSTER, DATA, EXPOSE, EXPOSED, GOAWAY, LISTENER, REJECT, RESET, UNKNOWN_SESSION, WELCOME, Client

pytestmark = pytest.mark.tunnel

VENDOR_API = 10_000


@pytest.fixture
def server(pair, peer):
    return pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None)


def check_alive(pair, server):
    client = pair.client(server, tcp={"peer": 0})
    assert raw.echo_once(tunnel.port(client, "peer")) == b"ping"
    assert server.popen.poll() is None


# ---- the tunnel protocol


def test_the_last_number_of_a_stream_is_used_once(pair, server):
    with Client(server) as client:
        client.open(2**32 - 1, "peer")
        client.open(2**32 - 1, "peer")
        with contextlib.suppress(OSError):
            client.send(ws.mux_frame(GOAWAY, 0, struct.pack(">HH", 9, 0)))
            client.sock.sendall(ws.frame(8, struct.pack(">H", 1000)))
        assert ws.closed_within(client.sock, 20)
    assert "OPEN" in server.wait_for("protocol_error")["reason"]
    check_alive(pair, server)


def test_a_session_that_broke_the_protocol_has_ended_at_once(pair, server):
    with Client(server) as first:
        first.send(ws.mux_frame(77, 0, b""))
        # The close frame was sent but not answered: the server still waits for that.
        with pytest.raises(EOFError):
            first.frame((WELCOME,))
        with Client(server, first.key, resume=True, attempt=2) as second:
            assert (second.answer, second.code) == (REJECT, UNKNOWN_SESSION)
    check_alive(pair, server)


class BreaksFirst(fakes.Listening):
    """Breaks the protocol on its first link, with the first frame; then it is a server that says nothing but WELCOME."""

    def __init__(self):
        self.links, self.opened = 0, b""
        super().__init__()

    def _serve(self, sock):
        self.links += 1
        with sock, contextlib.suppress(OSError):
            ws.accept(sock)
            sock.recv(65536)
            sock.sendall(ws.frame(2, ws.mux_frame(77, 0, b"") if self.links == 1 else ws.welcome(), mask=False))
            while data := sock.recv(65536):
                if self.links > 1 and len(data) > 60:
                    self.opened += data


def test_a_server_that_broke_the_protocol_before_is_good_now(pair):
    """What the first link has broken is gone with it: who waits is served by the second one."""
    with BreaksFirst() as server:
        client = pair.client(f"http://127.0.0.1:{server.port}", tcp={"peer": 0}, ready=False)
        with socket.create_connection(("127.0.0.1", tunnel.port(client, "peer")), 20) as sock:
            sock.sendall(b"x" * 100)
            wait.until(lambda: server.opened, 10, "what waited is sent")
        assert client.popen.poll() is None and server.links == 2


def stays_up(programs, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for program in programs:
            assert not program.events("link_lost"), program.events("link_lost")
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed in mid-fetch", "target that cannot be reached"])
def test_a_healthy_link_outlives_bytes_that_nobody_took(how, pair, peer):
    with socket.create_server(("127.0.0.2", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}", "silent": f"127.0.0.2:{full.getsockname()[1]}"},
                             args=["--connect-timeout", "200ms"])
        client = pair.client(server, tcp={"peer": 0, "silent": 0})
        if how == "killed in mid-fetch":
            sock = raw.connect(tunnel.port(client, "peer"), f"source {64 << 20} seed")
            assert sock.recv(1000)
            time.sleep(0.2)  # until all has been said that is worth saying: what comes later would be a sign of life
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        else:
            with raw.connect(tunnel.port(client, "silent"), None) as sock:
                sock.sendall(bytes(16))
                assert ws.closed_within(sock, 20)
        server.wait_for("audit_stream")
        stays_up([client, server], 12)
        assert raw.echo_once(tunnel.port(client, "peer")) == b"ping"


# ---- listeners


@pytest.fixture
def asked(pair, peer):
    """A Client that has just been asked for a listener, for Metadata of a cluster of one node."""
    with fakes.Broker([]) as broker:
        broker.brokers = [broker.node(5)]
        server = pair.server(kafka=broker.address, tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None)
        with Client(server) as client:
            client.open(1, "kafka", CLUSTER)
            client.send(ws.mux_frame(DATA, 1, bytes(8) + wire.metadata_request()))
            _, body = client.next_message((EXPOSE,))
            assert body == b"\x05kafka" + struct.pack(">HBiB", 1, 1, 5, 1)  # and it understands WITHDRAWN
            client.server = server
            yield client


def test_a_listener_without_a_name(asked, pair):
    asked.message(EXPOSED, b"\x05kafka" + struct.pack(">HBiH", 1, 1, 5, 9092) + b"\x09\0hostname")
    _, body = asked.next_message((RESET,))
    assert struct.unpack_from(">I", body)[0] == 1
    check_alive(pair, asked.server)


def test_a_reset_before_the_listener(asked, pair):
    """The client cuts the connection after bytes that it never sends, and opens the listener nevertheless: the response that waits
    for it has nowhere to go."""
    asked.message(RESET, struct.pack(">IQHB", 1, len(wire.metadata_request()) + 100, 1, 0))
    asked.message(EXPOSED, b"\x05kafka" + struct.pack(">HBiH", 1, 1, 5, 9092) + b"\x09localhost")
    asked.server.wait_for("exposed")
    check_alive(pair, asked.server)


@pytest.mark.slow
def test_answers_that_answer_nothing_give_no_more_time(asked):
    """10 s for listeners are 10 s, whatever the client says meanwhile."""
    started = time.monotonic()
    stopping = threading.Event()

    def chatter():
        while not stopping.wait(1):
            with contextlib.suppress(OSError):
                asked.message(EXPOSED, b"\x05kafka" + struct.pack(">H", 0))
    thread = threading.Thread(target=chatter)
    thread.start()
    try:
        _, body = asked.next_message((RESET,))
    finally:
        stopping.set()
        thread.join()
    assert struct.unpack_from(">IQH", body) == (1, 0, LISTENER)
    assert 9 < time.monotonic() - started < 15


# ---- TLS of brokers and proxies


class Broker(fakes.Listening):
    """Does with each connection what `conversation(openssl.Connection)` does."""

    def __init__(self, certificate, conversation):
        self.tls, self.conversation = openssl.Server(certificate), conversation
        super().__init__("127.0.0.2")

    def _serve(self, sock):
        with contextlib.suppress(OSError):
            with self.tls.wrap(sock) as tls:
                wire.answer_check(tls)
                self.conversation(tls)


@pytest.fixture
def kafka(pair, pki, peer):
    """kafka(conversation) -> (server, port of the bootstrap listener)"""
    brokers = []

    def start(conversation):
        brokers.append(Broker(pki.authority.issue("tls-broker", "IP:127.0.0.2"), conversation))
        server = pair.server(kafka=f"127.0.0.2:{brokers[0].port}", tcp={"peer": f"{peer.host}:{peer.port}"},
                             args=["--kafka-tls", "--kafka-ca", pki.ca], tls=None)
        return server, tunnel.port(pair.client(server, kafka={"kafka": 0}), "kafka")
    yield start
    for broker in brokers:
        fakes.close(broker.listener)


def request(body_size):
    head = struct.pack(">hhih", VENDOR_API, 0, 1, -1)
    return struct.pack(">i", len(head) + body_size) + head


def test_a_broker_resets_while_much_is_written_to_it(kafka, pair):
    """Bytes that were encrypted and not sent are let go of once."""
    def conversation(tls):
        tls.recv(1000)
        tls.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server, port = kafka(conversation)
    for _ in range(30):
        with contextlib.suppress(OSError), raw.connect(port, None, timeout=20) as sock:
            sock.sendall(request(64 << 20))
            for _ in range(64):
                sock.sendall(bytes(1 << 18))
        assert server.popen.poll() is None
    check_alive(pair, server)


class TalkativeProxy(proxies.Proxy):
    """Answers CONNECT and asks for a renegotiation in one breath."""

    def __init__(self, identity):
        self.tls, self.served = openssl.Server(identity), 0
        super().__init__(identity)

    def _serve(self, sock):
        with contextlib.suppress(OSError):
            with self.tls.wrap(sock) as tls:
                head = b""
                while b"\r\n\r\n" not in head:
                    got = tls.recv(65536)
                    if not got:
                        return
                    head += got
                tls.cork(1)
                tls.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                tls.ask_for_renegotiation()
                tls.cork(0)
                while tls.recv(65536):
                    pass
                self.served += 1


def test_a_proxy_asks_for_a_renegotiation_with_its_answer(pair, pki, server):
    between = TalkativeProxy(pki.server)
    try:
        client = pair.client("https://localhost:1", tcp={"peer": 0}, args=["--proxy", between.url(), "--ca", pki.ca, "--dial-timeout", "2"],
                             ready=False)
        wait.until(lambda: between.served >= 2 or client.popen.poll() is not None, 30, "two dials")
        assert client.popen.poll() is None
    finally:
        between.close()
