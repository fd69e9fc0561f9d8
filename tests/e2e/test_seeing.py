"""What the programs show of themselves: status pages, figures, probes, audit lines; and to whom they do not show it."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from harness import cache, fakes, faults, raw, tunnel, wait, wire
from harness.pages import Metrics, Pages

pytestmark = pytest.mark.tunnel

STATUS = ["--status", "127.0.0.1:0"]


class Pair:
    def __init__(self, server, client, between=None):
        self.server, self.client, self.between = server, client, between
        self.at_server, self.at_client = Pages(server), Pages(client)


@pytest.fixture
def broker():
    with fakes.Broker() as one:
        one.brokers = [one.node(1), one.node(2)]
        yield one


@pytest.fixture
def both(pair, peer, broker):
    """both(server=[...], client=[...], proxy=True): a running pair with status pages, a fake broker and a raw target."""
    proxies = []

    def make(server=(), client=(), proxy=False):
        one = pair.server(kafka=broker.address, tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=[*STATUS, *server])
        if proxy:
            proxies.append(faults.Proxy([("127.0.0.1", one.port)]))
        url = f"http://localhost:{proxies[-1].port}" if proxy else one
        other = pair.client(url, kafka={"kafka": 0}, tcp={"raw": 0}, args=[*STATUS, *client])
        return Pair(one, other, proxies[-1] if proxy else None)
    yield make
    for one in proxies:
        one.close()


# -- the pages -------------------------------------------------------------------------------------------------------


def test_every_page_answers(both):
    """Each path at both ends, its type, and the headers that keep a browser from doing more with it."""
    two = both()
    wait.until(lambda: two.at_server.status("/readyz") == 200, 15, "a broker that is reachable")
    types = {"/": "text/html", "/status.js": "text/javascript", "/page.js": "text/javascript", "/status.css": "text/css",
             "/status.json": "application/json", "/history.json": "application/json",
             "/metrics": "text/plain", "/healthz": "text/plain", "/readyz": "text/plain", "/startupz": "text/plain"}
    for path, wanted in types.items():
        for pages in (two.at_client, two.at_server):
            status, headers, body = pages.ask(path)
            assert status == 200 and body, path
            assert headers["Content-Type"].startswith(wanted)
            assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert not [name for name in headers if name.lower().startswith("access-control-")]
    for pages in (two.at_client, two.at_server):
        assert pages.status("/nothing") == 404 and pages.status("/../etc/passwd") == 404
        assert pages.status("/status.json?since=1") == 200
    # The tunnel's own port has its health pages as before, and nothing of this.
    connection = socket.create_connection(("127.0.0.1", two.server.port))
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b" 404 " in raw.read_rest(connection)


METHODS = {
    # path: what it has; nothing: there is no such page
    "/healthz": "GET, HEAD", "/readyz": "GET, HEAD", "/status.json": "GET, HEAD", "/history.json": "GET, HEAD", "/metrics": "GET, HEAD", "/": "GET, HEAD",
    "/quitquitquit": "POST", "/nothing": ""}


def test_methods(both):
    """HEAD is GET without its body; what a page does not have gets 405 and Allow, what HTTP does not have 501."""
    two = both()
    wait.until(lambda: two.at_server.status("/readyz") == 200, 15, "a broker that is reachable")
    for pages in (two.at_client, two.at_server):
        for path, allowed in METHODS.items():
            if pages is two.at_server and allowed == "POST":
                allowed = ""
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
                status, headers, _ = pages.ask(path, method=method, body=b"" if method in ("POST", "PUT", "PATCH") else None)
                # 403: quitting is off
                wanted = [404] if not allowed else [200, 403] if method in allowed.split(", ") else [405]
                assert status in wanted, (path, method, status)
                assert headers.get("Allow") == (allowed if status == 405 else None), (path, method, headers)
        assert pages.status("/healthz", method="BREW") == 501
        answer = raw_answer(pages, b"HEAD /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n") and b"Content-Length: 3\r\n" in answer, answer
        assert raw_answer(pages, b"GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n").endswith(b"\r\n\r\nok\n")
    assert two.client.alive() and two.server.alive()


def raw_answer(pages, request):
    with socket.create_connection((pages.host, pages.port), timeout=20) as sock:
        sock.sendall(request.replace(b"HOST", f"{pages.host}:{pages.port}".encode()))
        return raw.read_rest(sock)


def test_off_by_default(pair, peer):
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
    client = pair.client(server, tcp={"raw": 0})
    assert not server.events("status_page") and not client.events("status_page")


REFUSED = {
    "another name": {"host": "evil.example:{port}"},
    "a name that begins like ours": {"host": "localhost.evil.example:{port}"},
    "another port": {"host": "127.0.0.1:1"},
    "no port": {"host": "localhost"},
    "an address that is not loopback": {"host": "192.0.2.1:{port}"},
    "something else after the port": {"host": "127.0.0.1:{port}@evil.example"},
    "another origin": {"headers": {"Origin": "http://evil.example"}},
    "the null origin": {"headers": {"Origin": "null"}},
    "another port's origin": {"headers": {"Origin": "http://127.0.0.1:1"}},
    "another scheme": {"headers": {"Origin": "https://127.0.0.1:{port}"}},
    "a page of another site": {"headers": {"Sec-Fetch-Site": "cross-site"}},
    "a page of another port": {"headers": {"Sec-Fetch-Site": "same-site"}},
}


def test_history(both):
    """Both programs remember what was carried before anybody looked; a sample a second, and sums that are right."""
    two = both()
    with raw.connect(tunnel.port(two.client, "raw"), "echo") as sock:
        sock.sendall(b"h" * 50_000)
        got = 0
        while got < 50_000:
            got += len(sock.recv(50_000 - got)) or pytest.fail("the echo ended")
        fields = {two.at_client: ["bytes_up", "bytes_down", "rtt_us", "streams", "waiting", "links"],
                  two.at_server: ["bytes_up", "bytes_down", "sessions", "streams", "refused"]}
        for pages, names in fields.items():
            def carried():
                history = json.loads(pages.ask("/history.json")[2])
                assert history["fields"] == names and history["period_ms"] == 1000
                samples = [s for s in history["samples"] if s]
                total = pages.json()["totals"]
                up = sum(s[0] for s in samples)
                return up == total["bytes_up"] >= 50_000 and samples[-1][names.index("streams")] == 1 and len(samples) <= 600
            wait.until(carried, 20, "the bytes in the history", 0.2)
        at_client = json.loads(two.at_client.ask("/history.json")[2])["samples"][-1]
        assert at_client[5] == 1 and at_client[2] > 0, "one link, with its round trip"


def test_waiting_connections_and_the_next_try(binaries, processes):
    """Counted as what they are, at their listener; when the next dial comes is told, and why the last one failed, in full."""
    client = processes.start([binaries.client, "--server", f"https://localhost:{wait.free_port()}", "--kafka", "0", "--tcp", "raw=0",
                              "--connect-wait", "60s", "--status", "127.0.0.1:0", "--log-format", "json"], "client")
    pages = Pages(client)
    with socket.create_connection(("127.0.0.1", tunnel.port(client, "raw"))), socket.create_connection(("127.0.0.1", tunnel.port(client, "raw"))):
        wait.until(lambda: pages.json()["waiting"] == 2, 10, "two that wait")
        listeners = {l["name"]: (l["connections"], l["waiting"]) for l in pages.json()["listeners"]}
        assert listeners == {"kafka": (0, 0), "raw": (0, 2)}
        seen = wait.until(lambda: (link := pages.json()["link"])["state"] == "waiting" and link["retry_ms"] > 0 and link, 15, "a pause", 0.02)
        assert 0 < seen["retry_ms"] <= 60_000
        event = wait.until(lambda: next((e for e in pages.json()["events"] if e["event"] == "dial_failed"), None), 10, "a failed dial")
        assert event["reason"].endswith("set --proxy"), event


def test_who_waited_in_vain_is_counted(binaries, processes, both):
    client = processes.start([binaries.client, "--server", f"https://localhost:{wait.free_port()}", "--kafka", "0", "--connect-wait", "1s",
                              "--status", "127.0.0.1:0", "--log-format", "json"], "client")
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", tunnel.port(client, "kafka")), 20) as sock:
        sock.recv(1)
    assert Pages(client).metrics().sum("listener_refusals_total", reason="no_link") == 1
    two = both(client=["--max-streams", "1"])
    port = tunnel.port(two.client, "raw")
    with raw.connect(port, "echo") as one:
        one.sendall(b"x")
        assert one.recv(1) == b"x"
        # So soon that connect() may already tell.
        with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", port), 20) as sock:
            sock.recv(1)
    assert two.at_client.metrics().sum("listener_refusals_total", reason="limit") == 1


@pytest.mark.parametrize("path", ["/", "/status.json", "/history.json", "/metrics", "/healthz", "POST /quitquitquit"])
def test_other_origins_are_refused(path, both):
    """DNS rebinding and forged requests: whatever a web page makes a browser on this machine ask."""
    two = both(client=["--allow-quit"])
    method, _, path = path.rpartition(" ")
    for pages in (two.at_client, two.at_server):
        for name, case in REFUSED.items():
            fill = lambda text: text.replace("{port}", str(pages.port))
            headers = {k: fill(v) for k, v in case.get("headers", {}).items()}
            status = pages.status(path, method=method or "GET", headers=headers, host=fill(case.get("host", "127.0.0.1:{port}")))
            # RFC 9112, 3.2: what is not a host is malformed
            assert status == (400 if name == "something else after the port" else 403), (name, path, status)
        own = f"127.0.0.1:{pages.port}"
        for headers in ({}, {"Origin": f"http://{own}"}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
            assert pages.status("/status.json", headers=headers, host=own) == 200
        for host in ("localhost", "LOCALHOST", "[::1]", "127.0.0.2"):
            assert pages.status("/healthz", host=f"{host}:{pages.port}") == 200
    # Without Host at all, too.
    with socket.create_connection(("127.0.0.1", two.at_client.port)) as sock:
        sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b" 403 " in raw.read_rest(sock)
    assert two.client.alive()


def test_client_refuses_to_be_exposed(binaries, processes):
    for address, what in (("0.0.0.0:0", "loopback"), ("192.0.2.1:9", "loopback"), ("localhost:9", "numeric"), ("x", "--status")):
        client = processes.start([binaries.client, "--server", "http://127.0.0.1:1", "--status", address], "client")
        assert client.wait_exit() == 2 and what in client.log(), client.log()
    client = processes.start([binaries.client, "--server", "http://127.0.0.1:1", "--allow-quit"], "client")
    assert client.wait_exit() == 2 and "--status" in client.log()


def test_server_may_be_exposed_with_a_warning(pair, peer):
    """Prometheus comes from another machine; then Host may be any address, but no name."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=["--status", "0.0.0.0:0"])
    assert "token" in server.wait_for("status_exposed")["body"]
    port = int(server.wait_for("status_page")["listen"].rsplit(":", 1)[1])
    pages = Pages(server)
    pages.host = "127.0.0.1"
    assert pages.status("/metrics", host=f"192.0.2.7:{port}") == 200
    assert pages.status("/metrics", host=f"evil.example:{port}") == 403
    assert pages.status("/metrics", host=f"192.0.2.7:{port}", headers={"Origin": "http://evil.example"}) == 403


