"""Logins with the tokens of an OpenID provider, as CI jobs have them: --oidc-issuer. The provider is a stand-in (harness/issuer.py)."""

import base64
import contextlib
import hmac
import json
import secrets
import time

import pytest

from harness import issuer as issuers
from harness import raw, tunnel, wait, ws

pytestmark = pytest.mark.tunnel
RULES = ["--oidc-audience", "tunnel", "--oidc-require", "repository=example/*"]


@pytest.fixture
def target(peer):
    return {"peer": f"{peer.host}:{peer.port}"}


@pytest.fixture
def issuer():
    one = issuers.Issuer()
    yield one
    one.close()


@pytest.fixture
def start(pair, target, issuer):
    """start(options) -> a server that accepts the issuer's tokens"""
    def run(*args, rules=RULES, known=True, of=issuer, **kw):
        server = pair.server(tcp=target, args=["--oidc-issuer", of.url, *rules, *args], **kw)
        if known:
            server.wait_for("oidc_keys")
        return server
    return run


def ask(pair, server, token):
    """The status and what is said; the token shows nowhere."""
    server.secrets.append(token)
    server.secrets.append(token.rpartition(".")[2] or token)
    sock, status, head = ws.upgrade(server, [f"Authorization: Bearer {token}"], ca=pair.pki.ca if server.tls else None)
    body = b""
    if status != 101:
        with contextlib.suppress(OSError):
            body = raw.read_rest(sock)
    sock.close()
    return status, body.decode()


def expect_refused(pair, server, token, words):
    """401, with the reason in the log; after a moment, if the server wanted to look for keys first."""
    since = server.mark()
    end = time.monotonic() + 15
    while (answer := ask(pair, server, token))[0] == 503 and time.monotonic() < end:
        time.sleep(0.2)
    assert answer[0] == 401 and words in answer[1], answer
    assert words in server.wait_for("unauthorized", since=since)["reason"]


# ---- who is let in

def test_a_job_logs_in(pair, start, issuer):
    """As a CI job does: a command that prints a fresh token for each link."""
    server = start("--oidc-identity", "ci:{repository}")
    token = issuer.token()
    client = pair.client(server, tcp={"peer": 0}, args=["--token-command", f"printf %s {token}"], secrets=[token])
    assert raw.echo_once(tunnel.port(client, "peer"), b"in") == b"in"
    assert server.wait_for("session_up")["identity"] == "ci:example/app"


@pytest.mark.parametrize("algorithm", issuers.KINDS)
def test_algorithms(pair, start, algorithm):
    with contextlib.closing(issuers.Issuer(algorithm)) as one:
        server = start(of=one)
        assert ask(pair, server, one.token())[0] == 101
        expect_refused(pair, server, one.token(key=issuers.new_key(algorithm, one.key.kid)), "signature is wrong")


def test_over_tls(pair, start):
    with contextlib.closing(issuers.Issuer(pki=pair.pki)) as one:
        server = start("--oidc-ca", pair.pki.ca, of=one)
        assert ask(pair, server, one.token())[0] == 101
        stranger = start("--oidc-ca", pair.pki.other.cert, of=one, known=False)
        assert "certificate" in stranger.wait_for("oidc_keys_unreachable")["reason"]
        assert ask(pair, stranger, one.token())[0] == 503


def test_rotation(pair, start, issuer):
    """A key that is new is found when somebody comes with it; one that is gone does not count any more."""
    server = start()
    old = issuer.token()
    assert ask(pair, server, old)[0] == 101
    issuer.rotate()
    assert wait.until(lambda: ask(pair, server, issuer.token())[0] == 101, 20, "the new key is known")
    assert ask(pair, server, old)[0] == 101
    assert server.events("oidc_key_unknown")
    issuer.rotate(keep=False)
    assert wait.until(lambda: ask(pair, server, issuer.token())[0] == 101, 20, "the third key is known")
    expect_refused(pair, server, old, "names a key")


def test_a_file_beside_it(pair, start, issuer, tmp_path):
    listed = secrets.token_hex(24)
    (tmp_path / "tokens").write_text(f"{listed} alice\n", encoding="ascii")
    server = start("--token-file", tmp_path / "tokens")
    assert ask(pair, server, listed)[0] == 101
    assert ask(pair, server, issuer.token())[0] == 101
    expect_refused(pair, server, secrets.token_hex(24), "not one of those")
    expect_refused(pair, server, issuer.token(repository="mallory/app"), "--oidc-require")


