"""--kafka-login with secrets that are in no file: commands, and token endpoints (OAuth 2.0 client credentials)."""

import base64
import secrets
import signal
import struct
import time

import pytest

from harness import fakes, raw, tunnel, wait, wire
from harness.pages import Pages
from harness.token_endpoint import TokenEndpoint
from test_access import list_offsets
from test_identity import copies
from test_kafka_login import CertifiedBroker, Logins, echo, refused

pytestmark = pytest.mark.tunnel

USERS = {"svc-orders": "orders' secret"}
CLIENT_SECRET = "client's secret & more"


class Sources(Logins):
    """Rules with commands, which count their runs; what they print is in files."""

    @property
    def runs(self):
        path = self.directory / "runs"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def command(self, then):
        return f"cd {self.directory}; echo run >>runs; {then}"

    def password(self, then="cat svc-orders.secret", mechanism="SCRAM-SHA-512"):
        return self.write(f"all.mechanism={mechanism}", "all.user=svc-orders", f"all.password-command={self.command(then)}")

    def endpoint(self, url, *more, secret=CLIENT_SECRET):
        path = self.directory / "client.secret"
        if not path.exists():
            path.write_text(secret)
            path.chmod(0o600)
        return self.write("all.mechanism=OAUTHBEARER", f"all.token-endpoint-url={url}", "all.client-id=svc",
                          *([] if any("client-secret-" in line for line in more) else [f"all.client-secret-file={path}"]), *more)


@pytest.fixture
def logins(tmp_path):
    return Sources(tmp_path)


@pytest.fixture
def broker():
    with fakes.SaslBroker(USERS) as broker:
        yield broker


@pytest.fixture
def start(pair, logins, broker):
    """start(args) -> server; start.client(server) -> bootstrap port"""
    class Start:
        def __call__(self, *args, secrets=(), **kw):
            return pair.server(kafka=broker.address, args=logins.args("--connect-timeout", "2s", "--log-level", "debug", *args),
                               secrets=[*USERS.values(), CLIENT_SECRET, *secrets], **kw)

        @staticmethod
        def client(server):
            client = pair.client(server, kafka={"kafka": 0}, args=["--token-file", logins.directory / "orders.token"])
            return client, tunnel.port(client, "kafka")
    return Start()


def logged_in(port):
    with raw.connect(port, None) as sock:
        echo(sock, 7)


# ---- commands

@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_command_that_prints_the_password(start, logins, broker, mechanism, workers):
    """It runs once, not for each connection, and executing is possible although the server has given up much."""
    logins.password("cat svc-orders.secret 2>/dev/null; echo asked the vault >&2", mechanism)
    server = start("--workers", workers)
    assert server.wait_for("login_secret_read")["rule"] == "all"
    assert server.wait_for("secret_command_said")["text"] == "asked the vault"
    confined = server.wait_for("confined")
    assert confined["no_new_privileges"] is True and confined["files"] is False
    _, port = start.client(server)
    for _ in range(5):
        logged_in(port)
    assert broker.logins == ["svc-orders"] * 5 and logins.runs == 1


def test_a_command_that_prints_a_token(start, logins, broker):
    broker.users = {"svc-orders": "t0ken-of-today"}
    logins.write("all.mechanism=OAUTHBEARER", f"all.token-command={logins.command('echo t0ken-of-today')}")
    server = start(secrets=["t0ken-of-today"])
    server.wait_for("login_secret_read")
    logged_in(start.client(server)[1])
    assert broker.logins == ["svc-orders"]


def test_a_command_that_fails_at_first(start, logins, broker):
    """The server is up; who needs the secret is refused with a reason, and served as soon as there is one."""
    secret = logins.directory / "svc-orders.secret"
    secret.rename(secret.with_suffix(".away"))
    logins.password()
    server = start()
    event = server.wait_for("login_secret_unavailable")
    assert event["rule"] == "all" and "the password-command of rule all failed with exit code 1: cat: " in event["reason"]
    client, port = start.client(server)
    refused(port)
    assert "tunnel-server has no password for it yet" in server.wait_for("stream_refused")["reason"]
    reason = client.wait_for("connection_reset")["reason"]
    assert "tunnel-server has no password for it yet" in reason and "cat:" not in reason, "what commands say is not for clients"
    assert broker.attempts == 0
    mark = server.mark()
    secret.with_suffix(".away").rename(secret)
    server.wait_for("login_secret_read", since=mark, deadline=15)
    logged_in(port)


