"""Several instances behind a load balancer that sends each link somewhere else."""

import contextlib
import socket
import struct
import threading
import time

import pytest

from harness import faults, raw, tunnel, wait
from harness.live import Live, wait_progress

pytestmark = pytest.mark.tunnel
SECRET = "between-instances-only-7d1f"


@pytest.fixture
def instances(pair, peer, tmp_path):
    """start(count, kafka): that many instances that know each other, and a balancer in front."""
    balancers = []
    secret = tmp_path / "peers.secret"
    secret.write_text(SECRET + "\n")

    def start(count=2, kafka=None, files=None):
        ports = [wait.free_port() for _ in range(count)]
        servers = []
        for number, port in enumerate(ports):
            args = ["--peer-listen", f"127.0.0.1:{port}", "--peer-secret-file", (files or {}).get(number, secret)]
            for other in ports:
                args += ["--peers", f"127.0.0.1:{other}"]
            servers.append(pair.server(kafka=kafka, tcp={"raw": f"{peer.host}:{peer.port}"}, args=args, secrets=[SECRET]))
        balancers.append(faults.Proxy([("127.0.0.1", server.port) for server in servers]))
        return servers, balancers[-1]
    yield start
    for balancer in balancers:
        balancer.close()


def url(balancer):
    return f"https://localhost:{balancer.port}"


def test_resume_over_another_instance(instances, pair, figure):
    """Every second link comes to the instance without the session, and live connections go on."""
    servers, balancer = instances(3)
    client = pair.client(url(balancer), tcp={"raw": 0})
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        for number in range(7):
            word = b"word %d" % number
            sock.sendall(word)
            assert sock.recv(100) == word
            mark = client.mark()
            balancer.drop()
            client.wait_for("link_resumed", since=mark)
        sock.sendall(b"the end")
        assert sock.recv(100) == b"the end"
        sock.shutdown(1)
        assert raw.read_rest(sock) == b""
    assert not client.events("session_lost")
    forwarded = [len(server.events("link_forwarded")) for server in servers]
    assert sum(forwarded) == 5 and len(servers[0].events("session_up")) == 1
    figure("handed on", f"{forwarded} of 8 links by the three instances")


def test_bulk_over_another_instance(instances, pair, figure):
    """Megabytes both ways over a link that is handed on; links break on the way."""
    total = 48 << 20
    servers, balancer = instances()
    client = pair.client(url(balancer), tcp={"raw": 0})
    balancer.cut_after = 9_000_001
    raw.check_both(tunnel.port(client, "raw"), total)
    assert servers[1].events("link_forwarded")
    figure("links", f"{balancer.accepted}; memory {servers[0].rss_mib():.1f} and {servers[1].rss_mib():.1f} MiB")


def test_a_slow_reader_behind_another_instance_costs_no_memory(instances, pair):
    """What is handed on is bounded: the instance in between reads only while the next one takes it."""
    servers, balancer = instances()
    client = pair.client(url(balancer), tcp={"raw": 0})
    port = tunnel.port(client, "raw")
    with raw.connect(port, "stall") as stalled:
        mark = client.mark()
        balancer.drop()
        client.wait_for("link_resumed", since=mark)
        assert servers[1].events("link_forwarded")
        before = servers[1].rss_mib()
        stalled.settimeout(1)
        with pytest.raises(TimeoutError):
            while True:
                stalled.sendall(bytes(1 << 20))
        assert raw.echo_once(port) == b"ping"
        assert servers[1].rss_mib() < before + 16


