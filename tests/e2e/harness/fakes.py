"""Servers that are not the tunnel: the proxies, sign-in pages and silences a user meets on the way to it."""

import base64
import contextlib
import hashlib
import hmac
import os
import select
import socket
import ssl
import struct
import threading
import time

from harness import wire

UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 65\r\n\r\n" \
               b'{"responseType":"ERROR","requestId":"0","detail":"invalid token"}'
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 61\r\n\r\n" \
            b'{"responseType":"ERROR_FORBIDDEN","requestId":"0","detail":0}'
SIGN_IN = b"HTTP/1.1 302 Found\r\nLocation: https://login.example.org/sign-in?next=tunnel\r\nContent-Length: 0\r\n\r\n"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 30\r\n\r\n<html><body>Hello</body></html"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nnot found"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 84\r\n\r\n" \
              b'{"responseType":"ERROR","detail":"Service X not reachable: no service hosts found."}'


class Listening:
    """Accepts on a free port and serves each connection in a thread of its own; `_serve` says how."""

    def __init__(self, host="127.0.0.1", port=0):
        self.host = host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family, backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        close(self.listener)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()


class Fake(Listening):
    """Answers every request on 127.0.0.1 with `answer` (None: with silence); keeps what it was asked."""

    def __init__(self, answer, tls=None, host="127.0.0.1"):
        self.answer, self.requests = answer, []
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
        super().__init__(host)

    def _serve(self, sock):
        try:
            sock.settimeout(120)
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            request = b""
            while b"\r\n\r\n" not in request:
                got = sock.recv(65536)
                if not got:
                    return
                request += got
            self.requests.append(request.decode("latin-1"))
            if self.answer is not None:
                sock.sendall(self.answer)
            while sock.recv(65536):
                pass
        except OSError:
            pass
        finally:
            sock.close()

    def header(self, name, index=-1):
        for line in self.requests[index].split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


