"""One running tunnel between a local listener and the load server, ready for use."""

import contextlib
import socket

from measure.profile import fill
from measure.system import Failed, Process, port_is_listening, wait_until

READY_SECONDS = 20


class Loopback:
    """Where the two ends of a tunnel are: here, both on loopback. path.LongPath is another such place."""

    far_address = "127.0.0.1"
    far_name = "localhost"  # what the client dials
    addresses = (far_address,)  # of certificates
    load_bind = far_address  # of the load server

    @contextlib.contextmanager
    def near(self):
        """What is started and connected in here is at the client's end."""
        yield

    far = near


class Tunnel:
    """A context manager. `address` is what the load is sent to, in bench.place.near(); `ends` are its two
    processes; the client's end dials `dialled_port`.

    delay_ms: that much later each way, by a delay-relay between the two ends (for the direct profile:
    in front of the target). in_front(tunnel, address): called when the server's end listens at the
    address; what it returns is the address that the client's end dials instead.
    """

    def __init__(self, bench, profile, delay_ms=0, in_front=None):
        self.bench = bench
        self.place = bench.place
        self._in_front = in_front
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
            port = self.bench.target.split(":")[1]
            self.dialled_port = int(port)
            return self._delayed(f"{self.place.far_address}:{port}", delay_ms)
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
            "tunnel_bind": self.place.far_address, "tunnel_host": self.place.far_name,
        }
        with self.place.far():
            self._start_end("server", profile.server, values)
            self._wait_for_port(tunnel_port)
            dialled = self._delayed(f"{self.place.far_address}:{tunnel_port}", delay_ms)
            if self._in_front:
                dialled = self._in_front(self, dialled)
            self.dialled_port = int(dialled.split(":")[1])
        with self.place.near():
            self._start_end("client", profile.client,
                            {**values, "tunnel_port": self.dialled_port})
            self._wait_for_port(listen_port)
        return values["listen"]

    def _start_end(self, which, end, values):
        for name, text in end.files.items():
            (self._directory / name).write_text(fill(text, values), encoding="utf-8")
        command = [fill(part, values) for part in end.command]
        process = Process(command, self._directory / f"{which}.log", which)
        self._started.append(process)
        self.ends.append(process)

    def start_beside(self, name, command, log, port):
        """A program that is none of the ends, and ends with them; waits until it listens."""
        self._started.append(Process(command, log, name))
        self._wait_for_port(port)

    def _delayed(self, address, delay_ms):
        if not delay_ms:
            return address
        port = self.bench.ports.take()
        self.start_beside("delay-relay", [self.bench.build / "bench/delay-relay", "--listen", f"127.0.0.1:{port}",
                                          "--target", address, "--delay-ms", str(delay_ms)],
                          self._directory / "delay-relay.log", port)
        return f"127.0.0.1:{port}"

    def _wait_for_port(self, port):
        process = self._started[-1]

        def listening():
            if not process.alive():
                raise Failed(f"{process.name} ended before it listened")
            return port_is_listening(port)
        try:
            wait_until(listening, READY_SECONDS, f"{process.name} listens on port {port}")
        except Failed as error:
            raise Failed(f"{error}\n{process.tail()}") from None

    def _wait_for_echo(self):
        host, port = self.address.split(":")

        def echoes():
            try:
                with (self.place.near(),
                      socket.create_connection((host, int(port)), timeout=3) as probe):
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
