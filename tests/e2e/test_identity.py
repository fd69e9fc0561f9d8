"""Who a client is for the server: tokens, certificates, an ingress; alone and together. And what is left of a token afterwards."""

import os
import re
import secrets

import pytest

from harness import raw, tunnel, wait, ws

pytestmark = pytest.mark.tunnel
USER = "Sf-Context-Current-User"


@pytest.fixture
def target(peer):
    return {"peer": f"{peer.host}:{peer.port}"}


@pytest.fixture
def token():
    return "tok-" + secrets.token_hex(24)


def works(client):
    assert raw.echo_once(tunnel.port(client, "peer"), b"in") == b"in"


def ask(server, *headers, **kw):
    """The status of an upgrade, and what is said to whom it concerns."""
    sock, status, head = ws.upgrade(server, headers, **kw)
    size = re.search(r"content-length: (\d+)", head, re.I)
    body = b""
    while size and len(body) < int(size[1]):
        body += sock.recv(1000)
    sock.close()
    return status, body.decode()


# ---- the token file changes

def _empty(path):
    path.write_text("", encoding="ascii")


def _comments(path):
    path.write_text("# nobody, for now\n", encoding="ascii")


def _removed(path):
    path.unlink()


def _quotes(path):
    path.write_text('"tok-of-somebody"\n', encoding="ascii")


def _utf16(path):
    path.write_text("tok-of-somebody\n", encoding="utf-16")


def _comment_of_17_kib(path):
    """All of it is a comment; its tail is no token."""
    path.write_text("# " + "x" * 17000 + " tok-tail\n", encoding="ascii")


@pytest.mark.parametrize("spoil", [_empty, _comments, _removed, _quotes, _utf16, _comment_of_17_kib])
def test_bad_replacement(spoil, pair, target, token, tmp_path):
    """The old tokens stay in force; one line says so, whether anybody comes or not; and the file's return is said too."""
    path = tmp_path / "tokens"
    path.write_text(f"{token} alice\n", encoding="ascii")
    server = pair.server(tcp=target, args=["--token-file", path], secrets=[token])
    spoil(path)
    bad = server.wait_for("tokens_unreadable", 10)
    assert str(path) in bad["reason"] and "somebody" not in bad["reason"], bad
    for _ in range(5):
        assert ask(server, f"Authorization: Bearer {token}", ca=pair.pki.ca)[0] == 101
        assert ask(server, "Authorization: Bearer tok-tail", ca=pair.pki.ca)[0] == 401
    assert len(server.events("tokens_unreadable")) == 1
    new = "tok-" + secrets.token_hex(24)
    path.write_text(f"{new} alice\n", encoding="ascii")
    assert ask(server, f"Authorization: Bearer {token}", ca=pair.pki.ca)[0] == 401
    assert ask(server, f"Authorization: Bearer {new}", ca=pair.pki.ca)[0] == 101
    assert server.wait_for("tokens_read")["tokens"] == 1


def test_replacement_of_the_same_size_and_time(pair, target, token, tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"{token}\n", encoding="ascii")
    os.utime(path, ns=(10**18, 10**18))
    server = pair.server(tcp=target, args=["--token-file", path], secrets=[token])
    assert ask(server, f"Authorization: Bearer {token}", ca=pair.pki.ca)[0] == 101
    for how in ("in place", "replaced"):
        new = "tok-" + secrets.token_hex(24)
        written = path if how == "in place" else path.with_name("new")
        written.write_text(f"{new}\n", encoding="ascii")
        os.utime(written, ns=(10**18, 10**18))
        os.replace(written, path)
        assert ask(server, f"Authorization: Bearer {new}", ca=pair.pki.ca)[0] == 101, how
        assert ask(server, f"Authorization: Bearer {token}", ca=pair.pki.ca)[0] == 401, how


