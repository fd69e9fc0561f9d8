"""A stand-in for an authorization server's token endpoint (RFC 6749, 4.4)."""

import base64
import http.server
import json
import ssl
import threading
import urllib.parse


class TokenEndpoint:
    """Gives out the tokens of `tokens` in turn, the last one again and again, to the client ID with SECRET.

    asked: the form of each request that came with the right credentials; refused: how many did not.
    answer: (status, headers, body) in place of what is true, or None. hold: an Event; while it is not set, nothing is answered.
    """

    def __init__(self, tokens, client_id="svc", secret="client's secret", expires_in=3600, pki=None):
        self.tokens, self.client_id, self.secret, self.expires_in = list(tokens), client_id, secret, expires_in
        self.asked, self.refused, self.answer, self.requests = [], 0, None, 0
        self.hold = threading.Event()
        self.hold.set()
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                endpoint.requests += 1
                form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                endpoint.hold.wait(60)
                status, headers, body = endpoint.answer or endpoint.reply(self.path, self.headers.get("Authorization"), form)
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if pki:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, pki.server))
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if pki else 'http'}://localhost:{self.server.server_address[1]}/oauth/token"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def credentials(self, authorization, form):
        if authorization is None:
            return form.pop("client_id", None), form.pop("client_secret", None)
        scheme, _, encoded = authorization.partition(" ")
        assert scheme == "Basic"
        return tuple(map(urllib.parse.unquote_plus, base64.b64decode(encoded, validate=True).decode().split(":")))

    def reply(self, path, authorization, form):
        if path != "/oauth/token":
            return 404, {}, b"not found"
        if self.credentials(authorization, form) != (self.client_id, self.secret):
            self.refused += 1
            return 401, {}, json.dumps({"error": "invalid_client", "error_description": f"who is {self.client_id}?"}).encode()
        self.asked.append(form)
        token = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        answer = {"access_token": token, "token_type": "Bearer"}
        return 200, {}, json.dumps(answer | ({"expires_in": self.expires_in} if self.expires_in else {})).encode()

    def close(self):
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
