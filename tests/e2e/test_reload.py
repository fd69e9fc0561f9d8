"""Certificates, keys, CAs and secrets change while the programs run: after SIGHUP, and by themselves; no connection is dropped."""

import os
import pty
import re
import shutil
import signal
import socket
import ssl

import pytest

from harness import fakes, faults, raw, terminal, tunnel, wait
from harness.pki import Authority

pytestmark = pytest.mark.tunnel


@pytest.fixture
def target(peer):
    return {"peer": f"{peer.host}:{peer.port}"}


@pytest.fixture
def files(tmp_path):
    """files(certificate, key): copies that a test may exchange; put(files, ...) does so."""
    def copy(*paths):
        copies = [tmp_path / f"{n}-{os.path.basename(path)}" for n, path in enumerate(paths)]
        put(copies, paths)
        return copies
    return copy


def put(files, paths):
    """Each file is replaced in one step, as careful tools do it."""
    for file, path in zip(files, paths):
        new = file.with_suffix(".new")
        shutil.copy(path, new)
        new.rename(file)


def reload(program):
    """SIGHUP; what came of it."""
    mark = program.mark()
    program.popen.send_signal(signal.SIGHUP)
    return program.wait_for("reloaded", since=mark)


class Asking(fakes.Fake):
    """Answers every request with 401, and keeps the serial numbers of the certificates that clients show."""

    def __init__(self, pki):
        self.serials = []
        super().__init__(fakes.UNAUTHORIZED, pki.server)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(pki.ca)
        self.context.minimum_version = self.context.maximum_version = ssl.TLSVersion.TLSv1_2

    def _serve(self, sock):
        try:
            secured = self.context.wrap_socket(sock, server_side=True)
            self.serials.append(secured.getpeercert()["serialNumber"])
            while b"\r\n\r\n" not in secured.recv(65536):
                pass
            secured.sendall(self.answer)
        except OSError:
            sock.close()


@pytest.mark.parametrize("how", ["SIGHUP", "by itself"])
def test_client_certificate(how, pair, pki, files):
    """The next dial shows the new one, and SIGHUP does not wait for the end of the pause after a refusal."""
    first, second = (pki.authority.issue(f"laptop-{n}", "DNS:laptop", "clientAuth") for n in (1, 2))
    mine = files(*first)
    with Asking(pki) as server:
        client = pair.client(f"https://localhost:{server.port}", tcp={"x": 0}, ready=False, args=["--cert", mine[0], "--key", mine[1]])
        client.wait_for("dial_failed", status=401)
        put(mine, second)
        if how == "SIGHUP":
            assert reload(client)["renewed"] == 1
            wait.until(lambda: len(set(server.serials)) == 2, 10, lambda: f"the new certificate in {server.serials}")
        renewed = client.wait_for("certificate_renewed")
        assert (renewed["option"], renewed["subject"]) == ("cert", "CN=laptop-2")
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", renewed["valid_until"])


@pytest.mark.parametrize("how", ["SIGHUP", "by itself"])
def test_connections_go_on(how, pair, pki, target, files):
    """Over a link that was made with the old files, and over the next, which is made with the new ones."""
    first, second = (pki.authority.issue(f"laptop-{n}", "DNS:laptop", "clientAuth") for n in (1, 2))
    for path in (*first, *second):
        assert path.exists()
    mine, ca = files(*first), files(pki.ca)[0]
    server = pair.server(tcp=target, args=["--client-ca", pki.ca])
    balancer = faults.Proxy([("127.0.0.1", server.port)])
    client = pair.client(f"https://localhost:{balancer.port}", tcp={"peer": 0}, ca=ca, args=["--cert", mine[0], "--key", mine[1]])
    with raw.connect(tunnel.port(client, "peer"), "echo") as sock:
        def echo(word):
            sock.sendall(word)
            assert sock.recv(100) == word
        echo(b"one")
        # One of the same name: only who opened a session may resume it.
        put(mine, pki.authority.issue("laptop-1", "DNS:laptop", "clientAuth"))
        put([ca], [_bundle(ca.parent / "bundle.pem", pki.other.cert, pki.ca)])
        if how == "SIGHUP":
            assert reload(client)["renewed"] == 2
            assert reload(server)["failed"] == 0
        client.wait_for("certificate_renewed")
        assert client.wait_for("authorities_renewed")["certificates"] == 2
        echo(b"two")
        assert not client.events("link_lost")
        balancer.drop()
        client.wait_for("link_resumed")
        echo(b"three")
    balancer.close()


