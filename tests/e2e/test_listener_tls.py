"""TLS on the local listeners for Kafka: beside plaintext on one port, by a local CA or by files, and what must not get through."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import stat
import struct
import subprocess

import pytest

from harness import fakes, process, raw, tunnel, wait, wire
from harness.pages import Pages

pytestmark = pytest.mark.tunnel


@pytest.fixture
def broker():
    with fakes.Broker() as broker:
        broker.brokers = [broker.node(1)]
        yield broker


@pytest.fixture
def start(pair, broker, peer, tmp_path):
    """start("--listener-tls", "auto"): a client with these options; its local CA is in tmp_path/state."""
    server = pair.server(kafka=broker.address, tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)

    def start_client(*args, kafka=0, **kw):
        return pair.client(server, kafka={"kafka": kafka}, tcp={"raw": 0},
                           args=["--state-dir", tmp_path / "state", "--log-level", "debug", *args], **kw)
    return start_client


@pytest.fixture
def local_ca(tmp_path):
    return tmp_path / "state" / "listener-ca.pem"


def context(ca, cert=None):
    made = ssl.create_default_context(cafile=ca)
    if cert:
        made.load_cert_chain(*cert)
    return made


def secure(port, ca, host="127.0.0.1", cert=None, name=None):
    sock = socket.create_connection((host, port), 20)
    return context(ca, cert).wrap_socket(sock, server_hostname=name or host)


def ask(sock, client_id="test"):
    sock.sendall(wire.metadata_request(client_id=client_id))
    return wire.read_frame(sock)


def ask_tls(port, ca, **kw):
    with secure(port, ca, **kw) as sock:
        body = ask(sock)
        assert body, "the connection ended instead of an answer"
        return body


def is_refused(port, ca, **kw):
    """With TLS 1.3, a client hears of it when it reads."""
    try:
        with secure(port, ca, **kw) as sock:
            return ask(sock) is None
    except (ssl.SSLError, ConnectionError):
        return True


def test_both_on_one_port(start, broker, local_ca):
    """A client with TLS and one without get the same answer, at the bootstrap port and at a node's, by every local name."""
    client = start("--listener-tls", "auto")
    port = tunnel.port(client, "kafka")
    nodes = wire.ask_metadata(port)
    assert ask_tls(port, local_ca) == ask_tls(port, local_ca, host="localhost")
    node = nodes[1][1]
    assert wire.ask_metadata(node) == nodes
    assert ask_tls(node, local_ca) == ask_tls(node, local_ca, host="::1")
    assert {e["security"].split()[0] for e in client.events("connection_opened")} == {"plain", "TLSv1.3"}
    client.stop()


def test_raw_targets_stay_as_they_are(start, peer):
    """What goes to a raw target may be TLS of its own, and its server may speak first: nothing is waited for."""
    client = start("--listener-tls", "required")
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"\x16\x03\x01 as it is")
        assert sock.recv(100) == b"\x16\x03\x01 as it is"


def test_required_refuses_plaintext(start, local_ca):
    client = start("--listener-tls", "required")
    port = tunnel.port(client, "kafka")
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        sock.sendall(wire.metadata_request())
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert "--listener-tls optional" in client.wait_for("plaintext_refused")["reason"]
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert "HTTP" in wait.until(lambda: client.events("plaintext_refused")[1:], 10, "the second refusal")[0]["reason"]
    assert ask_tls(port, local_ca)
    assert not client.events("connection_opened", security="plain")


def test_beyond_loopback_tls_is_required(start, local_ca):
    client = start("--listener-tls", "auto", "--listener-name", "broker.example", kafka="0.0.0.0:0")
    port = tunnel.port(client, "kafka")
    assert client.wait_for("listener_tls_required")["address"] == "0.0.0.0"
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        sock.sendall(wire.metadata_request())
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert ask_tls(port, local_ca, name="broker.example")


@pytest.mark.parametrize("args", [[], ["--listener-tls", "off"]], ids=["by default", "off"])
def test_in_clear_beyond_loopback_is_said(start, args):
    """Sidecars serve their pod so: it stays as it was, and a word says that it is meant."""
    client = start(*args, kafka="0.0.0.0:0")
    assert wire.ask_metadata(tunnel.port(client, "kafka"))
    assert bool(client.events("listener_in_clear")) == (not args)


