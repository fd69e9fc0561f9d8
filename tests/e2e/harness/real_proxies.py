"""Real proxies on the client's way out: Squid (CONNECT), microsocks, Dante and `ssh -D` (SOCKS5), each with the least settings it needs.

  Squid(processes, pki, login="user:password")    None: whoever comes
  .url()      what goes into --proxy
  .kill()     with a signal that leaves it no time
  .start()    again, at the same port
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from harness import process, wait


def descendants(pid):
    """The processes that it has started, and theirs."""
    with contextlib.suppress(OSError):
        children = [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
        return children + [other for child in children for other in descendants(child)]
    return []


class RealProxy:
    name = None
    scheme = "socks5h"
    may_be_missing = False

    def __init__(self, processes, pki, login=None):
        self.processes, self.pki, self.login = processes, pki, login
        self.port = wait.free_port()
        # Some give up root, and then must still be able to read what is theirs.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name}."))
        self.directory.chmod(0o755)
        self.prepare()
        self.start()

    @classmethod
    def path(cls, name=None):
        return shutil.which(name or cls.name, path=f"{os.environ['PATH']}:/usr/sbin")

    @classmethod
    def program(cls, name=None):
        return cls.path(name) or f"{name or cls.name}, which is not installed"

    def prepare(self):
        pass

    def argv(self):
        raise NotImplementedError

    def start(self):
        self.process = self.processes.start([str(a) for a in self.argv()], self.name)
        wait.until(lambda: wait.port_open("127.0.0.1", self.port), 20, f"{self.name} listens: {self.process.tail()}", 0.05)

    def kill(self):
        """With the processes that have the connections, where these are others."""
        family = descendants(self.process.pid)
        self.process.popen.kill()
        self.process.wait_exit(20)
        self.process.checked = True
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait.until(lambda: not wait.port_open("127.0.0.1", self.port), 20, f"{self.name} is gone", 0.05)

    def close(self):
        if not self.process.checked:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, login="own", scheme=None):
        login = self.login if login == "own" else login
        return f"{scheme or self.scheme}://{login + '@' if login else ''}localhost:{self.port}"


class Squid(RealProxy):
    name, scheme = "squid", "http"

    def prepare(self):
        lines = [f"http_port 127.0.0.1:{self.port}", f"pid_filename {self.directory}/pid", "cache deny all", "access_log none",
                 f"cache_log stdio:{self.directory}/log", f"coredump_dir {self.directory}", "shutdown_lifetime 1 second",
                 "visible_hostname squid", "pinger_enable off", f"acl forbidden port {FORBIDDEN}", "http_access deny forbidden"]
        if self.login:
            user, password = self.login.split(":")
            hashed = process.run(["openssl", "passwd", "-apr1", password], 30).stdout.strip()
            (self.directory / "users").write_text(f"{user}:{hashed}\n", encoding="ascii")
            lines += [f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {self.directory}/users", "auth_param basic children 1",
                      "auth_param basic realm corp", "acl known proxy_auth REQUIRED", "http_access allow known", "http_access deny all"]
        else:
            lines += ["http_access allow all"]
        (self.directory / "conf").write_text("\n".join(lines) + "\n", encoding="ascii")
        if os.geteuid() == 0:
            shutil.chown(self.directory, "proxy")

    def argv(self):
        return [self.program(), "-N", "-n", f"squid{self.port}", "-f", self.directory / "conf"]


FORBIDDEN = 9


class Microsocks(RealProxy):
    name = "microsocks"

    def argv(self):
        user, password = self.login.split(":") if self.login else (None, None)
        return [self.program(), "-i", "127.0.0.1", "-p", self.port, *(["-u", user, "-P", password] if user else [])]


class Dante(RealProxy):
    """Logins would be those of the system's users."""

    name = "danted"
    may_be_missing = True

    def prepare(self):
        (self.directory / "conf").write_text(
            f"logoutput: {self.directory}/log\ninternal: 127.0.0.1 port = {self.port}\nexternal: lo\nexternal.rotation: none\n"
            "socksmethod: none\nclientmethod: none\nuser.privileged: root\nuser.unprivileged: nobody\n"
            "client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\n"
            f"socks block {{ from: 0.0.0.0/0 to: 0.0.0.0/0 port = {FORBIDDEN} }}\n"
            "socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\n", encoding="ascii")

    def argv(self):
        return [self.program(), "-N", "1", "-p", self.directory / "pid", "-f", self.directory / "conf"]


class SshDynamic(RealProxy):
    """The ssh client listens; a server of its own is behind it."""

    name = "ssh"

    def prepare(self):
        for key in ("host", "user"):
            process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / key], 30)
        (self.directory / "authorized").write_bytes((self.directory / "user.pub").read_bytes())
        self.behind = wait.free_port()
        (self.directory / "sshd").write_text(
            f"Port {self.behind}\nListenAddress 127.0.0.1\nHostKey {self.directory}/host\nAuthorizedKeysFile {self.directory}/authorized\n"
            "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\n", encoding="ascii")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self.server = self.processes.start([self.program("sshd"), "-D", "-e", "-f", self.directory / "sshd"], "sshd")
        wait.until(lambda: wait.port_open("127.0.0.1", self.behind), 20, f"sshd listens: {self.server.tail()}", 0.05)

    def argv(self):
        user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
        return [self.program(), "-N", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-i", self.directory / "user", "-p", self.behind,
                "-D", f"127.0.0.1:{self.port}", f"{user}@127.0.0.1"]

    def close(self):
        super().close()
        self.server.popen.terminate()
        self.server.wait_exit(20)
        self.server.checked = True


ALL = {proxy.name: proxy for proxy in (Squid, Microsocks, Dante, SshDynamic)}
