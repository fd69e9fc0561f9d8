"""A cluster whose brokers have a listener of every kind of security, and what clients must be told for each.

The user is alice; the brokers' certificates are for 127.0.0.2.
"""

import base64
import json
import time

from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from harness import kafka

# Name of the listener -> its security protocol, as Kafka calls both.
LISTENERS = {"SASLPLAIN": "SASL_PLAINTEXT", "SASLTLS": "SASL_SSL", "TLS": "SSL", "MTLS": "SSL"}
MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
USER, PASSWORD = "alice", "alice-secret"
# On this listener, with this mechanism, a login is good for so long (KIP-368).
REAUTHENTICATION_MS = 3000
_SECURITY = "org.apache.kafka.common.security"
_SCRAM = f"{_SECURITY}.scram.ScramLoginModule required"
SERVER_JAAS = {
    "PLAIN": f'{_SECURITY}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
    "SCRAM-SHA-256": f"{_SCRAM};",
    "SCRAM-SHA-512": f"{_SCRAM};",
    "OAUTHBEARER": f'{_SECURITY}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
}


class Broker(kafka.Broker):
    def __init__(self, *args):
        super().__init__(*args)
        self.ports = dict(zip(LISTENERS, kafka.free_ports(len(LISTENERS))))

    def settings(self):
        settings = super().settings()
        for name in ("listeners", "advertised.listeners"):
            settings[name] += "".join(f",{listener}://{kafka.HOST}:{port}" for listener, port in self.ports.items())
        settings["listener.security.protocol.map"] += "".join(f",{k}:{v}" for k, v in LISTENERS.items())
        settings["inter.broker.listener.name"] = "PLAINTEXT"
        settings["ssl.keystore.type"] = settings["ssl.truststore.type"] = "PEM"
        settings["ssl.keystore.location"] = self.cluster.keystore
        settings["ssl.truststore.location"] = self.cluster.pki.ca
        settings["listener.name.mtls.ssl.client.auth"] = "required"
        settings["listener.name.saslplain.scram-sha-512.connections.max.reauth.ms"] = REAUTHENTICATION_MS
        for listener in ("saslplain", "sasltls"):
            settings[f"listener.name.{listener}.sasl.enabled.mechanisms"] = ",".join(MECHANISMS)
            for mechanism, jaas in SERVER_JAAS.items():
                settings[f"listener.name.{listener}.{mechanism.lower()}.sasl.jaas.config"] = jaas
        return settings


class Cluster(kafka.Cluster):
    broker_class = Broker

    def __init__(self, directory, processes, pki, nodes=2):
        super().__init__(directory, processes, nodes)
        self.pki = pki
        cert, key = pki.authority.issue("brokers", f"IP:{kafka.HOST}", "serverAuth,clientAuth")
        self.keystore = directory / "brokers.pem"
        self.keystore.write_text(key.read_text(encoding="ascii") + cert.read_text(encoding="ascii"), encoding="ascii")

    def start(self, deadline=90):
        super().start(deadline)
        admin = self.admin()
        users = [UserScramCredentialUpsertion(USER, ScramCredentialInfo(mechanism, 4096), PASSWORD.encode())
                 for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)]
        for user in users:
            for future in admin.alter_user_scram_credentials([user]).values():
                future.result(30)

    def bootstrap_of(self, listener):
        return ",".join(f"{kafka.HOST}:{b.ports[listener]}" for b in self.brokers)


def token():
    """An unsecured JWT, which the brokers' default validator takes."""
    def part(data):
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")
    now = time.time()
    return f"{part({'alg': 'none'})}.{part({'sub': USER, 'iat': now, 'exp': now + 3600})}."


def properties(client, protocol, mechanism=None, password=PASSWORD, pki=None, certificate=None):
    """What a user of that client writes: keys as harness.clients wants them. pki: where the CA is, for TLS."""
    plain = {"java": _java, "confluent": _confluent, "kcat": _confluent}.get(client, _python)
    return plain(protocol, mechanism, password, pki, certificate)


def _java(protocol, mechanism, password, pki, certificate):
    found = {"security.protocol": protocol}
    if "SSL" in protocol:
        found |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": pki.ca}
    if certificate:
        pem = pki.authority.directory / "java-client.pem"
        pem.write_text("".join(path.read_text(encoding="ascii") for path in reversed(certificate)), encoding="ascii")
        found |= {"ssl.keystore.type": "PEM", "ssl.keystore.location": pem}
    if mechanism:
        found["sasl.mechanism"] = mechanism
        if mechanism == "OAUTHBEARER":
            found["sasl.jaas.config"] = \
                f'{_SECURITY}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="{USER}";'
        else:
            module = f"{_SECURITY}.plain.PlainLoginModule required" if mechanism == "PLAIN" else _SCRAM
            found["sasl.jaas.config"] = f'{module} username="{USER}" password="{password}";'
    return {f"prop_{k.replace('.', '__')}": v for k, v in found.items()}


def _confluent(protocol, mechanism, password, pki, certificate):
    found = {"security.protocol": protocol}
    if "SSL" in protocol:
        found["ssl.ca.location"] = pki.ca
    if certificate:
        found |= {"ssl.certificate.location": certificate[0], "ssl.key.location": certificate[1]}
    if mechanism:
        found["sasl.mechanism"] = mechanism
        if mechanism == "OAUTHBEARER":
            found |= {"enable.sasl.oauthbearer.unsecure.jwt": "true", "sasl.oauthbearer.config": f"principal={USER}"}
        else:
            found |= {"sasl.username": USER, "sasl.password": password}
    return {f"prop_{k.replace('.', '__')}": v for k, v in found.items()}


def _python(protocol, mechanism, password, pki, certificate):
    """kafka-python and aiokafka; their programs make the objects that these two want for TLS and OAUTHBEARER."""
    found = {"prop_security_protocol": protocol}
    if "SSL" in protocol:
        found["ca"] = pki.ca
    if certificate:
        found |= {"cert": certificate[0], "key": certificate[1]}
    if mechanism:
        found["prop_sasl_mechanism"] = mechanism
        if mechanism == "OAUTHBEARER":
            found["token"] = token()
        else:
            found |= {"prop_sasl_plain_username": USER, "prop_sasl_plain_password": password}
    return found
