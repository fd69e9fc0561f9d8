"""What the programs give up when they start: new privileges, executing, changing files, system calls."""

import os
import platform
import signal
import sys

import pytest

from harness import process, raw, tunnel, wait
from harness.pages import Pages

pytestmark = pytest.mark.tunnel

# Starts a program on a kernel that knows neither: the calls are refused as unknown ones.
OLD_KERNEL = """
import ctypes, os, platform, struct, sys
calls = [{"x86_64": 317, "aarch64": 277}[platform.machine()], 444, 445, 446]
code = [(0x20, 0, 0, 0)] + [(0x15, len(calls) - i, 0, n) for i, n in enumerate(calls)] + [(0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x00050026)]
code = b"".join(struct.pack("HBBI", *step) for step in code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(kept := ctypes.create_string_buffer(code))))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, program, 0, 0) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def threads(pid):
    """{name: (no new privileges, mode of seccomp)} of each thread."""
    found = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        status = status_of(f"{pid}/task/{thread}")
        found[thread] = (status["NoNewPrivs"], status["Seccomp"])
    return found


def is_confined(pid):
    return set(threads(pid).values()) == {("1", "2")}


@pytest.mark.parametrize("workers", ["1", "3"])
def test_both_programs_are_confined(pair, peer, tmp_path, workers):
    """They work as ever, in all of their threads, and the server can open its audit log again when that has been rotated."""
    log = tmp_path / "audit.log"
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"},
                         args=["--audit-log", log, "--log-level", "debug", "--workers", workers, "--status", "127.0.0.1:0"])
    said = server.wait_for("confined")
    assert said["no_new_privileges"] is said["system_calls"] is True
    assert len(threads(server.pid)) > int(workers), "a thread a worker, and that of the audit log"
    assert is_confined(server.pid)
    client = pair.client(server, tcp={"peer": 0}, args=["--log-level", "debug", "--status", "127.0.0.1:0"])
    assert client.wait_for("confined")["system_calls"] is True and is_confined(client.pid)
    assert raw.echo_once(tunnel.port(client, "peer"), b"in") == b"in"
    log.rename(tmp_path / "audit.old")
    for program in (server, client):
        program.popen.send_signal(signal.SIGHUP)
        program.wait_for("reloaded")
        shown = Pages(program).json()["confined"]
        assert shown["no_new_privileges"] is shown["system_calls"] is True
    assert wait.until(log.exists, 10, "the audit log is there again")
    assert is_confined(server.pid) and is_confined(client.pid)


def test_what_is_not_given_up(pair, peer, tmp_path):
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, args=["--no-confine", "--log-level", "debug"], tls=None)
    said = server.wait_for("confined")
    assert said["no_new_privileges"] is said["files"] is said["system_calls"] is False
    assert set(threads(server.pid).values()) == {("0", "0")}
    client = pair.client(server, tcp={"peer": 0}, args=["--no-confine"])
    assert set(threads(client.pid).values()) == {("0", "0")}


def test_a_command_has_all(pair, peer, tmp_path):
    """That of `run` is started before the client gives up anything; those for tokens come again and again, so it keeps all."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, tls=None)
    out, go_on = tmp_path / "status", tmp_path / "go on"
    client = pair.processes.start([pair.binaries.client, "run", "--server", f"http://127.0.0.1:{server.port}", "--tcp", "peer=0",
                                   "--log-format", "json", "--log-level", "debug", "--",
                                   "sh", "-c", f"cat /proc/self/status >{out}; while ! [ -e '{go_on}' ]; do sleep 0.1; done; exit 7"], "run")
    assert client.wait_for("confined")["system_calls"] is True
    wait.until(lambda: is_confined(client.pid), 10, "the client is confined while the command runs")
    go_on.touch()
    assert client.wait_exit(30) == 7
    shown = out.read_text("ascii")
    assert "NoNewPrivs:\t0" in shown and "Seccomp:\t0" in shown, "a command is the user's own"

    out = tmp_path / "status of the command for tokens"
    with_token = pair.client(server, tcp={"peer": 0}, args=["--token-command", f"cat /proc/self/status >'{out}'; echo secret-enough"])
    shown = out.read_text("ascii")
    assert "NoNewPrivs:\t0" in shown and "Seccomp:\t0" in shown
    assert set(threads(with_token.pid).values()) == {("0", "0")}


def test_without_the_kernels_help(pair, peer, tmp_path):
    """As on a kernel that knows neither Landlock nor seccomp: the programs say so, and work."""
    if platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("the numbers of calls are those of two machines")
    old_kernel = [sys.executable, "-c", OLD_KERNEL]
    process.run([*old_kernel, "true"], 30)
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, args=["--log-level", "debug", "--workers", "2"], prefix=old_kernel)
    client = pair.client(server, tcp={"peer": 0}, args=["--log-level", "debug"], prefix=old_kernel)
    for program in (server, client):
        said = program.wait_for("confined")
        assert said["no_new_privileges"] is True and said["files"] is said["system_calls"] is False
    assert raw.echo_once(tunnel.port(client, "peer"), b"in") == b"in"


def test_files_are_not_the_clients(pair, peer, tmp_path):
    """What --listener-tls auto needs is written before; nothing is afterwards."""
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"})
    client = pair.client(server, tcp={"peer": 0}, kafka={"kafka": 0},
                         args=["--log-level", "debug", "--listener-tls", "auto", "--state-dir", tmp_path / "state"])
    said = client.wait_for("confined")
    if not said["files"]:
        pytest.skip("the kernel has no Landlock, or it is off")
    assert (tmp_path / "state" / "listener-ca.pem").exists()
    assert raw.echo_once(tunnel.port(client, "peer"), b"in") == b"in"
