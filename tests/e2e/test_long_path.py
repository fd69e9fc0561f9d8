"""Real TCP over a long way, with packets lost and links that end or fall silent: what loopback does not show."""

import os
import signal
import statistics
import subprocess
import threading
import time

import pytest

from harness import raw, wait

pytestmark = pytest.mark.tunnel


def echo(sock, data):
    """Seconds until it was back."""
    start = time.monotonic()
    sock.sendall(data)
    back = b""
    while len(back) < len(data):
        got = sock.recv(65536)
        assert got, "the connection ended"
        back += got
    assert back == data
    return time.monotonic() - start


# -- the path itself ---------------------------------------------------------------------------------------------------


@pytest.fixture
def route(make_long_path, processes):
    """route(options): a path with a raw peer at its far end, and a function that connects to it, without a tunnel."""
    def make(**options):
        path = make_long_path(**options)
        with path.far():
            peer = raw.start_peer(processes, path.far_address)

        def connect(command):
            with path.near():
                return raw.connect(peer.port, command, path.far_address)
        return path, connect
    return make


def near_port(sock):
    return sock.getsockname()[1]


def test_packets_are_late(route):
    path, connect = route(delay_ms=30)
    with connect("echo") as sock:
        echo(sock, b"first")
        times = [echo(sock, b"x" * 100) for _ in range(5)]
        # Late is as asked; the rest is this machine's.
        assert 0.06 <= min(times) < 0.09, times
        path.set("delay-ms", "10,20")
        assert 0.03 <= min(echo(sock, b"y" * 100) for _ in range(5)) < 0.06


def test_one_connection_is_slower(route):
    path, connect = route(delay_ms=5)
    with connect("echo") as one, connect("echo") as other:
        path.delay(near_port(one), 100)
        echo(one, b"first")
        assert echo(one, b"slow") >= 0.21
        assert min(echo(other, b"fast") for _ in range(5)) < 0.1
        path.heal()
        assert min(echo(one, b"again") for _ in range(5)) < 0.1


def test_one_connection_is_forgotten(route):
    """Neither end is told; when it is remembered, it goes on."""
    path, connect = route(delay_ms=5)
    with connect("echo") as one, connect("echo") as other:
        echo(one, b"first")
        path.cut(near_port(one))
        one.sendall(b"unheard")
        echo(other, b"heard")
        one.settimeout(0.5)
        with pytest.raises(TimeoutError):
            one.recv(1)
        path.heal(near_port(one))
        one.settimeout(30)
        assert one.recv(7) == b"unheard"


def test_one_connection_is_reset(route):
    path, connect = route(delay_ms=5)
    with connect("echo") as one, connect("echo") as other:
        echo(one, b"first")
        assert {near_port(one), near_port(other)} == {c["near_port"] for c in path.connections()}
        path.reset(near_port(one))
        with pytest.raises(ConnectionResetError):
            one.recv(1)
        echo(other, b"unhurt")
        assert [near_port(other)] == [c["near_port"] for c in path.connections()]


def namespaces():
    return set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()


@pytest.mark.parametrize("how", ["end of input", "SIGTERM", "SIGKILL"])
def test_the_namespaces_go_with_the_program(how, make_long_path, binaries):
    make_long_path()  # or there is no namespace to be left behind
    name = f"gone-{os.getpid()}-{how.split()[0].lower()}"
    with subprocess.Popen([binaries.build / "bench" / "packet-path", "--name", name], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as path:
        path.stdout.readline()
        assert {f"{name}-near", f"{name}-far"} <= namespaces()
        if how == "end of input":
            path.stdin.close()
        else:
            path.send_signal(getattr(signal, how))
        path.wait(15)
        wait.until(lambda: not {f"{name}-near", f"{name}-far"} & namespaces(), 15, "the namespaces' end")
    assert path.returncode == (-signal.SIGKILL if how == "SIGKILL" else 0)


# -- the tunnel --------------------------------------------------------------------------------------------------------


def test_bytes_are_exact_over_loss(apart, figure):
    pair = apart(delay_ms=10, loss=1)
    start = time.monotonic()
    pair.check_both(2 << 20)
    seconds = time.monotonic() - start
    counts = pair.path.counts()
    assert counts["up"]["lost"] > 5 and counts["down"]["lost"] > 5, "there was nothing to see"
    figure("2 MiB each way, 20 ms, 1 % lost", f"{seconds:.1f} s")


def test_all_links_are_cut_and_resumed(apart):
    """Three times, in the middle of megabytes each way, with a quiet connection beside them."""
    pair = apart(delay_ms=10, loss=0.1)
    cuts = []

    def bytes_on_links():
        return sum(link["up_bytes"] + link["down_bytes"] for link in pair.links())

    def cut():
        for _ in range(3):
            wait.until(lambda: bytes_on_links() > 1 << 20, 60, "bytes on a new link", interval=0.01)
            cuts.append(pair.reset_links())
    with pair.connect("echo") as quiet:
        echo(quiet, b"before")
        pair.check_both(12 << 20, cut)
        echo(quiet, b"after")
    assert len(cuts) == 3 and all(cuts), cuts
    assert len(pair.client.events("link_resumed")) >= 3
    assert not pair.client.events("session_lost") and not pair.server.events("session_lost")


def test_the_path_is_dead_for_a_while(apart):
    """Too short for a link to be given up: TCP sends again what was lost, and the link is the same."""
    pair = apart(delay_ms=10, client_args=["--links", "1"])
    with pair.connect("echo") as sock:
        before = statistics.median(echo(sock, b"x" * 100) for _ in range(5))
        pair.path.cut()
        threading.Timer(1, pair.path.heal).start()
        pause = echo(sock, b"through the cut")
        after = min(echo(sock, b"x" * 100) for _ in range(5))
    assert pause >= 0.95 and after < before + 0.1, (before, pause, after)
    assert not pair.client.events("link_lost")
    assert pair.path.counts()["connections"] == 1


@pytest.mark.slow
def test_a_link_is_forgotten_without_a_word(apart, figure):
    """By something between: the client notices by itself, and what was under way arrives by another link."""
    pair = apart(delay_ms=10)
    with pair.connect("echo") as sock:
        echo(sock, b"before")
        for link in pair.links():
            pair.path.cut(link["near_port"])
        pause = echo(sock, b"through the silence")
    assert len(pair.client.events("link_lost")) == 1
    figure("pause of a stream", f"{pause:.1f} s")