def test_port_in_use(pair, both, peer):
    two = both()
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, ready=False,
                         args=["--status", f"127.0.0.1:{two.at_server.port}"])
    assert server.wait_exit() == 1 and "--status" in server.wait_for("start_failed")["reason"]


def test_quit(both):
    """Off by default; with --allow-quit what is under way comes to its end, then exit code 0."""
    two = both(client=["--allow-quit", "--drain-timeout", "20"])
    assert two.at_server.status("/quitquitquit", method="POST", body=b"") == 404
    assert two.at_client.status("/quitquitquit") == 405
    port = tunnel.port(two.client, "raw")
    with raw.connect(port, "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        status, _, body = two.at_client.ask("/quitquitquit", method="POST", body=b"")
        assert (status, body) == (200, b"stopping\n")
        two.client.wait_for("stopping")
        sock.sendall(b"two")
        assert sock.recv(10) == b"two" and two.client.alive()
        assert two.at_client.status("/readyz") == 503
        sock.shutdown(1)
        assert raw.read_rest(sock) == b""
    assert two.client.wait_exit() == 0


def test_quit_is_off_by_default(both):
    two = both()
    status, _, body = two.at_client.ask("/quitquitquit", method="POST", body=b"")
    assert status == 403 and b"--allow-quit" in body
    assert two.client.alive() and two.at_client.status("/healthz") == 200


def test_probes_follow_the_link(pair, peer):
    """Startup: has been up once. Ready: has a link now. Health: the program runs."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
    with contextlib.closing(faults.Proxy([])) as between:
        client = pair.client(f"http://localhost:{between.port}", tcp={"raw": 0}, args=STATUS, ready=False)
        pages = Pages(client)
        probes = lambda: tuple(pages.status(path) for path in ("/startupz", "/readyz", "/healthz"))
        client.wait_for("dial_failed")
        assert probes() == (503, 503, 200)
        assert pages.json()["link"]["state"] in ("waiting", "connecting") and not pages.json()["ready"]
        between.targets = [("127.0.0.1", server.port)]
        client.wait_for("ready", 30)
        assert probes() == (200, 200, 200)
        up_since = pages.json()["link"]["since_ms"]
        between.targets = []
        between.drop()
        wait.until(lambda: probes() == (200, 503, 200), 20, "a client that is not ready")
        down = pages.json()["link"]
        assert down["since_ms"] > up_since
        wait.until(lambda: pages.json()["link"]["failed_dials"] > down["failed_dials"], 20, "another dial that fails")
        assert pages.json()["link"]["since_ms"] == down["since_ms"]
        events = [e["event"] for e in pages.json()["events"]]
        assert "up" in events and "link_lost" in events and "dial_failed" in events
        between.targets = [("127.0.0.1", server.port)]
        wait.until(lambda: probes() == (200, 200, 200), 30, "a client that is ready again")
        assert pages.json()["events"][0]["event"] == "resumed"


def test_server_is_not_ready_without_brokers(pair):
    with fakes.refusing_port() as port:
        server = pair.server(kafka=f"127.0.0.2:{port}", tls=None, args=STATUS)
        server.wait_for("cluster_unreachable")
        pages = Pages(server)
        assert (pages.status("/readyz"), pages.status("/healthz"), pages.status("/startupz")) == (503, 200, 200)
        assert pages.metrics().sum("cluster_reachable", cluster="kafka") == 0
        assert pages.json()["clusters"][0]["reachable"] is False


# -- what they say ---------------------------------------------------------------------------------------------------


def ask(port, client_id, sock=None):
    """One question for metadata on a connection that stays open."""
    sock = sock or socket.create_connection(("127.0.0.1", port), 30)
    sock.sendall(wire.metadata_request(client_id=client_id))
    assert wire.read_frame(sock)
    return sock


def test_status_shows_who_is_connected(both):
    """Listeners and the nodes behind them, each connection with its client id, at both ends the same."""
    two = both()
    port = tunnel.port(two.client, "kafka")
    with ask(port, "orders-service") as one, raw.connect(tunnel.port(two.client, "raw"), "echo") as other:
        other.sendall(b"x" * 1000)
        assert len(other.recv(1000, socket.MSG_WAITALL)) == 1000
        shown = two.at_client.json()
        assert shown["link"]["state"] == "up" and shown["ready"] and shown["link"]["rtt_us"] > 0
        nodes = {l["name"]: l for l in shown["listeners"]}
        assert nodes["kafka"]["kind"] == "bootstrap" and nodes["kafka"]["listen"] == f"127.0.0.1:{port}"
        assert (nodes["kafka/1"]["kind"], nodes["kafka/1"]["node"]) == ("broker", 1) and nodes["raw"]["kind"] == "tcp"
        streams = {s["listener"]: s for s in shown["streams"]}
        assert streams["kafka"]["client_id"] == "orders-service" and streams["kafka"]["bytes_down"] > 0
        assert streams["kafka"]["peer"] == "%s:%d" % one.getsockname()
        assert streams["raw"]["client_id"] == "" and streams["raw"]["bytes_up"] == streams["raw"]["bytes_down"] + len(b"echo\n") == 1005
        session, = two.at_server.json()["sessions"]
        assert session["linked"] and session["stream_count"] == 2 and session["identity"]
        there = {s["target"]: s for s in session["streams"]}
        assert there["kafka"]["client_id"] == "orders-service" and there["kafka"]["local_peer"] == streams["kafka"]["peer"]
        behind = {n["node"]: n["address"] for n in two.at_server.json()["clusters"][0]["nodes"]}
        assert {n["node"]: n["broker"] for n in nodes.values() if n["kind"] == "broker"} == behind and set(behind) == {1, 2}
    wait.until(lambda: not two.at_client.json()["streams"], 10, "the end of both")


def test_software_of_real_clients(both):
    """ApiVersions says who asks (KIP-511); librdkafka here."""
    two = both()
    name = b"librdkafka"
    body = b"\x00\x12\x00\x03\x00\x00\x00\x01\x00\x03app\x00" + bytes([len(name) + 1]) + name + b"\x062.0.2\x00"
    with socket.create_connection(("127.0.0.1", tunnel.port(two.client, "kafka"))) as sock:
        sock.sendall(wire.frame(body))
        stream = wait.until(lambda: [s for s in two.at_client.json()["streams"] if s["client_id"]], 10, "a client id")[0]
        assert (stream["client_id"], stream["software"], stream["software_version"]) == ("app", "librdkafka", "2.0.2")


def test_counters_move(both, broker):
    """Requests by API and version, bytes by target and direction, streams by result, addresses, latency."""
    two = both()
    port, before = tunnel.port(two.client, "kafka"), two.at_server.metrics()
    with ask(port, "a") as one:
        for _ in range(4):
            ask(port, "a", one)
        during = two.at_server.metrics(), two.at_client.metrics()
        for m in during:
            assert m.sum("streams", target="kafka") == 1 and m.sum("links") == 1 and m.sum("sessions") == 1
    assert raw.echo_once(tunnel.port(two.client, "raw"), b"y" * 5000) == b"y" * 5000
    wait.until(lambda: two.at_server.metrics().sum("streams_ended_total", result="complete") == 2, 10, "two ends")
    after, there = two.at_server.metrics(), two.at_client.metrics()
    moved = lambda name, **labels: after.sum(name, **labels) - before.sum(name, **labels)
    assert moved("kafka_requests_total", api="Metadata", version="1") == 5 == moved("kafka_requests_total")
    assert moved("kafka_addresses_rewritten_total", api="Metadata") == 10
    assert moved("streams_opened_total", target="kafka") == 1 and moved("streams_opened_total", target="raw") == 1
    request = len(wire.metadata_request(client_id="a"))
    for m in (after, there):
        assert m.sum("stream_bytes_total", target="kafka", direction="up") == 5 * request
        assert m.sum("stream_bytes_total", target="raw", direction="down") == 5000
        assert m.sum("stream_bytes_total", target="raw", direction="up") == 5000 + len(b"echo\n")
        assert m.sum("sessions_opened_total") == 1 and m.sum("session_resumes_total") == 0
        assert m.sum("rtt_seconds_count") >= 1
        assert m.sum("streams_ended_total", target="raw", result="complete") == 1
    assert there.sum("dials_total") == 1 == there.sum("dial_duration_seconds_count") == there.sum("handshake_duration_seconds_count")
    assert there.sum("listeners") == 4
    wait.until(lambda: two.at_server.metrics().sum("retained_bytes") == 0 == two.at_client.metrics().sum("retained_bytes"), 10,
               "everything to be consumed")


def produce(acks):
    """Produce v7 of nothing, as far as anybody reads it."""
    return wire.frame(b"\x00\x00\x00\x07\x00\x00\x00\x01\x00\x01p\xff\xff" + acks.to_bytes(2, "big", signed=True) + bytes(8))


def test_latency_is_measured_where_there_is_a_response(pair):
    """From the request to the response; acks=0 gets none, and a wait is a wait."""
    def serve(broker, sock):
        with sock:
            wire.answer_check(sock)
            while (request := wire.read_frame(sock)):
                if request[13:15] != b"\x00\x00":
                    time.sleep(0.2)
                    sock.sendall(wire.frame(request[4:8] + bytes(8)))
    broker_type = type("Slow", (fakes.Listening,), {"_serve": serve})
    with broker_type("127.0.0.2") as slow:
        server = pair.server(kafka=f"127.0.0.2:{slow.port}", tls=None, args=STATUS)
        client = pair.client(server, kafka={"kafka": 0})
        pages = Pages(server)
        with socket.create_connection(("127.0.0.1", tunnel.port(client, "kafka"))) as sock:
            sock.sendall(produce(0) + produce(-1) + produce(0))
            assert wire.read_frame(sock)
            wait.until(lambda: pages.metrics().sum("kafka_requests_total", api="Produce", version="7") == 3, 10, "three requests")
        m = pages.metrics()
        assert m.sum("kafka_latency_seconds_count", api="Produce") == 1
        assert 0.2 <= m.sum("kafka_latency_seconds_sum", api="Produce") < 10
        assert m.sum("kafka_latency_seconds_bucket", api="Produce", le="0.1") == 0
        assert m.sum("kafka_latency_seconds_count", api="Fetch") == 0


@pytest.mark.slow
def test_drops_and_resumes_are_counted_by_reason(both):
    """A lost link, a silent one and a refused dial are told apart, and the page says when and why."""
    two = both(proxy=True)
    with raw.connect(tunnel.port(two.client, "raw"), "echo") as sock:
        for n in range(3):
            sock.sendall(b"%d" % n)
            assert sock.recv(1) == b"%d" % n
            wait.until(two.between.count, 15, "a link")
            two.between.drop()
            wait.until(lambda: two.at_client.metrics().sum("session_resumes_total") == n + 1, 20, "a resumed session")
        two.between.stall()
        sock.sendall(b"x")
        wait.until(lambda: two.at_client.metrics().sum("link_ends_total", reason="dead") == 1, 30, "a link that is dead")
        assert sock.recv(1) == b"x"
    m, there = two.at_client.metrics(), two.at_server.metrics()
    assert m.sum("link_ends_total", reason="lost") == 3 and m.sum("links_opened_total") == 5
    assert there.sum("session_resumes_total") == 4 and there.sum("sessions_opened_total") == 1
    assert m.sum("sessions_lost_total") == 0 == there.sum("sessions_lost_total")
    assert m.sum("problems_total", event="link_lost") == 4
    shown = two.at_client.json()["events"]
    assert [e["event"] for e in reversed(shown)] == ["up"] + ["link_lost", "resumed"] * 4
    assert all(e["reason"] for e in shown if e["event"] == "link_lost") and "silent" in shown[1]["reason"]
    assert all(abs(e["time_ms"] / 1000 - time.time()) < 200 for e in shown)


def test_lost_sessions_and_failed_dials(both):
    two = both(client=["--resume-window", "1"], proxy=True)
    two.between.targets = []
    two.between.drop()
    wait.until(lambda: two.at_client.metrics().sum("sessions_lost_total") == 1, 20, "a lost session")
    m = two.at_client.metrics()
    assert m.sum("dial_failures_total") >= 1 and m.sum("dial_failures_total", hop="tls") == 0
    assert m.sum("links") == 0 and m.sum("sessions") == 0


def test_window_stalls(both):
    """A reader that stands still: its stream waits for credit, and the figures say so."""
    two = both()
    with raw.connect(tunnel.port(two.client, "raw"), "source 30000000 1") as sock:
        wait.until(lambda: two.at_server.metrics().sum("window_stalls_total") > 0, 20, "a stall")
        m = two.at_server.metrics()
        assert 0 < m.sum("retained_bytes") <= m.sum("memory_limit_bytes") == 256 << 20
        assert two.at_client.metrics().sum("granted_bytes") > 0
        sock.close()


HOSTILE = ['"} 1\nkafka_tunnel_links 7', "\\", "ünïcödé", "\u202e", "<script>alert(1)</script>", "a" * 200, "{}", "\x00\x1b[31m"]


def test_series_are_bounded_whatever_clients_say(both, broker):
    """Client ids, API keys, versions, unknown targets, peers' ports: none of them makes a series."""
    two = both(client=["--tcp", "unknown=127.0.0.1:0"])
    port = tunnel.port(two.client, "kafka")

    def series():
        return {(s.name, *sorted(s.labels.items())) for pages in (two.at_server, two.at_client) for s in pages.metrics().samples}
    with ask(port, "zz-first"):
        pass
    before = series()
    for n, client_id in enumerate(HOSTILE * 4):
        with ask(port, f"{client_id}{n}"):
            pass
    new = {s for s in series() - before if s[0] not in ("kafka_tunnel_streams_ended_total", "kafka_tunnel_kafka_requests_total")}
    assert not new
    for key in (2, 40, 94, 95, 5000, 32767, -1, -32768):
        for version in (0, 31, 32, 32767, -1):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(wire.frame(key.to_bytes(2, "big", signed=True) + version.to_bytes(2, "big", signed=True) + bytes(10)))
                sock.shutdown(1)
                raw_end(sock)
    for _ in range(3):
        connect_in_vain(tunnel.port(two.client, "unknown"))
    found = two.at_server.metrics()
    labels = {(s.labels["api"], s.labels["version"]) for s in found.samples if s.name == "kafka_tunnel_kafka_requests_total"}
    known = ("ListOffsets", "ExpireDelegationToken", "UnregisterController")
    assert labels == {("Metadata", "1"), ("other", "other"), *((api, version) for api in known for version in ("0", "31", "other"))}
    assert found.sum("streams_ended_total", target="other", result="unknown_target") == 3
    assert found.sum("links") == 1
    for pages in (two.at_server, two.at_client):
        text = pages.text()
        assert "alert" not in text and "zz-first" not in text and "\x1b" not in text
        json.dumps(pages.json())


def raw_end(sock):
    """However the other side ends."""
    sock.settimeout(20)
    with contextlib.suppress(ConnectionError):
        while sock.recv(1000):
            pass


def connect_in_vain(port):
    """A connection that is reset; connect() itself may tell so."""
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)) as sock:
        raw_end(sock)


