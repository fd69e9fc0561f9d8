"""tunnel-client doctor: for each broken set-up it names the layer, exits with its code, and says in one sentence what to do."""

import contextlib
import json
import re
import socket

import pytest

from harness import fakes, faults, ingress as ingresses, long_path, pki as pkis, process, proxy as proxies, raw, tunnel, wait, wire, ws

pytestmark = pytest.mark.tunnel

CODES = {"configuration": 10, "dns": 11, "tcp": 12, "proxy": 13, "tls": 14, "http": 15, "auth": 16, "upgrade": 17, "tunnel": 18,
         "server": 19, "broker": 20, "kafka": 21, "target": 22, "listener": 23}
TOKEN = "token-of-the-doctors-patient"


class Patient:
    """What a set-up may use; everything ends with `stack`."""

    def __init__(self, pair, pki, peer, tmp_path, stack):
        self.pair, self.pki, self.peer, self.tmp_path, self.stack = pair, pki, peer, tmp_path, stack

    def use(self, one):
        return self.stack.enter_context(one)

    def server(self, **kw):
        """The URL of a server that works, unless told otherwise."""
        kw.setdefault("tcp", {"raw": f"{self.peer.host}:{self.peer.port}"})
        server = self.pair.server(**kw)
        return f"{'https' if server.tls else 'http'}://localhost:{server.port}"

    def web(self, answer, tls=True):
        fake = self.use(fakes.Fake(answer, self.pki.server if tls else None))
        return f"{'https' if tls else 'http'}://localhost:{fake.port}"

    def doctor(self, url, *args, ca=True, env=None, deadline=90):
        args = ["doctor", "--server", url, *(["--ca", self.pki.ca] if ca else []), *args]
        if not any(str(a).startswith(("--kafka", "--tcp")) for a in args):
            args += ["--tcp", "raw=0"]
        return process.run([self.pair.binaries.client, *args], deadline, env={"TUNNEL_TOKEN": "", **(env or {})}, check=False)


@pytest.fixture
def patient(pair, pki, peer, tmp_path):
    with contextlib.ExitStack() as stack:
        yield Patient(pair, pki, peer, tmp_path, stack)


def checks(done):
    """[(verdict, layer, text)], and the last line."""
    lines = done.stdout.splitlines()
    found = [re.match(r"(ok|note|warning|FAILED) +(\S+) +(?:[\d.]+ ms)? *(.*)", line) for line in lines]
    return [m.groups() for m in found if m], lines[-1]


# -- what may be wrong: a function of the patient that returns (arguments of doctor(), words that the sentence must hold)


def missing_ca_file(p):
    return [p.server(), "--ca", p.tmp_path / "no-such.pem"], "no-such.pem"


def key_of_another_certificate(p):
    return [p.server(), "--cert", p.pki.client[0], "--key", p.pki.server[1]], "private key"


def token_file_is_missing(p):
    return [p.server(), "--token-file", p.tmp_path / "no-token"], "no-token"


def name_that_does_not_exist(p):
    return ["https://no-such-host.invalid"], "no-such-host.invalid.*resolve"


def nobody_listens(p):
    port = p.use(fakes.refusing_port("127.0.0.1"))
    return [f"https://localhost:{port}"], "refused.*firewall"


def proxy_is_down(p):
    port = p.use(fakes.refusing_port("127.0.0.1"))
    return [p.server(), "--proxy", f"http://127.0.0.1:{port}"], "no connection to the proxy"


def proxy_wants_a_login(p):
    proxy = p.use(contextlib.closing(proxies.Proxy(login="a:b")))
    return [p.server(), "--proxy", proxy.url()], "requires a login"