@pytest.mark.parametrize("then, words", [
    ("sleep 60 & yes", "printed more than 64 KiB and was killed"), ("true", "succeeded but printed nothing"),
    ("echo $'a\\\\tb' | tr 'a' '\\\\001'", "control character"), ("kill -9 $$", "was ended by signal 9"), ("/nonexistent/vault", "exit code 127"),
    ("head -c 20000 /dev/zero | tr '\\\\0' x", "longer than 12 KiB"),
])
def test_commands_of_no_use(start, logins, broker, then, words):
    logins.password(then)
    server = start()
    assert words in server.wait_for("login_secret_unavailable")["reason"]
    refused(start.client(server)[1])
    assert broker.attempts == 0


def test_a_command_that_hangs(start, logins, broker):
    """Nobody else waits for it."""
    logins.password("sleep 600")
    server = start()
    wait.until(lambda: logins.runs == 1, 15, "the command runs")
    began = time.monotonic()
    refused(start.client(server)[1])
    assert time.monotonic() - began < 10
    event = server.wait_for("login_secret_unavailable", deadline=45)
    assert "did not end within 30.0 s and was killed" in event["reason"]


def test_another_password_after_a_refusal(start, logins, broker):
    """The command runs again when a broker has refused what it printed, and what it prints then counts at once."""
    logins.password()
    server = start()
    server.wait_for("login_secret_read")
    _, port = start.client(server)
    logged_in(port)
    assert logins.runs == 1
    broker.users = {"svc-orders": "changed"}
    logins.write_secret("svc-orders", "changed")
    mark = server.mark()
    refused(port)
    assert server.wait_for("login_secret_read", since=mark, deadline=15)["changed"] is True
    logged_in(port)
    assert logins.runs == 2


def test_a_command_that_prints_another_wrong_password_each_time(start, logins, broker):
    """Neither the command nor the broker is asked as often as clients try."""
    logins.password("date +%s%N")
    server = start()
    server.wait_for("login_secret_read")
    _, port = start.client(server)
    until = time.monotonic() + 5
    tries = 0
    while time.monotonic() < until:
        refused(port)
        tries += 1
    assert tries > 20
    assert logins.runs <= 5 and broker.attempts <= 8, (logins.runs, broker.attempts)


def test_sighup_runs_it_again(start, logins, broker):
    logins.password()
    server = start()
    server.wait_for("login_secret_read")
    broker.users = {"svc-orders": "changed"}
    logins.write_secret("svc-orders", "changed")
    mark = server.mark()
    server.popen.send_signal(signal.SIGHUP)
    assert server.wait_for("login_secret_read", since=mark, deadline=15)["changed"] is True
    logged_in(start.client(server)[1])
    # One that fails later leaves what there is.
    (logins.directory / "svc-orders.secret").unlink()
    mark = server.mark()
    server.popen.send_signal(signal.SIGHUP)
    server.wait_for("login_secret_unavailable", since=mark, deadline=15)
    logged_in(start.client(server)[1])


def test_a_command_comes_too_late(start, logins, broker):
    """A server that had none when it started has given up executing: such a file is of no use to it, and the old one stays."""
    logins.write(*logins.rule("all", "svc-orders"))
    server = start()
    _, port = start.client(server)
    mark = server.mark()
    logins.password()
    reason = server.wait_for("logins_unreadable", since=mark, deadline=15)["reason"]
    assert "line 1: rule all names a command" in reason and "restart it" in reason
    logged_in(port)
    assert logins.runs == 0


def test_no_confine_takes_a_command_later(start, logins, broker):
    logins.write(*logins.rule("all", "svc-orders"))
    server = start("--no-confine")
    _, port = start.client(server)
    mark = server.mark()
    logins.password()
    server.wait_for("login_secret_read", since=mark, deadline=15)
    logged_in(port)
    assert logins.runs == 1


def test_what_a_command_is_not_told(start, logins, broker, tmp_path):
    logins.password("env >environment; ls -l /dev/fd/ >descriptors; cat svc-orders.secret")
    server = start(env={"TUNNEL_TLS_KEY_PASSPHRASE": "passphrase-of-the-key", "KEPT": "yes"})
    server.wait_for("login_secret_read")
    environment = (tmp_path / "environment").read_text()
    assert "KEPT=yes" in environment and "TUNNEL_TLS_KEY_PASSPHRASE" not in environment
    assert "socket:" not in (tmp_path / "descriptors").read_text()


# ---- token endpoints

