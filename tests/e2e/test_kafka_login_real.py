"""--kafka-login at real brokers with SASL_SSL and the standard authorizer: one identity, one principal, and what follows from that."""

import time
import uuid

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType, ScramCredentialInfo,
                                   ScramMechanism, UserScramCredentialUpsertion)

from conftest import FULL
from harness import kafka, process, secure, tunnel, wait

pytestmark = [pytest.mark.tunnel, pytest.mark.kafka]

REAUTHENTICATION_MS = 10_000
LOAD_S = 120 if FULL else 35
PASSWORDS = {"svc-orders": "orders' secret", "svc-rest": "rest's secret"}
AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"


class Broker(secure.Broker):
    def settings(self):
        # Who uses the plaintext listeners is the test itself, and the other brokers.
        return super().settings() | {
            "authorizer.class.name": AUTHORIZER, "super.users": "User:ANONYMOUS",
            "listener.name.sasltls.scram-sha-512.connections.max.reauth.ms": REAUTHENTICATION_MS,
            "listener.name.sasltls.plain.connections.max.reauth.ms": REAUTHENTICATION_MS,
        }


class Cluster(secure.Cluster):
    broker_class = Broker

    def start(self, deadline=90):
        super().start(deadline)
        for user, password in PASSWORDS.items():
            upsertion = UserScramCredentialUpsertion(user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192), password.encode())
            admin = self.admin()
            for future in admin.alter_user_scram_credentials([upsertion]).values():
                future.result(30)

    def allow(self, user, resource, name, *operations):
        acls = [AclBinding(resource, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
                for operation in operations]

        def created():
            """On a busy machine a broker that has just started may not answer this at all; asking twice does no harm."""
            admin = self.admin()
            try:
                return [future.result(12) for future in admin.create_acls(acls, request_timeout=10).values()]
            except KafkaException:
                return None
        wait.until(created, 90, f"what {user} may do")

    def log(self):
        return "".join(b.process.log() for b in self.brokers)


@pytest.fixture(scope="module")
def real(session_processes, tmp_path_factory, pki):
    cluster = Cluster(tmp_path_factory.mktemp("authorizer"), session_processes, pki)
    try:
        cluster.start()
        cluster.topic = cluster.create_topic(2, 2)
        cluster.group = f"group-{uuid.uuid4().hex[:8]}"
        cluster.allow("svc-orders", ResourceType.TOPIC, cluster.topic, AclOperation.WRITE, AclOperation.READ, AclOperation.DESCRIBE)
        cluster.allow("svc-orders", ResourceType.GROUP, cluster.group, AclOperation.READ)
        cluster.allow("svc-rest", ResourceType.TOPIC, cluster.topic, AclOperation.DESCRIBE)
        yield cluster
    finally:
        cluster.stop(hard=True)


@pytest.fixture
def start(pair, real, tmp_path):
    """start(who) -> bootstrap address of that identity; all at one server."""
    tokens, logins = tmp_path / "tokens", tmp_path / "logins"
    tokens.write_text("token-of-orders orders\ntoken-of-eve eve\n")
    lines = []
    for rule, identity, user in (("orders", "orders", "svc-orders"), ("rest", "*", "svc-rest")):
        secret = tmp_path / f"{user}.secret"
        secret.write_text(PASSWORDS[user])
        lines += [f"{rule}.identity={identity}", f"{rule}.mechanism=SCRAM-SHA-512", f"{rule}.user={user}", f"{rule}.password-file={secret}"]
    logins.write_text("\n".join(lines) + "\n")

    class Start:
        server = pair.server(kafka=real.bootstrap_of("SASLTLS"), secrets=[*PASSWORDS.values()],
                             args=["--kafka-tls", "--kafka-ca", real.pki.ca, "--token-file", tokens, "--kafka-login", logins,
                                   "--log-level", "debug"])

        def __call__(self, who):
            token = tmp_path / f"{who}.token"
            token.write_text(f"token-of-{who}")
            client = pair.client(self.server, kafka={"kafka": 0}, args=["--token-file", token])
            return f"localhost:{tunnel.port(client, 'kafka')}"
    return Start()


def produce(bootstrap, topic, value):
    """None, or the error that the client reports."""
    found = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "message.timeout.ms": 30_000})
    producer.produce(topic, value, callback=lambda error, _: found.append(error))
    producer.flush(40)
    return found[0]


