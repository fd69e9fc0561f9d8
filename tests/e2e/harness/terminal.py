"""A program at a terminal: a pseudo-terminal that the test types into and reads from."""

import os
import pty
import re
import signal
import struct
import termios
import fcntl
import threading

from harness import wait


class Terminal:
    """The program leads a session of its own with the terminal as its controlling one, as in a terminal window."""

    def __init__(self, argv, env=None, columns=100):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNNEL_")}
        environment.pop("NO_COLOR", None)
        environment.update({"TERM": "xterm", **(env or {})})
        argv = ["setpriv", "--pdeathsig", "KILL", "--", "env", "--default-signal", *[str(a) for a in argv]]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
                os.execvpe(argv[0], argv, environment)
            finally:
                os._exit(127)
        self.code, self.shown = None, b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                got = os.read(self.fd, 65536)
            except OSError:  # the last one who had the terminal open is gone
                return
            if not got:
                return
            self.shown += got

    def text(self):
        return self.shown.decode("utf-8", "replace")

    def wait_text(self, pattern, deadline=15):
        """The match, in all that was written so far, with every carriage return."""
        def look():
            found = re.search(pattern, self.text())
            assert found or self.poll() is None, f"it ended with {self.code} before /{pattern}/:\n{self.text()}"
            return found
        return wait.until(look, deadline, lambda: f"/{pattern}/ in:\n{self.text()}")

    def lines(self):
        """What a person sees: a carriage return goes back to the line's beginning, what follows overwrites."""
        seen = []
        for line in re.sub("\x1b\\[[0-9;]*m", "", self.text()).replace("\r\n", "\n").split("\n"):
            cells = []
            for part in line.split("\r"):
                cells[:len(part)] = part
            seen.append("".join(cells).rstrip())
        return seen

    def type(self, text):
        os.write(self.fd, text.encode())

    def poll(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait_exit(self, deadline=15):
        wait.until(lambda: self.poll() is not None, deadline, lambda: f"its end, after:\n{self.text()}")
        self.reader.join(5)
        return self.code

    def close(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait_exit()
        os.close(self.fd)
