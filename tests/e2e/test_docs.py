"""README.md's own commands, run as they stand: only the names of machines and the ports are others.

A block after `<!-- test: NAME -->` is run by the test that asks for NAME; tests/docs/check_docs.py sees to it that each one is.
"""

import os
import re
import subprocess

import pytest

from harness import cache, wait

pytestmark = [pytest.mark.tunnel, pytest.mark.documents]


def block(name):
    """The commands of that block in README.md, continued lines joined."""
    text = (cache.ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^<!-- test: {name} -->\n\n((?:    .*\n)+)", text, re.M)
    assert found, f"README.md has no block {name}"
    lines = [line[4:] for line in found[1].splitlines()]
    return re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()


class Reader:
    """Somebody who copies from README.md, in a directory of their own, with the programs in PATH."""

    def __init__(self, binaries, processes, directory, bootstrap):
        self.processes, self.directory = processes, directory
        self.server_port, self.port = wait.free_port(), wait.free_port()
        self.instead = {"broker1:9092,broker2:9092": bootstrap, "0.0.0.0:8443": f"127.0.0.1:{self.server_port}",
                        "server.example.com": "localhost", ":8443": f":{self.server_port}", "localhost:9092": f"localhost:{self.port}"}
        path = os.pathsep.join([str(binaries.client.parent.resolve()), str(binaries.server.parent.resolve()), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path, "TUNNEL_LOG_FORMAT": "json"}

    def commands(self, name):
        result = []
        for line in block(name):
            for ours, theirs in self.instead.items():
                line = line.replace(ours, theirs)
            result.append(f"cd '{self.directory}' && {line}")
        return result

    def run(self, name, deadline=60, **environment):
        """All of a block, to its end."""
        script = "\n".join(self.commands(name))
        return subprocess.run(["bash", "-ec", script], env={**self.environment, **environment}, capture_output=True, text=True,
                              timeout=deadline, check=False)

    def start(self, name, program, **environment):
        """All of a block; its last line is a program that stays."""
        *first, last = self.commands(name)
        for line in first:
            subprocess.run(["bash", "-ec", line], env=self.environment, capture_output=True, timeout=60, check=True)
        last = re.sub(r"&& (tunnel-\w+)", r"&& exec \1", last)
        return self.processes.start(["bash", "-c", last], program, env={**self.environment, **environment})


@pytest.fixture
def reader(binaries, processes, tmp_path, cluster):
    """A reader whose server runs."""
    directory = tmp_path / "reader"
    directory.mkdir()
    reader = Reader(binaries, processes, directory, cluster.bootstrap)
    reader.start("beside-the-brokers", "tunnel-server").wait_for("cluster_reachable")
    return reader


def test_first_message(reader, cluster):
    client = reader.start("on-the-laptop", "tunnel-client", TUNNEL_KAFKA=str(reader.port))
    client.wait_for("ready")
    # What was copied: a token that only its owner can read.
    assert (reader.directory / "token").stat().st_mode & 0o077 == 0
    said = reader.run("first-message")
    assert said.returncode == 0 and f"{len(cluster.brokers)} brokers" in said.stdout, said
    assert not any(b.address in said.stdout for b in cluster.brokers), "a broker's own address in " + said.stdout


def test_the_doctor(reader):
    found = reader.run("the-doctor", TUNNEL_KAFKA=str(reader.port))
    assert found.returncode == 0 and found.stdout.rstrip().endswith("Everything works."), found


@pytest.mark.parametrize("code", [0, 3])
def test_in_a_job(code, reader, cluster):
    """The command finds Kafka where the tunnel is, and its exit code is the job's."""
    script = reader.directory / "integration-tests"
    script.write_text(f"#!/bin/sh\nkcat -L -b $KAFKA_BOOTSTRAP_SERVERS && exit {code}\n", encoding="ascii")
    script.chmod(0o755)
    job = reader.run("in-a-job")
    assert job.returncode == code and f"{len(cluster.brokers)} brokers" in job.stdout, job


def test_in_a_job_without_a_server(binaries, processes, tmp_path):
    """Exit code 1 and one sentence, when the tunnel does not come up."""
    reader = Reader(binaries, processes, tmp_path, "127.0.0.2:1")
    (tmp_path / "token").write_text("no-matter-what-it-is\n", encoding="ascii")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-keyout",
                    tmp_path / "server.key", "-out", tmp_path / "server.pem", "-subj", "/CN=localhost"], check=True, capture_output=True)
    job = reader.run("in-a-job", TUNNEL_READY_TIMEOUT="1s", TUNNEL_LOG_FORMAT="text")
    assert job.returncode == 1 and "the tunnel did not come up" in job.stderr and "tcp" in job.stderr, job
