"""A stand-in for an OpenID provider, as CI platforms have one: its discovery document, its keys, which it can rotate, and tokens.

Tokens are made by joserfc, which shares no code with the tunnel.
"""

import http.server
import json
import secrets
import ssl
import threading
import time

from joserfc import jwk, jwt

KINDS = {"RS256": ("RSA", 2048), "PS256": ("RSA", 2048), "ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}


def new_key(algorithm, kid=None):
    kind, size = KINDS[algorithm]
    parameters = {"kid": kid or secrets.token_hex(4), "use": "sig", "alg": algorithm}
    return {"RSA": jwk.RSAKey, "EC": jwk.ECKey, "OKP": jwk.OKPKey}[kind].generate_key(size, parameters, private=True)


class Issuer:
    """requests: paths that were asked for. answer: a function path -> (status, body) in place of what is true, or None."""

    def __init__(self, algorithm="RS256", pki=None):
        self.algorithm = algorithm
        self.key = new_key(algorithm)
        self.published = [self.key]
        self.requests, self.answer = [], None
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.requests.append(self.path)
                status, body = (issuer.answer or issuer.page)(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if pki:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, pki.server))
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if pki else 'http'}://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def page(self, path):
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps({"issuer": self.url, "jwks_uri": self.url + "/keys"}).encode()
        if path == "/keys":
            return 200, json.dumps({"keys": [key.as_dict(private=False) for key in self.published]}).encode()
        return 404, b"not found"

    def rotate(self, keep=True):
        """Signs with a new key from now on; keep: the old one is still published."""
        self.key = new_key(self.algorithm)
        self.published = [*(self.published if keep else ()), self.key]

    def claims(self, life=300, **claims):
        now = int(time.time())
        return {"iss": self.url, "aud": "tunnel", "sub": "repo:example/app:ref:refs/heads/main", "repository": "example/app",
                "iat": now, "nbf": now, "exp": now + life, **claims}

    def token(self, key=None, header=None, **claims):
        """A claim that is None is left out."""
        key = key or self.key
        told = {name: value for name, value in self.claims(**claims).items() if value is not None}
        return jwt.encode({"alg": self.algorithm, "kid": key.kid, **(header or {})}, told, key, algorithms=list(KINDS))

    def close(self):
        self.server.shutdown()
        self.server.server_close()
