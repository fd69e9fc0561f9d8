"""A TLS 1.2 server on OpenSSL itself, for what Python's ssl cannot do: ask for a renegotiation."""

import ctypes
import ctypes.util
import socket

_LIBRARY = ctypes.CDLL(ctypes.util.find_library("ssl"))
_PEM, _SET_MAX_PROTO_VERSION, _TLS_1_2, _CORK = 1, 124, 0x303, getattr(socket, "TCP_CORK", None)
for _name in ("TLS_server_method", "SSL_CTX_new", "SSL_new"):
    getattr(_LIBRARY, _name).restype = ctypes.c_void_p


class Server:
    """server = Server((certificate, key)); with server.wrap(sock) as tls: ..."""

    def __init__(self, identity):
        certificate, key = (str(path).encode() for path in identity)
        self.context = ctypes.c_void_p(_LIBRARY.SSL_CTX_new(ctypes.c_void_p(_LIBRARY.TLS_server_method())))
        assert _LIBRARY.SSL_CTX_ctrl(self.context, _SET_MAX_PROTO_VERSION, ctypes.c_long(_TLS_1_2), None) == 1
        assert _LIBRARY.SSL_CTX_use_certificate_chain_file(self.context, certificate) == 1
        assert _LIBRARY.SSL_CTX_use_PrivateKey_file(self.context, key, _PEM) == 1

    def wrap(self, sock):
        return Connection(self, sock)


class Connection:
    def __init__(self, server, sock):
        sock.settimeout(None)  # OpenSSL blocks by itself
        self.sock = sock
        self.ssl = ctypes.c_void_p(_LIBRARY.SSL_new(server.context))
        _LIBRARY.SSL_set_fd(self.ssl, sock.fileno())
        if _LIBRARY.SSL_accept(self.ssl) != 1:
            raise ConnectionError("no TLS handshake")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        _LIBRARY.SSL_free(self.ssl)
        self.sock.close()

    def recv(self, size):
        buffer = ctypes.create_string_buffer(size)
        got = _LIBRARY.SSL_read(self.ssl, buffer, size)
        return buffer.raw[:max(0, got)]

    def sendall(self, data):
        if _LIBRARY.SSL_write(self.ssl, data, len(data)) != len(data):
            raise ConnectionError("broken")

    def ask_for_renegotiation(self):
        """The other side has to answer at once, with an alert that says no."""
        if _LIBRARY.SSL_renegotiate(self.ssl) != 1 or _LIBRARY.SSL_do_handshake(self.ssl) != 1:
            raise ConnectionError("broken")

    def cork(self, on):
        """While on, what is sent waits, so that it leaves in one segment."""
        if _CORK is not None:
            self.sock.setsockopt(socket.IPPROTO_TCP, _CORK, on)
