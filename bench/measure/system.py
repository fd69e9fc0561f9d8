"""Processes, ports, certificates and machine facts, as Linux's /proc tells them."""

import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Failed(Exception):
    """A measurement that could not be taken; the text says why."""


def raise_descriptor_limit():
    """For this process and all it starts: a thousand connections need more than the usual soft limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def end_in_order_on_sigterm():
    """SIGTERM unwinds the stack as Ctrl-C does, so that what was started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Ports:
    """Free loopback ports. Each is given out once, so that one run never collides with itself."""

    def __init__(self):
        self._given = set()

    def take(self):
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            if port not in self._given:
                self._given.add(port)
                return port


def wait_until(condition, seconds, what):
    """Polls until condition() is true; Failed when it is not within that many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def port_is_listening(port):
    """Looked up in /proc, not dialled: a stray connection is not every program's friend.

    In the network namespace that the calling thread is in."""
    wanted = f":{port:04X}"
    for table in ("/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"):
        try:
            lines = pathlib.Path(table).read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:
            continue
        for fields in (line.split() for line in lines):
            if fields[1].endswith(wanted) and fields[3] == "0A":
                return True
    return False


def _stat_fields(pid):
    """The fields of /proc/PID/stat from the third (state) on."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()


class Process:
    """A program in a session of its own, so that its children are counted and stopped with it."""

    def __init__(self, argv, log, name):
        self.argv = [str(part) for part in argv]
        self.log = pathlib.Path(log)
        self.name = name
        with open(self.log, "wb") as output:
            self._popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=output,
                                           stderr=output, start_new_session=True)
        self.pid = self._popen.pid

    def alive(self):
        return self._popen.poll() is None

    def tail(self, lines=15):
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return f"$ {' '.join(self.argv)}\n" + "\n".join(text.splitlines()[-lines:])

    def _members(self):
        """Process id and stat fields of everything in the session."""
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    fields = _stat_fields(entry)
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if int(fields[3]) == self.pid:
                    yield int(entry), fields

    def cpu_seconds(self):
        """User and system time of all threads, children, and children that have ended."""
        return sum(sum(map(int, fields[11:15])) for _, fields in self._members()) / TICKS_PER_SECOND

    def user_seconds(self):
        """The part of it that is not the kernel's."""
        return sum(int(fields[11]) + int(fields[13]) for _, fields in self._members()) / TICKS_PER_SECOND

    def resident_mb(self):
        """In units of 10^6 bytes."""
        return sum(int(fields[21]) for _, fields in self._members()) * PAGE_BYTES / 1e6

    def kill(self):
        """Without a chance to say goodbye."""
        os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(10)

    def stop(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass
            try:
                self._popen.wait(10)
                return
            except subprocess.TimeoutExpired:
                continue


def make_certificates(directory, addresses=("127.0.0.1",)):
    """A CA and a server certificate (P-256) for localhost and the addresses; returns their paths."""
    ca, ca_key = directory / "ca.pem", directory / "ca.key"
    cert, key, request = directory / "server.pem", directory / "server.key", directory / "server.csr"
    extension = directory / "server.ext"
    names = ",".join(["DNS:localhost", *(f"IP:{address}" for address in addresses)])
    extension.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n", encoding="ascii")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for command in (
            ["req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", "/CN=bench CA"],
            ["req", "-new", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=localhost"],
            ["x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial",
             "-out", cert, "-days", "2", "-extfile", extension]):
        done = subprocess.run(["openssl", *map(str, command)], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise Failed(f"openssl {command[0]}: {done.stderr.strip()}")
    return {"ca": ca, "cert": cert, "key": key}


def _first_line(*argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not installed"
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else "?"


def facts():
    """What a reader must know about the machine to judge the figures."""
    model = "?"
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cores": len(os.sched_getaffinity(0)),
        "processor": model,
        "kernel": os.uname().release,
        "openssl": _first_line("openssl", "version"),
        "congestion control": pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text(encoding="utf-8").strip(),
        "load at start": f"{os.getloadavg()[0]:.2f}",
    }
