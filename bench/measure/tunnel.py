"""One running tunnel between a local listener and the load server, ready for use."""

import socket

from measure.profile import fill
from measure.system import Failed, Process, port_is_listening, wait_until

READY_SECONDS = 20


class Tunnel:
    """A context manager. `address` is what the load is sent to; `ends` are its two processes.

    delay_ms: that much later each way, by a delay-relay between the two ends (for the direct profile:
    in front of the target).
    """

    def __init__(self, bench, profile, delay_ms=0):
        self.bench = bench
        self.ends = []
        self._started = []
        self._directory = bench.new_directory(profile.name)
        try:
            self.address = self._start(profile, delay_ms)
            self._wait_for_echo()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self._started):
            process.stop()

    def _start(self, profile, delay_ms):
        if profile.server is None:
            return self._delayed(self.bench.target, delay_ms)
        tunnel_port = self.bench.ports.take()
        listen_port = self.bench.ports.take()
        host, port = self.bench.target.split(":")
        values = {
            **self.bench.certificates,
            "build": self.bench.build,
            "dir": self._directory,
            "target": self.bench.target, "target_host": host, "target_port": port,
            "listen": f"127.0.0.1:{listen_port}",
            "listen_host": "127.0.0.1", "listen_port": listen_port,
            "tunnel_port": tunnel_port,
        }
        self._start_end("server", profile.server, values)
        self._wait_for_port(tunnel_port)
        relay = self._delayed(f"127.0.0.1:{tunnel_port}", delay_ms)
        self._start_end("client", profile.client, {**values, "tunnel_port": relay.split(":")[1]})
        self._wait_for_port(listen_port)
        return values["listen"]

    def _start_end(self, which, end, values):
        for name, text in end.files.items():
            (self._directory / name).write_text(fill(text, values), encoding="utf-8")
        command = [fill(part, values) for part in end.command]
        process = Process(command, self._directory / f"{which}.log", which)
        self._started.append(process)
        self.ends.append(process)

    def _delayed(self, address, delay_ms):
        if not delay_ms:
            return address
        port = self.bench.ports.take()
        self._started.append(Process(
            [self.bench.build / "bench/delay-relay", "--listen", f"127.0.0.1:{port}",
             "--target", address, "--delay-ms", str(delay_ms)],
            self._directory / "delay-relay.log", "delay-relay"))
        self._wait_for_port(port)
        return f"127.0.0.1:{port}"

    def _wait_for_port(self, port):
        process = self._started[-1]

        def listening():
            if not process.alive():
                raise Failed(f"{process.name} ended before it listened\n{process.tail()}")
            return port_is_listening(port)
        try:
            wait_until(listening, READY_SECONDS, f"{process.name} listens on port {port}")
        except Failed as error:
            raise Failed(f"{error}\n{process.tail()}") from None

    def _wait_for_echo(self):
        host, port = self.address.split(":")

        def echoes():
            try:
                with socket.create_connection((host, int(port)), timeout=3) as probe:
                    probe.sendall(b"e?")
                    return probe.recv(1) == b"?"
            except OSError:
                return False
        try:
            wait_until(echoes, READY_SECONDS, "an echo through the tunnel")
        except Failed as error:
            raise Failed("\n".join([str(error), *(end.tail() for end in self.ends)])) from None

    def cpu_seconds(self):
        return sum(end.cpu_seconds() for end in self.ends)

    def resident_mb(self):
        """{"server": MB, "client": MB}; nothing for the direct profile."""
        return {end.name: end.resident_mb() for end in self.ends}