# ---- who is not

def _b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def _unsigned(issuer, algorithm="none"):
    return f"{_b64({'alg': algorithm, 'kid': issuer.key.kid})}.{_b64(issuer.claims())}."


def _hmac(issuer):
    """The old trick: the public key as the secret."""
    signed = f"{_b64({'alg': 'HS256', 'kid': issuer.key.kid})}.{_b64(issuer.claims())}"
    return f"{signed}.{_b64(hmac.digest(issuer.key.as_pem(private=False), signed.encode(), 'sha256'))}"


def _changed(issuer):
    head, claims, signature = issuer.token().split(".")
    told = json.loads(base64.urlsafe_b64decode(claims + "=="))
    return ".".join((head, _b64({**told, "repository": "example/other"}), signature))


BAD = {
    "alg none": (_unsigned, "alg none"),
    "alg None": (lambda issuer: _unsigned(issuer, "nONE"), "alg none"),
    "RS256 without a signature": (lambda issuer: _unsigned(issuer, "RS256"), "signature"),
    "HMAC": (_hmac, "shared secret"),
    "another audience": (lambda issuer: issuer.token(aud="other"), "another audience (aud): other"),
    "no audience": (lambda issuer: issuer.token(aud=None), "another audience"),
    "another issuer": (lambda issuer: issuer.token(iss="https://elsewhere.example"), "another issuer"),
    "expired": (lambda issuer: issuer.token(life=-60), "has expired"),
    "without an end": (lambda issuer: issuer.token(exp=None), "no end"),
    "from the future": (lambda issuer: issuer.token(iat=int(time.time()) + 600), "from the future"),
    "not yet": (lambda issuer: issuer.token(nbf=int(time.time()) + 600), "not valid yet"),
    "unknown kid": (lambda issuer: issuer.token(key=issuers.new_key("RS256")), "names a key (kid)"),
    "somebody else's key": (lambda issuer: issuer.token(key=issuers.new_key("RS256", issuer.key.kid)), "signature is wrong"),
    "changed claims": (_changed, "signature is wrong"),
    "another repository": (lambda issuer: issuer.token(repository="mallory/example/app"), "claim repository is mallory/example/app"),
    "no repository": (lambda issuer: issuer.token(repository=None), "claim repository is missing"),
    "no subject": (lambda issuer: issuer.token(sub=None), "--oidc-identity"),
    "a long subject": (lambda issuer: issuer.token(sub="s" * 256), "255 bytes"),
    "a subject with a line end": (lambda issuer: issuer.token(sub="a\nb"), "control character"),
    "another type": (lambda issuer: issuer.token(header={"typ": "logout+jwt"}), "another type"),
    "no token": (lambda issuer: secrets.token_hex(24), "no JSON Web Token"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name, pair, start, issuer):
    make, words = BAD[name]
    expect_refused(pair, start(), make(issuer), words)


def test_a_client_says_why(pair, start, issuer):
    server = start()
    token = issuer.token(repository="mallory/app")
    client = pair.client(server, tcp={"peer": 0}, args=["--token", token], secrets=[token], ready=False)
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "auth" and "claim repository is mallory/app" in failed["reason"], failed


def test_no_flood_of_questions(pair, start, issuer):
    """Whoever sends what: the issuer is asked at most every ten seconds for keys that it does not have."""
    server = start()
    before = len(issuer.requests)
    started = time.monotonic()
    for _ in range(100):
        assert ask(pair, server, issuer.token(header={"kid": secrets.token_hex(8)}))[0] in (401, 503)
    looks = (len(issuer.requests) - before) / 2
    assert looks <= 1 + (time.monotonic() - started) / 10, looks


# ---- when it ends

def test_the_end_of_a_token(pair, start, issuer):
    """The link goes; the session goes on over the next one, with a fresh token."""
    server = start(tls=None)
    issued = []

    def fresh(path):
        if path != "/token":
            return issuer.page(path)
        issued.append(issuer.token(life=-25))  # 5 s within the leeway
        return 200, issued[-1].encode()

    issuer.answer = fresh
    client = pair.client(server, tcp={"peer": 0}, args=["--token-command", f"curl -s {issuer.url}/token"])
    with raw.connect(tunnel.port(client, "peer"), "echo") as sock:
        for _ in range(2):
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            since = client.mark()
            assert "the token has expired" in client.wait_for("link_lost", 20, since=since)["reason"]
            client.wait_for("link_resumed", 20, since=since)
        sock.sendall(b"y")
        assert sock.recv(1) == b"y"
    assert len(issued) >= 3 and not server.events("audit_session")
    assert {e["reason"] for e in server.events("link_dismissed")} == {"the token has expired"}


def test_links_may_outlive_their_token(pair, start, issuer):
    server = start("--no-oidc-end-sessions", tls=None)
    token = issuer.token(life=-27)
    client = pair.client(server, tcp={"peer": 0}, args=["--token", token], secrets=[token])
    assert wait.until(lambda: ask(pair, server, token)[0] == 401, 15, "the token has expired")
    assert raw.echo_once(tunnel.port(client, "peer"), b"still") == b"still"
    assert not client.events("link_lost")


# ---- the issuer

def test_an_issuer_that_comes_late(pair, start, issuer):
    """Until its keys are known, clients are told to come back, and do."""
    issuer.answer = lambda path: (500, b"not yet")
    server = start(known=False)
    assert "status 500" in server.wait_for("oidc_keys_unreachable")["reason"]
    token = issuer.token()
    status, said = ask(pair, server, token)
    assert status == 503 and "keys are not known yet" in said
    client = pair.client(server, tcp={"peer": 0}, args=["--token", token], secrets=[token], ready=False)
    client.wait_for("dial_failed")
    issuer.answer = None
    client.wait_for("ready", 60)


@pytest.mark.parametrize("page,words", [
    (lambda issuer, path: (200, b"<html>sign in</html>"), "no JSON object"),
    (lambda issuer, path: (200, json.dumps({"issuer": "https://elsewhere.example", "jwks_uri": issuer.url + "/keys"}).encode()), "another issuer"),
    (lambda issuer, path: (200, json.dumps({"issuer": issuer.url}).encode()), "jwks_uri"),
    (lambda issuer, path: (200, json.dumps({"issuer": issuer.url, "jwks_uri": "http://192.0.2.1/keys"}).encode()), "cannot be used"),
    (lambda issuer, path: (404, b"") if path == "/keys" else issuer.page(path), "status 404"),
    (lambda issuer, path: (200, b'{"keys":[]}') if path == "/keys" else issuer.page(path), "no key that can be used"),
    (lambda issuer, path: (200, b"x" * 100000) if path == "/keys" else issuer.page(path), "no JSON object"),
], ids=["a page", "another issuer", "no keys", "keys in clear", "404", "empty", "large"])
def test_bad_answers(page, words, pair, start, issuer):
    issuer.answer = lambda path: page(issuer, path)
    server = start(known=False)
    assert words in server.wait_for("oidc_keys_unreachable")["reason"]
    assert ask(pair, server, issuer.token())[0] == 503


def test_bad_answers_later(pair, start, issuer):
    """Keys that are known stay in force."""
    server = start()
    issuer.answer = lambda path: (503, b"")
    server.popen.send_signal(1)
    server.wait_for("oidc_keys_unreachable")
    assert ask(pair, server, issuer.token())[0] == 101


# ---- options

@pytest.mark.parametrize("args,words", [
    (["--oidc-issuer", "https://issuer.example"], "add --oidc-audience"),
    (["--oidc-issuer", "https://issuer.example", "--oidc-audience", "x"], "add --oidc-require"),
    (["--oidc-issuer", "http://issuer.example", *RULES], "https://"),
    (["--oidc-issuer", "issuer.example", *RULES], "no https:// URL"),
    (["--oidc-issuer", "https://issuer.example?x", *RULES], "query"),
    (["--oidc-issuer", "https://issuer.example", "--oidc-audience", "x", "--oidc-require", "sub"], "CLAIM=PATTERN"),
    (["--oidc-issuer", "https://issuer.example", *RULES, "--oidc-identity", "ci:{sub"], "braces"),
    (["--oidc-require", "sub=*"], "no effect without --oidc-issuer"),
    (["--oidc-issuer", "https://issuer.example", *RULES, "--oidc-ca", "/nonexistent"], "--oidc-ca"),
], ids=lambda value: value[-1][:20] if isinstance(value, list) else "")
def test_options(args, words, pair, target):
    server = pair.server(tcp=target, args=args, ready=False)
    assert server.wait_exit() == 2
    assert words in server.log()
