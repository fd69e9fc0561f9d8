"""Bad usage: one clear line on stderr, exit code 2. And what else the command line promises."""

import json
import re
import signal

import pytest

from harness import cache, process, raw, tunnel, wait

pytestmark = pytest.mark.tunnel


def bad_usage(argv, *words, env=None):
    done = process.run(argv, deadline=15, check=False, env=env)
    assert done.returncode == 2, f"exit {done.returncode}: {done.stderr}"
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, f"{len(lines)} lines: {done.stderr}"
    for word in words:
        assert re.search(word, lines[0], re.IGNORECASE), f"no /{word}/ in: {lines[0]}"


SERVER = ["--listen", "127.0.0.1:0", "--tcp", "x=127.0.0.1:1"]
CLIENT = ["--server", "https://localhost:1", "--tcp", "x=0"]
PAIR = ["--private-key-file", "/nonexistent/k.p8", "--snowflake-account", "a", "--snowflake-user", "u"]

BAD_SERVER = {
    "unknown option": (["--bogus"], ["--bogus"]),
    "option without its value": (["--listen"], ["--listen"]),
    "no target at all": (["--listen", "127.0.0.1:0"], ["--kafka", "--tcp"]),
    "port too large": (["--listen", "127.0.0.1:65536", "--tcp", "x=127.0.0.1:1"], ["65536"]),
    "port no number": (["--listen", "127.0.0.1:http", "--tcp", "x=127.0.0.1:1"], ["http"]),
    "negative port": (["--listen", "127.0.0.1:-1", "--tcp", "x=127.0.0.1:1"], ["-1"]),
    "target without a port": (["--listen", "127.0.0.1:0", "--kafka", "broker1"], ["broker1"]),
    "raw target without a name": (["--listen", "127.0.0.1:0", "--tcp", "127.0.0.1:80"], ["--tcp"]),
    "same name twice": (["--listen", "127.0.0.1:0", "--tcp", "x=127.0.0.1:1", "--tcp", "x=127.0.0.1:2"], ["x"]),
    "certificate missing": (SERVER + ["--tls-cert", "/nonexistent/c.pem", "--tls-key", "/nonexistent/k.pem"], ["/nonexistent/"]),
    "certificate without key": (SERVER + ["--tls-cert", "/nonexistent/c.pem"], ["--tls-key"]),
    "token file missing": (SERVER + ["--token-file", "/nonexistent/tokens"], ["/nonexistent/tokens"]),
    "client CA missing": (SERVER + ["--client-ca", "/nonexistent/ca.pem"], []),
    "broker CA without TLS": (SERVER + ["--kafka-ca", "/nonexistent/ca.pem"], ["--kafka-ca", "--kafka-tls"]),
    "passphrase without a key": (SERVER + ["--tls-key-passphrase-file", "/x"], ["--tls-key-passphrase-file", "without --tls-key"]),
    "broker passphrase without TLS": (SERVER + ["--kafka-key-passphrase-file", "/x"], ["--kafka-key-passphrase-file", "--kafka-tls"]),
    "broker name that is none": (SERVER + ["--kafka-tls", "--kafka-server-name", "x" * 300], ["--kafka-server-name", "253"]),
    "broker name without TLS": (SERVER + ["--kafka-server-name", "kafka"], ["--kafka-server-name", "--kafka-tls"]),
    "broker CA missing": (SERVER + ["--kafka-tls", "--kafka-ca", "/nonexistent/ca.pem"], ["/nonexistent/ca.pem"]),
    "broker certificate without key": (SERVER + ["--kafka-tls", "--kafka-cert", "/nonexistent/c.pem"], ["--kafka-key"]),
    "brokers that want TLS": (["--kafka", "SASL_SSL://b1:9093"], ["--kafka SASL_SSL://b1:9093", "add --kafka-tls"]),
    "brokers that want none": (["--kafka", "PLAINTEXT://b1:9092", "--kafka-tls"], ["plaintext", "--kafka-tls"]),
    "a listener's name": (["--kafka", "INTERNAL://b1:9092"], ["HOST:PORT"]),
    "target with a scheme": (["--tcp", "x=http://registry:8081"], ["HOST:PORT"]),
    "blanks between brokers": (["--kafka", "b1:9092 b2:9092"], ["with commas"]),
    "config file missing": (SERVER + ["--config", "/nonexistent/x.properties"], ["/nonexistent/x.properties"]),
    "log format": (SERVER + ["--log-format", "xml"], ["xml", "json"]),
    "log level": (SERVER + ["--log-level", "loud"], ["loud"]),
    "path without a slash": (SERVER + ["--path", "tunnel"], ["--path tunnel", "must begin with /"]),
    "path that is nothing else": (SERVER + ["--path", "/"], ["--path /", "its own path"]),
    "path with a blank": (SERVER + ["--path", "/a b"], ["--path /a b", "percent-encoded"]),
    "path with a query": (SERVER + ["--path", "/t?x=1"], ["--path", "query"]),
    "path with a fragment": (SERVER + ["--path", "/t#x"], ["--path", "fragment"]),
    "path with two slashes": (SERVER + ["--path", "//tunnel"], ["--path", "//"]),
    "path with two slashes at its end": (SERVER + ["--path", "/tunnel//"], ["--path", "//"]),
    "path with dots": (SERVER + ["--path", "/a/../b"], ["--path", r"\.\."]),
    "path with a dot at its end": (SERVER + ["--path", "/a/."], ["--path", r"part \."]),
    "path of a page": (SERVER + ["--path", "/healthz/"], ["--path", "health page"]),
    "path with half a byte": (SERVER + ["--path", "/a%2"], ["--path", "hexadecimal"]),
    "path too long": (SERVER + ["--path", "/" + "a" * 1023], ["--path", "1023"]),
    "origin with a path": (SERVER + ["--allow-origin", "https://example.com/"], ["--allow-origin", "SCHEME://HOST"]),
    "origin without a scheme": (SERVER + ["--allow-origin", "example.com"], ["--allow-origin", "SCHEME://HOST"]),
    "any origin": (SERVER + ["--allow-origin", "*"], ["--allow-origin", "SCHEME://HOST"]),
    "localhost to listen on": (SERVER + ["--listen", "localhost:0"], ["--listen localhost:0", "127.0.0.1 for localhost"]),
    "localhost for the status page": (SERVER + ["--status", "localhost:0"], ["--status localhost:0", "127.0.0.1 for localhost"]),
    "localhost for the instances": (SERVER + ["--peers", "localhost:1", "--peer-secret-file", "/dev/null", "--peer-listen", "localhost:1"],
                                    ["--peer-listen localhost:1", "127.0.0.1 for localhost"]),
    "stray word": (SERVER + ["stray"], ["argument 5"]),
    "more links than there can be": (SERVER + ["--max-links", "17"], ["--max-links", "16 links"]),
    "no link": (SERVER + ["--max-links", "0"], ["--max-links", "1"]),
    "congestion control that does not exist": (SERVER + ["--congestion-control", "nope"], ["--congestion-control nope", "it has .*reno"]),
    "number with a tail": (SERVER + ["--ping-interval", "20x"], ["20x"]),
}

