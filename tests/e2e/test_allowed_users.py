"""--allow-users: who on this machine may use the listeners."""

import os
import shutil
import subprocess
import sys

import pytest

from harness import fakes, process, raw, tunnel, wire
from harness.pages import Pages

pytestmark = [pytest.mark.tunnel, pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose a connection is")]

ASK = """
import socket, sys
try:
    sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
    sock.sendall(bytes.fromhex(sys.argv[3]))
    print("answered" if sock.recv(4) else "ended")
except (ConnectionResetError, BrokenPipeError):
    print("reset")
"""


@pytest.fixture
def client(pair, peer):
    """client(*args): with a listener for Kafka and one for a raw target."""
    with fakes.Broker() as broker:
        broker.brokers = [broker.node(1)]
        server = pair.server(kafka=broker.address, tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
        yield lambda *args, **kw: pair.client(server, kafka={"kafka": kw.pop("kafka", 0)}, tcp={"raw": 0}, args=args, **kw)


@pytest.fixture
def user():
    """(name, number) of a user who is there for the test only."""
    if os.geteuid() != 0 or not shutil.which("useradd") or not shutil.which("setpriv"):
        pytest.skip("needs root, useradd and setpriv")
    name = f"kt-test-{os.getpid()}"
    process.run(["useradd", "--system", "--no-create-home", name], 30)
    yield name, int(process.run(["id", "-u", name], 10).stdout)
    process.run(["userdel", name], 30)


def ask_as(uid, port, host="127.0.0.1", request=None):
    argv = ["setpriv", f"--reuid={uid}", "--clear-groups", "/usr/bin/python3", "-c", ASK, host, str(port), (request or wire.metadata_request()).hex()]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_another_user_is_refused_and_the_owner_is_served(client, user, host):
    name, uid = user
    running = client("--allow-users", "me")
    port = tunnel.port(running, "kafka")
    assert ask_as(uid, port, host) == "reset"
    refused = running.wait_for("user_refused")
    assert refused["user"] == name and refused["listener"] == "kafka" and refused["reason"]
    nodes = wire.ask_metadata(port)
    # So at the listener of a broker, and at a raw target.
    assert ask_as(uid, nodes[1][1], host) == "reset"
    assert ask_as(uid, tunnel.port(running, "raw"), host) == "reset"
    with raw.connect(tunnel.port(running, "raw"), "echo") as sock:
        sock.sendall(b"mine")
        assert sock.recv(10) == b"mine"


def test_who_is_named_is_served(client, user):
    name, uid = user
    running = client("--allow-users", name)
    port = tunnel.port(running, "kafka")
    assert ask_as(uid, port) == "answered"
    # One without a name.
    assert ask_as(1234567, port) == "reset"
    assert running.wait_for("user_refused")["user"] == "1234567"
    # Nobody is allowed who is not named, not even the one it runs as.
    with pytest.raises((AssertionError, ConnectionError)):
        wire.ask_metadata(port)
    both = client("--allow-users", "me", "--allow-users", str(uid))
    assert ask_as(uid, tunnel.port(both, "kafka")) == "answered"
    assert wire.ask_metadata(tunnel.port(both, "kafka"))


@pytest.mark.parametrize("args", [[], ["--allow-users", "any"]], ids=["by default", "any"])
def test_all_are_served(client, user, args):
    running = client(*args)
    assert ask_as(user[1], tunnel.port(running, "kafka")) == "answered"


def test_with_tls_they_are_refused_before_it(client, user, tmp_path):
    """Not a byte of theirs is looked at."""
    running = client("--allow-users", "me", "--listener-tls", "required", "--state-dir", tmp_path / "state", "--status", "127.0.0.1:0")
    assert ask_as(user[1], tunnel.port(running, "kafka")) == "reset"
    assert Pages(running).json()["refused"] == [{"name": "user", "count": 1}]
    assert running.wait_for("user_refused")["user"] == user[0]
    assert not running.events("plaintext_refused")


def test_another_network_namespace_has_no_user(client, peer):
    """As a container: its connections are refused, whoever it is there."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("nsenter"):
        pytest.skip("needs root and namespaces")
    link = f"kt{os.getpid() % 100000}"
    inside = subprocess.Popen(["unshare", "--net", "sleep", "120"])
    try:
        made = subprocess.run(["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(inside.pid)], check=False,
                              capture_output=True, text=True, timeout=20)
        if made.returncode != 0:
            pytest.skip(f"no veth here: {made.stderr}")
        process.run(["ip", "address", "add", "198.18.77.1/30", "dev", link], 20)
        process.run(["ip", "link", "set", link, "up"], 20)
        within = ["nsenter", "--net", "--target", str(inside.pid)]
        process.run([*within, "ip", "address", "add", "198.18.77.2/30", "dev", "eth0"], 20)
        process.run([*within, "ip", "link", "set", "eth0", "up"], 20)
        running = client("--allow-users", "me", kafka="198.18.77.1:0")
        port = tunnel.port(running, "kafka")
        said = process.run([*within, "/usr/bin/python3", "-c", ASK, "198.18.77.1", port, wire.metadata_request().hex()], 60)
        assert said.stdout.strip() == "reset"
        assert "network namespace" in running.wait_for("user_refused")["reason"]
        assert wire.ask_metadata(port, host="198.18.77.1")
    finally:
        subprocess.run(["ip", "link", "delete", link], check=False, capture_output=True)
        inside.kill()
        inside.wait(10)


@pytest.mark.parametrize("value, words", [("no-such-user-here", "no user of that name"), ("me,any", "no effect"), ("65534", "cannot be told")])
def test_wrong_values(binaries, value, words):
    argv = [binaries.client, "--server", "http://127.0.0.1:1", "--kafka", "0"]
    for one in value.split(","):
        argv += ["--allow-users", one]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert said.returncode == 2 and words in said.stderr and "--allow-users" in said.stderr, said.stderr
