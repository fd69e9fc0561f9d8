"""A stand-in for a Schema Registry: the part of its REST interface that serializers use (the real one is on no public repository).

Run as a program it listens on 127.0.0.2: python -m harness.registry
"""

import http.server
import json
import re
import sys

HOST = "127.0.0.2"
CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


class Registry:
    def __init__(self):
        self.schemas, self.subjects = [], {}

    def register(self, subject, schema):
        if schema not in self.schemas:
            self.schemas.append(schema)
        number = self.schemas.index(schema) + 1
        versions = self.subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return {"id": number}

    def version(self, subject, number):
        return {"subject": subject, "id": number, "version": self.subjects[subject].index(number) + 1,
                "schema": self.schemas[number - 1]["schema"]}

    def answer(self, method, path, body):
        """(status, what)"""
        if match := re.fullmatch(r"/subjects/([^/]+)/versions", path):
            if method == "POST":
                return 200, self.register(match[1], body)
            return 200, list(range(1, len(self.subjects.get(match[1], ())) + 1))
        if match := re.fullmatch(r"/schemas/ids/(\d+)", path):
            if int(match[1]) <= len(self.schemas):
                return 200, {"schema": self.schemas[int(match[1]) - 1]["schema"]}
            return 404, {"error_code": 40403, "message": "Schema not found"}
        if match := re.fullmatch(r"/subjects/([^/]+)(?:/versions/latest)?", path):
            versions = self.subjects.get(match[1])
            if not versions:
                return 404, {"error_code": 40401, "message": f"Subject '{match[1]}' not found."}
            if method == "GET":
                return 200, self.version(match[1], versions[-1])
            if body in self.schemas:
                return 200, self.version(match[1], self.schemas.index(body) + 1)
            return 404, {"error_code": 40403, "message": "Schema not found"}
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry = Registry()

    def _answer(self):
        size = int(self.headers.get("Content-Length") or 0)
        sent = json.loads(self.rfile.read(size)) if size else None
        body = sent and {"schema": sent["schema"], "schemaType": sent.get("schemaType", "AVRO")}
        status, what = self.registry.answer(self.command, self.path.split("?")[0], body)
        data = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _answer  # noqa: N815 (names of http.server)


def main():
    server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
    print(json.dumps({"event": "ready", "port": server.server_address[1]}), file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
