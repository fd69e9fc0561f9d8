"""What can be chosen of TLS: versions, ciphers, lists of revoked certificates; with real handshakes of both programs."""

import signal
import socket
import ssl

import pytest

from harness import raw, tunnel, wait

pytestmark = pytest.mark.tunnel
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture
def target(peer):
    return {"peer": f"{peer.host}:{peer.port}"}


def works(client):
    return raw.echo_once(tunnel.port(client, "peer"), b"in") == b"in"


def handshake(port, pki, version, ciphers=None):
    """(version, cipher) of a handshake with a server, or None."""
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            with context.wrap_socket(sock, server_hostname="localhost") as secure:
                return secure.version(), secure.cipher()[0]
    except (ssl.SSLError, ConnectionError):
        return None


class Door:
    """A TLS server that only shakes hands; what came of it is in `seen`."""

    def __init__(self, pki, version, ciphers=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*map(str, pki.server))
        self.context.minimum_version = self.context.maximum_version = version
        if ciphers:
            self.context.set_ciphers(ciphers)
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.settimeout(15)
        self.url = f"https://localhost:{self.sock.getsockname()[1]}"

    def shake(self):
        sock, _ = self.sock.accept()
        with sock:
            try:
                with self.context.wrap_socket(sock, server_side=True) as secure:
                    return secure.version(), secure.cipher()[0]
            except (ssl.SSLError, ConnectionError):
                return None

    def close(self):
        self.sock.close()


# ---- versions and ciphers

