"""Runs the load tool (bench/load.h says what each of its commands does) and reads its JSON."""

import json
import selectors
import signal
import subprocess
import time

from measure.system import Failed

SLACK_SECONDS = 60  # beyond the measurement's own length: then it has failed


class Load:
    def __init__(self, build, command, address, **options):
        argv = [str(build / "bench/load"), command, "--target", address]
        for name, value in options.items():
            if value is True:
                argv.append(f"--{name}")
            else:
                argv += [f"--{name.replace('_', '-')}", str(value)]
        self._what = " ".join(argv[1:])
        self._popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.communicate()

    def line(self, seconds):
        """The next line of output, as a dictionary."""
        end = time.monotonic() + seconds + SLACK_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._popen.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0, end - time.monotonic())):
                    raise Failed(f"{self._what}: no result in time")
                part = self._popen.stdout.read1(65536)
                if not part:
                    reason = self._popen.stderr.read().decode(errors="replace").strip()
                    raise Failed(f"{self._what}: {reason or 'ended without a result'}")
                self._buffer += part
        first, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(first)

    def ask_to_stop(self):
        self._popen.send_signal(signal.SIGTERM)

    def finish(self):
        """Waits for a clean end."""
        try:
            _, errors = self._popen.communicate(timeout=SLACK_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self._what}: did not end") from None
        if self._popen.returncode != 0:
            raise Failed(f"{self._what}: {errors.decode(errors='replace').strip()}")


def run(build, command, address, **options):
    """A command that prints one result and ends."""
    with Load(build, command, address, **options) as load:
        result = load.line(options.get("seconds", 0))
        load.finish()
        return result
