"""A stand-in for the public ingress of Snowflake's container services, as far as its behaviour is documented.

TLS in front, plain HTTP behind. Wants `Authorization: Snowflake Token="..."`, takes the header out and says in
Sf-Context-Current-User who it is; without a token it sends people to a sign-in page; a wrong one is refused in JSON. A
connection on which nothing passed for `idle` seconds is cut. Backends are taken in turn, without stickiness.
"""

import json
import re
import selectors
import socket
import ssl
import struct
import threading
import time

from harness import fakes

TOKEN = re.compile(r'Snowflake Token="([^"]*)"')
HEAD_MAX = 64 << 10


def _reset(sock):
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()


def _answer(sock, status, headers, body):
    data = body.encode()
    head = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(data)}", "Connection: close"]
    sock.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + data)


class Ingress(fakes.Listening):
    """tokens: {token: user}. refused: {token: (status, responseType)} for those that are known and not let in."""

    def __init__(self, pki, backends, tokens, idle=90.0):
        self.backends, self.tokens, self.refused, self.idle = list(backends), dict(tokens), {}, idle
        self.turn, self.idle_cuts, self.seen, self.open = 0, 0, [], set()
        self.lock = threading.Lock()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*pki.server)
        super().__init__()

    def url(self):
        return f"https://localhost:{self.port}"

    def drop(self):
        """Cuts every connection, as maintenance does."""
        with self.lock:
            for pair in list(self.open):
                for sock in pair:
                    fakes.end(sock)

    def close(self):
        fakes.close(self.listener)
        self.drop()

    def _serve(self, plain):
        try:
            plain.settimeout(10)
            with self.context.wrap_socket(plain, server_side=True) as sock:
                self._request(sock)
        except (OSError, ValueError):
            plain.close()

    def _request(self, sock):
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_MAX:
            got = sock.recv(4096)
            if not got:
                return
            head += got
        head, rest = head.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        headers = [line.split(":", 1) for line in lines[1:]]
        token = None
        for name, value in headers:
            if name.lower() == "authorization" and (found := TOKEN.search(value)):
                token = found.group(1)
        if token is None:
            _answer(sock, "302 Found", ["Location: https://signin.example.com/oauth/authorize?client_id=ingress"],
                    "<html><title>Sign in</title></html>")
            return
        if token in self.refused or token not in self.tokens:
            status, kind = self.refused.get(token, ("401 Unauthorized", "ERROR_INVALID_TOKEN"))
            _answer(sock, status, ["Content-Type: application/json"],
                    json.dumps({"responseType": kind, "requestId": "01", "detail": "Programmatic access token is invalid."}))
            return
        backend = self._backend()
        if backend is None:
            _answer(sock, "503 Service Unavailable", ["Content-Type: application/json"],
                    json.dumps({"responseType": "ERROR", "detail": "Service TUNNEL not reachable: no service hosts found."}))
            return
        kept = [f"{name}:{value}" for name, value in headers if name.lower() != "authorization"
                and not name.lower().startswith("sf-context-")]
        kept.append(f"Sf-Context-Current-User: {self.tokens[token]}")
        with self.lock:
            self.seen.append((self.tokens[token], backend.getpeername()))
        with backend:
            backend.sendall("\r\n".join([lines[0], *kept]).encode("latin-1") + b"\r\n\r\n" + rest)
            self._pipe(sock, backend)

    def _backend(self):
        for _ in self.backends:
            with self.lock:
                address = self.backends[self.turn % len(self.backends)]
                self.turn += 1
            try:
                return socket.create_connection(address, timeout=5)
            except OSError:
                continue
        return None

    def _pipe(self, outside, backend):
        pair = (outside, backend)
        with self.lock:
            self.open.add(pair)
        outside.settimeout(30)
        backend.settimeout(30)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(outside, selectors.EVENT_READ, backend)
                selector.register(backend, selectors.EVENT_READ, outside)
                active = time.monotonic()
                while True:
                    ready = [key for key, _ in selector.select(0.1)]
                    if not ready and time.monotonic() - active > self.idle:
                        self.idle_cuts += 1
                        return
                    for key in ready:
                        while True:
                            data = key.fileobj.recv(1 << 16)
                            if not data:
                                return
                            active = time.monotonic()
                            key.data.sendall(data)
                            if not (key.fileobj is outside and outside.pending()):
                                break
        finally:
            with self.lock:
                self.open.discard(pair)
            _reset(outside)
            _reset(backend)
