"""Through an HTTP proxy (CONNECT), and to addresses given by hand."""

import contextlib
import re
import socket

import pytest

from harness import fakes, faults, proxy as proxies, raw, tunnel, wait

pytestmark = pytest.mark.tunnel
HOST = "tunnel.example.org"  # pki.wrong_name is its certificate
LONG = "Jürgen%:/@" + "p" * 3000


def quote(text):
    return "".join(c if c.isalnum() and c.isascii() else "".join(f"%{b:02X}" for b in c.encode()) for c in text)


@pytest.fixture
def proxy():
    """start(...): a Proxy that is closed at the end."""
    made = []

    def start(*args, **kw):
        made.append(proxies.Proxy(*args, **kw))
        return made[-1]
    yield start
    for one in made:
        one.close()


@pytest.fixture
def server(pair, peer):
    return pair.server(tcp={"raw": f"{peer.host}:{peer.port}"})


@pytest.mark.parametrize("tls", [True, False], ids=["wss", "ws"])
@pytest.mark.parametrize("proxy_tls", [True, False], ids=["https proxy", "http proxy"])
def test_bytes_both_ways(tls, proxy_tls, proxy, pair, peer, pki):
    """TLS within TLS as well; half-closes and all."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls="server" if tls else None)
    between = proxy(pki.server if proxy_tls else None)
    client = pair.client(server, tcp={"raw": 0}, args=["--proxy", between.url(), "--ca", pki.ca])
    raw.check_both(tunnel.port(client, "raw"), 24 << 20)
    assert raw.echo_once(tunnel.port(client, "raw"), b"after it") == b"after it"
    assert between.asked == [f"localhost:{server.port}"]


def test_link_is_lost_and_comes_back_through_the_proxy(proxy, pair, server, pki):
    between = proxy(pki.server)
    client = pair.client(server, tcp={"raw": 0}, args=["--proxy", between.url()])
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        between.drop()
        client.wait_for("link_resumed")
        sock.sendall(b"two")
        assert sock.recv(10) == b"two"
    assert len(between.asked) == 2


@pytest.mark.parametrize("login", ["user:password", f"user:{LONG}", "user:", "only-a-user"], ids=["short", "long", "empty", "user"])
def test_login(login, proxy, pair, server):
    """Of any length, with any character; it is in no log."""
    between = proxy(login=login if ":" in login else login + ":")
    url = between.url(login=":".join(quote(part) for part in login.split(":", 1)))
    secrets = [part for part in (login, quote(login)) if len(part) > 12]
    client = pair.client(server, tcp={"raw": 0}, env={"TUNNEL_PROXY": url}, secrets=secrets)
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
    assert between.refused == 0


def failure(pair, between, **kw):
    client = pair.client(f"https://{HOST}:443", tcp={"raw": 0}, ready=False, args=["--proxy", between.url(), "--dial-timeout", "3"],
                         **kw)
    return client.wait_for("dial_failed")


SAYS = {
    "requires a login": (dict(login="a:b"), "requires a login .*Basic.*--proxy http://USER:PASSWORD"),
    "wants another kind": (dict(answer=b"HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n"
                                       b"Content-Length: 100000\r\n\r\npage"), "a login other than Basic.*Negotiate, NTLM.*cntlm"),
    "not allowed": (dict(answer=b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), "does not allow.*403.*CONNECT"),
    "no such name there": (dict(answer=b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), "cannot reach the server.*503"),
    "no CONNECT": (dict(answer=b"HTTP/1.1 405 No\r\nConnection: close\r\n\r\n"), "answered 405 to CONNECT"),
    "no proxy": (dict(answer=b"SSH-2.0-OpenSSH_9.2\r\n"), "not HTTP; is it an HTTP proxy"),
    "silent": (dict(answer=b""), "no answer.*CONNECT"),
    "hangs up": (dict(answer=None), "closed.*CONNECT"),
    "speaks before its turn": (dict(names={HOST: "127.0.0.2"}, behind=b"x"), "than its answer"),
}


@pytest.mark.parametrize("case", SAYS)
def test_what_is_wrong_with_the_proxy_is_said(case, proxy, pair, peer):
    options, words = SAYS[case]
    between = proxy(**options)
    if "names" in options:
        client = pair.client(f"http://{HOST}:{peer.port}", tcp={"raw": 0}, ready=False, args=["--proxy", between.url()])
        failed = client.wait_for("dial_failed")
    else:
        failed = failure(pair, between)
    assert failed["hop"] == "proxy" and re.search(words, failed["reason"]), failed
    assert f"through the proxy localhost:{between.port}" in failed["reason"], failed


def test_proxy_is_down(pair):
    with fakes.refusing_port() as port:
        client = pair.client(f"https://{HOST}", tcp={"raw": 0}, ready=False, args=["--proxy", f"http://127.0.0.1:{port}"])
        failed = client.wait_for("dial_failed")
    assert failed["hop"] == "proxy" and "refused" in failed["reason"], failed


def test_wrong_password(proxy, pair):
    between = proxy(login="user:right-password")
    client = pair.client(f"https://{HOST}", tcp={"raw": 0}, ready=False, env={"TUNNEL_PROXY": between.url("user:wrong-password-81")},
                         secrets=["wrong-password-81"])
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "proxy" and "does not accept this user name and password" in failed["reason"], failed
    assert failed["retry_ms"] >= 20_000, "a wrong password is not tried again at once: accounts get locked"


def test_proxy_of_another_authority(proxy, pair, pki):
    between = proxy(pki.other.issue("proxy", "DNS:localhost"))
    client = pair.client(f"https://{HOST}", tcp={"raw": 0}, ready=False, args=["--proxy", between.url(), "--ca", pki.ca])
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "proxy" and "the proxy's certificate (CN=proxy, issued by CN=Another CA) is not trusted" in failed["reason"], failed


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_proxy_of_the_environment(variable, proxy, pair, peer):
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls="wrong_name")
    between = proxy(names={HOST: "127.0.0.1"})
    client = pair.client(f"https://{HOST}:{server.port}", tcp={"raw": 0}, env={variable: between.url()})
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
    assert between.asked == [f"{HOST}:{server.port}"]


@pytest.mark.parametrize("how", ["NO_PROXY", "--proxy none", "this machine"])
def test_environment_without_the_proxy(how, proxy, pair, peer):
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls="server" if how == "this machine" else "wrong_name")
    between = proxy()
    env = {"HTTPS_PROXY": between.url(), "NO_PROXY": "other.org, .example.org" if how == "NO_PROXY" else ""}
    args = ["--resolve", f"{HOST}:{server.port}:127.0.0.1", *(["--proxy", "none"] if how == "--proxy none" else [])]
    client = pair.client(f"https://{'localhost' if how == 'this machine' else HOST}:{server.port}", tcp={"raw": 0}, env=env,
                         args=args)
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
    assert not between.asked


def test_environment_names_another_kind_of_proxy(pair):
    client = pair.client(f"https://{HOST}", tcp={"raw": 0}, ready=False, env={"ALL_PROXY": "socks4://127.0.0.1:1080"})
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "proxy" and "only http://, https://, socks5:// and socks5h://" in failed["reason"] and "--proxy none" in failed["reason"], failed


# -- SOCKS5, by a stand-in; tests/e2e/test_real_proxies.py has real ones


@pytest.fixture
def named(pair, peer):
    """A server that only who knows more names than this machine finds."""
    return pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls="wrong_name")


@pytest.fixture
def socks(request):
    made = []

    def start(*args, **kw):
        made.append(proxies.Socks(*args, **kw))
        return made[-1]
    yield start
    for one in made:
        one.close()


@pytest.mark.parametrize("variable", ["TUNNEL_PROXY", "https_proxy", "ALL_PROXY"])
def test_socks_proxy_looks_the_name_up(variable, socks, pair, named):
    between = socks(names={HOST: "127.0.0.1"}, login="Jürgen:" + "p" * 255)
    url = between.url(login=f"{quote('Jürgen')}:{'p' * 255}")
    client = pair.client(f"https://{HOST}:{named.port}", tcp={"raw": 0}, env={variable: url}, secrets=["p" * 255])
    raw.check_both(tunnel.port(client, "raw"), 4 << 20)
    assert between.asked == [f"{HOST}:{named.port}"] and between.refused == 0


def test_socks_proxy_is_told_the_next_address(socks, pair, named):
    """Of --resolve, which is for whom looks names up: the first address leads nowhere."""
    between = socks()
    given = [f"--resolve={HOST}:{named.port}:{address}" for address in ("127.0.0.77", "127.0.0.1")]
    client = pair.client(f"https://{HOST}:{named.port}", tcp={"raw": 0}, args=["--proxy", between.url(scheme="socks5"), *given])
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
    assert between.asked == [f"127.0.0.77:{named.port}", f"127.0.0.1:{named.port}"]


def test_every_link_goes_through_the_socks_proxy(socks, pair, named):
    """The first, those that join it on a long path, and what comes when they are cut."""
    with contextlib.closing(faults.Proxy([("127.0.0.1", named.port)])) as way:
        way.delay = 0.025
        between = socks(names={HOST: "127.0.0.1"})
        client = pair.client(f"https://{HOST}:{way.port}", tcp={"raw": 0}, args=["--proxy", between.url()], several=True)
        raw.check_both(tunnel.port(client, "raw"), 16 << 20)
        wait.until(lambda: len(between.asked) >= 2, 20, "a second link")
        with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
            before = len(between.asked)
            between.drop()
            wait.until(lambda: len(between.asked) > before, 20, "another dial")
            sock.sendall(b"two")
            assert sock.recv(10) == b"two"
        assert way.accepted == len(between.asked) and set(between.asked) == {f"{HOST}:{way.port}"}


def test_socks_refusal_is_said(socks, pair):
    between = socks(answer=b"\x05\x02\x00\x01" + bytes(6))
    failed = pair.client(f"https://{HOST}", tcp={"raw": 0}, ready=False, args=["--proxy", between.url()]).wait_for("dial_failed")
    assert failed["hop"] == "proxy" and f"through the proxy localhost:{between.port}): the proxy does not allow" in failed["reason"], failed


# -- addresses given by hand


def test_resolve(pair, peer):
    """The certificate must still be the host's; the next address is taken where one refuses or does not answer."""
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls="wrong_name")
    given = [f"--resolve={HOST}:{server.port}:{address}" for address in ("127.0.0.77", "127.0.0.1")]
    client = pair.client(f"https://{HOST}:{server.port}", tcp={"raw": 0}, args=given)
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"