BAD_CLIENT = {
    "unknown option": (["--bogus"], ["--bogus"]),
    "no server": (["--kafka", "0"], ["--server"]),
    "url of another scheme": (["--server", "ftp://localhost", "--kafka", "0"], ["--server"]),
    "url without a host": (["--server", "https://", "--kafka", "0"], ["--server"]),
    "url with a bad port": (["--server", "https://localhost:99999", "--kafka", "0"], ["--server"]),
    "port too large": (["--server", "https://localhost:1", "--kafka", "70000"], ["70000"]),
    "brokers": (["--server", "https://localhost:1", "--kafka", "b1:9092,b2:9092"], ["b1:9092,b2:9092", "tunnel-server's --kafka"]),
    "one broker": (["--server", "https://localhost:1", "--kafka", "b1:9092"], ["listens on this machine", "tunnel-server's --kafka"]),
    "a broker with its protocol": (["--server", "https://localhost:1", "--kafka", "PLAINTEXT://b1:9092"], ["tunnel-server's --kafka"]),
    "localhost to listen on": (["--server", "https://localhost:1", "--kafka", "localhost:9092"], ["127.0.0.1 for localhost"]),
    "a raw target's address": (["--server", "https://localhost:1", "--tcp", "x=registry:8081"], ["tunnel-server's --tcp"]),
    "a raw target's URL": (["--server", "https://localhost:1", "--tcp", "x=http://registry:8081"], ["tunnel-server's --tcp"]),
    "url with a blank": (["--server", "https://localhost/a b"], ["--server", "percent-encoded"]),
    "url with a query": (["--server", "https://localhost/t?x=1"], ["--server", "query"]),
    "url with a fragment": (["--server", "https://localhost/t#x"], ["--server", "fragment"]),
    "url with two slashes": (["--server", "https://localhost//tunnel"], ["--server", "two slashes"]),
    "url of brokers": (["--server", "https://b1:9092,b2:9092"], ["--server", "one server"]),
    "quotes of an env file": (["--server", '"https://localhost:1"'], ["--server", "quote"]),
    "raw target without a name": (["--server", "https://localhost:1", "--tcp", "8081"], ["--tcp"]),
    "same name twice": (CLIENT + ["--tcp", "x=0"], ["x"]),
    "CA missing": (CLIENT + ["--ca", "/nonexistent/ca.pem"], ["/nonexistent/ca.pem"]),
    "certificate missing": (CLIENT + ["--cert", "/nonexistent/c.pem", "--key", "/nonexistent/k.pem"], ["/nonexistent/"]),
    "certificate without key": (CLIENT + ["--cert", "/nonexistent/c.pem"], ["--key"]),
    "token file missing": (CLIENT + ["--token-file", "/nonexistent/token"], ["/nonexistent/token"]),
    "two tokens": (CLIENT + ["--token", "abc", "--token-file", "/dev/null"], ["--token"]),
    "token and command": (CLIENT + ["--token-file", "/dev/null", "--token-command", "x"], ["--token-file and --token-command"]),
    "command and key": (CLIENT + ["--token-command", "x", *PAIR], ["--token-command and --private-key-file"]),
    "key without account": (CLIENT + ["--private-key-file", "/nonexistent/k", "--snowflake-user", "u"], ["--snowflake-account"]),
    "key without user": (CLIENT + ["--private-key-file", "/nonexistent/k", "--snowflake-account", "a"], ["--snowflake-user"]),
    "role without key": (CLIENT + ["--snowflake-role", "r"], ["--snowflake-role requires --private-key-file"]),
    "key missing": (CLIENT + PAIR, ["/nonexistent/k.p8"]),
    "key passphrase without a key": (CLIENT + ["--key-passphrase", "s3cret"], ["--key-passphrase", "without --key"]),
    "two key passphrases": (CLIENT + ["--cert", "/c", "--key", "/k", "--key-passphrase", "s3cret", "--key-passphrase-file", "/x"],
                            ["--key-passphrase", "TUNNEL_KEY_PASSPHRASE", "cannot be used together"]),
    "two passphrases": (CLIENT + PAIR + ["--private-key-passphrase", "s3cret", "--private-key-passphrase-file", "/x"],
                        ["cannot be used together"]),
    "account that is a URL": (CLIENT + PAIR + ["--snowflake-account", "https://a.snowflakecomputing.com"], ["alone"]),
    "account with a blank": (CLIENT + PAIR + ["--snowflake-account", "a b"], ["letters, digits"]),
    "role with a blank": (CLIENT + PAIR + ["--snowflake-role", "a b"], ["--snowflake-role", "spaces"]),
    "token URL with a path": (CLIENT + PAIR + ["--snowflake-url", "https://x.example/oauth"], ["--snowflake-url", "without a path"]),
    "token URL without TLS": (CLIENT + PAIR + ["--snowflake-url", "http://x.example"], ["--snowflake-url", "https://"]),
    "more links than there can be": (CLIENT + ["--links", "17"], ["--links", "16 links"]),
    "no link": (CLIENT + ["--links", "0"], ["--links", "1"]),
    "congestion control that does not exist": (CLIENT + ["--congestion-control", "nope"], ["--congestion-control nope", "it has .*reno"]),
    "header without a colon": (CLIENT + ["--header", "abc"], ["entry 1", "NAME:VALUE"]),
    "header of the handshake": (CLIENT + ["--header", "Sec-WebSocket-Key: x"], ["--header Sec-WebSocket-Key", "handshake"]),
    "header with a line break": (CLIENT + ["--header", "X-A: b\r\nX-C: d"], ["--header X-A", "line break"]),
    "header that is the token's": (CLIENT + ["--token", "abc", "--header", "authorization: x"], ["one or the other"]),
    "header without TLS": (["--server", "http://192.0.2.1", "--tcp", "x=0", "--header", "X-A: b"], ["--header", "https://"]),
    "auth scheme": (CLIENT + ["--token", "abc", "--auth-scheme", "digest"], ["digest"]),
    "advertised host with a port": (CLIENT + ["--advertise", "sidecar:9092"], ["--advertise", "sidecar:9092", "without a port"]),
    "advertised host that is none": (CLIENT + ["--advertise", "a b"], ["--advertise", "character"]),
    "advertised host that nobody reaches": (CLIENT + ["--advertise", "0.0.0.0"], ["--advertise", "0.0.0.0"]),
    "advertised host empty": (CLIENT + ["--advertise", ""], ["--advertise", "empty"]),
    "config file missing": (CLIENT + ["--config", "/nonexistent/x.properties"], ["/nonexistent/x.properties"]),
}

