"""--kafka-login: the server logs in at brokers on behalf of who is at the other end of the tunnel.

The brokers are fakes that want a login; what real ones make of it is in test_kafka_login_real.py.
"""

import concurrent.futures
import contextlib
import pathlib
import secrets
import ssl
import struct
import time

import pytest

from harness import fakes, process, raw, tunnel, wait, wire
from harness.pages import Pages
from test_identity import copies

pytestmark = pytest.mark.tunnel

MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
USERS = {"svc-orders": "orders' secret", "svc-rest": "rest's secret"}


class Logins:
    """A file for --kafka-login, its password files, and the two identities of a token file."""

    def __init__(self, directory):
        self.directory = directory
        self.path = directory / "logins.properties"
        self.tokens = directory / "tokens"
        self.tokens.write_text("token-of-orders orders\ntoken-of-eve eve\n")
        for name in ("orders", "eve"):
            (directory / f"{name}.token").write_text(f"token-of-{name}\n")
        for user, password in USERS.items():
            self.write_secret(user, password)
        self.write_secret("svc-endless", "p" * 16385)

    def write_secret(self, user, password, mode=0o600):
        path = self.directory / f"{user}.secret"
        path.write_text(password + "\n")
        path.chmod(mode)
        return path

    def write(self, *lines):
        """One of a rule's lines each; a PATH.secret in one is in the directory."""
        self.path.write_text("".join(line.replace("=svc-", f"={self.directory}/svc-") if "-file=" in line else line
                                     for line in (f"{line}\n" for line in lines)))
        return self

    def rule(self, name, user, mechanism="SCRAM-SHA-512", identity=None, cluster=None):
        lines = [f"{name}.mechanism={mechanism}"]
        lines += [f"{name}.token-file={user}.secret"] if mechanism == "OAUTHBEARER" else [f"{name}.user={user}",
                                                                                             f"{name}.password-file={user}.secret"]
        lines += [f"{name}.identity={identity}"] if identity else []
        return lines + ([f"{name}.cluster={cluster}"] if cluster else [])

    def args(self, *more):
        return ["--kafka-login", self.path, "--token-file", self.tokens, *more]


@pytest.fixture
def logins(tmp_path):
    return Logins(tmp_path)


@pytest.fixture
def broker():
    with fakes.SaslBroker(USERS) as broker:
        yield broker


@pytest.fixture
def start(pair, logins, broker):
    """start(args) -> server; start.client(server, who) -> (client, bootstrap port)"""
    class Start:
        def __call__(self, *args, kafka=None, **kw):
            return pair.server(kafka=kafka or broker.address, args=logins.args("--connect-timeout", "2s", *args),
                               secrets=[*USERS.values()], **kw)

        @staticmethod
        def token(who):
            return logins.directory / f"{who}.token"

        def client(self, server, who="orders", *args):
            client = pair.client(server, kafka={"kafka": 0}, args=["--token-file", self.token(who), *args])
            return client, tunnel.port(client, "kafka")
    return Start()


def echo_request(correlation_id, body):
    return wire.frame(struct.pack(">hhih", fakes.SaslBroker.ECHO, 0, correlation_id, 4) + b"test" + body)


def echo(sock, correlation_id, body=b"hello"):
    sock.sendall(echo_request(correlation_id, body))
    assert wire.read_frame(sock) == struct.pack(">i", correlation_id) + body


