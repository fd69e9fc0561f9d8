"""What one identity may have: links, and bytes a second; it hears which limit it has reached, and nobody else feels it."""

import concurrent.futures
import contextlib
import signal
import statistics
import threading
import time

import pytest

from harness import pages, raw, tunnel, wait, ws
from harness.mux_client import LIMIT, REFUSED, REJECT, WELCOME, Client

pytestmark = pytest.mark.tunnel
MALLORY, BOB = "token-of-mallory-0123456789", "token-of-bob-0123456789"
MIB = 1 << 20


@pytest.fixture
def start(pair, peer, tmp_path):
    """start(options) -> the server; its clients are those of MALLORY (raw) and of token files mallory and bob."""
    (tmp_path / "tokens").write_text(f"{MALLORY} mallory\n{BOB} bob\n", encoding="utf-8")
    (tmp_path / "mallory").write_text(MALLORY, encoding="utf-8")
    (tmp_path / "bob").write_text(BOB, encoding="utf-8")

    def run(*args, **kw):
        return pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None, secrets=[MALLORY, BOB],
                           args=["--token-file", tmp_path / "tokens", "--status", "127.0.0.1:0", "--audit-log", tmp_path / "audit.log", *args], **kw)
    return run


@pytest.fixture
def client(pair, tmp_path):
    def run(server, who, *args, **kw):
        return pair.client(server, tcp={"peer": 0}, args=["--token-file", tmp_path / who, *args], secrets=[MALLORY, BOB], **kw)
    return run


def limited(server, limit):
    return pages.Pages(server).metrics().sum("limited_total", limit=limit)


def refused_upgrade(server, token):
    """What a link that is not let in is told; None: it is."""
    sock, status, head = ws.upgrade(server, [f"Authorization: Bearer {token}"])
    with sock:
        return None if status == 101 else head + raw.read_rest(sock).decode()


def test_links_of_an_identity(start, client, tmp_path):
    server = start("--max-links-per-identity", "2")
    with Client(server, token=MALLORY) as one, Client(server, token=MALLORY) as other:
        assert one.answer == other.answer == WELCOME
        answer = refused_upgrade(server, MALLORY)
        assert answer.startswith("HTTP/1.1 429 ") and "Retry-After: " in answer and "(--max-links-per-identity)" in answer
        # A real client says so in its own log, and comes in when there is room.
        third = client(server, "mallory", ready=False)
        assert "--max-links-per-identity" in third.wait_for("dial_failed")["reason"]
        client(server, "bob")
        assert limited(server, "links_of_identity") >= 2
        assert server.events("link_refused", identity="mallory") and not server.events("link_refused", identity="bob")
    third.wait_for("ready")
    assert '"link_refused"' in (tmp_path / "audit.log").read_text(encoding="utf-8")


def test_links_in_a_minute(start, client):
    server = start("--max-links-per-minute", "3")
    for _ in range(3):
        with Client(server, token=MALLORY) as one:
            assert one.answer == WELCOME
    assert "(--max-links-per-minute)" in refused_upgrade(server, MALLORY)
    late = client(server, "mallory", ready=False)
    assert "--max-links-per-minute" in late.wait_for("dial_failed")["reason"]
    client(server, "bob")
    assert limited(server, "new_links") >= 2 and not limited(server, "links_of_identity")


def echo_ms(port, count=30):
    """The median time that a small message takes there and back."""
    times = []
    with raw.connect(port, "echo") as sock:
        for _ in range(count):
            began = time.monotonic()
            sock.sendall(b"x" * 100)
            got = 0
            while got < 100:
                got += len(sock.recv(100))
            times.append((time.monotonic() - began) * 1000)
    return statistics.median(times)


