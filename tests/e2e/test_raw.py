"""Raw TCP targets: bytes exact, half-close kept, many connections, a stalled one; and everything returned afterwards."""

import json
import socket
import statistics
import struct
import threading
import time

import pytest

from conftest import FULL, size
from harness import raw, tunnel, wait


def settle(programs, before, figure, slack_mib, deadline=30):
    """Descriptors return exactly, resident memory to within slack_mib of `before`."""
    for program in programs:
        descriptors, rss = before[program.name]
        wait.until(lambda p=program, d=descriptors: p.descriptors() <= d, deadline,
                   lambda p=program, d=descriptors: f"{p.name}: {p.descriptors()} descriptors, {d} before")
        wait.until(lambda p=program, r=rss: p.is_sanitized() or p.rss_mib() <= r + slack_mib, deadline,
                   lambda p=program, r=rss: f"{p.name}: {p.rss_mib():.1f} MiB resident, {r:.1f} before, {slack_mib} allowed")
        figure(program.name, f"{rss:.1f} -> {program.rss_mib():.1f} MiB resident, "
                             f"{descriptors} -> {program.descriptors()} descriptors")


def baseline(route):
    """After one connection, so that what is made once is made."""
    assert route.echo(b"first") == b"first"
    first = {p.name: p.descriptors() for p in route.programs()}
    # The streams of that connection may end a moment later: wait until two looks in a row agree.
    def steady():
        now = {p.name: p.descriptors() for p in route.programs()}
        same = now == first
        first.update(now)
        return same
    wait.until(steady, 10, "steady descriptor count", 0.2)
    return {p.name: (p.descriptors(), p.rss_mib()) for p in route.programs()}


def test_echo(raw_route):
    for data in (b"", b"x", b"y" * 70_000):
        assert raw_route.echo(data) == data


def test_answer_after_the_client_half_closed(raw_route):
    """The client ends its direction first; the whole answer still arrives, then the end of file."""
    count = 5_000_000
    with raw_route.connect("sink") as sock:
        raw.send_all(sock, count, "h")
        sock.shutdown(socket.SHUT_WR)
        answer = json.loads(raw.read_rest(sock))
    assert answer == {"bytes": count, "sha256": raw.digest_of(count, "h")}


def test_request_after_the_target_half_closed(raw_route):
    """The target ends its direction first; what the client sends after that still arrives."""
    up, down = 3_000_000, 1_000_000
    with raw_route.connect(f"source {down} halfclose") as sock:
        assert raw.receive(sock) == {"bytes": down, "sha256": raw.digest_of(down, "halfclose")}
        raw.send_all(sock, up, "after")
        sock.shutdown(socket.SHUT_WR)

        def result():
            with raw_route.connect("result halfclose") as other:
                return json.loads(raw.read_rest(other))
        assert wait.until(result, 30, "the target saw the end of file") == {"bytes": up, "sha256": raw.digest_of(up, "after")}


def test_reset_stays_a_reset(raw_route):
    """A connection the target resets ends in a reset here too, never in a clean end of file."""
    with raw_route.connect("reset") as sock:
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
            raise AssertionError("a clean end of file")


@pytest.mark.tunnel
def test_target_that_refuses(pair):
    """Nobody listens there: the local connection is reset, both logs say so, and the next target works."""
    port = wait.free_port()
    server = pair.server(tcp={"gone": f"127.0.0.2:{port}"})
    client = pair.client(server, tcp={"gone": 0})
    with pytest.raises(ConnectionError):
        with raw.connect(tunnel.port(client, "gone"), None) as sock:
            assert sock.recv(1) != b"", "a clean end of file"
    server.wait_log(rf"127\.0\.0\.2:{port}|refused")
    client.wait_log("refused")


def test_bytes_exact_each_way(raw_route, figure):
    mib = size("KAFKA_TUNNEL_E2E_RAW_MIB", 1024, 4096)
    count = mib << 20
    want = {"bytes": count, "sha256": raw.digest_of(count, "bulk")}
    before = baseline(raw_route)

    start = time.monotonic()
    with raw_route.connect("sink") as sock:
        raw.send_all(sock, count, "bulk")
        sock.shutdown(socket.SHUT_WR)
        assert json.loads(raw.read_rest(sock)) == want
    figure("up", f"{mib} MiB, {mib / (time.monotonic() - start):.0f} MiB/s with checksums")

    start = time.monotonic()
    with raw_route.connect(f"source {count} bulk") as sock:
        assert raw.receive(sock) == want
    figure("down", f"{mib} MiB, {mib / (time.monotonic() - start):.0f} MiB/s with checksums")
    settle(raw_route.programs(), before, figure, slack_mib=24)