def test_client_ids_are_data_in_the_status(both):
    two = both()
    port = tunnel.port(two.client, "kafka")
    with contextlib.ExitStack() as open_:
        for client_id in HOSTILE:
            open_.enter_context(ask(port, client_id))
        shown = [s["client_id"] for s in two.at_client.json()["streams"]]
        there = [s["client_id"] for s in two.at_server.json()["sessions"][0]["streams"]]
        assert sorted(shown) == sorted(there) and len(shown) == len(HOSTILE)
        assert all(c.isascii() and c.isprintable() and len(c) <= 64 and '"' not in c for c in shown)


# -- bounds ----------------------------------------------------------------------------------------------------------


def test_slow_scrapers_are_bounded(both, figure):
    """A hundred who ask and do not read, or do not even ask: memory stays, the tunnel works, and a probe is answered."""
    two = both()
    before, started, open_ = two.client.rss_mib(), time.monotonic(), []
    descriptors = two.client.descriptors()
    for n in range(100):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect(("127.0.0.1", two.at_client.port))
        if n % 2:
            sock.sendall(f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{two.at_client.port}\r\n\r\n".encode())
        elif n % 4:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 5000)
        open_.append(sock)
    assert raw.echo_once(tunnel.port(two.client, "raw")) == b"ping"
    peak = two.client.rss_mib()
    assert two.client.descriptors() <= descriptors + 64 + 4, "more than 32 at a time, and as many that are about to go"
    # Each would have ten seconds; but the oldest make way.
    assert wait.until(lambda: answers(two.at_client), 60, "an answer for somebody who reads")
    assert time.monotonic() - started < 8
    wait.until(lambda: two.client.descriptors() <= descriptors + 32 + 4, 5, "the others to go")
    figure("a hundred slow scrapers", f"{before:.1f} -> {peak:.1f} MiB; somebody who reads has an answer after {time.monotonic() - started:.1f} s")
    assert peak - before < 16
    for sock in open_:
        sock.close()
    wait.until(lambda: two.client.descriptors() <= descriptors + 4, 40, "descriptors to be free again")
    for _ in range(200):
        assert two.at_client.status("/healthz") == 200
    assert two.client.rss_mib() - before < 16


