"""A program under test or beside it: started, watched through its log, stopped with a deadline, and judged."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time

from harness import wait

# What a program must never print, whatever was done to it.
CRASH = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehavior|runtime error:|Assertion .* failed"
    r"|stack smashing|double free|corrupted|==\d+==")
# The list of system calls is right if no test needs another one (common/program/call_rules.c).
REFUSED_CALL = re.compile(r".*(?:system_call_refused|has given up a system call).*")


class Process:
    """`secrets` are strings that must not appear in the log nor in the command line seen in /proc."""

    def __init__(self, argv, log_path, name=None, env=None, secrets=(), stdin=subprocess.DEVNULL):
        # Nothing outlives the tests, however they end.
        self.argv = ["setpriv", "--pdeathsig", "KILL", "--", *[str(a) for a in argv]]
        self.name = name or os.path.basename(self.argv[4])
        self.log_path = str(log_path)
        self.secrets = [s for s in secrets if s]
        self.checked = False
        self.kept_port = self.place = None  # the port on 127.0.0.1 that nobody else gets when this has ended, and what keeps it
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNNEL_") and not k.lower().endswith("_proxy")}
        environment.setdefault("ASAN_OPTIONS", "abort_on_error=0:detect_leaks=1:exitcode=99:quarantine_size_mb=16")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1:exitcode=99")
        environment.update(env or {})
        self.out_path = self.log_path + ".out"
        with open(self.log_path, "wb") as err, open(self.out_path, "wb") as out:
            self.popen = subprocess.Popen(self.argv, stdin=stdin, stdout=out, stderr=err, env=environment)
        self.pid = self.popen.pid

    # -- the log -------------------------------------------------------------------------------------------------

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stdout(self):
        with open(self.out_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def mark(self):
        """The present end of the log, for `since`."""
        return os.path.getsize(self.log_path)

    def lines(self, since=0):
        """Complete lines only: the last one may still be being written."""
        with open(self.log_path, "rb") as f:
            f.seek(since)
            text = f.read().decode("utf-8", "replace")
        return text[:text.rfind("\n") + 1].splitlines()

    def events(self, event=None, since=0, **fields):
        found = []
        for line in self.lines(since):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and (event is None or entry.get("event") == event):
                if all(entry.get(k) == v for k, v in fields.items()):
                    found.append(entry)
        return found

    def wait_for(self, event, deadline=15, since=0, **fields):
        """The first log event of that name with those fields."""
        return self._wait(lambda: self.events(event, since, **fields), deadline, f"event {event} {fields or ''}")[0]

    def wait_log(self, pattern, deadline=15, since=0):
        """The first log line that matches, case-insensitively."""
        regex = re.compile(pattern, re.IGNORECASE)
        return self._wait(lambda: [x for x in self.lines(since) if regex.search(x)], deadline, f"log line /{pattern}/")[0]

    def _wait(self, look, deadline, what):
        def condition():
            exited = self.popen.poll()
            found = look()
            if found:
                return found
            if exited is not None:
                raise AssertionError(f"{self.name} exited with {exited} before: {what}\n{self.tail()}")
            return None
        return wait.until(condition, deadline, lambda: f"{self.name}: {what}\n{self.tail()}")

    def tail(self, lines=40):
        """The command and the end of its log, with the secrets taken out: for messages of failed tests."""
        text = "$ " + " ".join(self.argv[4:]) + "\n" + "\n".join(self.log().splitlines()[-lines:])
        for secret in self.secrets:
            text = text.replace(secret, "<secret>")
        return text

    # -- /proc ---------------------------------------------------------------------------------------------------

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def status_kib(self, key="VmRSS"):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
        raise AssertionError(f"no {key} for {self.name}")

    def rss_mib(self):
        return self.status_kib() / 1024

    def is_sanitized(self):
        """AddressSanitizer maps terabytes, and what it keeps of freed memory says nothing of the program."""
        return self.status_kib("VmSize") > 1 << 30

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # -- the end -------------------------------------------------------------------------------------------------

    def alive(self):
        return self.popen.poll() is None

    def wait_exit(self, deadline=15):
        try:
            code = self.popen.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {deadline} s\n{self.tail()}") from None
        self._keep_port()
        return code

    def kill(self):
        if self.alive():
            self.popen.kill()
        self.popen.wait(10)
        self.checked = True
        self._keep_port()

    def _keep_port(self):
        """For the next program that is started there: it refuses connections, and the kernel does not give it to others meanwhile."""
        if self.kept_port and not self.place:
            self.place = socket.socket()
            self.place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                self.place.bind(("127.0.0.1", self.kept_port))

    def forget_port(self):
        if self.place:
            self.place.close()

    def stop(self, deadline=20, sig=signal.SIGTERM):
        """Asks to stop; exit code 0 is due, and a clean log."""
        if self.alive():
            if self.secrets:
                self._check_command_line()
            self.popen.send_signal(sig)
        code = self.wait_exit(deadline)
        self.check()
        assert code == 0, f"{self.name} exited with {code}\n{self.tail()}"
        return code

    def _check_command_line(self):
        with open(f"/proc/{self.pid}/cmdline", "rb") as f:
            shown = f.read().decode("utf-8", "replace")
        given = "\0".join(self.argv)
        for secret in self.secrets:
            assert secret in given or secret not in shown, f"{self.name} shows a secret in its command line"

    def check(self):
        """No crash and no secret in what it printed."""
        self.checked = True
        printed = self.log() + self.stdout()
        found = CRASH.search(printed)
        assert not found, f"{self.name}: '{found.group(0)}' in its output\n{self.tail(200)}"
        refused = REFUSED_CALL.search(printed)
        assert not refused, f"{self.name} needs a system call that it has given up: {refused.group(0)}"
        for secret in self.secrets:
            assert secret not in printed, f"{self.name} printed a secret"
        if self.popen.returncode is not None:
            assert self.popen.returncode not in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGSYS, 99), \
                f"{self.name} died: {self.popen.returncode}\n{self.tail(200)}"


class Processes:
    """Everything a test (or the session) started; stopped and judged at its end, the last started first."""

    started = []  # by any of them, and not finished

    def __init__(self, log_dir):
        self.log_dir = log_dir
        self.all = []
        self.count = 0

    def path(self, name):
        self.count += 1
        return self.log_dir / f"{self.count:02d}-{name}.log"

    def start(self, argv, name, **kw):
        process = Process(argv, self.path(name), name=name, **kw)
        self.all.append(process)
        Processes.started.append(process)
        return process

    def finish(self):
        failures = []
        for process in reversed(self.all):
            try:
                if process.alive():
                    process.stop()
                elif not process.checked:
                    process.check()
            except AssertionError as failure:
                failures.append(str(failure))
                if process.alive():
                    process.kill()
            process.forget_port()
            Processes.started.remove(process)
        self.all.clear()
        assert not failures, "\n\n".join(failures)


def run(argv, deadline, env=None, check=True, input=None):
    """Runs a short program to its end; returns CompletedProcess with text; fails with everything it printed."""
    start = time.monotonic()
    argv = [str(a) for a in argv]
    try:
        done = subprocess.run(argv, input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                              timeout=deadline, env={**os.environ, **(env or {})}, check=False)
    except subprocess.TimeoutExpired as e:
        tail = ((e.stdout or b"")[-4000:], (e.stderr or b"")[-4000:])
        raise AssertionError(f"not done within {deadline} s: {' '.join(argv)}\n{tail}") from None
    done.seconds = time.monotonic() - start
    refused = REFUSED_CALL.search(done.stderr)
    assert not refused, f"{argv[0]} needs a system call that it has given up: {refused.group(0)}"
    if check and done.returncode != 0:
        raise AssertionError(f"exit {done.returncode}: {' '.join(argv)}\n{done.stdout[-4000:]}\n{done.stderr[-20000:]}")
    return done
