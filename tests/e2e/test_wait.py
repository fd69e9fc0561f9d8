"""tunnel-client wait: asks a client's status page until it is ready, for --max at the most."""

import re

import pytest

from harness import fakes, process, wait

pytestmark = pytest.mark.tunnel

READY = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nready\n"
NOT_READY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 26\r\nConnection: close\r\n\r\n" \
            b"connecting to the server\r\n"


def wait_for(binaries, port, *args, host="127.0.0.1", env=None):
    return process.run([binaries.client, "wait", "--status", f"{host}:{port}", *args], 30, check=False, env=env)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_ready(host, binaries, figure):
    with fakes.Fake(READY, host=host) as page:
        done = wait_for(binaries, page.port, host=f"[{host}]" if ":" in host else host)
        figure("took", f"{done.seconds:.2f} s")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert len(page.requests) == 1
        assert page.requests[0].startswith("GET /readyz HTTP/1.1\r\n")
        assert re.search(rf"\r\nHost: \S+:{page.port}\r\n", page.requests[0])


def test_ready_after_a_while(binaries, figure):
    class Later(fakes.Fake):
        def _serve(self, sock):
            self.answer = READY if len(self.requests) >= 3 else NOT_READY
            super()._serve(sock)

    with Later(NOT_READY) as page:
        done = wait_for(binaries, page.port, env={"TUNNEL_MAX": "20s", "TUNNEL_SERVER": "https://localhost:1"})
        figure("took", f"{done.seconds:.2f} s for {len(page.requests)} questions")
        assert (done.returncode, done.stderr) == (0, "")
        assert len(page.requests) == 4


FAILURES = {
    "not ready": (NOT_READY, ["503", "connecting to the server"]),
    "no status page": (fakes.NOT_FOUND, ["404", "not found"]),
    "not HTTP": (b"SSH-2.0-x\r\n", ["no status page"]),
    "silence": (None, ["no answer in time"]),
    "more than it should say": (b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000000, ["--max"]),
}


@pytest.mark.parametrize("case", FAILURES)
def test_not_ready_in_time(case, binaries, figure):
    answer, words = FAILURES[case]
    with fakes.Fake(answer) as page:
        done = wait_for(binaries, page.port, "--max", "700ms")
        figure("exit code and time", f"{done.returncode} after {done.seconds:.2f} s")
        assert done.returncode == 1
        assert 0.6 < done.seconds < 10
        assert len(done.stderr.splitlines()) == 1
        for word in ["not ready within 700ms", f"127.0.0.1:{page.port}", *words]:
            assert word in done.stderr, done.stderr


def test_nothing_listens(binaries):
    port = wait.free_port()
    done = wait_for(binaries, port, "--max", "0", host="localhost")
    assert done.returncode == 1
    assert "nothing listens there" in done.stderr and f"localhost:{port}" in done.stderr and "--status" in done.stderr


def test_silence(binaries):
    """One question has two seconds, --max 0 or not."""
    with fakes.Fake(None) as page:
        done = wait_for(binaries, page.port, "--max", "0")
        assert done.returncode == 1 and 1.9 < done.seconds < 10
        assert "the program that listens there does not answer" in done.stderr, done.stderr


def test_the_client_comes_later(binaries):
    """Who is not there, or ends without an answer, is asked again."""
    class Later(fakes.Fake):
        gone = 0

        def _serve(self, sock):
            if self.gone < 2:
                self.gone += 1
                sock.close()
            else:
                super()._serve(sock)

    with Later(READY) as page:
        assert wait_for(binaries, page.port).returncode == 0
        assert page.gone == 2


def test_the_usual_place_is_nobodys_listener(binaries):
    """Nobody said where: neither the bootstrap listener (9092) nor one of the 1000 above it, which are the brokers'."""
    usage = process.run([binaries.client, "wait", "--help-all"], 10).stdout
    port = int(re.search(r"Default: 127\.0\.0\.1:(\d+)", usage)[1])
    assert not 9092 <= port <= 9092 + 1000, port


def test_where_there_is_no_port(binaries):
    done = process.run([binaries.client, "wait", "--status", "localhost"], 10, check=False)
    assert done.returncode == 2 and "--status localhost" in done.stderr, done.stderr
