"""--congestion-control: the links have it, at the end that it was given to, and no other connection has. Looked up in the kernel."""

import ctypes
import os
import pathlib
import socket

import pytest

from harness import raw, tunnel, wait

pytestmark = pytest.mark.tunnel

PIDFD_OPEN, PIDFD_GETFD = 434, 438  # the same on all of Linux's architectures
SETTINGS = pathlib.Path("/proc/sys/net/ipv4")
SYSTEMS = (SETTINGS / "tcp_congestion_control").read_text().strip() if SETTINGS.exists() else ""
ANYBODYS = "reno"  # every Linux has it, and lets everybody use it
LOOPBACKS = ANYBODYS if SYSTEMS == "bbr" else SYSTEMS  # bbr would set a timer for each burst, for nothing
CHOSEN = SYSTEMS if SYSTEMS != LOOPBACKS else ANYBODYS


def controls(process, port):
    """The congestion control of each TCP connection of the process that has the port at either end."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = libc.syscall(PIDFD_OPEN, process.pid, 0)
    if pidfd < 0:
        pytest.skip("no pidfd_open()")
    found = []
    try:
        for fd in os.listdir(f"/proc/{process.pid}/fd"):
            copy = libc.syscall(PIDFD_GETFD, pidfd, int(fd), 0)
            if copy < 0:
                continue
            try:
                with socket.socket(fileno=copy) as sock:
                    if sock.family == socket.AF_INET and port in (sock.getsockname()[1], sock.getpeername()[1]):
                        found.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode())
            except OSError:
                continue  # no socket (whose copy is closed), or one that is not connected
    finally:
        os.close(pidfd)
    return found


@pytest.mark.skipif(SYSTEMS == "", reason="Linux only")
def test_loopback_is_not_paced(pair, peer):
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
    client = pair.client(f"http://127.0.0.1:{server.port}", tcp={"raw": 0})
    with raw.connect(tunnel.port(client, "raw"), "sink"):
        wait.until(lambda: controls(server, peer.port), 10, "the connection to the target")
        assert controls(client, server.port) == controls(server, server.port) == [LOOPBACKS]
        assert controls(server, peer.port) == controls(client, tunnel.port(client, "raw")) == [LOOPBACKS]


@pytest.mark.skipif(LOOPBACKS in ("", CHOSEN), reason="only where another one is usual can it be told apart")
@pytest.mark.parametrize("who", ["client", "server"])
def test_links_have_it(who, pair, peer):
    args = {who: ["--congestion-control", CHOSEN]}
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=args.get("server", []))
    client = pair.client(f"http://127.0.0.1:{server.port}", tcp={"raw": 0}, args=args.get("client", []))
    with raw.connect(tunnel.port(client, "raw"), "sink"):
        wait.until(lambda: controls(server, peer.port), 10, "the connection to the target")
        expected = {"client": LOOPBACKS, "server": LOOPBACKS, who: CHOSEN}
        assert controls(client, server.port) == [expected["client"]]
        assert controls(server, server.port) == [expected["server"]]
        # What it was not given for: the target, and the local program.
        assert controls(server, peer.port) == [LOOPBACKS]
        assert controls(client, tunnel.port(client, "raw")) == [LOOPBACKS]
    assert client.events("link_up")[0]["congestion_control"] == expected["client"]
    assert server.events("ready")[0]["congestion_control"] == expected["server"]
