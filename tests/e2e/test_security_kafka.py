"""Brokers that want TLS or a login: the server speaks TLS to them, logins pass through, and a wrong one is told as if direct."""

import base64
import collections
import hashlib
import hmac
import json
import socket
import struct
import time
import uuid

import pytest

from harness import clients, matrix, process, secure, tunnel, wire
from harness.secure import MECHANISMS, PASSWORD, USER

# Sanitizers see TLS to brokers and raw logins in test_broker_tls.py and in the unit tests.
pytestmark = pytest.mark.again
PARTITIONS = 2
TITLES = {"java": "Java", "confluent": "confluent-kafka (librdkafka)", "kafka-python": "kafka-python", "aiokafka": "aiokafka"}


@pytest.fixture(scope="module")
def topic(secure_cluster):
    return secure_cluster.create_topic(PARTITIONS, 2)


def to_brokers(secure_cluster, listener, *args):
    """Options of a server for that listener of the brokers."""
    tls = ["--kafka-tls", "--kafka-ca", secure_cluster.pki.ca] if "TLS" in listener else []
    return {"kafka": secure_cluster.bootstrap_of(listener), "args": [*tls, *args]}


@pytest.fixture(scope="module")
def way(request, secure_cluster, session_processes, direct):
    """way(client, listener, mechanism) -> (bootstrap, properties): through the tunnel the client itself speaks no TLS."""
    started = {}

    def find(client, listener, mechanism=None, password=PASSWORD, straight=direct):
        protocol = secure.LISTENERS[listener]
        if straight:
            certificate = secure_cluster.pki.client if listener == "MTLS" else None
            return secure_cluster.bootstrap_of(listener), secure.properties(client, protocol, mechanism, password,
                                                                            secure_cluster.pki, certificate)
        if listener not in started:
            maker = tunnel.Tunnel(request.getfixturevalue("binaries"), session_processes, secure_cluster.pki)
            certificate = ["--kafka-cert", secure_cluster.pki.client[0], "--kafka-key", secure_cluster.pki.client[1]]
            server = maker.server(**to_brokers(secure_cluster, listener, *(certificate if listener == "MTLS" else ())),
                                  secrets=[PASSWORD])
            started[listener] = maker.client(server, kafka={"kafka": 0}, secrets=[PASSWORD])
        plain = {"SASL_SSL": "SASL_PLAINTEXT", "SSL": "PLAINTEXT"}.get(protocol, protocol)
        bootstrap = f"localhost:{tunnel.port(started[listener], 'kafka')}"
        return bootstrap, secure.properties(client, plain, mechanism, password)
    return find


def produce_and_consume(client, bootstrap, properties, topic):
    seed = uuid.uuid4().hex[:8]
    produced = clients.produce(client, bootstrap, topic, 100, 50, seed=seed, partitions=PARTITIONS, **properties)
    assert produced["records"] == 100
    consumed = clients.consume(client, bootstrap, topic, f"g-{seed}", 100, **properties)
    assert consumed["records"] >= 100


@pytest.mark.parametrize("client,mechanism", [
    pytest.param(client, mechanism, marks=matrix.case(TITLES[client], f"SASL {mechanism}, brokers with TLS"))
    for client in TITLES for mechanism in MECHANISMS])
def test_login_at_brokers_with_tls(client, mechanism, way, topic):
    produce_and_consume(client, *way(client, "SASLTLS", mechanism), topic)


@pytest.mark.parametrize("mechanism", [
    pytest.param(mechanism, marks=matrix.case(TITLES["confluent"], f"SASL {mechanism}")) for mechanism in MECHANISMS])
def test_login_at_brokers_without_tls(mechanism, way, topic):
    produce_and_consume("confluent", *way("confluent", "SASLPLAIN", mechanism), topic)


@pytest.mark.parametrize("listener", [
    pytest.param("TLS", marks=matrix.case(TITLES["confluent"], "brokers with TLS")),
    pytest.param("MTLS", marks=matrix.case(TITLES["confluent"], "brokers that want a client certificate"))])
def test_tls_without_a_login(listener, way, topic):
    produce_and_consume("confluent", *way("confluent", listener), topic)


def login(client, bootstrap, properties):
    if client == "java":
        return json.loads(process.run(clients.java("Login", bootstrap=bootstrap, **properties), 60).stdout.splitlines()[-1])
    return json.loads(process.run(clients.python(client, "login", bootstrap=bootstrap, **properties), 60).stdout.splitlines()[-1])


@pytest.mark.tunnel
@pytest.mark.parametrize("client,mechanism", [
    pytest.param(client, mechanism, marks=matrix.case(TITLES[client], f"wrong password, {mechanism}"))
    for client in TITLES for mechanism in ("PLAIN", "SCRAM-SHA-512")])
