"""Crowds that mean no good: the server serves others throughout, and afterwards all is as before."""

import collections
import random
import socket
import struct
import threading
import time

import pytest

from conftest import FULL
from harness import raw, tunnel, wait, ws

pytestmark = [pytest.mark.tunnel, pytest.mark.speed]
# A WebSocket close frame's code 1002, protocol error, and the server's reason for it.
CLOSED = struct.pack(">H", 1002) + b"tunnel protocol"


class Bystander:
    """Somebody who works all the time: how long the slowest answer took, and the server's largest size meanwhile."""

    def __init__(self, port, server):
        self.server, self.slowest, self.answers, self.failure = server, 0, 0, None
        self.peak_mib, self.peak_descriptors = server.rss_mib(), server.descriptors()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._work, args=(port,))
        self.thread.start()

    def _work(self, port):
        try:
            with raw.connect(port, "echo", timeout=30) as sock:
                while not self.stopping.is_set():
                    start = time.monotonic()
                    sock.sendall(b"still there?")
                    assert sock.recv(100) == b"still there?"
                    assert raw.echo_once(port, b"new") == b"new"
                    self.slowest = max(self.slowest, time.monotonic() - start)
                    self.answers += 1
                    self.peak_mib = max(self.peak_mib, self.server.rss_mib())
                    self.peak_descriptors = max(self.peak_descriptors, self.server.descriptors())
                    time.sleep(0.02)
        except (OSError, AssertionError) as failure:
            self.failure = failure

    def finish(self):
        self.stopping.set()
        self.thread.join(40)
        assert self.failure is None, f"after {self.answers} answers: {self.failure!r}"
        return f"{self.answers} answers, the slowest after {1000 * self.slowest:.0f} ms"


@pytest.fixture
def crowd(pair, peer, figure):
    """watch(): from then on somebody works; at the end it is checked that nothing has stayed."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None)
    client = pair.client(server, tcp={"peer": 0})
    port = tunnel.port(client, "peer")
    assert raw.echo_once(port) == b"ping"
    wait.until(lambda: server.descriptors() == server.descriptors(), 5, "rest")
    before = server.rss_mib(), server.descriptors()
    bystander = Bystander(port, server)
    yield server
    said = bystander.finish()
    wait.until(lambda: server.descriptors() <= before[1], 60,
               lambda: f"{server.descriptors()} descriptors, {before[1]} before", 0.2)
    figure("bystander", said)
    figure("server", f"memory {before[0]:.1f} -> {bystander.peak_mib:.1f} -> {server.rss_mib():.1f} MiB, "
                     f"descriptors {before[1]} -> {bystander.peak_descriptors} -> {server.descriptors()}")
    assert server.rss_mib() < before[0] + 24
    assert not client.events("link_lost")


def test_slowloris(crowd):
    """Hundreds of requests that never become whole, a byte now and then."""
    socks = [ws.connect(crowd) for _ in range(500)]
    head = ws.request(headers=[f"X-Slow: {'a' * 2000}"])
    start, alive = time.monotonic(), set(range(len(socks)))
    for position in range(len(head)):
        for n in list(alive):
            try:
                socks[n].sendall(head[position:position + 1])
            except OSError:
                alive.discard(n)
        if not alive:
            break
        assert time.monotonic() - start < 60, "they may be slow for as long as they like"
        time.sleep(0.2)
    for sock in socks:
        sock.close()


def test_half_open_requests(crowd):
    """As many connections that say nothing at all."""
    socks = [ws.connect(crowd) for _ in range(500)]
    assert all(ws.closed_within(sock, 40) for sock in socks)
    for sock in socks:
        sock.close()


@pytest.mark.parametrize("level", ["WebSocket", "tunnel"])
def test_ping_flood(level, crowd):
    """Pings as fast as they can be sent, and nobody who reads the answers."""
    sock, status, _ = ws.upgrade(crowd)
    assert status == 101
    sock.sendall(ws.frame(2, ws.hello()))
    one = ws.frame(9, b"flood") if level == "WebSocket" else ws.frame(2, ws.mux_frame(7, 0, bytes(8)) * 50)
    sock.settimeout(1)
    end = time.monotonic() + (20 if FULL else 4)
    try:
        while time.monotonic() < end:
            sock.sendall(one * 100)
    except OSError:
        pass
    sock.close()


def test_connections_of_garbage(crowd, figure):
    """Thousands one after the other, some dozens at a time."""
    count, workers = 10000, 40
    seeds, lock, ends = iter(range(count)), threading.Lock(), collections.Counter()

    def work():
        while True:
            with lock:
                seed = next(seeds, None)
            if seed is None:
                return
            rng = random.Random(seed)
            data = [rng.randbytes(rng.randrange(1, 3000)), b"GET /" + rng.randbytes(20).hex().encode() + b" HTTP/1.1\r\n\r\n",
                    ws.request() + rng.randbytes(200), ws.request() + ws.frame(2, rng.randbytes(100))][seed % 4]
            try:
                with socket.create_connection(("127.0.0.1", crowd.port), timeout=20) as sock:
                    sock.sendall(data)
                    sock.settimeout(0.05)
                    end = "answered" if sock.recv(1000) else "closed"
            except TimeoutError:
                end = "ours"
            except ConnectionError:
                end = "reset"
            with lock:
                ends[end] += 1
    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(ends.values()) == count
    figure("connections", str(dict(ends)))


def test_hostile_tunnel_peers(crowd, figure):
    """Sessions that speak the tunnel protocol, more or less: valid and invalid frames in any order."""
    protocol_errors = 0
    for seed in range(1500 if FULL else 250):
        rng = random.Random(seed)
        sock, status, _ = ws.upgrade(crowd)
        assert status == 101
        frames, at = [ws.hello()], 0
        for n in range(rng.randrange(1, 60)):
            kind = rng.choice([1, 4, 5, 5, 5, 6, 7, 8, 9, 10, 11, rng.randrange(256)])
            stream = rng.choice([0, 0, 1, 2, n, rng.getrandbits(32)])
            if kind == 5 and stream == 0:
                opened = struct.pack(">IBi", rng.choice([n, n + 1, rng.getrandbits(32)]), rng.randrange(6), -1) + b"\x04peer\x00"
                message = struct.pack(">BBH", rng.choice([1, 1, 1, 4, 5, 6, 33]), 0, len(opened)) + opened
                frames.append(ws.mux_frame(5, 0, struct.pack(">Q", at) + message))
                at += len(message)
            elif kind == 5:
                frames.append(ws.mux_frame(5, stream, struct.pack(">Q", rng.choice([0, 0, rng.getrandbits(16)])) + rng.randbytes(50)))
            else:
                frames.append(ws.mux_frame(kind, stream, rng.randbytes(rng.choice([8, 16, 24, rng.randrange(40)]))))
        try:
            sock.sendall(ws.frame(2, b"".join(frames)))
            sock.settimeout(0.02)
            got = b""
            while CLOSED not in got and (more := sock.recv(4096)):
                got += more
            protocol_errors += CLOSED in got
        except TimeoutError:
            pass
        sock.close()
    figure("sessions", f"{seed + 1}, {protocol_errors} of them ended by the server for what they sent")
    assert protocol_errors > seed / 3
