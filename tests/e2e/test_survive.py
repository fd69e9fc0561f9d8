"""Live connections outlive their link: whatever is done to it, streams go on byte for byte and Kafka clients see nothing."""

import datetime
import random
import signal
import statistics
import threading
import time

import pytest
from confluent_kafka import Consumer, KafkaException, Producer

from conftest import FULL, size
from harness import faults, raw, tunnel, wait
from harness.live import Live, java_consumer, wait_progress

pytestmark = pytest.mark.tunnel


@pytest.fixture
def proxy():
    made = []

    def make(*servers):
        made.append(faults.Proxy([("127.0.0.1", server.port) for server in servers]))
        return made[-1]
    yield make
    for one in made:
        one.close()


def url(proxy):
    return f"https://localhost:{proxy.port}"


def seconds(event):
    return datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()


class Echoes:
    """Raw connections that send and check what comes back, each at its own pace, until told to stop."""

    def __init__(self, port, count):
        self.stopping, self.failures, self.bytes = threading.Event(), [], 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._work, args=(port, n)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def _work(self, port, number):
        random_ = random.Random(number)
        total = 0
        try:
            with raw.connect(port, "echo", timeout=90) as sock:
                while not self.stopping.is_set():
                    data = random_.randbytes(random_.choice((1, 100, 5000, 60000)))
                    sock.sendall(data)
                    back = b""
                    while len(back) < len(data):
                        got = sock.recv(len(data) - len(back))
                        assert got, "end of file"
                        back += got
                    assert back == data, f"other bytes near offset {total}"
                    total += len(data)
                    time.sleep(random_.random() * 0.1)
                sock.shutdown(1)
                assert raw.read_rest(sock) == b""
        except (OSError, AssertionError) as failure:
            self.failures.append(f"connection {number} after {total} bytes: {failure!r}")
        with self.lock:
            self.bytes += total

    def finish(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(120)
        assert not self.failures, self.failures
        return self.bytes


def recovery_ms(client, drops):
    """From each drop to the next time that the client says that connections go on."""
    resumed = [seconds(e) for e in client.events("link_resumed")]
    times = []
    for at in drops:
        after = [t for t in resumed if t >= at - 0.001]
        assert after, "a link was dropped and did not come back"
        times.append(1000 * (after[0] - at))
    return times


@pytest.mark.timeout(900 if FULL else 300)
def test_streams_and_kafka_live_through_drops(pair, peer, cluster, proxy, processes, figure):
    """Raw streams, a producer and a consumer group; the link is dropped again and again."""
    period, rounds, count = (2, 150, 100) if FULL else (1, 8, 30)
    topic = cluster.create_topic(6)
    server = pair.server(kafka=cluster.bootstrap, tcp={"raw": f"{peer.host}:{peer.port}"})
    between = proxy(server)
    client = pair.client(url(between), kafka={"kafka": 0}, tcp={"raw": 0})
    bootstrap = f"localhost:{tunnel.port(client, 'kafka')}"
    live = Live(processes, bootstrap, topic, None, {"consumer": java_consumer(bootstrap, topic, deadline=period * rounds + 200)})
    wait_progress(cluster, topic)
    echoes = Echoes(tunnel.port(client, "raw"), count)
    before, drops = (client.rss_mib(), server.rss_mib()), []
    peak = list(before)
    for n in range(rounds):
        wait.until(between.count, 15, "a link")
        end = time.monotonic() + period
        drops.append(between.drop("fin" if n % 2 else "rst"))
        wait.until(lambda: time.monotonic() >= end, period + 5, "the next drop")
        peak = [max(peak[0], client.rss_mib()), max(peak[1], server.rss_mib())]
    wait_progress(cluster, topic)
    echoed = echoes.finish()
    produced = live.finish(cluster)
    assert len(client.events("link_lost")) >= rounds
    assert not client.events("session_lost") and not client.events("connection_reset")
    assert not tunnel.cut_streams(server)
    assert between.accepted <= rounds + 2, "a link was given up that nobody had dropped"
    times = sorted(recovery_ms(client, drops))
    figure("drops", f"{rounds}, one every {period} s; {count} raw connections, {echoed / 1e6:.0f} MB echoed; "
                    f"{produced['records']} records, none lost or doubled; 0 resets")
    figure("recovery", f"p50 {statistics.median(times):.0f} ms, p99 {times[int(len(times) * 0.99)]:.0f} ms from drop to resumed")
    figure("memory", f"client {before[0]:.1f} -> {peak[0]:.1f} MiB, server {before[1]:.1f} -> {peak[1]:.1f} MiB at the most")
    cluster.delete_topic(topic)


@pytest.mark.parametrize("fault", ["cut within frames", pytest.param("half-open", marks=pytest.mark.slow), "late"])
def test_bulk_through_faults(fault, pair, peer, proxy, figure):
    """Megabytes both ways at once while links break in the worst places."""
    total = size("KAFKA_TUNNEL_FAULTS_MIB", 24, 400) << 20
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"})
    between = proxy(server)
    if fault == "late":
        between.delay = 0.02
    client = pair.client(url(between), tcp={"raw": 0})
    if fault == "cut within frames":
        between.cut_after = 1_234_567
    stalled = None

    def disturb():
        """Once the link is busy it goes silent, or away."""
        nonlocal stalled
        if fault == "cut within frames":
            return
        wait.until(lambda: between.bytes > total // 4, 60, "bytes on the link")
        if fault == "half-open":
            between.stall()
            stalled = time.time()
        else:
            between.drop()
    raw.check_both(tunnel.port(client, "raw"), total, disturb)
    lost = client.events("link_lost")
    assert lost and not client.events("session_lost")
    if fault == "half-open":
        noticed = seconds(lost[0]) - stalled
        assert noticed <= 12, "the bound is 10 s with data outstanding"
        figure("noticed after", f"{noticed:.1f} s")
    figure("links", f"{between.accepted} for {total >> 20} MiB each way")


@pytest.mark.slow
def test_half_open_idle_link_is_noticed(pair, peer, proxy, figure):
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, args=["--ping-interval", "2"])
    between = proxy(server)
    client = pair.client(url(between), tcp={"raw": 0}, args=["--ping-interval", "2"])
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        between.stall()
        stalled = time.time()
        lost = client.wait_for("link_lost", deadline=30)
        client.wait_for("link_resumed")
        sock.sendall(b"two")
        assert sock.recv(10) == b"two"
    figure("noticed after", f"{seconds(lost) - stalled:.1f} s with a ping every 2 s")


@pytest.mark.timeout(900 if FULL else 300)
def test_pings_keep_an_idle_link_from_being_cut(pair, peer, proxy, figure):
    """An ingress that cuts what is idle for 3 s; pings every second."""
    duration = 600 if FULL else 7
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, args=["--ping-interval", "1"])
    between = proxy(server)
    client = pair.client(url(between), tcp={"raw": 0}, args=["--ping-interval", "1"])
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        between.idle_cut = 3
        first, started = between.bytes, time.monotonic()
        cpu = client.cpu_seconds(), server.cpu_seconds()
        wait.until(lambda: time.monotonic() - started >= duration, duration + 10, "time to pass", 0.5)
        took = time.monotonic() - started
        used = client.cpu_seconds() - cpu[0], server.cpu_seconds() - cpu[1]
        assert between.idle_cuts == 0 and not client.events("link_lost")
        sock.sendall(b"two")
        assert sock.recv(10) == b"two"
    figure("idle", f"{took:.0f} s, 0 drops, {60 * (between.bytes - first) / took:.0f} bytes a minute with a ping every second, "
                   f"CPU {100 * used[0] / took:.2f} % client, {100 * used[1] / took:.2f} % server")


