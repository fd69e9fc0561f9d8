"""Behind a stand-in for the ingress of Snowflake's container services."""

import pytest

from harness import ingress as ingresses, raw, tunnel, wait
from harness.live import Live, wait_progress

pytestmark = pytest.mark.tunnel
ALICE, BOB = "pat-of-alice-5b1d", "pat-of-bob-77aa"


@pytest.fixture
def service(pair, peer, pki, tmp_path):
    """start(count): so many instances, as in a service specification, behind the ingress."""
    made = []
    secret = tmp_path / "secret"
    secret.write_text("between-us\n")

    def start(count=1, kafka=None, idle=90.0):
        ports = [wait.free_port() for _ in range(count)]
        servers = []
        for port in ports:
            peers = [f"--peers=127.0.0.1:{other}" for other in ports] + [
                f"--peer-listen=127.0.0.1:{port}", f"--peer-secret-file={secret}"] if count > 1 else []
            servers.append(pair.server(kafka=kafka, tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None,
                                       args=["--trust-ingress", *peers], secrets=[ALICE, BOB]))
        made.append(ingresses.Ingress(pki, [("127.0.0.1", s.port) for s in servers], {ALICE: "ALICE", BOB: "BOB"}, idle))
        return servers, made[-1]
    yield start
    for one in made:
        one.close()


@pytest.fixture
def laptop(pair, tmp_path):
    """start(ingress, token): a client; its token is in token.txt."""
    def start(ingress, token=ALICE, args=(), **kw):
        path = tmp_path / "token.txt"
        if token:
            path.write_text(token + "\n")
            args = ["--token-file", path, "--auth-scheme", "snowflake", *args]
        return pair.client(ingress.url(), tcp={"raw": 0}, args=args, secrets=[ALICE, BOB], **kw)
    return start


def test_first_message(service, laptop):
    servers, ingress = service()
    client = laptop(ingress)
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
    assert servers[0].wait_for("session_up")["identity"] == "ALICE"


def test_without_a_token(service, laptop):
    _, ingress = service()
    client = laptop(ingress, token=None, ready=False)
    failed = client.wait_for("dial_failed")
    assert failed["status"] == 302 and "signin.example.com" in failed["reason"], failed
    assert "token" in failed["reason"], failed


@pytest.mark.parametrize("status,kind", [("401 Unauthorized", "ERROR_INVALID_TOKEN"), ("403 Forbidden", "ERROR_NETWORK_POLICY")])
def test_refused_token_is_said_once(status, kind, service, laptop):
    _, ingress = service()
    ingress.tokens.clear()
    ingress.refused[ALICE] = (status, kind)
    client = laptop(ingress, ready=False)
    failed = client.wait_for("dial_failed")
    assert failed["hop"] == "auth" and str(failed["status"]) in status, failed
    assert failed["retry_ms"] >= 30000, "a token that is refused is not tried again at once"


def test_service_is_not_up(service, laptop):
    servers, ingress = service()
    servers[0].stop()
    client = laptop(ingress, ready=False)
    failed = client.wait_for("dial_failed")
    assert failed["status"] == 503 and "no service hosts found" in failed["reason"], failed


@pytest.mark.slow
def test_idle_cut_and_pings(service, laptop):
    """Pings keep a quiet link; without them it is cut, and connections do not notice."""
    _, ingress = service(idle=3)
    client = laptop(ingress, args=["--ping-interval", "1"])
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        with pytest.raises(AssertionError):
            client.wait_for("link_lost", deadline=7)
        ingress.idle = 0.5
        client.wait_for("link_resumed")
        sock.sendall(b"two")
        assert sock.recv(10) == b"two"


def test_two_instances_without_stickiness(service, laptop, cluster, pair, processes, figure):
    """Maintenance cuts links again and again; every second one reaches the other instance."""
    topic = cluster.create_topic(3)
    servers, ingress = service(2, kafka=cluster.bootstrap)
    client = laptop(ingress, kafka={"kafka": 0})
    live = Live(processes, f"localhost:{tunnel.port(client, 'kafka')}", topic)
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        for number in range(5):
            mark = client.mark()
            sock.sendall(b"%d" % number)
            assert sock.recv(10) == b"%d" % number
            ingress.drop()
            client.wait_for("link_resumed", since=mark)
            wait_progress(cluster, topic, 50)
    produced = live.finish(cluster)
    assert not client.events("session_lost")
    assert any(server.events("link_forwarded") for server in servers)
    figure("records", f"{produced['records']} over {len(ingress.seen)} links")
    cluster.delete_topic(topic)


@pytest.mark.parametrize("instances", [1, 2])
def test_session_belongs_to_who_opened_it(instances, service, laptop, tmp_path):
    """A link that is authenticated as somebody else does not get the session, whatever secret it knows."""
    servers, ingress = service(instances)
    client = laptop(ingress)
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        (tmp_path / "token.txt").write_text(BOB + "\n")
        ingress.drop()
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
    client.wait_for("session_lost")
    assert raw.echo_once(tunnel.port(client, "raw")) == b"ping"
    assert any(e["identity"] == "BOB" for server in servers for e in server.events("session_up"))
    assert not any(server.events("session_resumed") for server in servers)
