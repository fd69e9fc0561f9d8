"""Kafka clients that keep SSL and SASL_SSL: each with its own settings but bootstrap and CA, beside clients without TLS, on one port."""

import json
import types

import pytest

from harness import cache, clients, process, secure, tunnel
from harness.secure import PASSWORD, USER

# Sanitizers see TLS at a listener in test_listener_tls.py.
pytestmark = [pytest.mark.tunnel, pytest.mark.again]
CLIENTS = ["java", "confluent", "kafka-python", "aiokafka", "franz-go", "sarama", "kafkajs"]
# Kind -> the security protocol, the mechanism, whether the client shows a certificate.
KINDS = {"SSL": ("SSL", None, False), "SASL_SSL PLAIN": ("SASL_SSL", "PLAIN", False), "SASL_SSL SCRAM": ("SASL_SSL", "SCRAM-SHA-512", False),
         "mutual TLS": ("SSL", None, True), "plaintext": ("PLAINTEXT", None, False), "SASL_PLAINTEXT": ("SASL_PLAINTEXT", "SCRAM-SHA-512", False)}


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def listeners(request, secure_cluster, session_processes, pki, state):
    """The client: a port for brokers without a login, one for those with; each takes TLS and plaintext."""
    maker = tunnel.Tunnel(request.getfixturevalue("binaries"), session_processes, pki)
    server = maker.server(kafka=f"open={secure_cluster.bootstrap_of('TLS')}", args=[
        "--kafka", f"login={secure_cluster.bootstrap_of('SASLTLS')}", "--kafka-tls", "--kafka-ca", pki.ca], secrets=[PASSWORD])
    return maker.client(server, kafka={"open": 0, "login": 0}, secrets=[PASSWORD], args=[
        "--listener-tls", "auto", "--listener-client-ca", pki.ca, "--state-dir", state, "--log-level", "debug"])


def plainly(protocol, mechanism, trusted, certificate):
    """What the Go and Node programs are told."""
    said = {"ca": trusted.ca} if "SSL" in protocol else {}
    said |= {"cert": certificate[0], "key": certificate[1]} if certificate else {}
    return said | ({"mechanism": mechanism, "user": USER, "password": PASSWORD} if mechanism else {})


def run_program(client, **args):
    argv = ["node", cache.node_client().with_name("secure.js")] if client == "kafkajs" else [cache.go_clients(), f"secure {client}"]
    done = process.run([*argv, *clients.arguments(args)], 120)
    assert json.loads(done.stdout.strip().splitlines()[-1]) == {"produce and consume": "ok"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", CLIENTS)
def test_with_its_own_settings(client, kind, listeners, secure_cluster, state, pki):
    protocol, mechanism, shows = KINDS[kind]
    trusted = types.SimpleNamespace(ca=state / "listener-ca.pem", authority=pki.authority)
    bootstrap = f"localhost:{tunnel.port(listeners, 'login' if mechanism else 'open')}"
    certificate = pki.client if shows else None
    topic = secure_cluster.create_topic(1, 2)
    mark = listeners.mark()
    if client in clients.SCRIPTS or client == "java":
        properties = secure.properties(client, protocol, mechanism, PASSWORD, trusted, certificate)
        assert clients.produce(client, bootstrap, topic, 50, 50, partitions=1, **properties)["records"] == 50
        assert clients.consume(client, bootstrap, topic, f"g-{topic}", 50, **properties)["records"] == 50
    else:
        run_program(client, bootstrap=bootstrap, topic=topic, **plainly(protocol, mechanism, trusted, certificate))
    # Bootstrap and brokers' listeners alike, and none of it otherwise.
    opened = listeners.events("connection_opened", since=mark)
    assert len({event["listener"] for event in opened}) > 1
    assert {event["security"].startswith("TLS") for event in opened} == {"SSL" in protocol}