def _bundle(path, *certificates):
    path.write_text("".join(c.read_text(encoding="ascii") for c in certificates), encoding="ascii")
    return path


@pytest.mark.parametrize("what", ["key of another certificate", "no certificate", "gone"])
def test_unusable_files_leave_the_old_ones_in_force(what, pair, pki, target, files):
    mine = files(*pki.client)
    server = pair.server(tcp=target, args=["--client-ca", pki.ca])
    balancer = faults.Proxy([("127.0.0.1", server.port)])
    client = pair.client(f"https://localhost:{balancer.port}", tcp={"peer": 0}, ca=pki.ca, args=["--cert", mine[0], "--key", mine[1]])
    if what == "key of another certificate":
        put(mine[1:], pki.server[1:])
    elif what == "no certificate":
        mine[0].write_text("renewal failed\n", encoding="ascii")
    else:
        mine[1].unlink()
    assert reload(client)["failed"] == 1
    assert str(mine[0 if what == "no certificate" else 1]) in client.wait_for("certificate_unusable")["reason"]
    mark = client.mark()
    balancer.drop()
    client.wait_for("link_resumed", since=mark)
    assert raw.echo_once(tunnel.port(client, "peer")) == b"ping"
    balancer.close()


def test_a_client_waits_for_the_right_ca(pair, pki, target, files):
    """The CA is corrected in its file: the client finds its way without being told."""
    ca = files(pki.other.cert)[0]
    server = pair.server(tcp=target)
    client = pair.client(server, tcp={"peer": 0}, ca=ca, ready=False)
    client.wait_for("dial_failed", hop="tls")
    put([ca], [pki.ca])
    client.wait_for("ready", 30)
    assert raw.echo_once(tunnel.port(client, "peer")) == b"ping"


def shown(server, ca):
    """The serial number of the certificate that a server shows; ca: None if nobody looks who has signed it."""
    context = ssl.create_default_context(cafile=ca)
    with context.wrap_socket(socket.create_connection(("localhost", server.port), 10), server_hostname="localhost") as sock:
        return sock.getpeercert()["serialNumber"]


@pytest.mark.parametrize("how", ["SIGHUP", "by itself"])
def test_certificate_of_the_server(how, pair, pki, target, files):
    """As a certificate is renewed every few months: from then on it is what new clients see, and the old ones notice nothing."""
    first, second = (pki.authority.issue(f"served-{n}", "DNS:localhost") for n in (1, 2))
    mine = files(*first)
    server = pair.server(tcp=target, tls=mine)
    client = pair.client(server, tcp={"peer": 0})
    before = shown(server, pki.ca)
    with raw.connect(tunnel.port(client, "peer"), "echo") as sock:
        put(mine, second)
        if how == "SIGHUP":
            assert reload(server)["renewed"] == 1
        renewed = server.wait_for("certificate_renewed")
        assert (renewed["option"], renewed["subject"]) == ("tls-cert", "CN=served-2")
        assert shown(server, pki.ca) != before
        sock.sendall(b"still")
        assert sock.recv(100) == b"still"
    assert not client.events("link_lost")
    # Half of a renewal: what was there stays.
    put(mine[:1], first[:1])
    assert reload(server)["failed"] == 1
    assert shown(server, pki.ca) != before


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_client_ca_that_is_taken_out(version, pair, pki, target, files):
    """Whoever it has signed is refused: with a new link, and when it resumes the session of its tunnel or of TLS."""
    ca = files(_bundle(pki.ca.parent / "both.pem", pki.ca, pki.other.cert))[0]
    server = pair.server(tcp=target, args=["--client-ca", ca])
    balancer = faults.Proxy([("127.0.0.1", server.port)])
    stranger = pair.client(f"https://localhost:{balancer.port}", tcp={"peer": 0}, ca=pki.ca,
                           args=["--cert", pki.other_client[0], "--key", pki.other_client[1]])
    context = ssl.create_default_context(cafile=pki.ca)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(*pki.other_client)

    def get(session=None):
        with context.wrap_socket(socket.create_connection(("localhost", server.port), 10), server_hostname="localhost",
                                 session=session) as sock:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
            return sock.session
    session = get()
    put([ca], [pki.ca])
    assert reload(server)["renewed"] == 1
    assert raw.echo_once(tunnel.port(stranger, "peer")) == b"ping"
    for old in (session, None):
        with pytest.raises((OSError, AssertionError)):
            get(old)
    mark = stranger.mark()
    balancer.drop()
    stranger.wait_for("dial_failed", since=mark)
    assert not stranger.events("link_resumed", since=mark)
    balancer.close()


