"""The audit record: who came, what they did, who was refused; its chain, and what becomes of a sink that fails."""

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import threading

import pytest

from harness import fakes, pages, process, raw, tunnel, wait, wire
from harness.mux_client import REFUSED, WELCOME, Client

pytestmark = pytest.mark.tunnel
F_SETPIPE_SZ = 1031  # Linux; Python 3.10 has a name for it
ALICE, BOB = "token-of-alice-0123456789", "token-of-bob-0123456789"


@pytest.fixture
def broker():
    with fakes.Broker() as one:
        one.brokers = [one.node(1), one.node(2)]
        yield one


@pytest.fixture
def log(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
def start(pair, peer, broker, log, tmp_path):
    """start(options) -> a server that writes audit records to log; its tokens are ALICE's and BOB's."""
    (tmp_path / "tokens").write_text(f"{ALICE} alice\n{BOB} bob\n", encoding="utf-8")
    (tmp_path / "alice").write_text(ALICE, encoding="utf-8")

    def run(*args, where=log, **kw):
        return pair.server(kafka=broker.address, tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None, secrets=[ALICE, BOB],
                           args=["--token-file", tmp_path / "tokens", "--status", "127.0.0.1:0", "--audit-log", where, *args], **kw)
    return run


@pytest.fixture
def alice(pair, tmp_path):
    def run(server, *args, **kw):
        return pair.client(server, kafka={"kafka": 0}, tcp={"raw": 0}, args=["--token-file", tmp_path / "alice", *args], secrets=[ALICE], **kw)
    return run


def records(path, event=None, **fields):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        all_ = [json.loads(line) for line in f if line.endswith("\n")]
    return [r for r in all_ if (event is None or r["event"] == event) and all(r.get(k) == v for k, v in fields.items())]


def wait_for(path, event, **fields):
    return wait.until(lambda: records(path, event, **fields), 15, lambda: f"{event} {fields} in {records(path)}")[0]


def check_chain(*paths):
    """As an auditor would write it who has docs/audit.md and not this program."""
    previous, sequence = "0" * 64, 0
    for path in paths:
        for line in open(path, "rb").read().splitlines():
            record = json.loads(line)
            sequence += 1
            assert record["seq"] == sequence and record["prev"] == previous
            previous = hashlib.sha256(line[:line.rindex(b',"hash":')]).hexdigest()
            assert record["hash"] == previous
    return sequence


def verify(binaries, *paths, **kw):
    done = process.run([binaries.server, "audit", "verify", *paths], 30, check=False, **kw)
    return done.returncode, done.stdout


# -- what is in it ---------------------------------------------------------------------------------------------------


def test_each_record(start, alice, log, binaries, pair, tmp_path, broker):
    """Sessions and connections, from their begin to their end; who was refused, and why; whatever the log's level, without a secret."""
    server = start("--log-level", "error", ready=False)
    wait.until(lambda: records(log, "audit_opened"), 15, "the first record")
    server.port = next(port for port in listening_ports(server) if answers_health(port))
    opened = records(log)[0]
    assert (opened["seq"], opened["sink"], opened["reason"], opened["torn_bytes"]) == (1, "file", "start", 0)
    assert stat.S_IMODE(os.stat(log).st_mode) == 0o600
    client = alice(server, "--tcp", "unknown=127.0.0.1:0")
    session = wait_for(log, "session_opened")
    assert session["identity"] == "alice" and session["peer"].startswith("127.0.0.1:") and session["software"].startswith("kafka-tunnel/")
    with socket.create_connection(("127.0.0.1", tunnel.port(client, "kafka"))) as sock:
        sock.sendall(wire.metadata_request(client_id="pay\x1bments"))
        assert wire.read_frame(sock)
        one = wait_for(log, "connection_opened", target="kafka")
        local = "%s:%d" % sock.getsockname()
    assert one["session"] == session["session"] and one["identity"] == "alice" and one["address"] == broker.address
    ended = wait_for(log, "connection_ended", target="kafka")
    assert ended["stream"] == one["stream"] and ended["end"] == "complete" and ended["local_peer"] == local
    assert ended["bytes_up"] > 0 and ended["bytes_down"] > 0 and ended["duration_ms"] >= 0 and "client_id" in ended
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", tunnel.port(client, "unknown"))) as sock:
        sock.recv(1)
    refused = wait_for(log, "connection_refused")
    assert refused["end"] == "unknown_target" and refused["target"] == "unknown" and "--tcp" in refused["reason"]
    wrong = tmp_path / "wrong"
    wrong.write_text("token-that-nobody-has-0123456789", encoding="utf-8")
    pair.client(server, tcp={"raw": 0}, args=["--token-file", wrong], secrets=[wrong.read_text()], ready=False)
    login = wait_for(log, "login_refused")
    assert login["peer"].startswith("127.0.0.1:") and "not one of those" in login["reason"]
    client.stop()
    over = wait_for(log, "session_ended")
    assert over["session"] == session["session"] and over["end"] == "complete" and over["streams_opened"] == 2
    server.stop()
    assert records(log)[-1]["event"] == "audit_closed"
    assert not server.events("audit_session"), "this is at level info"
    text = log.read_text(encoding="utf-8")
    assert ALICE not in text and "nobody-has" not in text and "\x1b" not in text
    assert check_chain(log) == len(records(log))
    code, said = verify(binaries, log)
    assert code == 0 and f"{len(records(log))} records in 1 file, 1 chain" in said and "no problem" in said


def listening_ports(server):
    """Of a server whose log does not say."""
    inodes = set()
    for fd in os.listdir(f"/proc/{server.pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(f"/proc/{server.pid}/fd/{fd}"))
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return [int(row[1].rsplit(":", 1)[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]


def answers_health(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b" 404 " in raw.read_rest(sock)


def test_the_chain_goes_on_over_a_restart(start, alice, log, binaries):
    for _ in range(2):
        server = start()
        client = alice(server)
        raw.echo_once(tunnel.port(client, "raw"))
        client.stop()
        server.stop()
    assert [r["reason"] for r in records(log, "audit_opened")] == ["start", "start"]
    assert check_chain(log) == len(records(log))
    # The log tells where the chain stood in the end: it is there, and nothing was made anew.
    head = server.events("audit_head")[-1]["record"]
    assert head == f"{records(log)[-1]['seq']}:{records(log)[-1]['hash']}"
    assert verify(binaries, "--expect", head, log)[0] == 0
    # Killed within a line.
    with open(log, "a", encoding="ascii") as f:
        f.write('{"chain":"00')
    start().stop()
    code, said = verify(binaries, log)
    assert code == 0 and "cut short" in said
    # Without its last lines it is in order, but for whoever knows that there was more.
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join(lines[:3]), encoding="utf-8")
    assert verify(binaries, log)[0] == 0
    assert verify(binaries, "--expect", head, log)[0] == 1


def test_verify_names_what_was_done(start, alice, log, binaries):
    """One line removed, one changed, two swapped, one cut short."""
    server = start()
    client = alice(server)
    for _ in range(4):
        raw.echo_once(tunnel.port(client, "raw"))
    client.stop()
    server.stop()
    lines = log.read_text(encoding="utf-8").splitlines()
    copy = log.with_suffix(".copy")

    def said(*changed):
        copy.write_text("\n".join(changed) + "\n", encoding="utf-8")
        code, text = verify(binaries, copy)
        assert code == 1, text
        return text

    assert f"{copy}:6: record 6 is missing before this line" in said(*lines[:5], *lines[6:])
    changed = lines[5].replace('"alice"', '"mallory"')
    assert changed != lines[5]
    text = said(*lines[:5], changed, *lines[6:])
    assert f"{copy}:6: this record was changed" in text and "1 problem\n" in text
    assert f"{copy}:7: record 6 stands behind record 7" in said(*lines[:5], lines[6], lines[5], *lines[7:])
    assert f"{copy}:6: this line is no audit record, or only part of one" in said(*lines[:5], lines[5][:40], *lines[6:])
    assert f"{copy}:{len(lines)}: this line is no" in said(*lines[:-1], lines[-1][:-9])
    # From a pipe, as journalctl -o cat would give it.
    assert verify(binaries, "-", input="\n".join(lines[:5] + lines[6:]) + "\n")[0] == 1
    assert verify(binaries, log, log.with_suffix(".none"))[0] == 2


def test_rotation(start, alice, log, binaries):
    """Moved away, then SIGHUP, twice, as logrotate does it; verify puts the files into their order."""
    server = start()
    client = alice(server)
    for number in (2, 1):
        raw.echo_once(tunnel.port(client, "raw"))
        wait.until(lambda: records(log, "connection_ended"), 15, "a record")
        os.rename(log, f"{log}.{number}")
        mark = server.mark()
        server.popen.send_signal(signal.SIGHUP)
        server.wait_for("audit_reopened", since=mark)
    raw.echo_once(tunnel.port(client, "raw"))
    wait.until(lambda: records(log, "connection_ended"), 15, "a record in the new file")
    assert records(log)[0]["event"] == "audit_opened" and records(log)[0]["reason"] == "reopened"
    client.stop()
    server.stop()
    files = [f"{log}.2", f"{log}.1", str(log)]
    total = check_chain(*files)
    code, said = verify(binaries, *reversed(files))
    assert code == 0 and f"{total} records in 3 files, 1 chain" in said
    code, said = verify(binaries, files[0], files[2])
    assert code == 1 and "are missing before this line" in said and f"{log}:1:" in said


# -- several threads -------------------------------------------------------------------------------------------------


def test_several_workers_have_one_sequence(start, log, binaries):
    server = start("--workers", "3")

    def work():
        for _ in range(15):
            with Client(server, token=ALICE) as client:
                assert client.answer == WELCOME

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.stop()
    assert len(records(log, "session_opened")) == len(records(log, "session_ended")) == 60
    assert check_chain(log) == len(records(log))
    times = [r["time"] for r in records(log)]
    assert sorted(times) == times or max(abs(seconds(a) - seconds(b)) for a, b in zip(times, sorted(times))) < 1
    assert verify(binaries, log)[0] == 0


def seconds(text):
    return int(text[11:13]) * 3600 + int(text[14:16]) * 60 + float(text[17:26])


# -- who must not fill it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args,target,opened,end,words", [
    (["--max-dials-per-minute", "5"], "raw", 5, "limit", "--max-dials-per-minute"),
    ([], "nothing", 0, "unknown_target", "no --tcp target of that name"),
], ids=["limit", "unknown target"])
def test_a_crowd_of_refusals_is_counted(start, log, args, target, opened, end, words):
    """The first ones of a kind are told of one by one, the others together; nor do they fill the log."""
    server = start(*args)
    with Client(server, token=ALICE) as client:
        for stream in range(1, 201):
            client.open(stream, target)
        refused = 0
        while refused < 200 - opened:
            client.next_message((REFUSED,))
            refused += 1
    server.stop()
    one_by_one = records(log, "connection_refused", end=end)
    assert 1 <= len(one_by_one) <= 10 and words in one_by_one[0]["reason"]
    more = records(log, "refusals_repeated", of="connection_refused", who="alice")
    assert len(one_by_one) + sum(r["more"] for r in more) == 200 - opened
    assert len(server.events("audit_stream")) == opened and server.events("stream_refused", identity="alice")


# -- a sink that fails -----------------------------------------------------------------------------------------------


def is_ready(server):
    return pages.Pages(server).status("/readyz") == 200


def test_a_pipe_that_nobody_reads(start, alice, log, tmp_path):
    """It is said once and counted; with --audit-required nothing new begins until somebody reads, and what there is goes on."""
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    server = start("--audit-required")
    wait.until(lambda: is_ready(server), 15, "readiness")
    client = alice(server)
    with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
        os.close(reader)
        raw_ping(sock, b"before")
        with Client(server, token=BOB):
            failed = server.wait_for("audit_failed")
        assert "nobody reads" in failed["reason"] or "Broken pipe" in failed["reason"]
        assert not is_ready(server) and b"--audit-required" in pages.Pages(server).ask("/readyz")[2]
        with Client(server, token=BOB) as refused:
            assert refused.answer != WELCOME and "--audit-required" in refused.reason
        with pytest.raises((AssertionError, ConnectionError)):
            raw.echo_once(tunnel.port(client, "raw"))
        assert "--audit-required" in client.wait_for("connection_reset")["reason"]
        raw_ping(sock, b"still there")
        figures = pages.Pages(server).metrics()
        assert figures.sum("audit_working") == 0 and figures.sum("audit_failures_total") == 1 and figures.sum("audit_records_waiting") > 0
        assert figures.sum("limited_total", limit="audit") >= 2
        reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
        server.wait_for("audit_works")
        wait.until(lambda: is_ready(server), 15, "readiness")
        assert raw.echo_once(tunnel.port(client, "raw"), b"again") == b"again"
    assert len(server.events("audit_failed")) == 1
    text = os.read(reader, 1 << 20)
    assert b'"event":"session_refused"' in text and b'"event":"connection_refused"' in text
    os.close(reader)


def test_a_reader_that_is_too_slow(start, alice, log):
    """No write fails; records are seconds old when they are written. That counts as a failure, and with --audit-required nothing new
    begins until the reader has caught up."""
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, F_SETPIPE_SZ, 8192)
    server = start("--audit-required")
    client = alice(server)
    in_haste, over = threading.Event(), threading.Event()

    def read():
        """A page now and then, which is room enough for the next write; then all that comes."""
        while not over.is_set():
            with contextlib.suppress(BlockingIOError):
                os.read(reader, 4096)
            if in_haste.is_set():
                over.wait(0.01)
            else:
                in_haste.wait(0.3)

    slow = threading.Thread(target=read)
    slow.start()
    try:
        with raw.connect(tunnel.port(client, "raw"), "echo") as sock:
            # At once, however slow this machine is: the reader needs ten seconds for what 100 connections leave.
            with Client(server, token=BOB) as crowd:
                for stream in range(1, 101):
                    crowd.open(stream, "raw")
                failed = server.wait_for("audit_failed")
            assert failed["reason"] == "writing takes too long", failed
            with Client(server, token=BOB) as refused:
                assert refused.answer != WELCOME and "--audit-required" in refused.reason
            with pytest.raises((AssertionError, ConnectionError)):
                raw.echo_once(tunnel.port(client, "raw"))
            raw_ping(sock, b"still there")
            figures = pages.Pages(server).metrics()
            assert figures.sum("audit_working") == 0 and figures.sum("audit_failures_total") == 1
            assert figures.sum("audit_records_lost_total") == 0 and figures.sum("audit_records_waiting") > 0
            in_haste.set()
            server.wait_for("audit_works")
            assert raw.echo_once(tunnel.port(client, "raw"), b"again") == b"again"
            assert pages.Pages(server).metrics().sum("audit_failures_total") == 1
        client.stop()
        server.stop()
    finally:
        in_haste.set()
        over.set()
        slow.join()
        os.close(reader)


def raw_ping(sock, data):
    sock.sendall(data)
    got = b""
    while len(got) < len(data):
        got += sock.recv(100)
    assert got == data


def test_without_required_a_failing_sink_stops_nobody(start, alice, log):
    os.symlink("/dev/full", log)
    server = start()
    client = alice(server)
    server.wait_for("audit_failed", reason=f"{log}: No space left on device")
    assert raw.echo_once(tunnel.port(client, "raw"), b"on") == b"on"
    assert is_ready(server) or pages.Pages(server).status("/healthz") == 200
    client.stop()
    server.stop()
    assert server.wait_for("audit_unwritten")["records"] > 0


def test_a_deleted_file_is_made_anew(start, alice, log, binaries):
    server = start()
    client = alice(server)
    wait_for(log, "session_opened")
    before = len(records(log))
    os.unlink(log)
    raw.echo_once(tunnel.port(client, "raw"))
    assert wait_for(log, "audit_opened")["reason"] == "deleted"
    wait_for(log, "connection_ended")
    client.stop()
    server.stop()
    code, said = verify(binaries, log)
    assert code == 0 and f"the records before {before + 1} are in another file" in said


def test_where_records_can_go(start, alice, tmp_path, binaries):
    """Standard output, and the system's log by its socket."""
    server = start(where="stdout")
    alice(server).stop()
    server.stop()
    stdout = tmp_path / "stdout"
    stdout.write_text(server.stdout(), encoding="utf-8")
    assert {"audit_opened", "session_opened", "session_ended", "audit_closed"} <= {r["event"] for r in records(stdout)}
    assert check_chain(stdout) and verify(binaries, stdout)[0] == 0

    path = tmp_path / "log.socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        daemon.settimeout(15)
        server = start(where=f"syslog:{path}")
        alice(server).stop()
        lines = []
        while not lines or '"session_ended"' not in lines[-1]:
            message = daemon.recv(65536).decode()
            assert message.startswith("<86>") and f"tunnel-server[{server.pid}]: {{" in message
            lines.append(message[message.index("{"):])
        server.stop()
    assert verify(binaries, "-", input="\n".join(lines) + "\n")[0] == 0


@pytest.mark.parametrize("where, said", [
    ("/nonexistent/audit.log", "--audit-log: /nonexistent/audit.log: No such file or directory"),
    ("/etc/passwd", "its last line is no audit record: name another file")])
def test_a_file_that_cannot_be_used_ends_the_start(start, where, said):
    before = open("/etc/passwd", "rb").read()
    server = start(where=where, ready=False)
    assert server.wait_exit() == 2
    assert said in server.events("start_failed")[0]["reason"]
    assert open("/etc/passwd", "rb").read() == before


def test_command_line(binaries):
    def run(*args):
        done = subprocess.run([binaries.server, *args], capture_output=True, text=True, timeout=20)
        return done.returncode, done.stderr

    assert run("--kafka", "b:9092", "--audit-required") == (2, "tunnel-server: --audit-required has no effect without --audit-log\n")
    for args in (["audit", "check", "x"], ["audit", "verify"], ["audit", "verify", "x", "--expect", "12"]):
        code, said = run(*args)
        assert code == 2 and "audit verify" in said
    code, said = run("audit")
    assert code == 2 and said == "tunnel-server: audit needs an argument: tunnel-server audit [options] verify FILE...\n"
    code, said = run("audit", "verify", "x", "--kafka", "b")
    assert code == 2 and "--kafka is not an option of the command audit" in said