def test_link_that_is_idle_for_too_long_is_made_anew(pair, peer, proxy):
    """Pings that are too rare for the ingress: the link is cut, and nothing is lost."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, args=["--ping-interval", "60"])
    between = proxy(server)
    client = pair.client(url(between), tcp={"raw": 0}, args=["--ping-interval", "60"])
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        for word in (b"one", b"two"):
            sock.sendall(word)
            assert sock.recv(10) == word
            between.idle_cut = 0.5
            client.wait_for("link_resumed", since=client.mark())


@pytest.mark.slow
def test_requests_to_open_are_not_lost(pair, peer, proxy):
    """Connections that are opened just when the link is lost: each is there when it is back, once."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"})
    between = proxy(server)
    client = pair.client(url(between), tcp={"raw": 0})
    port = tunnel.port(client, "raw")
    for number in range(12):
        mark = client.mark()
        if number % 2:
            between.stall()
        with raw.connect(port, "echo") as sock:
            sock.sendall(b"%d" % number)
            between.drop()
            assert sock.recv(10) == b"%d" % number
        client.wait_for("link_resumed", since=mark)
    assert not client.events("session_lost") and not client.events("connection_reset")


@pytest.mark.slow
def test_stale_link_that_comes_back(pair, peer, proxy):
    """What was on its way on the old link arrives when a newer one carries the session: it is not listened to."""
    args = ["--ping-interval", "1"]
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, args=args)
    between = proxy(server)
    client = pair.client(url(between), tcp={"raw": 0}, args=args)
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        between.stall()
        sock.sendall(b"two")
        client.wait_for("link_resumed", deadline=30)
        assert sock.recv(10) == b"two"
        between.wake()
        wait.until(lambda: between.count() == 1, 20, "the end of the stale link")
        sock.sendall(b"three")
        assert sock.recv(10) == b"three"
    assert len(client.events("link_lost")) == 1 and not client.events("session_lost")
    assert not server.events("protocol_error")


