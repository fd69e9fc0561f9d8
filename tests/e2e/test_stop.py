"""SIGTERM: what is under way comes to its end, nothing new begins, and clients go on elsewhere."""

import json
import signal
import socket
import ssl
import struct
import threading
import time
import urllib.error
import urllib.request

import pytest

from harness import faults, raw, tunnel, wait
from harness.live import Live, wait_progress

pytestmark = pytest.mark.tunnel


def status(pki, server, path):
    try:
        context = ssl.create_default_context(cafile=pki.ca)
        with urllib.request.urlopen(f"https://localhost:{server.port}{path}", context=context, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def test_another_instance_takes_over(pair, pki, peer, cluster, processes, figure):
    """Two instances behind a load balancer; the one with the link is told to stop while everything works."""
    topic = cluster.create_topic(6)
    targets = {"raw": f"{peer.host}:{peer.port}"}
    first, second = (pair.server(kafka=cluster.bootstrap, tcp=targets, drain=None) for _ in range(2))
    balancer = faults.Proxy([("127.0.0.1", first.port), ("127.0.0.1", second.port)])
    client = pair.client(f"https://localhost:{balancer.port}", kafka={"kafka": 0}, tcp={"raw": 0})
    live = Live(processes, f"localhost:{tunnel.port(client, 'kafka')}", topic)
    wait_progress(cluster, topic)
    assert first.events("session_up") and status(pki, first, "/readyz") == 200
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        first.popen.send_signal(signal.SIGTERM)
        told = time.monotonic()
        client.wait_for("server_going_away")
        second.wait_for("session_up")
        wait_progress(cluster, topic)
        # A raw connection ends when it likes, as long as it does so in time; until then its server is there, but not ready.
        assert (status(pki, first, "/readyz"), status(pki, first, "/healthz")) == (503, 200)
        assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
        sock.sendall(b"two")
        assert sock.recv(10) == b"two"
        assert first.alive()
        sock.shutdown(1)
        assert raw.read_rest(sock) == b""
    assert first.wait_exit() == 0
    took = time.monotonic() - told
    produced = live.finish(cluster)
    resets = client.events("connection_reset")
    assert not resets, resets
    assert not tunnel.cut_streams(first)
    warnings = [line for process in [live.producer, *live.consumers] for line in process.lines() if " WARN " in line]
    figure("clients", f"{produced['records']} records, none lost or doubled; {len(warnings)} warnings: {warnings[:2]}")
    figure("the first instance", f"stopped with code 0 after {took:.1f} s, as soon as its last connection had ended")
    balancer.close()
    cluster.delete_topic(topic)


def test_kafka_connections_end_between_requests(pair, cluster, processes, figure):
    """The only server stops and its successor comes later: no request is cut, so no client may doubt what was done."""
    topic = cluster.create_topic(6)
    server = pair.server(kafka=cluster.bootstrap, drain=None)
    client = pair.client(server, kafka={"kafka": 0}, args=["--connect-wait", "30"])
    live = Live(processes, f"localhost:{tunnel.port(client, 'kafka')}", topic)
    wait_progress(cluster, topic)
    told = time.monotonic()
    server.popen.send_signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    figure("stopped after", f"{time.monotonic() - told:.2f} s")
    assert not tunnel.cut_streams(server)
    pair.server(kafka=cluster.bootstrap, listen=f"127.0.0.1:{server.port}")
    wait_progress(cluster, topic)
    figure("records", live.finish(cluster)["records"])
    cluster.delete_topic(topic)


@pytest.mark.parametrize("who", ["server", "client"])
@pytest.mark.parametrize("how", ["bound", "second signal"])
def test_draining_is_bounded(who, how, pair, peer, figure):
    """A connection that never ends is cut, with a reset at both ends, and the program exits with 0."""
    drain = "1" if how == "bound" else None
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, drain=drain)
    client = pair.client(server, tcp={"raw": 0}, drain=drain)
    program = {"server": server, "client": client}[who]
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        told = time.monotonic()
        program.popen.send_signal(signal.SIGTERM)
        program.wait_for("stopping")
        if how == "second signal":
            sock.sendall(b"two")
            assert sock.recv(10) == b"two"
            program.popen.send_signal(signal.SIGINT)
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
    assert program.wait_exit() == 0
    took = time.monotonic() - told
    figure("stopped after", f"{took:.2f} s")
    if how == "bound":
        assert took >= 1


