"""The status pages in a real browser. docs/generate/screenshots takes the pictures in the documents."""

import contextlib
import pathlib
import socket
import ssl
import struct
import threading
import time

import pytest

from harness import browser, fakes, faults, raw, tunnel, wait, wire
from harness.pages import Pages

pytestmark = [pytest.mark.tunnel, pytest.mark.browser,
              pytest.mark.skipif(not browser.find(), reason="there is no chromium")]


class Traffic:
    """Raw connections and fake or real Kafka clients, at changing rates, until told to stop."""

    def __init__(self, port):
        self.stopping, self.port = threading.Event(), port
        self.threads = [threading.Thread(target=self._work, args=(n,)) for n in range(3)]
        for thread in self.threads:
            thread.start()

    def _work(self, number):
        with contextlib.suppress(OSError), raw.connect(self.port, "echo", timeout=60) as sock:
            while not self.stopping.is_set():
                size = int(20000 * (1 + number) * (1.3 + (time.monotonic() / (5 + 3 * number)) % 1))
                sock.sendall(b"s" * size)
                while size > 0:
                    got = len(sock.recv(size))
                    if got == 0:
                        return
                    size -= got
                self.stopping.wait(0.05)

    def finish(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)


def text_of(page, selector):
    return page.evaluate(f"document.querySelector({selector!r})?.textContent")


def test_page_in_a_browser(pair, peer, processes, tmp_path, request):
    """It shows link, listeners, connections and drops as they are; asks nobody but the client; and is readable in light and dark."""
    demo = pathlib.Path(request.getfixturevalue("binaries").build) / "examples" / "embedded-cluster"
    if not demo.exists():
        pytest.skip("there is no embedded cluster (librdkafka-dev)")
    brokers = processes.start([demo, "--brokers", "3", "--topic", "orders:6"], "brokers")
    bootstrap = wait.until(lambda: [x.split("bootstrap=")[1] for x in brokers.stdout().splitlines() if "bootstrap=" in x], 15,
                           "the embedded cluster")[0]
    server = pair.server(kafka=bootstrap, tcp={"registry": f"{peer.host}:{peer.port}"}, tls="server")
    between = faults.Proxy([("127.0.0.1", server.port)])
    client = pair.client(f"https://localhost:{between.port}", kafka={"kafka": 0}, tcp={"registry": 0}, args=["--status", "127.0.0.1:0"])
    pages = Pages(client)
    origin = f"http://127.0.0.1:{pages.port}"
    traffic = Traffic(tunnel.port(client, "registry"))
    stop = threading.Event()
    worker = threading.Thread(target=kafka_work, args=(f"localhost:{tunnel.port(client, 'kafka')}", stop))
    worker.start()
    try:
        with browser.Browser(tmp_path / "profile") as page:
            page.open(origin + "/")
            rows = lambda table: page.evaluate(f"[...document.querySelectorAll('#{table} tbody tr')].map(r => r.textContent)") or []
            wait.until(lambda: text_of(page, "#state-text") == "The link is up", 20, "the link's state", 0.2)
            wait.until(lambda: any("broker 3 of kafka" in row for row in rows("listeners")), 30, "the brokers' listeners", 0.2)
            shown = "\n".join(rows("listeners"))
            for listener in pages.json()["listeners"]:
                assert listener["name"] in shown and listener["listen"] in shown
            wait.until(lambda: any("orders-producer" in row and "confluent-kafka-python" in row for row in rows("streams")), 30, "client ids", 0.2)
            between.drop()
            wait.until(lambda: any("Link lost" in row for row in rows("events")), 20, "a drop", 0.2)
            wait.until(lambda: text_of(page, "#resumes") == "1", 20, "a resumed link", 0.2)
            wait.until(lambda: text_of(page, "#rate-up") not in ("–", "0 B/s"), 20, "a rate", 0.2)
            assert any("Link back" in row for row in rows("events"))
            drawn = "document.getElementById('graph').getContext('2d').getImageData(0,0,1e4,160).data.some(v => v > 0)"
            wait.until(lambda: page.evaluate(drawn), 10, "a graph", 0.2)
            assert "round trip: now " in page.evaluate("document.getElementById('graph-rtt').ariaLabel")
            # Nothing on it is wider than it, a telephone's page included.
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            fits_a_narrow_window(page)
            assert page.evaluate("document.documentElement.lang") == "en"
            light = page.evaluate("getComputedStyle(document.body).backgroundColor")
            page.color(dark=True)
            dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert light != dark
            assert contrast(page) >= 4.5
            page.color(dark=False)
            assert contrast(page) >= 4.5
            # Strangers' words are text.
            page.evaluate("fill('events', [['<img src=x onerror=alert(1)>', 'b', 'c']], '')")
            assert page.evaluate("document.querySelectorAll('img').length") == 0
            # What the policy is for: a script that got in could not call home.
            blocked = page.evaluate("fetch('http://127.0.0.1:1/').then(() => 'sent', () => 'blocked')")
            assert blocked == "blocked"
            page.errors = [e for e in page.errors if "127.0.0.1:1/" not in e]
            client.kill()
            wait.until(lambda: "does not answer" in text_of(page, "#state-text"), 20, "a page that says so", 0.2)
            asked = {url for url in page.requests if url != "http://127.0.0.1:1/"}
            assert asked and all(url.startswith(origin + "/") for url in asked), asked
            errors = [e for e in page.errors if "ERR_CONNECTION" not in e and "favicon" not in e]
            assert not errors, errors
    finally:
        stop.set()
        traffic.finish()
        worker.join(30)
        between.close()