def proxy_forbids_it(p):
    proxy = p.use(contextlib.closing(proxies.Proxy(answer=b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")))
    return [p.server(), "--proxy", proxy.url()], "does not allow"


def port_without_tls(p):
    return [p.server(tls=None).replace("http:", "https:")], "does the port speak TLS"


def intercepted_by_another_authority(p):
    return [p.server(tls=p.pki.other.issue("localhost", "DNS:localhost"))], r"issued by CN ?= ?Another CA.*intercept"


def certificate_for_another_name(p):
    return [p.server(tls="wrong_name")], r"another host name: CN ?= ?wrong"


def certificates(p, *chain):
    """The URL of something that sends these certificates, the first with its key; nobody comes further than that."""
    (cert, key), *others = chain
    whole = p.tmp_path / "chain.pem"
    whole.write_bytes(b"".join(part.read_bytes() for part in (cert, *others)))
    return f"https://localhost:{p.use(fakes.Fake(None, (whole, key))).port}"


def certificate_has_expired(p):
    old = p.pki.authority.issue("old", "DNS:localhost", dates=("20240101000000Z", "20240201000000Z"))
    return [certificates(p, old)], r"\(CN=old.* expired: it was valid until.*clock.*today is 20"


def certificate_is_from_2030(p):
    future = p.pki.authority.issue("future", "DNS:localhost", dates=("20300101000000Z", "20310101000000Z"))
    return [certificates(p, future)], "not valid before 2030-01-01; check this machine's clock"


def intermediate_is_missing(p):
    """As public authorities have it: the certificate says where the intermediate's is."""
    middle = pkis.Authority(p.tmp_path / "middle", "Middle CA", p.pki.authority)
    issued = middle.issue("leaf", "DNS:localhost", more="authorityInfoAccess=caIssuers;URI:http://ca.example.org/middle.crt\n")
    return [certificates(p, issued)], "does not send its intermediate certificate: CN=leaf was issued by CN=Middle CA"


def intermediate_may_be_missing(p):
    middle = pkis.Authority(p.tmp_path / "middle", "Middle CA", p.pki.authority)
    return [certificates(p, middle.issue("leaf", "DNS:localhost"))], "if it is an intermediate CA, the server must send"


def certificate_is_self_signed(p):
    alone = pkis.Authority(p.tmp_path / "alone", "localhost")
    return [certificates(p, (alone.cert, alone.key))], r"\(CN=localhost\) is self-signed, and not one that --ca names"


def root_is_not_known(p):
    corporate = p.pki.other.issue("corporate", "DNS:localhost")
    return [certificates(p, corporate, p.pki.other.cert)], "chain ends at CN=Another CA, which is not a trusted CA.*--ca.*intercepts"


def chain_ends_at_an_intermediate(p):
    middle = pkis.Authority(p.tmp_path / "middle", "Middle CA", p.pki.other)
    return [certificates(p, middle.issue("leaf", "DNS:localhost"), middle.cert)], "chain ends at CN=Middle CA, issued by CN=Another CA"


def proxys_certificate_is_not_trusted(p):
    alone = pkis.Authority(p.tmp_path / "alone", "proxy.example.org")
    proxy = p.use(contextlib.closing(proxies.Proxy(identity=(alone.cert, alone.key))))
    return [p.server(), "--proxy", proxy.url()], "the proxy's certificate .* is self-signed"


def certificate_of_the_client_is_missing(p):
    return [p.server(args=["--client-ca", p.pki.ca])], "certificate required; .*Give one with --cert and --key"


def certificate_of_the_client_is_of_another_authority(p):
    cert, key = p.pki.other_client
    return [p.server(args=["--client-ca", p.pki.ca]), "--cert", cert, "--key", key], "from a CA other than that of --cert"


def silence_instead_of_tls(p):
    silent = p.use(fakes.Fake(None))
    return [f"https://localhost:{silent.port}", "--dial-timeout", "2"], "no answer.*TLS"


def wrong_path(p):
    return [p.server() + "/other"], "path in --server"


def page_of_something_else(p):
    return [p.web(fakes.HTML)], "something other than tunnel-server"


def service_is_not_up(p):
    return [p.web(fakes.UNAVAILABLE)], "no service hosts found"


def sign_in_page(p):
    ingress = p.use(contextlib.closing(ingresses.Ingress(p.pki, [], {TOKEN: "ALICE"})))
    return [ingress.url()], "signin.example.com"


def token_is_refused(p):
    ingress = p.use(contextlib.closing(ingresses.Ingress(p.pki, [], {TOKEN: "ALICE"})))
    return [ingress.url(), "--token", "another-token-than-that", "--auth-scheme", "snowflake"], "401"


def token_is_not_allowed_here(p):
    return [p.web(fakes.FORBIDDEN), "--token", TOKEN], "the token is known.*role or policy"


def nobody_gave_a_token(p):
    (p.tmp_path / "tokens").write_text("a-token-that-is-long-enough\n")
    return [p.server(args=["--token-file", p.tmp_path / "tokens"])], "none was sent.*--token-file, --token-command, TUNNEL_TOKEN"


def web(status, headers="", body=""):
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def firewalls_page(p):
    page = "<html><head><title>Access denied by policy</title></head></html>"
    return [p.web(web("403 Forbidden", "Content-Type: text/html\r\n", page)), "--token", TOKEN], "firewall.*Access denied by policy"


def redirect_to_https(p):
    return [p.web(web("301 Moved", "Location: https://localhost:8443/tunnel\r\n"), tls=False)], "--server https://localhost:8443/tunnel$"


def redirect_to_another_host(p):
    answer = web("302 Found", "Location: https://www.example.org/tunnel\r\n")
    return [p.web(answer)], "another host.*--server https://www.example.org/tunnel$"


def slash_is_missing(p):
    return [p.web(web("301 Moved", "Location: /tunnel/\r\n"))], "with a slash.*--server https://localhost:[0-9]+/tunnel/$"


def upgrade_header_is_taken_out(p):
    """By what stands before a server of ours."""
    server = p.pair.server(tcp={"raw": f"{p.peer.host}:{p.peer.port}"}, tls=None)

    class Strips(fakes.Fake):
        def _serve(self, sock):
            with sock, socket.create_connection(("127.0.0.1", server.port)) as inner:
                lines = ws.read_head(sock).split("\r\n")
                inner.sendall("\r\n".join(x for x in lines if not x.lower().startswith(("upgrade:", "connection:"))).encode())
                sock.sendall(raw.read_rest(inner))
    return [f"http://localhost:{p.use(Strips(b'')).port}"], "without its Upgrade header, which something in between"


def server_asks_to_wait(p):
    return [p.web(web("503 Busy", "Retry-After: 77\r\n"))], "asked to wait for 77 s"


def no_websocket(p):
    return [p.web(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")], "not a WebSocket"


def request_is_dropped(p):
    return [p.web(None), "--dial-timeout", "2"], "does everything in between pass WebSockets"


def server_is_full(p):
    url = p.server(args=["--max-sessions", "1"])
    client = p.pair.client(url, tcp={"raw": 0})
    sock = p.use(socket.create_connection(("127.0.0.1", int(client.wait_for("listening")["listen"].rsplit(":", 1)[1])), 20))
    sock.sendall(b"echo\nx")
    assert sock.recv(1) == b"x"
    return [url], "--max-sessions"


def cluster_of_another_name(p):
    return [p.server(), "--kafka", "analytics=0"], "analytics.*offers target raw"


def target_of_another_name(p):
    return [p.server(), "--tcp", "registry=0"], "registry.*offers target raw"


def brokers_are_down(p):
    port = p.use(fakes.refusing_port())
    return [p.server(kafka=f"127.0.0.2:{port}"), "--kafka", "0"], "refused.*--kafka"


def advertised_listener_is_not_reachable(p):
    broker, gone = p.use(fakes.Broker()), p.use(fakes.refusing_port())
    broker.brokers = [broker.node(1), (2, "127.0.0.2", gone)]
    return [p.server(kafka=broker.address), "--kafka", "0"], f"broker 2 .*127.0.0.2:{gone}.*advertised listeners"


def advertised_listener_is_forbidden(p):
    broker = p.use(fakes.Broker())
    broker.brokers = [broker.node(1), (2, "127.0.0.3", 9)]
    return [p.server(kafka=broker.address, args=["--deny-brokers", "127.0.0.3"]), "--kafka", "0"], (
        "broker 2 of kafka: 127.0.0.3:9: --deny-brokers 127.0.0.3 of tunnel-server forbids it")


def brokers_want_tls(p):
    broker = p.use(fakes.Fake(None, p.pki.server, host="127.0.0.2"))
    return [p.server(kafka=f"127.0.0.2:{broker.port}"), "--kafka", "0"], "--kafka-tls"


def a_controller_instead_of_a_broker(p):
    controller = p.use(fakes.Broker(controllers=[(3001, "127.0.0.2", 9093)]))
    words = "not from a broker: it does not serve Metadata; a KRaft controller.*give a broker in tunnel-server's --kafka"
    return [p.server(kafka=controller.address), "--kafka", "0"], words


class Answers(fakes.Listening):
    """Whatever comes, it says that and hangs up."""

    def __init__(self, answer):
        self.answer = answer
        super().__init__("127.0.0.2")

    def _serve(self, sock):
        with contextlib.suppress(OSError):
            sock.recv(1000)
            sock.sendall(self.answer)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1000):
                pass
        sock.close()


def certificate_of_the_broker_is_from_2030(p):
    future = p.pki.authority.issue("future-broker", "IP:127.0.0.2", dates=("20300101000000Z", "20310101000000Z"))
    broker = p.use(fakes.Fake(None, future, host="127.0.0.2"))
    args = ["--kafka-tls", "--kafka-ca", p.pki.ca]
    return [p.server(kafka=f"127.0.0.2:{broker.port}", args=args), "--kafka", "0"], r"not yet valid \(CN=future-broker, issued by [^)]*\); check the clock of tunnel-server's machine"


def brokers_are_no_kafka(p):
    return [p.server(kafka=f"127.0.0.2:{p.use(Answers(fakes.NOT_FOUND)).port}"), "--kafka", "0"], "HTTP"


def broker_hangs_up(p):
    return [p.server(kafka=f"127.0.0.2:{p.use(Answers(b'')).port}"), "--kafka", "0"], "closed.*--kafka-tls"


def raw_target_is_down(p):
    port = p.use(fakes.refusing_port())
    return [p.server(tcp={"raw": f"127.0.0.2:{port}"})], "target raw.*refused.*--tcp"


def another_kafka_has_the_port(p):
    broker, local = p.use(fakes.Broker()), p.use(fakes.Broker(host="127.0.0.1"))
    broker.brokers, local.brokers = [broker.node(1)], [local.node(7)]
    return [p.server(kafka=broker.address), "--kafka", local.port], "another Kafka broker has it .broker 7"


def another_program_has_the_port(p):
    broker, local = p.use(fakes.Broker()), p.use(fakes.Fake(fakes.HTML))
    broker.brokers = [broker.node(1)]
    return [p.server(kafka=broker.address), "--kafka", local.port], "another program has it"


def listeners_tls(p, files):
    """The certificate of a file on a listener for Kafka."""
    broker = p.use(fakes.Broker())
    broker.brokers = [broker.node(1)]
    return [p.server(kafka=broker.address), "--kafka", wait.quiet_ports(2), "--listener-tls-cert", files[0], "--listener-tls-key", files[1]]


def key_of_another_listener(p):
    return listeners_tls(p, (p.pki.server[0], p.pki.client[1])), "--listener-tls-key.*is not the private key"


def listeners_certificate_has_expired(p):
    files = p.pki.authority.issue("listener-old", "IP:127.0.0.1", dates=("20200101000000Z", "20210101000000Z"))
    return listeners_tls(p, files), r"CN ?= ?listener-old\) expired on 2021-01-01.*refuse"


def listeners_certificate_is_from_2040(p):
    files = p.pki.authority.issue("listener-new", "IP:127.0.0.1", dates=("20400101000000Z", "20410101000000Z"))
    return listeners_tls(p, files), "valid only from 2040-01-01"


def listeners_certificate_misses_the_address(p):
    return listeners_tls(p, p.pki.authority.issue("listener-name", "DNS:localhost")), "brokers at 127.0.0.1, which.*does not name .it is for localhost"


def listeners_certificate_misses_the_told_host(p):
    return [*listeners_tls(p, p.pki.server), "--advertise", "sidecar.example"], r"brokers at sidecar.example.*127\.0\.0\.1, ::1"


def local_ca_misses_a_name(p):
    broker = p.use(fakes.Broker())
    state = p.tmp_path / "ca-of-few"
    process.run([p.pair.binaries.client, "listener-ca", "--state-dir", state], 30)
    return [p.server(kafka=broker.address), "--kafka", wait.quiet_ports(2), "--listener-tls", "auto", "--state-dir", state,
            "--advertise", "sidecar.example"], "was made for localhost.*not for sidecar.example"


BROKEN = {
    "configuration": [missing_ca_file, key_of_another_certificate, token_file_is_missing],
    "dns": [name_that_does_not_exist],
    "tcp": [nobody_listens],
    "proxy": [proxy_is_down, proxy_wants_a_login, proxy_forbids_it, proxys_certificate_is_not_trusted],
    "tls": [port_without_tls, intercepted_by_another_authority, certificate_for_another_name, certificate_has_expired,
            certificate_of_the_client_is_missing, certificate_of_the_client_is_of_another_authority, silence_instead_of_tls,
            certificate_is_from_2030, intermediate_is_missing,
            intermediate_may_be_missing, certificate_is_self_signed, root_is_not_known, chain_ends_at_an_intermediate],
    "http": [wrong_path, page_of_something_else, service_is_not_up, firewalls_page, redirect_to_https, redirect_to_another_host,
             slash_is_missing, server_asks_to_wait],
    "auth": [sign_in_page, token_is_refused, token_is_not_allowed_here, nobody_gave_a_token],
    "upgrade": [no_websocket, request_is_dropped, upgrade_header_is_taken_out],
    "tunnel": [server_is_full],
    "server": [cluster_of_another_name, target_of_another_name],
    "broker": [certificate_of_the_broker_is_from_2030, brokers_are_down, advertised_listener_is_not_reachable, advertised_listener_is_forbidden],
    "kafka": [a_controller_instead_of_a_broker, brokers_want_tls, brokers_are_no_kafka, broker_hangs_up],
    "target": [raw_target_is_down],
    "listener": [another_kafka_has_the_port, another_program_has_the_port, key_of_another_listener, listeners_certificate_has_expired,
                 listeners_certificate_is_from_2040, listeners_certificate_misses_the_address, listeners_certificate_misses_the_told_host,
                 local_ca_misses_a_name],
}


@pytest.mark.parametrize("layer,set_up", [pytest.param(layer, one, id=f"{layer}-{one.__name__}") for layer, all_ in BROKEN.items()
                                          for one in all_])
def test_broken_set_up(layer, set_up, patient, figure):
    arguments, words = set_up(patient)
    done = patient.doctor(*arguments)
    found, sentence = checks(done)
    figure("says", f"{layer} ({done.returncode}): {sentence}")
    assert done.returncode == CODES[layer], done.stdout + done.stderr
    assert sentence.startswith(f"It does not work; the layer that fails is {layer}: "), done.stdout
    assert re.search(words, sentence), done.stdout
    failed = [found_layer for verdict, found_layer, _ in found if verdict == "FAILED"]
    assert failed[0] == layer, done.stdout
    # What is below the layer that fails has been seen to work.
    order = list(CODES)
    assert all(order.index(name) <= order.index(layer) or name in ("listener", "kafka", "tunnel")
               for verdict, name, _ in found if verdict == "ok"), done.stdout
    assert TOKEN not in done.stdout + done.stderr and "another-token-than-that" not in done.stdout + done.stderr


def test_intermediate_in_the_file_of_cas(patient):
    """What the doctor advises where a server does not send its intermediate certificate."""
    middle = pkis.Authority(patient.tmp_path / "middle", "Middle CA", patient.pki.authority)
    (patient.tmp_path / "cas.pem").write_bytes(middle.cert.read_bytes())
    done = patient.doctor(patient.server(tls=middle.issue("leaf", "DNS:localhost")), "--ca", patient.tmp_path / "cas.pem", ca=False)
    assert done.returncode == 0, done.stdout


def test_everything_works(patient, figure):
    """Every layer is named, every broker with its own address and the local one that stands for it."""
    broker = patient.use(fakes.Broker())
    broker.brokers = [broker.node(1), broker.node(2)]
    first = wait.quiet_ports(4)
    (patient.tmp_path / "token").write_text(TOKEN + "\n")
    url = patient.server(kafka=broker.address, args=["--token-file", patient.tmp_path / "token"])
    proxy = patient.use(contextlib.closing(proxies.Proxy()))
    done = patient.doctor(url, "--proxy", proxy.url(), "--kafka", first, "--tcp", "raw=0", env={"TUNNEL_TOKEN": TOKEN})
    found, sentence = checks(done)
    assert done.returncode == 0 and sentence == "Everything works.", done.stdout + done.stderr
    assert {name for _, name, _ in found} == set(CODES), done.stdout
    text = done.stdout
    for node in (1, 2):
        assert f"broker {node} of kafka, at {broker.address} answers; Kafka clients find it at 127.0.0.1:{first + 1 + node}" in text, text
    assert "CN = server" in text or "CN=server" in text, text
    assert TOKEN not in text + done.stderr
    figure("took", f"{done.seconds:.2f} s")


def test_ignored_setting_is_named(patient):
    """The doctor's log has only errors, and a misspelt variable looks like a token that was never sent."""
    token = patient.tmp_path / "token"
    token.write_text(TOKEN + "\n", encoding="ascii")
    done = patient.doctor(patient.server(args=["--token-file", token]), env={"TUNNEL_TOKN_FILE": str(token)})
    found, last = checks(done)
    warnings = [text for verdict, layer, text in found if (verdict, layer) == ("warning", "configuration")]
    assert warnings == ["a setting is ignored: TUNNEL_TOKN_FILE is set, but is not an option of tunnel-client; did you mean TUNNEL_TOKEN_FILE?"], done.stdout
    assert done.returncode == CODES["auth"] and "none was sent" in last, done.stdout


def test_ports_that_the_system_will_choose(patient):
    """With --kafka 0 nobody knows them yet: the doctor names none."""
    broker = patient.use(fakes.Broker())
    broker.brokers = [broker.node(1)]
    url = patient.server(kafka=broker.address)
    done = patient.doctor(url, "--kafka", "0")
    assert done.returncode == 0 and "Kafka clients find it at a port that is free then" in done.stdout, done.stdout
    first = wait.quiet_ports(3)
    done = patient.doctor(url, "--kafka", "0", "--node-ports", first)
    assert f"Kafka clients find it at 127.0.0.1:{first + 1}" in done.stdout, done.stdout


def test_beside_a_client_that_runs(patient):
    """It opens no port, and recognizes its own kind."""
    broker = patient.use(fakes.Broker())
    broker.brokers = [broker.node(1)]
    first = wait.quiet_ports(3)
    url = patient.server(kafka=broker.address)
    patient.pair.client(url, kafka={"kafka": first})
    done = patient.doctor(url, "--kafka", first)
    assert done.returncode == 0 and "a tunnel-client listens there" in done.stdout, done.stdout + done.stderr


def said_of_listeners(done):
    return [(verdict, text) for verdict, layer, text in checks(done)[0] if layer == "listener"]


def test_listener_tls_is_named(patient):
    """No CA is made by looking; with one, and with files, it is said what clients are shown, for whom and until when, and what is taken."""
    broker = patient.use(fakes.Broker())
    broker.brokers = [broker.node(1)]
    url, state, first = patient.server(kafka=broker.address), patient.tmp_path / "state", wait.quiet_ports(2)
    auto = ["--kafka", first, "--listener-tls", "auto", "--state-dir", state]
    done = patient.doctor(url, *auto)
    assert done.returncode == 0 and ("note", f"there is no local CA for --listener-tls yet: tunnel-client makes {state}/listener-ca.pem when it "
                                     "starts, and `tunnel-client listener-ca` says how Kafka clients trust it") in said_of_listeners(done), done.stdout
    assert not state.exists()
    process.run([patient.pair.binaries.client, "listener-ca", "--state-dir", state], 30)
    done = patient.doctor(url, *auto, "--listener-client-ca", patient.pki.ca)
    said = dict(reversed(one) for one in said_of_listeners(done))
    assert done.returncode == 0, done.stdout
    assert any(re.match(r"Kafka clients are shown certificates of the local CA in .*listener-ca.pem, valid until 20\d\d-.*, which vouches for "
                        "localhost, 127.0.0.0/8, ::1$", text) for text in said), done.stdout
    assert any(text.endswith("it takes plaintext and TLS, and of certificates that clients show only those of --listener-client-ca")
               for text in said), done.stdout
    files = patient.pki.authority.issue("listener", "IP:127.0.0.1")
    done = patient.doctor(url, "--kafka", first, "--listener-tls", "required", "--listener-tls-cert", files[0], "--listener-tls-key", files[1])
    said = said_of_listeners(done)
    assert done.returncode == 0, done.stdout
    assert re.match(r"Kafka clients are shown CN ?= ?listener, issued by CN ?= ?Test CA, valid until .*, for 127.0.0.1 ", said[0][1]), done.stdout
    # The tests' certificates live for two days.
    assert [verdict for verdict, _ in said] == ["ok", "warning", "note", "ok"] and "expires soon" in said[1][1], done.stdout
    assert "does not name localhost" in said[2][1] and said[3][1].endswith("is free for tunnel-client; it takes only TLS"), done.stdout


@pytest.mark.parametrize("mode", ["optional", "required"])
def test_beside_a_client_with_tls(mode, patient):
    """It is recognized by its certificate, also where plaintext is not taken or clients must show one; and another one is named."""
    broker = patient.use(fakes.Broker())
    broker.brokers = [broker.node(1)]
    first, state = wait.quiet_ports(3), patient.tmp_path / "state"
    url = patient.server(kafka=broker.address)
    args = ["--listener-tls", mode, "--listener-client-ca", patient.pki.ca, "--state-dir", state]
    patient.pair.client(url, kafka={"kafka": first}, args=args)
    done = patient.doctor(url, "--kafka", first, *args)
    assert done.returncode == 0 and "a tunnel-client listens there; it takes" in done.stdout, done.stdout + done.stderr
    assert re.search(r"kafka-tunnel listener, issued by .*, valid until \S+ is shown to Kafka clients at port", done.stdout), done.stdout
    other = patient.tmp_path / "other"
    process.run([patient.pair.binaries.client, "listener-ca", "--state-dir", other], 30)
    done = patient.doctor(url, "--kafka", first, "--listener-tls", mode, "--state-dir", other)
    if mode == "optional":
        assert done.returncode == 0 and "shows another certificate to Kafka clients" in done.stdout, done.stdout
    else:
        assert done.returncode == CODES["listener"] and "another program has it" in done.stdout, done.stdout


def test_a_client_without_the_tls_that_is_configured(patient):
    broker = patient.use(fakes.Broker())
    broker.brokers = [broker.node(1)]
    first = wait.quiet_ports(3)
    url = patient.server(kafka=broker.address)
    patient.pair.client(url, kafka={"kafka": first})
    done = patient.doctor(url, "--kafka", first, "--listener-tls", "auto", "--state-dir", patient.tmp_path / "state")
    assert done.returncode == 0 and "takes no TLS: was it started with this configuration?" in done.stdout, done.stdout


def test_brokers_that_want_a_login(patient):
    """That is the Kafka client's own business: everything up to there works, and the rest is said not to be known."""
    broker = patient.use(fakes.Broker())  # answers ApiVersions, and hangs up upon Metadata
    done = patient.doctor(patient.server(kafka=broker.address), "--kafka", "0")
    found, sentence = checks(done)
    assert done.returncode == 0, done.stdout
    assert ("warning", "kafka") in [(verdict, name) for verdict, name, _ in found], done.stdout
    assert sentence.startswith("It works, but look at kafka: ") and "SASL" in sentence, done.stdout


TROUBLES = {
    "its name does not resolve": (lambda p: "no-such-host.invalid:9092", r"no-such-host.invalid:9092 is \w+: name not resolved"),
    "it is down": (lambda p: f"127.0.0.2:{p.use(fakes.refusing_port())}", r"127.0.0.2:\d+ is \w+: .*refused"),
    "it hangs": (lambda p: f"127.0.0.2:{p.use(fakes.Fake(None, host='127.0.0.2')).port}", r"127.0.0.2:\d+ is hanging"),
}


@pytest.mark.parametrize("case", TROUBLES)
def test_one_bootstrap_broker_of_two(case, patient):
    """The other one serves clients; but it is named, once, and why."""
    make, words = TROUBLES[case]
    broker = patient.use(fakes.Broker())
    broker.brokers = [broker.node(1)]
    server = patient.pair.server(kafka=f"{make(patient)},{broker.address}", args=["--connect-timeout", "1"], tls=None)
    server.wait_log("broker_down|broker_hangs", 60)
    client = patient.pair.client(server, kafka={"kafka": 0})
    for _ in range(2):
        wire.ask_metadata(tunnel.port(client, "kafka"))
    assert re.search(words, client.wait_for("cluster_trouble", cluster="kafka")["reason"])
    done = patient.doctor(f"http://localhost:{server.port}", "--kafka", "0")
    found, sentence = checks(done)
    warnings = [text for verdict, layer, text in found if (verdict, layer) == ("warning", "broker")]
    assert done.returncode == 0 and len(warnings) == 1 and re.search(words, warnings[0]), done.stdout
    assert sentence.startswith("It works, but look at broker: cluster kafka: of the addresses in tunnel-server's --kafka, "), done.stdout
    assert len(client.events("cluster_trouble")) == 1


def test_brokers_that_nobody_can_be_sent_to(patient):
    """A young broker has the id -1; the others work."""
    broker = patient.use(fakes.Broker())
    broker.brokers = [broker.node(1), (-1, "young.example", 9092)]
    done = patient.doctor(patient.server(kafka=broker.address), "--kafka", "0")
    found, sentence = checks(done)
    assert done.returncode == 0, done.stdout
    said = [text for verdict, _, text in found if verdict == "warning"]
    assert len(said) == 1 and "1 of its brokers" in said[0] and "node_unusable" in said[0], done.stdout
    assert any("Metadata: 1 broker" in text for _, _, text in found), done.stdout


def test_a_cluster_of_controllers(patient):
    """One that has a name of its own may be meant: that is worth a warning only."""
    controller = patient.use(fakes.Broker(controllers=[(3001, "127.0.0.2", 9093)]))
    done = patient.doctor(patient.server(kafka=f"controllers={controller.address}"), "--kafka", "controllers=0")
    _, sentence = checks(done)
    assert done.returncode == 0, done.stdout
    assert sentence.startswith("It works, but look at kafka: cluster controllers: ") and "bootstrap.controllers" in sentence, done.stdout


@pytest.mark.parametrize("works", [True, False])
def test_json(works, patient):
    """The same as one object, for programs."""
    broker = patient.use(fakes.Broker())
    broker.brokers = [broker.node(1)]
    url = patient.server(kafka=broker.address)
    done = patient.doctor(url, "--json", "--kafka", "0" if works else "other=0")
    found = json.loads(done.stdout)
    assert found["works"] is works and found["exit_code"] == done.returncode == (0 if works else CODES["server"]), found
    assert found["layer"] == (None if works else "server") and found["server"] in url, found
    assert found["sentence"].startswith("Everything works." if works else "It does not work; the layer that fails is server"), found
    assert {check["verdict"] for check in found["checks"]} == ({"ok"} if works else {"ok", "failed"}), found
    assert all(check["layer"] in CODES and check["detail"] for check in found["checks"])
    assert any(check.get("took_us", 0) > 0 for check in found["checks"])


# -- the path, and a second link


class Gate(faults.Proxy):
    """Lets so many connections in; what comes then gets an answer of its own."""

    def __init__(self, target, most, answer):
        self.most, self.answer = most, answer
        super().__init__([target])

    def _accept(self):
        if self.accepted < self.most:
            super()._accept()
            return
        self.accepted += 1
        one, _ = self.listener.accept()
        one.settimeout(5)
        one.recv(65536)
        one.sendall(self.answer)
        one.close()


def examined(patient, port, *args):
    """(verdict, layer, text) of what the doctor says of the path; everything else must be in order."""
    done = patient.doctor(f"http://127.0.0.1:{port}", *args)
    found, last = checks(done)
    assert done.returncode == 0, done.stdout
    at = next(i for i, (_, _, text) in enumerate(found) if "a round trip to the server" in text)
    return [check for check in found[at:] if check[1] == "tunnel"], last


def gate(patient, most, answer):
    server = patient.pair.server(tcp={"raw": f"{patient.peer.host}:{patient.peer.port}"}, tls=None)
    return patient.use(contextlib.closing(Gate(("127.0.0.1", server.port), most, answer)))


def test_path_is_measured(patient):
    """A path of 40 ms: round trips, what one link carries, and that a second one can be had. A second at most, 8 MiB at most."""
    server = patient.pair.server(tcp={"raw": f"{patient.peer.host}:{patient.peer.port}"}, tls=None)
    proxy = patient.use(contextlib.closing(faults.Proxy([("127.0.0.1", server.port)])))
    proxy.delay = 0.02
    found, last = examined(patient, proxy.port)
    assert [verdict for verdict, _, _ in found] == ["ok"] * 4 and last == "Everything works."
    shortest = re.search(r"the shortest of 5 took ([\d.]+) ms", found[0][2])
    assert 40 <= float(shortest[1]) < 400
    carried = re.search(r"one link carried ([\d.]+) MB to the server in ([\d.]+) s: ([\d.]+) [MG]bit/s; (\d+ of \d+|the system)", found[1][2])
    assert 0.1 < float(carried[1]) <= 8.4 and float(carried[2]) < 6
    assert "--links" in found[2][2] and "a second link joins the session" in found[3][2]
    assert proxy.bytes < 9 << 20 and proxy.accepted == 2
    assert server.events("session_ended") or server.wait_for("audit_session")


def test_one_link_is_enough_on_loopback(patient):
    server = patient.pair.server(tcp={"raw": f"{patient.peer.host}:{patient.peer.port}"}, tls=None)
    found, _ = examined(patient, server.port)
    assert "one link is enough: the path is short" in found[2][2]


NO = {
    "429": (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", r"http: .*429"),
    "503": (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", r"503"),
    "nothing": (b"", r"a second link cannot be had: "),
}


@pytest.mark.parametrize("answer", NO)
def test_ingress_refuses_a_second_link(patient, answer):
    """It is a note: the verdict stays, and so does the exit code."""
    answer, words = NO[answer]
    between = gate(patient, 1, answer)
    found, last = examined(patient, between.port)
    assert found[-1][0] == "note" and last == "Everything works."
    assert re.search(words, found[-1][2]) and "a second link cannot be had" in found[-1][2] and "works with one" in found[-1][2]
    assert between.accepted == 2


def test_server_refuses_a_second_link(patient):
    server = patient.pair.server(tcp={"raw": f"{patient.peer.host}:{patient.peer.port}"}, tls=None, args=["--max-links", "1"])
    found, last = examined(patient, server.port)
    assert found[-1][0] == "note" and "--max-links" in found[-1][2] and last == "Everything works."


def test_ingress_spreads_links_over_instances(patient):
    servers = [patient.pair.server(tcp={"raw": f"{patient.peer.host}:{patient.peer.port}"}, tls=None) for _ in range(2)]
    proxy = patient.use(contextlib.closing(faults.Proxy([("127.0.0.1", server.port) for server in servers])))
    found, last = examined(patient, proxy.port)
    assert found[-1][0] == "note" and "spreads links over several instances" in found[-1][2] and "--peers" in found[-1][2]
    assert last == "Everything works."


def test_one_link_asked_for(patient):
    """--links 1: no second one is tried."""
    server = patient.pair.server(tcp={"raw": f"{patient.peer.host}:{patient.peer.port}"}, tls=None)
    found, last = examined(patient, server.port, "--links", "1")
    assert not [text for _, _, text in found if "second link" in text] and last == "Everything works."
    assert server.events("session_up") and not server.events("link_joined")


def test_link_is_lost_while_the_path_is_measured(patient):
    """Something cuts it at the first large frame: worth a look, and the exit code is 0."""
    server = patient.pair.server(tcp={"raw": f"{patient.peer.host}:{patient.peer.port}"}, tls=None)
    proxy = patient.use(contextlib.closing(faults.Proxy([("127.0.0.1", server.port)])))
    proxy.frame_max["client"] = 4000
    done = patient.doctor(f"http://127.0.0.1:{proxy.port}")
    found, last = checks(done)
    assert done.returncode == 0 and last.startswith("It works, but look at tunnel: the WebSocket was lost while"), done.stdout


LONG = {  # what the path is like: what the doctor says of several links
    "it loses packets": (dict(loss=2), rf"one link settles at about [\d.]+ [kM]bit/s \({long_path.CONGESTION_CONTROL}\), and several links at as many times that"),
    "the line is full": (dict(rate_mbit=10), r"the line was full meanwhile: several links share it"),
}


@pytest.mark.parametrize("path", LONG)
def test_long_path_is_judged(apart, binaries, pki, tmp_path, path):
    options, words = LONG[path]
    two = apart(delay_ms=25, **options)
    with two.path.near():
        done = process.run([binaries.client, "doctor", "--server", f"https://{two.path.far_address}:{two.server.port}", "--ca", pki.ca,
                            "--token-file", tmp_path / "token", "--tcp", "raw=0"], 60, check=False)
    found, last = checks(done)
    assert done.returncode == 0 and last == "Everything works.", done.stdout
    assert [text for _, layer, text in found if layer == "tunnel" and re.match(words, text.removeprefix("where so many segments get lost, "))], done.stdout