def test_both_ways_at_once(raw_route):
    count = 100 << 20
    with raw_route.connect(f"both {count} down") as sock:
        sender = threading.Thread(target=lambda: (raw.send_all(sock, count, "up"), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        got = raw.receive(sock, limit=count)
        sender.join(60)
        answer = json.loads(raw.read_rest(sock))
    assert got == {"bytes": count, "sha256": raw.digest_of(count, "down")}
    assert answer == {"bytes": count, "sha256": raw.digest_of(count, "up")}


def test_a_thousand_connections_at_once(raw_route, figure):
    """All open together, all answer, and all is given back."""
    before = baseline(raw_route)
    sockets = []
    start = time.monotonic()
    try:
        for i in range(1000):
            sockets.append(raw_route.connect("echo"))
        for i, sock in enumerate(sockets):
            sock.sendall(b"%06d" % i)
        for i, sock in enumerate(sockets):
            assert read_exactly(sock, 6) == b"%06d" % i
        figure("open and answered", f"1000 in {time.monotonic() - start:.2f} s")
        for program in raw_route.programs():
            figure(f"{program.name} with 1000 connections", f"{program.rss_mib():.1f} MiB, {program.descriptors()} descriptors")
    finally:
        for sock in sockets:
            sock.close()
    settle(raw_route.programs(), before, figure, slack_mib=24)


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        got = sock.recv(count - len(data))
        assert got, f"end of file after {len(data)} of {count} bytes"
        data += got
    return data


@pytest.mark.speed
def test_new_connections_at_a_steady_rate(raw_route, figure):
    """200 a second, each a whole life: echo, half-close, end of file."""
    rate, seconds = 200, 30 if FULL else 5
    before = baseline(raw_route)
    lock, failures, times = threading.Lock(), [], []
    work = iter(range(rate * seconds))
    start = time.monotonic()

    def worker():
        while True:
            with lock:
                i = next(work, None)
            if i is None:
                return
            due = start + i / rate
            if due > time.monotonic():
                time.sleep(due - time.monotonic())
            began = time.monotonic()
            try:
                data = b"connection %d" % i
                assert raw_route.echo(data) == data
                with lock:
                    times.append(time.monotonic() - began)
            except (OSError, AssertionError) as e:
                with lock:
                    failures.append(repr(e))

    workers = [threading.Thread(target=worker) for _ in range(16)]
    for w in workers:
        w.start()
    for w in workers:
        w.join(seconds + 60)
    took = time.monotonic() - start
    assert not failures, f"{len(failures)} failed: {failures[:3]}"
    assert took < seconds * 1.5, f"{rate * seconds} connections took {took:.1f} s"
    figure("lives", f"{len(times)} in {took:.1f} s, median {statistics.median(times) * 1e3:.2f} ms, "
                    f"99th {sorted(times)[len(times) * 99 // 100] * 1e3:.1f} ms")
    settle(raw_route.programs(), before, figure, slack_mib=16)


def download_rate(route, count, seed):
    start = time.monotonic()
    with route.connect(f"source {count} {seed}") as sock:
        assert raw.receive(sock) == {"bytes": count, "sha256": raw.digest_of(count, seed)}
    return count / (time.monotonic() - start) / (1 << 20)


@pytest.mark.speed
@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_stalled_reader_harms_nobody(direction, raw_route, figure):
    """One stream's reader stops reading while its writer goes on; others keep their speed, memory stays under the cap."""
    count = 200 << 20
    alone = statistics.median(download_rate(raw_route, count, "s") for _ in range(3))
    stop = threading.Event()
    if direction == "down":
        stalled = raw_route.connect(f"source {8 << 30} stalled")  # and nobody reads it here
        sent = [0]
    else:
        stalled = raw_route.connect("stall")
        stalled.settimeout(0.2)
        sent = [0]

        def push():
            data = bytes(1 << 18)
            while not stop.is_set():
                try:
                    sent[0] += stalled.send(data)
                except TimeoutError:
                    pass
                except OSError:
                    return
        threading.Thread(target=push, daemon=True).start()
        # What fits into buffers and windows has gone when nothing more leaves for a while.
        last = [-1, time.monotonic()]

        def quiet():
            if sent[0] != last[0]:
                last[:] = [sent[0], time.monotonic()]
            return time.monotonic() - last[1] > 1
        wait.until(quiet, 60, "the stalled stream is full", 0.1)
        figure("the stalled writer got rid of", f"{sent[0] / (1 << 20):.1f} MiB")
    try:
        beside = statistics.median(download_rate(raw_route, count, "s") for _ in range(3))
        figure("others", f"{alone:.0f} MiB/s alone, {beside:.0f} MiB/s beside the stalled stream")
        for program in raw_route.programs():
            figure(f"{program.name}", f"{program.rss_mib():.1f} MiB resident, cap 256 MiB")
            assert program.rss_mib() < 256 + 32
        assert beside > alone / 2
    finally:
        stop.set()
        stalled.close()


@pytest.mark.speed
def test_small_messages_beside_a_bulk_stream(raw_route, figure):
    """A request-response stream stays quick while another stream saturates the link."""
    stop = threading.Event()

    def bulk():
        with raw_route.connect("sink") as sock:
            data = bytes(1 << 18)
            while not stop.is_set():
                sock.sendall(data)
    def pings(count):
        times = []
        with raw_route.connect("echo") as sock:
            for _ in range(count):
                start = time.monotonic()
                sock.sendall(b"p" * 128)
                read_exactly(sock, 128)
                times.append(time.monotonic() - start)
        return sorted(times)
    idle = pings(500)
    saturating = threading.Thread(target=bulk)
    saturating.start()
    try:
        busy = pings(500)
    finally:
        stop.set()
        saturating.join(30)
    for name, times in (("idle", idle), ("beside bulk", busy)):
        figure(name, f"median {times[250] * 1e6:.0f} us, 99th {times[495] * 1e6:.0f} us")
    assert busy[495] < 0.25, "a small message waits for the bulk stream"


@pytest.mark.tunnel
def test_ipv6_loopback_listener(raw_route):
    assert raw.echo_once(raw_route.raw_port, b"six", host="::1") == b"six"


@pytest.mark.tunnel
def test_not_reachable_beyond_loopback(raw_route):
    """The listeners and the server are bound to loopback only."""
    with open(f"/proc/{raw_route.client.pid}/net/tcp", encoding="ascii") as f:
        listening = [line.split()[1] for line in f.readlines()[1:] if line.split()[3] == "0A"]
    mine = [a for a in listening if int(a.split(":")[1], 16) in raw_route.ports()]
    assert mine and all(a.startswith("0100007F:") for a in mine), mine


@pytest.mark.tunnel
def test_everything_ends_when_the_client_stops(raw_route, peer):
    """A stopped client resets its connections, and the server lets go of the link and of the target's connection."""
    sock = raw_route.connect("echo")
    sock.sendall(b"before")
    assert read_exactly(sock, 6) == b"before"
    open_now = raw_route.server.descriptors()
    raw_route.client.stop()
    with pytest.raises(ConnectionError):
        assert sock.recv(1) != b"", "a clean end of file for a stream cut short"
    wait.until(lambda: raw_route.server.descriptors() <= open_now - 2, 20,
               lambda: f"{raw_route.server.descriptors()} descriptors at the server, {open_now} while it worked")


def test_many_lives_leave_nothing_behind(raw_route, figure):
    """Connections that end in every way: echo, reset by the target, reset by the client, abandoned in mid-stream."""
    before = baseline(raw_route)
    for i in range(100 if not FULL else 1000):
        raw_route.echo(b"life")
        with raw_route.connect("reset") as sock:
            try:
                sock.recv(1)
            except ConnectionResetError:
                pass
        with raw_route.connect("source 10000000 lost") as sock:
            sock.recv(1000)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with raw_route.connect("echo") as sock:
            sock.sendall(b"z" * 100_000)
    settle(raw_route.programs(), before, figure, slack_mib=24)