def refused(port):
    """A client's connection that the server could not log in for ends without a byte."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError), raw.connect(port, None) as sock:
        sock.sendall(echo_request(1, b"hello"))
        assert raw.read_rest(sock) == b""


# ---- logging in

@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("check", [True, False], ids=["checked", "unchecked"])
def test_a_client_knows_nothing_of_it(start, logins, broker, mechanism, check):
    logins.write(*logins.rule("all", "svc-orders", mechanism))
    _, port = start.client(start(*([] if check else ["--no-check-brokers"])))
    for _ in range(3):
        with raw.connect(port, None) as sock:
            echo(sock, 7)
            echo(sock, 8, b"x" * 100_000)
    assert broker.logins == ["svc-orders"] * 3
    assert {who for who, _ in broker.asked} == {"svc-orders"}


def test_a_token_instead_of_a_password(start, logins, broker):
    broker.users = {"svc-orders": "eyJh.bGc.iOiJ"}
    logins.write_secret("svc-orders", "eyJh.bGc.iOiJ")
    logins.write(*logins.rule("all", "svc-orders", "OAUTHBEARER"))
    _, port = start.client(start())
    with raw.connect(port, None) as sock:
        echo(sock, 7)
    assert broker.logins == ["svc-orders"]


def test_one_identity_one_principal(start, logins, broker):
    logins.write(*logins.rule("orders", "svc-orders", identity="ord*"), *logins.rule("rest", "svc-rest", "PLAIN"))
    server = start()
    for who, user in (("orders", "svc-orders"), ("eve", "svc-rest")):
        _, port = start.client(server, who)
        with raw.connect(port, None) as sock:
            echo(sock, 7)
        assert broker.asked[-1] == (user, fakes.SaslBroker.ECHO)


def test_nodes_and_the_servers_own_question(pair, start, logins, broker):
    """A node that the server does not know yet: it asks a bootstrap broker, as the client for whom it asks."""
    logins.write(*logins.rule("all", "svc-orders"))
    with fakes.SaslBroker(USERS, nodes=broker.nodes, node_id=2) as second:
        server = start()
        client, port = start.client(server)
        assert set(wire.ask_metadata(port)) == {1, 2}
        port = tunnel.port(client, "kafka/2")
        with raw.connect(port, None) as sock:
            echo(sock, 7)
        assert second.logins == ["svc-orders"]
        mark = client.mark()
        server.stop()
        server = start(listen=f"127.0.0.1:{server.port}")
        client.wait_for("link_up", since=mark, deadline=30)
        broker.asked.clear()
        with raw.connect(port, None) as sock:
            echo(sock, 7)
        assert second.logins == ["svc-orders"] * 2
        assert broker.asked == [("svc-orders", wire.METADATA)]


def test_what_is_sent_meanwhile_waits_in_order(start, logins, broker):
    logins.write(*logins.rule("all", "svc-orders"))
    _, port = start.client(start())
    bodies = [bytes([i % 256]) * (i * 37 % 5000) for i in range(400)]
    with raw.connect(port, None) as sock:
        sock.sendall(b"".join(echo_request(i, body) for i, body in enumerate(bodies[:100])))
        for i, body in enumerate(bodies[100:], 100):
            sock.sendall(echo_request(i, body))
        for i, body in enumerate(bodies):
            assert wire.read_frame(sock) == struct.pack(">i", i) + body


def test_rules_that_fit_nobody_change_nothing(start, logins, broker):
    """As without the option: who logs in itself gets through."""
    logins.write(*logins.rule("orders", "svc-orders", identity="orders"), "eve.identity=eve", "eve.client-sasl=pass",
                 *logins.rule("rest", "svc-rest"))
    _, port = start.client(start(), "eve")
    with raw.connect(port, None) as sock:
        log_in(sock, b"\0svc-orders\0orders' secret")
        echo(sock, 9)
    assert broker.logins == ["svc-orders"]


# ---- clients that log in themselves

def sasl_request(key, correlation_id, body, version=1):
    return wire.frame(struct.pack(">hhih", key, version, correlation_id, 4) + b"test" + body)


def log_in(sock, message):
    sock.sendall(sasl_request(wire.SASL_HANDSHAKE, 1, b"\0\5PLAIN"))
    assert wire.read_frame(sock)[:6] == struct.pack(">ih", 1, 0)
    sock.sendall(sasl_request(wire.SASL_AUTHENTICATE, 2, struct.pack(">i", len(message)) + message))
    assert wire.read_frame(sock)[:6] == struct.pack(">ih", 2, 0)


@pytest.mark.parametrize("version", [0, 1])
def test_a_client_that_logs_in_itself_gets_words(start, logins, broker, version):
    logins.write(*logins.rule("all", "svc-orders"))
    server = start()
    _, port = start.client(server)
    with raw.connect(port, None) as sock:
        # What it asks before is answered before.
        sock.sendall(echo_request(6, b"x" * 70_000) + wire.metadata_request(5) + sasl_request(wire.SASL_HANDSHAKE, 7, b"\0\5PLAIN", version)
                     + sasl_request(wire.SASL_AUTHENTICATE, 8, b"\0\0\0\4\0a\0b"))
        assert wire.read_frame(sock)[:4] == struct.pack(">i", 6)
        assert wire.read_frame(sock)[:4] == struct.pack(">i", 5)
        body = wire.read_frame(sock)
        assert struct.unpack_from(">ihi", body) == (7, 33, 1)
        assert b"the tunnel logs in for this client; set security.protocol=PLAINTEXT" in body
        assert raw.read_rest(sock) == b"", "nothing comes behind it: the connection ends in good order"
    warning = server.wait_for("client_login_refused")
    assert warning["identity"] == "orders" and warning["rule"] == "all"
    assert broker.attempts == 1, "the client's own reached nobody"


@pytest.mark.parametrize("version", [0, 1, 2])
def test_an_authentication_without_a_handshake(start, logins, broker, version):
    logins.write(*logins.rule("all", "svc-orders"))
    _, port = start.client(start())
    with raw.connect(port, None) as sock:
        sock.sendall(sasl_request(wire.SASL_AUTHENTICATE, 7, b"\0\0\0\4\0a\0b" if version < 2 else b"\0\5\0a\0b\0", version))
        body = wire.read_frame(sock)
        assert body[:4] == struct.pack(">i", 7) and b"the tunnel logs in for this client" in body
        assert struct.unpack_from(">h", body, 5 if version == 2 else 4)[0] == 34
        assert raw.read_rest(sock) == b""


# ---- logins that fail

def failed(server, client, port, words):
    """The connection ends with a reason in both logs."""
    marks = server.mark(), client.mark()
    refused(port)
    event = server.wait_for("login_failed", since=marks[0])
    assert words in event["reason"], event
    assert words in server.wait_for("stream_refused", since=marks[0])["reason"]
    reset = client.wait_for("connection_reset", since=marks[1])
    assert words in reset["reason"], reset
    return event


def nothing_reached(broker):
    return [who for who, key in broker.asked if key != wire.API_VERSIONS] == []


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password(start, logins, broker, mechanism):
    logins.write_secret("svc-orders", "a guess")
    logins.write(*logins.rule("all", "svc-orders", mechanism))
    server = start()
    client, port = start.client(server)
    event = failed(server, client, port, "SASL_AUTHENTICATION_FAILED")
    assert event["user"] == "svc-orders" and event["mechanism"] == mechanism and event["rule"] == "all"
    assert nothing_reached(broker) and broker.logins == []


def test_a_client_that_tries_again_and_again(start, logins, broker):
    """Its user must not be locked, and nobody else's login suffers."""
    logins.write_secret("svc-orders", "a guess")
    logins.write(*logins.rule("orders", "svc-orders", identity="orders"), *logins.rule("rest", "svc-rest"))
    server = start()
    client, port = start.client(server)
    _, other = start.client(server, "eve")
    until = time.monotonic() + 4
    tries = 0
    while time.monotonic() < until:
        refused(port)
        tries += 1
        with raw.connect(other, None) as sock:
            echo(sock, tries)
    assert tries >= 10
    assert broker.attempts - len(broker.logins) <= 4, "one, then after 1 s and 2 s more"
    assert "not tried again for" in client.events("connection_reset")[-1]["reason"]
    # A new password counts at once.
    mark = server.mark()
    logins.write_secret("svc-orders", USERS["svc-orders"])
    server.wait_for("logins_read", since=mark, deadline=15)
    with raw.connect(port, None) as sock:
        echo(sock, 7)


