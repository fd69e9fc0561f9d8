"""Tokens of --token-file: lines with digests and dates, the command that makes them, and what becomes of who is in when one goes."""

import hashlib
import os
import re
import secrets
import stat
import subprocess
import time

import pytest

from harness import cache, raw, tunnel, wait, ws

pytestmark = pytest.mark.tunnel
SECONDS = 10  # the server looks at the file every 2 s


@pytest.fixture
def target(peer):
    return {"peer": f"{peer.host}:{peer.port}"}


def make(binaries, *args):
    """The lines that the command prints."""
    done = subprocess.run([binaries.server, "token", *map(str, args)], capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == "", done.stderr
    return done.stdout.splitlines()


def fails(binaries, *args):
    done = subprocess.run([binaries.server, "token", *map(str, args)], capture_output=True, text=True, timeout=30)
    assert done.stdout == "", done.stdout
    return done.returncode, done.stderr


def status(server, token, ca):
    sock, got, _ = ws.upgrade(server, [f"Authorization: Bearer {token}"], ca=ca)
    sock.close()
    return got


def echoes(sock, data):
    sock.sendall(data)
    got = b""
    while len(got) < len(data):
        got += sock.recv(len(data) - len(got)) or pytest.fail("the connection has ended")
    return got == data


def works(client):
    return raw.echo_once(tunnel.port(client, "peer"), b"in") == b"in"


# ---- the command

def test_a_token_is_made(binaries, pair, target, tmp_path):
    token, line = make(binaries, "--name", "CN=alice,O=Example", "--until", "90d")
    assert re.fullmatch(r"ktun_[A-Za-z0-9_-]{43}", token)
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert re.fullmatch(rf"sha256:{digest} until=\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ name=CN=alice,O=Example", line), line
    assert make(binaries)[0] != make(binaries)[0]
    (tmp_path / "tokens").write_text(line + "\n", encoding="ascii")
    server = pair.server(tcp=target, args=["--token-file", tmp_path / "tokens"], secrets=[token])
    client = pair.client(server, tcp={"peer": 0}, args=["--token", token], secrets=[token])
    assert works(client)
    assert server.wait_for("session_up")["identity"] == "CN=alice,O=Example"
    assert status(server, line.split()[0], pair.pki.ca) == 401, "the digest is no token"


def test_a_token_for_a_file(binaries, tmp_path):
    out = tmp_path / "alice.token"
    line, = make(binaries, "--name", "alice", "--until", "2099-01-31", "--out", out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert line == f"sha256:{hashlib.sha256(out.read_text('ascii').strip().encode()).hexdigest()} until=2099-01-31 name=alice"
    before = out.read_text("ascii")
    code, said = fails(binaries, "--out", out)
    assert code == 1 and "File exists" in said and out.read_text("ascii") == before
    assert make(binaries, "--from", out, "--name", "alice", "--until", "2099-01-31") == [line]
    assert make(binaries, "--from", out, "--name", "alice", "--rule", "look,load-2") == [f"{line.split()[0]} rule=look,load-2 name=alice"]
    (tmp_path / "short").write_text("hunter2\n", encoding="ascii")
    code, said = fails(binaries, "--from", tmp_path / "short")
    assert code == 1 and "guessed" in said and "hunter2" not in said


@pytest.mark.parametrize("args,words", [
    (["--until", "tomorrow"], "--until is neither a date"), (["--until", "2027-02-29"], "--until is neither a date"),
    (["--until", "2020-01-01"], "--until is in the past"), (["--until", "0d"], "--until is neither"), (["--name", "token of line 3"], "--name begins like"),
    (["--name", "n" * 256], "--name is longer than 255 bytes"), (["--out", "x", "--from", "y"], "--out has no effect with --from"),
    (["--rule", "look"], "--rule needs --name"), (["--rule", "a, b", "--name", "x"], "--rule is no list of rules"),
    (["--listen", "127.0.0.1:0"], "--listen"), (["--name", " alice"], "--name begins or ends with a blank"),
], ids=lambda value: value[-1][:12] if isinstance(value, list) else "")
def test_bad_usage(binaries, args, words):
    code, said = fails(binaries, *args)
    assert code == 2 and words in said and said.count("\n") == 1, said


def test_commands_of_the_document(binaries, tmp_path):
    """docs/logins.md, block "tokens": what it makes is what the server takes."""
    page = (cache.ROOT / "docs" / "logins.md").read_text(encoding="utf-8")
    lines = re.search(r"<!-- test: tokens -->\n```sh\n(.*?)```", page, re.DOTALL).group(1)
    subprocess.run(["sh", "-ec", lines], cwd=tmp_path, timeout=30, check=True,
                   env={**os.environ, "PATH": f"{binaries.server.parent}:{os.environ['PATH']}"})
    token = (tmp_path / "alice.token").read_text("ascii").strip()
    assert (tmp_path / "tokens").read_text("ascii").startswith(f"sha256:{hashlib.sha256(token.encode()).hexdigest()} until=")
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o600


# ---- who is in

def test_revoked(pair, target, tmp_path, figure):
    """Within seconds the session is gone, with its connections, and both logs say why; then it is as with any wrong token."""
    alice, bob = (secrets.token_hex(24) for _ in range(2))
    path = tmp_path / "tokens"
    path.write_text(f"{alice} alice\n{bob} bob\n", encoding="ascii")
    server = pair.server(tcp=target, args=["--token-file", path], secrets=[alice, bob])
    mine = pair.client(server, tcp={"peer": 0}, args=["--token", alice], secrets=[alice])
    other = pair.client(server, tcp={"peer": 0}, args=["--token", bob], secrets=[bob])
    assert works(other)
    with raw.connect(tunnel.port(mine, "peer"), "echo") as sock, raw.connect(tunnel.port(other, "peer"), "echo") as kept:
        assert echoes(sock, b"ping") and echoes(kept, b"ping")
        session = server.wait_for("session_up", identity="alice")["session"]
        started = time.monotonic()
        path.write_text(f"{bob} bob\n", encoding="ascii")
        assert server.wait_for("link_dismissed", SECONDS)["reason"] == "the token has been revoked"
        ended = server.wait_for("audit_session", SECONDS, session=session)
        figure("from the token's removal to the session's end", f"{time.monotonic() - started:.1f} s")
        assert ended["end"] == "revoked" and ended["streams_reset"] == 1, ended
        assert server.wait_for("audit_stream", SECONDS, session=session)["end"] == "revoked"
        assert "1008" in (lost := mine.wait_for("link_lost", SECONDS)["reason"]) and "the token has been revoked" in lost
        failed = mine.wait_for("dial_failed", SECONDS)
        assert failed["hop"] == "auth" and failed["status"] == 401 and failed["retry_ms"] >= 30000, failed
        assert echoes(kept, b"still")
    assert len(server.events("link_dismissed")) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_all_links_and_all_workers(pair, target, tmp_path, workers):
    token = secrets.token_hex(24)
    path = tmp_path / "tokens"
    path.write_text(f"{token}\nother\n", encoding="ascii")
    server = pair.server(tcp=target, args=["--token-file", path, "--workers", str(workers)], secrets=[token])
    clients = [pair.client(server, tcp={"peer": 0}, args=["--token", token, "--links", "3"], secrets=[token]) for _ in range(4)]
    for client in clients:
        assert works(client)
    path.write_text("other\n", encoding="ascii")
    for client in clients:
        assert client.wait_for("dial_failed", SECONDS)["hop"] == "auth"
    assert wait.until(lambda: len(server.events("audit_session", end="revoked")) == 4, SECONDS, "all sessions are gone")


def test_replaced(pair, target, tmp_path):
    """Whose user has another token carries its session on with that: no connection is lost when tokens are rotated."""
    old, new = (secrets.token_hex(24) for _ in range(2))
    path, mine = tmp_path / "tokens", tmp_path / "mine"
    path.write_text(f"{old} alice\n{new} alice\n", encoding="ascii")
    mine.write_text(old, encoding="ascii")
    server = pair.server(tcp=target, args=["--token-file", path], secrets=[old, new])
    client = pair.client(server, tcp={"peer": 0}, args=["--token-file", mine], secrets=[old, new])
    with raw.connect(tunnel.port(client, "peer"), "echo") as sock:
        assert echoes(sock, b"one")
        mine.write_text(new, encoding="ascii")
        path.write_text(f"# the old one is gone\n{new} alice\n", encoding="ascii")
        server.wait_for("link_dismissed", SECONDS)
        client.wait_for("link_resumed", SECONDS)
        assert echoes(sock, b"two")
    assert not server.events("audit_session")


def test_expiry(pair, target, tmp_path):
    token, other = (secrets.token_hex(24) for _ in range(2))
    path = tmp_path / "tokens"
    until = int(time.time()) + 4
    path.write_text(f"{token} until={time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(until))} alice\n{other} until=1999-12-31\n",
                    encoding="ascii")
    server = pair.server(tcp=target, args=["--token-file", path], secrets=[token, other])
    assert status(server, other, pair.pki.ca) == 401
    assert server.wait_for("unauthorized")["reason"].startswith("the token has expired")
    client = pair.client(server, tcp={"peer": 0}, args=["--token", token], secrets=[token])
    assert works(client)
    assert time.time() < until
    assert server.wait_for("link_dismissed", 4 + SECONDS)["reason"] == "the token has expired"
    assert time.time() >= until
    assert server.wait_for("audit_session", SECONDS)["end"] == "revoked"
    assert "the token has expired" in client.wait_for("link_lost", SECONDS)["reason"]
    failed = client.wait_for("dial_failed", SECONDS)
    assert failed["hop"] == "auth" and "the token has expired" in failed["reason"], failed
