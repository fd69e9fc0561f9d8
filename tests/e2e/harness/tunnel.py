"""The tunnel pair as the command line contract describes it."""

import os
import pathlib

import pytest

from harness import cache


class Binaries:
    def __init__(self, build):
        self.build = pathlib.Path(build) if build else cache.ROOT / "build"

    def __getattr__(self, name):
        path = self.build / f"tunnel-{name}" / f"tunnel-{name}"
        if not os.access(path, os.X_OK):
            pytest.fail(f"{path} is missing: build it first (./test, or meson compile -C build)", pytrace=False)
        return path


def limited(descriptors, argv):
    return ["prlimit", f"--nofile={descriptors}:{descriptors}", *argv] if descriptors else argv


# How many workers servers have, where a test does not say.
WORKERS = os.environ.get("KAFKA_TUNNEL_E2E_WORKERS")


class Tunnel:
    """Starts servers and clients; all options default to what a careful user would choose."""

    def __init__(self, binaries, processes, pki):
        self.binaries, self.processes, self.pki = binaries, processes, pki

    def server(self, kafka=None, tcp=None, tls="server", args=(), listen="127.0.0.1:0", ready=True, descriptors=None,
               secrets=(), drain="0", prefix=(), **kw):
        """drain: --drain-timeout; None for the default. tls: a (certificate, key) pair, the name of one in the Pki, or None for plain ws.
        prefix: what the program is started by."""
        argv = [*prefix, *limited(descriptors, [self.binaries.server, "--listen", listen, "--log-format", "json"])]
        if kafka:
            argv += ["--kafka", kafka]
        for name, address in (tcp or {}).items():
            argv += ["--tcp", f"{name}={address}"]
        if tls:
            cert, key = getattr(self.pki, tls) if isinstance(tls, str) else tls
            argv += ["--tls-cert", cert, "--tls-key", key]
        argv += ["--drain-timeout", drain] if drain else []
        if WORKERS and "--workers" not in args:
            argv += ["--workers", WORKERS]
        server = self.processes.start(argv + list(args), "server", secrets=[*self.pki.secrets, *secrets], **kw)
        server.tls = bool(tls)
        if ready:
            host, _, port = server.wait_for("ready")["listen"].rpartition(":")
            server.port = int(port)
            server.kept_port = server.port if host == "127.0.0.1" else None
        return server

    def client(self, server, kafka=None, tcp=None, ca="own", args=(), ready=True, descriptors=None, secrets=(), drain="0",
               several=False, prefix=(), **kw):
        """server: a started server, or a URL. kafka: {name: "[ADDR:]PORT"} or a port; tcp: the same for raw targets.
        several: it may have several links. Most tests count connections, and on a machine that has much else to do loopback may look
        like a long path."""
        url = server if isinstance(server, str) else f"{'https' if server.tls else 'http'}://localhost:{server.port}"
        argv = [*prefix, *limited(descriptors, [self.binaries.client, "--server", url, "--log-format", "json"])]
        for name, address in (kafka or {}).items():
            argv += ["--kafka", f"{name}={address}"]
        for name, address in (tcp or {}).items():
            argv += ["--tcp", f"{name}={address}"]
        if ca and url.startswith(("https", "wss")):
            argv += ["--ca", self.pki.ca if ca == "own" else ca]
        argv += ["--drain-timeout", drain] if drain else []
        argv += [] if several or "--links" in args else ["--links", "1"]
        client = self.processes.start(argv + list(args), "client", secrets=[*self.pki.secrets, *secrets], **kw)
        if ready:
            client.wait_for("ready")
        return client


def port(client, name):
    """The local port of the listener for a cluster's bootstrap or a raw target."""
    return int(client.wait_for("listening", name=name)["listen"].rsplit(":", 1)[1])


def cut_streams(server, since=0):
    """The records of connections that were cut short; refused ones have no reason in their record."""
    return [e for e in server.events("audit_stream", since) if e["end"] != "complete" and "reason" in e]


def ports(client):
    """Every port the client has opened so far, listeners for single brokers included."""
    return {int(e["listen"].rsplit(":", 1)[1]) for e in client.events("listening")}
