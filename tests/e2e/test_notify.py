"""The service manager's protocol (sd_notify): READY=1 when the program is ready, STATUS=, STOPPING=1, WATCHDOG=1."""

import contextlib
import os
import signal
import socket

import pytest

from harness import raw, tunnel, wait

pytestmark = pytest.mark.tunnel


class Manager:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.setblocking(False)
        self.env = {"NOTIFY_SOCKET": name}
        self.told = []

    def read(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.told.append(self.socket.recv(4096).decode())
        return self.told

    def wait_for(self, begin, deadline=15):
        wait.until(lambda: any(t.startswith(begin) for t in self.read()), deadline, lambda: f"{begin} in {self.told}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def name(kind, tmp_path):
    return f"@kafka-tunnel-test-{os.getpid()}-{tmp_path.name}" if kind == "abstract" else str(tmp_path / "notify")


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_server(kind, pair, peer, tmp_path):
    with Manager(name(kind, tmp_path)) as manager:
        server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, env=manager.env)
        manager.wait_for("READY=1")
        manager.wait_for(f"STATUS=Listening on 127.0.0.1:{server.port}")
        assert "STOPPING=1" not in manager.told
        server.stop()
        manager.wait_for("STOPPING=1")
        assert manager.told.count("READY=1") == 1


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_client_is_ready_with_its_first_link(kind, pair, peer, tmp_path):
    """Not when it has started; and it says why it is not."""
    port = wait.free_port()
    with Manager(name(kind, tmp_path)) as manager:
        client = pair.client(f"https://localhost:{port}", tcp={"peer": 0}, env=manager.env, ready=False)
        manager.wait_for("STATUS=Not connected: tcp: ")
        assert "READY=1" not in manager.told
        server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, listen=f"127.0.0.1:{port}")
        manager.wait_for("READY=1", 30)
        manager.wait_for("STATUS=Connected to localhost")
        server.kill()
        manager.wait_for("STATUS=The link is lost")
        client.stop()
        manager.wait_for("STOPPING=1")
        assert manager.told.count("READY=1") == 1


@pytest.mark.parametrize("who", ["server", "client"])
def test_reload(who, pair, peer, tmp_path):
    """What systemctl reload waits for (Type=notify-reload, or ExecReload= and Type=notify)."""
    with Manager(name("path", tmp_path)) as manager:
        server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, env=manager.env if who == "server" else {})
        client = pair.client(server, tcp={"peer": 0}, env=manager.env if who == "client" else {})
        manager.wait_for("READY=1")
        {"server": server, "client": client}[who].popen.send_signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1\nMONOTONIC_USEC=")
        wait.until(lambda: manager.read().count("READY=1") == 2, 15, lambda: f"READY=1 again in {manager.told}")
        assert manager.told.index("READY=1") < [t[:11] for t in manager.told].index("RELOADING=1")


def test_watchdog(pair, peer, tmp_path):
    with Manager(name("path", tmp_path)) as manager:
        pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, env={**manager.env, "WATCHDOG_USEC": "200000"})
        wait.until(lambda: manager.read().count("WATCHDOG=1") >= 3, 10, lambda: f"three signs of life in {manager.told}")


def test_watchdog_of_another_process(pair, peer, tmp_path):
    """WATCHDOG_PID says whose it is: a wrapper's, here."""
    with Manager(name("path", tmp_path)) as manager:
        pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, env={**manager.env, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"})
        manager.wait_for("READY=1")
        server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"})
        client = pair.client(server, tcp={"peer": 0})
        assert raw.echo_once(tunnel.port(client, "peer")) == b"ping"
        assert "WATCHDOG=1" not in manager.read()


@pytest.mark.parametrize("socket_name", ["/nonexistent/notify", "vsock:2:1", "@", "/" + "x" * 200])
def test_a_manager_that_is_not_there(socket_name, pair, peer):
    """A line in the log, and everything works."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, env={"NOTIFY_SOCKET": socket_name})
    server.wait_for("notify_failed")
    client = pair.client(server, tcp={"peer": 0})
    assert raw.echo_once(tunnel.port(client, "peer")) == b"ping"
    assert len(server.events("notify_failed")) == 1
