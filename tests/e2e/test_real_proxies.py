"""Through real proxies on the way out: Squid with CONNECT; microsocks, Dante and `ssh -D` with SOCKS5; with a login where they have one."""

import contextlib
import re
import socket

import pytest

from harness import process, raw, real_proxies, tunnel, wait

pytestmark = [pytest.mark.tunnel, pytest.mark.doors]
MIB = 1 << 20
LOGIN = "user:right-password-52"


@pytest.fixture
def start(processes, pki):
    """start(name, login): that proxy."""
    with contextlib.ExitStack() as stack:
        def make(name, login=None):
            if real_proxies.ALL[name].may_be_missing and not real_proxies.ALL[name].path():
                pytest.skip(f"{name} is not installed, and not in every Debian")
            proxy = real_proxies.ALL[name](processes, pki, login)
            stack.callback(proxy.close)
            return proxy
        yield make


@pytest.fixture(params=["squid", "squid with a login", "microsocks", "microsocks with a login", "danted", "ssh"])
def proxy(request, start):
    name, _, login = request.param.partition(" ")
    return start(name, LOGIN if login else None)


def listen():
    """Where a proxy looks first that is told localhost."""
    address = socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)[0][4][0]
    return f"[{address}]:0" if ":" in address else f"{address}:0"


@pytest.fixture
def server(pair, peer):
    return pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, listen=listen())


def start_client(pair, server, proxy, url=None, **kw):
    return pair.client(server, tcp={"raw": 0}, env={"TUNNEL_PROXY": url or proxy.url()}, secrets=["right-password-52"], **kw)


def comes_back(client, count):
    wait.until(lambda: len(client.events("link_resumed")) >= count, 40, f"the client to come back: {client.tail(5)}", 0.05)


def test_100_mb_while_it_is_started_again(proxy, pair, server):
    """Both ways; every byte is at its place, and no connection notices that the proxy was gone twice."""
    client = start_client(pair, server, proxy)

    def restart():
        for count in (1, 2):
            proxy.kill()
            proxy.start()
            comes_back(client, count)
    raw.check_both(tunnel.port(client, "raw"), 50 * MIB)
    raw.check_both(tunnel.port(client, "raw"), 50 * MIB, during=restart)
    assert not client.events("session_lost") and not client.events("connection_reset")


@pytest.mark.parametrize("name", ["microsocks", "danted", "ssh"])
def test_this_machine_looks_the_name_up(name, start, pair, server):
    proxy = start(name)
    client = start_client(pair, server, proxy, proxy.url(scheme="socks5"))
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"


@pytest.mark.parametrize("name", ["squid", "microsocks"])
@pytest.mark.parametrize("login,words", [("user:wrong-password-81", "does not accept this user name and password"),
                                         ("other:right-password-52", "does not accept this user name and password"),
                                         (None, "requires a login")], ids=["password", "user", "none"])
def test_login_is_wrong(name, login, words, start, pair, server):
    proxy = start(name, LOGIN)
    client = pair.client(server, tcp={"raw": 0}, ready=False, env={"TUNNEL_PROXY": proxy.url(login)},
                         secrets=["wrong-password-81", "right-password-52"])
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "proxy" and words in failed["reason"], failed
    assert failed["retry_ms"] >= 20_000, "accounts get locked"


@pytest.mark.parametrize("name", ["squid", "danted"])
def test_not_allowed_there(name, start, pair):
    proxy = start(name)
    client = pair.client(f"https://localhost:{real_proxies.FORBIDDEN}", tcp={"raw": 0}, ready=False, args=["--proxy", proxy.url()])
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "proxy" and "the proxy does not allow a connection there" in failed["reason"], failed


@pytest.mark.parametrize("name", ["squid", "microsocks", "danted", "ssh"])
def test_nobody_is_there(name, start, pair):
    """ssh ends the connection without a word."""
    proxy = start(name)
    client = pair.client(f"https://localhost:{wait.free_port()}", tcp={"raw": 0}, ready=False, args=["--proxy", proxy.url()])
    failed = client.wait_for("dial_failed", 30)
    assert failed["hop"] == "proxy", failed
    assert re.search("can the proxy reach the server|the proxy cannot reach the server", failed["reason"]), failed


@pytest.mark.parametrize("name,scheme,words", [
    ("squid", "socks5h", "is it a SOCKS5 proxy"), ("microsocks", "http", "is it an HTTP proxy"), ("danted", "http", "is it an HTTP proxy"),
    ("ssh", "http", "is it an HTTP proxy")])
def test_another_kind_of_proxy(name, scheme, words, start, pair, server):
    proxy = start(name)
    client = pair.client(server, tcp={"raw": 0}, ready=False, args=["--proxy", proxy.url(scheme=scheme), "--dial-timeout", "3"])
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "proxy" and words in failed["reason"], failed


def test_doctor(proxy, pair, pki, server, binaries):
    done = process.run([binaries.client, "doctor", "--server", f"https://localhost:{server.port}", "--ca", pki.ca, "--tcp", "raw=0"], 60,
                       env={"TUNNEL_PROXY": proxy.url()}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"ok +proxy +[0-9.]+ ms +the proxy localhost:{proxy.port} connects to localhost:{server.port}", done.stdout), done.stdout
    assert "right-password-52" not in done.stdout + done.stderr
