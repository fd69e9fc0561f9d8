"""tunnel-client run -- COMMAND: the tunnel for one command, its exit code, its signals; one sentence when the tunnel does not come up."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from harness import cache, fakes, faults, process, raw, terminal, tunnel, wait

pytestmark = pytest.mark.tunnel

SHOW_ENVIRONMENT = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
# A person's shell and a CI's leave no signal ignored; what started the tests may have.
DEFAULT_SIGNALS = ["env", "--default-signal"]


@pytest.fixture
def served(pair, peer):
    """A server with a cluster that cannot be reached, another one, and two raw targets."""
    return pair.server(kafka="127.0.0.2:1", tcp={"peer": f"{peer.host}:{peer.port}", "a-b.c": f"{peer.host}:{peer.port}"},
                       args=["--kafka", "b-2=127.0.0.2:1"])


@pytest.fixture
def run(pair, processes):
    """run(server, command, ...) starts tunnel-client run; server may be a URL."""
    def start(server, command, args=("--tcp", "peer=0"), json_log=False, prefix=(), **kw):
        url = server if isinstance(server, str) else f"https://localhost:{server.port}"
        argv = [*prefix, pair.binaries.client, "run", "--server", url, "--ca", pair.pki.ca, *args]
        argv += ["--log-format", "json", "--log-level", "info"] if json_log else []
        return processes.start([*argv, "--", *command], "run", **kw)
    return start


def sh(script):
    return ["sh", "-c", script]


def wait_stdout(program, text, deadline=15):
    wait.until(lambda: text in program.stdout(), deadline, lambda: f"'{text}' on standard output\n{program.stdout()}\n{program.tail()}")


def one_sentence(program, *words):
    lines = program.log().strip().splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], f"no '{word}' in: {lines[0]}"


# ---- the command


def test_the_command_finds_the_listeners(served, run):
    """By name and at free ports; nothing but the command's own output anywhere."""
    program = run(served, SHOW_ENVIRONMENT, args=["--kafka", "b-2=0", "--kafka", "127.0.0.1:0", "--tcp", "peer=0", "--tcp", "a-b.c=[::1]:0"])
    assert program.wait_exit() == 0
    shown = json.loads(program.stdout())
    names = ("KAFKA_BOOTSTRAP_SERVERS", "TUNNEL_B_2_BOOTSTRAP_SERVERS", "TUNNEL_PEER_ADDRESS", "TUNNEL_A_B_C_ADDRESS")
    assert {k for k in shown if k.startswith(("KAFKA_", "TUNNEL_"))} - {"KAFKA_TUNNEL_CACHE"} >= set(names)
    assert "TUNNEL_KAFKA_BOOTSTRAP_SERVERS" not in shown
    hosts, ports = zip(*(shown[name].rsplit(":", 1) for name in names))
    assert hosts == ("127.0.0.1", "127.0.0.1", "127.0.0.1", "[::1]")
    assert len(set(ports)) == 4 and "0" not in ports
    assert program.log() == ""


def test_the_only_cluster_is_the_one_meant(served, run):
    program = run(served, SHOW_ENVIRONMENT, args=["--kafka", "b-2=0"])
    assert program.wait_exit() == 0
    assert json.loads(program.stdout())["KAFKA_BOOTSTRAP_SERVERS"].startswith("127.0.0.1:")


def test_listeners_work_and_brokers_have_ports(served, run):
    """Port 0: the bytes get through, and the ports of a cluster's nodes are planned beside the one that was free."""
    script = "import os, socket; h, p = os.environ['TUNNEL_PEER_ADDRESS'].split(':'); s = socket.create_connection((h, int(p)))\n" \
             "s.sendall(b'echo\\nhello'); s.shutdown(1); print(s.makefile().read())"
    program = run(served, [sys.executable, "-c", script], args=["--kafka", "0", "--tcp", "peer=0"], json_log=True)
    assert program.wait_exit() == 0
    assert program.stdout().strip() == "hello"
    first, last = map(int, program.wait_for("node_ports")["ports"].split("-"))
    bootstrap = tunnel.port(program, "kafka")
    assert first > 1023 and last - first >= 49 and not first <= bootstrap <= last


