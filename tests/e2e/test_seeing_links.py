"""What the programs show of a session's links: figures, status, events."""

import json
import os
import socket
import threading

import pytest

from harness import browser, faults, raw, tunnel, wait
from harness.pages import Pages

pytestmark = pytest.mark.tunnel
MIB = 1 << 20
LINK = {"number", "role", "age_ms", "rtt_us", "rtt_age_ms", "in_flight", "carried", "sent_again", "rate", "rate_is_least", "unsent",
        "unacknowledged", "retransmitted_segments"}
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
        return Far(one, proxy, pair.client(f"http://127.0.0.1:{proxy.port}", tcp={"raw": 0}, several=True, args=[*STATUS, *client]))
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
        assert m.sum("link_sent_bytes_total", role="other") > 0
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
            wait.until(lambda: two.at_client.metrics().sum("link_sent_bytes_total", role="other") > 0, 20, "two busy links")
            wait.until(lambda: stalled_shows(two), 60, "a link in doubt, and its bytes on another one")
        finally:
            stop.set()
            writer.join(30)
            sock.shutdown(socket.SHUT_WR)
            reader.join(30)


# -- status ----------------------------------------------------------------------------------------------------------


def test_status_of_links(far):
    """Each link at both ends, by the same numbers; why it was opened; and how it ended."""
    two = far(client=["--links", "3"])
    only = two.at_client.json()
    assert [(link["cause"], link["role"], link["leaving"]) for link in only["links"]] == [("session", "lead", False)]
    assert only["links_ended"] == [] and only["more_links"] == {
        "wanted": 1, "most": 3, "failure": "", "spread_over_instances": False, "retry_ms": 0}
    two.load()
    wait.until(lambda: len(two.at_client.json()["links"]) >= 2, 20, "another link")
    wait.until(lambda: all(link["rtt_us"] >= 40_000 for link in two.at_client.json()["links"]), 20, "round trips")
    here, there = two.at_client.json(), two.at_server.json()["sessions"][0]
    assert all(LINK < set(link) for link in here["links"]) and all(LINK == set(link) for link in there["links_now"])
    assert here["links"][1]["cause"] in ("spare", "room", "server") and here["more_links"]["wanted"] >= 2
    assert sum(link["role"] == "lead" for link in here["links"]) == 1
    assert sum(link["carried"] for link in here["links"]) >= 32 * MIB
    assert here["links"][0]["number"] == 1 and here["links"][0]["age_ms"] > here["links"][1]["age_ms"]
    assert {link["number"] for link in here["links"]} == {link["number"] for link in there["links_now"]}
    assert there["links_wanted"] >= 1 and there["linked"]

    with two.proxy.lock:
        two.proxy._end(two.proxy.links[1])
    ended = wait.until(lambda: two.at_client.json()["links_ended"], 20, "the end of a link")
    assert len(ended) == 1 and ended[0]["number"] == here["links"][1]["number"] and ended[0]["end"] == "lost" and ended[0]["reason"]
    assert ended[0]["cause"] == here["links"][1]["cause"] and ended[0]["lived_ms"] > 0
    wait.until(lambda: any(link["cause"] == "replace" and link["role"] != "greeting" for link in two.at_client.json()["links"]), 20, "a link in its place")
    seen = [event["event"] for event in two.at_client.json()["events"]]
    assert seen[:2] == ["link_joined", "link_left"] and seen[-1] == "up"
    assert not two.client.events("link_lost")


def test_status_says_why_there_are_no_more(far):
    two = far(server=["--max-links", "1"])
    two.load()
    more = wait.until(lambda: (m := two.at_client.json()["more_links"])["failure"] and m, 20, "a refusal")
    assert "--max-links" in more["failure"] and more["wanted"] >= 2 and not more["spread_over_instances"]
    assert 0 < more["retry_ms"] <= 60_000
    assert "join_failed" in [event["event"] for event in two.at_client.json()["events"]]


@pytest.mark.browser
@pytest.mark.skipif(not browser.find(), reason="there is no chromium")
def test_page_shows_links(far, tmp_path):
    """Links as they come and go, in words. KAFKA_TUNNEL_LINKS_SCREENSHOT=FILE keeps a picture."""
    two = far(client=["--links", "3"])
    with browser.Browser(tmp_path / "profile") as page:
        page.open(f"http://127.0.0.1:{two.at_client.port}/")
        rows = lambda table: page.evaluate(f"[...document.querySelectorAll('#{table} tbody tr')].map(r => r.innerText)") or []
        text = lambda selector: page.evaluate(f"document.querySelector({selector!r}).innerText")
        wait.until(lambda: any("carries everything" in row and "the session began" in row for row in rows("links")), 20, "the first link", 0.2)
        assert "One link is enough" in text("#links-more") and page.evaluate("document.getElementById('ended').hidden")
        two.load()
        wait.until(lambda: len(rows("links")) >= 2 and any("lead" in row for row in rows("links")), 20, "another link", 0.2)
        with two.proxy.lock:
            two.proxy._end(two.proxy.links[1])
        wait.until(lambda: any("lost" in row for row in rows("links-ended")), 20, "the end of a link", 0.2)
        wait.until(lambda: any("another one was lost" in row for row in rows("links")), 20, "a link in its place", 0.2)
        assert any("One of several links lost" in row for row in rows("events"))
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        for more, shown in ((dict(failure="tcp: <b>no</b>", retry_ms=90_000), "There can be no more links now: tcp: <b>no</b>. 4 links would help; the next try is in 1 min 30 s."),
                            (dict(failure="x", spread_over_instances=True, retry_ms=0), "The ingress spreads links over several instances"),
                            (dict(most=1), "--links allows one link.")):
            state = dict(wanted=4, most=8, failure="", spread_over_instances=False, retry_ms=0) | more
            assert page.evaluate(f"linksMore({json.dumps(state)}, 2)").startswith(shown)
        assert not [e for e in page.errors if "favicon" not in e]
        if os.environ.get("KAFKA_TUNNEL_LINKS_SCREENSHOT"):
            page.screenshot(os.environ["KAFKA_TUNNEL_LINKS_SCREENSHOT"])