def test_client_delivers_what_is_under_way(pair, peer, cluster, processes):
    """No new connections; the old ones, an upload and an answer, come to their end; then it exits."""
    total = 64 << 20
    server = pair.server(kafka=cluster.bootstrap, tcp={"raw": f"{peer.host}:{peer.port}"})
    client = pair.client(server, kafka={"kafka": 0}, tcp={"raw": 0}, drain=None)
    topic = cluster.create_topic(3)
    live = Live(processes, f"localhost:{tunnel.port(client, 'kafka')}", topic)
    wait_progress(cluster, topic)
    port = tunnel.port(client, "raw")
    with raw.connect(port, "sink") as sock:
        half = threading.Event()

        def send():
            for n, chunk in enumerate(raw.chunks(total, "up")):
                if n == 100:
                    half.set()
                    client.wait_for("stopping")
                sock.sendall(chunk)
            sock.shutdown(1)
        sender = threading.Thread(target=send)
        sender.start()
        assert half.wait(30)
        client.popen.send_signal(signal.SIGTERM)
        sender.join(60)
        assert json.loads(raw.read_rest(sock)) == {"bytes": total, "sha256": raw.digest_of(total, "up")}
    assert client.wait_exit() == 0
    assert not wait.port_open("127.0.0.1", port)
    assert not client.events("connection_reset") and not tunnel.cut_streams(server)
    wait.until(lambda: server.events("audit_session"), 10, "the end of the session at the server")
    for worker in [live.producer, *live.consumers]:
        worker.kill()
    cluster.delete_topic(topic)


def test_last_connection_is_reset_while_draining(pair, peer):
    """The local program breaks off the last connection: a client that drains has nothing more to wait for, and exits."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"})
    client = pair.client(server, tcp={"raw": 0}, drain=None)
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        client.popen.send_signal(signal.SIGTERM)
        client.wait_for("stopping")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        told = time.monotonic()
    assert client.wait_exit() == 0
    assert time.monotonic() - told < 5


def test_nothing_to_drain(pair, peer):
    """Nobody is connected: both exit at once, whatever --drain-timeout says."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, drain=None)
    client = pair.client(server, tcp={"raw": 0}, drain=None)
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
    for program in (client, server):
        told = time.monotonic()
        program.stop()
        assert time.monotonic() - told < 5


# ---- --stop-delay


def ready(address, path="/readyz"):
    """The status of a page at --status."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def status_page(program):
    return program.wait_for("status_page")["listen"]


@pytest.mark.parametrize("who", ["server", "client"])
def test_serving_on_for_a_while(who, pair, peer):
    """An application that is told to stop at the same moment opens its last connections, and they come to their end."""
    delayed = ["--stop-delay", "60s", "--status", "127.0.0.1:0"]
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, args=delayed if who == "server" else [], drain=None)
    client = pair.client(server, tcp={"raw": 0}, args=delayed if who == "client" else [], drain=None)
    program = {"server": server, "client": client}[who]
    page, port = status_page(program), tunnel.port(client, "raw")
    wait.until(lambda: ready(page) == 200, 15, "/readyz is 200")
    program.popen.send_signal(signal.SIGTERM)
    program.wait_for("stop_delayed")
    assert (ready(page), ready(page, "/healthz"), ready(page, "/startupz")) == (503, 200, 200)
    if who == "server":
        assert (status(pair.pki, server, "/readyz"), status(pair.pki, server, "/healthz")) == (503, 200)
    late = pair.client(server, tcp={"raw": 0}) if who == "server" else client
    with raw.connect(tunnel.port(late, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        assert raw.echo_once(port) == b"ping"
        assert not client.events("server_going_away")
        # The delay ends, and draining begins: what there is comes to its end, and the program with it, long before the delay's.
        program.popen.send_signal(signal.SIGTERM)
        if who == "server":
            late.wait_for("server_going_away")
        sock.sendall(b"two")
        assert sock.recv(10) == b"two"
        sock.shutdown(1)
        assert raw.read_rest(sock) == b""
    assert program.wait_exit() == 0
    assert not tunnel.cut_streams(server) and not client.events("connection_reset")


@pytest.mark.parametrize("who", ["server", "client"])
def test_the_delay_is_over(who, pair, peer, figure):
    """With nobody connected too: it is for those who may still come. A third signal would cut."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, args=["--stop-delay", "1s"])
    client = pair.client(server, tcp={"raw": 0}, args=["--stop-delay", "1s"])
    program = {"server": server, "client": client}[who]
    told = time.monotonic()
    program.stop()
    took = time.monotonic() - told
    figure("stopped after", f"{took:.2f} s")
    assert took >= 1
    assert program.events("stop_delayed", delay_ms=1000)


def test_quit_does_not_wait(pair, peer):
    """Who asks for the end over HTTP knows that nobody needs the tunnel any more."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"})
    client = pair.client(server, tcp={"raw": 0}, args=["--stop-delay", "60s", "--status", "127.0.0.1:0", "--allow-quit"])
    with urllib.request.urlopen(urllib.request.Request(f"http://{status_page(client)}/quitquitquit", method="POST"), timeout=10) as answer:
        assert answer.status == 200
    assert client.wait_exit() == 0
    assert not client.events("stop_delayed")