def test_owner_is_gone(instances, pair):
    """The instance with the session dies: streams are reset at once, and new ones go over another."""
    servers, balancer = instances()
    client = pair.client(url(balancer), tcp={"raw": 0})
    port = tunnel.port(client, "raw")
    with raw.connect(port, "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        servers[0].kill()
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
    client.wait_for("session_lost")
    assert raw.echo_once(port) == b"ping"


def test_kafka_clients_live_through_drops_and_hand_overs(instances, pair, cluster, processes, figure):
    topic = cluster.create_topic(6)
    servers, balancer = instances(kafka=cluster.bootstrap)
    client = pair.client(url(balancer), kafka={"kafka": 0})
    live = Live(processes, f"localhost:{tunnel.port(client, 'kafka')}", topic)
    wait_progress(cluster, topic)
    for _ in range(6):
        mark = client.mark()
        balancer.drop()
        client.wait_for("link_resumed", since=mark)
        wait_progress(cluster, topic, 100)
    produced = live.finish(cluster)
    assert not client.events("session_lost") and not client.events("connection_reset")
    assert servers[1].events("link_forwarded")
    figure("records", f"{produced['records']}, none lost or doubled, over 7 links")
    cluster.delete_topic(topic)


def test_instance_with_another_secret_is_not_trusted(instances, pair, tmp_path):
    other = tmp_path / "other.secret"
    other.write_text("something-else\n")
    servers, balancer = instances(files={1: other})
    client = pair.client(url(balancer), tcp={"raw": 0})
    port = tunnel.port(client, "raw")
    with raw.connect(port, "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        balancer.drop()
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
    servers[0].wait_for("peer_untrusted")
    assert raw.echo_once(port) == b"ping"


@pytest.mark.slow
def test_strangers_at_the_peer_port(instances, pair):
    """Garbage, half a greeting, a wrong proof, many connections at once: the instance goes on."""
    servers, balancer = instances()
    client = pair.client(url(balancer), tcp={"raw": 0})
    port = int(servers[0].argv[servers[0].argv.index("--peer-listen") + 1].rsplit(":", 1)[1])
    descriptors = servers[0].descriptors()

    def talk(*parts):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            for part in parts:
                sock.sendall(part)
                if part is parts[0] and part.startswith(b"KTP1") and len(part) == 20:
                    assert len(sock.recv(16)) == 16
            try:
                assert sock.recv(100) == b""
            except ConnectionResetError:
                pass
    talk(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    talk(b"KTP1" + bytes(16), struct.pack(">H", 65535))
    talk(b"KTP1" + bytes(16), struct.pack(">H", 20) + bytes(20) + bytes(32))
    servers[0].wait_for("peer_untrusted")
    talk(b"KTP1" + bytes(3))
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
    wait.until(lambda: servers[0].descriptors() <= descriptors + 2, 20, "idle strangers to be sent away")
    for sock in idle:
        sock.close()


class Tricklers:
    """Connections that say something every now and then and never come to the point."""

    def __init__(self, port, count):
        self.socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._trickle, daemon=True)
        self.thread.start()

    def _trickle(self):
        for byte in b"KTP1" + bytes(16):
            for sock in self.socks:
                with contextlib.suppress(OSError):
                    sock.send(bytes([byte]))
            if self.stopped.wait(0.5):
                return

    def close(self):
        self.stopped.set()
        self.thread.join()
        for sock in self.socks:
            sock.close()


def peer_port(server):
    return int(server.argv[server.argv.index("--peer-listen") + 1].rsplit(":", 1)[1])


def test_slow_strangers_do_not_shut_other_instances_out(instances, pair):
    """More of them than there are places, each a byte now and then: a link is still handed on at once."""
    servers, balancer = instances()
    client = pair.client(url(balancer), tcp={"raw": 0})
    strangers = Tricklers(peer_port(servers[0]), 300)
    try:
        servers[0].wait_for("peers_crowded")
        with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
            sock.sendall(b"one")
            assert sock.recv(10) == b"one"
            mark = client.mark()
            balancer.drop()
            client.wait_for("link_resumed", since=mark)
            assert servers[1].events("link_forwarded") and not client.events("session_lost")
            sock.sendall(b"two")
            assert sock.recv(10) == b"two"
    finally:
        strangers.close()


@pytest.mark.slow
def test_a_stranger_has_five_seconds_in_all(instances, pair):
    """However it fills them: its next byte does not buy it more."""
    servers, _ = instances()
    with socket.create_connection(("127.0.0.1", peer_port(servers[0]))) as sock:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in b"KTP1" + bytes(15):
                sock.send(bytes([byte]))
                sock.settimeout(0.5)
                try:
                    if sock.recv(1) == b"":
                        break
                except TimeoutError:
                    pass
        assert 4.5 < time.monotonic() - began < 8