def test_wrong_password_is_told_as_if_direct(client, mechanism, way, figure):
    through = login(client, *way(client, "SASLTLS", mechanism, "not-the-password"))
    direct = login(client, *way(client, "SASLTLS", mechanism, "not-the-password", straight=True))
    assert through == direct
    assert "uthentication" in through["error"] + through["text"].replace("AUTHENTICATION", "Authentication"), through
    figure("error", f"{through['error']}: {through['text'][:120]}")


def test_java_logs_in_again_in_mid_connection(way, topic, strace, figure, direct):
    """KIP-368: a login is good for 3 s; a producer works through several on the same connections.

    Brokers end a connection whose login has run out, and the producer would quietly make another: so each address is dialled once.
    """
    bootstrap, properties = way("java", "SASLPLAIN", "SCRAM-SHA-512")
    seconds = 3 * secure.REAUTHENTICATION_MS // 1000 + 1
    before = time.monotonic()
    produced = clients.produce("java", bootstrap, topic, 100 * seconds, 50, rate=100, seed=uuid.uuid4().hex, trace=strace,
                               **properties)
    assert produced["records"] == 100 * seconds and time.monotonic() - before >= seconds - 1
    dialled = collections.Counter(strace.connects())
    # Direct, a bootstrap address is a broker's as well.
    assert dialled and max(dialled.values()) <= (2 if direct else 1), dialled
    figure("worked", f"{seconds} s with logins good for {secure.REAUTHENTICATION_MS / 1000:.0f} s")


@pytest.mark.tunnel
@pytest.mark.parametrize("case", ["unknown authority", "another name", "TLS to a plaintext listener", "plaintext to a TLS listener",
                                  "no client certificate"])
def test_what_is_wrong_is_said(case, secure_cluster, pair, pki):
    """One line at the server: which hop, which broker, what to do. The client's connection is reset."""
    plain, tls = secure_cluster.bootstrap_of("SASLPLAIN"), secure_cluster.bootstrap_of("TLS")
    ca = ["--kafka-tls", "--kafka-ca", pki.ca]
    kafka, args, words = {
        "unknown authority": (tls, ["--kafka-tls"], ["TLS", "issuer", "--kafka-ca"]),
        "another name": (tls, [*ca, "--kafka-server-name", "kafka.example"], ["TLS", "mismatch", "--kafka-server-name"]),
        "TLS to a plaintext listener": (plain, ca, ["TLS", "--kafka-tls"]),
        "plaintext to a TLS listener": (tls, [], ["TLS", "--kafka-tls"]),
        "no client certificate": (secure_cluster.bootstrap_of("MTLS"), ca, ["certificate", "--kafka-cert"]),
    }[case]
    server = pair.server(kafka=kafka, args=args)
    client = pair.client(server, kafka={"kafka": 0})
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", tunnel.port(client, "kafka")), 20) as sock:
        sock.sendall(wire.metadata_request())
        wire.read_frame(sock)
    said = server.wait_for("stream_refused", level="warning")
    text = f"{said['reason']} {said.get('advice', '')}"
    assert all(word in text for word in words), said
    assert kafka.split(",", maxsplit=1)[0] in text + said.get("address", ""), said
    assert client.wait_for("connection_reset")["reason"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_raw_tokens(mechanism, way):
    """SaslHandshake v0, as old clients send it: then tokens without any framing of Kafka's, and back to requests."""
    bootstrap, _ = way("confluent", "SASLPLAIN", mechanism)
    host, port = bootstrap.split(",", maxsplit=1)[0].rsplit(":", 1)
    with socket.create_connection((host, int(port)), 20) as sock:
        name = mechanism.encode()
        sock.sendall(wire.frame(struct.pack(">hhihh", 17, 0, 5, -1, len(name)) + name))
        answer = wire.read_frame(sock)
        if answer is None:
            pytest.skip("these brokers no longer take SaslHandshake v0")
        assert struct.unpack(">ih", answer[:6]) == (5, 0)
        if mechanism == "PLAIN":
            sock.sendall(wire.frame(f"\0{USER}\0{PASSWORD}".encode()))
            assert wire.read_frame(sock) == b""
        else:
            scram(sock)
        sock.sendall(wire.metadata_request())
        answer = wire.read_frame(sock)
        assert struct.unpack(">i", answer[:4])[0] == 7


def scram(sock):
    """RFC 5802 by hand."""
    first = f"n={USER},r=abcdefgh"
    sock.sendall(wire.frame(b"n,," + first.encode()))
    challenge = wire.read_frame(sock).decode()
    fields = dict(part.split("=", 1) for part in challenge.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    final = f"c=biws,r={fields['r']}"
    key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), f"{first},{challenge},{final}".encode(), "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
    sock.sendall(wire.frame(f"{final},p={proof}".encode()))
    assert wire.read_frame(sock).startswith(b"v=")
