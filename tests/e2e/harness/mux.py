"""A tunnel-server that the test writes: it upgrades, speaks docs/protocol.md, and says what the test wants it to say."""

import base64
import contextlib
import hashlib
import struct

from harness import fakes, ws

HELLO, WELCOME, REJECT, DATA, PING, PONG, GOAWAY = 1, 2, 3, 5, 7, 8, 9
OPEN, OPENED, REFUSED, RESET, TROUBLE = 1, 2, 3, 6, 163
CLUSTER, TCP = 1, 3


def text8(text):
    data = text if isinstance(text, bytes) else text.encode()
    return bytes([len(data)]) + data


def accept_upgrade(head, headers=b""):
    """The answer to a request that asks for a WebSocket."""
    key = next(line.split(":", 1)[1].strip() for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
    return (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n" + headers + b"\r\n")


def welcome(software="test", identity="alice", offers=((CLUSTER, "kafka"),), version=1, flags=0):
    named = b"".join(bytes([kind]) + text8(name) for kind, name in offers)
    return ws.mux_frame(WELCOME, 0, struct.pack(">HHII", version, flags, 65536, 120000) + bytes(range(48)) + text8(software)
                        + struct.pack(">HH", len(offers), len(named)) + named + text8(identity))


def reject(reason, code=6):
    return ws.mux_frame(REJECT, 0, struct.pack(">HI", code, 0) + text8(reason))


def goaway(reason, code=9):
    data = reason if isinstance(reason, bytes) else reason.encode()
    return ws.mux_frame(GOAWAY, 0, struct.pack(">HH", code, len(data)) + data)


class Server(fakes.Listening):
    """`first` is sent after HELLO; `on_open(server, stream)` returns the messages that answer an OPEN, `on_message(kind, body)` those
    that answer any other; `after` ends it: a WebSocket close frame's payload, once WELCOME or what came in its place is out."""

    def __init__(self, first, on_open=None, after=None, headers=b"", on_message=None):
        self.first, self.on_open, self.after, self.headers, self.on_message = first, on_open, after, headers, on_message
        super().__init__()

    @property
    def url(self):
        return f"http://localhost:{self.port}"

    def _serve(self, sock):
        with sock, contextlib.suppress(OSError, IndexError, struct.error):
            sock.settimeout(60)
            sock.sendall(accept_upgrade(ws.read_head(sock), self.headers))
            _Conversation(self, sock).run()


class _Conversation:
    def __init__(self, server, sock):
        self.server, self.sock = server, sock
        self.bytes, self.control, self.sent = b"", b"", 0

    def run(self):
        while payload := self._receive():
            for kind, stream, body in self._frames(payload):
                self._frame(kind, stream, body)

    def _send(self, frames):
        self.sock.sendall(ws.frame(2, frames, mask=False))

    def _exactly(self, count):
        while len(self.bytes) < count:
            got = self.sock.recv(65536)
            if not got:
                raise OSError("the end")
            self.bytes += got
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    def _receive(self):
        """The payload of the next WebSocket frame."""
        _, size = self._exactly(2)
        size &= 0x7f
        if size > 125:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        key, data = self._exactly(4), self._exactly(size)
        return bytes(byte ^ key[i % 4] for i, byte in enumerate(data))

    @staticmethod
    def _frames(payload):
        while payload:
            kind, _, size, stream = struct.unpack_from(">BBHI", payload)
            yield kind, stream, payload[8:8 + size]
            payload = payload[8 + size:]

    def _frame(self, kind, stream, body):
        if kind == HELLO:
            self._send(self.server.first)
            if self.server.after is not None:
                self.sock.sendall(ws.frame(8, self.server.after, mask=False))
        elif kind == PING:
            self._send(ws.mux_frame(PONG, 0, body))
        elif kind == DATA and stream == 0:
            self.control += body[8:]
            self._messages()

    def _messages(self):
        while len(self.control) >= 4:
            kind, _, size = struct.unpack_from(">BBH", self.control)
            if len(self.control) < 4 + size:
                return
            body, self.control = self.control[4:4 + size], self.control[4 + size:]
            if kind == OPEN and self.server.on_open:
                self._answer(self.server.on_open(struct.unpack_from(">I", body)[0]))
            elif kind != OPEN and self.server.on_message:
                self._answer(self.server.on_message(kind, body))

    def _answer(self, messages):
        for answer, payload in messages:
            message = struct.pack(">BBH", answer, 0, len(payload)) + payload
            for at in range(0, len(message), 16000):
                piece = message[at:at + 16000]
                self._send(ws.mux_frame(DATA, 0, struct.pack(">Q", self.sent) + piece))
                self.sent += len(piece)
