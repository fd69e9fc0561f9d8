"""TLS between the server and a broker, byte for byte: backpressure, half-closes, broken ends, silent handshakes.

The broker is a fake one that speaks TLS and Kafka's framing; requests of a vendor's API pass the tunnel untouched in any size.
What real brokers do with TLS and SASL is in test_kafka_security.py.
"""

import contextlib
import hashlib
import socket
import ssl
import struct
import threading
import time

import pytest

from harness import fakes, raw, tunnel, wait, wire, ws
from harness.pki import PASSPHRASE, encrypted

pytestmark = pytest.mark.tunnel

VENDOR_API, MIB = 10_000, 1 << 20


def request(body_size, correlation_id=1):
    """The head of a request whose body of `body_size` bytes follows."""
    head = struct.pack(">hhih", VENDOR_API, 0, correlation_id, -1)
    return struct.pack(">i", len(head) + body_size) + head


def response(body_size, correlation_id=1):
    return struct.pack(">ii", 4 + body_size, correlation_id)


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        got = sock.recv(size - len(data))
        if not got:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += got
    return data


class Broker(fakes.Listening):
    """Does with each TLS connection what `conversation(tls_socket)` does. Keeps what went wrong in it."""

    def __init__(self, certificate, conversation, maximum=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        if maximum:
            self.context.maximum_version = maximum
        self.conversation, self.failures, self.versions = conversation, [], []
        super().__init__("127.0.0.2")

    def _serve(self, sock):
        with contextlib.closing(sock):
            try:
                sock.settimeout(60)
                # An end without close_notify is an error here, not an end of file.
                sock = self.context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
                # The server's own probe leaves after that.
                if not wire.answer_check(sock) or not wait_for_bytes(sock):
                    return
                self.versions.append(sock.version())
                self.conversation(sock)
            except (OSError, EOFError) as failure:
                self.failures.append(failure)
            finally:
                sock.close()


def wait_for_bytes(sock):
    """Whether anything comes before the end; TLS sockets cannot peek, so the first byte is kept aside."""
    first = sock.recv(1)
    sock.first = first
    return bool(first)


def read_request(sock):
    """(correlation id, size of the body that follows)"""
    head = sock.first + read_exactly(sock, 13) if sock.first else read_exactly(sock, 14)
    sock.first = b""
    length, _, _, correlation_id, _ = struct.unpack(">ihhih", head)
    return correlation_id, length - 10


@pytest.fixture
def certificate(pki):
    return pki.authority.issue("tls-broker", "IP:127.0.0.2")


@pytest.fixture
def start(pair, pki, certificate):
    """start(conversation) -> (broker, server, client, port of the bootstrap listener)"""
    brokers = []

    def run(conversation, args=(), **kw):
        broker = Broker(certificate, conversation, **kw)
        brokers.append(broker)
        server = pair.server(kafka=f"127.0.0.2:{broker.port}", args=["--kafka-tls", "--kafka-ca", pki.ca, *args])
        client = pair.client(server, kafka={"kafka": 0})
        return broker, server, client, tunnel.port(client, "kafka")
    yield run
    for broker in brokers:
        fakes.close(broker.listener)


def test_large_requests_and_responses_with_a_broker_that_stalls(start, figure):
    """What the broker does not read waits in bounded memory; then all arrives, in order, both ways."""
    size, go_on, digests = 48 * MIB, threading.Event(), []

    def conversation(sock):
        correlation_id, body = read_request(sock)
        go_on.wait(60)
        digests.append(raw.receive(sock, body))
        sock.sendall(response(size, correlation_id))
        raw.send_all(sock, size, "down")
    _, server, client, port = start(conversation)
    with raw.connect(port, None) as sock:
        sock.sendall(request(size))
        sent = [0]

        def send():
            for chunk in raw.chunks(size, "up"):
                sock.sendall(chunk)
                sent[0] += len(chunk)
        sender = threading.Thread(target=send)
        sender.start()

        def stalled():
            before = sent[0]
            time.sleep(0.3)  # a moment in which nothing more is taken
            return 0 < before == sent[0]
        wait.until(stalled, 30, "the sender is stalled")
        assert sent[0] < size
        figure("stalled", f"after {sent[0] / MIB:.1f} MiB; server {server.rss_mib():.1f}, client {client.rss_mib():.1f} MiB resident")
        go_on.set()
        sender.join(60)
        assert read_exactly(sock, 8) == response(size)
        assert raw.receive(sock, size) == {"bytes": size, "sha256": raw.digest_of(size, "down")}
    assert digests == [{"bytes": size, "sha256": raw.digest_of(size, "up")}]


def test_many_small_requests(start):
    """Each is answered before the next is sent: none waits for a fuller record."""
    def conversation(sock):
        while True:
            correlation_id, body = read_request(sock)
            sock.sendall(response(body, correlation_id) + read_exactly(sock, body))
    _, server, _, port = start(conversation)
    with raw.connect(port, None) as sock:
        for i in range(500):
            data = hashlib.sha256(str(i).encode()).digest() * (i % 5 + 1)
            sock.sendall(request(len(data), i) + data)
            assert read_exactly(sock, 8 + len(data)) == response(len(data), i) + data
        busy = server.cpu_seconds()
        time.sleep(0.5)  # idle: what is asked is how little is done in it
        assert server.cpu_seconds() - busy < 0.1


def test_half_close(start):
    """The client's end reaches the broker behind the last request, and its answer comes back."""
    size, seen = 3 * MIB, []

    def conversation(sock):
        correlation_id, body = read_request(sock)
        seen.append(raw.receive(sock))  # to close_notify
        sock.sendall(response(0, correlation_id))
        assert body == size
    _, _, _, port = start(conversation)
    with raw.connect(port, None) as sock:
        sock.sendall(request(size))
        raw.send_all(sock, size, "half")
        sock.shutdown(socket.SHUT_WR)
        assert raw.read_rest(sock) == response(0)
    assert seen == [{"bytes": size, "sha256": raw.digest_of(size, "half")}]


@pytest.mark.parametrize("notify", [True, False], ids=["close_notify", "only TCP's end"])
def test_broker_closes_between_responses(notify, start):
    def conversation(sock):
        correlation_id, _ = read_request(sock)
        sock.sendall(response(0, correlation_id))
        if notify:
            with contextlib.suppress(OSError):
                sock.unwrap()
        else:
            socket.socket(fileno=sock.detach()).close()
    _, _, _, port = start(conversation)
    with raw.connect(port, None) as sock:
        sock.sendall(request(0))
        assert raw.read_rest(sock) == response(0)


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_broker_ends_within_a_response(how, start):
    """Never an end of file that looks complete."""
    def conversation(sock):
        correlation_id, _ = read_request(sock)
        sock.sendall(response(1000, correlation_id) + bytes(500))
        if how == "resets":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket(fileno=sock.detach()).close()
    _, server, _, port = start(conversation)
    with raw.connect(port, None) as sock:
        sock.sendall(request(0))
        with pytest.raises(ConnectionResetError):
            raw.read_rest(sock)
    assert server.wait_for("audit_stream")["end"] == "peer_reset"


def test_client_resets(start):
    """A client that goes away without an end is gone for the broker too."""
    begun, ended = threading.Event(), threading.Event()

    def conversation(sock):
        read_request(sock)
        begun.set()
        try:
            while sock.recv(65536):
                pass
        except OSError:
            ended.set()
    _, _, _, port = start(conversation)
    sock = raw.connect(port, None)
    sock.sendall(request(1000) + bytes(100))
    assert begun.wait(20)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    assert ended.wait(20), "the broker saw a clean end, or none"


def test_broker_with_tls_1_2(start):
    def conversation(sock):
        correlation_id, body = read_request(sock)
        sock.sendall(response(body, correlation_id) + read_exactly(sock, body))
    broker, _, _, port = start(conversation, maximum=ssl.TLSVersion.TLSv1_2)
    with raw.connect(port, None) as sock:
        sock.sendall(request(100) + bytes(100))
        assert read_exactly(sock, 108) == response(100) + bytes(100)
    assert broker.versions == ["TLSv1.2"]


def test_broker_that_wants_the_certificate_of_an_encrypted_key(pair, pki, certificate, tmp_path):
    """And whose own certificate is what --kafka-ca names."""
    def conversation(sock):
        correlation_id, body = read_request(sock)
        sock.sendall(response(body, correlation_id) + read_exactly(sock, body))
    broker = Broker(certificate, conversation)
    broker.context.verify_mode = ssl.CERT_REQUIRED
    broker.context.load_verify_locations(pki.ca)
    (tmp_path / "pass").write_text(PASSPHRASE, encoding="ascii")
    server = pair.server(kafka=f"127.0.0.2:{broker.port}", secrets=[PASSPHRASE],
                         args=["--kafka-tls", "--kafka-ca", certificate[0], "--kafka-cert", pki.client[0],
                               "--kafka-key", encrypted(pki.client[1], tmp_path / "key.pem"),
                               "--kafka-key-passphrase-file", tmp_path / "pass"])
    client = pair.client(server, kafka={"kafka": 0})
    with raw.connect(tunnel.port(client, "kafka"), None) as sock:
        sock.sendall(request(100) + bytes(100))
        assert read_exactly(sock, 108) == response(100) + bytes(100)
    fakes.close(broker.listener)


def test_a_broker_is_revoked(start, pki, certificate, tmp_path):
    """Its certificate is refused at the next connection, with the reason in the log and to the client; the broker hears it, too."""
    def conversation(sock):
        correlation_id, body = read_request(sock)
        sock.sendall(response(body, correlation_id) + read_exactly(sock, body))

    def asks():
        try:
            with raw.connect(port, None) as sock:
                sock.sendall(request(100) + bytes(100))
                return read_exactly(sock, 108) == response(100) + bytes(100)
        except (OSError, EOFError):
            return False

    def renew(*revoked, **kw):
        mark = server.mark()
        pki.authority.crl(path, *revoked, **kw)
        renewed = server.wait_for("crl_renewed", since=mark)
        assert renewed["option"] == "kafka-crl" and renewed["lists"] == 1
        return mark
    path = pki.authority.crl(tmp_path / "brokers.crl", pki.client[0])
    broker, server, client, port = start(conversation, args=["--kafka-crl", path])
    assert asks()
    mark = renew(pki.client[0], certificate[0])
    assert not asks()
    assert "certificate revoked (CN=tls-broker, issued by CN=Test CA)" in server.wait_for("stream_refused", since=mark)["reason"]
    client.wait_log("connection_reset.*certificate revoked")
    wait.until(lambda: any("revoked" in str(failure) for failure in broker.failures), 10, "the broker hears why")
    mark = renew(days=-1)
    old = server.wait_for("crl_out_of_date", since=mark)
    assert old["option"] == "kafka-crl" and old["file"] == str(path)
    assert not asks()
    assert "CRL has expired (CN=tls-broker, issued by CN=Test CA)" in server.wait_for("stream_refused", since=mark)["reason"]
    renew(pki.client[0])
    wait.until(asks, 30, "the broker is let in again")


def test_broker_name_that_ends_in_a_dot(pair, pki):
    """The certificate and SNI have it without the dot."""
    def conversation(sock):
        correlation_id, body = read_request(sock)
        sock.sendall(response(body, correlation_id) + read_exactly(sock, body))
    broker = Broker(pki.authority.issue("dotted-broker", "DNS:broker.example"), conversation)
    told = []
    broker.context.sni_callback = lambda sock, name, context: told.append(name)
    server = pair.server(kafka=f"127.0.0.2:{broker.port}",
                         args=["--kafka-tls", "--kafka-ca", pki.ca, "--kafka-server-name", "broker.example."])
    client = pair.client(server, kafka={"kafka": 0})
    with raw.connect(tunnel.port(client, "kafka"), None) as sock:
        sock.sendall(request(100) + bytes(100))
        assert read_exactly(sock, 108) == response(100) + bytes(100)
    assert set(told) == {"broker.example"}
    fakes.close(broker.listener)


def test_broker_that_is_silent_in_the_handshake(pair, pki):
    """Connected, then nothing: refused within --connect-timeout, and said so."""
    with socket.create_server(("127.0.0.2", 0)) as listener:
        server = pair.server(kafka=f"127.0.0.2:{listener.getsockname()[1]}",
                             args=["--kafka-tls", "--kafka-ca", pki.ca, "--connect-timeout", "1"])
        client = pair.client(server, kafka={"kafka": 0})
        started = time.monotonic()
        with raw.connect(tunnel.port(client, "kafka"), None) as sock:
            assert ws.closed_within(sock, 15)
        assert time.monotonic() - started < 10
        refused = server.wait_for("stream_refused")
        assert "TLS" in refused["reason"] and "no answer" in refused["reason"], refused
