"""Who the client says it is: key pairs of Snowflake users, commands that print a token, header fields, client certificates."""

import os
import pathlib
import pty
import re
import secrets
import select
import ssl
import subprocess
import time

import pytest
from cryptography.hazmat.primitives import serialization

from harness import cache, fakes, ingress as ingresses, process, proxy as proxies, raw, snowflake, tunnel, wait

pytestmark = pytest.mark.tunnel
PASSPHRASE = "open-sesame-4711"


@pytest.fixture(scope="module")
def key():
    return snowflake.new_key()


@pytest.fixture
def account(pki, key):
    """The token endpoint of account ACME, with user TUN, who has the role CLIENT_R."""
    endpoint = snowflake.TokenEndpoint(pki)
    endpoint.users["TUN"] = (key, {"CLIENT_R"})
    yield endpoint
    endpoint.close()


@pytest.fixture
def service(pair, peer, pki, account):
    """A server behind the ingress, which lets in whoever has a token of the account."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=["--trust-ingress"])
    ingress = ingresses.Ingress(pki, [("127.0.0.1", server.port)], {})
    ingress.tokens = account.tokens
    ingress.server, ingress.ca = server, pki.ca
    yield ingress
    ingress.close()


@pytest.fixture
def key_file(tmp_path):
    """key_file(key, passphrase, traditional): its path."""
    def write(key, passphrase=None, traditional=False, mode=0o600):
        path = tmp_path / "rsa_key.p8"
        path.write_text(snowflake.pem(key, passphrase, traditional), encoding="ascii")
        path.chmod(mode)
        return path
    return write


def secret_lines(path):
    return [line for line in path.read_text(encoding="ascii").splitlines() if len(line) > 40 and "-----" not in line]


@pytest.fixture
def laptop(pair, account, service, key, key_file):
    """laptop(...): a client with the key pair; neither it nor its log shows key, JWTs or tokens."""
    def start(path=None, args=(), ready=True, role="CLIENT_R", user="tun", name="acme", env=None, dial_timeout="15", **kw):
        path = path or key_file(key)
        client = pair.client(
            service.url(), tcp={"raw": 0}, ready=False, env=env, secrets=[*secret_lines(path), PASSPHRASE], **kw,
            args=["--snowflake-account", name, "--snowflake-user", user, "--private-key-file", path, "--snowflake-url",
                  account.url(), "--dial-timeout", dial_timeout, "--log-level", "debug",
                  *(["--snowflake-role", role] if role else []), *args])
        account.watch(client)
        if ready:
            client.wait_for("ready")
        return client
    return start


def echo(client):
    assert raw.echo_once(tunnel.port(client, "raw"), b"in") == b"in"


# ---- key pair

def test_first_message(laptop, account, service, key):
    """What is asked for, and that nothing secret can be seen anywhere while it runs."""
    client = laptop()
    echo(client)
    assert service.server.wait_for("session_up")["identity"] == "TUN"
    assert account.forms[0]["scope"] == ["session:role:CLIENT_R localhost"] and not account.refusals
    shown = client.wait_for("key_pair")
    assert (shown["account"], shown["user"], shown["fingerprint"]) == ("ACME", "TUN", snowflake.fingerprint(key))
    for at in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = at.read_bytes().decode("latin-1")
        except OSError:
            continue
        assert not any(secret in line for secret in client.secrets if secret != PASSPHRASE), at
    assert len(client.secrets) > 5


def test_default_role(laptop, account):
    echo(laptop(role=None))
    assert account.forms[0]["scope"] == ["localhost"]


def test_account_with_a_region(laptop, account):
    """The claim ends at the first dot, the user is upper-cased."""
    echo(laptop(name="acme.eu-west-1.aws", user="Tun"))


@pytest.mark.parametrize("traditional", [False, True], ids=["pkcs8", "pkcs1"])
@pytest.mark.parametrize("how", ["plain", "file", "environment"])
def test_forms_of_keys(how, traditional, laptop, key, key_file, tmp_path):
    if how == "plain":
        echo(laptop(key_file(key, None, traditional)))
        return
    path = key_file(key, PASSPHRASE, traditional)
    if how == "file":
        (tmp_path / "pass").write_text(PASSPHRASE + "\nsecond line\n", encoding="ascii")
        echo(laptop(path, ["--private-key-passphrase-file", tmp_path / "pass"]))
    else:
        echo(laptop(path, env={"TUNNEL_PRIVATE_KEY_PASSPHRASE": PASSPHRASE}))


def test_each_dial_has_a_token_of_its_own(laptop, account, service):
    """Links are cut; the tokens of former links are worth nothing any more, and nobody notices."""
    client = laptop()
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        for number in range(4):
            mark = client.mark()
            sock.sendall(b"%d" % number)
            assert sock.recv(10) == b"%d" % number
            account.tokens.clear()
            service.drop()
            client.wait_for("link_resumed", since=mark)
    assert len(account.issued) >= 5 and len(set(account.issued)) == len(account.issued)
    assert not client.events("token_reused") and not account.refusals


def test_keys_are_exchanged_while_it_runs(laptop, account, service, key_file):
    client = laptop()
    new = snowflake.new_key()
    account.users["TUN"] = (new, {"CLIENT_R"})
    client.secrets += secret_lines(key_file(new))
    mark = client.mark()
    service.drop()
    client.wait_for("link_resumed", since=mark)
    echo(client)


def test_last_token_does_when_none_can_be_had(laptop, account, service):
    """The endpoint hangs up, or has a problem of its own: the last token is good for an hour."""
    client = laptop()
    busy = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
    for answer, words in (("drop", "no token"), (busy, "503")):
        account.answer = answer
        mark = client.mark()
        service.drop()
        reused = client.wait_for("token_reused", since=mark)
        assert words in reused["reason"] and 3000 < reused["good_for_s"] <= 3600, reused
        client.wait_for("link_resumed", since=mark)
    account.answer = None
    mark = client.mark()
    service.drop()
    client.wait_for("link_resumed", since=mark)
    assert len(account.issued) == 2
    echo(client)


@pytest.mark.parametrize("why", ["about to expire", "refused by the ingress", "refused at last"])
def test_last_token_that_does_not_do(why, laptop, account, service):
    """It is not used when it is good for less than a minute, when the ingress did not take it, or the account says no."""
    if why == "about to expire":
        account.life = 45
    client = laptop()
    if why == "refused by the ingress":
        account.tokens.clear()
    account.answer = "drop" if why != "refused at last" else b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n{}"
    mark = client.mark()
    service.drop()
    if why == "refused by the ingress":
        client.wait_for("token_reused", since=mark)
        failed = client.wait_for("dial_failed", since=mark)
        assert failed["status"] == 401 and failed["hop"] == "auth", failed
        return
    failed = client.wait_for("dial_failed", since=mark)
    assert not client.events("token_reused", since=mark)
    assert failed["hop"] == ("auth" if why == "refused at last" else "http"), failed
    account.answer = None
    if why == "about to expire":
        client.wait_for("link_resumed", since=mark)
        echo(client)


def test_token_expires_while_the_link_stands(laptop, account):
    """A token is for the request that opens the link; what is connected stays."""
    client = laptop()
    account.tokens.until[account.issued[0]] = 0
    assert account.issued[0] not in account.tokens
    echo(client)
    assert not client.events("link_lost")


def test_slow_clock_shortens_no_token(laptop, account, service):
    """What is left of a token's life is counted by its issuer's clock, not by one that is off."""
    account.skew = 50
    account.life = 3600
    client = laptop()
    account.answer = "drop"
    mark = client.mark()
    service.drop()
    assert client.wait_for("token_reused", since=mark)["good_for_s"] <= 3600


# What goes wrong -> (how, status, words of the sentence)
def _unknown_key(account):
    account.users["TUN"] = (snowflake.new_key(), {"CLIENT_R"})


def _unknown_user(account):
    account.users.clear()


def _role(account):
    account.users["TUN"] = (account.users["TUN"][0], {"OTHER_R"})


def _policy(account):
    account.network_policy = True


def _scope(account):
    account.services.clear()


def _ahead(account):
    account.skew = -7200


def _behind(account):
    account.skew = 7200


def _answers(answer):
    def set_answer(account):
        account.answer = answer
    return set_answer


def _http(status, body, *headers):
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", body]).encode()


REFUSALS = {
    "unknown key": (_unknown_key, 401, ["JWT token is invalid", "SHA256:", "ALTER USER TUN SET RSA_PUBLIC_KEY", "account ACME"]),
    "unknown user": (_unknown_user, 401, ["DESC USER TUN"]),
    "role not granted": (_role, 400, ["CLIENT_R", "GRANT ROLE", "--snowflake-role"]),
    "network policy": (_policy, 403, ["390432", "network policy"]),
    "unknown service": (_scope, 400, ["localhost", "SHOW ENDPOINTS"]),
    "clock ahead": (_ahead, 401, [r"clock is 7[12]\d\d seconds ahead"]),
    "clock behind": (_behind, 401, [r"clock is 7[12]\d\d seconds behind"]),
    "claims of time": (_answers(_http("400 Bad Request", '{"error":"invalid_grant","message":"iat claim"}')), 400, ["clock"]),
    "HTML page": (_answers(_http("403 Forbidden", "<html><h1>Blocked</h1></html>")), 403, ["HTML page", "proxy"]),
    "HTML page as if it were good": (_answers(_http("200 OK", "<!DOCTYPE html>")), 200, ["HTML page", "--snowflake-url"]),
    "JSON": (_answers(_http("200 OK", '{"token":"x"}')), 200, ["JSON"]),
    "several lines": (_answers(_http("200 OK", "a\r\nX-Injected: b")), 200, ["characters that no token has"]),
    "nothing": (_answers(_http("200 OK", "")), 200, ["is empty"]),
    "redirect": (_answers(_http("302 Found", "", "Location: https://login.example.org/x?y=z")), 302, ["login.example.org/x,"]),
    "no such page": (_answers(_http("404 Not Found", '{"message":"no"}')), 404, ["--snowflake-account"]),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_to_do_about_a_refusal(case, laptop, account):
    """Each says what the endpoint said and what to do, and is not asked again at once."""
    spoil, status, words = REFUSALS[case]
    spoil(account)
    client = laptop(ready=False)
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "auth" and failed["status"] == status and failed["retry_ms"] >= 30000, failed
    assert f"localhost:{account.port}" in failed["reason"], failed
    for word in words:
        assert re.search(word, failed["reason"]), failed


FAULTS = {
    "out of order": (_http("503 Service Unavailable", "<html>"), "auth", "503"),
    "too many": (_http("429 Too Many Requests", '{"message":"slow down"}'), "auth", "slow down"),
    "hangs up": ("drop", None, "no token"),
    "silent": ("silence", None, "no token"),
    "not HTTP": (b"SSH-2.0-OpenSSH\r\n", None, "no token"),
    "endless": (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * (1 << 20), None, ""),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_that_may_pass(case, laptop, account):
    """The token endpoint is asked again soon, and what was wrong is said."""
    answer, hop, word = FAULTS[case]
    account.answer = answer
    client = laptop(ready=False, dial_timeout="2" if case == "silent" else "15")
    failed = client.wait_for("dial_failed")
    assert word in failed["reason"] and str(account.port) in failed["reason"], failed
    assert hop is None or failed["hop"] == hop, failed
    if case != "endless":
        assert failed["retry_ms"] <= 10000, failed
        account.answer = None
        client.wait_for("ready", 40)


def test_nobody_gives_out_tokens(pair, service, key, key_file):
    port = wait.free_port()
    client = pair.client(service.url(), tcp={"raw": 0}, ready=False,
                         args=["--snowflake-account", "acme", "--snowflake-user", "tun", "--private-key-file", key_file(key),
                               "--snowflake-url", f"https://localhost:{port}"])
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "tcp" and str(port) in failed["reason"], failed


def test_certificate_of_the_token_endpoint_is_checked(pair, pki, account, service, key, key_file):
    """The proof of who we are goes to nobody whose certificate is not for the host."""
    account.context.load_cert_chain(*pki.wrong_name)
    client = pair.client(service.url(), tcp={"raw": 0}, ready=False,
                         args=["--snowflake-account", "acme", "--snowflake-user", "tun", "--private-key-file", key_file(key),
                               "--snowflake-url", account.url()])
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "tls" and not account.forms, failed


def test_stopping_while_a_token_is_awaited(laptop, account):
    account.answer = "silence"
    client = laptop(ready=False, dial_timeout="60")
    wait.until(lambda: account.forms, 15, "the endpoint is asked")
    start = time.monotonic()
    client.stop()
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("mode,warned", [(0o644, True), (0o600, False), (0o640, False)], ids=oct)
def test_key_that_everybody_can_read(mode, warned, laptop, key, key_file):
    client = laptop(key_file(key, mode=mode))
    assert [e["file"].endswith("rsa_key.p8") for e in client.events("secret_exposed")] == [True] * warned


def test_certificate_beside_the_key_pair(laptop, account, service, pki):
    """Mutual TLS with the ingress; the token endpoint is not shown the certificate."""
    service.context.load_verify_locations(pki.ca)
    service.context.verify_mode = ssl.CERT_REQUIRED
    cert, private = pki.client
    echo(laptop(args=["--cert", cert, "--key", private]))
    assert not any(account.certificates), account.certificates


@pytest.mark.parametrize("kind", [proxies.Proxy, proxies.Socks], ids=["http", "socks"])
def test_through_a_proxy(kind, laptop, account, service):
    """The request for a token goes the way that the tunnel goes."""
    with kind() as proxy:
        client = laptop(args=["--proxy", proxy.url()])
        echo(client)
        assert proxy.asked == [f"localhost:{account.port}", f"localhost:{service.port}"]
        client.stop()


def test_host_of_an_account(pair, service, key, key_file):
    """Without --snowflake-url the account says where tokens are to be had."""
    host = "my-acme.eu-west-1.snowflakecomputing.com"
    with proxies.Proxy(names={host: "192.0.2.1"}, answer=b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") as proxy:
        client = pair.client(service.url(), tcp={"raw": 0}, ready=False,
                             args=["--snowflake-account", "My_Acme.eu-west-1", "--snowflake-user", "tun", "--private-key-file",
                                   key_file(key), "--proxy", proxy.url()])
        failed = client.wait_for("dial_failed")
        assert proxy.asked[0] == host + ":443" and host in failed["reason"], failed

def test_doctor(binaries, service, account, key, key_file):
    """It asks for tokens as the client does: a refusal is a matter of the layer auth."""
    path = key_file(key)
    argv = [binaries.client, "doctor", "--server", service.url(), "--ca", service.ca, "--tcp", "raw=0", "--snowflake-account",
            "acme", "--snowflake-user", "tun", "--private-key-file", path, "--snowflake-url", account.url()]
    good = process.run(argv, 30, check=False)
    assert good.returncode == 0 and "with a token" in good.stdout, good.stdout + good.stderr
    account.users["TUN"] = (snowflake.new_key(), {"CLIENT_R"})
    bad = process.run(argv, 30, check=False)
    assert bad.returncode == 16 and snowflake.fingerprint(key) in bad.stdout, bad.stdout + bad.stderr
    for secret in [*account.said, *secret_lines(path)]:
        assert secret not in good.stdout + good.stderr + bad.stdout + bad.stderr

BAD_KEYS = {
    "missing": (None, ["No such file"]),
    "no key": ("this is a token\n", ["not a private key"]),
    "public": ("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n", ["public key"]),
    "OpenSSH": ("-----BEGIN OPENSSH PRIVATE KEY-----\nMIIB\n-----END OPENSSH PRIVATE KEY-----\n", ["ssh-keygen"]),
}


def key_options(path):
    return ["--server", "https://localhost:1", "--tcp", "x=0", "--snowflake-account", "acme", "--snowflake-user", "tun",
            "--private-key-file", str(path)]


@pytest.mark.parametrize("case", BAD_KEYS)
def test_bad_keys_from_the_start(case, binaries, tmp_path):
    text, words = BAD_KEYS[case]
    path = tmp_path / "k.pem"
    if text:
        path.write_text(text, encoding="ascii")
    done = process.run([binaries.client, *key_options(path)], 15, check=False)
    assert done.returncode == 2 and str(path) in done.stderr, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_nobody_is_asked_for_a_passphrase(binaries, key, key_file):
    """Not even on a terminal, with somebody in front of it."""
    argv = [str(binaries.client), *key_options(key_file(key, PASSPHRASE))]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(argv[0], argv)
    shown = b""
    deadline = time.monotonic() + 15
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            got = os.read(terminal, 4096)
            if not got:
                break
            shown += got
    except OSError:
        pass  # the end, on Linux
    os.close(terminal)
    if time.monotonic() >= deadline:
        os.kill(pid, 9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2, shown
    assert b"is encrypted" in shown and b"--private-key-passphrase-file" in shown, shown


def test_wrong_passphrase(binaries, key, key_file, tmp_path):
    (tmp_path / "pass").write_text("open-barley\n", encoding="ascii")
    options = [*key_options(key_file(key, PASSPHRASE)), "--private-key-passphrase-file", tmp_path / "pass"]
    done = process.run([binaries.client, *options], 15, check=False)
    assert done.returncode == 2 and "does not decrypt it" in done.stderr and "barley" not in done.stderr, done.stderr


# ---- a command that prints the token

@pytest.fixture
def target(peer):
    return {"raw": f"{peer.host}:{peer.port}"}


@pytest.fixture
def token():
    return "tok-" + secrets.token_hex(24)


@pytest.fixture
def guarded(pair, target, token, tmp_path):
    """A server that wants the token."""
    (tmp_path / "tokens").write_text(token + "\n", encoding="ascii")
    return pair.server(tcp=target, args=["--token-file", tmp_path / "tokens"], secrets=[token])


def test_command(pair, guarded, token, tmp_path):
    """It is run for every dial, and what it says on standard error can be read in the log."""
    (tmp_path / "vault").write_text(f"{token}\nnot this\n", encoding="ascii")
    runs = tmp_path / "runs"
    client = pair.client(guarded, tcp={"raw": 0}, secrets=[token],
                         args=["--token-command", f"echo x >>{runs}; echo from the vault >&2; cat {tmp_path / 'vault'}"])
    echo(client)
    assert client.wait_for("secret_command_said")["text"] == "from the vault"
    assert runs.read_text() == "x\n"
    (tmp_path / "tokens").write_text("tok-new\n", encoding="ascii")
    (tmp_path / "vault").write_text("tok-new\n", encoding="ascii")
    mark = client.mark()
    port = guarded.port
    guarded.stop()
    client.wait_for("dial_failed", since=mark)
    pair.server(tcp={"raw": "127.0.0.1:1"}, args=["--token-file", tmp_path / "tokens"], listen=f"127.0.0.1:{port}")
    client.wait_for("link_up", 40, since=mark)
    assert len(runs.read_text()) >= 4


def test_command_is_told_no_secrets(pair, guarded, token, tmp_path):
    """Neither by the environment nor by descriptors; it has no terminal and nothing to read."""
    (tmp_path / "vault").write_text(token + "\n", encoding="ascii")
    script = f"env >{tmp_path}/env; ls /proc/self/fd >{tmp_path}/fds; cat >{tmp_path}/in; cat {tmp_path}/vault"
    client = pair.client(guarded, tcp={"raw": 0}, secrets=[token, "s3cret-of-a-header"], args=["--token-command", script],
                         env={"TUNNEL_HEADER": "X-Key: s3cret-of-a-header", "TUNNEL_CONNECT_WAIT": "9", "VAULT": "there"})
    echo(client)
    seen = (tmp_path / "env").read_text()
    assert "VAULT=there" in seen and "TUNNEL_CONNECT_WAIT=9" in seen and "s3cret" not in seen, seen
    assert (tmp_path / "fds").read_text().split() == ["0", "1", "2", "3"], "3 is the directory that ls reads"
    assert (tmp_path / "in").read_text() == ""


COMMANDS = {
    "fails": ("echo no such vault >&2; exit 3", ["exit code 3", "no such vault"]),
    "is missing": ("/nonexistent/vault get", ["127"]),
    "prints nothing": ("true", ["printed nothing"]),
    "prints a sentence": ("echo please log in first", ["did not print a token", "contains a space"]),
    "prints quotes": ("echo '\"t0ken-of-today\"'", ["did not print a token", "quotes"]),
    "prints a header": ("echo Bearer t0ken-of-today", ["did not print a token", "only the token itself"]),
    "hangs": ("echo open https://sso.example >&2; sleep 1000", [r"within 1\.0 s", "--dial-timeout", "https://sso.example"]),
    "never ends": ("yes", ["64 KiB"]),
    "has a huge line": ("head -c 30000 /dev/zero | tr '\\0' a", ["12 KiB"]),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_command_that(case, pair, guarded):
    command, words = COMMANDS[case]
    client = pair.client(guarded, tcp={"raw": 0}, ready=False,
                         args=["--token-command", command, "--dial-timeout", "1" if case == "hangs" else "15"])
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "auth" and "--token-command" in failed["reason"], failed
    for word in words:
        assert re.search(word, failed["reason"]), failed
    assert client.alive()


def test_stopping_while_a_command_runs(pair, guarded, tmp_path):
    """It is killed, with what it has started."""
    client = pair.client(guarded, tcp={"raw": 0}, ready=False,
                         args=["--token-command", f"echo $$ >{tmp_path}/pid; sleep 1000 & echo $! >{tmp_path}/child; wait"])
    wait.until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip(), 15, "it runs")
    pids = [int((tmp_path / name).read_text()) for name in ("pid", "child")]
    client.stop()

    def gone(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return True
    wait.until(lambda: all(gone(pid) for pid in pids), 10, "the command is gone")


# ---- tokens as they are found

# What is around a token does not matter, wherever it comes from.
@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " \t{} \n\n", "\r\n{}"], ids=repr)
@pytest.mark.parametrize("source", ["argument", "environment", "file", "command"])
def test_what_is_around_a_token(source, around, pair, guarded, token, tmp_path):
    text = around.format(token)
    path = tmp_path / "mine"
    path.write_text(text, encoding="ascii", newline="")
    args = {"argument": ["--token", text], "environment": [], "file": ["--token-file", path],
            "command": ["--token-command", f"grep tok {path}"]}[source]
    echo(pair.client(guarded, tcp={"raw": 0}, secrets=[token], args=args,
                     env={"TUNNEL_TOKEN": text} if source == "environment" else None))


NO_TOKENS = {
    "byte order mark": (b"\xef\xbb\xbftok-1\n", "byte order mark"),
    "quotes": (b'"tok-1"', "quotes"),
    "Bearer": (b"Bearer tok-1\n", "only the token itself"),
    "Snowflake": (b'Snowflake Token="tok-1"', "only the token itself"),
    "blank": (b"tok-1 tok-2", "contains a space"),
    "two lines": (b"tok-1\ntok-2\n", "contains a line break"),
    "control character": (b"tok-1\x1b[1m", "control character"),
    "non-ASCII": ("tok-1\u2026".encode(), "non-ASCII"),
    "JSON": (b'{"access_token":"tok-1"}', "JSON"),
}


@pytest.mark.parametrize("case", NO_TOKENS)
@pytest.mark.parametrize("source", ["argument", "environment", "file"])
def test_what_can_be_no_token_from_the_start(source, case, binaries, tmp_path):
    text, word = NO_TOKENS[case]
    path = tmp_path / "mine"
    path.write_bytes(text)
    argv = [binaries.client, "--server", "https://localhost:1", "--tcp", "x=0"]
    argv += {"argument": ["--token", os.fsdecode(text)], "environment": [], "file": ["--token-file", path]}[source]
    done = process.run(argv, 15, check=False, env={"TUNNEL_TOKEN": os.fsdecode(text)} if source == "environment" else None)
    assert done.returncode == 2 and word in done.stderr and "tok-1" not in done.stderr, done.stderr
    named = {"argument": "--token", "environment": "TUNNEL_TOKEN", "file": "--token-file"}[source]
    assert named in done.stderr, done.stderr


def test_file_that_is_utf_16(binaries, tmp_path):
    for encoding in ("utf-16", "utf-16-le"):
        (tmp_path / "mine").write_text("tok-1\n", encoding=encoding)
        done = process.run([binaries.client, "--server", "https://localhost:1", "--tcp", "x=0", "--token-file", tmp_path / "mine"],
                           15, check=False)
        assert done.returncode == 2 and "UTF-16" in done.stderr, done.stderr


def _rewritten(path, token, _):
    """In place, with the size and the time of before."""
    before = path.stat()
    path.write_text(token, encoding="ascii")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced(path, token, _):
    new = path.with_name("new")
    new.write_text(token, encoding="ascii")
    os.replace(new, path)


def _linked_anew(path, token, _):
    """As Kubernetes does: the file is a link through a link to a directory, and that one is exchanged."""
    data, new = path.with_name("..data"), path.with_name("..data_tmp")
    other = path.with_name("v2")
    other.mkdir()
    (other / "token").write_text(token, encoding="ascii")
    new.symlink_to("v2")
    os.replace(new, data)


def _removed_and_back(path, token, client):
    path.unlink()
    client.wait_log("No such file", 10)
    path.write_text(token, encoding="ascii")


@pytest.mark.parametrize("change", [_rewritten, _replaced, _linked_anew, _removed_and_back])
def test_token_file_is_corrected_after_a_refusal(change, pair, guarded, token, tmp_path):
    """The client does not wait out its pause."""
    path = tmp_path / "secret" / "token"
    (tmp_path / "secret").mkdir()
    wrong = "tok-" + "0" * (len(token) - 4)
    if change is _linked_anew:
        path.with_name("v1").mkdir()
        (path.with_name("v1") / "token").write_text(wrong, encoding="ascii")
        path.with_name("..data").symlink_to("v1")
        path.symlink_to("..data/token")
    else:
        path.write_text(wrong, encoding="ascii")
    client = pair.client(guarded, tcp={"raw": 0}, ready=False, secrets=[token, wrong], args=["--token-file", path])
    assert client.wait_for("dial_failed")["retry_ms"] >= 30000
    mark = client.mark()
    change(path, token, client)
    start = time.monotonic()
    client.wait_for("credentials_changed", 10, since=mark)
    client.wait_for("ready", 10)
    assert time.monotonic() - start < 5
    echo(client)


def test_token_file_that_stays_wrong(pair, guarded, token, tmp_path):
    """Each change is worth one dial, and no more."""
    path = tmp_path / "mine"
    path.write_text("tok-wrong-1\n", encoding="ascii")
    client = pair.client(guarded, tcp={"raw": 0}, ready=False, secrets=[token], args=["--token-file", path, "--log-level", "debug"])
    client.wait_for("dial_failed")
    for number in (2, 3):
        mark = client.mark()
        path.write_text(f"tok-wrong-{number}\n", encoding="ascii")
        assert client.wait_for("dial_failed", 10, since=mark)["retry_ms"] >= 30000
    time.sleep(2.5)  # what must not happen has time to
    assert len(client.events("dial_failed")) == 3 and len(client.events("credentials_changed")) == 2


def test_key_is_exchanged_after_a_refusal(laptop, account, key, key_file):
    """The same for a key pair: the file is another one, and the dial comes at once."""
    stranger = snowflake.new_key()
    client = laptop(key_file(stranger), ready=False)
    assert client.wait_for("dial_failed")["retry_ms"] >= 30000
    client.secrets += secret_lines(key_file(key))
    client.wait_for("credentials_changed", 10)
    client.wait_for("ready", 10)
    echo(client)


# ---- header fields, certificates

def test_header_fields(pair, pki):
    """As they stand, beside the token; from the command line and from the environment."""
    with fakes.Fake(fakes.UNAUTHORIZED, pki.server) as fake:
        client = pair.client(f"https://127.0.0.1:{fake.port}", tcp={"x": 0}, ready=False, secrets=["k3y-of-the-gateway", "tok-1"],
                             args=["--token", "tok-1"], env={"TUNNEL_HEADER": "X-Key: k3y-of-the-gateway, 2\nX-Route:blue "})
        client.wait_for("dial_failed")
        assert fake.header("X-Key") == "k3y-of-the-gateway, 2" and fake.header("X-Route") == "blue"
        assert fake.header("Authorization") == "Bearer tok-1"
        client = pair.client(f"https://127.0.0.1:{fake.port}", tcp={"x": 0}, ready=False,
                             args=["--header", "Authorization: Basic dTpw", "--header", "X-A:b"])
        client.wait_for("dial_failed")
        assert fake.header("Authorization") == "Basic dTpw" and fake.header("X-A") == "b"


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "500 Oops", "302 Found"])
def test_server_that_repeats_the_token(status, pair, pki, token):
    """What it answers is shown, but not the token that it was sent; not even half of it where the answer is cut."""
    for padding in (0, 100, 150):
        text = f'{{"detail":"{"x " * (padding // 2)}bad credentials: {token}"}}'
        answer = _http(status, text, f"Location: https://login.example.org/{token}")
        with fakes.Fake(answer, pki.server) as fake:
            client = pair.client(f"https://127.0.0.1:{fake.port}", tcp={"x": 0}, ready=False, secrets=[token, token[:20]],
                                 env={"TUNNEL_TOKEN": token})
            assert status[:3] in str(client.wait_for("dial_failed"))
            client.stop()


def test_certificate_beside_a_token(pair, target, pki, token, tmp_path):
    """A server that wants both gets both."""
    (tmp_path / "tokens").write_text(token + "\n", encoding="ascii")
    server = pair.server(tcp=target, args=["--client-ca", pki.ca, "--token-file", tmp_path / "tokens"], secrets=[token])
    cert, private = pki.client
    both = ["--cert", cert, "--key", private]
    echo(pair.client(server, tcp={"raw": 0}, secrets=[token], args=[*both, "--token-command", f"cat {tmp_path / 'tokens'}"]))
    alone = pair.client(server, tcp={"raw": 0}, args=both, ready=False)
    assert alone.wait_for("dial_failed")["status"] == 401
    other = pair.client(server, tcp={"raw": 0}, args=["--token-file", tmp_path / "tokens"], ready=False, secrets=[token])
    assert other.wait_for("dial_failed")["hop"] == "tls"


# ---- the page about all this

def test_commands_of_the_page(laptop, account, tmp_path):
    """docs/authentication.md: its lines make a key that works, and show what the log shows."""
    page = (cache.ROOT / "docs" / "authentication.md").read_text(encoding="utf-8")
    lines = re.search(r"<!-- test: keys -->\n```sh\n(.*?)```", page, re.DOTALL).group(1)
    shown = subprocess.run(["bash", "-euo", "pipefail", "-c", lines], cwd=tmp_path, capture_output=True, text=True,
                           timeout=60, check=True)
    public, fingerprint = shown.stdout.splitlines()
    passphrase = (tmp_path / "passphrase").read_text().strip()
    key = serialization.load_pem_private_key((tmp_path / "rsa_key.p8").read_bytes(), passphrase.encode())
    assert public == "".join((tmp_path / "rsa_key.pub").read_text().splitlines()[1:-1])
    account.users["TUN"] = (key, {"CLIENT_R"})
    client = laptop(tmp_path / "rsa_key.p8", ["--private-key-passphrase-file", tmp_path / "passphrase"])
    client.secrets.append(passphrase)
    assert client.wait_for("key_pair")["fingerprint"] == "SHA256:" + fingerprint
    assert not client.events("secret_exposed")
    echo(client)