def tried_once(brokers, connect):
    """A broker that does not say within 250 ms that it speaks Kafka has another one beside it, and a login that is not over within a
    second another one as well; a busy machine needs as long."""
    began = time.monotonic()
    connect()
    assert sum(broker.attempts for broker in brokers) == 1 or time.monotonic() - began > 1


def test_a_wrong_password_is_tried_at_one_broker(start, logins, broker):
    logins.write_secret("svc-orders", "a guess")
    logins.write(*logins.rule("all", "svc-orders"))
    with fakes.SaslBroker(USERS) as second:
        server = start(kafka=f"{broker.address},{second.address}")
        client, port = start.client(server)
        tried_once((broker, second), lambda: failed(server, client, port, "SASL_AUTHENTICATION_FAILED"))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_crowd_with_a_wrong_password(start, logins, broker, workers):
    """Who comes while one asks waits for its outcome, on whatever worker."""
    broker.refuses_after = 0.3
    logins.write_secret("svc-orders", "a guess")
    logins.write(*logins.rule("all", "svc-orders", "PLAIN"))
    server = start("--workers", str(workers))
    ports = [start.client(server, who)[1] for who in ("orders", "eve", "orders")]
    for _ in range(2):
        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            before = broker.attempts
            list(pool.map(lambda i: refused(ports[i % 3]), range(30)))
        # When a pause ends within the crowd, one more.
        assert 1 <= broker.attempts - before <= 2
        time.sleep(2)


