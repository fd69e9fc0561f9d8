"""Bootstrap brokers that take connections and do not answer, as one that is stopped does: clients are served by the others.

Direct clients go on to the next broker by themselves; through the tunnel there is one bootstrap address, so that is the server's to do.
"""

import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from harness import fakes, process, tunnel, wait, wire
from harness.pages import Pages

pytestmark = pytest.mark.tunnel
# What a Kafka client waits for, and more than any of these tests needs.
PATIENCE = 30


def ready(server):
    """What strangers are told."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz", timeout=10) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


@pytest.fixture
def silent():
    with fakes.Silent() as one:
        yield one


@pytest.fixture
def live():
    """Two brokers that answer."""
    with fakes.Broker() as one, fakes.Broker() as other:
        one.brokers = other.brokers = [one.node(1), other.node(2)]
        yield one, other


@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_of_three_hangs(position, pair, silent, live, figure):
    """Whichever it is, new clients are served; nothing of theirs goes to the one that hangs, and everybody is told which it is."""
    addresses = [one.address for one in live]
    addresses.insert(position, silent.address)
    server = pair.server(kafka=",".join(addresses), tls=None, args=["--connect-timeout", "2s", "--status", "127.0.0.1:0"])
    client = pair.client(server, kafka={"kafka": 0})
    slowest = 0
    for _ in range(5):
        started = time.monotonic()
        assert set(wire.ask_metadata(tunnel.port(client, "kafka"), timeout=PATIENCE)) == {1, 2}
        slowest = max(slowest, time.monotonic() - started)
    figure("slowest answer", f"{slowest * 1000:.0f} ms")
    hangs = server.wait_for("broker_hangs", 20)
    assert (hangs["cluster"], hangs["address"], hangs["level"]) == ("kafka", silent.address, "warning"), hangs
    assert not any(b"test" in data for data in silent.received), silent.received

    pages = Pages(server)
    wait.until(lambda: pages.status("/readyz") == 200, 20, "readiness: two of three answer")
    code, _, text = pages.ask("/readyz")
    text = text.decode()
    assert code == 200 and f"kafka: {silent.address} is hanging: " in text and "ApiVersions" in text, text
    code, text = ready(server)
    assert code == 200 and f"kafka: bootstrap broker {position + 1} of 3 is hanging\n" in text, text
    assert silent.address not in text and live[0].address not in text
    bootstrap = pages.json()["clusters"][0]["bootstrap"]
    assert [one["address"] for one in bootstrap] == addresses
    assert [one["state"] for one in bootstrap] == ["hanging" if a == silent.address else "up" for a in addresses], bootstrap
    assert bootstrap[position]["failures"] >= 1 and "hangs" in bootstrap[position]["reason"], bootstrap
    metrics = pages.ask("/metrics")[2].decode()
    states = dict(re.findall(r'kafka_tunnel_bootstrap_broker\{broker="kafka/([^"]+)",state="([^"]+)"\} 1', metrics))
    assert states == {a: "hanging" if a == silent.address else "up" for a in addresses}, metrics


@pytest.mark.slow
def test_it_hangs_after_it_has_answered(pair, live):
    """The one that all clients were led to stops: the next client goes to another, and comes to no harm when it is back."""
    frozen, thawed = threading.Event(), threading.Event()

    class Freezing(fakes.Broker):
        def _answer(self, request):
            if frozen.is_set():
                thawed.wait()
            return super()._answer(request)
    with Freezing() as first:
        first.brokers = [one.node(n) for n, one in enumerate([first, *live])]
        server = pair.server(kafka=",".join(one.address for one in (first, *live)), tls=None, args=["--connect-timeout", "2s"])
        client = pair.client(server, kafka={"kafka": 0})
        assert set(wire.ask_metadata(tunnel.port(client, "kafka"))) == {0, 1, 2}
        assert "test" in first.client_ids
        frozen.set()
        try:
            for _ in range(3):
                assert set(wire.ask_metadata(tunnel.port(client, "kafka"), timeout=PATIENCE)) == {1, 2}
            assert server.wait_for("broker_hangs", 20)["address"] == first.address
        finally:
            frozen.clear()
            thawed.set()
        back = server.wait_for("broker_back", 30)
        assert (back["cluster"], back["address"], back["was"]) == ("kafka", first.address, "hanging"), back


def test_all_hang(pair, silent):
    """Refused in time, with the addresses; readiness says no."""
    with fakes.Silent() as other:
        server = pair.server(kafka=f"{silent.address},{other.address}", tls=None, args=["--connect-timeout", "1s"])
        client = pair.client(server, kafka={"kafka": 0})
        with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", tunnel.port(client, "kafka")), PATIENCE) as sock:
            sock.sendall(wire.metadata_request())
            sock.recv(1)
        reason = server.wait_for("stream_refused")["reason"]
        assert silent.address in reason and other.address in reason and "hangs" in reason, reason
        assert "hangs" in server.wait_for("cluster_unreachable", 20)["reason"]
        assert ready(server)[0] == 503


def test_a_name_for_several_brokers(pair, silent):
    """A headless service: one name, and the address that is tried first hangs."""
    with fakes.Silent("::1") as hanging:
        try:
            broker = fakes.Broker(host="127.0.0.1", port=hanging.port)
        except OSError:
            pytest.skip("the port is taken on 127.0.0.1")
        with broker:
            broker.brokers = [broker.node(1)]
            server = pair.server(kafka=f"localhost:{hanging.port}", tls=None)
            client = pair.client(server, kafka={"kafka": 0})
            assert set(wire.ask_metadata(tunnel.port(client, "kafka"), timeout=PATIENCE)) == {1}


def test_a_node_is_asked_for_while_a_bootstrap_broker_hangs(pair, silent, live):
    """After a restart of the server it has to ask for nodes itself: the ones that answer."""
    server = pair.server(kafka=live[0].address, tls=None)
    client = pair.client(server, kafka={"kafka": 0})
    wire.ask_metadata(tunnel.port(client, "kafka"))
    port, mark = tunnel.port(client, "kafka/2"), client.mark()
    server.stop()
    server = pair.server(kafka=f"{silent.address},{live[0].address}", tls=None, listen=f"127.0.0.1:{server.port}")
    client.wait_for("link_up", 30, since=mark)
    assert set(wire.ask_metadata(port, timeout=PATIENCE)) == {1, 2}


def test_the_doctor_names_the_broker_that_hangs(pair, silent, live):
    """As the only bootstrap broker, and as a node."""
    live[0].brokers = [live[0].node(1), (2, silent.host, silent.port)]
    for kafka, sentence in ((silent.address, f"cluster kafka: {silent.address}: the broker hangs"),
                            (live[0].address, f"broker 2 of kafka: {silent.address}: the broker hangs")):
        server = pair.server(kafka=kafka, tls=None, args=["--connect-timeout", "2s"])
        done = process.run([pair.binaries.client, "doctor", "--server", f"http://localhost:{server.port}", "--kafka", "0"], 60,
                           check=False)
        assert done.returncode == 20 and sentence in done.stdout, done.stdout + done.stderr
        assert done.seconds < 15, "that is what it takes without being told"


def test_brokers_without_the_question(pair, silent):
    """--no-check-brokers: whoever takes the connection is a broker, as before Kafka 0.10."""
    server = pair.server(kafka=silent.address, tls=None, args=["--no-check-brokers"])
    client = pair.client(server, kafka={"kafka": 0})
    server.wait_for("cluster_reachable")
    with socket.create_connection(("127.0.0.1", tunnel.port(client, "kafka")), PATIENCE) as sock:
        sock.sendall(wire.metadata_request())
        wait.until(lambda: wire.metadata_request() in silent.received, 10, "the client's request, and nothing before it")


@pytest.mark.kafka
def test_a_real_broker_is_stopped(pair, cluster, figure):
    """SIGSTOP of the first of three: new clients of librdkafka list the cluster all the same."""
    broker = cluster.broker(1)
    others = [b for b in cluster.brokers if b is not broker]
    server = pair.server(kafka=",".join([broker.address, *(b.address for b in others)]))
    client = pair.client(server, kafka={"kafka": 0})
    bootstrap = f"localhost:{tunnel.port(client, 'kafka')}"
    assert "3 brokers" in process.run(["kcat", "-b", bootstrap, "-L", "-m", "20"], 60).stdout
    broker.process.popen.send_signal(signal.SIGSTOP)
    try:
        for _ in range(3):
            done = process.run(["kcat", "-b", bootstrap, "-L", "-m", str(PATIENCE)], 60)
            assert " brokers" in done.stdout
            figure("listed in", f"{done.seconds:.2f} s")
        assert server.wait_for("broker_hangs", 30)["address"] == broker.address
    finally:
        broker.process.popen.send_signal(signal.SIGCONT)
    server.wait_for("broker_back", 40)
    cluster.wait_ready()
