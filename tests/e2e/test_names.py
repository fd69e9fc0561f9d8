"""--keep-names: brokers keep their own names and ports, which lead to the tunnel by a hosts file: the command's own under
`run --keep-names`, or lines that `hosts` prints. Fake brokers here; docs/names.md says what real ones showed."""

import contextlib
import json
import os
import re
import struct
import sys

import pytest

from harness import fakes, mux, mux_client, names, pages, process, tunnel, wait, wire

pytestmark = [pytest.mark.tunnel, pytest.mark.skipif(not names.possible(), reason="needs mount namespaces")]

KEEP, NAMES = 165, 166
# Asks each HOST:PORT of its arguments for the cluster's nodes, as HOST:PORT.
ASK = names.script("""
import json
from harness import wire
print(json.dumps({at: wire.ask_metadata(int(at.rpartition(':')[2]), at, at.rpartition(':')[0]) for at in sys.argv[1:]}))
""")


@pytest.fixture
def port():
    return wait.quiet_ports(1)


@pytest.fixture
def brokers(port):
    """Two brokers, b1.test and b2.test, at the same port of 127.0.0.2 and 127.0.0.3."""
    with fakes.Broker(host="127.0.0.2", port=port) as first, fakes.Broker(host="127.0.0.3", port=port) as second:
        first.brokers = second.brokers = [(1, "b1.test", port), (2, "b2.test", port)]
        yield first, second


REAL = ["127.0.0.2 b1.test b1.test. old.test", "127.0.0.3 b2.test new.test", "127.0.0.2 one.test"]


@pytest.fixture
def server(pair, tmp_path, brokers, port):
    return pair.server(kafka=f"b1.test:{port},b2.test:{port}", tls=None, prefix=names.with_hosts(tmp_path / "real-hosts", REAL))


@pytest.fixture
def run(pair, processes):
    """run(server, command) starts it by tunnel-client run --keep-names."""
    def start(server, command, args=("--kafka", "0"), prefix=(), **kw):
        url = server if isinstance(server, str) else f"http://localhost:{server.port}"
        return processes.start([*prefix, pair.binaries.client, "run", "--keep-names", "--server", url, *args, "--", *command],
                               "run", **kw)
    return start


def hosts(pair, server, *args, check=True, prefix=()):
    return process.run([*prefix, pair.binaries.client, "hosts", "--server", f"http://localhost:{server.port}", *args], 60, check=check)


def lines_of(done):
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]


def ask(lines, tmp_path, *where):
    """What a program hears that sees those lines."""
    done = process.run([*names.with_hosts(tmp_path / "app-hosts", lines), *ASK, *where], 60)
    return {at: {int(node): tuple(address) for node, address in nodes.items()} for at, nodes in json.loads(done.stdout).items()}


def output(program, code=0):
    assert program.wait_exit(60) == code, program.tail()
    return program.stdout()


def machines_hosts():
    with open("/etc/hosts", "rb") as file:
        return file.read()


# ---- run --keep-names


