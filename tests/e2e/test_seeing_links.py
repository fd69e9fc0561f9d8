"""What the programs show of a session's links: figures, status, events."""

import socket
import threading

import pytest

from harness import faults, raw, tunnel, wait
from harness.pages import Pages

pytestmark = pytest.mark.tunnel
MIB = 1 << 20
STATUS = ["--status", "127.0.0.1:0"]


class Far:
    """A pair with a long way between the two."""

    def __init__(self, server, proxy, client):
        self.server, self.proxy, self.client = server, proxy, client
        self.at_server, self.at_client = Pages(server), Pages(client)
        self.ends = (self.at_server, self.at_client)

    def load(self, size=24 * MIB):
        raw.check_both(tunnel.port(self.client, "raw"), size)


@pytest.fixture
def far(pair, peer):
    """far(client=[...], server=[...]): a running pair with status pages, 25 ms from each other."""
    made = []

    def start(client=(), server=(), delay=0.025):
        one = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, args=[*STATUS, *server])
        proxy = faults.Proxy([("127.0.0.1", one.port)])
        proxy.delay = delay
        made.append(proxy)
        return Far(one, proxy, pair.client(f"http://127.0.0.1:{proxy.port}", tcp={"raw": 0}, args=[*STATUS, *client]))
    yield start
    for proxy in made:
        proxy.close()


# -- figures ---------------------------------------------------------------------------------------------------------


def test_figures_of_links(far):
    """Links by role add up to the links that there are; what they sent, and what was asked for, is counted at both ends."""
    two = far(client=["--links", "3"])
    two.load()
    wait.until(lambda: all(p.metrics().sum("link_joins_total", result="joined") >= 1 for p in two.ends), 20, "another link")
    for pages in two.ends:
        m = pages.metrics()
        assert m.sum("links") == m.sum("links_by_role") >= 2
        assert m.sum("links_by_role", role="lead") + m.sum("links_by_role", role="suspect") >= 1
        assert 2 <= m.sum("links_wanted") <= 8
        assert m.sum("link_sent_bytes_total") >= 24 * MIB
        assert m.sum("link_sent_bytes_total", role="other") > MIB
        assert m.sum("links_opened_total") == 1 + m.sum("link_joins_total", result="joined")
        assert m.sum("out_of_order_bytes") == 0


def test_refused_joins_are_counted(far):
    two = far(server=["--max-links", "1"])
    two.load()
    wait.until(lambda: all(p.metrics().sum("link_joins_total", result="limit") >= 1 for p in two.ends), 20, "a refusal")
    for pages in two.ends:
        assert pages.metrics().sum("links") == pages.metrics().sum("link_joins_total", result="joined") + 1 == 1


def stalled_shows(two):
    """One link stalls and wakes. It had something on its way, unless the programs were slow and did not trust it just then."""
    suspects = lambda: sum(pages.metrics().sum("links_by_role", role="suspect") for pages in two.ends)
    wait.until(lambda: suspects() == 0, 20, "links that answer")
    with two.proxy.lock:
        two.proxy.links[-1].stalled = True
    wait.until(suspects, 20, "a link in doubt")
    two.proxy.wake()
    return any(pages.metrics().sum("resent_bytes_total") > 0 for pages in two.ends)


def test_a_stalled_link_shows(far):
    """What it had is sent a second time, and it is no lead any more."""
    two = far(client=["--links", "2"])
    two.load()
    wait.until(lambda: two.at_client.metrics().sum("links") == 2, 20, "another link")
    with socket.create_connection(("127.0.0.1", tunnel.port(two.client, "raw")), timeout=30) as sock:
        sock.sendall(b"echo\n")
        stop = threading.Event()
        reader = threading.Thread(target=lambda: all(iter(lambda: sock.recv(1 << 18), b"")))
        writer = threading.Thread(target=lambda: [sock.sendall(bytes(1 << 16)) for _ in iter(stop.is_set, True)])
        reader.start()
        writer.start()
        try:
            wait.until(lambda: two.at_client.metrics().sum("link_sent_bytes_total", role="other") > MIB, 20, "two busy links")
            wait.until(lambda: stalled_shows(two), 60, "a link in doubt, and its bytes on another one")
        finally:
            stop.set()
            writer.join(30)
            sock.shutdown(socket.SHUT_WR)
            reader.join(30)