def test_without_it_the_sentence_names_it(start, broker, local_ca):
    client = start()
    with socket.create_connection(("127.0.0.1", tunnel.port(client, "kafka")), 20) as sock:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
    assert "--listener-tls auto" in client.wait_for("connection_reset")["reason"]
    assert not local_ca.exists()


def test_files(start, pki, tmp_path):
    """With certificates of one's own, --listener-tls is auto; they are read again."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for source, file in zip(pki.server, (cert, key)):
        shutil.copy(source, file)
    client = start("--listener-tls-cert", cert, "--listener-tls-key", key)
    port = tunnel.port(client, "kafka")
    assert ask_tls(port, pki.ca, host="localhost")
    assert wire.ask_metadata(port)
    assert not (tmp_path / "state").exists()
    with secure(port, pki.ca) as before:
        assert ask(before)
        serial = before.getpeercert()["serialNumber"]
        for source, file in zip(pki.authority.issue("renewed", "DNS:localhost,IP:127.0.0.1"), (cert, key)):
            shutil.copy(source, file)
        client.popen.send_signal(signal.SIGHUP)
        client.wait_for("reloaded")
        with secure(port, pki.ca) as after:
            assert ask(after)
            assert after.getpeercert()["serialNumber"] != serial
        # A file that cannot be used changes nothing, and who was there goes on.
        key.write_text("no key", encoding="ascii")
        client.popen.send_signal(signal.SIGHUP)
        assert "--listener-tls-key" in client.wait_for("certificate_unusable")["reason"]
        assert ask_tls(port, pki.ca) and ask(before)


def test_mutual_tls(start, pki, local_ca):
    """Where TLS is required a client must show a certificate; where plaintext gets in as well, only a wrong one is refused."""
    client = start("--listener-tls", "required", "--listener-client-ca", pki.ca)
    port = tunnel.port(client, "kafka")
    assert ask_tls(port, local_ca, cert=pki.client)
    assert is_refused(port, local_ca, cert=pki.other_client)
    assert is_refused(port, local_ca)
    wait.until(lambda: len(client.events("listener_tls_failed")) == 2, 10, "both refusals")
    assert all("certificate" in event["reason"] for event in client.events("listener_tls_failed"))
    client.stop()
    client = start("--listener-tls", "optional", "--listener-client-ca", pki.ca)
    port = tunnel.port(client, "kafka")
    assert ask_tls(port, local_ca, cert=pki.client) and ask_tls(port, local_ca) and wire.ask_metadata(port)
    assert is_refused(port, local_ca, cert=pki.other_client)


def test_a_client_is_revoked(start, pki, local_ca, tmp_path):
    """At its next connection, as soon as the file says so; the Kafka client hears it in the handshake, the log has the reason."""
    def answer(cert):
        """None, or what the client hears."""
        try:
            with secure(port, local_ca, cert=cert) as sock:
                return None if ask(sock) else "the end"
        except (ssl.SSLError, ConnectionError) as failure:
            return str(failure)

    def renew(*revoked, **kw):
        mark = client.mark()
        pki.authority.crl(path, *revoked, **kw)
        assert client.wait_for("crl_renewed", since=mark)["option"] == "listener-client-crl"
        return mark
    second = pki.authority.issue("second", "DNS:second", "clientAuth")
    path = pki.authority.crl(tmp_path / "clients.crl", second[0])
    client = start("--listener-tls", "required", "--listener-client-ca", pki.ca, "--listener-client-crl", path)
    port = tunnel.port(client, "kafka")
    assert answer(pki.client) is None
    assert "certificate revoked" in answer(second)
    assert "certificate revoked (CN=second, issued by CN=Test CA)" in client.wait_for("listener_tls_failed")["reason"]
    mark = renew(pki.client[0])
    assert answer(second) is None
    assert "certificate revoked" in answer(pki.client)
    assert "certificate revoked (CN=client, issued by CN=Test CA)" in client.wait_for("listener_tls_failed", since=mark)["reason"]
    mark = renew(days=-1)
    old = client.wait_for("crl_out_of_date", since=mark)
    assert old["option"] == "listener-client-crl" and old["file"] == str(path)
    assert answer(pki.client) is not None
    assert "CRL has expired (CN=client, issued by CN=Test CA)" in client.wait_for("listener_tls_failed", since=mark)["reason"]


def test_who_does_not_trust_it_is_told_how(start, pki):
    client = start("--listener-tls", "auto")
    with pytest.raises(ssl.SSLCertVerificationError):
        secure(tunnel.port(client, "kafka"), pki.ca)
    failed = client.wait_for("listener_tls_failed")
    assert "unknown CA" in failed["reason"] and "listener-ca" in failed["body"]


def test_half_a_client_hello(start, local_ca):
    """It leads nowhere: no stream is opened; and one beside it is served."""
    client = start("--listener-tls", "auto")
    port = tunnel.port(client, "kafka")
    with socket.create_connection(("127.0.0.1", port), 20) as half, socket.create_connection(("127.0.0.1", port), 20) as silent:
        half.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
        assert ask_tls(port, local_ca)
        assert len(client.events("connection_opened")) == 1
        half.shutdown(socket.SHUT_WR)
        assert "closed" in client.wait_for("listener_tls_failed")["reason"]
        silent.shutdown(socket.SHUT_WR)
        assert silent.recv(1) == b""
    with socket.create_connection(("127.0.0.1", port), 20) as garbage:
        garbage.sendall(b"\x16\x03\x01\x00\x05hello" + os.urandom(5000))
        with contextlib.suppress(ConnectionError):
            while garbage.recv(1000):
                pass
    assert wait.until(lambda: len(client.events("listener_tls_failed")) == 2, 10, "the garbage to be refused")
    assert len(client.events("connection_opened")) == 1


STATUS = ["--status", "127.0.0.1:0"]


def refusals(pages):
    """Reason -> how often, of those that were counted."""
    metrics = pages.metrics()
    found = {s.labels["reason"]: int(s.value) for s in metrics.samples if s.name == "kafka_tunnel_listener_refusals_total" and s.value}
    assert found == {r["name"]: r["count"] for r in pages.json()["refused"]}
    return found


def test_the_page_says_what_is_tls(start, pki, local_ca):
    """Of each listener what it takes, of each connection its version and whose certificate it has shown."""
    client = start("--listener-tls", "auto", "--listener-client-ca", pki.ca, *STATUS)
    pages = Pages(client)
    port = tunnel.port(client, "kafka")
    with secure(port, local_ca, cert=pki.client) as one, secure(port, local_ca) as two, socket.create_connection(("127.0.0.1", port), 20) as plain:
        for sock in (one, two, plain):
            assert ask(sock)
        shown = pages.json()
        assert {(s["security"].split()[0], s["certificate"]) for s in shown["streams"]} == {
            ("TLSv1.3", "CN=client"), ("TLSv1.3", ""), ("plain", "")}
    takes = {one["name"]: one["security"] for one in shown["listeners"]}
    assert takes["raw"] == "plain" and set(takes[name] for name in takes if name != "raw") == {"either"}
    tls = shown["listener_tls"]
    assert tls["local_ca"] and tls["current"] and "kafka-tunnel" in tls["certificate"], tls
    assert not refusals(pages)


def test_without_tls_the_page_says_so(start):
    client = start(*STATUS)
    shown = Pages(client).json()
    assert "listener_tls" not in shown and {one["security"] for one in shown["listeners"]} == {"plain"}


def test_refusals_are_counted_by_reason(start, pki, local_ca):
    client = start("--listener-tls", "required", "--listener-client-ca", pki.ca, *STATUS)
    pages = Pages(client)
    port = tunnel.port(client, "kafka")
    assert ask_tls(port, local_ca, cert=pki.client)
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        sock.sendall(wire.metadata_request())
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert is_refused(port, local_ca, cert=pki.other_client) and is_refused(port, local_ca)
    with pytest.raises(ssl.SSLCertVerificationError):
        secure(port, pki.ca)
    with socket.create_connection(("127.0.0.1", port), 20) as half:
        half.sendall(b"\x16\x03\x01")
        half.shutdown(socket.SHUT_WR)
        client.wait_for("listener_tls_failed", reason="the program closed the connection")
    # One that leaves without a word, as a probe of the port does, is no refusal.
    socket.create_connection(("127.0.0.1", port), 20).close()
    expected = {"plaintext": 1, "certificate": 2, "client_refused": 1, "handshake": 1}
    wait.until(lambda: refusals(pages) == expected, 10, lambda: f"{expected}: {refusals(pages)}")


@pytest.mark.slow
def test_a_deadline_for_the_handshake(start):
    client = start("--listener-tls", "auto", *STATUS)
    port = tunnel.port(client, "kafka")
    with socket.create_connection(("127.0.0.1", port), 60) as half, socket.create_connection(("127.0.0.1", port), 60) as silent:
        half.sendall(b"\x16\x03\x01")
        for sock in (half, silent):
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
    assert "within 15 s" in client.wait_for("listener_tls_failed")["reason"]
    assert client.events("listener_silent")
    assert refusals(Pages(client)) == {"timeout": 1, "silent": 1}


def test_waits_for_the_link(start, pair, broker, local_ca):
    """The handshake needs no link; the request waits for one, as without TLS."""
    server = pair.server(kafka=broker.address, tls=None)
    client = pair.client(server, kafka={"kafka": 0}, args=["--listener-tls", "auto", "--state-dir", local_ca.parent, "--connect-wait", "60"])
    port = tunnel.port(client, "kafka")
    server.kill()
    client.wait_for("link_lost")
    with secure(port, local_ca) as sock:
        sock.sendall(wire.metadata_request())
        pair.server(kafka=broker.address, tls=None, listen=f"127.0.0.1:{server.port}")
        assert wire.read_frame(sock)


def test_much_goes_through_in_order(pair, tmp_path, local_ca):
    """A produce request of 8 MiB and its echo, through the TLS of a listener."""
    body = os.urandom(8 << 20)

    class Echo(fakes.Listening):
        def _serve(self, sock):
            with sock, contextlib.suppress(OSError):
                wire.answer_check(sock)
                while request := wire.read_frame(sock):
                    sock.sendall(wire.frame(request[4:8] + request))

    with Echo("127.0.0.2") as echo:
        server = pair.server(kafka=f"127.0.0.2:{echo.port}", tls=None)
        client = pair.client(server, kafka={"kafka": 0}, args=["--listener-tls", "required", "--state-dir", local_ca.parent])
        with secure(tunnel.port(client, "kafka"), local_ca) as sock:
            # An API that nobody knows: its response passes as it is.
            request = struct.pack(">hhih", 999, 0, 7, -1) + body
            sock.settimeout(60)
            sock.sendall(wire.frame(request))
            assert wire.read_frame(sock) == request[4:8] + request


# ---- the local CA

def run_client(binaries, *args, env=None):
    return subprocess.run([binaries.client, *args], capture_output=True, text=True, timeout=20, check=False, env={**os.environ, **(env or {})})


@pytest.fixture
def print_ca(binaries):
    return lambda *args, **kw: run_client(binaries, "listener-ca", *args, **kw)


def test_the_command_prints_what_clients_need(print_ca, start, tmp_path):
    """It makes the CA that the listeners have then; what it prints is a file of CAs."""
    state = tmp_path / "state"
    said = print_ca("--state-dir", state)
    assert said.returncode == 0, said.stderr
    for words in (f"ssl.truststore.location={state}/listener-ca.pem", f"ssl.ca.location={state}", "NODE_EXTRA_CA_CERTS=", "RootCAs",
                  "ssl_cafile", "localhost, 127.0.0.0/8, ::1, and for nothing else"):
        assert words in said.stdout
    assert stat.S_IMODE((state / "listener-ca-key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert "PRIVATE" not in said.stdout
    (tmp_path / "printed.pem").write_text(said.stdout, encoding="utf-8")
    client = start("--listener-tls", "auto")
    assert ask_tls(tunnel.port(client, "kafka"), tmp_path / "printed.pem")
    assert print_ca("--state-dir", state).stdout == said.stdout


@pytest.mark.parametrize("variable, inside", [("STATE_DIRECTORY", ""), ("XDG_STATE_HOME", "kafka-tunnel"), ("HOME", ".local/state/kafka-tunnel")])
def test_where_it_is_kept(print_ca, tmp_path, variable, inside):
    env = {"STATE_DIRECTORY": "", "XDG_STATE_HOME": "", "HOME": "", variable: str(tmp_path / "there")}
    said = print_ca(env=env)
    assert said.returncode == 0, said.stderr
    assert (tmp_path / "there" / inside / "listener-ca-key.pem").exists()


def test_nowhere_to_keep_it(print_ca):
    said = print_ca(env={"STATE_DIRECTORY": "", "XDG_STATE_HOME": "", "HOME": ""})
    assert said.returncode == 1 and "--state-dir" in said.stderr


def damage(state, how):
    key = state / "listener-ca-key.pem"
    text = key.read_text(encoding="ascii")
    if how == "cut":
        key.write_text(text[:400], encoding="ascii")
    elif how == "empty":
        key.write_text("", encoding="ascii")
    elif how == "another key":
        other = process.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], 30).stdout
        key.write_text(other + text[text.index("-----BEGIN CERT"):], encoding="ascii")
    elif how == "no key":
        key.unlink()
    elif how == "readable by others":
        key.chmod(0o644)
    elif how == "a link":
        key.rename(state / "elsewhere")
        key.symlink_to(state / "elsewhere")
    elif how == "another user's":
        os.chown(key, 12345, 12345)


@pytest.mark.parametrize("how, words", [
    ("cut", "damaged"), ("empty", "damaged"), ("another key", "not the certificate's"), ("no key", "lost its key"),
    ("readable by others", "chmod 600"), ("a link", "symbolic link"), ("another user's", "another user")])
def test_a_damaged_ca_is_never_replaced(binaries, print_ca, tmp_path, how, words):
    if how == "another user's" and os.geteuid() != 0:
        pytest.skip("needs root")
    state = tmp_path / "state"
    assert print_ca("--state-dir", state).returncode == 0
    damage(state, how)
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    said = print_ca("--state-dir", state)
    assert said.returncode == 1 and words in said.stderr and str(state) in said.stderr, said.stderr
    started = run_client(binaries, "--server", "http://127.0.0.1:1", "--kafka", "0", "--listener-tls", "auto", "--state-dir", state)
    assert started.returncode == 2 and words in started.stderr, started.stderr
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before


def test_it_vouches_for_its_names_only(print_ca, tmp_path):
    """Another name needs another CA, which clients must be told about: nothing is done by itself. Whoever has the key gets no further."""
    state = tmp_path / "state"
    assert print_ca("--state-dir", state, "--advertise", "sidecar.example").returncode == 0
    assert print_ca("--state-dir", state, "--listener-name", "x.sidecar.example").returncode == 0
    said = print_ca("--state-dir", state, "--listener-name", "10.1.2.3")
    assert said.returncode == 1 and "not for 10.1.2.3" in said.stderr and "sidecar.example" in said.stderr
    key = state / "listener-ca-key.pem"
    for names, valid in (("DNS:sidecar.example,IP:127.0.0.1", True), ("DNS:bank.example", False), ("IP:10.1.2.3", False)):
        (tmp_path / "ext").write_text(f"subjectAltName={names}\n", encoding="ascii")
        process.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
                     "-keyout", tmp_path / "k", "-out", tmp_path / "csr"], 30)
        process.run(["openssl", "x509", "-req", "-in", tmp_path / "csr", "-CA", state / "listener-ca.pem", "-CAkey", key, "-days", "1",
                     "-extfile", tmp_path / "ext", "-out", tmp_path / "leaf"], 30)
        checked = subprocess.run(["openssl", "verify", "-CAfile", state / "listener-ca.pem", tmp_path / "leaf"], capture_output=True, text=True,
                                 check=False, timeout=30)
        assert (checked.returncode == 0) == valid, checked.stdout + checked.stderr
        assert valid or "permitted subtree violation" in checked.stdout + checked.stderr


def test_two_at_once_have_one_ca(binaries, tmp_path):
    state = tmp_path / "state"
    running = [subprocess.Popen([binaries.client, "listener-ca", "--state-dir", state], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    said = {one.communicate(timeout=30)[0] for one in running}
    assert len(said) == 1 and all(one.returncode == 0 for one in running)
    assert sorted(path.name for path in state.iterdir()) == ["listener-ca-key.pem", "listener-ca.pem"]
