"""The pair behind real ingresses: nginx, HAProxy, Apache, Caddy and Envoy, set up as docs/ingress.md says."""

import contextlib
import ssl
import urllib.request

import pytest

from harness import doors, process, raw, tunnel, wait

pytestmark = [pytest.mark.tunnel, pytest.mark.doors]
MIB = 1 << 20


@pytest.fixture(params=doors.ALL)
def door(request, processes, tmp_path, pki):
    """door(servers, change): that ingress before these servers."""
    made = []

    def start(*servers, change=lambda text: text):
        made.append(doors.ALL[request.param](processes, tmp_path, pki, [s.port for s in servers], change))
        return made[-1]
    start.kind = doors.ALL[request.param]
    yield start
    for one in made:
        with contextlib.suppress(AssertionError):
            one.stop()


@pytest.fixture
def server(pair, peer):
    return pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=["--path", "/kafka"])


def start_client(pair, entrance, args=(), **kw):
    return pair.client(f"https://localhost:{entrance.port}/kafka", tcp={"raw": 0}, args=args, **kw)


def comes_back(client, count):
    wait.until(lambda: len(client.events("link_resumed")) >= count, 30, f"the client to come back: {client.tail(5)}", 0.05)


def test_100_mb_while_it_is_started_again(door, pair, server):
    """Both ways, with a path of its own; every byte is at its place, and no connection notices that the ingress was gone twice."""
    entrance = door(server)
    client = start_client(pair, entrance)

    def restart():
        for count in (1, 2):
            entrance.restart()
            comes_back(client, count)
    raw.check_both(tunnel.port(client, "raw"), 50 * MIB)
    raw.check_both(tunnel.port(client, "raw"), 50 * MIB, during=restart)
    assert not client.events("session_lost") and not client.events("connection_reset")


@pytest.mark.slow
def test_idle(door, pair, server):
    """Pings are traffic to it: a link that is idle for longer than its limit stays. Without them it is cut, and nobody notices."""
    if not door.kind.idle:
        pytest.skip(f"{door.kind.name} does not cut what is idle")
    entrance = door(server, change=lambda text: doors.replaced(text, *door.kind.idle))
    client = start_client(pair, entrance, ["--ping-interval", "1s"])
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        with pytest.raises(AssertionError):
            client.wait_for("link_lost", deadline=7)
    client.stop()
    client = start_client(pair, entrance, ["--ping-interval", "60s"])
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        comes_back(client, 1)
        sock.sendall(b"two")
        assert sock.recv(10) == b"two"


def test_it_does_not_pass_on_the_upgrade(door, pair, server):
    """Without the setting that the document has for that; the client says what is wrong, and where."""
    entrance = door(server, change=lambda text: doors.replaced(text, *door.kind.deaf))
    failed = start_client(pair, entrance, ready=False).wait_for("dial_failed")
    assert failed["hop"] == "upgrade", failed
    if entrance.name == "envoy":  # it refuses what it would have to take out
        assert failed["status"] == 403 and "does not pass WebSockets on; set upgrade_configs" in failed["reason"], failed
        return
    assert "arrived without its Upgrade header, which something in between has removed" in failed["reason"], failed


def test_http2_beside_it(door, pair, server, pki):
    """Browsers get HTTP/2 at the same port, where the ingress has it, and the tunnel its HTTP/1.1."""
    entrance = door(server)
    client = start_client(pair, entrance)
    done = process.run(["curl", "-s", "--max-time", "20", "--cacert", pki.ca, "--http2", "-o", "/dev/null", "-w", "%{http_version}",
                        f"https://localhost:{entrance.port}/readyz"], 30)
    assert done.stdout == ("2" if door.kind.http2 else "1.1")
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"


def test_large_tokens(door, pair, peer, tmp_path):
    """One of 6 KB passes everywhere. Where one of 11 KB does not, the client says what is wrong."""
    large, larger, both = (tmp_path / name for name in ("large", "larger", "both"))
    large.write_text("t" * 6000, encoding="ascii")
    larger.write_text("u" * 11_000, encoding="ascii")
    both.write_text(f"{large.read_text(encoding='ascii')}\n{larger.read_text(encoding='ascii')}\n", encoding="ascii")
    behind = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=["--path", "/kafka", "--token-file", both])
    entrance = door(behind)
    client = start_client(pair, entrance, ["--token-file", large])
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
    client.stop()
    client = start_client(pair, entrance, ["--token-file", larger], ready=not door.kind.header_of_8_kib)
    if not door.kind.header_of_8_kib:
        assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
        return
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "http" and "headers, with the token, are too large" in failed["reason"], failed


def take_turn(entrance, pki):
    """Somebody else's request, so that who comes next gets the other instance."""
    context = ssl.create_default_context(cafile=str(pki.ca))
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"https://localhost:{entrance.port}/readyz", context=context, timeout=5).read()


def test_two_instances_without_stickiness(door, pair, peer, pki, tmp_path):
    """A link that comes to the other instance is handed on, and the session goes on."""
    secret = tmp_path / "secret"
    secret.write_text("a-secret-between-two-instances-0123456789\n", encoding="ascii")
    ports = [wait.free_port() for _ in range(2)]
    servers = [pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=[
        "--path", "/kafka", *(f"--peers=127.0.0.1:{other}" for other in ports), f"--peer-listen=127.0.0.1:{port}",
        f"--peer-secret-file={secret}"]) for port in ports]
    entrance = door(*servers)
    client = start_client(pair, entrance)
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        for count in range(1, 31):  # some ingresses choose at random, or with whom to begin
            entrance.restart()
            take_turn(entrance, pki)
            comes_back(client, count)
            sock.sendall(b"%d" % count)
            assert sock.recv(10) == b"%d" % count
            if any(server.events("link_forwarded") for server in servers):
                break
        else:
            raise AssertionError("no link came to the other instance")
    assert not client.events("session_lost")
