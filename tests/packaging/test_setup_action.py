#!/usr/bin/env python3
"""setup/install, the first step of the GitHub Action, against a stand-in for GitHub's downloads: it installs what fits the runner, and
nothing whose checksum is another."""
import hashlib
import http.server
import io
import os
import pathlib
import subprocess
import tarfile
import tempfile
import threading
import unittest

INSTALL = pathlib.Path(__file__).resolve().parents[2] / "setup/install"
PROGRAM = b"#!/bin/sh\necho tunnel-client 1.2.3\n"


def packed():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        member = tarfile.TarInfo("kafka-tunnel-1.2.3-linux-amd64/bin/tunnel-client")
        member.mode, member.size = 0o755, len(PROGRAM)
        tar.addfile(member, io.BytesIO(PROGRAM))
    return out.getvalue()


class Downloads(http.server.BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}

    def do_GET(self):
        content = self.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_):
        pass


class Install(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Downloads)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        archive = packed()
        name = "kafka-tunnel-1.2.3-linux-amd64.tar.gz"
        at = "/OWNER/kafka-tunnel/releases/download/v1.2.3"
        self.sums = f"{'0' * 64}  kafka-tunnel-1.2.3.tar.gz\n{hashlib.sha256(archive).hexdigest()}  {name}\n"
        self.at, self.name = at, name
        Downloads.files = {f"{at}/SHA256SUMS": self.sums.encode(), f"{at}/{name}": archive}

    def install(self, **more):
        path = self.directory / "path"
        path.write_text("")
        environment = {"PATH": os.environ["PATH"], "RUNNER_OS": "Linux", "RUNNER_ARCH": "X64", "RUNNER_TEMP": str(self.directory),
                       "GITHUB_PATH": str(path), "GITHUB_SERVER_URL": f"http://127.0.0.1:{self.server.server_address[1]}",
                       "REPOSITORY": "OWNER/kafka-tunnel", "REF": "v1.2.3", "VERSION": "", "SHA256": ""} | more
        done = subprocess.run([INSTALL], env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False)
        return done.returncode, done.stdout, path.read_text()

    def test_installs_the_release_of_the_tag(self):
        code, output, path = self.install()
        self.assertEqual((code, output), (0, "tunnel-client 1.2.3\n"))
        self.assertEqual(subprocess.check_output([pathlib.Path(path.strip()) / "tunnel-client"], encoding="utf-8"), "tunnel-client 1.2.3\n")

    def test_refuses_another_archive(self):
        Downloads.files[f"{self.at}/{self.name}"] += b"x"
        code, output, path = self.install()
        self.assertEqual((code, path), (1, ""))
        self.assertIn("should be", output)

    def test_checksum_of_the_workflow_comes_first(self):
        code, output, path = self.install(SHA256="1" * 64)
        self.assertEqual((code, path), (1, ""))
        self.assertIn("should be " + "1" * 64, output)

    def test_says_when_there_is_none_for_the_runner(self):
        for more, told in (({"RUNNER_OS": "Windows"}, "Windows"), ({"RUNNER_ARCH": "ARM"}, "ARM"), ({"RUNNER_OS": "macOS"}, "macos-amd64"),
                           ({"REF": "main"}, "'main' is none"), ({"VERSION": "9.9.9"}, "Cannot download")):
            code, output, path = self.install(**more)
            self.assertEqual((code, path), (1, ""), more)
            self.assertIn(told, output)


if __name__ == "__main__":
    unittest.main()