def test_a_kafka_client(pair, cluster, run):
    """With nothing but the variable: every broker at a port of this machine, and a message there and back."""
    topic = cluster.create_topic(3)
    script = f"""
import os, confluent_kafka, confluent_kafka.admin
where = {{"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"]}}
print(sorted({{b.host for b in confluent_kafka.admin.AdminClient(where).list_topics(timeout=30).brokers.values()}}))
producer = confluent_kafka.Producer(where)
producer.produce({topic!r}, b"through the tunnel")
assert producer.flush(30) == 0
consumer = confluent_kafka.Consumer({{**where, "group.id": "run", "auto.offset.reset": "earliest"}})
consumer.subscribe([{topic!r}])
print(consumer.poll(60).value().decode())
consumer.close()
"""
    program = run(pair.server(kafka=cluster.bootstrap), [sys.executable, "-c", script], args=["--kafka", "127.0.0.1:0"])
    assert program.wait_exit(120) == 0, program.tail()
    assert program.stdout().splitlines() == ["['127.0.0.1']", "through the tunnel"]
    cluster.delete_topic(topic)


DOCUMENTS = {"docs/sidecar.md": "https://tunnel.example.com", "README.md": "https://server.example.com:8443"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_command_in_the_documents(document, pair, peer, tmp_path):
    """As it stands there, but for the server's address."""
    text = (cache.ROOT / document).read_text(encoding="utf-8")
    line, = [line.strip() for line in text.splitlines() if re.match(r"    tunnel-client run .*-- \./integration-tests$", line)]
    (tmp_path / "token").write_text("documented-token\n", encoding="ascii")
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "server.pem").write_bytes(pathlib.Path(pair.pki.ca).read_bytes())
    program = tmp_path / "integration-tests"
    program.write_text("#!/bin/sh\necho $KAFKA_BOOTSTRAP_SERVERS $TUNNEL_REGISTRY_ADDRESS\nexit 9\n", encoding="ascii")
    program.chmod(0o755)
    server = pair.server(kafka="127.0.0.2:1", tcp={"registry": f"{peer.host}:{peer.port}"}, args=["--token-file", tmp_path / "token"])
    line = line.replace(DOCUMENTS[document], f"https://localhost:{server.port}")
    done = process.run(["sh", "-c", f"cd {tmp_path}; {line}"], 30, check=False, env={
        "PATH": f"{pair.binaries.client.resolve().parent}:{os.environ['PATH']}", "TUNNEL_TOKEN": "" if "--token" in line else "documented-token",
        "TUNNEL_CA": str(pair.pki.ca)})
    assert (done.returncode, done.stderr) == (9, "")
    assert re.fullmatch(r"127\.0\.0\.1:\d+( 127\.0\.0\.1:\d+)?\n", done.stdout)
    assert (" " in done.stdout) == ("registry=" in line)


ENDS = {
    "success": (["true"], 0, ()),
    "failing command": (["sh", "-c", "exit 7"], 7, ()),
    "killed command": (["sh", "-c", "kill -KILL $$"], 137, ()),
    "no such command": (["no-such-command"], 127, ("no-such-command", "PATH")),
    "no such file": (["/nonexistent/x"], 127, ("/nonexistent/x",)),
    "not executable": (["/etc/passwd"], 126, ("/etc/passwd", "denied")),
}


@pytest.mark.parametrize("case", ENDS)
def test_exit_code_of_the_command(case, served, run, figure):
    command, code, words = ENDS[case]
    started = time.monotonic()
    program = run(served, command)
    assert program.wait_exit() == code
    figure("exit code and time", f"{code} after {time.monotonic() - started:.2f} s")
    if words:
        one_sentence(program, *words)
    else:
        assert program.log() == ""


