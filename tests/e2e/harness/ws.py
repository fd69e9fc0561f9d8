"""A WebSocket client with bad manners: it upgrades as it should and then sends whatever the test wants."""

import base64
import hashlib
import os
import socket
import ssl
import struct


def connect(server, ca=None, cert=None, maximum=None, minimum=None, source=None):
    """source: the address to come from, of 127.0.0.0/8."""
    sock = socket.create_connection(("localhost", server.port), timeout=30, source_address=(source, 0) if source else None)
    if server.tls:
        context = ssl.create_default_context(cafile=ca)
        if maximum:
            context.maximum_version = maximum
        if minimum:
            context.minimum_version = minimum
        if cert:
            context.load_cert_chain(*cert)
        sock = context.wrap_socket(sock, server_hostname="localhost")
    return sock


def request(path="/tunnel", headers=(), host="localhost"):
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
             f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_head(sock):
    head = b""
    while b"\r\n\r\n" not in head:
        got = sock.recv(1)
        if not got:
            break
        head += got
    return head.decode("latin-1")


def upgrade(server, headers=(), path="/tunnel", **kw):
    """(socket, status, head)"""
    sock = connect(server, **kw)
    sock.sendall(request(path, headers))
    head = read_head(sock)
    status = int(head.split(" ", 2)[1]) if head.startswith("HTTP/1.") else 0
    return sock, status, head


def frame(opcode, payload=b"", fin=True, mask=True, rsv=0, length=None):
    """length: what the header claims, if not the truth."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    claimed = len(payload) if length is None else length
    bit = 0x80 if mask else 0
    if claimed < 126:
        head = struct.pack(">BB", first, bit | claimed)
    elif claimed < 1 << 16:
        head = struct.pack(">BBH", first, bit | 126, claimed)
    else:
        head = struct.pack(">BBQ", first, bit | 127, claimed)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


def mux_frame(kind, stream, payload):
    """docs/protocol.md, Frames."""
    return struct.pack(">BBHI", kind, 0, len(payload), stream) + payload


def hello():
    """The first frame of a new session."""
    return mux_frame(1, 0, struct.pack(">IHHHII", 0x4B54554E, 1, 1, 0, 1, 65536) + bytes(48) + b"\x04test")


def welcome():
    """A new session, with nothing on offer."""
    return mux_frame(2, 0, struct.pack(">HHII", 1, 0, 65536, 120_000) + b"i" * 16 + b"s" * 32 + b"\x04test" + bytes(4))


def goaway(reason=b"stopping"):
    return mux_frame(9, 0, struct.pack(">HH", 9, len(reason)) + reason)


def accept(sock):
    """The server's side of an upgrade."""
    head = read_head(sock)
    key = next(line.split(":", 1)[1].strip() for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key:"))
    answer = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    sock.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 f"Sec-WebSocket-Accept: {answer}\r\n\r\n".encode())


def exactly(sock, size):
    """So many bytes; EOFError when the connection ends before."""
    data = b""
    while len(data) < size:
        got = sock.recv(size - len(data))
        if not got:
            raise EOFError
        data += got
    return data


def closed_within(sock, seconds):
    """True when the other side ends the connection in that time, whatever it sends before."""
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
        return True
    except (socket.timeout, TimeoutError):
        return False
    except OSError:
        return True
