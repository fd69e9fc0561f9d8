"""Who may come in, and what must stay unsaid."""

import http.client
import os
import secrets
import socket
import ssl
import warnings

import pytest

from harness import fakes, raw, terminal, tunnel, wait, ws
from harness.pki import PASSPHRASE, Authority, encrypted

pytestmark = pytest.mark.tunnel


@pytest.fixture
def token():
    return "tok-" + secrets.token_hex(24)


@pytest.fixture
def token_file(tmp_path, token):
    path = tmp_path / "tokens"
    path.write_text(token + "\n", encoding="ascii")
    path.chmod(0o600)
    return path


def get(server, path, headers=None):
    """(status, body) of a GET on the server's port."""
    if server.tls:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("localhost", server.port, timeout=20, context=context)
    else:
        connection = http.client.HTTPConnection("localhost", server.port, timeout=20)
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    body = response.read().decode("utf-8", "replace")
    connection.close()
    return response.status, body


@pytest.fixture
def target(peer):
    return {"peer": f"{peer.host}:{peer.port}"}


def works(client):
    assert raw.echo_once(tunnel.port(client, "peer"), b"in") == b"in"


def test_token_file_on_both_sides(pair, target, token, token_file):
    server = pair.server(tcp=target, args=["--token-file", token_file], secrets=[token])
    works(pair.client(server, tcp={"peer": 0}, args=["--token-file", token_file], secrets=[token]))


def test_any_of_several_tokens(pair, target, token, tmp_path):
    other = "tok-" + secrets.token_hex(24)
    accepted = tmp_path / "accepted"
    accepted.write_text(f"{other}\n\n{token}\n", encoding="ascii")
    server = pair.server(tcp=target, args=["--token-file", accepted], secrets=[token, other])
    for mine in (token, other):
        works(pair.client(server, tcp={"peer": 0}, args=["--token", mine], secrets=[mine]))


def test_token_from_the_environment(pair, target, token, token_file):
    server = pair.server(tcp=target, args=["--token-file", token_file], secrets=[token])
    works(pair.client(server, tcp={"peer": 0}, env={"TUNNEL_TOKEN": token}, secrets=[token]))


def test_token_from_a_properties_file(pair, target, token, token_file, tmp_path):
    server = pair.server(tcp=target, args=["--token-file", token_file], secrets=[token])
    config = tmp_path / "client.properties"
    config.write_text(f"token={token}\n", encoding="ascii")
    works(pair.client(server, tcp={"peer": 0}, args=["--config", config], secrets=[token]))


@pytest.mark.parametrize("scheme,url_scheme", [("bearer", "https"), ("bearer", "http"), ("snowflake", "https")])
def test_header_of_each_scheme(scheme, url_scheme, pair, pki, token):
    """What the client sends, seen by a server of our own."""
    with fakes.Fake(fakes.UNAUTHORIZED, pki.server if url_scheme == "https" else None) as fake:
        client = pair.client(f"{url_scheme}://127.0.0.1:{fake.port}", tcp={"x": 0}, ready=False, secrets=[token],
                             args=["--token", token, "--auth-scheme", scheme])
        client.wait_for("dial_failed")
        want = f"Bearer {token}" if scheme == "bearer" else f'Snowflake Token="{token}"'
        assert fake.header("Authorization") == want


def test_bearer_header_by_hand(pair, target, token, token_file):
    server = pair.server(tcp=target, args=["--token-file", token_file], secrets=[token])
    sock, status, _ = ws.upgrade(server, [f"Authorization: Bearer {token}"], ca=pair.pki.ca)
    sock.close()
    assert status == 101


@pytest.mark.parametrize("headers", [
    [], ["Authorization: Bearer wrong"], ["Authorization: Bearer "], ["Authorization: Basic dXNlcjpwYXNz"],
    ["Authorization: bearer"], ["Authorization: Bearer " + "x" * 3000],
], ids=["none", "wrong", "empty", "basic", "bare", "long"])
def test_upgrade_without_a_valid_token_is_401(headers, pair, target, token, token_file):
    server = pair.server(tcp=target, args=["--token-file", token_file], secrets=[token])
    sock, status, _ = ws.upgrade(server, headers, ca=pair.pki.ca)
    sock.close()
    assert status == 401
    server.wait_log("401|unauth|token")