def test_secrets_are_not_inherited(pair, peer, run, tmp_path):
    """Neither the token nor the service manager's socket; what is no secret stays."""
    tokens = tmp_path / "tokens"
    tokens.write_text("s3cret-of-the-tunnel\n", encoding="ascii")
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, args=["--token-file", tokens])
    env = {"TUNNEL_TOKEN": "s3cret-of-the-tunnel", "NOTIFY_SOCKET": str(tmp_path / "none"), "WATCHDOG_USEC": "1000000",
           "TUNNEL_MAX_STREAMS": "20", "KAFKA_BOOTSTRAP_SERVERS": "elsewhere:9092", "MINE": "1"}
    program = run(server, SHOW_ENVIRONMENT, env=env, args=["--tcp", "peer=0", "--kafka", "no=0"])
    assert program.wait_exit() == 1, "the name is unknown"
    program = run(server, SHOW_ENVIRONMENT, env=env)
    assert program.wait_exit() == 0
    shown = json.loads(program.stdout())
    assert "s3cret" not in program.stdout()
    assert not {"TUNNEL_TOKEN", "NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(shown)
    assert shown["MINE"] == "1" and shown["TUNNEL_MAX_STREAMS"] == "20"
    assert shown["KAFKA_BOOTSTRAP_SERVERS"] == "elsewhere:9092", "there is no cluster, so it is none of ours"


def test_the_command_starts_as_without_the_tunnel(served, run, processes):
    """Limits, signals and descriptors are what they were; the program itself has changed them for itself."""
    look = sh("ulimit -Sn; ls /proc/self/fd | grep -v '^3$'; grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; cat")
    prefix = ["prlimit", "--nofile=300:3000", "env", "--default-signal", "--ignore-signal=USR2"]
    alone = processes.start([*prefix, *look], "alone")
    inside = run(served, look, prefix=prefix)
    assert alone.wait_exit() == inside.wait_exit() == 0
    assert inside.stdout() == alone.stdout()
    assert inside.stdout().startswith("300\n")


def test_the_link_may_go_down_while_it_runs(served, run):
    proxy = faults.Proxy([("127.0.0.1", served.port)])
    program = run(f"https://localhost:{proxy.port}", sh("echo up; read line; exit 3"), json_log=True, stdin=subprocess.PIPE)
    wait_stdout(program, "up")
    proxy.drop()
    program.wait_for("link_resumed")
    assert raw.echo_once(tunnel.port(program, "peer"), b"still there") == b"still there"
    program.popen.stdin.write(b"\n")
    program.popen.stdin.close()
    assert program.wait_exit() == 3
    proxy.close()


def test_what_the_command_leaves_behind_is_drained(served, run, figure):
    """A connection that outlives the command is cut after --drain-timeout."""
    program = run(served, sh("echo up; read line"), args=["--tcp", "peer=0", "--drain-timeout", "1"], json_log=True,
                  stdin=subprocess.PIPE)
    wait_stdout(program, "up")
    with raw.connect(tunnel.port(program, "peer"), "echo") as sock:
        sock.sendall(b"one")
        assert sock.recv(10) == b"one"
        told = time.monotonic()
        program.popen.stdin.write(b"\n")
        program.popen.stdin.close()
        assert program.wait_exit() == 0
        took = time.monotonic() - told
        figure("drained for", f"{took:.2f} s")
        assert took >= 1


# ---- signals

# Says which signals come, and ends with how many.
COUNT_SIGNALS = [sys.executable, "-c", """
import signal, sys, time
seen = []
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
    signal.signal(getattr(signal, name), lambda number, _: seen.append(signal.Signals(number).name))
print("up", flush=True)
end = time.monotonic() + 30
while not seen and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.5)  # for one that is too many
print(" ".join(seen), flush=True)
sys.exit(10 + len(seen))
"""]


@pytest.mark.parametrize("sig", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
def test_signals_are_passed_on(sig, served, run, figure):
    program = run(served, COUNT_SIGNALS, prefix=DEFAULT_SIGNALS)
    wait_stdout(program, "up")
    program.popen.send_signal(getattr(signal, sig))
    told = time.monotonic()
    assert program.wait_exit() == 11
    assert program.stdout().split() == ["up", sig]
    figure("ended", f"{time.monotonic() - told:.2f} s after the signal, of which the command waited 0.5 s")


def test_a_signal_that_ends_the_command(served, run):
    program = run(served, sh("echo up; exec sleep 60"), prefix=DEFAULT_SIGNALS)
    wait_stdout(program, "up")
    program.popen.send_signal(signal.SIGTERM)
    assert program.wait_exit() == 128 + signal.SIGTERM


def test_what_is_ignored_stays_ignored(served, run):
    """As nohup wants it."""
    program = run(served, sh("echo up; read line; exit 4"), prefix=["env", "--default-signal", "--ignore-signal=HUP"],
                  stdin=subprocess.PIPE, json_log=True)
    wait_stdout(program, "up")
    program.popen.send_signal(signal.SIGHUP)
    assert raw.echo_once(tunnel.port(program, "peer"), b"here") == b"here"
    program.popen.stdin.write(b"\n")
    program.popen.stdin.close()
    assert program.wait_exit() == 4


def test_a_command_that_ignores_sigterm(served, run, figure):
    """It decides itself when it ends, and has the tunnel until then."""
    program = run(served, sh("trap '' TERM; echo up; read line; exit 5"), stdin=subprocess.PIPE, json_log=True)
    wait_stdout(program, "up")
    for _ in range(2):
        program.popen.send_signal(signal.SIGTERM)
        assert raw.echo_once(tunnel.port(program, "peer"), b"continue") == b"continue"
    told = time.monotonic()
    program.popen.stdin.write(b"\n")
    program.popen.stdin.close()
    assert program.wait_exit() == 5
    figure("ended", f"{time.monotonic() - told:.2f} s after the command")


def caught(pid, sig):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        mask = next(int(line.split()[1], 16) for line in f if line.startswith("SigCgt"))
    return mask >> (sig - 1) & 1


def test_a_signal_before_the_tunnel_is_up(run, figure):
    """The command was not run, and the exit code does not say that it was."""
    with fakes.Fake(None) as fake:
        program = run(f"https://127.0.0.1:{fake.port}", ["true"], prefix=DEFAULT_SIGNALS)
        wait.until(lambda: caught(program.pid, signal.SIGTERM), 10, "the handler")
        program.popen.send_signal(signal.SIGTERM)
        told = time.monotonic()
        assert program.wait_exit() == 128 + signal.SIGTERM
        figure("ended", f"{time.monotonic() - told:.2f} s after the signal")


@pytest.mark.parametrize("key, sig", [("\x03", "SIGINT"), ("\x1c", "SIGQUIT")], ids=["ctrl-c", "ctrl-backslash"])
def test_a_key_reaches_the_command_once(key, sig, served, pair):
    """The terminal sends it to both; passed on, the command would have it twice."""
    window = terminal.Terminal([pair.binaries.client, "run", "--server", f"https://localhost:{served.port}", "--ca", pair.pki.ca,
                                "--tcp", "peer=0", "--", *COUNT_SIGNALS])
    try:
        window.wait_text("up\r\n")
        window.type(key)
        assert window.wait_exit() == 11, window.text()
        assert [line for line in window.lines() if "SIG" in line] == [{"\x03": "^C", "\x1c": "^\\"}[key] + sig]
    finally:
        window.close()


# ---- a tunnel that does not come up


def refused(program, figure, limit, *words):
    started = time.monotonic()
    assert program.wait_exit() == 1
    took = time.monotonic() - started
    figure("exit code and time", f"1 after {took:.2f} s")
    assert took < limit
    one_sentence(program, "the command was not run", *words)
    assert program.stdout() == ""


def test_nobody_listens(run, figure):
    port = wait.free_port()
    program = run(f"https://127.0.0.1:{port}", ["echo", "ran"], args=["--tcp", "x=0", "--ready-timeout", "1"])
    refused(program, figure, 10, "within 1s", "tcp:", "refused", str(port), "is the server running")


def test_no_answer_in_time(run, figure):
    with fakes.Fake(None) as fake:
        program = run(f"https://127.0.0.1:{fake.port}", ["echo", "ran"], args=["--tcp", "x=0", "--ready-timeout", "500ms"])
        refused(program, figure, 10, "no answer within 500ms", str(fake.port))


def test_certificate_of_another_authority(run, served, pki, figure):
    program = run(served, ["echo", "ran"], args=["--tcp", "peer=0", "--ca", pki.other.cert, "--ready-timeout", "1"])
    refused(program, figure, 10, "tls:", "--ca")


def test_wrong_token(pair, peer, run, tmp_path, figure):
    """Waiting would not help: it ends at once."""
    tokens = tmp_path / "tokens"
    tokens.write_text("right-token\n", encoding="ascii")
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, args=["--token-file", tokens])
    program = run(server, ["echo", "ran"], env={"TUNNEL_TOKEN": "wrong-token"}, secrets=["wrong-token"])
    refused(program, figure, 10, "auth:", "401", "where the token comes from")


@pytest.mark.parametrize("args, word", [(["--tcp", "nope=0"], "--tcp named nope"),
                                        (["--kafka", "nope=0"], "--kafka named nope"),
                                        (["--tcp", "nope=0", "--tcp", "no=0"], "--tcp named nope")],
                         ids=["target", "cluster", "two"])
def test_unknown_name(args, word, served, run, figure):
    program = run(served, ["echo", "ran"], args=args)
    refused(program, figure, 10, word, "--kafka b-2", "--tcp peer")


def test_the_sentence_as_json(run):
    port = wait.free_port()
    program = run(f"https://127.0.0.1:{port}", ["true"], args=["--tcp", "x=0", "--ready-timeout", "500ms"], json_log=True)
    assert program.wait_exit() == 1
    assert "refused" in program.events("not_ready")[0]["reason"]
    assert all(json.loads(line) for line in program.lines())


def test_a_bad_option_is_said_at_once(run):
    program = run("https://localhost:1", ["true"], args=["--tcp", "x=0", "--token-file", "/nonexistent/token"])
    assert program.wait_exit() == 2
    assert "/nonexistent/token" in program.log()


def test_two_names_of_one_variable(binaries):
    done = process.run([binaries.client, "run", "--server", "https://localhost:1", "--tcp", "a.b=0", "--tcp", "a-b=0", "--", "true"], 10,
                       check=False)
    assert done.returncode == 2 and "TUNNEL_A_B_ADDRESS" in done.stderr, done.stderr


# ---- orphans


ZOMBIES = """
import glob, sys
found = 0
for path in glob.glob("/proc/[0-9]*/stat"):
    try:
        state = open(path).read().rsplit(")", 1)[1].split()
    except OSError:
        continue
    found += state[0] == "Z" and state[1] == sys.argv[1]
print("zombies", found)
"""


def as_first_process(argv):
    """In a PID namespace of its own, as in a container."""
    return ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *argv]