BAD_COMMAND = {
    "unknown command": (["docter"], ["argument 1", "did you mean doctor", "run, wait, doctor, listener-ca and hosts"]),
    "a word that is like no command": (["status"], ["argument 1", "run, wait, doctor, listener-ca and hosts"]),
    "an option with one hyphen": (["-server", "https://localhost:1"], ["argument 1", "did you mean --server"]),
    "a misspelt option": (["--sever", "https://localhost:1"], ["--sever", "did you mean --server"]),
    "a misspelt level": ([*CLIENT, "--log-level", "warn"], ["did you mean warning"]),
    "a word without its option is not repeated": (["--server", "https://localhost:1", "s3cret"], ["argument 3", "neither an option nor"]),
    "run without a command": (["run", *CLIENT], ["run", "-- COMMAND"]),
    "run without --": (["run", *CLIENT, "kcat"], ["argument 6", "after --"]),
    "run without a server": (["run", "--", "true"], ["--server", "missing"]),
    "an option of another command": (["run", *CLIENT, "--max", "3", "--", "true"], ["--max", "command run", "but of wait"]),
    "an option of a command without it": ([*CLIENT, "--ready-timeout", "3"], ["--ready-timeout", "of the commands run and hosts"]),
    "wait needs no server": (["wait", "--server", "https://localhost:1"], ["--server", "not an option of the command wait"]),
    "wait with arguments": (["wait", "--", "true"], ["wait", "no arguments"]),
}


