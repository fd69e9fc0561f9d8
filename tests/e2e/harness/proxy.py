"""A stand-in for a corporate HTTP proxy: CONNECT, with and without TLS of its own, with and without a login.

  Proxy(pki.server)                TLS to the proxy itself
  Proxy(login="user:password")     Basic; anything else gets 407
  Proxy(answer=b"HTTP/1.1 ...")    this instead of a connection, whatever is asked; b"": silence; None: it hangs up
  Socks(...)                       the same with SOCKS5; answer: the reply to what is asked
  names={"tunnel.example": "127.0.0.1"}   how it resolves names; others as the system does
"""

import base64
import select
import socket
import ssl
import threading

from harness import fakes

HEAD_MAX = 64 << 10


class Proxy(fakes.Listening):
    def __init__(self, identity=None, login=None, answer=(), names=None, behind=b""):
        self.login, self.answer, self.names, self.behind = login, answer, dict(names or {}), behind
        self.asked, self.refused = [], 0
        self.context = None
        if identity:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*identity)
        self.lock = threading.Lock()
        self.open = set()
        super().__init__()

    def url(self, login=None, host="localhost"):
        return f"{'https' if self.context else 'http'}://{login + '@' if login else ''}{host}:{self.port}"

    def drop(self):
        """Ends every connection."""
        with self.lock:
            for sock in self.open:
                fakes.end(sock)

    def close(self):
        fakes.close(self.listener)
        self.drop()

    def _serve(self, sock):
        try:
            sock.settimeout(20)
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            with self.lock:
                self.open.add(sock)
            self._request(sock)
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.open.discard(sock)
            fakes.close(sock)

    def _request(self, sock):
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_MAX:
            data = sock.recv(4096)
            if not data:
                return
            head += data
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:] if ":" in line)}
        with self.lock:
            self.asked.append(target)
        if self.answer is None:
            return
        if self.answer == b"":
            sock.recv(1)
            return
        if self.answer:
            sock.sendall(self.answer)
            sock.recv(1)
            return
        if self.login and headers.get("proxy-authorization") != "Basic " + base64.b64encode(self.login.encode()).decode():
            self.refused += 1
            body = b"<html>who are you?</html>"
            sock.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"corp\"\r\n"
                         b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
            return
        assert method == "CONNECT"
        host, port = target.rsplit(":", 1)
        try:
            there = socket.create_connection((self.names.get(host.strip("[]"), host.strip("[]")), int(port)), 10)
        except OSError:
            sock.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with there:
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n" + self.behind)
            self._pipe(sock, there)

    @staticmethod
    def _pipe(outer, inner):
        pending = {outer: bytearray(), inner: bytearray()}  # what is to be written there
        other = {outer: inner, inner: outer}
        for sock in other:
            sock.setblocking(False)
        while True:
            reads = [s for s in other if len(pending[other[s]]) < 1 << 18]
            writes = [s for s in other if pending[s]]
            ready = [outer] if isinstance(outer, ssl.SSLSocket) and outer in reads and outer.pending() else \
                select.select(reads, writes, [], 60)[0]
            for source in ready:
                try:
                    data = source.recv(65536)
                except (ssl.SSLWantReadError, BlockingIOError):
                    continue
                if not data:
                    return
                pending[other[source]] += data
            for sink in other:
                try:
                    while pending[sink]:
                        del pending[sink][:sink.send(pending[sink])]
                except (ssl.SSLWantWriteError, BlockingIOError):
                    pass


class Socks(Proxy):
    def url(self, login=None, host="localhost", scheme="socks5h"):
        return f"{scheme}://{login + '@' if login else ''}{host}:{self.port}"

    def _request(self, sock):
        stream = sock.makefile("rb")
        _, count = stream.read(2)
        methods = stream.read(count)
        if self.login:
            if 2 not in methods:
                self.refused += 1
                sock.sendall(b"\x05\xff")
                return
            sock.sendall(b"\x05\x02")
            stream.read(1)
            user, password = (stream.read(stream.read(1)[0]) for _ in range(2))
            if user + b":" + password != self.login.encode():
                self.refused += 1
                sock.sendall(b"\x01\x01")
                return
            sock.sendall(b"\x01\x00")
        else:
            sock.sendall(b"\x05\x00")
        kind = stream.read(4)[3]
        host = stream.read(stream.read(1)[0]).decode() if kind == 3 else \
            socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, stream.read(4 if kind == 1 else 16))
        port = int.from_bytes(stream.read(2), "big")
        with self.lock:
            self.asked.append(f"{host}:{port}")
        if self.answer:
            sock.sendall(self.answer)
            return
        try:
            there = socket.create_connection((self.names.get(host, host), port), 10)
        except OSError:
            sock.sendall(b"\x05\x04\x00\x01" + bytes(6))
            return
        with there:
            sock.sendall(b"\x05\x00\x00\x01" + bytes(6))
            self._pipe(sock, there)
