"""A tunnel client by hand (docs/protocol.md): frames in and out, the messages of the control stream."""

import struct

from harness import ws

WELCOME, REJECT, DATA, GOAWAY = 2, 3, 5, 9
OPEN, OPENED, REFUSED, RESET, EXPOSE, EXPOSED = 1, 2, 3, 6, 32, 33
CLUSTER, TCP = 1, 3
LIMIT, LISTENER, UNKNOWN_SESSION = 6, 8, 12


class Client:
    """Upgrades and says HELLO; `answer` is what came, `code` why it was rejected, `key` what it takes to resume."""

    def __init__(self, server, key=bytes(48), resume=False, attempt=1, token=None, join=False, version=1, **kw):
        self.sock, status, _ = ws.upgrade(server, [f"Authorization: Bearer {token}"] if token else [], **kw)
        assert status == 101
        self.sock.settimeout(20)
        self.sent, self.pending, self.control = 0, b"", b""
        hello = struct.pack(">IHHHII", 0x4B54554E, version, version, int(resume) | int(join) << 1, attempt, 1 << 20) + key + b"\x04test"
        self.send(ws.mux_frame(1, 0, hello))
        self.answer, payload = self.frame((WELCOME, REJECT))
        self.key = payload[12:60]
        self.code = struct.unpack_from(">H", payload)[0]
        self.reason = payload[7:].decode("latin-1") if self.answer == REJECT else ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, frames):
        self.sock.sendall(ws.frame(2, frames))

    def message(self, kind, body):
        message = struct.pack(">BBH", kind, 0, len(body)) + body
        self.send(ws.mux_frame(DATA, 0, struct.pack(">Q", self.sent) + message))
        self.sent += len(message)

    def open(self, stream, target, kind=TCP):
        self.message(OPEN, struct.pack(">IBi", stream, kind, -1) + bytes([len(target)]) + target.encode() + b"\x02me")

    def _take(self, size):
        """So many bytes of the link: the payload of WebSocket messages, whatever their boundaries."""
        while len(self.pending) < size:
            head = ws.exactly(self.sock, 2)
            length = head[1] & 127
            if length > 125:
                length = int.from_bytes(ws.exactly(self.sock, 2 if length == 126 else 8), "big")
            payload = ws.exactly(self.sock, length)
            if head[0] & 15 == 8:
                raise EOFError(payload)
            self.pending += payload
        taken, self.pending = self.pending[:size], self.pending[size:]
        return taken

    def frame(self, kinds):
        """(type, payload) of the next frame that is one of those."""
        while True:
            kind, _, size, stream = struct.unpack(">BBHI", self._take(8))
            payload = self._take(size)
            if kind == DATA and stream == 0:
                self.control += payload[8:]
            if kind in kinds:
                return kind, payload

    def next_message(self, kinds):
        """(type, body) of the next message of the control stream that is one of those."""
        while True:
            while len(self.control) >= 4 and len(self.control) >= 4 + struct.unpack_from(">H", self.control, 2)[0]:
                size = struct.unpack_from(">H", self.control, 2)[0]
                kind, body, self.control = self.control[0], self.control[4:4 + size], self.control[4 + size:]
                if kind in kinds:
                    return kind, body
            self.frame((DATA,))