@pytest.mark.parametrize("args,offered,wanted", [
    ([], (TLS12, None), "TLSv1.2"), (["--tls-min-version", "1.3"], (TLS12, None), None), (["--tls-min-version", "1.3"], (TLS13, None), "TLSv1.3"),
    (["--tls-ciphers", "TLS_AES_256_GCM_SHA384"], (TLS13, None), "TLS_AES_256_GCM_SHA384"),
    (["--tls-ciphers", "TLS_AES_256_GCM_SHA384"], (TLS12, None), None),
    (["--tls-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"], (TLS12, None), "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (["--tls-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"], (TLS13, None), None),
    (["--tls-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"], (TLS12, "ECDHE-ECDSA-AES128-GCM-SHA256"), None),
    (["--tls-ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"], (TLS12, None), "ECDHE-ECDSA-CHACHA20-POLY1305"),
], ids=str)
def test_server(args, offered, wanted, pair, target):
    server = pair.server(tcp=target, args=args)
    got = handshake(server.port, pair.pki, *offered)
    assert (wanted in got) if wanted else got is None, got


@pytest.mark.parametrize("args,spoken,wanted", [
    ([], (TLS12, None), "TLSv1.2"), (["--tls-min-version", "1.3"], (TLS12, None), None), (["--tls-min-version", "1.3"], (TLS13, None), "TLSv1.3"),
    (["--tls-ciphers", "TLS_CHACHA20_POLY1305_SHA256"], (TLS13, None), "TLS_CHACHA20_POLY1305_SHA256"),
    (["--tls-ciphers", "TLS_CHACHA20_POLY1305_SHA256"], (TLS12, None), None),
    (["--tls-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"], (TLS12, None), "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (["--tls-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"], (TLS12, "ECDHE-ECDSA-AES128-GCM-SHA256"), None),
], ids=str)
def test_client(args, spoken, wanted, pair):
    door = Door(pair.pki, *spoken)
    client = pair.client(door.url, tcp={"peer": 0}, args=args, ready=False)
    got = door.shake()
    assert (wanted in got) if wanted else got is None, got
    if not wanted:
        assert client.wait_for("dial_failed")["hop"] == "tls"
    door.close()


def test_both_agree(pair, target):
    server = pair.server(tcp=target, args=["--tls-ciphers", "TLS_AES_256_GCM_SHA384"])
    client = pair.client(server, tcp={"peer": 0}, args=["--tls-ciphers", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"])
    assert works(client)
    assert client.wait_for("link_up")["protection"] == "TLSv1.3 TLS_AES_256_GCM_SHA384"


@pytest.mark.parametrize("args,words", [
    (["--tls-ciphers", "AES128-SHA"], "AES128-SHA is none of the ciphers"), (["--tls-min-version", "1.1"], "--tls-min-version"),
    (["--tls-min-version", "1.3", "--tls-ciphers", "ECDHE-RSA-AES128-GCM-SHA256"], "no cipher of TLS 1.3"),
], ids=lambda value: value[-1] if isinstance(value, list) else "")
def test_bad_choices(args, words, pair, target):
    for program in (pair.server(tcp=target, args=args, ready=False), pair.client("https://localhost:1", tcp={"peer": 0}, args=args, ready=False)):
        assert program.wait_exit() == 2 and words in program.log(), program.log()


# ---- revoked certificates

def test_a_client_is_revoked(pair, target, tmp_path):
    """At its next link, as soon as the file says so."""
    pki, path = pair.pki, tmp_path / "clients.crl"
    other = pki.authority.issue("second", "DNS:second", "clientAuth")
    pki.authority.crl(path, other[0])
    server = pair.server(tcp=target, args=["--client-ca", pki.ca, "--client-crl", path])
    assert works(pair.client(server, tcp={"peer": 0}, args=["--cert", pki.client[0], "--key", pki.client[1]]))
    bad = pair.client(server, tcp={"peer": 0}, args=["--cert", other[0], "--key", other[1]], ready=False)
    assert "revoked" in bad.wait_for("dial_failed")["reason"]
    assert "certificate revoked (CN=second, issued by CN=Test CA)" in server.wait_for("tls_failed")["reason"]
    pki.authority.crl(path, pki.client[0], other[0])
    assert server.wait_for("crl_renewed")["lists"] == 1
    bad = pair.client(server, tcp={"peer": 0}, args=["--cert", pki.client[0], "--key", pki.client[1]], ready=False)
    assert "revoked" in bad.wait_for("dial_failed")["reason"]


def test_the_server_is_revoked(pair, target, tmp_path):
    pki = pair.pki
    server = pair.server(tcp=target)
    good = pki.authority.crl(tmp_path / "good.crl")
    assert works(pair.client(server, tcp={"peer": 0}, args=["--crl", good]))
    for name, path, words in (("revoked", pki.authority.crl(tmp_path / "bad.crl", pki.server[0]), "has been revoked by"),
                              ("of another", pki.other.crl(tmp_path / "other.crl"), "there is no list of"),
                              ("old", pki.authority.crl(tmp_path / "old.crl", days=-1), "there is no current list of")):
        client = pair.client(server, tcp={"peer": 0}, args=["--crl", path], ready=False)
        failed = client.wait_for("dial_failed")
        assert failed["hop"] == "tls" and words in failed["reason"], (name, failed)
        assert bool(client.events("crl_out_of_date")) == (name == "old")


def test_files_that_are_no_lists(pair, target, tmp_path):
    pki = pair.pki
    server = pair.server(tcp=target, args=["--client-ca", pki.ca, "--client-crl", pki.ca], ready=False)
    assert server.wait_exit() == 2 and "no list of revoked certificates" in server.log()
    server = pair.server(tcp=target, args=["--client-crl", pki.authority.crl(tmp_path / "x.crl")], ready=False)
    assert server.wait_exit() == 2 and "no effect without --client-ca" in server.log()
    # One that is spoilt later leaves in force what there was.
    path = pki.authority.crl(tmp_path / "y.crl")
    server = pair.server(tcp=target, args=["--client-ca", pki.ca, "--client-crl", path])
    path.write_text("nothing\n", encoding="ascii")
    server.popen.send_signal(signal.SIGHUP)
    assert "--client-crl" in server.wait_for("certificate_unusable")["reason"]
    assert works(pair.client(server, tcp={"peer": 0}, args=["--cert", pki.client[0], "--key", pki.client[1]]))
    assert wait.until(server.alive, 1, "the server goes on")