def test_brokers_address_to_listen_on(binaries, processes):
    """192.0.2.1 is a broker's, as in `--kafka BROKER:9092` of somebody who has mixed up the two programs."""
    client = processes.start([binaries.client, "--server", "https://localhost:1", "--kafka", "192.0.2.1:9092", "--log-format", "json"], "client")
    client.wait_exit()
    assert "not an address of this machine" in client.events("start_failed")[0]["reason"], client.log()


def test_service_links_of_kubernetes(binaries):
    """No warning about them, at any start; and no option has a name like theirs."""
    links = {"TUNNEL_SERVER_SERVICE_HOST": "10.96.0.7", "TUNNEL_SERVER_SERVICE_PORT": "8080", "TUNNEL_SERVER_PORT": "tcp://10.96.0.7:8080",
             "TUNNEL_SERVER_PORT_8080_TCP": "tcp://10.96.0.7:8080", "TUNNEL_SERVER_PORT_8080_TCP_PROTO": "tcp",
             "TUNNEL_SERVER_PORT_8080_TCP_PORT": "8080", "TUNNEL_SERVER_PORT_8080_TCP_ADDR": "10.96.0.7",
             "TUNNEL_SERVICE_HOST": "10.96.0.8", "TUNNEL_SERVICE_PORT": "9092", "TUNNEL_PORT": "tcp://10.96.0.8:9092",
             "TUNNEL_PORT_9092_TCP_ADDR": "10.96.0.8"}
    argv = [binaries.client, "wait", "--status", "127.0.0.1:1", "--max", "0"]
    done = process.run(argv, 15, check=False, env=links)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    done = process.run(argv, 15, check=False, env={"TUNNEL_SERVER_SERVICE_HOSTNAME": "x"})
    assert "TUNNEL_SERVER_SERVICE_HOSTNAME is set" in done.stderr
    pattern = re.compile(r"TUNNEL(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$")
    variables = re.findall(r"`(TUNNEL_\w+)`", (cache.ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"))
    assert len(variables) > 40 and not [name for name in variables if pattern.match(name)]


@pytest.mark.parametrize("case", BAD_COMMAND)
def test_bad_commands(case, binaries):
    args, words = BAD_COMMAND[case]
    bad_usage([binaries.client, *args], *words)


# Ports for nodes, beside --kafka 9092 --kafka b=9192 --tcp x=9500.
NODE_PORTS = ["--server", "https://localhost:1", "--kafka", "9092", "--kafka", "b=9192", "--tcp", "x=9500"]
BAD_NODE_PORTS = {
    "not a number": (["many"], ["many"]),
    "port 0": (["0-99"], ["0-99", "port 0"]),
    "port too large": (["9600-65536"], ["65536"]),
    "last below first": (["9700-9600"], ["9700-9600", "below"]),
    "no cluster of that name": (["c=9600"], ["c=9600", "--kafka"]),
    "a raw target's name": (["x=9600"], ["x=9600", "--kafka"]),
    "same cluster twice": (["b=9600-9699", "b=9700-9799"], ["twice"]),
    "its own bootstrap port": (["9092-9099"], ["port 9092", "kafka"]),
    "another bootstrap port": (["9100-9200"], ["port 9192", "listener b"]),
    "a raw target's port, within the 1000": (["b=9193"], ["port 9500", "listener x", "9193-10192"]),
    "another cluster's ports": (["9600-9699", "b=9699-9799"], ["9699-9799", "9600-9699"]),
}


@pytest.mark.parametrize("case", BAD_NODE_PORTS)
def test_bad_node_ports(case, binaries):
    values, words = BAD_NODE_PORTS[case]
    bad_usage([binaries.client, *NODE_PORTS, *[a for v in values for a in ("--node-ports", v)]], "--node-ports", *words)


@pytest.mark.parametrize("case", BAD_SERVER)
def test_bad_server_usage(case, binaries):
    args, words = BAD_SERVER[case]
    bad_usage([binaries.server, *args], *words)


@pytest.mark.parametrize("case", BAD_CLIENT)
def test_bad_client_usage(case, binaries):
    args, words = BAD_CLIENT[case]
    bad_usage([binaries.client, *args], *words)


def test_file_that_is_no_certificate(binaries, tmp_path):
    junk = tmp_path / "junk.pem"
    junk.write_text("this is no certificate\n", encoding="ascii")
    junk.chmod(0o600)
    bad_usage([binaries.server, *SERVER, "--tls-cert", junk, "--tls-key", junk], "junk.pem")
    bad_usage([binaries.client, *CLIENT, "--ca", junk], "junk.pem")


def test_key_of_another_certificate(binaries, pki):
    bad_usage([binaries.server, *SERVER, "--tls-cert", pki.server[0], "--tls-key", pki.client[1]], "key")


def test_bad_values_in_the_environment_and_in_a_file(binaries, tmp_path):
    bad_usage([binaries.client, "--tcp", "x=0"], "TUNNEL_SERVER|--server|ftp", env={"TUNNEL_SERVER": "ftp://x"})
    config = tmp_path / "c.properties"
    config.write_text("server=https://localhost:1\nno-such-key=1\n", encoding="ascii")
    bad_usage([binaries.client, "--tcp", "x=0", "--config", config], "no-such-key")


@pytest.mark.parametrize("program", ["server", "client"])
def test_help_and_version(program, binaries):
    binary = getattr(binaries, program)
    shown = process.run([binary, "--help"], 10).stdout
    for option in ("--kafka", "--tcp", "--token-file", "--status"):
        assert option in shown
    shown = process.run([binary, "--help-all"], 10).stdout
    for option in ("--kafka", "--log-format", "--config"):
        assert option in shown
    assert re.search(r"\d+\.\d+\.\d+", process.run([binary, "--version"], 10).stdout)


def test_help_of_commands(binaries):
    """The program's help lists the commands; each command's help lists what concerns it."""
    shown = process.run([binaries.client, "--help-all"], 10).stdout
    for line in ("tunnel-client run [options] -- COMMAND [ARG...]", "tunnel-client wait [options]", "tunnel-client doctor [options]"):
        assert line in shown
    assert "--ready-timeout" not in shown and "--max " not in shown
    run = process.run([binaries.client, "run", "--help-all"], 10).stdout
    assert "--ready-timeout" in run and "--server" in run and "Default: warning. Environment: TUNNEL_LOG_LEVEL" in run
    wait_help = process.run([binaries.client, "--help-all", "wait"], 10).stdout
    assert "--max" in wait_help and "Default: 127.0.0.1:9091" in wait_help and "--server" not in wait_help
    assert "--server" in process.run([binaries.client, "doctor", "--help"], 10).stdout


def test_server_port_in_use(pair, peer):
    first = pair.server(tcp={"x": "127.0.0.1:1"})
    second = pair.server(tcp={"x": "127.0.0.1:1"}, listen=f"127.0.0.1:{first.port}", ready=False)
    assert second.wait_exit() == 1
    second.check()
    assert re.search(rf"{first.port}", second.log()) and re.search("in use", second.log())


def test_status_port_in_use(pair):
    """A sentence as for the port of the tunnel, that says how to learn who has it."""
    first = pair.server(tcp={"x": "127.0.0.1:1"})
    second = pair.server(tcp={"x": "127.0.0.1:1"}, args=["--status", f"127.0.0.1:{first.port}"], ready=False)
    assert second.wait_exit() == 1
    second.check()
    assert f"--status 127.0.0.1:{first.port}: the port is in use" in second.log() and "ss -ltnp" in second.log()


def test_client_port_in_use(pair, peer):
    """It says which port, and what probably holds it: another client, or a Kafka broker."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"})
    first = pair.client(server, tcp={"peer": 0})
    port = tunnel.port(first, "peer")
    second = pair.client(server, tcp={"peer": port}, ready=False)
    assert second.wait_exit() == 1
    second.check()
    assert str(port) in second.log() and "in use" in second.log()
    assert raw.echo_once(port, b"first still serves") == b"first still serves"


def test_flags_win_over_environment_over_file(pair, peer, tmp_path):
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"})
    right, wrong = f"https://localhost:{server.port}", f"https://localhost:{wait.free_port()}"
    config = tmp_path / "c.properties"
    config.write_text(f"# a comment\nserver = {wrong}\nca = {pair.pki.ca}\ntcp = peer=0\n", encoding="utf-8")
    argv = [pair.binaries.client, "--config", config, "--log-format", "json"]
    by_environment = pair.processes.start(argv, "by-environment", env={"TUNNEL_SERVER": right})
    by_environment.wait_for("ready")
    by_flag = pair.processes.start(argv + ["--server", right], "by-flag", env={"TUNNEL_SERVER": wrong})
    by_flag.wait_for("ready")
    assert raw.echo_once(tunnel.port(by_flag, "peer"), b"flag") == b"flag"


def test_repeatable_options_in_the_environment(pair, peer):
    """Comma or space separate them there."""
    target = f"{peer.host}:{peer.port}"
    server = pair.processes.start([pair.binaries.server, "--listen", "127.0.0.1:0", "--log-format", "json"], "server",
                                  env={"TUNNEL_TCP": f"one={target},two={target}"})
    server.tls, server.port = False, int(server.wait_for("ready")["listen"].rsplit(":", 1)[1])
    client = pair.processes.start([pair.binaries.client, "--server", f"http://localhost:{server.port}", "--log-format", "json"],
                                  "client", env={"TUNNEL_TCP": "one=0 two=0"})
    client.wait_for("ready")
    for name in ("one", "two"):
        assert raw.echo_once(tunnel.port(client, name), name.encode()) == name.encode()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_cleanly(sig, pair, peer):
    """Exit 0, soon, even with connections open."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"})
    client = pair.client(server, tcp={"peer": 0})
    sock = raw.connect(tunnel.port(client, "peer"), "echo")
    sock.sendall(b"x")
    assert sock.recv(1) == b"x"
    client.stop(deadline=10, sig=sig)
    server.stop(deadline=15, sig=sig)
    sock.close()


