"""Several instances that know each other by certificates: --peer-cert, --peer-key, --peer-ca."""

import contextlib
import socket
import ssl

import pytest

from harness import faults, raw, tunnel, wait

pytestmark = pytest.mark.tunnel
USAGES = "serverAuth,clientAuth"


@pytest.fixture(scope="module")
def certificates(pki):
    """Names of (certificate, key) pairs: of an instance, of one for another host, of another CA, of one that may not ask."""
    return {"instance": pki.authority.issue("instance", "DNS:localhost,IP:127.0.0.1", USAGES),
            "misnamed": pki.authority.issue("misnamed", "DNS:elsewhere.example", USAGES),
            "stranger": pki.other.issue("strange-instance", "DNS:localhost,IP:127.0.0.1", USAGES),
            "answers": pki.authority.issue("answers", "DNS:localhost,IP:127.0.0.1", "serverAuth")}


@pytest.fixture
def instances(pair, peer, pki, certificates):
    """start(names): an instance for each certificate, and a balancer in front; None: an instance without, with a secret."""
    balancers = []

    def start(*names, more=(), workers="1"):
        ports = [wait.free_port() for _ in names]
        servers = []
        for name, port in zip(names, ports):
            args = ["--peer-listen", f"127.0.0.1:{port}", "--workers", workers, *more]
            if name:
                cert, key = certificates[name]
                args += ["--peer-cert", cert, "--peer-key", key, "--peer-ca", pki.ca]
            for other in ports:
                args += ["--peers", f"127.0.0.1:{other}"]
            servers.append(pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, args=args))
        balancers.append(faults.Proxy([("127.0.0.1", server.port) for server in servers]))
        return servers, balancers[-1]
    yield start
    for balancer in balancers:
        balancer.close()


def url(balancer):
    return f"https://localhost:{balancer.port}"


def peer_port(server):
    return int(server.argv[server.argv.index("--peer-listen") + 1].rsplit(":", 1)[1])


@pytest.mark.parametrize("workers", ["1", "3"])
def test_resume_over_another_instance(instances, pair, workers):
    servers, balancer = instances("instance", "instance", workers=workers)
    client = pair.client(url(balancer), tcp={"raw": 0})
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        for number in range(5):
            word = b"word %d" % number
            sock.sendall(word)
            assert sock.recv(100) == word
            mark = client.mark()
            balancer.drop()
            client.wait_for("link_resumed", since=mark)
        sock.sendall(b"the end")
        assert sock.recv(100) == b"the end"
    assert not client.events("session_lost") and servers[1].events("link_forwarded")


def test_bulk_over_another_instance(instances, pair):
    """Megabytes both ways, through TLS between the instances."""
    servers, balancer = instances("instance", "instance")
    client = pair.client(url(balancer), tcp={"raw": 0})
    balancer.cut_after = 9_000_001
    raw.check_both(tunnel.port(client, "raw"), 48 << 20)
    assert servers[1].events("link_forwarded")


def test_both_secret_and_certificates(instances, pair, tmp_path):
    (tmp_path / "secret").write_text("between-us\n", encoding="ascii")
    _, balancer = instances("instance", "instance", more=["--peer-secret-file", tmp_path / "secret"])
    client = pair.client(url(balancer), tcp={"raw": 0})
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        for _ in range(3):
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            mark = client.mark()
            balancer.drop()
            client.wait_for("link_resumed", since=mark)


@pytest.mark.parametrize("name,words", [("stranger", "certificate"), ("misnamed", "certificate"), ("answers", "certificate")])
def test_instance_that_is_not_trusted(instances, pair, name, words):
    """Its certificate is another CA's, or another host's, or not for asking: the session is not carried on there."""
    # The session is at the first; the second asks.
    servers, balancer = instances("instance" if name != "misnamed" else "misnamed", name if name != "misnamed" else "instance")
    client = pair.client(url(balancer), tcp={"raw": 0})
    port = tunnel.port(client, "raw")
    with raw.connect(port, "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        balancer.drop()
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
    assert any(words in (e.get("reason") or "") for server in servers for e in server.events("peer_untrusted"))
    assert raw.echo_once(port) == b"ping"


def test_strangers_at_the_peer_port(instances, pair, pki, certificates):
    """Plain bytes, TLS without a certificate, one of another CA, half a handshake: nobody gets as far as the question."""
    servers, balancer = instances("instance", "instance")
    client = pair.client(url(balancer), tcp={"raw": 0})
    port = peer_port(servers[0])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(b"KTP1" + bytes(16))
        with contextlib.suppress(ConnectionResetError):
            assert raw.read_rest(sock)[:1] in (b"", b"\x15"), "no nonce, but an alert at the most"
    for pair_of_files in (None, certificates["stranger"]):
        context = ssl.create_default_context(cafile=str(pki.ca))
        if pair_of_files:
            context.load_cert_chain(*map(str, pair_of_files))
        mark = servers[0].mark()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
                with context.wrap_socket(sock, server_hostname="localhost") as secure:
                    secure.sendall(b"KTP1" + bytes(16))
                    if not secure.recv(16):
                        raise EOFError
        servers[0].wait_for("peer_untrusted", since=mark)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(b"\x16\x03\x01")
        assert sock.recv(10) == b"", "it is sent away after five seconds"
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"


def test_certificates_are_renewed(instances, pair, pki, certificates, tmp_path):
    """A new certificate counts for the next connection."""
    cert, key = tmp_path / "i.pem", tmp_path / "i.key"
    cert.write_bytes(certificates["stranger"][0].read_bytes())
    key.write_bytes(certificates["stranger"][1].read_bytes())
    key.chmod(0o600)
    certificates["own"] = (cert, key)
    servers, balancer = instances("instance", "own")
    cert.write_bytes(certificates["instance"][0].read_bytes())
    key.write_bytes(certificates["instance"][1].read_bytes())
    servers[1].wait_for("certificate_renewed", option="peer-cert")
    client = pair.client(url(balancer), tcp={"raw": 0})
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        mark = client.mark()
        balancer.drop()
        client.wait_for("link_resumed", since=mark)


@pytest.mark.parametrize("args,words", [
    (["--peers", "127.0.0.1:1", "--peer-listen", "127.0.0.1:0"], "--peer-secret-file or --peer-cert is missing"),
    (["--peers", "127.0.0.1:1", "--peer-listen", "127.0.0.1:0", "--peer-cert", "x.pem"], "--peer-key is missing"),
    (["--peers", "127.0.0.1:1", "--peer-listen", "127.0.0.1:0", "--peer-cert", "x.pem", "--peer-key", "x.key"], "--peer-ca is missing"),
    (["--peer-cert", "x.pem", "--peer-key", "x.key", "--peer-ca", "ca.pem"], "--peers is missing"),
], ids=["neither", "no key", "no CA", "no peers"])
def test_options(args, words, pair, peer):
    server = pair.server(tcp={"raw": f"{peer.host}:{peer.port}"}, args=args, ready=False)
    assert server.wait_exit() == 2 and words in server.log(), server.log()
