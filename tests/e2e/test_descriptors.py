"""Few file descriptors, at the start and later: a sentence and an exit code, never a signal; and who has some again goes on."""

import signal
import subprocess

import pytest

from harness import fakes, pages, process, raw, tunnel, wait

pytestmark = pytest.mark.tunnel

# With one descriptor more than the three standard ones the loader gets as far as the program.
LIMITS = range(4, 41)
LEAST, ENOUGH = 32, 40  # below the one it says so, from the other on it starts; in between it depends on what it was started with


def commands(binaries, port):
    """Each of them ends by itself, soon."""
    server = ["--server", f"http://127.0.0.1:{port}"]
    return {
        "server": [binaries.server, "--listen", "256.0.0.1:0", "--kafka", "127.0.0.1:1"],
        "client": [binaries.client, *server, "--tcp", "256.0.0.1:1=raw"],
        "doctor": [binaries.client, "doctor", *server, "--tcp", "raw=0", "--dial-timeout", "2"],
        "wait": [binaries.client, "wait", "--status", "127.0.0.1:1", "--max", "0"],
        "run": [binaries.client, "run", *server, "--tcp", "raw=0", "--", "true"],
    }


@pytest.mark.parametrize("command", ["server", "client", "doctor", "wait", "run"])
def test_few_descriptors_at_the_start(command, binaries):
    with fakes.refusing_port("127.0.0.1") as port:
        for limit in LIMITS:
            if command == "run" and limit >= LEAST:
                break  # it would wait for the tunnel
            done = process.run(tunnel.limited(limit, commands(binaries, port)[command]), 30, check=False)
            said = f"{limit}: {done.returncode}\n{done.stdout}{done.stderr}"
            if limit < LEAST:
                # What is wrong with an option comes first.
                assert done.returncode in (1, 2), said
                assert done.returncode == 2 or ("file descriptors" in done.stderr and "ulimit" in done.stderr), said
            assert 1 <= done.returncode < 100 and (done.stderr.strip() or done.stdout.strip()), said


@pytest.mark.parametrize("limit", [4, 8, 12, 16, 20, 24, 28, 40, 44, 48, 56, 64])
def test_few_descriptors_for_a_program_that_stays(limit, binaries, pair, peer, tmp_path):
    """With every limit the two either say what they need, or run, carry connections as far as they can, and stop when told to."""
    args = ["--status", "127.0.0.1:0"]
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=args, descriptors=limit, ready=limit >= ENOUGH)
    client = pair.client(server if limit >= ENOUGH else "http://127.0.0.1:1", tcp={"raw": 0}, args=args, descriptors=limit,
                         ready=limit >= ENOUGH)
    if limit < ENOUGH:
        for program in (server, client):
            assert program.wait_exit() == 1 and "file descriptors" in program.log(), program.tail()
        return
    port = tunnel.port(client, "raw")
    sockets = []
    for _ in range(limit):
        try:
            sockets.append(raw.connect(port, "echo", timeout=5))
        except OSError:
            break
    for sock in sockets:
        sock.close()
    wait.until(lambda: echoes(port), 30, "it serves again", 0.2)
    for program in (client, server):
        assert program.stop(sig=signal.SIGTERM) == 0


def echoes(port):
    try:
        return raw.echo_once(port, b"back", timeout=5) == b"back"
    except OSError:
        return False


def test_everything_wants_a_descriptor_and_there_is_none(pair, peer, tmp_path):
    """A client whose connections want more than there are: some are kept for the link, its look-up, its token's command and pages."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=["--status", "127.0.0.1:0"])
    client = pair.client(server, tcp={"raw": 0}, descriptors=48,
                         args=["--status", "127.0.0.1:0", "--token-command", "echo token", "--dial-timeout", "2"])
    port = tunnel.port(client, "raw")
    page = pages.Pages(client)
    sockets = []
    for _ in range(80):
        sockets.append(raw.connect(port, None, timeout=5))
    assert "reserved" in client.wait_for("accept_paused")["reason"]
    scrapes = [subprocess.Popen(["curl", "-s", "-m", "3", f"http://{page.host}:{page.port}/metrics"],
                                stdout=subprocess.DEVNULL) for _ in range(4)]
    server.kill()
    mark, busy = client.mark(), client.cpu_seconds()
    for scrape in scrapes:
        scrape.wait(10)
    assert len(client.lines(mark)) < 40 and client.cpu_seconds() - busy < 1, "it spins or floods its log"
    pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, listen=f"127.0.0.1:{server.port}")
    wait.until(lambda: len(client.events("link_up")) == 2, 30, "a link, while the connections are still there")
    assert page.json()["link"]["state"] == "up"
    for sock in sockets:
        sock.close()
    wait.until(lambda: echoes(port), 60, "it serves again", 0.2)
