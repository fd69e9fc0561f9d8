"""tunnel-server and tunnel-client at the two ends of a long path with real TCP: far apart, with packets lost, in network
namespaces of their own (bench/packet-path.c, driven by bench/measure/path.py).

A socket or a process belongs to the namespace in which its thread was when it was made, so everything of the harness works
there as well: `with apart.path.near(): raw.connect(...)`.
"""

import pathlib
import sys

from harness import cache, raw, tunnel

sys.path.append(str(cache.ROOT / "bench"))
from measure.path import Impossible, LongPath  # noqa: E402,F401 pylint: disable=wrong-import-position

# One that takes a loss for a sign to slow down, and that a namespace may have: the kernel lends it only what the machine allows.
ALLOWED = pathlib.Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
CONGESTION_CONTROL = "cubic" if ALLOWED.exists() and "cubic" in ALLOWED.read_text(encoding="ascii").split() else "reno"
FAR_ADDRESS = "198.18.0.2"
TOKEN = "a-token-of-the-tests-over-the-long-path"


class Apart:
    """The server with a raw peer far, the client near. `path` is a LongPath: loss, delay, cuts. The path is closed by
    whoever made it, after the processes."""

    def __init__(self, path, binaries, processes, pki, certificate, token_file, server_args=(), client_args=()):
        self.path = path
        pair = tunnel.Tunnel(binaries, processes, pki)
        common = {"secrets": [TOKEN]}
        with path.far():
            self.peer = raw.start_peer(processes, "127.0.0.1")
            self.server = pair.server(tcp={"raw": f"127.0.0.1:{self.peer.port}"}, listen=f"{path.far_address}:0",
                                      tls=certificate, args=["--token-file", token_file, *server_args], **common)
        with path.near():
            self.client = pair.client(f"https://{path.far_address}:{self.server.port}", tcp={"raw": 0}, several=True,
                                      args=["--token-file", token_file, *client_args], **common)
        self.port = tunnel.port(self.client, "raw")

    def connect(self, command, timeout=60):
        """A connection through the tunnel to the raw peer; its socket is good anywhere."""
        with self.path.near():
            return raw.connect(self.port, command, timeout=timeout)

    def check_both(self, count, during=lambda: None, timeout=180):
        with self.path.near():
            raw.check_both(self.port, count, during, timeout)

    def links(self):
        """The TCP connections between the programs that are open and not cut off, each named by its near_port."""
        return [one for one in self.path.connections(self.server.port) if one["treatment"] == "carried"]

    def reset_links(self):
        """How many there were."""
        links = self.links()
        for link in links:
            self.path.reset(link["near_port"])
        return len(links)