@pytest.mark.parametrize("end", ["client", "server"])
def test_something_between_writes_into_the_link(end, pair, peer, proxy):
    """As proxies do that say in HTTP why they give up: the link is not used any more, and connections do not notice."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
    between = proxy(server)
    client = pair.client(f"http://localhost:{between.port}", tcp={"raw": 0})
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        between.inject(end, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        client.wait_for("link_resumed")
        sock.sendall(b"two")
        assert sock.recv(10) == b"two"
    lost = client.wait_for("link_lost") if end == "client" else server.wait_for("protocol_error")
    assert "reserved bit" in lost["reason"], lost


def test_too_late_to_resume(pair, peer, proxy):
    """No link for longer than --resume-window: reset at both ends, with the reason in both logs; then a new session."""
    args = ["--resume-window", "1"]
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, args=args)
    between = proxy(server)
    client = pair.client(url(between), tcp={"raw": 0}, args=args)
    port = tunnel.port(client, "raw")
    with raw.connect(port, "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        targets, between.targets = between.targets, []
        between.drop()
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
        assert "longer than the server keeps" in client.wait_for("session_lost")["reason"]
        assert "did not come back" in server.wait_for("audit_session", end="session_lost")["reason"]
        assert "did not come back" in server.wait_for("audit_stream", end="session_lost")["reason"]
        between.targets = targets
    wait.until(lambda: len(client.events("link_up")) == 2, 30, "a new session")
    assert raw.echo_once(port) == b"ping"


def test_server_is_killed(pair, peer, proxy, cluster, processes, figure):
    """SIGKILL: what the server knew is gone. Streams are reset, new connections work, Kafka clients lose nothing."""
    topic = cluster.create_topic(6)
    targets = {"raw": f"{peer.host}:{peer.port}"}
    server = pair.server(kafka=cluster.bootstrap, tcp=targets)
    client = pair.client(server, kafka={"kafka": 0}, tcp={"raw": 0})
    live = Live(processes, f"localhost:{tunnel.port(client, 'kafka')}", topic)
    wait_progress(cluster, topic)
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        server.kill()
        killed = time.time()
        pair.server(kafka=cluster.bootstrap, tcp=targets, listen=f"127.0.0.1:{server.port}")
        up = time.time()
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
        reset = time.time()
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
    works = time.time()
    client.wait_for("session_lost")
    wait_progress(cluster, topic)
    figure("records", live.finish(cluster)["records"])
    figure("times", f"a new server after {up - killed:.2f} s; streams reset {reset - up:.2f} s, a new connection works "
                    f"{works - up:.2f} s after that")
    cluster.delete_topic(topic)


@pytest.mark.slow
def test_wake_from_sleep(pair, peer, proxy, figure):
    """A laptop that slept while its link died: found out at once, not after the usual bound."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"})
    between = proxy(server)
    client = pair.client(url(between), tcp={"raw": 0})
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        client.popen.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        between.stall()
        wait.until(lambda: time.monotonic() - stopped > 7, 15, "the end of the sleep", 0.1)
        client.popen.send_signal(signal.SIGCONT)
        woken = time.time()
        client.wait_for("woke_up")
        resumed = client.wait_for("link_resumed", deadline=30)
        sock.sendall(b"two")
        assert sock.recv(10) == b"two"
    assert seconds(resumed) - woken < 5, "the usual bound is 10 s after the next ping, 20 s away"
    figure("resumed", f"{seconds(resumed) - woken:.1f} s after waking up")