def test_prefix_of_a_token_is_not_enough(pair, target, token, token_file):
    server = pair.server(tcp=target, args=["--token-file", token_file], secrets=[token])
    for bad in (token[:-1], token + "x", token.upper(), token[:8]):
        sock, status, _ = ws.upgrade(server, [f"Authorization: Bearer {bad}"], ca=pair.pki.ca)
        sock.close()
        assert status == 401, bad


def test_wrong_token_then_the_right_one(pair, target, token, token_file, tmp_path):
    """The client says that the token was refused, and where it came from; not what it is."""
    server = pair.server(tcp=target, args=["--token-file", token_file], secrets=[token])
    mine = tmp_path / "mine"
    mine.write_text("tok-of-yesterday-0123456789\n", encoding="ascii")
    client = pair.client(server, tcp={"peer": 0}, args=["--token-file", mine], ready=False,
                         secrets=[token, "tok-of-yesterday-0123456789"])
    event = client.wait_for("dial_failed")
    assert event["hop"] == "auth" and event["retry_ms"] >= 20_000


def test_token_file_is_read_at_each_dial(pair, target, token, tmp_path):
    """The token is exchanged while the link is down: the next dial takes the new one."""
    new = "tok-" + secrets.token_hex(24)
    accepted, mine = tmp_path / "accepted", tmp_path / "mine"
    accepted.write_text(token + "\n", encoding="ascii")
    mine.write_text(token + "\n", encoding="ascii")
    server = pair.server(tcp=target, args=["--token-file", accepted], secrets=[token, new])
    client = pair.client(server, tcp={"peer": 0}, args=["--token-file", mine], secrets=[token, new])
    works(client)
    port = server.port
    server.stop()
    accepted.write_text(new + "\n", encoding="ascii")
    mine.write_text(new + "\n", encoding="ascii")
    pair.server(tcp=target, args=["--token-file", accepted], listen=f"127.0.0.1:{port}", secrets=[token, new])
    works(client)