@pytest.mark.parametrize("text,word", [
    ("", "no token"), ("good\nBearer tok-1\n", "line 2"), ("tok-1 a\ntok-1 b\n", "line 2"), ("\ufefftok-1\n", "byte order mark"),
    ("tok-1 " + "n" * 256, "longer than 255 bytes"),
], ids=["empty", "Bearer", "twice", "byte order mark", "long name"])
def test_bad_file_from_the_start(text, word, pair, target, tmp_path):
    (tmp_path / "tokens").write_text(text, encoding="utf-8")
    server = pair.server(tcp=target, args=["--token-file", tmp_path / "tokens"], ready=False)
    assert server.wait_exit() == 2
    assert word in server.log() and "tok-1" not in server.log(), server.log()


# ---- identities are whole

def test_long_names_of_tokens(pair, target, tmp_path):
    """They differ in the 70th byte: the holder of one does not get the other's session."""
    names = ["n" * 70 + "a", "n" * 70 + "b"]
    tokens = ["tok-" + secrets.token_hex(24) for _ in names]
    (tmp_path / "tokens").write_text("".join(f"{t} {n}\n" for t, n in zip(tokens, names)), encoding="ascii")
    server = pair.server(tcp=target, args=["--token-file", tmp_path / "tokens"], secrets=tokens)
    for token_, name in zip(tokens, names):
        client = pair.client(server, tcp={"peer": 0}, args=["--token", token_], secrets=[token_])
        works(client)
        assert server.wait_for("session_up", identity=name)
        client.stop()


def test_long_subjects(pair, target, pki):
    """The same in their first 255 bytes: none of them is cut to that."""
    server = pair.server(tcp=target, args=["--client-ca", pki.ca])
    units = "".join(f"/OU={'u' * 60}{n}" for n in range(4))
    for name in ("alice", "bob"):
        cert = pki.authority.issue(f"long-{name}", "DNS:laptop", "clientAuth", subject=f"/CN={name}{units}")
        status, body = ask(server, ca=pki.ca, cert=cert)
        assert status == 401 and "255 bytes" in body and "--identity-from" in body, body
    assert "255 bytes" in server.wait_for("unauthorized")["reason"]


@pytest.mark.parametrize("subject,identity", [
    ("/O=Example/CN=alice", "CN=alice,O=Example"),
    ("/O=Example\\/CN=alice", "O=Example/CN=alice"),
    ("/O=Example, Inc./CN=Jürgen", "CN=Jürgen,O=Example\\, Inc."),
])
def test_subjects(subject, identity, pair, target, pki):
    server = pair.server(tcp=target, args=["--client-ca", pki.ca])
    cert, key = pki.authority.issue("subject", "DNS:laptop", "clientAuth", subject=subject)
    works(pair.client(server, tcp={"peer": 0}, args=["--cert", cert, "--key", key]))
    assert server.wait_for("session_up")["identity"] == identity


SAN = "URI:spiffe://example.org/ns/kafka/sa/alice,DNS:laptop.example.org,email:alice@example.org"


@pytest.mark.parametrize("option,identity", [
    ("san-uri", "spiffe://example.org/ns/kafka/sa/alice"), ("san-dns", "laptop.example.org"), ("san-email", "alice@example.org")])
def test_certificate_without_a_subject(option, identity, pair, target, pki):
    """As SPIFFE makes them: with --identity-from it says who it is, without that the refusal names the option."""
    cert, key = pki.authority.issue("spiffe", SAN, "clientAuth", subject="/")
    server = pair.server(tcp=target, args=["--client-ca", pki.ca, "--identity-from", option])
    works(pair.client(server, tcp={"peer": 0}, args=["--cert", cert, "--key", key]))
    assert server.wait_for("session_up")["identity"] == identity
    plain = pair.server(tcp=target, args=["--client-ca", pki.ca])
    client = pair.client(plain, tcp={"peer": 0}, args=["--cert", cert, "--key", key], ready=False)
    failed = client.wait_for("dial_failed")
    assert failed["status"] == 401 and "no subject" in failed["reason"], failed
    assert "--identity-from" in plain.wait_for("unauthorized")["reason"]