@pytest.mark.parametrize("auth", ["basic", "post"])
def test_a_token_endpoint(start, logins, broker, pki, auth):
    broker.users = {"svc-orders": "t0ken.of.today"}
    with TokenEndpoint(["t0ken.of.today"], secret=CLIENT_SECRET, pki=pki) as endpoint:
        logins.endpoint(endpoint.url, f"all.token-endpoint-ca={pki.ca}", f"all.client-auth={auth}", "all.scope=kafka read",
                        "all.audience=https://kafka")
        server = start(secrets=["t0ken.of.today"])
        event = server.wait_for("login_secret_read")
        assert event["lasts_s"] == 3600
        assert server.wait_for("confined")["files"] in (True, False), "nothing is executed"
        _, port = start.client(server)
        for _ in range(3):
            logged_in(port)
        assert endpoint.asked == [{"grant_type": "client_credentials", "scope": "kafka read", "audience": "https://kafka"}]
        assert broker.logins == ["svc-orders"] * 3


def test_a_client_secret_by_command(start, logins, broker):
    broker.users = {"svc-orders": "t0ken"}
    with TokenEndpoint(["t0ken"], secret=CLIENT_SECRET) as endpoint:
        (logins.directory / "client.secret").write_text(CLIENT_SECRET)
        logins.endpoint(endpoint.url, f"all.client-secret-command={logins.command('cat client.secret')}")
        server = start()
        server.wait_for("login_secret_read")
        logged_in(start.client(server)[1])
        assert logins.runs == 1 and len(endpoint.asked) == 1


def test_a_token_is_renewed_before_it_ends(start, logins, broker):
    """Connections of before go on with the next one: logging in again at the broker takes it."""
    broker.users, broker.lifetime_ms = {"svc-orders": "t0ken-1"}, 8000
    with TokenEndpoint(["t0ken-1", "t0ken-2"], secret=CLIENT_SECRET, expires_in=8) as endpoint:
        logins.endpoint(endpoint.url)
        server = start()
        server.wait_for("login_secret_read")
        _, port = start.client(server)
        with raw.connect(port, None) as sock:
            echo(sock, 1)
            wait.until(lambda: len(endpoint.asked) == 2, 15, "the next token")
            broker.users = {"svc-orders": "t0ken-2"}
            wait.until(lambda: broker.again, 15, "the next login")
            echo(sock, 2)
        logged_in(port)
        assert not server.events("relogin_failed") and broker.expired == 0


def test_a_token_that_brokers_do_not_take_any_more(start, logins, broker):
    broker.users = {"svc-orders": "t0ken-1"}
    with TokenEndpoint(["t0ken-1", "t0ken-2"], secret=CLIENT_SECRET) as endpoint:
        logins.endpoint(endpoint.url)
        server = start()
        server.wait_for("login_secret_read")
        _, port = start.client(server)
        logged_in(port)
        broker.users = {"svc-orders": "t0ken-2"}
        mark = server.mark()
        refused(port)
        server.wait_for("login_secret_read", since=mark, deadline=15)
        logged_in(port)
        assert len(endpoint.asked) == 2


BAD_ANSWERS = {
    "unknown client": ((401, {}, b'{"error":"invalid_client","error_description":"no svc:client\'s secret & more here"}'),
                       "with 401 (invalid_client: no svc:(...) here)"),
    "server error": ((503, {"Retry-After": "7"}, b"<html>busy"), "with 503"),
    "redirect": ((302, {"Location": "https://elsewhere/login?secret=x"}, b""), "redirected the request for a token (302) to https://elsewhere/login,"),
    "html": ((200, {}, b"<html>Log in!</html>"), "the answer is no JSON object"),
    "no token": ((200, {}, b'{"token":"t"}'), "the answer has no access_token"),
    "no bearer": ((200, {}, b'{"access_token":"t","token_type":"MAC"}'), "whose token_type is not Bearer"),
    "terminal": ((400, {}, b'{"error":"\\u001b]0;x\\u0007\\u202ered"}'), "with 400"),
    "too large": ((200, {}, b'{"access_token":"' + b"x" * 70_000 + b'"}'), ""),
}


