"""Real ingresses, each with the settings that docs/ingress.md gives for it: only ports, names and files are others."""

import os
import re
import shutil
import signal

from harness import cache, wait

APACHE_MODULES = "/usr/lib/apache2/modules"


def settings(name):
    """The block of docs/ingress.md."""
    text = (cache.ROOT / "docs" / "ingress.md").read_text(encoding="utf-8")
    found = re.search(rf"^<!-- ingress: {name} -->\n\n```\w+\n(.*?)^```", text, re.M | re.S)
    assert found, f"docs/ingress.md has no block {name}"
    return found[1]


def replaced(text, *changes):
    """Each change is (regular expression, replacement), and must find something."""
    for old, new in changes:
        text, count = re.subn(old, new, text, flags=re.M)
        assert count, f"the settings have nothing like {old}"
    return text


class Door:
    """`servers`: ports of tunnel-servers. `change(text)`: what the test wants otherwise."""

    name = program = None
    file = "config"
    idle = ((r"\b1h\b", "3s"),)  # from the time limit of the document to three seconds
    deaf = ()  # takes out what passes on the upgrade
    kill = signal.SIGKILL
    http2 = True
    header_of_8_kib = False  # no larger one passes

    def __init__(self, processes, directory, pki, servers, change=lambda text: text):
        self.processes, self.directory = processes, directory / self.name
        self.directory.mkdir()
        self.port = wait.free_port()
        cert, key = pki.server
        shutil.copy(cert, self.directory / "server.pem")
        shutil.copy(key, self.directory / "server.key")
        both = (self.directory / "server.pem").read_bytes() + (self.directory / "server.key").read_bytes()
        (self.directory / "both.pem").write_bytes(both)
        text = self.two(settings(self.name)) if len(servers) > 1 else settings(self.name)
        text = replaced(change(text), (r"/etc/tunnel", str(self.directory)), (r"\b8443\b", str(self.port)))
        for placeholder, port in zip(("8080", "8081"), servers):
            text = replaced(text, (rf"\b{placeholder}\b", str(port)))
        self.config = self.directory / self.file
        self.config.write_text(self.whole(text), encoding="utf-8")
        self.start()

    @classmethod
    def path(cls):
        """None where it is not installed."""
        return shutil.which(cls.program, path=f"{os.environ['PATH']}:/usr/sbin")

    def whole(self, text):
        """With what a system's own file has around it."""
        return text

    def two(self, text):
        """With two instances, without stickiness."""
        raise NotImplementedError

    def argv(self):
        raise NotImplementedError

    def start(self):
        self.process = self.processes.start([str(a) for a in self.argv()], self.name,
                                            env={**os.environ, "HOME": str(self.directory), "XDG_DATA_HOME": str(self.directory)})
        wait.until(lambda: wait.port_open("127.0.0.1", self.port), 20, f"{self.name} listens: {self.process.tail()}", 0.05)

    def stop(self):
        self.process.popen.send_signal(self.kill)
        self.process.wait_exit(20)
        self.process.checked = True
        wait.until(lambda: not wait.port_open("127.0.0.1", self.port), 20, f"{self.name} is gone", 0.05)

    def restart(self):
        self.stop()
        self.start()


class Nginx(Door):
    name = program = "nginx"
    header_of_8_kib = True
    deaf = ((r"^.*proxy_set_header (Upgrade|Connection).*\n", ""),)
    kill = signal.SIGTERM  # its workers would outlive a SIGKILL

    def whole(self, text):
        temporary = " ".join(f"{kind}_temp_path {self.directory}/{kind};"
                             for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        return (f"daemon off; {user} worker_processes 1; pid {self.directory}/pid; error_log {self.directory}/error.log;\n"
                f"events {{ }}\nhttp {{ access_log off; {temporary}\n{text}}}\n")

    def two(self, text):
        return "upstream both { server 127.0.0.1:8080; server 127.0.0.1:8081; }\n" + replaced(
            text, (r"http://127\.0\.0\.1:8080", "http://both"))

    def argv(self):
        return [self.path(), "-p", self.directory, "-c", self.config]


class Haproxy(Door):
    name = program = "haproxy"
    deaf = ((r"(default_backend tunnel)", r"http-request del-header Upgrade\n    \1"),)

    def two(self, text):
        return replaced(text, (r"^(    server) one 127\.0\.0\.1:8080 (.*)$", r"\1 one 127.0.0.1:8080 \2\n\1 two 127.0.0.1:8081 \2"))

    def argv(self):
        return [self.path(), "-db", "-f", self.config]


class Apache(Door):
    name, program = "apache", "apache2"
    idle = ()  # it does not cut what is upgraded
    deaf = ((r" upgrade=websocket", ""),)
    header_of_8_kib = True
    http2 = False  # without mod_http2, which does not do upgrades on the connections that it has
    kill = signal.SIGTERM  # as nginx

    def whole(self, text):
        modules = ["mpm_event", "ssl", "socache_shmcb", "authz_core", "proxy", "proxy_http", "proxy_balancer", "slotmem_shm",
                   "lbmethod_byrequests"]
        load = "".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n" for name in modules)
        return (f"ServerRoot {self.directory}\nDefaultRuntimeDir {self.directory}\nPidFile {self.directory}/pid\n"
                f"ErrorLog {self.directory}/error.log\nServerName localhost\n{load}{text}")

    def two(self, text):
        members = "".join(f"    BalancerMember http://127.0.0.1:{port} upgrade=websocket\n" for port in (8080, 8081))
        return replaced(text, (r'ProxyPass "/" "http://127.0.0.1:8080/" upgrade=websocket',
                               f"<Proxy balancer://both>\n{members}    </Proxy>\n    ProxyPass / balancer://both/"))

    def argv(self):
        return [self.path(), "-DFOREGROUND", "-f", self.config]


class Caddy(Door):
    name = program = "caddy"
    idle = ()  # it has no such limit
    deaf = ((r"(reverse_proxy 127\.0\.0\.1:8080)", r"\1 {\n        header_up -Upgrade\n    }"),)

    def whole(self, text):
        return "{\n    admin off\n    auto_https disable_redirects\n}\n" + replaced(text, ("tunnel.example.com", "localhost"))

    def two(self, text):
        return replaced(text, (r"(127\.0\.0\.1:8080)", r"\1 127.0.0.1:8081"))

    def argv(self):
        return [self.path(), "run", "--adapter", "caddyfile", "--config", self.config]


class Envoy(Door):
    name = "envoy"
    file = "config.yaml"
    idle = ((r"stream_idle_timeout: 3600s", "stream_idle_timeout: 3s"),)
    deaf = ((r"^ *upgrade_configs:.*\n", ""),)

    @classmethod
    def path(cls):
        return cache.envoy()

    def two(self, text):
        return replaced(text, (r"^(        - endpoint: .*)8080(.*)$", r"\g<1>8080\2\n\g<1>8081\2"))

    def argv(self):
        return [self.path(), "-c", self.config, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"]


ALL = {door.name: door for door in (Nginx, Haproxy, Apache, Caddy, Envoy)}