def test_a_refusal_that_takes_its_time(start, logins, broker):
    """No other bootstrap broker is asked meanwhile."""
    logins.write_secret("svc-orders", "a guess")
    logins.write(*logins.rule("all", "svc-orders", "PLAIN"))
    with fakes.SaslBroker(USERS) as second, fakes.SaslBroker(USERS) as third:
        brokers = broker, second, third
        for one in brokers:
            one.refuses_after = 0.8
        server = start(kafka=",".join(one.address for one in brokers))
        client, port = start.client(server)
        tried_once(brokers, lambda: failed(server, client, port, "SASL_AUTHENTICATION_FAILED"))


def test_a_broker_that_is_silent_delays_the_others_clients_little(pair, start, logins, broker):
    """All clients have one account, and one of them waits for a node that takes its login and says nothing."""
    logins.write(*logins.rule("all", "svc-orders"))
    with fakes.SaslBroker(USERS, nodes=broker.nodes, node_id=2) as second:
        server = start("--connect-timeout", "20s")
        client, port = start.client(server)
        assert set(wire.ask_metadata(port)) == {1, 2}
        second.trouble = "silence"
        time.sleep(1.5)
        with raw.connect(tunnel.port(client, "kafka/2"), None) as waiting:
            waiting.sendall(echo_request(1, b"hello"))
            wait.until(lambda: second.attempts, 20, "a login at the node")
            began = time.monotonic()
            with raw.connect(port, None) as sock:
                echo(sock, 7)
            assert time.monotonic() - began < 8


def test_a_mechanism_that_is_not_enabled(start, logins, broker):
    broker.mechanisms = ("SCRAM-SHA-512", "GSSAPI")
    logins.write(*logins.rule("all", "svc-orders", "PLAIN"))
    server = start()
    client, port = start.client(server)
    failed(server, client, port, "it does not enable PLAIN; it enables SCRAM-SHA-512, GSSAPI")
    assert nothing_reached(broker)


@pytest.mark.parametrize("trouble, words", [("close", "it closed the connection"), ("garbage", "does not match the request"),
                                            ("silence", "it did not answer in time")])
@pytest.mark.parametrize("check", [True, False], ids=["checked", "unchecked"])
def test_brokers_that_break_off(start, logins, broker, trouble, words, check):
    logins.write(*logins.rule("all", "svc-orders"))
    broker.trouble = trouble
    server = start(*([] if check else ["--no-check-brokers"]))
    client, port = start.client(server)
    failed(server, client, port, words)
    assert nothing_reached(broker)
    assert broker.attempts == 1
    assert not server.events("broker_down") and not server.events("broker_hangs"), "others may use it"
    broker.trouble = None
    with raw.connect(port, None) as sock:
        echo(sock, 7)


def test_the_next_broker_where_one_breaks_off(start, logins, broker):
    logins.write(*logins.rule("all", "svc-orders"))
    broker.trouble = "close"
    with fakes.SaslBroker(USERS) as second:
        _, port = start.client(start(kafka=f"{broker.address},{second.address}"))
        with raw.connect(port, None) as sock:
            echo(sock, 7)
        assert second.logins == ["svc-orders"]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_broker_that_does_not_know_the_password(start, logins, broker, mechanism):
    broker.signs = False
    logins.write(*logins.rule("all", "svc-orders", mechanism))
    server = start()
    client, port = start.client(server)
    failed(server, client, port, "its SCRAM signature is wrong")
    assert nothing_reached(broker)


@pytest.mark.parametrize("iterations", [10 ** 9, 999_999, 1])
def test_iterations_without_measure(start, logins, broker, iterations):
    broker.iterations = iterations
    logins.write(*logins.rule("all", "svc-orders"))
    server = start()
    client, port = start.client(server)
    began = time.monotonic()
    failed(server, client, port, "number of SCRAM iterations")
    assert time.monotonic() - began < 10
    assert nothing_reached(broker)


# ---- the file

BAD_FILES = {
    "unknown key": (["a.pasword-file=x"], 'line 1: there is no such key; did you mean "password-file"?'),
    "no rules": (["# nothing"], "holds no rules"),
    "unknown mechanism": (["a.mechanism=GSSAPI"], "unknown mechanism"),
    "missing password file": (["a.mechanism=PLAIN", "a.user=u", "a.password-file=/nowhere/secret"], "/nowhere/secret"),
    "endless password": (["a.mechanism=PLAIN", "a.user=u", "a.password-file=svc-endless.secret"], "svc-endless.secret is longer than 16 KiB"),
    "unknown cluster": (["a.mechanism=PLAIN", "a.user=u", "a.password-file=svc-orders.secret", "a.cluster=other"],
                        "line 1: rule a is for none of the clusters in --kafka"),
}


