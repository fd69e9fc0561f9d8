"""What the pictures in docs/ are taken of: brokers, a server, clients of several users and their traffic, all on this machine."""
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time

TOKENS = {"alice": "token-of-alice", "build-42": "token-of-build-42", "analytics": "token-of-analytics"}


class Programs:
    """Started programs, each with a log; all end with this."""

    def __init__(self, directory):
        self.directory, self.started = directory, []

    def start(self, name, *argv, **more):
        log = open(self.directory / f"{name}.log", "wb")
        process = subprocess.Popen([str(a) for a in argv], stdout=log, stderr=subprocess.STDOUT, stdin=more.pop("stdin", subprocess.DEVNULL),
                                   **more)
        self.started.append(process)
        return process

    def wait_log(self, name, pattern, deadline=60):
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            found = re.search(pattern, (self.directory / f"{name}.log").read_text(encoding="utf-8", errors="replace"))
            if found:
                return found
            time.sleep(0.05)
        sys.exit(f"{name} did not say /{pattern}/ within {deadline} s:\n{(self.directory / f'{name}.log').read_text()[-2000:]}")

    def end(self):
        for process in self.started:
            process.kill()
        for process in self.started:
            process.wait()


def certificate(directory):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-keyout", directory / "server.key", "-out", directory / "server.pem", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)


def serve_echo():
    """A raw target: what comes goes back."""
    listener = socket.create_server(("127.0.0.1", 0))

    def echo(sock):
        with contextlib.suppress(OSError), sock:
            while data := sock.recv(1 << 16):
                sock.sendall(data)

    def accept():
        while True:
            threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def read_all(sock):
    with contextlib.suppress(OSError):
        while sock.recv(1 << 16):
            pass


def send(port, rate, stop):
    """Bytes through a raw target, at a rate that goes up and down."""
    def work():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as sock:
            threading.Thread(target=read_all, args=(sock,), daemon=True).start()
            while not stop.is_set():
                size = int(rate / 20 * (0.6 + (time.monotonic() / 23) % 1))
                sock.sendall(b"s" * size)
                stop.wait(0.05)
    threading.Thread(target=work, daemon=True).start()


class Stage:
    """Brokers, a server, and clients of three users; between the first one and the server a path that can be cut."""

    def __init__(self, programs, build, directory):
        self.programs, self.build, self.stop = programs, build, threading.Event()
        certificate(directory)
        (directory / "tokens").write_text("".join(f"{token} {name}\n" for name, token in TOKENS.items()), encoding="ascii")
        for name, token in TOKENS.items():
            (directory / name).write_text(token, encoding="ascii")
        self.directory = directory
        self.cluster = programs.start("cluster", build / "examples" / "embedded-cluster", "--brokers", "3", "--topic", "orders:6")
        self.bootstrap = programs.wait_log("cluster", r"ready bootstrap=(\S+)")[1]
        self.echo = serve_echo()

    def serve(self, name="server", more=""):
        server = self.programs.start(name, self.build / "tunnel-server" / "tunnel-server", "--listen", "127.0.0.1:0", "--kafka", self.bootstrap + more,
                                     "--tcp", f"registry=127.0.0.1:{self.echo}", "--tls-cert", self.directory / "server.pem", "--tls-key",
                                     self.directory / "server.key", "--token-file", self.directory / "tokens", "--status", "127.0.0.1:0", "--log-format", "json")
        port = int(self.programs.wait_log(name, r'"event":"ready".*"listen":"[^"]*:(\d+)"')[1])
        return server, port, self.page(name)

    def connect(self, name, port, kafka="0"):
        self.programs.start(name, self.build / "tunnel-client" / "tunnel-client", "--server", f"https://localhost:{port}", "--ca", self.directory / "server.pem",
                            "--token-file", self.directory / name.split("+")[0], "--kafka", kafka, "--tcp", "registry=0", "--status", "127.0.0.1:0",
                            "--log-format", "json", "--connect-wait", "60s")
        self.programs.wait_log(name, r'"event":"ready"')
        return self.page(name), self.port(name, "kafka"), self.port(name, "registry")

    def page(self, name):
        return "http://" + self.programs.wait_log(name, r'"event":"status_page".*"listen":"([^"]+)"')[1] + "/"

    def port(self, name, listener):
        return int(self.programs.wait_log(name, rf'"event":"listening".*"name":"{listener}","listen":"127\.0\.0\.1:(\d+)"')[1])

    def kafka(self, port, name, rate):
        """A producer of so many messages a second, and a consumer."""
        lines = subprocess.Popen([sys.executable, "-c", f"import time\nwhile 1: print('x' * 900, flush=True); time.sleep({1 / rate})"], stdout=subprocess.PIPE)
        self.programs.started.append(lines)
        broker = f"localhost:{port}"
        self.programs.start(f"{name}-producer", "kcat", "-P", "-b", broker, "-t", "orders", "-X", f"client.id={name}-producer", stdin=lines.stdout)
        with open(os.devnull, "wb") as nowhere:
            self.programs.started.append(subprocess.Popen(["kcat", "-C", "-q", "-u", "-b", broker, "-t", "orders", "-X", f"client.id={name}-consumer"],
                                                          stdout=nowhere, stderr=nowhere, stdin=subprocess.DEVNULL))
