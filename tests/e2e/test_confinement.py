"""What the programs give up when they start: new privileges, executing, changing files."""

import os
import signal

import pytest

from harness import raw, tunnel, wait

pytestmark = pytest.mark.tunnel


def forbids_privileges(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(line.split()[1] == "1" for line in f if line.startswith("NoNewPrivs:"))


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_confined_server(pair, peer, tmp_path, workers):
    """It works as ever, in all of its threads, and can open its audit log again when that has been rotated."""
    log = tmp_path / "audit.log"
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, args=["--audit-log", log, "--log-level", "debug", "--workers", workers])
    said = server.wait_for("confined")
    assert said["no_new_privileges"] is True
    assert all(forbids_privileges(f"{server.pid}/task/{thread}") for thread in os.listdir(f"/proc/{server.pid}/task"))
    client = pair.client(server, tcp={"peer": 0})
    assert raw.echo_once(tunnel.port(client, "peer"), b"in") == b"in"
    assert forbids_privileges(client.pid)
    log.rename(tmp_path / "audit.old")
    server.popen.send_signal(signal.SIGHUP)
    assert wait.until(log.exists, 10, "the audit log is there again")


def test_what_is_not_given_up(pair, peer, tmp_path):
    server = pair.server(tcp={"peer": f"{peer.host}:{peer.port}"}, args=["--no-confine", "--log-level", "debug"], tls=None)
    assert server.wait_for("confined")["no_new_privileges"] is False and not forbids_privileges(server.pid)
    out = tmp_path / "status"
    client = pair.processes.start([pair.binaries.client, "run", "--server", f"http://127.0.0.1:{server.port}", "--tcp", "peer=0", "--",
                                   "sh", "-c", f"cat /proc/self/status >{out}"], "run")
    assert client.wait_exit(30) == 0
    assert "NoNewPrivs:\t0" in out.read_text("ascii"), "a command is the user's own"
