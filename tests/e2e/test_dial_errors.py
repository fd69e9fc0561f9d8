"""When the link does not come up, the client says which hop failed and why: an event dial_failed with hop, reason, retry_ms."""

import base64
import hashlib
import ssl

import pytest

from harness import fakes, raw, tunnel, wait

pytestmark = pytest.mark.tunnel

HOPS = ("dns", "tcp", "tls", "http", "auth", "upgrade", "tunnel")


def failure(client, deadline=20):
    """The first dial_failed event, checked for its form; the client goes on trying."""
    event = client.wait_for("dial_failed", deadline)
    assert event["hop"] in HOPS, event
    assert isinstance(event["retry_ms"], int) and event["retry_ms"] >= 0, event
    assert len(event["reason"]) > 5, event
    assert event["level"] in ("warning", "error"), event
    assert client.alive(), "the client gave up"
    return event


def text(event):
    return (event["reason"] + " " + event["body"] + " " + str(event.get("hint", ""))).lower()


@pytest.fixture
def dial(pair):
    """dial(url) starts a client that has one raw listener; returns its first failure."""
    def start(url, deadline=20, **kw):
        client = pair.client(url, tcp={"x": 0}, ready=False, **kw)
        return failure(client, deadline)
    return start


def test_name_does_not_resolve(dial):
    event = dial("https://no-such-host.invalid:443", deadline=40)
    assert event["hop"] == "dns"
    assert "no-such-host.invalid" in str(event)


def test_nobody_listens(dial):
    port = wait.free_port()
    event = dial(f"https://127.0.0.1:{port}")
    assert event["hop"] == "tcp"
    assert "refused" in text(event) and str(port) in str(event)


def test_certificate_not_trusted(dial, pair):
    server = pair.server(tcp={"x": "127.0.0.2:1"})
    event = dial(server_url(server), ca=None)
    assert event["hop"] == "tls"
    assert any(w in text(event) for w in ("trust", "issuer", "self-signed", "self signed", "unknown ca", "--ca")), event


def test_certificate_of_another_authority(dial, pair, pki):
    server = pair.server(tcp={"x": "127.0.0.2:1"})
    event = dial(server_url(server), ca=pki.other.cert)
    assert event["hop"] == "tls"


def server_url(server, host="localhost"):
    return f"https://{host}:{server.port}"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_certificate_for_another_name(host, dial, pair):
    """Also for IP literals: the certificate must name the address."""
    server = pair.server(tcp={"x": "127.0.0.2:1"}, tls="wrong_name", listen="[::1]:0" if "::1" in host else "127.0.0.1:0")
    event = dial(server_url(server, host))
    assert event["hop"] == "tls"
    assert any(w in text(event) for w in ("name", "host", "mismatch", "does not match", "address")), event


def test_certificate_names_the_address(pair):
    """The other side of the test above: an IP literal in the certificate is accepted."""
    server = pair.server(tcp={"x": "127.0.0.2:1"})
    pair.client(server_url(server, "127.0.0.1"), tcp={"x": 0})


def test_server_speaks_no_tls(dial, pair):
    server = pair.server(tcp={"x": "127.0.0.2:1"}, tls=None)
    event = dial(f"https://localhost:{server.port}")
    assert event["hop"] == "tls"


def test_server_speaks_tls_and_the_client_does_not(dial, pair):
    server = pair.server(tcp={"x": "127.0.0.2:1"})
    event = dial(f"http://localhost:{server.port}", deadline=40)
    assert event["hop"] in ("http", "upgrade", "tcp", "tls")


ANSWERS = {
    "401": (fakes.UNAUTHORIZED, ("auth",), ("401",)),
    "403": (fakes.FORBIDDEN, ("auth",), ("403",)),
    "sign-in": (fakes.SIGN_IN, ("auth", "http"), ("sign-in", "sign in", "redirect", "login")),
    "200-html": (fakes.HTML, ("http", "upgrade"), ("200", "html", "web page", "not a tunnel")),
    "404": (fakes.NOT_FOUND, ("http", "upgrade"), ("404", "path")),
    "503": (fakes.UNAVAILABLE, ("http", "upgrade"), ("503",)),
}


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
@pytest.mark.parametrize("case", ANSWERS)
def test_answer_instead_of_an_upgrade(case, tls, dial, pki):
    answer, hops, words = ANSWERS[case]
    with fakes.Fake(answer, pki.server if tls else None) as fake:
        event = dial(f"{'https' if tls else 'http'}://127.0.0.1:{fake.port}")
        assert event["hop"] in hops, event
        assert any(w in text(event) for w in words), event
        if case in ("401", "403"):
            assert event["retry_ms"] >= 20_000, "an authentication failure is not tried again at once"
        if case == "sign-in":
            assert "login.example.org" in str(event), "the log names where the redirect leads"