def as_subreaper(argv):
    """Orphans come to it as to the first process; no privilege is needed."""
    set_it = "import ctypes, os, sys; assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0; os.execvp(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", set_it, *argv]


@pytest.mark.parametrize("place", [as_first_process, as_subreaper], ids=["first process", "subreaper"])
def test_orphans_are_waited_for(place, served, pair, processes, tmp_path):
    """Of the command and of the token command; neither loses its own exit status."""
    if subprocess.run(place(["true"]), check=False, capture_output=True).returncode != 0:
        pytest.skip("not allowed here")
    (tmp_path / "zombies.py").write_text(ZOMBIES, encoding="ascii")
    # Each orphan outlives its parent; the last count is due when none is left.
    script = f"""
for i in 1 2 3 4 5 6 7 8 9; do sh -c '(sleep 0.1; exit 3) &' ; done
for i in $(seq 100); do
    sleep 0.1
    {sys.executable} {tmp_path}/zombies.py $PPID | tee {tmp_path}/found
    [ "$(cat {tmp_path}/found)" = "zombies 0" ] && [ $i -gt 5 ] && break
done
exit 9"""
    program = processes.start(place([pair.binaries.client, "run", "--server", f"https://localhost:{served.port}", "--ca", pair.pki.ca,
                                     "--tcp", "peer=0", "--token-command", "(sleep 0.05 &) ; echo some-token-of-today", "--", *sh(script)]), "run")
    assert program.wait_exit(30) == 9, program.tail()
    assert program.stdout().splitlines()[-1] == "zombies 0", program.stdout()