def test_a_command_reaches_each_broker_by_its_name(server, run, brokers, port, tmp_path):
    """With its configuration as it is: names and ports are the brokers', each leads to that broker, and nothing else has changed."""
    before = machines_hosts()
    (tmp_path / "tmp").mkdir()
    show = names.script("""
import json, os, socket
from harness import wire
servers = os.environ['KAFKA_BOOTSTRAP_SERVERS'].split(',')
print(json.dumps({
    'servers': servers,
    'nodes': {at: wire.ask_metadata(int(at.rpartition(':')[2]), at, at.rpartition(':')[0]) for at in servers},
    'addresses': {at: socket.gethostbyname(at.rpartition(':')[0]) for at in servers},
    'reverse': [socket.gethostbyaddr(socket.gethostbyname(at.rpartition(':')[0]))[0] for at in servers],
    'hosts': open('/etc/hosts').read(), 'user': os.geteuid(), 'localhost': socket.gethostbyname('localhost')}))
""")
    said = json.loads(output(run(server, show, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")})))
    assert said["servers"] == [f"b1.test:{port}", f"b2.test:{port}"]
    assert said["nodes"] == {at: {"1": ["b1.test", port], "2": ["b2.test", port]} for at in said["servers"]}
    assert said["reverse"] == ["b1.test", "b2.test"]
    assert len(set(said["addresses"].values())) == 2 and all(a.startswith("127.77.") for a in said["addresses"].values())
    assert [f"b1.test:{port}"] == [c for c in brokers[0].client_ids if c.startswith("b")]
    assert [f"b2.test:{port}"] == [c for c in brokers[1].client_ids if c.startswith("b")]
    assert said["hosts"].encode().startswith(before) and said["user"] == os.geteuid() and said["localhost"] == "127.0.0.1"
    assert machines_hosts() == before and not list((tmp_path / "tmp").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_user_without_rights_gets_the_same(server, run, port, tmp_path):
    """In a user namespace; the command is the same user there."""
    prefix = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    if process.run([*prefix, "unshare", "-rm", "true"], 10, check=False).returncode != 0:
        pytest.skip("needs user namespaces for users without rights")
    command = ["sh", "-c", "getent hosts b2.test; id -u; id -g; unshare -m true 2>/dev/null || echo no rights"]
    said = output(run(server, command, prefix=prefix)).split()
    assert said[1:] == ["b2.test", "65534", "65534", "no", "rights"] and said[0].startswith("127.77.")


def test_names_that_come_and_change(server, run, brokers, port, tmp_path):
    """A new broker, a renamed one, two at one name: known to the command before the response that names them."""
    first, second = brokers
    walk = names.script(f"""
import json, sys
from harness import wire
at = ('b1.test', {port})
for line in sys.stdin:
    nodes = wire.ask_metadata(at[1], 'walk', at[0])
    print(json.dumps([nodes, {{n: wire.ask_metadata(p, f'to-{{n}}', h) == nodes for n, (h, p) in nodes.items()}}]), flush=True)
""")
    program = run(server, walk, stdin=-1)

    def look(nodes):
        first.brokers = second.brokers = nodes
        size = len(program.stdout().splitlines())
        program.popen.stdin.write(b"look\n")
        program.popen.stdin.flush()
        wait.until(lambda: len(program.stdout().splitlines()) > size or not program.alive(), 30, program.tail)
        named, reached = json.loads(program.stdout().splitlines()[-1])
        assert {int(n): tuple(a) for n, a in named.items()} == {n: (h, p) for n, h, p in nodes} and all(reached.values())

    with fakes.Broker(host="127.0.0.2") as third:
        third.brokers = None
        look([(1, "b1.test", port), (2, "b2.test", port)])
        second.client_ids.clear()
        look([(1, "b1.test", port), (2, "new.test", port)])  # renamed
        assert "to-2" in second.client_ids
        nodes = [(1, "b1.test", port), (2, "new.test", port), (3, "b1.test", third.port), (4, "one.test", third.port)]
        third.brokers = nodes
        look(nodes)  # a new name, and a second broker of a name that is known
        assert third.client_ids.count("to-3") == 1 and third.client_ids.count("to-4") == 1
        look([(1, "b1.test", port), (2, "b2.test", port)])  # and back
        first.client_ids.clear()
        look([(7, "b1.test", port), (2, "b2.test", port)])  # another id, the same broker
        assert "to-7" in first.client_ids
    program.popen.stdin.close()
    output(program)


def test_only_the_brokers_names_are_led_here(server, run, brokers, port, tmp_path):
    """A line of the machine's file keeps its other names; addresses and localhost stay what they are: clients get an address instead."""
    first, second = brokers
    first.brokers = second.brokers = [(1, "b1.test", port), (2, "127.0.0.3", port), (3, "::ffff:127.0.0.3", port), (4, "LOCALHOST", port),
                                      (5, "B2.test", port)]
    look = names.script(f"""
import json, socket
from harness import wire
print(json.dumps([wire.ask_metadata({port}, 'a', 'b1.test'), open('/etc/hosts').read(), socket.gethostbyname('other.test')]))
""")
    prefix = names.with_hosts(tmp_path / "machine-hosts", ["10.9.9.9 b1.test other.test # b2.test", "10.9.9.8\tB2.TEST"])
    program = run(server, look, prefix=prefix)
    nodes, text, other = json.loads(output(program))
    assert nodes["1"] == ["b1.test", port] and nodes["5"] == ["B2.test", port]
    assert all(re.fullmatch(r"127\.77\.\d+\.\d+", nodes[n][0]) and nodes[n][1] == port for n in "234")
    assert other == "10.9.9.9" and "10.9.9.9         other.test # b2.test\n" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("127.77.")] == ["b1.test", "b2.test"]
    assert "\n#0.9.9.8" in text and program.log().count("name_not_kept") == 0
    assert "Kafka clients get the listener's address instead host=LOCALHOST" in program.log()


def test_two_commands_at_a_time(server, run, port):
    """Each has addresses of its own, though the names and ports are the same."""
    talk = names.script(f"""
import json, socket
from harness import wire
print(json.dumps([wire.ask_metadata({port}, 'a', 'b1.test')[1], socket.gethostbyname('b1.test')]), flush=True)
sys.stdin.read()
""")
    first, second = run(server, talk, stdin=-1), run(server, talk, stdin=-1)
    wait.until(lambda: first.stdout() and second.stdout() or not (first.alive() and second.alive()), 30, lambda: first.tail() + second.tail())
    one, two = json.loads(first.stdout()), json.loads(second.stdout())
    assert one[0] == two[0] == ["b1.test", port] and one[1] != two[1]
    for program in (first, second):
        program.popen.stdin.close()
        output(program)


def test_nobody_is_asked_before_the_hosts_file(server, run, tmp_path):
    """No service that stands first in nsswitch.conf, and no nscd, which has read the machine's file."""
    if os.geteuid() != 0:
        pytest.skip("mounts")
    (tmp_path / "nsswitch").write_text("passwd: files\nhosts: dns\n", encoding="ascii")
    script = ("mount --bind \"$0\" /etc/nsswitch.conf && mount -t tmpfs tmpfs /run && mkdir /run/nscd && "
              "\"$1\" -c \"import socket; socket.socket(socket.AF_UNIX).bind('/run/nscd/socket')\" && shift && exec \"$@\"")
    prefix = ["unshare", "--mount", "sh", "-c", script, tmp_path / "nsswitch", sys.executable]
    command = ["sh", "-c", "getent hosts b1.test; cat /etc/nsswitch.conf; stat -c %F /run/nscd/socket"]
    said = output(run(f"http://127.0.0.1:{server.port}", command, prefix=prefix)).splitlines()
    assert re.fullmatch(r"127\.77\.\d+\.\d+\s+b1\.test", said[0])
    assert said[1:] == ["passwd: files", "hosts: files  dns", "character special file"]


def test_refused_namespaces_are_explained(server, run, tmp_path):
    """Which setting refuses them, and what else there is; the command is not run."""
    script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin \"$@\""
    prefix = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    if process.run([*prefix, "true"], 10, check=False).returncode != 0:
        pytest.skip("needs user namespaces that can be bounded")
    program = run(server, ["sh", "-c", "echo ran"], prefix=prefix)
    assert output(program, 1) == ""
    said = program.log()
    assert "user.max_user_namespaces is 0" in said and "tunnel-client hosts" in said and "so it was not run" in said, said
    assert len(said.strip().splitlines()) == 1


def test_a_command_that_does_not_exist(server, run):
    program = run(server, ["no-such-command"])
    output(program, 127)
    assert "no such command" in program.log()


def test_a_port_that_needs_rights(pair, run, tmp_path):
    """In one sentence, before the command is run."""
    if os.geteuid() != 0:
        pytest.skip("becomes another user")
    prefix = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"]
    server = pair.server(kafka="127.0.0.2:9", prefix=names.with_hosts(tmp_path / "hosts", ["127.0.0.2 low.test"]), tls=None,
                         args=["--kafka", "low=low.test:81"])
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
        if int(file.read()) <= 81:
            pytest.skip("every user may listen there")
    program = run(server, ["true"], prefix=prefix, args=["--kafka", "low=0"])
    output(program, 1)
    assert "low.test:81 leads to 127.77." in program.log() and "ip_unprivileged_port_start" in program.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_a_name_that_cannot_be_written_is_not_told(server, run, brokers, port, tmp_path):
    """The directory for temporary files is full: the response with the new name does not come, and the file stays whole."""
    first, second = brokers
    room = tmp_path / "room"
    room.mkdir()
    with open("/etc/hosts", "rb") as file:
        size = len(file.read())
    if size > 3000:
        pytest.skip("a large hosts file")
    prefix = [*names.with_hosts(tmp_path / "machine-hosts", ["# " + "x" * (4096 - 70 - size - 3)]), "sh", "-c",
              f"mount -t tmpfs -o size=4k tmpfs {room} && TMPDIR={room} exec \"$@\"", "sh"]
    look = names.script(f"""
import json, sys
from harness import wire
for line in sys.stdin:
    try:
        said = sorted(h for h, _ in wire.ask_metadata({port}, 'a', 'b1.test').values())
    except Exception as error:
        said = type(error).__name__
    print(json.dumps([said, open('/etc/hosts').read().splitlines()[-2:]]), flush=True)
""")
    program = run(server, look, prefix=prefix, stdin=-1)

    def ask_again():
        size = len(program.stdout().splitlines())
        program.popen.stdin.write(b"look\n")
        program.popen.stdin.flush()
        wait.until(lambda: len(program.stdout().splitlines()) > size or not program.alive(), 30, program.tail)
        said, lines = json.loads(program.stdout().splitlines()[-1])
        assert [line.split()[1:] for line in lines] == [["b1.test"], ["b2.test"]], lines
        return said

    assert ask_again() == ["b1.test", "b2.test"]
    first.brokers = [(1, "b1.test", port), (2, "b2.test", port), (3, "a-much-longer-name-than-fits.test", port)]
    assert isinstance(ask_again(), str)
    first.brokers = [(1, "b1.test", port), (2, "b2.test", port)]
    assert ask_again() == ["b1.test", "b2.test"]
    program.popen.stdin.close()
    output(program)
    assert "cannot be written to the command's hosts file" in program.log() and "No space left on device" in program.log()


# ---- an older server, and no answer


def test_an_older_server_is_named(run, pair, processes):
    with mux.Server(mux.welcome()) as server:
        program = run(server.url, ["true"])
        output(program, 1)
        assert "the server is too old to tell brokers' names" in program.log()
        client = pair.client(server.url, kafka={"kafka": 0}, args=["--keep-names"])
        client.wait_for("names_untold")
        done = process.run([pair.binaries.client, "hosts", "--server", server.url], 30, check=False)
        assert done.returncode == 1 and "too old" in done.stderr and not done.stdout


def test_a_server_that_tells_nothing(run, pair):
    """Only for so long."""
    with mux.Server(mux.welcome(flags=4, version=2)) as server:
        program = run(server.url, ["true"], args=["--kafka", "0", "--ready-timeout", "1s"])
        output(program, 1)
        assert "names: the server has not told the brokers' names yet" in program.log()
        done = process.run([pair.binaries.client, "hosts", "--server", server.url, "--ready-timeout", "1s"], 30, check=False)
        assert done.returncode == 1 and "within 1s (--ready-timeout) the server told no names" in done.stderr


def test_names_are_told_to_those_who_may_use_the_cluster(pair, brokers, port, tmp_path):
    """Whatever a client asks for."""
    first, second = brokers
    tokens, rules = tmp_path / "tokens", tmp_path / "rules"
    tokens.write_text("tok-alice-0123456789 alice\n", encoding="ascii")
    rules.write_text("a.identity=alice\na.cluster=main\na.allow=all\n", encoding="ascii")
    tokens.chmod(0o600)
    server = pair.server(kafka=f"main=b1.test:{port}", args=["--kafka", f"secret=b2.test:{port}", "--token-file", tokens, "--access", rules],
                         tls=None, prefix=names.with_hosts(tmp_path / "hosts", REAL))
    with mux_client.Client(server, token="tok-alice-0123456789", version=2) as client:
        for cluster in ("secret", "main"):
            client.message(KEEP, mux.text8(cluster))
        kind, body = client.next_message((NAMES,))
        assert kind == NAMES and body.startswith(mux.text8("main")) and b"b1.test" in body
    assert first.client_ids.count("kafka-tunnel") == 1 and not second.client_ids.count("kafka-tunnel")


# ---- hosts


def test_the_lines_lead_to_the_brokers(pair, server, brokers, port, tmp_path):
    """As ordinary processes; tunnel-client's own file may have the lines as well, or not, which it says."""
    lines = lines_of(hosts(pair, server))
    assert [line.split()[1] for line in lines] == ["b1.test", "b2.test"]
    client = pair.client(server, kafka={"kafka": 0}, args=["--keep-names"])
    warned = {client.wait_for("name_not_listed", host=f"b{i}.test")["line"] for i in (1, 2)}
    assert warned == set(lines)
    heard = ask(lines, tmp_path, f"b1.test:{port}", f"b2.test:{port}")
    assert heard == {at: {1: ("b1.test", port), 2: ("b2.test", port)} for at in (f"b1.test:{port}", f"b2.test:{port}")}
    assert f"b1.test:{port}" in brokers[0].client_ids and f"b2.test:{port}" in brokers[1].client_ids
    # The bootstrap listener of before leads there as well, and names the brokers in the same way.
    assert wire.ask_metadata(tunnel.port(client, "kafka")) == {1: ("b1.test", port), 2: ("b2.test", port)}
    client.stop()
    listed = pair.client(server, kafka={"kafka": 0}, args=["--keep-names"], prefix=names.with_hosts(tmp_path / "listed", lines))
    tunnel.port(listed, "kafka/bootstrap/1")
    assert not listed.events("name_not_listed")


def test_lines_of_before_are_kept(pair, server, port, tmp_path):
    """What an administrator has chosen within the network counts, for `hosts` and for the listeners."""
    chosen = ["127.77.1.1 b2.test", "127.77.1.2 b1.test other.test"]
    prefix = names.with_hosts(tmp_path / "chosen", chosen)
    assert set(lines_of(hosts(pair, server, prefix=prefix))) == {"127.77.1.1 b2.test", "127.77.1.2 b1.test"}
    pair.client(server, kafka={"kafka": 0}, args=["--keep-names"], prefix=prefix)
    heard = ask(chosen, tmp_path, f"b1.test:{port}")
    assert heard[f"b1.test:{port}"][2] == ("b2.test", port)


def test_formats(pair, server):
    plain = dict(reversed(line.split()) for line in lines_of(hosts(pair, server)))
    docker = hosts(pair, server, "--format", "docker").stdout
    assert docker.splitlines() == [f"--add-host {name}:{address}" for name, address in plain.items()]
    yaml = pytest.importorskip("yaml")
    said = yaml.safe_load(hosts(pair, server, "--format", "kubernetes").stdout)
    assert said == {"hostAliases": [{"ip": address, "hostnames": [name]} for name, address in plain.items()]}
    other = lines_of(hosts(pair, server, "--name-network", "127.99.8.0/24"))
    assert all(line.startswith("127.99.8.") for line in other) and len(other) == 2


def test_what_hosts_cannot_offer_is_said(pair, brokers, port, tmp_path):
    """Addresses, the tunnel's own server, brokers that want a login first, a cluster that is not there."""
    first, second = brokers
    first.brokers = [(1, "b1.test", port), (2, "127.0.0.3", port)]
    prefix = names.with_hosts(tmp_path / "hosts", [*REAL, "127.0.0.1 tunnel.test"])
    second.brokers = None  # hangs up when it is asked
    server = pair.server(kafka=f"b1.test:{port}", args=["--kafka", f"shut=b2.test:{port}"], tls=None, prefix=prefix)
    done = hosts(pair, server, "--kafka", "0", "--kafka", "shut=0")
    assert [line.split()[1] for line in lines_of(done)] == ["b1.test", "b2.test"]
    assert re.search(r"^# 127\.0\.0\.3: no hosts file can lead this here; Kafka clients get 127\.77\.", done.stdout, re.M)
    assert re.search(r"^# shut: there may be more brokers than these, since the server could not ask: .*b2\.test", done.stdout, re.M)
    done = hosts(pair, server, "--kafka", "none=0", check=False)
    assert done.returncode == 1 and "the server has no --kafka named none" in done.stderr
    first.brokers = [(1, "b1.test", port), (2, "localhost", port), (3, "LocalHost.", port)]
    assert [line.split()[1] for line in lines_of(hosts(pair, server))] == ["b1.test"]
    first.brokers = [(1, "b1.test.", port)]
    assert [line.split()[1:] for line in lines_of(hosts(pair, server))] == [["b1.test", "b1.test."]]


def tells(*told, cluster="kafka"):
    """An `on_message` of mux.Server that tells these names: of (endpoint type, id, host, port)."""
    def answer(kind, _):
        if kind != KEEP:
            return []
        parts = [told[at:at + 500] for at in range(0, len(told), 500)]
        return [(NAMES, mux.text8(cluster) + struct.pack(">H", len(part))
                 + b"".join(struct.pack(">BiH", of, node, port) + mux.text8(host) for of, node, host, port in part)
                 + struct.pack(">BB", part is parts[-1], 0)) for part in parts]
    return answer


HOSTILE = ["x\n6.6.6.6 bank.example\n#", "\x1b]0;owned\x07", "x\r6.6.6.6 bank.example", "a b", "x\0y", "\u009b31m", "#", "::1"]


@pytest.mark.parametrize("format_", ["hosts", "kubernetes"])
def test_brokers_write_no_lines(pair, brokers, server, port, format_):
    """What a broker advertises is on one line, in a comment, or nowhere; an older server passes on whatever it is."""
    first, second = brokers
    first.brokers = second.brokers = [(1, "b1.test", port), *((2 + i, host, port) for i, host in enumerate(HOSTILE))]
    told = [(1, 1, "b1.test", port), *((1, 2 + i, host, port) for i, host in enumerate(HOSTILE))]
    with mux.Server(mux.welcome(version=2, flags=4), on_message=tells(*told)) as older:
        for of in (server, older):
            said = hosts(pair, of, "--format", format_).stdout
            allowed = r"#|127\.77\." if format_ == "hosts" else r"#|hostAliases:|  - ip: 127\.77\.|    hostnames: \[\"b[12]\.test\"\]"
            assert all(re.match(allowed, line) for line in said.split("\n")[:-1]), said
            assert "b1.test" in said and "bank" not in said and all(" " <= c <= "~" for c in said.replace("\n", "")), said


def test_brokers_write_no_lines_of_a_command(server, run, brokers, port):
    first, second = brokers
    first.brokers = second.brokers = [(1, "b1.test", port), *((2 + i, host, port) for i, host in enumerate(HOSTILE))]
    ask_ = names.script(f"""
from harness import wire
seen = wire.ask_metadata({port}, 'a', 'b1.test')
print(all(h == '' or h == 'b1.test' or h.startswith('127.77.') for h, _ in seen.values()), len(seen))
print(open('/etc/hosts').read())
""")
    said = output(run(server, ask_))
    assert said.startswith(f"True {1 + len(HOSTILE)}\n") and "bank" not in said and said.count("127.77.") == 2, said
    assert [e["node"] for e in server.events("node_unusable")] == [2 + i for i, host in enumerate(HOSTILE) if not re.fullmatch("[!-~]+", host)]


def test_any_name_is_kept_with_a_warning(pair, server, run, brokers, port):
    """A broker may say that it is something else: what is in no domain of --kafka is named, and --keep-names-in leaves it out."""
    first, second = brokers
    first.brokers = second.brokers = [(1, "b1.test", port), (2, "b2.test", port), (3, "pypi.example.org", port)]
    client = pair.client(server, kafka={"kafka": 0}, args=["--keep-names"])
    assert client.wait_for("name_unexpected")["host"] == "pypi.example.org"
    assert wire.ask_metadata(tunnel.port(client, "kafka"))[3] == ("pypi.example.org", port)
    assert len(client.events("name_unexpected")) == 1
    only = pair.client(server, kafka={"kafka": 0}, args=["--keep-names", "--keep-names-in", "test", "--name-network", "127.99.0.0/16"])
    assert only.wait_for("name_not_kept", host="pypi.example.org")["address"].startswith("127.99.")
    seen = wire.ask_metadata(tunnel.port(only, "kafka"))
    assert seen[1] == ("b1.test", port) and seen[3][0].startswith("127.99.") and not only.events("name_unexpected")
    said = hosts(pair, server).stdout
    assert "# pypi.example.org: in no domain of the server's --kafka" in said
    done = hosts(pair, server, "--keep-names-in", "test")
    assert [line.split()[1] for line in lines_of(done)] == ["b1.test", "b2.test"] and "# pypi.example.org: in no domain of --keep-names-in" in done.stdout
    program = run(server, ["sh", "-c", "getent hosts b2.test pypi.example.org | grep -c ^127.77"], args=["--kafka", "0", "--keep-names-in", "test"])
    assert output(program).split() == ["1"]


def test_a_server_that_makes_up_names(pair):
    """They cost no more than the bound, which is told once."""
    made_up = [(0, 0, "127.0.0.1", 9), *((1, i, f"b{i}.x.test", 9092) for i in range(1500))]
    with mux.Server(mux.welcome(version=2, flags=4), on_message=tells(*made_up)) as server:
        client = pair.client(server.url, kafka={"kafka": 0}, args=["--keep-names"])
        assert "makes way" in client.wait_for("name_not_served")["reason"]
        wait.until(lambda: len(os.listdir(f"/proc/{client.pid}/fd")) > 900, 20, client.tail)
        assert len(os.listdir(f"/proc/{client.pid}/fd")) < 1100 and len(client.events("name_not_served")) == 1


# ---- with TLS on the listeners


def test_certificates_carry_the_names(pair, server, brokers, port, tmp_path):
    """As far as the CA may vouch for them; others are in the log. A name that comes later is in a new certificate."""
    first, second = brokers
    first.brokers = second.brokers = [(1, "b1.test", port), (2, "b2.test", port), (3, "b3.other", port), (4, "127.0.0.3", port)]
    tls = ["--listener-tls", "required", "--listener-name", "test", "--state-dir", str(tmp_path / "state")]
    client = pair.client(server, kafka={"kafka": 0}, args=["--keep-names", *tls])
    assert client.wait_for("name_not_certified")["host"] == "b3.other"
    look = names.script("""
import ssl, socket
from harness import wire
context = ssl.create_default_context(cafile=sys.argv[1])
for at in sys.argv[2:]:
    host, _, port = at.rpartition(':')
    with context.wrap_socket(socket.create_connection((host, int(port)), 20), server_hostname=host) as sock:
        sock.sendall(wire.metadata_request())
        print(len(wire.read_frame(sock)) > 0)
""")

    def reach(lines, *where):
        return process.run([*names.with_hosts(tmp_path / "app-hosts", lines), *look, tmp_path / "state" / "listener-ca.pem", *where], 60,
                           check=False)
    lines = lines_of(hosts(pair, server))
    done = reach(lines, f"b1.test:{port}", f"b2.test:{port}")
    assert done.stdout.split() == ["True", "True"], done.stderr
    assert "CERTIFICATE_VERIFY_FAILED" in reach(lines, f"b3.other:{port}").stderr
    # Kafka clients get an address in place of one.
    address = client.wait_for("name_not_kept", host="127.0.0.3")["address"]
    done = reach(lines, f"{address}:{port}")
    assert done.stdout.split() == ["True"], done.stderr
    assert not client.events("name_not_certified", host=address)
    first.brokers = second.brokers = [(1, "b1.test", port), (2, "new.test", port)]
    mark = client.mark()
    assert reach(lines, f"b1.test:{port}").returncode == 0
    client.wait_for("listener_certificate_renewed", since=mark)
    assert reach(lines_of(hosts(pair, server)), f"new.test:{port}").stdout.split() == ["True"]


# ---- what looks names up

GO = """package main
import ("fmt"; "net"; "os"; "time")
func main() {
    for _, at := range os.Args[1:] {
        for end := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
            c, err := net.DialTimeout("tcp", at, 5 * time.Second)
            if err == nil { fmt.Println(at, c.RemoteAddr().(*net.TCPAddr).IP); break }
            if time.Now().After(end) { fmt.Println(at, err); break }
        }
    }
}
"""
JAVA = """import java.net.Socket;
public class Look { public static void main(String[] all) throws Exception { for (String at : all) { int colon = at.lastIndexOf(':');
    try (Socket s = new Socket(at.substring(0, colon), Integer.parseInt(at.substring(colon + 1)))) {
        System.out.println(at + " " + s.getInetAddress().getHostAddress()); } } } }
"""
NODE = """const net = require('net');
(async () => { for (const at of process.argv.slice(1)) { const [host, port] = at.split(':');
    await new Promise(done => { const s = net.connect(port, host, () => { console.log(at, s.remoteAddress); s.end(); done(); }); }); } })();
"""
PYTHON = """import socket, sys
for at in sys.argv[1:]:
    host, port = at.split(':')
    with socket.create_connection((host, int(port)), 10) as s:
        print(at, s.getpeername()[0])
"""


def go_program(directory, cgo):
    (directory / "look.go").write_text(GO, encoding="ascii")
    program = directory / f"look-{cgo}"
    process.run(["go", "build", "-o", program, directory / "look.go"], 300, env={"CGO_ENABLED": cgo, "GOFLAGS": "-mod=mod", "GO111MODULE": "off"})
    return [program]


LANGUAGES = {
    "python": lambda directory: [sys.executable, "-c", PYTHON],
    "go": lambda directory: go_program(directory, "0"),
    "go with cgo": lambda directory: go_program(directory, "1"),
    "node": lambda directory: ["node", "-e", NODE],
    "java": lambda directory: (directory.joinpath("Look.java").write_text(JAVA, encoding="ascii"), ["java", directory / "Look.java"])[1],
}


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_look_names_up(server, run, port, tmp_path, language):
    """Each finds both names, at an address each."""
    where = [f"b1.test:{port}", f"b2.test:{port}"]
    said = output(run(server, [*LANGUAGES[language](tmp_path), *where])).splitlines()
    found = dict(line.split(" ", 1) for line in said)
    assert list(found) == where and len(set(found.values())) == 2
    assert all(re.fullmatch(r"(::ffff:)?127\.77\.\d+\.\d+", address) for address in found.values()), found


# ---- the client by itself


def test_a_port_that_is_in_use(pair, server, port):
    """Only connections that would hear of that broker are reset; the log says who is in the way."""
    line = next(line for line in lines_of(hosts(pair, server)) if line.endswith(" b2.test"))
    with fakes.Silent(host=line.split()[0], port=port):
        client = pair.client(server, kafka={"kafka": 0}, args=["--keep-names"])
        said = client.wait_for("name_not_served")["reason"]
        assert f"b2.test:{port} leads to {line.split()[0]} here, and port {port} is in use there" in said
        with contextlib.suppress(ConnectionError, AssertionError):
            wire.ask_metadata(tunnel.port(client, "kafka"))
            raise RuntimeError("a response named a broker without a listener")
        client.wait_for("expose_failed")
    assert wire.ask_metadata(tunnel.port(client, "kafka")) == {1: ("b1.test", port), 2: ("b2.test", port)}


def test_one_cluster_keeps_names_and_another_does_not(pair, brokers, port, tmp_path):
    """Of two clusters with the same names only the first to be known can keep them; the other is told so."""
    prefix = names.with_hosts(tmp_path / "hosts", REAL)
    server = pair.server(kafka=f"b1.test:{port}", args=["--kafka", f"other=b2.test:{port}"], tls=None, prefix=prefix)
    client = pair.client(server, kafka={"kafka": 0, "other": 0}, args=["--keep-names-of", "other"])
    wait.until(lambda: client.events("listening", name="other/bootstrap/0"), 15, client.tail)
    assert wire.ask_metadata(tunnel.port(client, "other"))[1] == ("b1.test", port)
    host, _ = wire.ask_metadata(tunnel.port(client, "kafka"))[1]
    assert host == "127.0.0.1"
    client.stop()
    client = pair.client(server, kafka={"kafka": 0, "other": 0}, args=["--keep-names"])
    refused = client.wait_for("name_not_served")  # of the one whose names came later
    assert f"is a broker of {refused['cluster']} and of another cluster" in refused["reason"]


def test_the_names_of_another_servers_session(pair, server, brokers, port, tmp_path):
    """After a restart the server has other bootstrap brokers: a name that is none any more leads to its node, or to any."""
    client = pair.client(server, kafka={"kafka": 0}, args=["--keep-names"])
    tunnel.port(client, "kafka/bootstrap/1")
    lines = lines_of(hosts(pair, server))
    listen = f"127.0.0.1:{server.port}"
    server.stop()
    mark = client.mark()
    pair.server(kafka=f"b2.test:{port}", listen=listen, tls=None, prefix=names.with_hosts(tmp_path / "real-again", REAL))
    client.wait_for("link_up", 60, since=mark)
    for broker in brokers:
        broker.client_ids.clear()
    heard = ask(lines, tmp_path, f"b1.test:{port}", f"b2.test:{port}")
    assert all(nodes == {1: ("b1.test", port), 2: ("b2.test", port)} for nodes in heard.values())
    assert f"b1.test:{port}" in brokers[0].client_ids and f"b2.test:{port}" in brokers[1].client_ids


def test_the_doctor_knows_such_a_client(pair, server, port):
    """What answers with other names than the tunnel's own is no other Kafka."""
    client = pair.client(server, kafka={"kafka": 0}, args=["--keep-names"])
    at = tunnel.port(client, "kafka")
    doctor = [pair.binaries.client, "doctor", "--server", f"http://localhost:{server.port}", "--kafka", str(at)]
    done = process.run([*doctor, "--keep-names"], 60, check=False)
    assert done.returncode == 0 and f"127.0.0.1:{at} for kafka: a tunnel-client listens there" in done.stdout, done.stdout
    done = process.run(doctor, 60, check=False)
    assert done.returncode == 23 and "another Kafka broker has it" in done.stdout, done.stdout


def test_the_status_page_has_the_names(pair, server, port):
    client = pair.client(server, kafka={"kafka": 0}, args=["--keep-names", "--status", "127.0.0.1:0"])
    tunnel.port(client, "kafka/bootstrap/1")
    listeners = pages.Pages(client).json()["listeners"]
    named = {entry["broker"]: entry for entry in listeners if "broker" in entry}
    assert set(named) == {f"b1.test:{port}", f"b2.test:{port}"}
    assert named[f"b2.test:{port}"]["advertised"] == "b2.test" and named[f"b2.test:{port}"]["listen"].startswith("127.77.")


@pytest.mark.parametrize("args, words", [
    (["--name-network", "10.0.0.0/16"], "it begins with 127"),
    (["--name-network", "127.0.0.0/16"], "127.0.0.1 is in that network"),
    (["--name-network", "127.77.1.0/16"], "the network's own first address"),
    (["--name-network", "127.77.0.0/8"], "from 16 to 28"),
    (["--name-network", "127.77.0.0"], "as in 127.77.0.0/16"),
    (["--keep-names-of", "other"], "there is no --kafka of that name"),
    (["--keep-names-in", "example.com"], "has no effect without --keep-names"),
    (["--keep-names", "--keep-names-in", ".example.com"], "without a dot"),
    (["--keep-names", "--keep-names-in", "localhost"], "no name like that can be kept"),
    (["--keep-names", "--node-ports", "9200"], "--node-ports has no effect for kafka"),
    (["--keep-names", "--tcp", "raw=0"], "has no effect without a --kafka"),
])
def test_bad_options(pair, args, words):
    done = process.run([pair.binaries.client, "--server", "http://localhost:1", *args], 10, check=False)
    assert done.returncode == 2 and words in done.stderr, done.stderr