@pytest.mark.parametrize("answer, words", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_answers_of_no_use(start, logins, broker, answer, words):
    broker.users = {"svc-orders": "t0ken"}
    with TokenEndpoint(["t0ken"], secret=CLIENT_SECRET) as endpoint:
        endpoint.answer = answer
        logins.endpoint(endpoint.url)
        server = start()
        event = server.wait_for("login_secret_unavailable")
        assert words in event["reason"] and event["rule"] == "all", event
        assert not any(c < " " or c in "\u202e\x7f" for c in event["reason"])
        if answer[0] == 503:
            assert event["again_in_s"] == 7
        client, port = start.client(server)
        refused(port)
        assert "has no token for it yet" in client.wait_for("connection_reset")["reason"]
        assert broker.attempts == 0
        # SIGHUP asks at once, and all is well.
        endpoint.answer = None
        mark = server.mark()
        server.popen.send_signal(signal.SIGHUP)
        server.wait_for("login_secret_read", since=mark, deadline=15)
        logged_in(port)


def test_an_endpoint_that_fails_is_asked_rarely(start, logins, broker):
    with TokenEndpoint(["t0ken"], secret=CLIENT_SECRET) as endpoint:
        endpoint.answer = 500, {}, b""
        logins.endpoint(endpoint.url)
        server = start()
        _, port = start.client(server)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            refused(port)
        assert 2 <= endpoint.requests <= 4, endpoint.requests
        assert len(server.events("login_secret_unavailable")) == 1, "said once"
        assert broker.attempts == 0


def test_an_endpoint_that_hangs(start, logins, broker):
    with TokenEndpoint(["t0ken"], secret=CLIENT_SECRET) as endpoint:
        endpoint.hold.clear()
        logins.endpoint(endpoint.url)
        server = start()
        wait.until(lambda: endpoint.requests == 1, 15, "it is asked")
        refused(start.client(server)[1])
        server.wait_for("login_secret_unavailable", deadline=30)


def test_an_endpoint_that_nobody_vouches_for(start, logins, broker, pki):
    with TokenEndpoint(["t0ken"], secret=CLIENT_SECRET, pki=pki) as endpoint:
        logins.endpoint(endpoint.url)
        server = start()
        assert "certificate" in server.wait_for("login_secret_unavailable")["reason"]
        assert endpoint.requests == 0, "no secret leaves"


@pytest.mark.parametrize("lines, words", [
    (["all.token-endpoint-url=http://idp.example.com/token"], "must begin with https://"),
    (["all.token-endpoint-url=https://idp.example.com"], "no https:// URL with a path"),
    (["all.token-endpoint-url=ftp://x/y"], "is no https:// URL"),
    (["all.token-endpoint-url=https://a/b", "all.token-endpoint-ca=/nowhere/ca.pem"], "/nowhere/ca.pem"),
    (["all.token-endpoint-url=https://a/b", "all.client-secret-file=/nowhere/secret"], "/nowhere/secret"),
])
def test_files_of_no_use(start, logins, lines, words):
    logins.endpoint("https://a/b")
    text = logins.path.read_text().splitlines()
    keys = {line.partition("=")[0] for line in lines}
    logins.write(*[line for line in text if line.partition("=")[0] not in keys], *lines)
    server = start(ready=False)
    assert server.popen.wait(30) == 2
    said = server.tail().replace('\\"', '"')
    assert "--kafka-login: " in said and words in said, said


# ---- logging in again fails

def test_failures_are_counted(start, logins, broker):
    """What becomes of a session whose next login fails, in the log and in the figures."""
    logins.write(*logins.rule("all", "svc-orders", "PLAIN"))
    server = start("--status", "127.0.0.1:0")
    pages = Pages(server)
    _, port = start.client(server)

    def again_failed():
        return pages.metrics().sum("broker_logins_total", result="again_failed")

    for count, (trouble, words) in enumerate([(None, "SASL_AUTHENTICATION_FAILED"), ("close", "it closed the connection"),
                                              ("garbage", ""), ("silence", "it did not answer in time")], 1):
        broker.lifetime_ms, broker.users, broker.trouble = 1000, USERS, None
        mark = server.mark()
        wait.until(lambda: not refuses(port), 20, "the pause after a refusal is over")
        with raw.connect(port, None) as sock:
            echo(sock, 1)
            broker.trouble, broker.users = trouble, {} if trouble is None else USERS
            event = server.wait_for("relogin_failed", since=mark, deadline=20)
            assert words in event["reason"] and event["rule"] == "all", event
        assert again_failed() == count, (trouble, again_failed())
    assert pages.metrics().sum("problems_total", event="relogin_failed") == 4


def refuses(port):
    try:
        logged_in(port)
        return False
    except (OSError, AssertionError, TypeError):
        return True


def test_rules_and_logins_on_one_connection(start, logins, broker, tmp_path):
    """What --access denies is answered in its place between what brokers answer, also while the server logs in again and again."""
    broker.lifetime_ms = 800
    logins.write(*logins.rule("all", "svc-orders"))
    rules = tmp_path / "access.properties"
    rules.write_text("orders.identity=orders\norders.allow=consume\norders.topic=mine\n")
    server = start("--access", rules)
    _, port = start.client(server)
    sent = 0
    with raw.connect(port, None) as sock:
        until = time.monotonic() + 30
        while len(broker.again) < 4 and time.monotonic() < until:
            sock.sendall(b"".join(wire.metadata_request(sent + i) if i % 2 else list_offsets(sent + i, "theirs") for i in range(6)))
            for i in range(sent, sent + 6):
                answer = wire.read_frame(sock)
                assert struct.unpack_from(">i", answer) == (i,)
                assert (struct.pack(">ih", 0, 29) in answer) == (i % 2 == 0), answer  # TOPIC_AUTHORIZATION_FAILED of partition 0
            sent += 6
    assert len(broker.again) >= 4 and broker.expired == 0 and not server.events("relogin_failed")
    assert {key for _, key in broker.asked} <= {wire.METADATA, wire.API_VERSIONS}, "what is denied reached nobody"


# ---- what is left of a password

def searched(server, *words):
    """The words, and what is at their ends, in the server's memory; skips where that cannot be looked at."""
    try:
        assert copies(server, "--kafka-login") > 0, "the search finds what is there"
    except PermissionError:
        pytest.skip("this system does not let a process look at its children's memory")
    return [copies(server, part) for word in words for part in (word[:20], word[-20:])]


@pytest.mark.memory
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_copy_of_a_password(pair, logins, pki, mechanism, tls, workers):
    """Logins, also again on a connection, and refused ones, leave the one copy for the next login; without a rule there is none."""
    password = "pw-" + secrets.token_hex(20)
    logins.write_secret("svc-orders", password)
    logins.write(*logins.rule("all", "svc-orders", mechanism))
    with CertifiedBroker(pki) if tls else fakes.SaslBroker() as broker:
        broker.users, broker.lifetime_ms = {"svc-orders": password}, 1500
        server = pair.server(kafka=broker.address, secrets=[password],
                             args=logins.args("--workers", workers, *(["--kafka-tls", "--kafka-ca", pki.ca] if tls else [])))
        client = pair.client(server, kafka={"kafka": 0}, args=["--token-file", logins.directory / "orders.token"])
        port = tunnel.port(client, "kafka")
        for _ in range(3):
            logged_in(port)
        with raw.connect(port, None) as sock:
            echo(sock, 1)
            wait.until(lambda: broker.again, 20, "another login on the connection")
            echo(sock, 2)
            wait.until(lambda: searched(server, password) == [1, 1], 5, lambda: searched(server, password))
            broker.users = {}
            server.wait_for("relogin_failed", deadline=20)
        refused(port)
        wait.until(lambda: searched(server, password) == [1, 1], 5, lambda: searched(server, password))
        mark = server.mark()
        logins.write("all.client-sasl=pass")
        server.wait_for("logins_read", since=mark, deadline=15)
        wait.until(lambda: searched(server, password) == [0, 0], 10, lambda: searched(server, password))


@pytest.mark.memory
def test_one_copy_of_what_a_command_prints(start, logins, broker):
    password = "pw-" + secrets.token_hex(20)
    logins.write_secret("svc-orders", password)
    broker.users = {"svc-orders": password}
    logins.password("cat svc-orders.secret; echo >&2 $(cat svc-orders.secret) is it")
    server = start(secrets=[password])
    server.wait_for("login_secret_read")
    logged_in(start.client(server)[1])
    wait.until(lambda: searched(server, password) == [1, 1], 5, lambda: searched(server, password))


@pytest.mark.memory
@pytest.mark.parametrize("auth", ["basic", "post"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_one_copy_of_a_token(start, logins, broker, pki, auth, tls):
    """And none of the secret by which it was asked for."""
    token, secret = ("-".join([name, *(secrets.token_hex(20) for _ in range(size))]) for name, size in (("t0ken", 30), ("cs", 1)))
    broker.users = {"svc-orders": token}
    with TokenEndpoint([token], secret=secret, pki=pki if tls else None) as endpoint:
        (logins.directory / "client.secret").write_text(secret)
        logins.endpoint(endpoint.url, f"all.client-auth={auth}", *([f"all.token-endpoint-ca={pki.ca}"] if tls else []))
        server = start(secrets=[token, secret])
        server.wait_for("login_secret_read")
        logged_in(start.client(server)[1])
        encoded = base64.b64encode(f"svc:{secret}".encode()).decode()
        wait.until(lambda: searched(server, token, secret, encoded) == [1, 1, 0, 0, 0, 0], 5, lambda: searched(server, token, secret, encoded))