def test_certificate_of_several(pair, target, pki):
    server = pair.server(tcp=target, args=["--client-ca", pki.ca, "--identity-from", "san-dns"])
    cert = pki.authority.issue("several", "DNS:a.example.org,DNS:b.example.org", "clientAuth")
    status, body = ask(server, ca=pki.ca, cert=cert)
    assert status == 401 and "several DNS names" in body, body


# ---- the ingress

BAD_USERS = {
    "missing": ([], "is missing"),
    "empty": ([f"{USER}:"], "is empty"),
    "blank": ([f"{USER}:   "], "is empty"),
    "two": ([f"{USER}: bob", f"{USER}: alice"], "more than once"),
    "two, one of them in capitals": ([f"{USER}: bob", f"{USER.upper()}: alice"], "more than once"),
    "joined": ([f"{USER}: bob, alice"], "comma"),
    "long": ([f"{USER}: {'u' * 300}"], "255 bytes"),
    "another name": ([f"{USER.replace('-', '_')}: bob"], "is missing"),
}


@pytest.mark.parametrize("how", [["--trust-ingress"], ["--trust-ingress", "optional"], ["--trust-ingress=optional"]], ids=" ".join)
@pytest.mark.parametrize("case", BAD_USERS)
def test_ingress_that_names_nobody(case, how, pair, target):
    headers, word = BAD_USERS[case]
    server = pair.server(tcp=target, tls=None, args=how)
    status, body = ask(server, *headers)
    if "optional" in how[-1] and word == "is missing":
        assert status == 101
        return
    assert status == 401 and word in body, body
    assert word in server.wait_for("unauthorized")["reason"]


@pytest.mark.parametrize("args,env", [
    (["--trust-ingress"], {}), (["--trust-ingress=true"], {}), (["--trust-ingress", "optional"], {}),
    ([], {"TUNNEL_TRUST_INGRESS": "true"}), ([], {"TUNNEL_TRUST_INGRESS": "1"}), ([], {"TUNNEL_TRUST_INGRESS": "optional"}),
], ids=str)
def test_every_way_to_trust(args, env, pair, target):
    server = pair.server(tcp=target, tls=None, args=[*args, "--listen", "0.0.0.0:0"], env=env)
    assert ask(server, f"{USER}: bob")[0] == 101
    optional = "optional" in str(args) + str(env)
    assert ask(server)[0] == (101 if optional else 401)


def test_no_trust(pair, target):
    """Off is off, wherever on was said."""
    server = pair.server(tcp=target, tls=None, args=["--no-trust-ingress"], env={"TUNNEL_TRUST_INGRESS": "optional"})
    client = pair.client(server, tcp={"peer": 0}, args=["--header", f"{USER}: mallory"])
    works(client)
    assert server.wait_for("session_up")["identity"] == "anonymous"


def test_header_of_another_name(pair, target):
    server = pair.server(tcp=target, tls=None, args=["--trust-ingress", "--identity-header", "X-Auth-Request-User"])
    client = pair.client(server, tcp={"peer": 0}, args=["--header", "x-auth-request-user: bob", "--header", f"{USER}: mallory"])
    works(client)
    assert server.wait_for("session_up")["identity"] == "bob"
    assert ask(server, f"{USER}: mallory")[0] == 401


@pytest.mark.parametrize("args", [
    ["--identity-header", "X-User"], ["--trust-ingress", "--identity-header", "Authorization"],
    ["--trust-ingress", "--identity-header", "Sec-WebSocket-Key"], ["--trust-ingress", "--identity-header", "a b"],
    ["--identity-from", "san-uri"], ["--trust-ingress=perhaps"],
], ids=" ".join)
def test_options_that_mean_nothing(args, pair, target):
    server = pair.server(tcp=target, args=args, ready=False)
    assert server.wait_exit() == 2
    assert args[-2 if len(args) > 1 else 0].split("=")[0] in server.log(), server.log()


# ---- several together

