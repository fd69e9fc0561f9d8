#!/usr/bin/env python3
"""A stand-in for an ingress that lets each client have only so many connections.

The first `most` connections of an address are passed on to the target as they are, TLS and all; a further one is
closed at once (--refuse reset), or gets a TLS handshake and an HTTP error (--refuse 429). On SIGTERM it prints how
many connections it let through and refused. Standard library only; it runs in whatever namespace it is started in.
"""

import argparse
import json
import signal
import socket
import ssl
import struct
import sys
import threading

CHUNK = 1 << 16
HELD_MAX = 1 << 17  # bytes, of what comes from the target and of what waits to be sent
HEAD_MAX = 64 << 10
DIAL_SECONDS = 10


def _address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def _reset(sock):
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()


class Limited:
    """refuse: "reset", or an HTTP status; retry_after: for its header, None for none."""

    def __init__(self, listen, target, most, refuse="reset", certificate=None, retry_after=None):
        self.target, self.most, self.refuse, self.retry_after = target, most, refuse, retry_after
        self.accepted = self.refused = 0
        self._open, self._lock, self._context = {}, threading.Lock(), None
        if refuse != "reset":
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self.listener = socket.create_server(listen, backlog=128)
        self.port = self.listener.getsockname()[1]

    def serve(self):
        """Until the listener is closed."""
        while True:
            try:
                sock, (host, _) = self.listener.accept()
            except OSError:
                return
            with self._lock:
                admitted = self._open.get(host, 0) < self.most
                if admitted:
                    self._open[host] = self._open.get(host, 0) + 1
                    self.accepted += 1
                else:
                    self.refused += 1
            handler, *arguments = (self._pass_on, sock, host) if admitted else (self._turn_away, sock)
            threading.Thread(target=handler, args=arguments, daemon=True).start()

    def _turn_away(self, sock):
        try:
            sock.settimeout(DIAL_SECONDS)
            if self._context is None:
                return
            with self._context.wrap_socket(sock, server_side=True) as tls:
                head = b""
                while b"\r\n\r\n" not in head and len(head) < HEAD_MAX:
                    got = tls.recv(4096)
                    if not got:
                        return
                    head += got
                more = f"Retry-After: {self.retry_after}\r\n" if self.retry_after is not None else ""
                tls.sendall(f"HTTP/1.1 {self.refuse} No\r\n{more}Content-Length: 0\r\n"
                            "Connection: close\r\n\r\n".encode())
        except OSError:
            pass
        finally:
            _reset(sock)

    def _pass_on(self, sock, host):
        try:
            with socket.socket() as inner:
                inner.settimeout(DIAL_SECONDS)
                inner.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HELD_MAX)
                inner.connect(self.target)
                for one in (sock, inner):
                    one.settimeout(None)
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    # Otherwise megabytes wait here, as much as the kernel once thought useful, and what is
                    # measured is this queue.
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, HELD_MAX)
                back = threading.Thread(target=_copy, args=(inner, sock), daemon=True)
                back.start()
                _copy(sock, inner)
                back.join()
        except OSError:
            pass
        finally:
            with self._lock:
                self._open[host] -= 1
            sock.close()


def _copy(source, sink):
    """To the end of file, which is passed on; a reset ends both."""
    buffer = memoryview(bytearray(CHUNK))
    try:
        while got := source.recv_into(buffer):
            sink.sendall(buffer[:got])
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--target", type=_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--most", type=int, default=2, help="connections for each address (2)")
    parser.add_argument("--refuse", default="reset", help="reset, or an HTTP status such as 429 (reset)")
    parser.add_argument("--retry-after", help="the header's value beside a status")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    a = parser.parse_args()
    if a.refuse != "reset" and not (a.cert and a.key):
        parser.error("a status needs --cert and --key")
    limited = Limited(a.listen, a.target, a.most, a.refuse, (a.cert, a.key), a.retry_after)

    def finish(*_):
        print(json.dumps({"accepted": limited.accepted, "refused": limited.refused}), flush=True)
        sys.exit(0)
    signal.signal(signal.SIGTERM, finish)
    limited.serve()


if __name__ == "__main__":
    main()
