"""What servers, proxies, brokers and Kafka clients say reaches terminals, logs and pages: as text that steers and hides nothing."""

import contextlib
import http.client
import os
import re
import socket
import struct
import subprocess

import pytest

from harness import fakes, mux, process, proxy as proxies, wait, wire, ws

pytestmark = pytest.mark.tunnel

# Sets the window's title, clears the screen, C1 as UTF-8 and as a byte, right-to-left, a new line that could be one of the log, no width.
EVIL = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202e\u2066\u200f\u061c\u2028\u200b\x7f" + "2026-11-20T20:30:00.123Z error forged"
BYTES = EVIL.encode() + b"\x9b31m\xff\xc0\x80"
HEADER = BYTES  # what a header's value may not hold is in there as well, but for line ends
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")


def clean(output, seen=None):
    """seen: what must be there, so that the test has looked at the right thing."""
    data = output if isinstance(output, bytes) else output.encode()
    text = data.decode()  # and strictly: no byte that is no UTF-8
    found = UNSAFE.search(text)
    assert not found, f"{found.group(0)!r} in {text[max(0, found.start() - 100):found.end() + 50]!r}"
    assert "\n2026-11-20T20:30:00.123Z" not in text
    assert seen is None or seen in text, text


def answer(status=b"401 Unauthorized", headers=b"", body=b""):
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(body), body)


def refuse(stream, code=4):
    return [(mux.REFUSED, struct.pack(">IQH", stream, 0, code) + mux.text8(BYTES))]


def reset(stream):
    return [(mux.OPENED, struct.pack(">I", stream)), (mux.RESET, struct.pack(">IQH", stream, 0, 4) + mux.text8(BYTES))]


WEB = {
    "body": answer(body=BYTES),
    "location": answer(b"302 Found", b"Location: https://x.example/" + HEADER + b"\r\n"),
    "server": answer(b"401 Unauthorized", b"Server: " + HEADER + b"\r\n"),
    "retry-after": answer(b"503 Busy", b"Retry-After: " + HEADER + b"\r\n", BYTES),
    "www-authenticate": answer(b"401 Unauthorized", b"WWW-Authenticate: " + HEADER + b"\r\n"),
    "reason phrase": answer(b"403 " + HEADER),
    "not HTTP": BYTES,
    "extension": b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Extensions: " + HEADER + b"\r\n\r\n",
}
def trouble(stream):
    return [(mux.TROUBLE, mux.text8("kafka") + mux.text8(BYTES)), *refuse(stream)]


# What our own server's place says: (first answer, on_open, after, headers of the upgrade)
TUNNEL = {
    "welcome": (mux.welcome(software=BYTES, identity=BYTES, offers=((mux.CLUSTER, BYTES[:60]), (mux.TCP, BYTES[:60]))), refuse, None, b""),
    "software and identity": (mux.welcome(software=BYTES, identity=BYTES), refuse, None, b""),
    "reject": (mux.reject(BYTES), None, None, b""),
    "refused": (mux.welcome(), refuse, None, b""),
    "reset": (mux.welcome(), reset, None, b""),
    "trouble": (mux.welcome(), trouble, None, b""),
    "goaway": (mux.welcome() + mux.goaway(BYTES[:120]), None, None, b""),
    "close": (mux.welcome(), None, struct.pack(">H", 1011) + EVIL.encode()[:110], b""),
    "protocol": (mux.welcome(), None, None, b"Sec-WebSocket-Protocol: " + HEADER + b"\r\n"),
}


def place(kind, case):
    if kind == "web":
        return fakes.Fake(WEB[case])
    return mux.Server(*TUNNEL[case])


ALL = [("web", case) for case in WEB] + [("tunnel", case) for case in TUNNEL]


def output_of(argv, env=None):
    """What a program prints until it ends, byte by byte."""
    given = {k: v for k, v in os.environ.items() if not k.startswith("TUNNEL_")}
    return subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
                          env={**given, **(env or {})}).stdout


def listens_at(process, what):
    """The port in the first line that holds `what`, in either format."""
    line = process.wait_log(what + ".*127")
    return int(re.search(r"127\.0\.0\.1:(\d+)", line)[1])


def log_is_clean(process, seen=None):
    with open(process.log_path, "rb") as f:
        clean(f.read(), seen)


def page(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    return connection.getresponse().read()


@pytest.mark.parametrize("how", ["text", "json"])
@pytest.mark.parametrize("kind,case", ALL, ids=[f"{kind}-{case}" for kind, case in ALL])
def test_server(kind, case, how, pair, binaries):
    """Whatever the server's place says: doctor, run, and a client's log and status page."""
    with place(kind, case) as server:
        url = f"http://localhost:{server.port}"
        given = ["--log-level", "debug", "--dial-timeout", "1s", "--kafka", "0"]
        clean(output_of([binaries.client, "doctor", "--server", url, *given, *(["--json"] if how == "json" else [])]), "localhost")
        clean(output_of([binaries.client, "run", "--server", url, *given, "--log-format", how, "--ready-timeout", "700ms", "--", "true"]))
        client = pair.client(url, ready=False, args=[*given, "--log-format", how, "--status", "127.0.0.1:0", "--connect-wait", "500ms"])
        at = listens_at(client, "Listening for local connections")
        with socket.create_connection(("127.0.0.1", at)) as sock:
            ws.closed_within(sock, 2)
        clean(page(listens_at(client, "Status pages are served"), "/status.json"), '"tunnel-client"')
        client.stop()
        log_is_clean(client, "Listening for local connections")


def test_proxy(binaries):
    for answer_ in (answer(b"407 " + HEADER, b"Proxy-Authenticate: Basic realm=" + HEADER + b"\r\n"), answer(b"502 " + HEADER), BYTES):
        with contextlib.closing(proxies.Proxy(answer=answer_)) as proxy:
            done = output_of([binaries.client, "doctor", "--server", "https://localhost:1", "--proxy", proxy.url(), "--kafka", "0"])
            clean(done, "the proxy")


def test_certificate(pki, binaries, tmp_path):
    """Subject and issuer, of a certificate that is not even trusted."""
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    process.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-utf8",
                 "-subj", f"/CN=x{EVIL[:30]}".replace("\x7f", ""), "-keyout", key, "-out", cert], 30)
    with fakes.Fake(None, (cert, key)) as fake:
        clean(output_of([binaries.client, "doctor", "--server", f"https://localhost:{fake.port}", "--kafka", "0"]), "is self-signed")