def test_signal_while_nothing_is_connected(pair):
    client = pair.client(f"https://localhost:{wait.free_port()}", tcp={"x": 0}, ready=False)
    client.wait_for("dial_failed")
    client.stop(deadline=10)


def test_log_as_text_is_one_line_an_event(pair, peer):
    server = pair.processes.start([pair.binaries.server, "--listen", "127.0.0.1:0", "--tcp", f"peer={peer.host}:{peer.port}"],
                                  "server")
    line = server.wait_log(r"ready|listening")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ", line), line


def test_every_json_line_has_its_keys(pair, peer):
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, args=["--log-level", "debug"])
    client = pair.client(server, tcp={"peer": 0}, args=["--log-level", "debug"])
    raw.echo_once(tunnel.port(client, "peer"), b"x")
    for program in (client, server):
        for line in program.lines():
            entry = json.loads(line)
            assert {"time", "level", "event", "body"} <= set(entry), line


def test_the_command_that_the_server_shows(pair, peer, tmp_path):
    """What its log has can be copied: with the files that it names beside it, and the ports that are free here, the client comes up. No secret is in it."""
    process.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-keyout", tmp_path / "server.key",
                 "-out", tmp_path / "server.pem", "-subj", "/CN=x", "-addext", "subjectAltName=DNS:localhost"], 20)
    (tmp_path / "token").write_text("s3cret-token\n", encoding="ascii")
    (tmp_path / "token").chmod(0o600)
    server = pair.server(kafka="127.0.0.2:1", tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None, args=[
        "--tls-cert", tmp_path / "server.pem", "--tls-key", tmp_path / "server.key", "--token-file", tmp_path / "token"])
    command = server.wait_for("client_command")["command"]
    assert re.fullmatch(rf"tunnel-client --server https://localhost:{server.port} --ca server\.pem --token-file token --kafka 9092 --tcp peer={peer.port}", command)
    assert "s3cret" not in server.log()
    words = command.replace("--kafka 9092", "--kafka 0").replace(f"peer={peer.port}", "peer=0").split()[1:]
    client = pair.processes.start(["env", "-C", tmp_path, pair.binaries.client.resolve(), *words, "--log-format", "json"], "client")
    client.wait_for("ready")
