#!/usr/bin/env python3
"""A registry with the npm packages of a directory, on loopback, for scripts/check-release: packaging/npm-registry.py DIRECTORY

Prints its address, and serves until it is killed."""
import base64
import hashlib
import http.server
import json
import pathlib
import sys
import tarfile
import urllib.parse

directory = pathlib.Path(sys.argv[1])
packages = {}
for path in directory.glob("*.tgz"):
    with tarfile.open(path) as tar:
        package = json.load(tar.extractfile("package/package.json"))
    packages[package["name"]] = (package, path)


class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = urllib.parse.unquote(self.path.lstrip("/"))
        if name.endswith(".tgz") and (directory / name).is_file():
            return self.answer((directory / name).read_bytes())
        if name not in packages:
            return self.send_error(404)
        package, path = packages[name]
        content = path.read_bytes()
        dist = {"tarball": f"http://{self.headers['Host']}/{path.name}",
                "integrity": "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()}
        version = package["version"]
        return self.answer(json.dumps({"name": name, "dist-tags": {"latest": version},
                                       "versions": {version: package | {"dist": dist}}}).encode())

    def answer(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