def answers(pages):
    try:
        return pages.status("/healthz") == 200
    except OSError:
        return False


@pytest.mark.parametrize("request_", [
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 100_000, b"GET " + b"/" * 100_000,
    b"POST /quitquitquit HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 50_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), b"\r\n\r\n\r\n\r\n", b"GET\r\n\r\n", b"\x00" * 1000,
    b"GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n",
    b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"],
    ids=["large header", "long line", "large body", "tls", "nothing", "half", "zeros", "absolute", "connect", "version"])
def test_bytes_that_are_no_good_request(request_, both):
    two = both(client=["--allow-quit"])
    with socket.create_connection(("127.0.0.1", two.at_client.port)) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(request_.replace(b"PORT", str(two.at_client.port).encode()))
            sock.shutdown(socket.SHUT_WR)
        raw_end(sock)
    assert two.client.alive() and two.at_client.status("/healthz") == 200
    assert not two.client.events("quit_requested")


# -- audit -----------------------------------------------------------------------------------------------------------


def test_audit_lines(both, broker):
    """One for each connection and session: who, from where, to what, how much, how long, how it ended."""
    two = both()
    with ask(tunnel.port(two.client, "kafka"), "payments") as sock:
        local = "%s:%d" % sock.getsockname()
    assert raw.echo_once(tunnel.port(two.client, "raw"), b"z" * 100) == b"z" * 100
    kafka = two.server.wait_for("audit_stream", target="kafka")
    assert kafka["end"] == "complete" and kafka["client_id"] == "payments" and kafka["address"] == broker.address
    assert kafka["local_peer"] == local and kafka["peer"].startswith("127.0.0.1:") and kafka["identity"]
    assert kafka["bytes_up"] == len(wire.metadata_request(client_id="payments")) and kafka["bytes_down"] > 0
    assert kafka["duration_ms"] >= 0 and kafka["level"] == "info"
    other = two.server.wait_for("audit_stream", target="raw")
    assert other["bytes_down"] == 100 and "client_id" not in other and "node" not in other
    with raw.connect(tunnel.port(two.client, "raw"), "reset") as sock:
        raw_end(sock)
    cut = two.server.wait_for("audit_stream", end="peer_reset")
    assert cut["reason"] and not two.server.events("stream_reset"), "the same is not said twice"
    with socket.create_connection(("127.0.0.1", int(two.client.wait_for("listening", name="kafka/2")["listen"].rsplit(":", 1)[1]))) as sock:
        sock.sendall(wire.metadata_request())
        assert wire.read_frame(sock)
    assert two.server.wait_for("audit_stream", target="kafka/2")["node"] == 2
    two.client.stop()
    session = two.server.wait_for("audit_session")
    streams = two.server.events("audit_stream")
    assert session["end"] == "complete" and session["streams_opened"] == 4 == len(streams)
    assert session["bytes_up"] == sum(s["bytes_up"] for s in streams) and session["bytes_down"] == sum(s["bytes_down"] for s in streams)
    assert session["session"] == kafka["session"] and session["identity"] == kafka["identity"] and session["links"] == 1
    assert not two.server.events("session_ended") and not two.server.events("stream_closed")


def test_audit_is_complete_under_a_log_rate(both):
    """--log-rate is for the rest, refused connections among it: these are counted."""
    two = both(server=["--log-rate", "1"], client=["--tcp", "unknown=127.0.0.1:0"])
    for _ in range(10):
        connect_in_vain(tunnel.port(two.client, "unknown"))
        raw.echo_once(tunnel.port(two.client, "raw"))
    wait.until(lambda: len(two.server.events("audit_stream")) == 10, 15, "ten records")
    assert all(e["target"] == "raw" and e["identity"] for e in two.server.events("audit_stream"))
    m = two.at_server.metrics()
    assert m.sum("log_lines_suppressed_total") > 0 and m.sum("problems_total", event="stream_refused") == 10


def test_audit_may_be_off(both):
    two = both(server=["--no-audit"])
    with raw.connect(tunnel.port(two.client, "raw"), "reset") as sock:
        raw_end(sock)
    assert two.server.wait_for("stream_reset")["bytes_up"] > 0
    two.client.stop()
    two.server.wait_for("session_ended")
    assert not two.server.events("audit_stream") and not two.server.events("audit_session")


# -- monitoring ------------------------------------------------------------------------------------------------------

EXAMPLES = cache.ROOT / "examples" / "monitoring"
NAME = re.compile(r"\b(?:kafka_tunnel|process)_[a-z_]+")


def every_name(two):
    return two.at_server.metrics().names() | two.at_client.metrics().names()


@pytest.mark.parametrize("name", ["dashboard.json", "alerts.yml"])
def test_examples_name_what_there_is(name, both):
    """Dashboard and alert rules ask for metrics and labels that a running pair has."""
    two = both(proxy=True)
    with ask(tunnel.port(two.client, "kafka"), "a"):
        used = set(NAME.findall((EXAMPLES / name).read_text(encoding="utf-8")))
        assert len(used) > 8
        assert used <= every_name(two), used - every_name(two)
    labels = {label for pages in (two.at_server, two.at_client) for s in pages.metrics().samples for label in s.labels}
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    asked = {label.strip() for group in re.findall(r"\bby ?\(([^)]*)\)", text) for label in group.split(",")}
    assert asked <= labels | {"instance", "job", "result", "event", "version", "api"}, asked


def test_dashboard_is_sound():
    """Every panel has a query, ids are unique, nothing names a data source that only one machine has."""
    board = json.loads((EXAMPLES / "dashboard.json").read_text(encoding="utf-8"))
    panels = [p for p in board["panels"] if p["type"] != "row"]
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"]) and len(panels) >= 10
    for panel in panels:
        assert panel["title"] and panel["targets"] and all(t["expr"] for t in panel["targets"])
        assert panel["datasource"]["uid"] == "${datasource}"
        assert len(panel.get("description", "")) > 20 and panel["description"].endswith("."), panel["title"]
        steps = panel.get("fieldConfig", {}).get("defaults", {}).get("thresholds", {}).get("steps", [])
        values = [step["value"] for step in steps]
        assert not steps or (values[0] is None and values[1:] == sorted(values[1:])), panel["title"]
    assert sum("thresholds" in p.get("fieldConfig", {}).get("defaults", {}) for p in panels) >= 10


def test_metrics_document_is_complete(both):
    """docs/metrics.md has every metric of both programs."""
    two = both()
    document = (cache.ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for pages in (two.at_server, two.at_client):
        for name in re.findall(r"^# TYPE (\S+) ", pages.text(), re.M):
            assert f"| `{name}` |" in document, name


def promtool(*arguments, input=None):
    return subprocess.run([shutil.which("promtool"), *arguments], input=input, capture_output=True, timeout=60, check=False)


@pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool (Debian package prometheus)")
def test_promtool_agrees(both, tmp_path):
    """Prometheus' own tool on both pages, on the alert rules and on the scrape configuration."""
    two = both()
    with ask(tunnel.port(two.client, "kafka"), "a"):
        for pages in (two.at_server, two.at_client):
            checked = promtool("check", "metrics", input=pages.text().encode())
            assert checked.returncode == 0 and not checked.stderr, checked
    for arguments in (["check", "rules", EXAMPLES / "alerts.yml"], ["check", "config", "--syntax-only", EXAMPLES / "prometheus.yml"],
                      ["test", "rules", EXAMPLES / "alerts-test.yml"]):
        checked = promtool(*arguments)
        assert checked.returncode == 0, checked


def test_scrapes_while_everything_moves(both):
    """Counters never go back, histograms add up, whatever happens meanwhile."""
    two = both(proxy=True)
    port, stop = tunnel.port(two.client, "raw"), threading.Event()

    def work():
        while not stop.is_set():
            with contextlib.suppress(OSError):
                raw.echo_once(port, b"w" * 3000)
    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    last = {}
    try:
        for n in range(15):
            if n % 5 == 4:
                two.between.drop()
            for pages in (two.at_server, two.at_client):
                m = Metrics(pages.text())
                counters = {f.name for f in m.families if f.type in ("counter", "histogram")}
                for family in m.families:
                    for s in family.samples:
                        key = (pages.port, s.name, *sorted(s.labels.items()))
                        if family.name in counters:
                            assert s.value >= last.get(key, 0), key
                        last[key] = s.value
    finally:
        stop.set()
        for worker in workers:
            worker.join(60)