def test_address_that_connects_and_says_nothing_makes_way(pair, peer):
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls="wrong_name")
    with socket.create_server(("127.0.0.78", server.port)):
        given = [f"--resolve={HOST}:{server.port}:{address}" for address in ("127.0.0.78", "127.0.0.1")]
        client = pair.client(f"https://{HOST}:{server.port}", tcp={"raw": 0}, args=given)
        assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"


def test_what_is_wrong_with_one_address_is_not_hidden_by_the_next(pair, pki):
    """Nobody listens at the other one; that the certificate is not trusted is what has to be said."""
    server = pair.server(tcp={"raw": "127.0.0.2:1"}, tls=pki.other.issue("elsewhere", f"DNS:{HOST}"))
    given = [f"--resolve={HOST}:{server.port}:{address}" for address in ("127.0.0.1", "127.0.0.77")]
    client = pair.client(f"https://{HOST}:{server.port}", tcp={"raw": 0}, ready=False, args=given)
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "tls" and "127.0.0.1:" in failed["reason"] and "Another CA" in failed["reason"], failed


def test_resolve_is_for_that_port_alone(pair):
    client = pair.client("https://no-such-host.invalid", tcp={"raw": 0}, ready=False, args=["--resolve", "no-such-host.invalid:444:127.0.0.1"])
    assert client.wait_for("dial_failed", 40)["hop"] == "dns"
