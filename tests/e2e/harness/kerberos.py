"""A throwaway Kerberos realm: a KDC of its own on loopback, whose files are all in one directory."""

import os
import shutil

from harness import process, wait

REALM = "TUNNEL.TEST"
PATH = os.environ["PATH"] + ":/usr/sbin"


def missing():
    """Why there can be no realm here; None: there can."""
    lacking = [tool for tool in ("krb5kdc", "kdb5_util", "kadmin.local") if not shutil.which(tool, path=PATH)]
    return f"needs {', '.join(lacking)}: scripts/install-deps e2e" if lacking else None


class Realm:
    def __init__(self, directory, processes):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.port = directory, wait.free_port()
        (directory / "kdc.conf").write_text(
            f"[logging]\n kdc = STDERR\n[kdcdefaults]\n kdc_listen = \"\"\n kdc_tcp_listen = 127.0.0.1:{self.port}\n"
            f"[realms]\n {REALM} = {{\n  database_name = {directory}/principal\n  key_stash_file = {directory}/stash\n"
            f"  acl_file = {directory}/acl\n  supported_enctypes = aes256-cts-hmac-sha1-96:normal\n }}\n", encoding="ascii")
        self.config = self.write_config("krb5.conf", self.port)
        self.env = {"KRB5_CONFIG": str(self.config), "KRB5_KDC_PROFILE": str(directory / "kdc.conf"), "PATH": PATH}
        process.run(["kdb5_util", "create", "-s", "-r", REALM, "-P", "throwaway"], 60, env=self.env)
        self.kdc = processes.start(["krb5kdc", "-n", "-r", REALM], "kdc", env={**os.environ, **self.env})
        wait.until(lambda: wait.port_open("127.0.0.1", self.port), 30, "the KDC to listen")

    def write_config(self, name, port):
        """A krb5.conf that looks for the KDC at that port, over TCP alone."""
        path = self.directory / name
        path.write_text(f"[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n"
                        f" udp_preference_limit = 1\n[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n", encoding="ascii")
        return path

    def keytab(self, principal):
        """Of a principal, which is made for it."""
        path = self.directory / (principal.replace("/", "-") + ".keytab")
        for query in (f"addprinc -randkey {principal}", f"ktadd -k {path} {principal}"):
            process.run(["kadmin.local", "-r", REALM, "-q", query], 60, env=self.env)
        return path

    def jaas(self, principal):
        """What a Java program logs in by."""
        return ("com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true "
                f'keyTab="{self.keytab(principal)}" principal="{principal}@{REALM}";')
