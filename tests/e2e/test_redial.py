"""When and why the client dials again: after what a server has asked for, while it restarts, and when the network has changed."""

import contextlib
import email.utils
import subprocess
import threading
import time

import pytest

from harness import fakes, faults, wait

pytestmark = pytest.mark.tunnel


def refuse(status, *headers):
    return f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n{''.join(h + chr(13) + chr(10) for h in headers)}\r\n".encode()


def in_a_minute():
    return email.utils.formatdate(time.time() + 40, usegmt=True)


@pytest.mark.parametrize("status, value, least, most", [
    (503, "3", 3000, 3750), (429, "3", 3000, 3750), (503, "86400", 60000, 75000), (429, in_a_minute, 20000, 50000),
    (503, "soon", 100, 1000), (503, "-5", 100, 1000), (404, "30", 100, 1000)])
def test_retry_after(status, value, least, most, pair):
    text = value() if callable(value) else value
    with fakes.Fake(refuse(status, f"Retry-After: {text}")) as server:
        client = pair.client(f"http://127.0.0.1:{server.port}", tcp={"raw": 0}, ready=False)
        failed = client.wait_for("dial_failed")
    assert failed["status"] == status and least <= failed["retry_ms"] <= most, failed


class Closes(fakes.Listening):
    """What a server that is about to be gone does: it ends each connection when the request has come."""

    def _serve(self, sock):
        with sock:
            sock.recv(65536)


def listening(port):
    closes = Closes.__new__(Closes)
    closes.host = "127.0.0.1"
    closes.listener = fakes.socket.create_server(("127.0.0.1", port), backlog=64)
    closes.port = port
    threading.Thread(target=closes._accept, daemon=True).start()
    return closes


def test_a_server_that_restarts(pair, peer):
    """It has said that it stops: until it is back the client says that it restarts, and asks nothing about what is there."""
    targets = {"tcp": {"raw": f"{peer.host}:{peer.port}"}, "tls": None}
    server = pair.server(**targets)
    client = pair.client(server, tcp={"raw": 0}, args=["--log-level", "debug"])
    server.stop()
    refused = client.wait_for("dial_failed")
    assert refused["hop"] == "tcp"
    with listening(server.port):
        closed = client.wait_for("dial_failed", hop="upgrade")
    for failed in (refused, closed):
        assert "is restarting" in failed["reason"] and "?" not in failed["reason"], failed
        assert failed["level"] in ("info", "debug") and failed["retry_ms"] <= 1000, failed
    pair.server(**targets, listen=f"127.0.0.1:{server.port}")
    wait.until(lambda: len(client.events("link_up")) == 2, 15, "the server's successor")
    assert not [e for e in client.events("dial_failed") if "is it tunnel-server" in e["reason"]]


def test_a_stranger_is_asked_after(pair):
    """The same of a server that nobody knows: then the question is the right one."""
    with Closes() as server:
        client = pair.client(f"http://127.0.0.1:{server.port}", tcp={"raw": 0}, ready=False)
        assert "is it tunnel-server" in client.wait_for("dial_failed")["reason"]


# -- networks --------------------------------------------------------------------------------------------------------


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True)


@pytest.fixture
def laptop():
    """A network of its own: a function that runs `ip` in there, with 10.83.0.1 at the other end of its cable."""
    name = f"kt{time.monotonic_ns() % 10 ** 9}"
    if ip("netns", "add", name, check=False).returncode:
        pytest.skip("no network of one's own on this machine")
    with contextlib.ExitStack() as stack:
        stack.callback(ip, "netns", "del", name, check=False)
        there = f"{name[-9:]}t"
        if ip("link", "add", there, "type", "veth", "peer", "name", "lan", "netns", name, check=False).returncode:
            pytest.skip("no virtual cables on this machine")
        stack.callback(ip, "link", "del", there, check=False)
        ip("addr", "add", "10.83.0.1/24", "dev", there)
        ip("link", "set", there, "up")

        def inside(*words):
            return ip("-n", name, *words)
        if ip("-n", name, "link", "set", "lo", "up", check=False).returncode:
            pytest.skip("no way into a network of one's own on this machine (a plain chroot)")
        inside("addr", "add", "10.83.0.2/24", "dev", "lan")
        inside("link", "set", "lan", "up")
        inside.name = name
        yield inside


