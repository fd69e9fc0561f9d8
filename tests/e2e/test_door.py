"""The server's port before anybody has logged in: what it answers (docs/http.md, row by row), and that nobody can keep others out."""

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import threading
import time

import pytest

from harness import browser, cache, raw, tunnel, wait, ws
from harness.pages import Pages

pytestmark = pytest.mark.tunnel
# How many connections of each kind a flood has; 20000 for a thorough run.
# Half of the time after which --handshake-timeout would have freed a place by itself.
WELL_BEFORE_S = 5
FLOOD = int(os.environ.get("KAFKA_TUNNEL_FLOOD", "2000"))


@pytest.fixture
def target(peer):
    return {"peer": f"{peer.host}:{peer.port}"}


def read_to_end(sock, timeout=20):
    sock.settimeout(timeout)
    got = b""
    with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
        while more := sock.recv(65536):
            got += more
    return got


def split(answer):
    """(status, headers in lower case, body)"""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    assert lines[0].startswith("HTTP/1.1 "), answer
    return int(lines[0].split()[1]), {n.lower(): v.strip() for n, v in (line.split(":", 1) for line in lines[1:])}, body.decode()


def ask(server, data, timeout=20, **kw):
    with ws.connect(server, **kw) as sock:
        sock.sendall(data)
        return split(read_to_end(sock, timeout))


def get(server, path="/healthz", **kw):
    return ask(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), **kw)


# -- the table -------------------------------------------------------------------------------------------------------



def request(*lines, first="GET /healthz HTTP/1.1", host=True):
    return "".join(f"{line}\r\n" for line in (first, *(["Host: localhost"] if host else []), *lines, "")).encode()


def upgrade(headers=(), path="/tunnel", without=(), **changed):
    """A tunnel request, with some of its headers changed (named with _ for -) or left out."""
    fields = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
              "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    first = changed.pop("first", f"GET {path} HTTP/1.1")
    fields.update({name.replace("_", "-"): value for name, value in changed.items()})
    return request(*(f"{n}: {v}" for n, v in fields.items() if n not in without), *headers, first=first, host=False)


class Row:
    """What is sent, and what of the body must be there (and in the table)."""

    def __init__(self, data, body="", args=(), kafka=None, bodiless=False, held=False):
        self.data, self.body, self.args, self.kafka, self.bodiless, self.held = data, body, list(args), kafka, bodiless, held


