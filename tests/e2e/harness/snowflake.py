"""A stand-in for what gives out tokens at Snowflake (POST /oauth/token), as far as its behaviour is documented.

It checks the JWT as the documentation says: RS256 by the registered public key, issuer, subject, fingerprint, times. The token
that it answers with is a JWT of its own, which `Tokens` knows until it expires. What its errors look like in detail is not
documented: the words here are those that drivers report.
"""

import base64
import email.utils
import hashlib
import json
import secrets
import ssl
import threading
import time
import urllib.parse

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from harness import fakes

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key, passphrase=None, traditional=False):
    form = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
    encryption = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


def fingerprint(key):
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode()


def _encode(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def _decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Tokens(dict):
    """{token: user} for an ingress; a token that has expired is not in it."""

    def __init__(self):
        super().__init__()
        self.until = {}

    def __contains__(self, token):
        return super().__contains__(token) and time.time() < self.until.get(token, float("inf"))


class Refusal(Exception):
    def __init__(self, status, code, message, error=None):
        super().__init__(message)
        self.status = status
        self.body = {"data": None, "message": message, "code": code, "success": False, **({"error": error} if error else {})}


class TokenEndpoint(fakes.Listening):
    """
    users: {name: (private key whose public half is registered, roles)}. services: hosts of endpoints that may be asked for.
    skew: how far its clock is from this machine's, in seconds. life: of tokens, in seconds.
    answer: bytes to send instead of an answer; "silence", "drop", or None: as it should be.
    """

    def __init__(self, pki, account="ACME", services=("localhost",), life=3600):
        self.account, self.services, self.life = account, set(services), life
        self.users, self.tokens = {}, Tokens()
        self.skew, self.answer, self.network_policy = 0, None, False
        self.forms, self.issued, self.refusals, self.watchers, self.said = [], [], [], [], []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*pki.server)
        self.context.load_verify_locations(pki.ca)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.certificates = []
        self.open = set()
        self.lock = threading.Lock()
        super().__init__()

    def url(self):
        return f"https://localhost:{self.port}"

    def close(self):
        fakes.close(self.listener)
        with self.lock:
            for sock in self.open:
                fakes.close(sock)

    def watch(self, process):
        """No JWT and no token may appear in what this one prints."""
        process.secrets += self.said
        self.watchers.append(process)
        return process

    def _keep_secret(self, secret):
        with self.lock:
            self.said.append(secret)
            for process in self.watchers:
                process.secrets.append(secret)

    def _serve(self, plain):
        with self.lock:
            self.open.add(plain)
        try:
            plain.settimeout(20)
            with self.context.wrap_socket(plain, server_side=True) as sock:
                self.certificates.append(sock.getpeercert())
                self._request(sock)
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.open.discard(plain)
            plain.close()

    def _request(self, sock):
        data = b""
        while b"\r\n\r\n" not in data:
            got = sock.recv(65536)
            if not got:
                return
            data += got
        head, body = data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])}
        while len(body) < int(headers.get("content-length", 0)):
            got = sock.recv(65536)
            if not got:
                return
            body += got
        form = {name: values for name, values in urllib.parse.parse_qs(body.decode("ascii")).items()}
        self._keep_secret(form["assertion"][0])
        self.forms.append(form)
        if self.answer == "drop":
            return
        if self.answer == "silence":
            sock.recv(1)
            return
        if self.answer is not None:
            sock.sendall(self.answer)
            return
        kind = "application/json"
        try:
            assert lines[0] == "POST /oauth/token HTTP/1.1", lines[0]
            assert headers["content-type"] == "application/x-www-form-urlencoded", headers
            status, kind, answer = "200 OK", "text/plain", self._token(form).encode()
        except Refusal as refusal:
            self.refusals.append(refusal)
            status, answer = refusal.status, json.dumps(refusal.body).encode()
        date = email.utils.formatdate(time.time() + self.skew, usegmt=True)
        sock.sendall(f"HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n"
                     "Connection: close\r\n\r\n".encode() + answer)

    def _token(self, form):
        if any(len(values) != 1 for values in form.values()) or set(form) != {"grant_type", "scope", "assertion"}:
            raise Refusal("400 Bad Request", None, "This is an invalid request.", "invalid_request")
        if form["grant_type"] != [GRANT]:
            raise Refusal("400 Bad Request", None, "unsupported grant", "unsupported_grant_type")
        user = self._user(form["assertion"][0])
        if self.network_policy:
            raise Refusal("403 Forbidden", "390432", "Network policy is required.")
        words = form["scope"][0].split(" ")
        role = words[0].removeprefix("session:role:") if words[0].startswith("session:role:") else None
        if words[role is not None:] != [host for host in words[-1:] if host in self.services]:
            raise Refusal("400 Bad Request", None, "The requested scope is invalid.", "invalid_scope")
        if role is not None and role not in self.users[user][1]:
            raise Refusal("400 Bad Request", "390186", f"Role '{role}' is not granted to this user.")
        now = int(time.time() + self.skew)
        token = ".".join([_encode({"alg": "HS256"}), _encode({"sub": user, "exp": now + self.life, "jti": secrets.token_hex(8)}),
                          _encode(secrets.token_bytes(32))])
        self._keep_secret(token)
        self.tokens.until[token] = time.time() + self.life
        self.tokens[token] = user
        self.issued.append(token)
        return token

    def _user(self, jwt):
        """Whom the JWT names, if all of it is right."""
        invalid = Refusal("401 Unauthorized", "390144", "JWT token is invalid. [7fb87e37-2f26-4a10-9f9c-72276ea898bf]")
        head, payload, signature = jwt.split(".")
        assert json.loads(_decode(head)) == {"alg": "RS256", "typ": "JWT"}
        claims = json.loads(_decode(payload))
        assert set(claims) == {"iss", "sub", "iat", "exp"}, claims
        account, _, user = claims["sub"].partition(".")
        now = time.time() + self.skew
        if account != self.account or user not in self.users or claims["exp"] - claims["iat"] > 3600:
            raise invalid
        key = self.users[user][0]
        if claims["iss"] != f"{account}.{user}.{fingerprint(key)}":
            raise invalid
        try:
            key.public_key().verify(_decode(signature), f"{head}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise invalid from None
        if not claims["iat"] - 60 <= now < claims["exp"]:
            raise invalid
        return user