def fits_a_narrow_window(page):
    page.call("Emulation.setDeviceMetricsOverride", width=400, height=900, deviceScaleFactor=1, mobile=True)
    wait.until(lambda: page.evaluate("window.innerWidth") == 400, 10, "a narrow window", 0.1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.call("Emulation.setDeviceMetricsOverride", width=1180, height=1180, deviceScaleFactor=1, mobile=False)


HOSTILE = "<img/src=x/onerror=alert(1)>"


def test_server_page_in_a_browser(pair, peer, tmp_path):
    """Sessions by identity, brokers, what was refused; strangers' words are text; only the server is asked; light, dark and narrow."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"a-token {HOSTILE}\nother-token alice\n", encoding="ascii")
    server = pair.server(kafka="127.0.0.1:1", tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None,
                         args=["--token-file", tokens, "--status", "127.0.0.1:0"])
    pages = Pages(server)
    origin = f"http://127.0.0.1:{pages.port}"
    clients = [pair.client(server, tcp={"peer": 0}, env={"TUNNEL_TOKEN": token}) for token in ("a-token", "other-token", "other-token")]
    refused = pair.client(server, tcp={"peer": 0}, env={"TUNNEL_TOKEN": "no-such-token"}, ready=False)
    refused.wait_for("dial_failed")
    with raw.connect(tunnel.port(clients[0], "peer"), "echo", timeout=60) as sock, browser.Browser(tmp_path / "profile") as page:
        page.open(origin + "/")
        rows = lambda table: page.evaluate(f"[...document.querySelectorAll('#{table} tbody tr')].map(r => [...r.cells].map(c => c.textContent))") or []
        wait.until(lambda: len(rows("identities")) == 2, 30, lambda: f"two identities: {rows('identities')}", 0.2)
        shown = {row[0]: row for row in rows("identities")}
        assert shown["alice"][1:5] == ["–", "2", "2", "0"] and shown[HOSTILE][1:5] == ["–", "1", "1", "1"], shown
        assert len(rows("sessions")) == 3
        assert rows("brokers")[0][:3] == ["kafka", "127.0.0.1:1", "cannot be reached"] and "refused" in rows("brokers")[0][-1], rows("brokers")
        assert "No broker of kafka answers" in text_of(page, "#state-text")
        assert any("wrong token" in row[0] and int(row[1]) >= 1 for row in rows("refusals")), rows("refusals")
        assert any(row[0] == "unauthorized" for row in rows("problems")), rows("problems")
        assert page.evaluate("document.querySelectorAll('img').length") == 0
        sock.sendall(b"x")
        assert "connections: now 1" in wait.until(
            lambda: "connections: now 1" in (shown := page.evaluate("document.getElementById('graph-sessions').ariaLabel") or "") and shown, 20, "a graph", 0.2)
        fits_a_narrow_window(page)
        for dark in (True, False):
            page.color(dark)
            assert contrast(page) >= 4.5
        assert all(url.startswith(origin + "/") for url in page.requests), page.requests
        assert not [e for e in page.errors if "favicon" not in e], page.errors


def contrast(page):
    """The smallest ratio of text to background (WCAG 2) among the elements that show text."""
    return page.evaluate("""(() => {
      const light = (rgb) => { const c = rgb.match(/[\\d.]+/g).slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; };
      const back = (e) => { for (; e; e = e.parentElement) { const b = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(b)) return b; } return 'rgb(255,255,255)'; };
      let least = 21;
      for (const e of document.querySelectorAll('h1,h2,p,dt,dd,th,td,a,span,strong,small,figcaption')) {
        if (!e.textContent.trim()) continue;
        const [a, b] = [light(getComputedStyle(e).color), light(back(e))].sort((x, y) => y - x);
        least = Math.min(least, (a + 0.05) / (b + 0.05));
      }
      return least;
    })()""")


def kafka_work(bootstrap, stop):
    """A producer and a consumer with names of their own."""
    from confluent_kafka import Consumer, Producer
    producer = Producer({"bootstrap.servers": bootstrap, "client.id": "orders-producer", "linger.ms": 20})
    consumer = Consumer({"bootstrap.servers": bootstrap, "client.id": "billing-consumer", "group.id": "billing",
                         "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe(["orders"])
    n = 0
    while not stop.is_set():
        producer.produce("orders", b"%d" % (n % 10) * 900)
        producer.poll(0.002)
        consumer.poll(0.01)
        n += 1
    producer.purge()
    consumer.close()


def log_in(sock, user):
    """As a Kafka client does itself, with PLAIN."""
    for key, body in ((wire.SASL_HANDSHAKE, b"\0\5PLAIN"), (wire.SASL_AUTHENTICATE, struct.pack(">i", len(user) + 6) + b"\0" + user + b"\0hush")):
        sock.sendall(wire.frame(struct.pack(">hhih", key, 1, 1, -1) + body))
        assert wire.read_frame(sock)


def test_users_and_tls_in_a_browser(pair, pki, tmp_path):
    """Whom the brokers know, what is TLS and what was refused, on both pages; users' names are text."""
    state, name = tmp_path / "state", "<img src=x>"
    with fakes.SaslBroker({name: "hush"}) as broker:
        server = pair.server(kafka=broker.address, tls=None, args=["--status", "127.0.0.1:0"])
        client = pair.client(server, kafka={"kafka": 0}, args=["--status", "127.0.0.1:0", "--listener-tls", "required", "--state-dir", state,
                                                              "--listener-client-ca", pki.ca])
        port = tunnel.port(client, "kafka")
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), 20) as sock:
            sock.sendall(wire.metadata_request())
            sock.recv(1)
        context = ssl.create_default_context(cafile=state / "listener-ca.pem")
        context.load_cert_chain(*pki.client)
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 20), server_hostname="localhost") as sock, \
                browser.Browser(tmp_path / "profile") as page:
            log_in(sock, name.encode())
            rows = lambda table: page.evaluate(f"[...document.querySelectorAll('#{table} tbody tr')].map(r => [...r.cells].map(c => c.textContent))") or []
            page.open(f"http://127.0.0.1:{Pages(client).port}/")
            wait.until(lambda: any(name in row and "TLSv1.3; CN=client" in row for row in rows("streams")), 20, lambda: str(rows("streams")), 0.2)
            assert ["TLS only"] == [row[4] for row in rows("listeners")]
            assert rows("refused")[0][:2] == ["Plaintext where only TLS is taken", "1"]
            assert "a certificate of the local CA" in text_of(page, "#listener-tls")
            page.open(f"http://127.0.0.1:{Pages(server).port}/")
            wait.until(lambda: rows("identities") and rows("identities")[0][1] == f"{name} (the client's own login)", 20,
                       lambda: str(rows("identities")), 0.2)
            assert page.evaluate("document.querySelectorAll('img').length") == 0
