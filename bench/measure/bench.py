"""What all measurements of a place share: directories, ports, certificates and the load server."""

from measure import system
from measure.tunnel import Loopback


class Bench:
    """place: where the load server and the ends of the tunnels are. certificates: of a bench before it."""

    def __init__(self, build, directory, place=None, certificates=None):
        self.build = build
        self.place = place or Loopback()
        self.ports = system.Ports()
        self._directory = directory
        self._count = 0
        self.certificates = certificates or system.make_certificates(directory, self.place.addresses)
        port = self.ports.take()
        self.target = f"127.0.0.1:{port}"
        with self.place.far():
            self._server = system.Process(
                [build / "bench/load", "serve", "--listen", f"{self.place.load_bind}:{port}"],
                directory / "load-serve.log", "load serve")
            system.wait_until(lambda: system.port_is_listening(port), 10, "load serve listens")

    def new_directory(self, name):
        self._count += 1
        path = self._directory / f"{self._count:03d}-{name}"
        path.mkdir()
        return path

    def close(self):
        self._server.stop()
