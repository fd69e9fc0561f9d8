"""Files with secrets that others may read, and core dumps."""

import os
import secrets
import signal
import subprocess

import pytest

from harness import raw, tunnel, wait, ws
from harness.process import Process

pytestmark = pytest.mark.tunnel


@pytest.fixture
def target(peer):
    return {"peer": f"{peer.host}:{peer.port}"}


@pytest.fixture
def token(tmp_path):
    """A token that client and server have in files of their own, which nobody else may read."""
    text = secrets.token_hex(24)
    for name in ("mine", "tokens"):
        (tmp_path / name).write_text(text + "\n", encoding="ascii")
        (tmp_path / name).chmod(0o600)
    return text


def private(path, copy):
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o600)
    return copy


def test_warnings(pair, target, token, tmp_path):
    """One for each file with a secret that others may read or write; none for certificates, nor for those that a group may read."""
    key = private(pair.pki.server[1], tmp_path / "server.key")
    certificate = private(pair.pki.server[0], tmp_path / "server.pem")
    certificate.chmod(0o644)
    (tmp_path / "tokens").chmod(0o640)
    server = pair.server(tcp=target, tls=(certificate, key), args=["--token-file", tmp_path / "tokens"], secrets=[token])
    assert not server.events("secret_exposed")
    (tmp_path / "mine").chmod(0o602)
    client = pair.client(server, tcp={"peer": 0}, args=["--token-file", tmp_path / "mine"], secrets=[token])
    said, = client.events("secret_exposed")
    assert said["option"] == "token-file" and said["file"].endswith("mine") and said["mode"] == "0602"
    key.chmod(0o604)
    server.popen.send_signal(signal.SIGHUP)
    assert server.wait_for("secret_exposed")["option"] == "tls-key"
    assert raw.echo_once(tunnel.port(client, "peer"), b"on") == b"on"


@pytest.mark.parametrize("exposed", ["tokens", "key", "config"])
def test_strict_at_the_start(exposed, pair, target, token, tmp_path):
    key = private(pair.pki.server[1], tmp_path / "server.key")
    config = tmp_path / "server.properties"
    config.write_text("tls-key-passphrase=of-no-use\n", encoding="ascii")
    config.chmod(0o600)
    (tmp_path / {"tokens": "tokens", "key": "server.key", "config": "server.properties"}[exposed]).chmod(0o644)
    args = ["--token-file", tmp_path / "tokens", "--strict-files", *(["--config", config] if exposed == "config" else ())]
    server = pair.server(tcp=target, tls=(pair.pki.server[0], key), args=args, secrets=[token], ready=False)
    assert server.wait_exit() == 2
    assert "--strict-files does not allow" in server.log() and "chmod 600" in server.log(), server.log()


def test_strict_later(pair, target, token, tmp_path):
    """A file that is replaced by one that others may read is as one that cannot be used: what there was stays."""
    key = private(pair.pki.server[1], tmp_path / "server.key")
    server = pair.server(tcp=target, tls=(pair.pki.server[0], key), args=["--token-file", tmp_path / "tokens", "--strict-files"],
                         secrets=[token])
    new = tmp_path / "new"
    new.write_text("another-token\n", encoding="ascii")
    new.chmod(0o644)
    os.replace(new, tmp_path / "tokens")
    assert "--strict-files" in server.wait_for("tokens_unreadable")["reason"]
    sock, status, _ = ws.upgrade(server, [f"Authorization: Bearer {token}"], ca=pair.pki.ca)
    sock.close()
    assert status == 101
    key.chmod(0o644)
    assert "--strict-files" in server.wait_for("certificate_unusable")["reason"]
    (tmp_path / "mine").chmod(0o644)
    client = pair.client(server, tcp={"peer": 0}, args=["--token-file", tmp_path / "mine", "--strict-files"], secrets=[token], ready=False)
    assert client.wait_exit() == 2 and "--strict-files" in client.log()


