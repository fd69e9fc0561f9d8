"""A throwaway certificate authority, made with the openssl program; the keys live as long as the test session."""

import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from harness import process


PASSPHRASE = "open-sesame-of-the-tests"


def encrypted(key, path, passphrase=PASSPHRASE):
    """A copy of a private key at path that the passphrase opens."""
    process.run(["openssl", "pkcs8", "-topk8", "-v2", "aes256", "-in", key, "-out", path, "-passout", f"pass:{passphrase}"], 30)
    return path


class Authority:
    def __init__(self, directory, name="Test CA", issuer=None):
        """A root; an intermediate authority if there is an issuer."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.cert, self.key = directory / "ca.pem", directory / "ca.key"
        if issuer:
            cert, key = issuer.issue(name, "DNS:ca", authority=True)
            cert.rename(self.cert)
            key.rename(self.key)
            return
        process.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                     "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
                     "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", self.key, "-out", self.cert], 30)

    def issue(self, name, alt_names, usage="serverAuth", authority=False, more="", dates=None, subject=None):
        """(certificate, key) paths; alt_names like "DNS:localhost,IP:127.0.0.1". more: extensions, a line each.
        dates: the first and the last, as 20300101000000Z. subject: "/" for none."""
        cert, key, request = (self.directory / f"{name}.{e}" for e in ("pem", "key", "csr"))
        extensions = self.directory / f"{name}.ext"
        leaf = f"subjectAltName={alt_names}\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n{more}"
        extensions.write_text("basicConstraints=critical,CA:TRUE\n" if authority else leaf, encoding="ascii")
        process.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8",
                     "-subj", subject or f"/CN={name}", "-keyout", key, "-out", request], 30)
        if dates:
            self._sign(request, extensions, dates, cert)
            return cert, key
        process.run(["openssl", "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
                     "-days", "2", "-extfile", extensions, "-out", cert], 30)
        return cert, key

    def crl(self, path, *revoked, days=7):
        """Puts a list in the place of the file, in which the certificates at these paths are; it is current for so many days."""
        key = serialization.load_pem_private_key(self.key.read_bytes(), None)
        issuer = x509.load_pem_x509_certificate(self.cert.read_bytes())
        now = datetime.datetime.now(datetime.timezone.utc)
        begun = now - datetime.timedelta(days=30)
        builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(begun)
        builder = builder.next_update(now + datetime.timedelta(days=days))
        for certificate in revoked:
            serial = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begun).build())
        new = path.with_suffix(".new")
        new.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        os.replace(new, path)
        return path

    def _sign(self, request, extensions, dates, cert):
        """With dates of one's choice, which `openssl x509` of this age cannot."""
        (self.directory / "index.txt").write_text("", encoding="ascii")
        config = self.directory / "ca.cnf"
        config.write_text(f"[ca]\ndefault_ca=a\n[a]\ndatabase={self.directory}/index.txt\nnew_certs_dir={self.directory}\n"
                          "rand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n", encoding="ascii")
        process.run(["openssl", "ca", "-batch", "-notext", "-config", config, "-in", request, "-cert", self.cert, "-keyfile", self.key,
                     "-extfile", extensions, "-startdate", dates[0], "-enddate", dates[1], "-out", cert], 30)


class Pki:
    """server: localhost, 127.0.0.1, ::1; wrong_name: another host; client: a client certificate; other: another CA."""

    def __init__(self, directory):
        self.authority = Authority(directory / "ca")
        self.other = Authority(directory / "other", "Another CA")
        self.ca = self.authority.cert
        self.server = self.authority.issue("server", "DNS:localhost,IP:127.0.0.1,IP:::1")
        self.wrong_name = self.authority.issue("wrong", "DNS:tunnel.example.org,IP:203.0.113.1")
        self.client = self.authority.issue("client", "DNS:laptop", "clientAuth")
        self.other_client = self.other.issue("stranger", "DNS:stranger", "clientAuth")
        self.secrets = [line for cert_key in (self.server, self.client) for line in
                        cert_key[1].read_text(encoding="ascii").splitlines() if len(line) > 40]