def test_token_file_that_vanishes_is_reported(pair, target, token, token_file, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text(token + "\n", encoding="ascii")
    server = pair.server(tcp=target, args=["--token-file", token_file], secrets=[token])
    client = pair.client(server, tcp={"peer": 0}, args=["--token-file", mine], secrets=[token])
    mine.unlink()
    server.stop()
    client.wait_log(str(mine), deadline=30)
    assert client.alive()


def test_token_never_over_plain_http_beyond_loopback(pair, token):
    client = pair.client("http://192.0.2.77:8080", tcp={"x": 0}, args=["--token", token], ready=False, secrets=[token])
    assert client.wait_exit() == 2
    assert one_line(client) and "https" in client.log()


def test_server_beyond_loopback_without_authentication_refuses(pair, target):
    server = pair.server(tcp=target, listen="0.0.0.0:0", ready=False)
    assert server.wait_exit() == 2
    assert one_line(server)
    for option in ("--token-file", "--client-ca", "--trust-ingress"):
        assert option in server.log()


@pytest.mark.parametrize("how", ["token", "client-ca", "trust-ingress"])
def test_server_beyond_loopback_with_authentication_starts(how, pair, target, token_file, pki, token):
    args = {"token": ["--token-file", token_file], "client-ca": ["--client-ca", pki.ca], "trust-ingress": ["--trust-ingress"]}
    pair.server(tcp=target, listen="0.0.0.0:0", args=args[how], secrets=[token])


def one_line(program):
    return len(program.log().strip().splitlines()) == 1


def test_client_certificate(pair, target, pki):
    server = pair.server(tcp=target, args=["--client-ca", pki.ca])
    cert, key = pki.client
    works(pair.client(server, tcp={"peer": 0}, args=["--cert", cert, "--key", key]))


@pytest.mark.parametrize("how", ["file", "environment"])
def test_encrypted_server_key(how, pair, target, pki, tmp_path):
    cert, key = pki.server
    (tmp_path / "pass").write_text(PASSPHRASE + "\n", encoding="ascii")
    server = pair.server(tcp=target, tls=(cert, encrypted(key, tmp_path / "key.pem")), secrets=[PASSPHRASE],
                         args=["--tls-key-passphrase-file", tmp_path / "pass"] if how == "file" else [],
                         env={"TUNNEL_TLS_KEY_PASSPHRASE": PASSPHRASE} if how == "environment" else {})
    works(pair.client(server, tcp={"peer": 0}))


@pytest.mark.parametrize("how", ["file", "environment"])
def test_encrypted_client_key(how, pair, target, pki, tmp_path):
    server = pair.server(tcp=target, args=["--client-ca", pki.ca])
    cert, key = pki.client
    (tmp_path / "pass").write_text(PASSPHRASE + "\n", encoding="ascii")
    args = ["--cert", cert, "--key", encrypted(key, tmp_path / "key.pem")]
    args += ["--key-passphrase-file", tmp_path / "pass"] if how == "file" else []
    works(pair.client(server, tcp={"peer": 0}, args=args, secrets=[PASSPHRASE],
                      env={"TUNNEL_KEY_PASSPHRASE": PASSPHRASE} if how == "environment" else {}))


def test_nobody_is_asked_for_a_passphrase(binaries, pki, tmp_path):
    """At a terminal, where OpenSSL would ask: an error that says what to do, at once."""
    locked = encrypted(pki.server[1], tmp_path / "key.pem")
    server = [binaries.server, "--tcp", "x=localhost:1", "--listen", "127.0.0.1:0"]
    for argv, option in [([binaries.client, "--server", "https://localhost:1", "--cert", pki.client[0], "--key", locked], "--key"),
                         ([*server, "--tls-cert", pki.server[0], "--tls-key", locked], "--tls-key"),
                         ([*server, "--kafka-tls", "--kafka-cert", pki.server[0], "--kafka-key", locked], "--kafka-key")]:
        screen = terminal.Terminal(argv)
        try:
            assert screen.wait_exit() == 2
            assert f"{option}: {locked} is encrypted: give {option}-passphrase-file" in "".join(screen.lines()), screen.text()
        finally:
            screen.close()


def test_ca_that_is_an_intermediate(pair, target, pki, tmp_path):
    """What a company hands out is often the CA that signs, and not the root."""
    intermediate = Authority(tmp_path / "intermediate", "Intermediate CA", pki.authority)
    cert, key = intermediate.issue("server", "DNS:localhost,IP:127.0.0.1")
    server = pair.server(tcp=target, tls=(cert, key))
    works(pair.client(server, tcp={"peer": 0}, ca=intermediate.cert))
    stranger = pair.client(server, tcp={"peer": 0}, ca=pki.other.cert, ready=False)
    assert stranger.wait_for("dial_failed")["hop"] == "tls"


def test_client_ca_that_is_an_intermediate(pair, target, pki, tmp_path):
    intermediate = Authority(tmp_path / "intermediate", "Intermediate CA", pki.authority)
    cert, key = intermediate.issue("laptop", "DNS:laptop", "clientAuth")
    server = pair.server(tcp=target, args=["--client-ca", intermediate.cert])
    works(pair.client(server, tcp={"peer": 0}, args=["--cert", cert, "--key", key]))
    stranger = pair.client(server, tcp={"peer": 0}, args=["--cert", pki.client[0], "--key", pki.client[1]], ready=False)
    assert stranger.wait_for("dial_failed")["hop"] == "tls"


def test_ca_from_a_pipe(pair, target, pki, binaries, processes):
    """What a shell makes of <(command) can be read once."""
    server = pair.server(tcp=target)
    client = processes.start(["bash", "-c", f"exec {binaries.client} --server https://localhost:{server.port} --tcp peer=0 "
                              f"--log-format json --ca <(cat {pki.ca})"], "client")
    client.wait_for("ready")
    works(client)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_upgrade_without_a_valid_client_certificate(who, version, pair, target, pki):
    """Neither without a certificate nor with one of another authority does a client get to the upgrade."""
    server = pair.server(tcp=target, args=["--client-ca", pki.ca])
    with pytest.raises(OSError):
        sock, status, _ = ws.upgrade(server, ca=pki.ca, cert=pki.other_client if who == "stranger" else None, maximum=version)
        sock.close()
        assert status != 101, f"{who} was let in"
        raise OSError("refused over HTTP")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_server_speaks_tls(version, pair, target):
    server = pair.server(tcp=target)
    sock, status, _ = ws.upgrade(server, ca=pair.pki.ca, maximum=version, minimum=version)
    assert sock.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    sock.close()
    assert status == 101


def test_server_name_that_ends_in_a_dot(pair, target):
    """Absolute for the look-up; certificates, SNI and Host have the name without the dot."""
    server = pair.server(tcp=target)
    works(pair.client(f"https://localhost.:{server.port}", tcp={"peer": 0}, args=["--resolve", f"localhost.:{server.port}:127.0.0.1"]))


def test_what_a_server_is_told_of_a_name_that_ends_in_a_dot(pair, pki):
    with fakes.Fake(fakes.UNAUTHORIZED, pki.server) as fake:
        told = []
        fake.context.sni_callback = lambda sock, name, context: told.append(name)
        client = pair.client(f"https://localhost.:{fake.port}", tcp={"x": 0}, ready=False,
                             args=["--resolve", f"localhost:{fake.port}:127.0.0.1"])
        assert client.wait_for("dial_failed")["status"] == 401
        assert (set(told), fake.header("Host")) == ({"localhost"}, f"localhost:{fake.port}")


def test_server_refuses_old_tls(pair, target):
    server = pair.server(tcp=target)
    context = ssl._create_unverified_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(socket.create_connection(("localhost", server.port), 20), server_hostname="localhost")


@pytest.mark.parametrize("tls", ["server", None], ids=["https", "http"])
def test_healthz(tls, pair, target):
    server = pair.server(tcp=target, tls=tls)
    assert get(server, "/healthz")[0] == 200
    assert get(server, "/nothing-here")[0] == 404


def test_healthz_needs_no_token(pair, target, token, token_file):
    """Probes have none."""
    server = pair.server(tcp=target, args=["--token-file", token_file], secrets=[token])
    assert get(server, "/healthz")[0] == 200


def test_readyz_follows_the_brokers(pair):
    """200 while a bootstrap broker can be reached, 503 when none can."""
    with fakes.Broker() as broker:
        server = pair.server(kafka=broker.address, tls=None)
        wait.until(lambda: get(server, "/readyz")[0] == 200, 20, "/readyz is 200", 0.2)
    dead = pair.server(kafka=f"127.0.0.2:{wait.free_port()}", tls=None)
    wait.until(lambda: get(dead, "/readyz")[0] == 503, 20, "/readyz is 503", 0.2)


def test_readyz_of_the_real_cluster(kafka_route):
    wait.until(lambda: get(kafka_route.server, "/readyz")[0] == 200, 20, "/readyz is 200", 0.2)


def test_a_plain_get_on_the_tunnel_path_is_explained(pair, target):
    server = pair.server(tcp=target, tls=None)
    status, _ = get(server, "/tunnel")
    assert 400 <= status < 500


def test_another_path(pair, target):
    server = pair.server(tcp=target, args=["--path", "/hidden/door"])
    client = pair.client(f"https://localhost:{server.port}/hidden/door", tcp={"peer": 0})
    works(client)
    wrong = pair.client(server, tcp={"peer": 0}, ready=False)
    assert wrong.wait_for("dial_failed")["hop"] in ("http", "upgrade")


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
def test_every_url_scheme(scheme, pair, target):
    server = pair.server(tcp=target, tls="server" if scheme.endswith("s") and scheme != "ws" else None)
    works(pair.client(f"{scheme}://localhost:{server.port}", tcp={"peer": 0}))


def test_no_secret_is_logged_at_debug_level(pair, target, pki, token, token_file, tmp_path):
    """At the chattiest level, through a whole life, neither token nor key bytes appear (checked when they stop)."""
    server = pair.server(tcp=target, args=["--token-file", token_file, "--client-ca", pki.ca, "--log-level", "debug"],
                         secrets=[token])
    cert, key = pki.client
    client = pair.client(server, tcp={"peer": 0}, secrets=[token],
                         args=["--token-file", token_file, "--cert", cert, "--key", key, "--log-level", "debug"])
    works(client)
    assert token not in open(f"/proc/{client.pid}/cmdline", encoding="latin-1").read()
    assert os.path.getsize(client.log_path) > 0
    client.stop()
    server.stop()