def seconds(call, *args):
    began = time.monotonic()
    call(*args)
    return time.monotonic() - began


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_identity_keeps_to_its_rate(start, client, figure, workers):
    """Both ways, all its connections and sessions together; nothing is cut, and every byte arrives in order."""
    rate = 2 * MIB
    server = start("--max-rate-up", "2MiB", "--max-rate-down", "2MiB", "--workers", workers)
    ports = [tunnel.port(client(server, "mallory"), "peer") for _ in range(2)]
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(raw.check_both, port, MIB) for port in ports for _ in range(2)]:
            done.result()
    took = time.monotonic() - began
    # 4 MiB each way, the first half MiB at once.
    assert took > 4 * MIB / rate - 0.5
    figure(f"4 MiB each way at 2 MiB/s, {workers} worker(s)", f"{took:.2f} s")
    figures = pages.Pages(server).metrics()
    assert figures.sum("rate_pauses_total", direction="up") > 0 and figures.sum("rate_pauses_total", direction="down") > 0
    slowed = server.wait_for("identity_slowed", identity="mallory")
    assert slowed["bytes_per_second"] == rate and slowed["limit"] in ("--max-rate-up", "--max-rate-down")
    assert len(server.events("identity_slowed")) <= 2 and not server.events("audit_stream", end="limit")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_identity_at_its_limits_beside_another(start, client, figure, tmp_path):
    """Mallory wants all there is: links, connections, dials, bytes both ways. Bob works as if alone."""
    rules = tmp_path / "rules"
    rules.write_text("mallory.identity=mallory\nmallory.max-rate-up=1MiB\nmallory.max-rate-down=1MiB\nmallory.max-dials-per-minute=300\n"
                     "mallory.max-links-per-minute=60\nmallory.max-streams=40\nall.target=*\n", encoding="utf-8")
    server = start("--access", rules)
    bob = tunnel.port(client(server, "bob"), "peer")
    mallory = tunnel.port(client(server, "mallory"), "peer")
    alone_ms, alone_s = echo_ms(bob), seconds(raw.check_both, bob, 16 * MIB)
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            # What a limit of connections refuses is tried again.
            with contextlib.suppress(OSError, AssertionError):
                raw.check_both(mallory, MIB)

    def dial():
        while not stop.is_set():
            with contextlib.suppress(OSError, AssertionError), Client(server, token=MALLORY) as one:
                for stream in range(1, 101):
                    one.open(stream, "peer")
                for _ in range(20):
                    kind, body = one.next_message((REFUSED, REJECT))
                    assert kind == REFUSED and int.from_bytes(body[12:14], "big") == LIMIT
            time.sleep(0.02)

    threads = [threading.Thread(target=flood) for _ in range(4)] + [threading.Thread(target=dial) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        wait.until(lambda: limited(server, "dials") + limited(server, "connections_of_identity") > 0 and limited(server, "new_links") > 0
                   and pages.Pages(server).metrics().sum("rate_pauses_total") > 10, 60, "mallory at its limits")
        beside_ms = echo_ms(bob)
        beside_s = seconds(raw.check_both, bob, 16 * MIB)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    figure("bob's message there and back", f"{alone_ms:.2f} ms alone, {beside_ms:.2f} ms beside mallory at all limits")
    figure("bob's 16 MiB each way", f"{alone_s:.2f} s alone, {beside_s:.2f} s beside")
    assert beside_s < max(10 * alone_s, 5)
    assert beside_ms < max(20 * alone_ms, 100)
    assert not server.events("link_refused", identity="bob") and not server.events("stream_limited", identity="bob")
    reasons = {e["reason"] for e in server.events("stream_refused")}
    assert any("--max-dials-per-minute" in r or "--max-streams-per-identity" in r for r in reasons), reasons


def test_limits_change_with_their_file(start, client, tmp_path):
    """Whoever is there keeps to the new ones at once; a wrong line leaves the old ones in force."""
    rules = tmp_path / "rules"
    rules.write_text("all.target=*\nall.max-streams=1\n", encoding="utf-8")
    server = start("--access", rules)
    port = tunnel.port(client(server, "mallory"), "peer")
    with raw.connect(port, "echo") as first:
        first.sendall(b"x")
        assert first.recv(1) == b"x"
        with pytest.raises((OSError, AssertionError)):
            assert raw.echo_once(port)
        mark = server.mark()
        rules.write_text("all.target=*\nall.max-streams=lots\n", encoding="utf-8")
        server.popen.send_signal(signal.SIGHUP)
        assert server.wait_for("reloaded", since=mark)["failed"] == 1
        with pytest.raises((OSError, AssertionError)):
            assert raw.echo_once(port)
        mark = server.mark()
        rules.write_text("all.target=*\nall.max-streams=2\n", encoding="utf-8")
        server.popen.send_signal(signal.SIGHUP)
        server.wait_for("reloaded", since=mark)
        assert raw.echo_once(port) == b"ping"