class Broker(Listening):
    """A node of a Kafka cluster that answers ApiVersions, Metadata with `brokers` and DescribeCluster with `controllers`, both lists
    of (node id, host, port), and keeps the client ids it was asked by; on 127.0.0.2 as the real ones.

    A list that is None: the question ends the connection, as the one for Metadata does at a KRaft controller. One that has
    controllers alone is a controller, and its ApiVersions say so.
    """

    def __init__(self, brokers=None, controllers=None, host="127.0.0.2", port=0):
        self.brokers, self.controllers, self.client_ids = brokers, controllers, []
        super().__init__(host, port)

    @property
    def address(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def node(self, node_id):
        """How this one stands in a list of nodes."""
        return node_id, self.host, self.port

    def _serve(self, sock):
        with sock:
            try:
                while (request := wire.read_frame(sock)) and (answer := self._answer(request)):
                    sock.sendall(answer)
            except OSError:
                pass

    def _answer(self, request):
        if wire.is_check(request):
            return wire.check_response(request)
        key, _, correlation_id, size = struct.unpack_from(">hhih", request)
        self.client_ids.append(request[10:10 + size].decode())
        if key == wire.API_VERSIONS:
            if self.brokers is None and self.controllers is not None:
                return wire.api_versions_response(correlation_id, ((wire.API_VERSIONS, 0, 4), (wire.DESCRIBE_CLUSTER, 0, 2), (1, 4, 17)))
            return wire.api_versions_response(correlation_id)
        if key == wire.METADATA and self.brokers is not None:
            return wire.metadata_response(self.brokers, correlation_id=correlation_id)
        if key == wire.DESCRIBE_CLUSTER and self.controllers is not None:
            return wire.describe_cluster_response(self.controllers, correlation_id=correlation_id)
        return None


class SaslLogin:
    """A broker's side of one login: PLAIN, SCRAM (RFC 5802) or OAUTHBEARER with bare tokens as `users`' passwords."""

    def __init__(self, mechanism, broker):
        self.mechanism, self.broker, self.user, self.done, self.round = mechanism, broker, None, False, 0

    def answer(self, message):
        """What the broker says to it; None: it refuses."""
        self.round += 1
        if self.mechanism == "PLAIN":
            _, self.user, password = message.decode().split("\0")
            self.done = self.broker.users.get(self.user) == password
            return b"" if self.done else None
        if self.mechanism == "OAUTHBEARER":
            if self.round > 1:
                return None
            token = message.decode().split("Bearer ")[1].rstrip("\1")
            self.user = next((name for name, password in self.broker.users.items() if password == token), None)
            self.done = self.user is not None
            return b"" if self.done else b'{"status":"invalid_token"}'
        return self._first(message.decode()) if self.round == 1 else self._final(message.decode())

    def _first(self, message):
        self.bare = message[3:]
        self.user, nonce = (part[2:] for part in self.bare.split(",")[:2])
        salt = base64.b64encode(b"salt of " + self.user.encode()).decode()
        self.said = f"r={nonce}{os.urandom(9).hex()},s={salt},i={self.broker.iterations}"
        return self.said.encode()

    def _final(self, message):
        digest = "sha256" if self.mechanism.endswith("256") else "sha512"
        password = self.broker.users.get(self.user)
        if password is None:
            return None
        salted = self.broker.derive(digest, self.user, password)
        sign = lambda key, text: hmac.digest(key, text, digest)
        without, proof = message.rsplit(",p=", 1)
        signed = f"{self.bare},{self.said},{without}".encode()
        client_key = sign(salted, b"Client Key")
        expected = bytes(a ^ b for a, b in zip(client_key, sign(hashlib.new(digest, client_key).digest(), signed)))
        if not hmac.compare_digest(expected, base64.b64decode(proof)):
            return None
        self.done = True
        server_key = sign(salted, b"Server Key") if self.broker.signs else b"guess"
        return b"v=" + base64.b64encode(sign(server_key, signed))


class SaslBroker(Listening):
    """A broker whose clients must log in first (SaslHandshake v1, SaslAuthenticate v1), on 127.0.0.2 as the real ones.

    users: {name: password}. lifetime_ms: after so long, and half as long again where much else goes on on this machine, a connection
    has to log in again, as the same user, or ends at its next request.
    Answers Metadata with all of `nodes` ({id: broker}) and a vendor's API (10000) with what it was sent; keeps in `asked` who asked what:
    (user or None, API key), and in `logins` and `again` whose logins went well.

    trouble: what goes wrong in a login: "close", "garbage", "silence" or "late", each from the handshake on.
    refuses_after: seconds that a refusal takes (Kafka: connection.failed.authentication.delay.ms).
    """

    ECHO = 10_000

    def __init__(self, users=None, mechanisms=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"), lifetime_ms=0, nodes=None,
                 node_id=1, trouble=None, port=0):
        self.users, self.mechanisms, self.lifetime_ms = users or {}, mechanisms, lifetime_ms
        self.nodes = nodes if nodes is not None else {}
        self.nodes[node_id] = self
        self.trouble, self.iterations, self.signs, self.refuses_after = trouble, 4096, True, 0
        self.asked, self.logins, self.again, self.attempts, self.expired, self.derived = [], [], [], 0, 0, {}
        super().__init__("127.0.0.2", port)

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def derive(self, digest, user, password):
        """As brokers do, once for each password."""
        key = digest, user, password, self.iterations
        if key not in self.derived:
            self.derived[key] = hashlib.pbkdf2_hmac(digest, password.encode(), b"salt of " + user.encode(), self.iterations)
        return self.derived[key]

    def _serve(self, sock):
        with sock, contextlib.suppress(OSError):
            SaslConnection(self, sock).run()


class SaslConnection:
    """One of a SaslBroker's; user: who has logged in."""

    def __init__(self, broker, sock):
        self.broker, self.sock, self.user, self.login, self.ends = broker, sock, None, None, None

    def run(self):
        while (request := wire.read_frame(self.sock)) is not None:
            answer = wire.check_response(request) if wire.is_check(request) else self._answer(request)
            if answer is None:
                return
            self.sock.sendall(answer)

    def _answer(self, request):
        key, version, correlation_id, size = struct.unpack_from(">hhih", request)
        body = request[10 + max(size, 0):]
        if key in (wire.SASL_HANDSHAKE, wire.SASL_AUTHENTICATE):
            return self._troubled() if self.broker.trouble else self._log_in(key, correlation_id, body)
        self.broker.asked.append((self.user, key))
        if self.user is None and key != wire.API_VERSIONS:
            return None
        if self.login or (self.ends and time.monotonic() > self.ends):
            self.broker.expired += 1
            return None
        if key == wire.API_VERSIONS:
            return wire.api_versions_response(correlation_id)
        if key == wire.METADATA:
            return wire.metadata_response([(node, "127.0.0.2", b.port) for node, b in self.broker.nodes.items()], correlation_id=correlation_id)
        return wire.frame(struct.pack(">i", correlation_id) + body) if key == SaslBroker.ECHO else None

    def _troubled(self):
        self.broker.attempts += 1
        if self.broker.trouble == "garbage":
            return wire.frame(b"what is this to you?")
        if self.broker.trouble in ("silence", "late"):
            time.sleep(60 if self.broker.trouble == "silence" else 1)
        if self.broker.trouble == "late":
            self.broker.trouble = None
            return wire.frame(b"\0\0\0\0")
        return None

    def _log_in(self, key, correlation_id, body):
        if key == wire.SASL_HANDSHAKE:
            mechanism = body[2:].decode()
            self.broker.attempts += 1
            known = mechanism in self.broker.mechanisms
            self.login = SaslLogin(mechanism, self.broker) if known else None
            names = b"".join(struct.pack(">h", len(m)) + m.encode() for m in self.broker.mechanisms)
            return wire.frame(struct.pack(">ihi", correlation_id, 0 if known else 33, len(self.broker.mechanisms)) + names)
        said = self.login.answer(body[4:]) if self.login else None
        if said is not None and self.login.done and self.user not in (None, self.login.user):
            said = None
        if said is None:
            words = b"Authentication failed: Invalid username or password"
            time.sleep(self.broker.refuses_after)
            self.login = None
            return wire.frame(struct.pack(">ihh", correlation_id, 58, len(words)) + words + struct.pack(">iq", 0, 0))
        lifetime = 0
        if self.login.done:
            (self.broker.again if self.user else self.broker.logins).append(self.login.user)
            self.user, self.login, lifetime = self.login.user, None, self.broker.lifetime_ms
            self.ends = time.monotonic() + 1.5 * lifetime / 1000 if lifetime else None
        return wire.frame(struct.pack(">ihhi", correlation_id, 0, -1, len(said)) + said + struct.pack(">q", lifetime))


class Silent(Listening):
    """Takes connections and never answers, as a broker that is stopped does; keeps what it was sent, one a connection."""

    def __init__(self, host="127.0.0.2", port=0):
        self.received = []
        super().__init__(host, port)

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def _serve(self, sock):
        at = len(self.received)
        self.received.append(b"")
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(65536):
                self.received[at] += data


class LineService(Listening):
    """A service of another kind, as Redis is: it carries out each line it gets, and answers whatever comes with bytes that a Kafka
    client takes for a response to its request `correlation_id`, which the client has chosen to fit."""

    correlation_id = b"+OK "
    answer = b"\0\0\0\x14" + correlation_id + b"secret-of-others"

    def __init__(self, host="127.0.0.2", port=0):
        self.received = b""
        super().__init__(host, port)

    def node(self, node_id):
        return node_id, self.host, self.port

    def _serve(self, sock):
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(65536):
                self.received += data
                sock.sendall(self.answer)


@contextlib.contextmanager
def refusing_port(host="127.0.0.2"):
    """A port that is held, so that nobody else gets it, and refuses connections."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        yield sock.getsockname()[1]


class Ingress(Listening):
    """A TLS-terminating proxy in front of a plain server, as a corporate ingress is; `maximum` bounds the TLS version."""

    def __init__(self, target_port, tls, maximum=None):
        self.target_port = target_port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*tls)
        if maximum:
            self.context.maximum_version = maximum
        self.versions = []
        self.links = []
        super().__init__()

    def __exit__(self, *_):
        super().__exit__()
        self.cut()

    def cut(self):
        """Ends every link, as an ingress does when it feels like it."""
        for sock in self.links:
            close(sock)
        self.links.clear()

    def _serve(self, raw):
        try:
            outer = self.context.wrap_socket(raw, server_side=True)
            self.versions.append(outer.version())
            inner = socket.create_connection(("127.0.0.1", self.target_port))
        except OSError:
            raw.close()
            return
        self.links += [outer, inner]
        # An SSL object is not for two threads at once: one thread carries both directions.
        _relay(outer, inner)


def _relay(outer, inner):
    """Both directions until either side ends; what it sent before that is still delivered."""
    outer.setblocking(False)
    inner.setblocking(False)
    to_inner, to_outer = bytearray(), bytearray()
    ended = None
    try:
        while ended is None or (to_outer if ended is inner else to_inner):
            reads = [s for s, b in ((outer, to_inner), (inner, to_outer)) if len(b) < 1 << 18 and ended is None]
            writes = [s for s, b in ((inner, to_inner), (outer, to_outer)) if b]
            if outer in reads and outer.pending():
                readable = [outer]
            else:
                readable = select.select(reads, writes, [], 30)[0]
            for source, buffer in ((outer, to_inner), (inner, to_outer)):
                if source in readable:
                    try:
                        data = source.recv(65536)
                        buffer += data
                        ended = ended or (None if data else source)
                    except (ssl.SSLWantReadError, BlockingIOError):
                        pass
            for sink, buffer in ((inner, to_inner), (outer, to_outer)):
                if buffer:
                    try:
                        del buffer[:sink.send(buffer)]
                    except (ssl.SSLWantWriteError, BlockingIOError):
                        pass
    except (OSError, ValueError):
        pass
    finally:
        close(outer)
        close(inner)


def end(sock):
    """Ends a connection that another thread serves. SSLSocket's own shutdown() would make that thread go on without TLS."""
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass


def close(sock):
    end(sock)
    sock.close()