def produce_by_java(bootstrap, topic):
    argv = kafka.java("org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", "1", "--record-size", "10",
                      "--throughput", "-1", "--producer-props", f"bootstrap.servers={bootstrap}", "enable.idempotence=false", "max.block.ms=30000", heap="256m")
    done = process.run(argv, 90, check=False)
    return done.stdout + done.stderr


def test_two_identities_are_two_principals(start, real):
    """One may write where the other may not, and each client hears of its own authorization; the brokers' log has both."""
    orders, eve = start("orders"), start("eve")
    assert produce(orders, real.topic, b"of orders") is None
    error = produce(eve, real.topic, b"of eve")
    assert error is not None and error.name() == "TOPIC_AUTHORIZATION_FAILED", error
    assert "TopicAuthorizationException" in produce_by_java(eve, real.topic)
    assert "Exception" not in produce_by_java(orders, real.topic)

    consumer = Consumer({"bootstrap.servers": eve, "group.id": real.group, "auto.offset.reset": "earliest"})
    consumer.subscribe([real.topic])
    message = consumer.poll(30)
    assert message is not None and message.error() and "AUTHORIZATION_FAILED" in message.error().name(), message
    consumer.close()

    def told(user, verdict):
        return f"Principal = User:{user} is {verdict} operation = WRITE"
    wait.until(lambda: told("svc-orders", "Allowed") in real.log() and told("svc-rest", "Denied") in real.log(), 20,
               "both principals in the brokers' log")
    assert told("svc-rest", "Allowed") not in real.log()


def test_logging_in_again_under_load(start, real, figure):
    """connections.max.reauth.ms=10000: nothing is lost, doubled or reordered."""
    bootstrap = start("orders")
    failures, sent = [], 0
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 2,
                         "error_cb": failures.append})
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": real.group, "error_cb": failures.append})
    offsets = [TopicPartition(real.topic, p, consumer.get_watermark_offsets(TopicPartition(real.topic, p), 20)[1]) for p in range(2)]
    consumer.assign(offsets)
    received, until = {0: [], 1: []}, time.monotonic() + LOAD_S

    def take(seconds):
        for message in consumer.consume(500, seconds):
            assert message.error() is None, message.error()
            received[message.partition()].append(int(message.value()[:12]))
    while time.monotonic() < until:
        for _ in range(20):
            producer.produce(real.topic, b"%012d" % sent + b"x" * 500, partition=sent % 2,
                             callback=lambda error, _: failures.append(error) if error else None)
            sent += 1
        producer.poll(0)
        take(0.02)
    assert producer.flush(60) == 0
    wait.until(lambda: take(0.5) or sum(map(len, received.values())) >= sent, 60, "all records")
    consumer.close()
    assert failures == []
    assert received == {p: list(range(p, sent, 2)) for p in range(2)}
    renewed = start.server.events("login_renewed")
    figure("records", f"{sent} in {LOAD_S} s, {len(renewed)} logins again")
    # Producer and consumer, each with a connection to both brokers: every 7.5 to 9 s.
    assert len(renewed) >= 4 * (LOAD_S // 9 - 1), len(renewed)
    assert not start.server.events("relogin_failed")
    cut = [e for e in start.server.events("audit_stream") if e["end"] not in ("complete", "peer_reset")]
    assert not cut, cut


def test_a_password_that_brokers_do_not_know(pair, real, tmp_path):
    secret, logins, tokens = tmp_path / "secret", tmp_path / "logins", tmp_path / "token"
    secret.write_text("a guess")
    tokens.write_text("token-of-orders")
    logins.write_text(f"a.mechanism=SCRAM-SHA-512\na.user=svc-orders\na.password-file={secret}\n")
    server = pair.server(kafka=real.bootstrap_of("SASLTLS"),
                         args=["--kafka-tls", "--kafka-ca", real.pki.ca, "--token-file", tokens, "--kafka-login", logins])
    client = pair.client(server, kafka={"kafka": 0}, args=["--token-file", tokens])
    consumer = Consumer({"bootstrap.servers": f"localhost:{tunnel.port(client, 'kafka')}", "group.id": "g", "log_level": 0})
    with pytest.raises(KafkaException):
        consumer.list_topics(timeout=6)
    consumer.close()
    event = server.wait_for("login_failed")
    assert "SASL_AUTHENTICATION_FAILED" in event["reason"] and event["user"] == "svc-orders"
    # The client tried many times; the brokers were asked after 1, 2 and 4 s.
    assert len(server.events("login_failed")) <= 4 < len(server.events("stream_refused"))