def test_token_and_ingress_must_agree(pair, target, token, tmp_path):
    any_, path = "tok-" + secrets.token_hex(24), tmp_path / "tokens"
    path.write_text(f"{token} alice\n{any_}\n", encoding="ascii")
    server = pair.server(tcp=target, tls=None, args=["--trust-ingress", "--token-file", path], secrets=[token, any_])
    mine, anybodys = f"Authorization: Bearer {token}", f"Authorization: Bearer {any_}"
    assert ask(server, mine, f"{USER}: alice")[0] == 101
    assert ask(server, anybodys, f"{USER}: bob")[0] == 101
    status, body = ask(server, mine, f"{USER}: bob")
    assert status == 401 and "to a user other than" in body
    assert ask(server, mine)[0] == ask(server, f"{USER}: alice")[0] == 401


def test_token_and_certificate_must_agree(pair, target, token, pki, tmp_path):
    any_, path = "tok-" + secrets.token_hex(24), tmp_path / "tokens"
    path.write_text(f"{token} CN=client\n{any_}\n", encoding="ascii")
    server = pair.server(tcp=target, args=["--client-ca", pki.ca, "--token-file", path], secrets=[token, any_])
    other = pki.authority.issue("another", "DNS:laptop", "clientAuth")
    mine, anybodys = f"Authorization: Bearer {token}", f"Authorization: Bearer {any_}"
    assert ask(server, mine, ca=pki.ca, cert=pki.client)[0] == 101
    assert ask(server, anybodys, ca=pki.ca, cert=other)[0] == 101
    status, body = ask(server, mine, ca=pki.ca, cert=other)
    assert status == 401 and "to a user other than" in body


def test_certificate_of_the_ingress(pair, target, pki):
    """With both, the certificate says that this is the ingress, and the header says who the user is."""
    server = pair.server(tcp=target, args=["--client-ca", pki.ca, "--trust-ingress"])
    cert, key = pki.client
    works(pair.client(server, tcp={"peer": 0}, args=["--cert", cert, "--key", key, "--header", f"{USER}: bob"]))
    assert server.wait_for("session_up")["identity"] == "bob"
    status, body = ask(server, ca=pki.ca, cert=pki.client)
    assert status == 401 and "is missing" in body


# ---- what is left of a token

def copies(process, secret):
    """How often the secret is in the memory that the program may write to."""
    found = 0
    with open(f"/proc/{process.pid}/maps", encoding="ascii") as maps, open(f"/proc/{process.pid}/mem", "rb") as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if "w" not in rights or line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                continue
            start, end = (int(n, 16) for n in span.split("-"))
            try:
                memory.seek(start)
                found += memory.read(end - start).count(secret.encode())
            except (OSError, ValueError):
                continue
    return found


@pytest.mark.memory
@pytest.mark.parametrize("tls", ["server", None], ids=["TLS", "plain"])
@pytest.mark.parametrize("size", [24, 4500], ids=["short", "9 KB"])
@pytest.mark.parametrize("valid", [True, False], ids=["valid", "refused"])
def test_no_token_is_left_in_memory(valid, size, tls, pair, target, tmp_path):
    """Of a token that was presented the server keeps nothing that can be found."""
    token = "tok-" + secrets.token_hex(size)
    path = tmp_path / "tokens"
    path.write_text(f"{token if valid else 'tok-other'} alice\n", encoding="ascii")
    server = pair.server(tcp=target, tls=tls, args=["--token-file", path], secrets=[token])
    try:
        assert copies(server, "--token-file") > 0, "the search finds what is there"
    except PermissionError:
        pytest.skip("this system does not let a process look at its children's memory")
    socks = []
    for _ in range(3):
        sock, status, _ = ws.upgrade(server, [f"Authorization: Bearer {token}"], ca=pair.pki.ca if tls else None)
        assert status == (101 if valid else 401)
        socks.append(sock)
    parts = {token[at:at + 32] for at in (0, len(token) // 3, len(token) // 2, len(token) - 32)}

    def left():
        return [copies(server, part) for part in parts]
    # The answer may be here before the server is done with the request.
    wait.until(lambda: left() == [0] * len(parts), 5, left)
    for sock in socks:
        sock.close()
    assert left() == [0] * len(parts)
