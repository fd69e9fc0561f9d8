"""Something between the ends that cuts a link at each large WebSocket frame: noticed, lived with, and no storm of dials until then."""

import time

import pytest

from harness import fakes, faults, pages, raw, tunnel, wait, ws

pytestmark = pytest.mark.tunnel

MIB = 1 << 20


@pytest.fixture
def between():
    made = []

    def make(behind, **frame_max):
        made.append(faults.Proxy([("127.0.0.1", behind.port)]))
        made[-1].frame_max = frame_max
        return made[-1]
    yield make
    for one in made:
        one.close()


def url(proxy):
    return f"http://localhost:{proxy.port}"


def counting_command(tmp_path):
    """(option, how often it ran)"""
    count = tmp_path / "count"
    return ["--token-command", f"echo >>{count}; echo token"], lambda: len(count.read_text().splitlines())


@pytest.mark.parametrize("ways", [["client"], ["server"], ["client", "server"]], ids=["up", "down", "both ways"])
@pytest.mark.parametrize("limit", [40_000, 5_000])
def test_large_frames_are_cut(ways, limit, pair, peer, between, tmp_path, figure):
    """Some MiB get through after a few links, each byte in its place; who sends smaller frames says so once."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
    proxy = between(server, **{way: limit for way in ways})
    option, commands = counting_command(tmp_path)
    client = pair.client(url(proxy), tcp={"raw": 0}, args=[*option, "--status", "127.0.0.1:0"])
    started = time.monotonic()
    raw.check_both(tunnel.port(client, "raw"), 4 * MIB)
    figure("took", f"{time.monotonic() - started:.1f} s and {proxy.accepted} links")
    # Two to be sure and one for each step of 32, 16, 8, 4 KiB after the first, each way; the last one lives.
    assert proxy.accepted <= 12
    assert commands() == proxy.accepted
    assert not client.events("session_lost") and not tunnel.cut_streams(server)
    warned = [e["max_frame"] for e in client.events("smaller_frames", level="warning") + server.events("smaller_frames")]
    assert warned and min(e["max_frame"] for p in (client, server) for e in p.events("smaller_frames")) == \
        (32768 if limit == 40_000 else 4096)
    assert len(client.events("smaller_frames", level="warning")) <= 1
    status = pages.Pages(client).json()
    assert status["link"]["max_frame"] <= limit
    assert ways == ["server"] or "smaller_frames" in [e["event"] for e in status["events"]]


def test_a_new_session_remembers(pair, peer, between):
    """What was learnt holds for the server's process and for the client's: neither finds out anew."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
    proxy = between(server, client=20_000, server=20_000)
    client = pair.client(url(proxy), tcp={"raw": 0})
    raw.check_both(tunnel.port(client, "raw"), MIB)
    server.kill()
    pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, listen=f"127.0.0.1:{server.port}")
    wait.until(lambda: len(client.events("link_up")) == 2, 30, "a new session")
    links = proxy.accepted
    raw.check_both(tunnel.port(client, "raw"), MIB)
    assert proxy.accepted == links


def test_over_another_instance(pair, peer, tmp_path, figure):
    """Every second link is handed on to the instance that has the session: who frames and who learns are two."""
    secret = tmp_path / "peers.secret"
    secret.write_text("between-instances-only-7d1f\n")
    ports = [wait.free_port() for _ in range(2)]
    servers = [pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None,
                           args=["--peer-listen", f"127.0.0.1:{port}", "--peer-secret-file", secret,
                                 *(word for other in ports for word in ("--peers", f"127.0.0.1:{other}"))]) for port in ports]
    proxy = faults.Proxy([("127.0.0.1", server.port) for server in servers])
    try:
        proxy.frame_max = {"client": 20_000, "server": 20_000}
        client = pair.client(url(proxy), tcp={"raw": 0})
        raw.check_both(tunnel.port(client, "raw"), 4 * MIB)
        assert servers[1].events("link_forwarded") and not client.events("session_lost")
        figure("links", proxy.accepted)
        assert proxy.accepted <= 12
    finally:
        proxy.close()


@pytest.mark.parametrize("who", ["client", "server"])
def test_max_frame(who, pair, peer, between):
    """Given at one end it holds for both; the messages are the same."""
    args = {who: ["--max-frame", "2KiB"]}
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=args.get("server", []))
    proxy = between(server, client=1 << 20, server=1 << 20)
    client = pair.client(url(proxy), tcp={"raw": 0}, args=args.get("client", []))
    raw.check_both(tunnel.port(client, "raw"), 4 * MIB)
    assert proxy.accepted == 1
    assert 1024 < proxy.largest_frame["client"] <= 2048 and 1024 < proxy.largest_frame["server"] <= 2048


def test_nothing_helps(pair, peer, between, tmp_path, figure):
    """Whatever is larger than a greeting is cut: pauses grow, and each dial has its one command for a token."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
    proxy = between(server, client=250)
    option, commands = counting_command(tmp_path)
    client = pair.client(url(proxy), tcp={"raw": 0}, args=option)
    sock = raw.connect(tunnel.port(client, "raw"), "sink")
    with sock:
        raw.send_all(sock, 100_000, "up")
        started = time.monotonic()
        wait.until(lambda: time.monotonic() - started > 6, 10, "the end of a while", 0.2)
        dials = proxy.accepted
    figure("dials", f"{dials} in 6 s")
    # Without pauses there are hundreds. The pauses: 0.1 to 0.2 s, then to 0.4, to 0.8, then to 1 s.
    assert 4 <= dials <= 30
    assert dials - 1 <= commands() <= proxy.accepted + 1
    assert max(e["retry_ms"] for e in client.events("link_lost")) > 300
    assert all(e["retry_ms"] > 0 for e in client.events("link_lost")[1:])


class GoesAway(fakes.Listening):
    """Accepts every session, and says at once that it is about to stop."""

    dials = 0

    def _serve(self, sock):
        self.dials += 1
        with sock:
            try:
                ws.accept(sock)
                sock.recv(65536)
                sock.sendall(ws.frame(2, ws.welcome() + ws.goaway(), mask=False))
                while sock.recv(65536):
                    pass
            except OSError:
                pass


def test_a_server_that_is_always_about_to_stop(pair, tmp_path, figure):
    option, commands = counting_command(tmp_path)
    with GoesAway() as server:
        client = pair.client(f"http://127.0.0.1:{server.port}", tcp={"raw": 0}, args=option)
        started = time.monotonic()
        wait.until(lambda: time.monotonic() - started > 4, 10, "the end of a while", 0.2)
        dials = server.dials
        client.stop()
    figure("dials", f"{dials} in 4 s")
    assert 3 <= dials <= 20, "there were 699"
    assert abs(commands() - server.dials) <= 1