def transact(bootstrap, topic, stopping, committed, failures):
    """Transactions of ten records, every third one aborted; what was committed is noted."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"t-{topic}", "log_level": 0,
                         "transaction.timeout.ms": 60000})
    try:
        producer.init_transactions(60)
        number = 0
        while not stopping.is_set():
            values = [f"{number}-{n}" for n in range(10)]
            producer.begin_transaction()
            for value in values:
                producer.produce(topic, value.encode())
            producer.flush(60)
            if number % 3 == 2:
                producer.abort_transaction(60)
            else:
                producer.commit_transaction(60)
                committed.extend(values)
            number += 1
    except KafkaException as failure:
        failures.append(failure)


def test_transactions_live_through_drops_and_a_dead_broker(pair, cluster, proxy, figure):
    """Exactly once stays exactly once: while links are dropped, and while a broker is killed as well."""
    topic = cluster.create_topic(3)
    server = pair.server(kafka=cluster.bootstrap)
    between = proxy(server)
    client = pair.client(url(between), kafka={"kafka": 0})
    bootstrap = f"localhost:{tunnel.port(client, 'kafka')}"
    stopping, committed, failures = threading.Event(), [], []
    worker = threading.Thread(target=transact, args=(bootstrap, topic, stopping, committed, failures))
    worker.start()

    def progress(records=60):
        goal = len(committed) + records
        wait.until(lambda: failures or len(committed) >= goal, 90, f"{records} more committed records")
        assert not failures, failures
    try:
        for _ in range(5):
            progress()
            mark = client.mark()
            between.drop()
            client.wait_for("link_resumed", since=mark)
        broker = cluster.broker(1)
        broker.stop(hard=True)
        try:
            between.drop()
            progress()
        finally:
            broker.start()
            cluster.wait_ready()
        progress()
    finally:
        stopping.set()
        worker.join(120)
    assert not worker.is_alive() and not failures, failures
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"g-{topic}", "auto.offset.reset": "earliest",
                         "isolation.level": "read_committed", "log_level": 0})
    consumer.subscribe([topic])
    got = []

    def all_there():
        message = consumer.poll(0.5)
        while message is not None and not message.error():
            got.append(message.value().decode())
            message = consumer.poll(0)
        return len(got) >= len(committed)
    wait.until(all_there, 60, lambda: f"{len(got)} of {len(committed)} committed records", 0)
    consumer.close()
    assert sorted(got) == sorted(committed)
    assert not client.events("session_lost")
    figure("records", f"{len(got)} committed, none lost or doubled, none of an aborted transaction; {between.accepted} links, 1 broker killed")
    cluster.delete_topic(topic)