def test_strict_instances_and_key_pairs(pair, target, tmp_path):
    (tmp_path / "secret").write_text(secrets.token_hex(16), encoding="ascii")
    (tmp_path / "secret").chmod(0o644)
    server = pair.server(tcp=target, args=["--strict-files", "--peers", "127.0.0.1:1", "--peer-listen", "127.0.0.1:0", "--peer-secret-file",
                                           tmp_path / "secret"], ready=False)
    assert server.wait_exit() != 0 and "--strict-files" in server.log()
    subprocess.run(["openssl", "genrsa", "-out", tmp_path / "rsa.key", "2048"], check=True, capture_output=True, timeout=60)
    (tmp_path / "rsa.key").chmod(0o644)
    client = pair.client("https://localhost:1", tcp={"peer": 0}, ready=False, args=[
        "--strict-files", "--snowflake-account", "acme", "--snowflake-user", "tun", "--private-key-file", tmp_path / "rsa.key"])
    assert client.wait_exit() == 2 and "--strict-files" in client.log()


def _end_by_abort(argv, tmp_path, ready):
    """Whether the system would have written the dump."""
    process = Process(["prlimit", "--core=unlimited:unlimited", *argv], tmp_path / "aborted.log")
    process.checked = True
    process.wait_for(ready)
    # The tests themselves may be under a shell's limit, which prlimit of root does away with.
    os.chdir(tmp_path)
    process.popen.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    assert os.WIFSIGNALED(status)
    process.popen.returncode = -signal.SIGABRT
    return os.WCOREDUMP(status)


@pytest.mark.skipif(os.geteuid() != 0, reason="raising the hard limit needs root")
@pytest.mark.parametrize("more", [[], ["--core-dumps"]], ids=["by default", "--core-dumps"])
@pytest.mark.parametrize("program", ["server", "client"])
def test_core_dumps(program, more, binaries, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = {"server": [binaries.server, "--listen", "127.0.0.1:0", "--tcp", "peer=127.0.0.1:1"],
            "client": [binaries.client, "--server", "http://127.0.0.1:1", "--tcp", "peer=0"]}[program]
    dumped = _end_by_abort([*argv, "--log-format", "json", *more], tmp_path, {"server": "ready", "client": "listening"}[program])
    if more and not dumped:
        pytest.skip("this system writes no core dumps here")
    assert dumped == bool(more)


def test_commands_keep_their_limit(pair, target, tmp_path):
    server = pair.server(tcp=target, tls=None)
    out = tmp_path / "limit"
    client = pair.processes.start(["prlimit", "--core=4096:8192", pair.binaries.client, "run", "--server", f"http://127.0.0.1:{server.port}",
                                   "--tcp", "peer=0", "--", "sh", "-c", f"ulimit -Sc >{out}; ulimit -Hc >>{out}"], "run",
                                  # AddressSanitizer would take the limit to nothing before the program begins.
                                  env={"ASAN_OPTIONS": "exitcode=99:disable_coredump=0"})
    assert client.wait_exit(30) == 0
    assert wait.until(out.exists, 5, "the command has run") and out.read_text("ascii").split() == ["8", "16"]


def test_rules_that_everybody_may_write(pair, target, token, tmp_path):
    """Reading them does no harm."""
    rules = tmp_path / "access.properties"
    rules.write_text("all.target=*\n", encoding="ascii")
    args = ["--token-file", tmp_path / "tokens", "--access", rules]
    for mode, args, said in ((0o644, [*args, "--strict-files"], []), (0o666, args, [str(rules)])):
        rules.chmod(mode)
        server = pair.server(tcp=target, args=args, secrets=[token])
        assert [event["file"] for event in server.events("rules_exposed")] == said
    server = pair.server(tcp=target, args=[*args, "--strict-files"], secrets=[token], ready=False)
    assert server.wait_exit() == 2
    assert "--strict-files does not allow" in server.log() and str(rules) in server.log(), server.log()