SOON = ["--handshake-timeout", "1"]
TOKENS = ["--token-file", "TOKENS"]
ROWS = {
    "a tunnel request that is allowed": Row(upgrade(["Sec-WebSocket-Protocol: other, kafka-tunnel"]), held=True),
    "GET /healthz": Row(request(), "ok"),
    "HEAD /healthz": Row(request(first="HEAD /healthz HTTP/1.1"), bodiless=True),
    "GET /readyz": Row(request(first="GET /readyz HTTP/1.1"), "ready"),
    "GET /readyz, no broker can be reached": Row(request(first="GET /readyz HTTP/1.1"), "no bootstrap broker", kafka="127.0.0.2:1"),
    "GET /healthz with Upgrade: h2c": Row(request("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")),
    "POST /healthz": Row(request(first="POST /healthz HTTP/1.1")),
    "GET of another path": Row(request(first="GET /tunnel/x HTTP/1.1"), "not found"),
    "GET of --path without Upgrade": Row(request(first="GET /tunnel HTTP/1.1")),
    "HEAD of --path": Row(request(first="HEAD /tunnel HTTP/1.1"), bodiless=True),
    "POST of --path": Row(upgrade(first="POST /tunnel HTTP/1.1")),
    "a tunnel request with Upgrade: h2c instead": Row(upgrade(Upgrade="h2c")),
    "a tunnel request in HTTP/1.0": Row(upgrade(first="GET /tunnel HTTP/1.0"), "an upgrade requires HTTP/1.1"),
    "a tunnel request without Connection: Upgrade": Row(upgrade(Connection="keep-alive"), "something in between"),
    "a tunnel request with Sec-WebSocket-Version: 12": Row(upgrade(Sec_WebSocket_Version="12")),
    "a tunnel request without Sec-WebSocket-Version": Row(upgrade(without=["Sec-WebSocket-Version"])),
    "a tunnel request without Sec-WebSocket-Key": Row(upgrade(without=["Sec-WebSocket-Key"]), "Sec-WebSocket-Key is missing or malformed"),
    "a tunnel request whose key is not 16 bytes": Row(upgrade(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ="),
                                                      "Sec-WebSocket-Key is missing or malformed"),
    "a tunnel request with Origin": Row(upgrade(Origin="https://example.com"), "pages of that origin may not open a tunnel"),
    "a tunnel request with an Origin of --allow-origin": Row(
        upgrade(Origin="https://example.com:8443"), held=True,
        args=["--allow-origin", "http://other.example", "--allow-origin", "HTTPS://Example.com:8443"]),
    "a tunnel request without a token": Row(upgrade(), args=TOKENS),
    "a tunnel request with another token": Row(upgrade(Authorization="Bearer another"), args=TOKENS),
    "a tunnel request with two Authorization headers": Row(
        upgrade(["Authorization: Bearer a-token", "Authorization: Bearer a-token"]), "several Authorization headers", args=TOKENS),
    "a tunnel request without the header of --trust-ingress": Row(upgrade(), "is missing", args=["--trust-ingress"]),
    "a tunnel request without the header of --trust-ingress=optional": Row(upgrade(), held=True, args=["--trust-ingress=optional"]),
    "a tunnel request with two headers of --trust-ingress": Row(
        upgrade(["Sf-Context-Current-User: a", "Sf-Context-Current-User: a"]), "more than once", args=["--trust-ingress"]),
    "Content-Length above 0": Row(request("Content-Length: 5") + b"hello", "requests with a body are not supported"),
    "Transfer-Encoding": Row(request("Transfer-Encoding: chunked") + b"0\r\n\r\n", "requests with a body are not supported"),
    "Content-Length twice": Row(request("Content-Length: 0", "Content-Length: 0"), "malformed"),
    "Content-Length and Transfer-Encoding": Row(request("Content-Length: 0", "Transfer-Encoding: chunked"), "malformed"),
    "Transfer-Encoding in HTTP/1.0": Row(request("Transfer-Encoding: chunked", first="GET /healthz HTTP/1.0"), "malformed"),
    "Content-Length: +5": Row(request("Content-Length: +5"), "malformed"),
    "Expect: 100-continue without a body": Row(request("Expect: 100-continue"), "ok"),
    "Expect: something else": Row(request("Expect: the-unexpected"), "expectations are not supported"),
    "HTTP/1.1 without Host": Row(request(host=False), "malformed"),
    "HTTP/1.0 without Host": Row(request(first="GET /healthz HTTP/1.0", host=False), "ok"),
    "two Hosts": Row(request("Host: localhost"), "malformed"),
    "Host: a/b": Row(request("Host: a/b", host=False), "malformed"),
    "GET http://host/healthz (absolute form)": Row(request(first="GET http://localhost/healthz HTTP/1.1"), "malformed"),
    "OPTIONS *": Row(request(first="OPTIONS * HTTP/1.1"), "malformed"),
    "a line that ends in LF alone": Row(b"GET /healthz HTTP/1.1\nHost: localhost\n\n", "malformed"),
    "a CR within a line": Row(request("X: a\rb"), "malformed"),
    "a NUL in a header": Row(request("X: a\0b"), "malformed"),
    "a space before the colon": Row(request("X : a"), "malformed"),
    "a folded header": Row(request("X: a", " b"), "malformed"),
    "an empty line first": Row(b"\r\n" + request(), "malformed"),
    "HTTP/0.9": Row(b"GET /healthz\r\n", "malformed"),
    "bytes that are not HTTP": Row(b"SSH-2.0-OpenSSH_9.2\r\n", "malformed"),
    "the preface of HTTP/2": Row(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "only HTTP/1.1 is supported"),
    "HTTP/2.0 in the request line": Row(request(first="GET /healthz HTTP/2.0"), "only HTTP/1.1 is supported"),
    "request line and headers above --max-header-size": Row(request("X: " + "x" * 20000), "larger than"),
    "a request that is incomplete at the deadline": Row(upgrade()[:-2], "the request did not arrive in time", args=SOON),
    "no byte before the deadline": Row(b"", args=SOON),
    "TLS on a port without TLS": Row(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
}
# They need more than bytes and an answer: each has a test of its own below.
ELSEWHERE = {
    "a tunnel request while the server stops": "test_stopping_is_answered",
    "one connection too many": "test_slots",
    "plain HTTP on a port with TLS": "test_plain_http_on_a_tls_port",
    "neither of the two on a port with TLS": "test_garbage_on_a_tls_port",
    "a TLS client that offers only h2 (ALPN)": "test_alpn",
    "a TLS client without a certificate, with --client-ca": "test_no_client_certificate",
}


def table():
    """{request: (status, and, log)} of docs/http.md."""
    text = (cache.ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows if row[0] != "request"}


def test_the_table_is_complete():
    assert list(table()) and set(table()) == set(ROWS) | set(ELSEWHERE)
    assert all(name in globals() for name in ELSEWHERE.values())


@pytest.mark.parametrize("name", ROWS)
def test_row(name, pair, target, tmp_path):
    row, (status, more, event) = ROWS[name], table()[name]
    (tmp_path / "tokens").write_text("a-token\n", encoding="ascii")
    args = [tmp_path / "tokens" if arg == "TOKENS" else arg for arg in row.args]
    server = pair.server(kafka=row.kafka, tcp=target if not row.kafka else None, tls=None, args=args)
    mark = server.mark()
    with ws.connect(server) as sock:
        if row.data:
            sock.sendall(row.data)
        if row.held:
            answer = ws.read_head(sock).encode()
            sock.sendall(ws.frame(2, ws.hello()))
            assert sock.recv(100)[0] == 0x82
        else:
            start = time.monotonic()
            answer = read_to_end(sock)
            assert time.monotonic() - start < 5
    if status == "closed":
        assert answer == b""
    else:
        got, headers, body = split(answer)
        assert got == int(status)
        for wanted in re.findall(r"`([\w-]+): ([^`]*)`", more):
            assert headers.get(wanted[0].lower()) == wanted[1], headers
        assert row.body in body and row.body in more
        if got != 101:
            assert "close" in headers["connection"] and headers["date"].endswith(" GMT")
            assert (int(headers["content-length"]) > 0) and (body == "") == row.bodiless
            assert row.bodiless or int(headers["content-length"]) == len(body)
    if event:
        server.wait_for(event.strip("`"), since=mark)
    else:
        assert not [e for e in server.events(since=mark) if e["event"] not in ("cluster_unreachable", "stream_refused")]
    assert get(server)[0] == 200


def test_plain_http_on_a_tls_port(pair, target):
    server = pair.server(tcp=target)
    with socket.create_connection(("127.0.0.1", server.port), 20) as sock:
        sock.sendall(request())
        status, _, body = split(read_to_end(sock))
    assert (status, "this port speaks HTTPS" in body) == (400, True)
    server.wait_for("wrong_scheme")


def test_garbage_on_a_tls_port(pair, target):
    server = pair.server(tcp=target)
    with socket.create_connection(("127.0.0.1", server.port), 20) as sock:
        sock.sendall(b"\x80\x2e\x01\x03\x01" + bytes(100))
        assert read_to_end(sock) == b""
    assert "not send TLS" in server.wait_for("tls_failed")["reason"]


def context_for(pki, protocols=None):
    context = ssl.create_default_context(cafile=str(pki.ca))
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


@pytest.mark.parametrize("offered, chosen", [(None, None), (["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"),
                                             (["h2"], "alert"), (["h2c", "spdy/3", "http/1.0"], "alert")])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_alpn(version, offered, chosen, pair, target, pki):
    server = pair.server(tcp=target)
    context = context_for(pki, offered)
    context.maximum_version = context.minimum_version = version
    sock = socket.create_connection(("localhost", server.port), 20)
    if chosen == "alert":
        with pytest.raises(ssl.SSLError, match="NO_APPLICATION_PROTOCOL|no application protocol"):
            context.wrap_socket(sock, server_hostname="localhost")
        server.wait_for("tls_failed")
        return
    with context.wrap_socket(sock, server_hostname="localhost") as tls:
        assert tls.selected_alpn_protocol() == chosen
        tls.sendall(request())
        assert split(read_to_end(tls))[0] == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_no_client_certificate(version, pair, target, pki):
    server = pair.server(tcp=target, args=["--client-ca", pki.ca])
    context = context_for(pki)
    context.maximum_version = context.minimum_version = version
    with pytest.raises(ssl.SSLError, match="(?i)certificate.required|handshake.failure"):
        with context.wrap_socket(socket.create_connection(("localhost", server.port), 20), server_hostname="localhost") as tls:
            tls.sendall(request())
            tls.recv(100)
    server.wait_for("tls_failed")
    cert, key = pki.client
    assert get(server, ca=str(pki.ca), cert=(str(cert), str(key)))[0] == 200


def test_nothing_is_resumed(pair, target, pki):
    server = pair.server(tcp=target)
    context, session = context_for(pki), None
    for _ in range(3):
        with context.wrap_socket(socket.create_connection(("localhost", server.port), 20), server_hostname="localhost",
                                 session=session) as tls:
            tls.sendall(request())
            assert split(read_to_end(tls))[0] == 200
            assert not tls.session_reused
            session = tls.session


@pytest.mark.parametrize("option", ["/tunnel", "/tunnel/", "/a/b-c_d.e~1/%20"])
def test_a_slash_at_the_end_makes_no_difference(option, pair, target):
    server = pair.server(tcp=target, tls=None, args=["--path", option])
    for path in (option.rstrip("/"), option.rstrip("/") + "/", option.rstrip("/") + "/?query=1"):
        sock, status, _ = ws.upgrade(server, path=path)
        sock.close()
        assert status == 101, path
    for path in (option.rstrip("/") + "//", option.rstrip("/") + "x", "/"):
        sock, status, _ = ws.upgrade(server, path=path)
        sock.close()
        assert status == 404, path
    url = f"http://localhost:{server.port}{option}"
    assert raw.echo_once(tunnel.port(pair.client(url, tcp={"peer": 0}), "peer")) == b"ping"


@pytest.mark.parametrize("tls", ["server", None], ids=["tls", "plain"])
def test_bytes_behind_the_request_are_the_first_of_the_websocket(tls, pair, target, pki):
    """In one segment with it, or in the middle of a frame: nothing is lost, and everything stays in order."""
    server = pair.server(tcp=target, tls=tls)
    hello = ws.frame(2, ws.hello())
    for early in (len(hello), 1, 7, 0):
        with ws.connect(server, ca=str(pki.ca)) as sock:
            sock.sendall(upgrade() + hello[:early])
            assert b" 101 " in ws.read_head(sock).encode()
            sock.sendall(hello[early:])
            assert sock.recv(1) == b"\x82", f"{early} bytes behind the request"


# -- HTTP/2 is not there ---------------------------------------------------------------------------------------------

H2C = (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
FRAMES = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000005010400000001" "0178017900") + bytes.fromhex("000006000000000001") + b"12345"


def nginx(processes, tmp_path, server):
    """A stock nginx, set up for WebSockets as its documentation does; the port it listens on."""
    if not shutil.which("nginx") and not os.path.exists("/usr/sbin/nginx"):
        pytest.skip("there is no nginx")
    port = wait.free_port()
    (tmp_path / "nginx.conf").write_text(f"""
        daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; worker_processes 1; events {{}}
        http {{
            access_log off; client_body_temp_path {tmp_path}; proxy_temp_path {tmp_path}; fastcgi_temp_path {tmp_path};
            uwsgi_temp_path {tmp_path}; scgi_temp_path {tmp_path};
            map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    proxy_pass http://127.0.0.1:{server.port};
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $connection_upgrade;
                    proxy_set_header HTTP2-Settings $http_http2_settings;
                }}
            }}
        }}""", encoding="ascii")
    processes.start([shutil.which("nginx") or "/usr/sbin/nginx", "-p", tmp_path, "-c", tmp_path / "nginx.conf"], "nginx")
    wait.until(lambda: wait.port_open("127.0.0.1", port), 10, "nginx listens")
    return port


@pytest.mark.parametrize("way", ["plain", "TLS", "nginx"])
def test_h2c_leads_nowhere(way, pair, target, pki, processes, tmp_path):
    """164 bytes that once crashed the server, before anybody had logged in."""
    server = pair.server(tcp=target, tls="server" if way == "TLS" else None)
    port = nginx(processes, tmp_path, server) if way == "nginx" else server.port
    for first in (H2C, H2C.replace(b"GET / ", b"GET /tunnel "), H2C.replace(b"GET / ", b"GET /healthz "), b""):
        sock = socket.create_connection(("127.0.0.1", port), 20)
        with context_for(pki).wrap_socket(sock, server_hostname="localhost") if way == "TLS" else sock as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(first + FRAMES)
            assert b" 101 " not in read_to_end(sock)
    assert server.alive() and get(server, ca=str(pki.ca))[0] == 200
    client = pair.client(f"http://localhost:{port}" if way == "nginx" else server, tcp={"peer": 0})
    assert raw.echo_once(tunnel.port(client, "peer")) == b"ping"


# -- time and slots --------------------------------------------------------------------------------------------------


def trickle(sock, data, pause, until):
    """Sends byte by byte until the other side ends the connection; the seconds that this took."""
    start = time.monotonic()
    sock.settimeout(pause)
    for byte in data:
        try:
            sock.sendall(bytes([byte]))
            if sock.recv(4096):
                continue
            break
        except TimeoutError:
            if time.monotonic() - start > until:
                break
        except OSError:
            break
    return time.monotonic() - start


@pytest.mark.parametrize("tls", ["server", None], ids=["tls", "plain"])
@pytest.mark.parametrize("how", ["silence", "slow headers", "slow TLS hello", "half a request", "slow body"])
def test_one_deadline(how, tls, pair, target, pki):
    """--handshake-timeout is exact, and counts from accept on, whatever trickles in."""
    if how == "slow TLS hello" and not tls:
        pytest.skip("there is no TLS")
    server = pair.server(tcp=target, tls=tls, args=["--handshake-timeout", "1500ms"])
    start = time.monotonic()
    slow = b"GET /tunnel HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 500
    sock = socket.create_connection(("127.0.0.1", server.port), 20)
    if how == "silence":
        assert ws.closed_within(sock, 10)
    elif how == "slow TLS hello":
        trickle(sock, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(505), 0.1, 10)
    else:
        if tls:
            sock = context_for(pki).wrap_socket(sock, server_hostname="localhost")
        if how == "slow headers":
            trickle(sock, slow, 0.1, 10)
        elif how == "half a request":
            sock.sendall(slow)
            assert ws.closed_within(sock, 10)
        else:
            sock.sendall(request("Content-Length: 1000", first="POST /tunnel HTTP/1.1"))
            trickle(sock, b"x" * 100, 0.1, 10)
    took = time.monotonic() - start
    sock.close()
    # A body is refused at once; a connection that takes its answer along has a second more.
    assert took < 1.5 if how == "slow body" else 1.4 < took < 2.9, took
    assert (how == "slow body") or server.wait_for("handshake_timeout")


def attack(server, how, stop):
    """Holds a connection in one of the ways that once kept everybody else out; soon opens another when it is lost."""
    while not stop.wait(0.02):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 5) as sock:
            sock.settimeout(0.2)
            if how == "h2c and silence":
                sock.sendall(H2C)
            if how == "slow body":
                sock.sendall(request("Content-Length: 100000", first="POST /healthz HTTP/1.1"))
            while not stop.is_set():
                if how == "keep-alive":
                    sock.sendall(request())
                if how == "slow body":
                    sock.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    if not sock.recv(4096):
                        break


def gets_in(try_once):
    """Whether that soon succeeds for somebody who tries again when told to, as a client and a probe do: the crowd is at the same
    address, and on a busy machine it may open eight connections between a connection of ours and its request."""
    deadline = time.monotonic() + WELL_BEFORE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            if try_once():
                return time.monotonic() < deadline
    return False


@pytest.mark.parametrize("how", ["h2c and silence", "keep-alive", "slow body", "silence"])
def test_slots(how, pair, target):
    """All slots are taken, by somebody who proves nothing: a client gets in nevertheless, and probes get their page."""
    server = pair.server(tcp=target, tls=None, args=["--max-handshakes", "8"])
    stop = threading.Event()
    threads = [threading.Thread(target=attack, args=(server, how, stop)) for _ in range(16)]
    for thread in threads:
        thread.start()

    def is_healthy():
        with ws.connect(server) as sock:
            sock.sendall(request())
            return read_to_end(sock).startswith(b"HTTP/1.1 200 ")

    def is_upgraded():
        sock, status, _ = ws.upgrade(server)
        sock.close()
        return status == 101

    try:
        for _ in range(10):
            assert gets_in(is_healthy)
            assert gets_in(is_upgraded)
        start = time.monotonic()
        client = pair.client(server, tcp={"peer": 0})
        assert raw.echo_once(tunnel.port(client, "peer")) == b"ping"
        assert time.monotonic() - start < WELL_BEFORE_S
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    if how == "silence":
        assert server.wait_for("handshake_refused")["limit"] == 8


def test_one_address_does_not_take_the_slots_of_others(pair, target):
    server = pair.server(tcp=target, tls=None, args=["--max-handshakes", "8"])
    ours = socket.create_connection(("127.0.0.1", server.port), 20, source_address=("127.0.0.3", 0))
    with ours:
        ours.sendall(upgrade()[:-2])
        crowd = []
        for _ in range(50):
            crowd.append(socket.create_connection(("127.0.0.1", server.port), 20))
        wait.until(lambda: len(server.events("handshake_refused")) >= 43, 10, "the crowd makes way for itself")
        ours.sendall(b"\r\n")
        assert b" 101 " in ws.read_head(ours).encode()
        for sock in crowd:
            sock.close()
    assert all(e["peer"].startswith("127.0.0.1:") for e in server.events("handshake_refused"))


# -- floods ----------------------------------------------------------------------------------------------------------

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256))
FLOODS = {
    "connect and hang up": (b"", True),
    "a cut hello": (HELLO[:100], True),
    "a cut hello that stays": (HELLO[:100], False),
    "garbage": (bytes(range(255, 127, -1)) * 3, True),
    "half a request": (b"GET /tunnel HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 800, True),
    "half a request that stays": (b"GET /tunnel HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 800, False),
}


class Bystander:
    """A live client's echo stream and a probe from an address of its own, all the time: the slowest answers, and the server's peaks."""

    def __init__(self, server, port, ca):
        self.server, self.port, self.ca = server, port, ca
        self.slowest = {"echo": 0, "healthz": 0}
        self.mib, self.descriptors = server.rss_mib(), server.descriptors()
        self.stopping, self.failure, self.count = threading.Event(), None, 0
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self):
        try:
            with raw.connect(self.port, "echo", timeout=30) as sock:
                while not self.stopping.is_set():
                    start = time.monotonic()
                    sock.sendall(b"still there?")
                    assert sock.recv(100) == b"still there?"
                    answered = time.monotonic()
                    assert get(self.server, ca=self.ca, source="127.0.0.9")[0] == 200
                    self.slowest["echo"] = max(self.slowest["echo"], answered - start)
                    self.slowest["healthz"] = max(self.slowest["healthz"], time.monotonic() - answered)
                    self.mib = max(self.mib, self.server.rss_mib())
                    self.descriptors = max(self.descriptors, self.server.descriptors())
                    self.count += 1
        except (OSError, AssertionError) as failure:
            self.failure = failure

    def finish(self):
        self.stopping.set()
        self.thread.join(40)
        assert self.failure is None, f"after {self.count} rounds: {self.failure!r}"


@pytest.mark.speed
@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("tls", ["server", None], ids=["tls", "plain"])
def test_flood(tls, kind, pair, target, pki, figure):
    data, hangs_up = FLOODS[kind]
    server = pair.server(tcp=target, tls=tls)
    client = pair.client(server, tcp={"peer": 0})
    port = tunnel.port(client, "peer")
    assert raw.echo_once(port) == b"ping"
    before = server.rss_mib(), server.descriptors()
    bystander = Bystander(server, port, str(pki.ca) if tls else None)
    start, kept = time.monotonic(), []
    for _ in range(FLOOD):
        sock = socket.socket()
        with contextlib.suppress(ConnectionError):
            sock.connect(("127.0.0.1", server.port))
            sock.sendall(data)
        if hangs_up:
            sock.close()
        else:
            kept.append(sock)
            if len(kept) > 600:
                kept.pop(0).close()
    took = time.monotonic() - start
    bystander.finish()
    for sock in kept:
        sock.close()
    wait.until(lambda: server.descriptors() <= before[1] + 1, 20,
               lambda: f"{server.descriptors()} descriptors, {before[1]} before", 0.1)
    figure(f"{FLOOD} in {took:.1f} s",
           f"descriptors {before[1]} -> {bystander.descriptors}, memory {before[0]:.1f} -> {bystander.mib:.1f} MiB, slowest echo "
           f"{1000 * bystander.slowest['echo']:.0f} ms, /healthz {1000 * bystander.slowest['healthz']:.0f} ms of {bystander.count}")
    assert bystander.descriptors <= 512 + 40
    assert bystander.mib < before[0] + 100
    assert bystander.slowest["healthz"] < 5 and bystander.slowest["echo"] < 5
    assert not client.events("link_lost")


def test_figures(pair, target, pki):
    """handshakes_ended_total tells what became of connections, handshakes how many there are now."""
    limits = ["--status", "127.0.0.1:0", "--max-handshakes", "4", "--handshake-timeout", "1"]
    plain = pair.server(tcp=target, tls=None, args=limits)
    ends = {"page": request(), "refused": request(first="GET /x HTTP/1.1"), "malformed": b"x\n", "timeout": b"G",
            "too_large": request("X: " + "x" * 20000), "hung_up": None}
    for data in ends.values():
        with ws.connect(plain) as sock:
            if data:
                sock.sendall(data)
                read_to_end(sock)
    sock, _, _ = ws.upgrade(plain)
    many = [ws.connect(plain) for _ in range(6)]
    pages = Pages(plain)
    wait.until(lambda: pages.metrics().sum("handshakes") == 4, 5, "four handshakes")
    figures = pages.metrics()
    for end in [*ends, "upgraded"]:
        assert figures.sum("handshakes_ended_total", end=end) == 1, end
    assert figures.sum("handshakes_ended_total", end="evicted") == 2
    assert figures.sum("problems_total", event="handshake_refused") == 2
    for one in [sock, *many]:
        one.close()
    wait.until(lambda: pages.metrics().sum("handshakes") == 0, 5, "none")
    secure = pair.server(tcp=target, args=limits)
    with socket.create_connection(("127.0.0.1", secure.port), 20) as sock:
        sock.sendall(b"\x16\x03\x01\x00\x05hello")
        read_to_end(sock)
    wait.until(lambda: Pages(secure).metrics().sum("handshakes_ended_total", end="tls") == 1, 5, "a failed handshake")


# -- pages in browsers -----------------------------------------------------------------------------------------------

SOCKET = """new Promise(resolve => {
    const socket = new WebSocket("ws://127.0.0.1:%d/tunnel");
    socket.onopen = () => resolve("open");
    socket.onerror = () => resolve("refused");
})"""


@pytest.mark.browser
@pytest.mark.skipif(not browser.find(), reason="there is no chromium")
def test_a_page_of_another_origin(pair, target, tmp_path):
    """In a real browser, on a loopback server without a token: no page opens a tunnel, unless its origin is listed."""
    server = pair.server(tcp=target, tls=None)
    with browser.Browser(tmp_path) as page:
        page.open(f"http://127.0.0.1:{server.port}/healthz")
        wait.until(lambda: page.evaluate("document.body?.innerText") == "ok\n", 20, "the page")
        origin = page.evaluate("location.origin")
        assert page.evaluate(SOCKET % server.port) == "refused"
        assert server.wait_for("origin_refused")["origin"] == origin
        other = pair.server(tcp=target, tls=None, args=["--allow-origin", origin])
        assert page.evaluate(SOCKET % other.port) == "open"


@pytest.mark.parametrize("origin", ["null", "https://example.com.evil.example", "https://example.com:444", "http://example.com", "",
                                    "https://example.com/", "https://example.com, https://example.com"])
def test_other_origins(origin, pair, target):
    server = pair.server(tcp=target, tls=None, args=["--allow-origin", "https://example.com"])
    assert ask(server, upgrade(Origin=origin))[0] == 403
    assert ask(server, upgrade(["Origin: https://example.com"], Origin="https://example.com"))[0] == 403


# -- what stays in memory --------------------------------------------------------------------------------------------


def memory_has(process, text):
    """Whether the bytes are anywhere in what a process can write to."""
    with open(f"/proc/{process.pid}/maps", encoding="ascii") as maps, open(f"/proc/{process.pid}/mem", "rb", 0) as memory:
        for line in maps:
            area, rights = line.split()[:2]
            start, end = (int(x, 16) for x in area.split("-"))
            if rights.startswith("rw"):
                memory.seek(start)
                with contextlib.suppress(OSError):
                    if text in memory.read(end - start):
                        return True
    return False


@pytest.mark.memory
@pytest.mark.parametrize("tls", [None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["plain", "TLS 1.2", "TLS 1.3"])
def test_no_presented_token_stays_in_memory(tls, pair, target, pki, tmp_path):
    """Refused, malformed, too large, too late, in one piece or several: of what was presented nothing is left, in no buffer."""
    (tmp_path / "tokens").write_text("the-right-one\n", encoding="ascii")
    server = pair.server(tcp=target, tls="server" if tls else None,
                         args=["--token-file", tmp_path / "tokens", "--handshake-timeout", "1"])
    secrets = []

    def header():
        secrets.append("presented-" + os.urandom(12).hex())
        return f"Authorization: Bearer {secrets[-1]}"
    whole = upgrade([header()])
    cases = [[whole[:-20], whole[-20:]], [upgrade([header()])], [upgrade([header()])[:-2]], [request(header(), "X : malformed")],
             [request(header())], [upgrade([header(), "X: " + "x" * 3000])], [request(header(), "X: " + "x" * 20000)],
             [upgrade([header(), header()])]]
    for case in cases:
        with ws.connect(server, ca=str(pki.ca), minimum=tls, maximum=tls) as sock:
            for part in case:
                sock.sendall(part)
            read_to_end(sock)
    with ws.connect(server, ca=str(pki.ca), minimum=tls, maximum=tls) as sock:
        # The file is the server's own copy; what comes behind the scheme is a client's.
        secrets.append("Bearer the-right-one")
        sock.sendall(upgrade(["Authorization: Bearer the-right-one"]))
        assert " 101 " in ws.read_head(sock)
        assert memory_has(server, b"tunnel-server"), "this does not find what is there"
        assert [secret for secret in secrets if memory_has(server, secret.encode())] == []


# -- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["server", None], ids=["tls", "plain"])
def test_stopping_is_answered(tls, pair, target, pki):
    """Who is in the middle of a handshake hears that the server restarts, instead of a closed connection."""
    server = pair.server(tcp=target, tls=tls)
    half, silent = ws.connect(server, ca=str(pki.ca)), ws.connect(server, ca=str(pki.ca))
    late = ws.connect(server, ca=str(pki.ca))
    half.sendall(upgrade()[:-2])
    late.sendall(upgrade()[:-2])
    # Only who has said something has a request under way.
    wait.until(lambda: get(server, ca=str(pki.ca))[0] == 200, 10, "the server has read")
    server.popen.send_signal(signal.SIGTERM)
    server.wait_for("stopping")
    half.sendall(b"\r\n")
    silent.sendall(upgrade())
    for sock in (half, silent, late):
        status, headers, body = split(read_to_end(sock))
        assert status == 503 and headers["retry-after"] == "1" and "restarting" in body
        sock.close()
    assert server.wait_exit() == 0


def test_stopping_does_not_wait_for_the_silent(pair, target):
    server = pair.server(tcp=target, tls=None)
    with ws.connect(server) as sock:
        wait.until(lambda: get(server)[0] == 200, 10, "the server has accepted")
        start = time.monotonic()
        server.popen.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0
        assert time.monotonic() - start < 3
        assert ws.closed_within(sock, 1)