def test_each_failure_has_its_own_words(pair, pki):
    """No two of them read the same."""
    seen = {}
    for case, (answer, _, _) in ANSWERS.items():
        with fakes.Fake(answer, pki.server) as fake:
            client = pair.client(f"https://127.0.0.1:{fake.port}", tcp={"x": 0}, ready=False)
            seen[case] = failure(client)["reason"].replace(str(fake.port), "PORT")
    assert len(set(seen.values())) == len(seen), seen


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_no_answer(tls, dial, pki):
    """The connection stands and nothing comes: a deadline of its own ends that."""
    with fakes.Fake(None, pki.server if tls else None) as fake:
        event = dial(f"{'https' if tls else 'http'}://127.0.0.1:{fake.port}", deadline=60, args=["--dial-timeout", "2s"])
        assert event["hop"] in ("http", "upgrade")
        assert any(w in text(event) for w in ("answer", "time", "deadline", "response")), event


def test_no_answer_to_the_tls_hello(dial):
    with fakes.Fake(None) as fake:
        event = dial(f"https://127.0.0.1:{fake.port}", deadline=60, args=["--dial-timeout", "2s"])
        assert event["hop"] == "tls"
        assert any(w in text(event) for w in ("answer", "time", "deadline", "response")), event


def test_upgraded_but_no_tunnel(dial, pki):
    """Some other WebSocket server: it upgrades and then says nothing the protocol knows."""
    class Other(fakes.Fake):
        def _serve(self, sock):
            try:
                sock = self.context.wrap_socket(sock, server_side=True)
                request = b""
                while b"\r\n\r\n" not in request:
                    request += sock.recv(65536) or b"\r\n\r\n"
                self.requests.append(request.decode("latin-1"))
                accept = base64.b64encode(hashlib.sha1(
                    (self.header("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
                protocol = self.header("Sec-WebSocket-Protocol")
                sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             b"Sec-WebSocket-Accept: " + accept + b"\r\n"
                             + (f"Sec-WebSocket-Protocol: {protocol}\r\n".encode() if protocol else b"") + b"\r\n"
                             + b"\x82\x05hello")
                while sock.recv(65536):
                    pass
            except (OSError, TypeError):
                pass
            finally:
                sock.close()

    with Other(b"", pki.server) as fake:
        event = dial(f"https://127.0.0.1:{fake.port}", deadline=40)
        assert event["hop"] in ("tunnel", "upgrade")


def test_client_certificate_missing(dial, pair, pki):
    server = pair.server(tcp={"x": "127.0.0.2:1"}, args=["--client-ca", pki.ca])
    event = dial(server_url(server))
    assert event["hop"] == "tls"
    assert "certificate" in text(event), event
    server.wait_log("certificate")


def test_client_certificate_of_another_authority(dial, pair, pki):
    server = pair.server(tcp={"x": "127.0.0.2:1"}, args=["--client-ca", pki.ca])
    cert, key = pki.other_client
    event = dial(server_url(server), args=["--cert", cert, "--key", key])
    assert event["hop"] == "tls"


def test_it_is_tried_again_until_it_works(pair, peer):
    """The server starts late: the client backs off, then connects by itself and serves."""
    port = wait.free_port()
    client = pair.client(f"https://localhost:{port}", tcp={"peer": 0}, args=["--log-level", "debug"], ready=False)
    wait.until(lambda: len(client.events("dial_failed")) >= 3, 30, "three attempts")
    failed = client.events("dial_failed")
    assert max(e["retry_ms"] for e in failed) <= 10_000, "the backoff of an unreachable server stays within 10 s"
    assert [e["attempt"] for e in failed[:3]] == [1, 2, 3]
    assert [e["level"] for e in failed[:3]] == ["warning", "debug", "debug"], "the same failure is said once"
    pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, listen=f"127.0.0.1:{port}")
    client.wait_for("ready", 30)
    assert raw.echo_once(tunnel.port(client, "peer"), b"late") == b"late"


def test_new_connections_wait_for_the_link(pair, peer):
    """A connection made while the link is down is served once the link is up."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"})
    client = pair.client(server, tcp={"peer": 0})
    port, local = server.port, tunnel.port(client, "peer")
    server.stop()
    client.wait_for("dial_failed", 30)
    sock = raw.connect(local, "echo")
    sock.sendall(b"patience")
    pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, listen=f"127.0.0.1:{port}")
    assert sock.recv(100) == b"patience"
    sock.close()


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_ingress_of_either_tls_version(maximum, pair, peer, pki):
    """A TLS-terminating proxy in front of a plain server, as an ingress is."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None, args=["--trust-ingress=optional"])
    with fakes.Ingress(server.port, pki.server, maximum) as ingress:
        client = pair.client(f"https://localhost:{ingress.port}", tcp={"peer": 0})
        data = b"through the ingress " * 50_000
        assert raw.echo_once(tunnel.port(client, "peer"), data) == data
        assert ingress.versions[0] == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[maximum]
        # The ingress cuts the link, as they do: the next connection works by itself.
        ingress.cut()
        assert raw.echo_once(tunnel.port(client, "peer"), b"again") == b"again"