@pytest.mark.parametrize("how", ["SIGHUP", "by itself"])
def test_ca_of_brokers(how, pair, pki, files):
    """Brokers' certificates are exchanged for those of another CA."""
    broker = fakes.Fake(None, pki.other.issue("broker", "IP:127.0.0.2"), host="127.0.0.2")
    ca = files(pki.ca)[0]
    server = pair.server(kafka=f"127.0.0.2:{broker.port}", args=["--kafka-tls", "--kafka-ca", ca, "--no-check-brokers"])
    server.wait_for("cluster_unreachable")
    put([ca], [pki.other.cert])
    if how == "SIGHUP":
        assert reload(server)["renewed"] == 1
    assert server.wait_for("authorities_renewed")["option"] == "kafka-ca"
    server.wait_for("cluster_reachable", 30)
    fakes.close(broker.listener)


def test_a_connection_to_a_broker_that_is_being_made(pair, pki, files):
    """It goes on with what it began with, although that has been exchanged meanwhile."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.authority.issue("slow-broker", "IP:127.0.0.2"))
    ca = files(pki.ca)[0]
    with socket.create_server(("127.0.0.2", 0), backlog=0) as listener:
        # The queue is full: whoever comes next hears nothing, and knocks again after a second.
        waiting = [socket.create_connection(listener.getsockname())]
        server = pair.server(kafka=f"127.0.0.2:{listener.getsockname()[1]}", args=["--kafka-tls", "--kafka-ca", ca, "--connect-timeout", "30s"])
        put([ca], [_bundle(ca.parent / "bundle.pem", pki.ca, pki.other.cert)])
        assert reload(server)["renewed"] == 1
        assert not server.events("cluster_reachable")
        listener.settimeout(20)
        waiting.append(listener.accept()[0])
        raw_sock, _ = listener.accept()
        with context.wrap_socket(raw_sock, server_side=True) as secured:
            secured.settimeout(20)
            assert secured.recv(1) is not None
        for sock in waiting:
            sock.close()


def test_tokens_and_the_instances_secret(pair, target, tmp_path):
    tokens, secret = tmp_path / "tokens", tmp_path / "secret"
    tokens.write_text("first-token-of-all laptop\n", encoding="ascii")
    secret.write_text("first-secret\n", encoding="ascii")
    server = pair.server(tcp=target, secrets=["first-token-of-all", "first-secret", "second-secret"],
                         args=["--token-file", tokens, "--peers", "127.0.0.1:1", "--peer-listen", "127.0.0.1:0", "--peer-secret-file", secret])
    assert reload(server)["renewed"] == 0
    secret.write_text("second-secret\n", encoding="ascii")
    server.wait_for("peer_secret_renewed", 30)
    secret.write_text("\n", encoding="ascii")
    assert reload(server)["failed"] == 1
    server.wait_for("peer_secret_unusable")
    tokens.write_text("first-token-of-all laptop\nanother-token desk\n", encoding="ascii")
    assert reload(server)["renewed"] == 1
    assert server.wait_for("tokens_read", tokens=2)


def test_a_token_file_that_cannot_be_read(pair, target, tmp_path):
    """The link stands, and the log says that the next one will not."""
    token = tmp_path / "token"
    token.write_text("some-token\n", encoding="ascii")
    client = pair.client(pair.server(tcp=target), tcp={"peer": 0}, args=["--token-file", token], secrets=["some-token"])
    assert reload(client)["failed"] == 0
    token.unlink()
    assert reload(client)["failed"] == 1
    assert str(token) in client.wait_for("token_unusable")["reason"]
    assert raw.echo_once(tunnel.port(client, "peer")) == b"ping"


def test_many_at_once(pair, target):
    """SIGHUP in a row, with a connection beside, and while the program drains."""
    server = pair.server(tcp=target, drain=None)
    client = pair.client(server, tcp={"peer": 0})
    with raw.connect(tunnel.port(client, "peer"), "echo") as sock:
        for number in range(20):
            for program in (server, client):
                program.popen.send_signal(signal.SIGHUP)
            sock.sendall(b"%d" % number)
            assert sock.recv(100) == b"%d" % number
        server.popen.send_signal(signal.SIGTERM)
        server.wait_for("stopping")
        reload(server)
        sock.sendall(b"still")
        assert sock.recv(100) == b"still"
        sock.shutdown(1)
        assert raw.read_rest(sock) == b""
    assert server.wait_exit() == 0


# ---- the terminal goes away


def client_argv(pair, server):
    return [pair.binaries.client, "--server", f"https://localhost:{server.port}", "--ca", pair.pki.ca, "--tcp", "peer=0"]


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("ignored", [False, True], ids=["", "nohup"])
def test_terminal_that_is_closed(ignored, pair, target, tmp_path):
    """Nobody sees the program any more: it ends, after draining. With nohup it lives on."""
    server = pair.server(tcp=target)
    log = tmp_path / "log"
    pid, screen = pty.fork()
    if pid == 0:
        try:
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT, 0o600), 2)
            signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
            argv = [str(word) for word in client_argv(pair, server)]
            os.execv(argv[0], argv)
        finally:
            os._exit(127)
    try:
        wait.until(lambda: log.exists() and "is ready" in log.read_text(), 15, "ready")
        os.kill(pid, signal.SIGHUP)
        wait.until(lambda: "Files were read again" in log.read_text(), 15, "a reload")
        assert not gone(pid)
        os.close(screen)
        if ignored:
            wait.until(lambda: log.read_text().count("Files were read again") == 2, 15, log.read_text)
            assert not gone(pid)
            os.kill(pid, signal.SIGTERM)
        wait.until(lambda: gone(pid), 15, log.read_text)
        assert "tunnel-client stops" in log.read_text()
    finally:
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_shell_that_ends(pair, target, tmp_path):
    """It tells its jobs while it still has the terminal, which is gone a moment later."""
    server = pair.server(tcp=target)
    log, pid = tmp_path / "log", tmp_path / "pid"
    words = " ".join(f"'{word}'" for word in client_argv(pair, server))
    screen = terminal.Terminal(["bash", "-c", f"set -m; {words} 2>{log} & echo $! >{pid}; read line; kill -HUP $!; exit 0"])
    try:
        wait.until(lambda: log.exists() and "is ready" in log.read_text(), 15, "ready")
        screen.type("\n")
        assert screen.wait_exit() == 0
        wait.until(lambda: gone(int(pid.read_text())), 15, lambda: log.read_text())
        assert "tunnel-client stops" in log.read_text()
    finally:
        screen.close()


def test_a_shell_that_only_asks(pair, target, tmp_path):
    """The same signal from the same shell, whose terminal stays."""
    server = pair.server(tcp=target)
    log = tmp_path / "log"
    words = " ".join(f"'{word}'" for word in client_argv(pair, server))
    screen = terminal.Terminal(["bash", "-c", f"set -m; {words} 2>{log} & read line; kill -HUP $!; read line; kill $!; wait $!"])
    try:
        wait.until(lambda: log.exists() and "is ready" in log.read_text(), 15, "ready")
        screen.type("\n")
        wait.until(lambda: "Files were read again" in log.read_text(), 15, lambda: log.read_text())
        assert "stops" not in log.read_text()
        screen.type("\n")
        assert screen.wait_exit() == 0
    finally:
        screen.close()


def test_without_a_terminal(pair, target):
    """As a service has it: a session of its own."""
    server = pair.server(tcp=target)
    client = pair.processes.start(["setsid", *client_argv(pair, server), "--log-format", "json"], "client")
    client.wait_for("ready")
    assert reload(client)["failed"] == 0
    client.stop()