@pytest.mark.parametrize("lines, words", BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_of_no_use_at_the_start(start, logins, lines, words):
    logins.write(*lines)
    server = start(ready=False)
    assert server.popen.wait(30) == 2
    said = server.tail().replace('\\"', '"')
    assert "--kafka-login: " in said and words in said


@pytest.mark.parametrize("lines, words", BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_of_no_use_later(start, logins, broker, lines, words):
    logins.write(*logins.rule("all", "svc-orders"))
    server = start()
    _, port = start.client(server)
    mark = server.mark()
    logins.write(*lines)
    event = server.wait_for("logins_unreadable", since=mark, deadline=15)
    assert words in event["reason"] and event["rules"] == 1
    with raw.connect(port, None) as sock:
        echo(sock, 7)
    logins.write(*logins.rule("all", "svc-rest", "PLAIN"))
    server.wait_for("logins_read", since=mark, deadline=15)
    with raw.connect(port, None) as sock:
        echo(sock, 8)
    assert broker.asked[-1][0] == "svc-rest"


def test_secrets_that_everybody_can_read(start, logins):
    logins.write_secret("svc-orders", "orders' secret", 0o644)
    logins.write(*logins.rule("all", "svc-orders"))
    assert start().wait_for("login_secret_exposed")["file"].endswith("svc-orders.secret")


def test_several_workers(start, logins, broker):
    """Each has its own view of the rules, and all get the new ones."""
    logins.write(*logins.rule("all", "svc-orders"))
    server = start("--workers", "3")
    clients = [start.client(server, who) for who in ("orders", "eve") * 3]
    for user in ("svc-orders", "svc-rest"):
        for _, port in clients:
            with raw.connect(port, None) as sock:
                echo(sock, 7)
            assert broker.asked[-1][0] == user
        mark = server.mark()
        logins.write(*logins.rule("all", "svc-rest", "PLAIN"))
        if user == "svc-orders":
            server.wait_for("logins_read", since=mark, deadline=15)


# ---- certificates

class CertifiedBroker(fakes.SaslBroker):
    """Its clients show a certificate, whose name is their user; nobody logs in."""

    def __init__(self, pki, **kw):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certificate = pki.authority.issue("certified-broker", "IP:127.0.0.2")
        self.context.load_cert_chain(*self.certificate)
        self.context.load_verify_locations(pki.ca)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        super().__init__(**kw)

    def _serve(self, sock):
        with contextlib.suppress(OSError), self.context.wrap_socket(sock, server_side=True) as secure:
            certificate = secure.getpeercert() or {}
            names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
            connection = fakes.SaslConnection(self, secure)
            connection.user = names[0] if names else None
            connection.run()


def test_a_certificate_for_each_identity(pair, logins, pki):
    of = {name: pki.authority.issue(name, f"DNS:{name}", "clientAuth") for name in ("of-orders", "of-all", "of-orders-2")}
    rules = [f"orders.identity=orders\norders.certificate={of['of-orders'][0]}\norders.key={of['of-orders'][1]}"]
    logins.write(*rules)
    with CertifiedBroker(pki) as broker:
        server = pair.server(kafka=broker.address, args=logins.args(
            "--kafka-tls", "--kafka-ca", pki.ca, "--kafka-cert", of["of-all"][0], "--kafka-key", of["of-all"][1]))
        ports = []
        for who in ("orders", "eve"):
            client = pair.client(server, kafka={"kafka": 0}, args=["--token-file", logins.directory / f"{who}.token"])
            ports.append(tunnel.port(client, "kafka"))
        for port, user in zip(ports, ("of-orders", "of-all")):
            with raw.connect(port, None) as sock:
                echo(sock, 7)
            assert broker.asked[-1] == (user, fakes.SaslBroker.ECHO)
        # The certificate of an identity says who it is at the brokers; one that all have does not.
        assert server.wait_for("audit_stream", identity="orders")["kafka_user"] == "CN=of-orders"
        assert "kafka_user" not in server.wait_for("audit_stream", identity="eve")
        mark = server.mark()
        logins.write(rules[0].replace("of-orders", "of-orders-2"))
        server.wait_for("logins_read", since=mark, deadline=15)
        with raw.connect(ports[0], None) as sock:
            echo(sock, 7)
        assert broker.asked[-1][0] == "of-orders-2"


def test_a_certificate_of_a_rule_switches_nothing_off(pair, logins, pki, tmp_path):
    """What the options demand of brokers is demanded for every identity, and new lists of revoked certificates are read."""
    own = pki.authority.issue("of-orders", "DNS:of-orders", "clientAuth")
    logins.write(f"orders.identity=orders\norders.certificate={own[0]}\norders.key={own[1]}")

    def is_served(port):
        # So soon that connect() may already tell.
        with contextlib.suppress(AssertionError, OSError), raw.connect(port, None, timeout=15) as sock:
            echo(sock, 7)
            return True
        return False
    with CertifiedBroker(pki) as broker:
        crl = pki.authority.crl(tmp_path / "brokers.crl", own[0])
        server = pair.server(kafka=broker.address, args=logins.args(
            "--kafka-tls", "--kafka-ca", pki.ca, "--kafka-crl", crl, "--tls-min-version", "1.3"))
        client = pair.client(server, kafka={"kafka": 0}, args=["--token-file", logins.directory / "orders.token"])
        port = tunnel.port(client, "kafka")
        assert is_served(port)
        broker.context.maximum_version = ssl.TLSVersion.TLSv1_2
        mark = server.mark()
        assert not is_served(port)
        assert "protocol version" in server.wait_for("stream_refused", since=mark)["reason"]
        broker.context.maximum_version = ssl.TLSVersion.TLSv1_3
        wait.until(lambda: is_served(port), 30, "the broker is let in again")
        mark = server.mark()
        pki.authority.crl(crl, broker.certificate[0])
        server.wait_for("logins_read", since=mark, deadline=15)
        assert not is_served(port)
        assert "certificate revoked" in server.wait_for("stream_refused", since=mark)["reason"]


@pytest.mark.parametrize("exposed", ["key", "passphrase", "rules"])
def test_files_of_rules_that_everybody_may_change(pair, logins, pki, broker, tmp_path, exposed):
    one = pki.authority.issue(f"one-{exposed}", "DNS:one", "clientAuth")
    (tmp_path / "passphrase").write_text("of no key", encoding="ascii")
    (tmp_path / "passphrase").chmod(0o600)
    logins.write(f"a.certificate={one[0]}\na.key={one[1]}\na.key-passphrase-file={tmp_path / 'passphrase'}")
    path = {"key": pathlib.Path(one[1]), "passphrase": tmp_path / "passphrase", "rules": logins.path}[exposed]
    logins.tokens.chmod(0o600)
    path.chmod(0o666)
    server = pair.server(kafka=broker.address, args=logins.args("--kafka-tls"))
    assert server.wait_for("login_secret_exposed")["file"] == str(path)
    server = pair.server(kafka=broker.address, args=logins.args("--kafka-tls", "--strict-files"), ready=False)
    assert server.popen.wait(30) == 2
    assert "--strict-files does not allow" in server.tail() and str(path) in server.tail()


def test_a_key_that_does_not_fit(pair, logins, pki, broker):
    one, two = (pki.authority.issue(name, f"DNS:{name}", "clientAuth") for name in ("one", "two"))
    logins.write(f"a.certificate={one[0]}", f"a.key={two[1]}")
    for tls, words in (([], "has a certificate, which needs --kafka-tls"), (["--kafka-tls"], "key")):
        server = pair.server(kafka=broker.address, args=logins.args(*tls), ready=False)
        assert server.popen.wait(30) == 2
        assert "rule a" in server.tail() and words in server.tail()


# ---- logging in again

def chatter(port, seconds, seed):
    """Requests of all sizes, several in flight, in order; what went wrong, or None."""
    until, sent, received = time.monotonic() + seconds, 0, 0
    bodies = [bytes([(seed + i) % 256]) * (i * i * 37 % 40_000) for i in range(50)]
    with raw.connect(port, None) as sock:
        sock.settimeout(30)
        while time.monotonic() < until or received < sent:
            while sent - received < 5 and time.monotonic() < until:
                sock.sendall(echo_request(sent, bodies[sent % 50]))
                sent += 1
            answer = wire.read_frame(sock)
            if answer != struct.pack(">i", received) + bodies[received % 50]:
                return f"answer {received} of {sent}: {answer and answer[:20]}"
            received += 1
    return None


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_again_before_the_session_ends(start, logins, broker, mechanism):
    broker.lifetime_ms = 2000
    logins.write(*logins.rule("all", "svc-orders", mechanism))
    server = start()
    _, port = start.client(server)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        wrong = list(pool.map(lambda seed: chatter(port, 8, seed), range(6)))
    assert wrong == [None] * 6
    assert broker.expired == 0 and len(broker.logins) == 6
    # At 75 to 90 % of two seconds, for eight seconds, on six connections.
    assert 18 <= len(broker.again) <= 42, len(broker.again)
    assert not server.events("relogin_failed")


def test_again_on_a_connection_that_is_idle(start, logins, broker):
    broker.lifetime_ms = 1500
    logins.write(*logins.rule("all", "svc-orders"))
    _, port = start.client(start())
    with raw.connect(port, None) as sock:
        echo(sock, 1)
        wait.until(lambda: len(broker.again) >= 4, 20, "four logins more")
        echo(sock, 2)
    assert broker.expired == 0


def test_within_a_request(start, logins, broker):
    """A client takes its time over one request: the next login waits for its end."""
    broker.lifetime_ms = 1500
    logins.write(*logins.rule("all", "svc-orders"))
    _, port = start.client(start())
    request = echo_request(7, b"x" * 3000)
    with raw.connect(port, None) as sock:
        for at in range(0, len(request), 250):
            sock.sendall(request[at:at + 250])
            time.sleep(0.11)
        assert wire.read_frame(sock) == struct.pack(">i", 7) + b"x" * 3000
        echo(sock, 8)
        wait.until(lambda: broker.again, 20, "another login")
        echo(sock, 9)
    assert broker.expired == 0


def cut(sock):
    """The connection ends with a reset."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        return raw.read_rest(sock)
    return b""


def test_a_password_that_does_not_hold_any_more(start, logins, broker):
    broker.lifetime_ms = 1000
    logins.write(*logins.rule("all", "svc-orders", "PLAIN"))
    server = start()
    client, port = start.client(server)
    with raw.connect(port, None) as sock:
        echo(sock, 1)
        broker.users = {"svc-orders": "changed"}
        assert cut(sock) == b""
    assert "SASL_AUTHENTICATION_FAILED" in server.wait_for("relogin_failed")["reason"]
    assert "logging in again at the broker (PLAIN) failed" in client.wait_for("connection_reset")["reason"]


def test_a_password_that_changes_with_many_connections(start, logins, broker):
    """One of them finds out; to the broker the others would be a crowd of wrong passwords."""
    broker.lifetime_ms = 4000
    logins.write(*logins.rule("all", "svc-orders", "PLAIN"))
    server = start()
    _, port = start.client(server)
    socks = [raw.connect(port, None) for _ in range(20)]
    for sock in socks:
        echo(sock, 1)
    time.sleep(1.2)
    broker.users = {"svc-orders": "changed"}
    before = broker.attempts
    wait.until(lambda: len(server.events("relogin_failed")) == 20, 30, "the end of all sessions")
    assert broker.attempts - before <= 4
    for sock in socks:
        sock.close()


@pytest.mark.memory
def test_no_old_password_is_left_in_memory(start, logins, broker):
    """Of a connection that began with it and goes on, neither."""
    password = "pw-" + secrets.token_hex(16)
    broker.users = {"svc-orders": password}
    logins.write_secret("svc-orders", password)
    logins.write(*logins.rule("all", "svc-orders", "PLAIN"))
    server = start()
    _, port = start.client(server)
    with raw.connect(port, None) as sock:
        echo(sock, 1)
        assert copies(server, password) == 1
        logins.write_secret("svc-orders", "another")
        server.wait_for("logins_read", deadline=15)
        wait.until(lambda: copies(server, password) == 0, 10, "the password to be gone")
        echo(sock, 2)


def test_a_password_that_is_changed_in_time(start, logins, broker):
    broker.lifetime_ms = 3000
    logins.write(*logins.rule("all", "svc-orders"))
    server = start()
    _, port = start.client(server)
    with raw.connect(port, None) as sock:
        echo(sock, 1)
        broker.users = {"svc-orders": "changed"}
        logins.write_secret("svc-orders", "changed")
        server.wait_for("logins_read", deadline=15)
        wait.until(lambda: broker.again, 20, "another login") if not broker.expired else None
        echo(sock, 2)


def test_a_client_that_is_somebody_else_now(start, logins, broker):
    broker.lifetime_ms = 4000
    logins.write(*logins.rule("all", "svc-orders"))
    server = start()
    _, port = start.client(server)
    with raw.connect(port, None) as sock:
        echo(sock, 1)
        logins.write(*logins.rule("all", "svc-rest"))
        server.wait_for("logins_read", deadline=15)
        assert cut(sock) == b""
    assert "the rules have another login" in server.wait_for("relogin_failed")["reason"]
    with raw.connect(port, None) as sock:
        echo(sock, 1)
    assert broker.logins == ["svc-orders", "svc-rest"]


def test_a_broker_that_does_not_answer_the_next_login(start, logins, broker):
    broker.lifetime_ms = 1000
    logins.write(*logins.rule("all", "svc-orders"))
    server = start()
    _, port = start.client(server)
    with raw.connect(port, None) as sock:
        echo(sock, 1)
        broker.trouble = "silence"
        assert cut(sock) == b""
    assert "did not answer in time" in server.wait_for("relogin_failed")["reason"]


# ---- seeing it

def doctor(pair, start, server, *args):
    done = process.run([pair.binaries.client, "doctor", "--server", f"https://localhost:{server.port}", "--ca", pair.pki.ca,
                        "--token-file", start.token("orders"), "--kafka", "0", *args], 90, check=False)
    return done.returncode, done.stdout


def test_the_doctor_logs_in(pair, start, logins, broker):
    logins.write(*logins.rule("all", "svc-orders"))
    code, said = doctor(pair, start, start())
    assert code == 0, said
    assert "tunnel-server logged in to a bootstrap broker as svc-orders, SCRAM-SHA-512" in said
    assert "tunnel-server logged in to broker 1 as svc-orders, SCRAM-SHA-512" in said


def test_the_doctor_finds_a_wrong_password(pair, start, logins, broker):
    logins.write_secret("svc-orders", "a guess")
    logins.write(*logins.rule("all", "svc-orders"))
    code, said = doctor(pair, start, start())
    assert code == 20 and "logging in as svc-orders (SCRAM-SHA-512) failed: it refused: SASL_AUTHENTICATION_FAILED" in said, said


def test_figures_pages_and_records(start, logins, broker):
    broker.lifetime_ms = 1500
    logins.write(*logins.rule("orders", "svc-orders", identity="orders"), "eve.client-sasl=pass")
    server = start("--status", "127.0.0.1:0")
    pages = Pages(server)
    _, port = start.client(server)
    _, other = start.client(server, "eve")
    with raw.connect(port, None) as sock, raw.connect(other, None) as own:
        echo(sock, 1)
        log_in(own, b"\0svc-rest\0rest's secret")
        streams = {s["kafka_user"]: s["logged_in"] for session in pages.json()["sessions"] for s in session["streams"]}
        assert streams == {"svc-orders": True, "svc-rest": False}
        wait.until(lambda: pages.metrics().sum("broker_logins_total", result="again") > 0, 20, "another login is counted")
        assert pages.metrics().sum("broker_logins_total", result="done") == 1
    for user in ("svc-orders", "svc-rest"):
        assert server.wait_for("audit_stream", kafka_user=user)["end"] == "complete"
    broker.users, broker.lifetime_ms = {}, 0
    for _ in range(3):
        refused(port)
    metrics = pages.metrics()
    assert metrics.sum("broker_logins_total", result="refused") == 1
    assert metrics.sum("broker_logins_total", result="held") == 2


def test_the_clients_page_knows_who_logs_in(start, logins, broker):
    """By the server's word, or by what the client says itself: a name, made safe, and never what stands behind it."""
    broker.users = {**USERS, "<b>\x1b[31m": "hush"}
    logins.write(*logins.rule("orders", "svc-orders", identity="orders"), "eve.client-sasl=pass")
    server = start("--status", "127.0.0.1:0")
    shown = {}
    for who in ("orders", "eve"):
        client, port = start.client(server, who, "--status", "127.0.0.1:0")
        pages = Pages(client)
        with raw.connect(port, None) as sock:
            if who == "orders":
                echo(sock, 1)
            else:
                log_in(sock, b"\0<b>\x1b[31m\0hush")
            (shown[who],) = wait.until(lambda: pages.json()["streams"], 10, "the connection")
            assert "hush" not in pages.ask("/status.json")[2].decode()
    assert (shown["orders"]["login"], shown["orders"]["kafka_user"]) == ("svc-orders, SCRAM-SHA-512", "")
    assert (shown["eve"]["login"], shown["eve"]["kafka_user"]) == ("", "<b>?[31m")
    assert server.wait_for("audit_stream", identity="eve")["kafka_user"] == "<b>?[31m"