def start_inside(laptop, pair, url, **kw):
    argv = ["ip", "netns", "exec", laptop.name, pair.binaries.client, "--server", url, "--log-format", "json", "--tcp", "raw=0",
            "--drain-timeout", "0", *kw.pop("args", [])]
    return pair.processes.start(argv, "client", **kw)


def containers_come_and_go(laptop, times=4):
    """Each stays for longer than the client waits for a burst of changes to be over."""
    for number in range(times):
        laptop("link", "add", f"c{number}", "type", "veth", "peer", "name", f"d{number}")
        laptop("addr", "add", f"172.30.{number}.1/24", "dev", f"c{number}")
        laptop("link", "set", f"c{number}", "up")
        laptop("link", "set", f"d{number}", "up")
        time.sleep(0.3)
        laptop("link", "del", f"c{number}")


@pytest.fixture
def reachable(pair, laptop, peer):
    """A server, behind 10.83.0.1."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
    proxy = faults.Proxy([("127.0.0.1", server.port)], host="10.83.0.1")
    yield proxy
    proxy.close()


def test_other_interfaces_do_not_matter(laptop, reachable, pair):
    """Containers come and go while there is a link; then the address that it uses goes."""
    client = start_inside(laptop, pair, f"http://10.83.0.1:{reachable.port}")
    client.wait_for("ready")
    containers_come_and_go(laptop)
    assert not client.events("network_changed")
    laptop("addr", "add", "10.83.0.3/24", "dev", "lan")
    laptop("addr", "del", "10.83.0.2/24", "dev", "lan")
    laptop("addr", "replace", "10.83.0.3/24", "dev", "lan")
    changed = time.monotonic()
    client.wait_for("network_changed")
    client.wait_for("link_resumed", deadline=20)
    assert time.monotonic() - changed < 8
    assert len(client.events("network_changed")) <= 2


def test_a_pause_after_a_refusal_stays(laptop, pair):
    """Neither containers nor another address of one's own bring a refused token back any sooner."""
    with fakes.Fake(fakes.UNAUTHORIZED, host="10.83.0.1") as server:
        client = start_inside(laptop, pair, f"http://10.83.0.1:{server.port}")
        client.wait_for("dial_failed", hop="auth")
        containers_come_and_go(laptop)
        laptop("addr", "add", "10.83.0.3/24", "dev", "lan")
        laptop("addr", "del", "10.83.0.2/24", "dev", "lan")
        laptop("addr", "replace", "10.83.0.3/24", "dev", "lan")
        client.wait_for("network_changed")
        # It would have dialled by the time that a second change is noticed.
        mark = client.mark()
        laptop("addr", "add", "10.83.0.4/24", "dev", "lan")
        laptop("addr", "del", "10.83.0.3/24", "dev", "lan")
        laptop("addr", "replace", "10.83.0.4/24", "dev", "lan")
        client.wait_for("network_changed", since=mark)
        assert len(server.requests) == 1


def test_a_network_that_comes_ends_a_pause(laptop, reachable, pair):
    """Without a way to the server the pauses grow; they end when there is one, not when something else changes."""
    laptop("link", "set", "lan", "down")
    client = start_inside(laptop, pair, f"http://10.83.0.1:{reachable.port}", args=["--log-level", "debug"])
    wait.until(lambda: [e for e in client.events("dial_failed") if e["retry_ms"] > 4000], 60, "a long pause")
    mark = client.mark()
    containers_come_and_go(laptop, 2)
    assert not client.events("dialling", since=mark) and not client.events("network_changed", since=mark)
    laptop("link", "set", "lan", "up")
    client.wait_for("network_changed", since=mark)
    client.wait_for("ready", deadline=3)