@pytest.mark.parametrize("how", ["text", "json"])
def test_token_command(how, binaries, tmp_path):
    (tmp_path / "says").write_bytes(BYTES)
    command = f"cat {tmp_path}/says >&2; false"
    for words in (["doctor"], ["run", "--ready-timeout", "700ms"]):
        args = [binaries.client, *words, "--server", "https://localhost:1", "--token-command", command, "--kafka", "0", "--log-format", how]
        clean(output_of([*args, *(["--", "true"] if words[0] == "run" else [])]), "forged")


def test_status_page_that_is_waited_for(binaries):
    with fakes.Fake(answer(b"503 Busy", body=BYTES)) as fake:
        clean(output_of([binaries.client, "wait", "--status", f"127.0.0.1:{fake.port}", "--max", "0"]), "the answer is 503")


def test_usage(binaries, tmp_path):
    """Also one's own words: they may have come from somewhere else."""
    (tmp_path / "c").write_bytes(b"log-level = " + EVIL.replace("\n", "").encode() + b"\n")
    evil = EVIL.replace("\u2028", "")
    for args in (["--config", tmp_path / "c"], ["--" + evil], ["--kafka", evil], ["--log-level", evil], ["--tcp", f"x={evil}"]):
        for program in (binaries.client, binaries.server):
            clean(output_of([program, *args]), "tunnel-")
    clean(output_of([binaries.client, "wait"], {"TUNNEL_" + evil: "1", "TUNNEL_STATUS": "127.0.0.1:1", "TUNNEL_MAX": "0"}), "tunnel-client")


@pytest.mark.parametrize("how", ["text", "json"])
def test_at_the_server(how, pair, binaries, tmp_path):
    """What clients, Kafka clients and brokers say, in the server's log and on its page."""
    (tmp_path / "bad").write_bytes(b"a-token-that-is-long-enough " + EVIL[:40].encode() + b"\n")
    clean(output_of([binaries.server, "--log-format", how, "--kafka", "127.0.0.1:1", "--token-file", tmp_path / "bad"]), "line 1")
    (tmp_path / "tokens").write_bytes(b"a-token-that-is-long-enough alice\n")
    with fakes.Broker() as broker:
        broker.brokers = [(1, EVIL[:60], 9092), broker.node(2)]
        server = pair.server(kafka=broker.address, tls=None, ready=False,
                             args=["--log-format", how, "--log-level", "debug", "--token-file", tmp_path / "tokens", "--status", "127.0.0.1:0"])
        server.port = listens_at(server, "is listening|Waiting for tunnel|tunnel-server is ready")
        token = ["Authorization: Bearer a-token-that-is-long-enough"]
        for name, peer in ((b"kafka", BYTES[:60]), (BYTES[:60], b"127.0.0.1:1")):
            sock, status, _ = ws.upgrade(server, token)
            assert status == 101
            opening = struct.pack(">IBi", 1, 1, -1) + mux.text8(name) + mux.text8(peer)
            message = struct.pack(">BBH", mux.OPEN, 0, len(opening)) + opening
            request = wire.frame(struct.pack(">hhih", 3, 1, 7, 40) + BYTES[:40] + bytes(4))
            hello = ws.mux_frame(1, 0, struct.pack(">IHHHII", 0x4B54554E, 1, 1, 0, 1, 65536) + bytes(48) + mux.text8(BYTES[:60]))
            sock.sendall(ws.frame(2, hello + ws.mux_frame(mux.DATA, 0, bytes(8) + message)
                                  + ws.mux_frame(mux.DATA, 1, bytes(8) + request)))
            wait.until(lambda: server.log().count("forged") > 0 or "u001b" in server.log(), 10, "words in the log")
            clean(page(listens_at(server, "Status pages are served"), "/status.json"), '"tunnel-server"')
            sock.sendall(ws.frame(2, mux.goaway(BYTES[:100])) + ws.frame(8, struct.pack(">H", 1000) + EVIL.encode()[:80]))
            assert ws.closed_within(sock, 20)
            sock.close()
        for headers in (["Authorization: Bearer " + EVIL], ["Sf-Context-Current-User: " + EVIL], [EVIL + ": x"]):
            with ws.connect(server) as sock:
                sock.sendall(ws.request(headers=headers))
                ws.closed_within(sock, 2)
        server.stop()
        log_is_clean(server, "u001b")
