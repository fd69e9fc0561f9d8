"""A long path with real TCP between two network namespaces: drives build/bench/packet-path. Also the end-to-end
tests have it from here (tests/e2e/harness/long_path.py). Linux, root, Python's standard library only."""

import contextlib
import ctypes
import json
import os
import selectors
import subprocess

from measure.system import Failed

EXIT_IMPOSSIBLE = 3  # packet-path.c
START_SECONDS = 15
ANSWER_SECONDS = 10
CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


class Impossible(Failed):
    """There can be no such path here: no root, no tun device, no namespaces; the text says which."""


@contextlib.contextmanager
def inside(namespace):
    """This thread is in the network namespace meanwhile: the sockets that it makes and the processes that it
    starts belong there for good, also after it has come back."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(back)
    finally:
        os.close(back)


def _enter(descriptor):
    if _LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


class LongPath:
    """Its options are packet-path's: LongPath(program, delay_ms=25, loss=0.1, congestion_control="cubic").

    A connection is named by the port that it has in the near namespace; connections() lists them.
    """

    def __init__(self, program, reorder=False, **options):
        argv = [str(program)] + (["--reorder"] if reorder else [])
        for name, value in options.items():
            if value is not None:
                argv += [f"--{name.replace('_', '-')}", str(value)]
        try:
            self._popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE)
        except OSError as error:
            raise Failed(f"{program}: {error.strerror}; ninja -C build makes it on Linux") from None
        self._buffer = b""
        try:
            ready = self._answer("start", START_SECONDS)
        except BaseException:
            self.close()
            raise
        self.near_namespace, self.far_namespace = ready["near"], ready["far"]
        self.near_address, self.far_address = ready["near_address"], ready["far_address"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """The namespaces are gone afterwards."""
        if self._popen.stdin:
            self._popen.stdin.close()
        try:
            self._popen.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._popen.stdout.close()
        self._popen.stderr.close()

    def near(self):
        """At the clients' end, for a `with`."""
        return inside(self.near_namespace)

    def far(self):
        return inside(self.far_namespace)

    # -- a place of bench.Bench and tunnel.Tunnel ------------------------------------------------

    load_bind = "0.0.0.0"  # on loopback for tunnels, on the path for direct connections

    @property
    def far_name(self):
        return self.far_address

    @property
    def addresses(self):
        return "127.0.0.1", self.far_address

    # -- while packets flow ----------------------------------------------------------------------

    def ask(self, command):
        """A command as packet-path --help lists them; its answer."""
        try:
            self._popen.stdin.write(command.encode() + b"\n")
            self._popen.stdin.flush()
        except BrokenPipeError:
            pass  # _answer() says why
        answer = self._answer(command, ANSWER_SECONDS)
        if "error" in answer:
            raise Failed(f"packet-path: {command}: {answer['error']}")
        return answer

    def connections(self, far_port=None):
        """Those that are open: near_port, far_port, up_bytes, down_bytes, quiet_ms, treatment, extra_ms."""
        return [one for one in self.ask("connections") if far_port in (None, one["far_port"])]

    def counts(self):
        return self.ask("counts")

    def set(self, option, value):
        """set("loss", 0.5); "UP,DOWN" gives each direction its own."""
        self.ask(f"set {option} {value}")

    def cut(self, port=None):
        """Nothing gets through any more, or nothing of one connection; nobody is told."""
        self.ask("cut" if port is None else f"cut {port}")

    def reset(self, port):
        self.ask(f"reset {port}")

    def delay(self, port, ms):
        """In each direction."""
        self.ask(f"delay {port} {ms}")

    def heal(self, port=None):
        self.ask("heal" if port is None else f"heal {port}")

    def _answer(self, command, seconds):
        with selectors.DefaultSelector() as selector:
            selector.register(self._popen.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(seconds):
                    raise Failed(f"packet-path: {command}: no answer within {seconds} s")
                part = self._popen.stdout.read1(65536)
                if not part:
                    self._raise_why_it_ended()
                self._buffer += part
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)

    def _raise_why_it_ended(self):
        said = self._popen.stderr.read().decode(errors="replace").strip()
        code = self._popen.wait()
        raise (Impossible if code == EXIT_IMPOSSIBLE else Failed)(said or f"packet-path ended with {code}")
