"""docs/troubleshooting.md: what it says a Kafka client prints, that client prints; and the log's sentence beside it is written.

Numbers (ports, times, ids) may be others. Of each row the first message is looked for; later ones come when the client gives up.
"""

import re
import sys

import pytest

from harness import cache, fakes, kafka, secure, tunnel, wait

pytestmark = [pytest.mark.tunnel, pytest.mark.documents]

LIBRDKAFKA = """
import logging, sys
from confluent_kafka import Consumer
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "g", "log_level": 7, **dict(a.split("=", 1) for a in sys.argv[2:])},
                    logger=logging.getLogger())
consumer.subscribe(["demo"])
while True:
    consumer.poll(0.1)
    sys.stdout.flush()
"""
KAFKA_PYTHON = """
import logging, sys
from kafka import KafkaProducer
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
KafkaProducer(bootstrap_servers=sys.argv[1], bootstrap_timeout_ms=60000, **dict(a.split("=", 1) for a in sys.argv[2:]))
"""


def quoted(heading, client):
    """The first message of that client's row below that heading."""
    text = (cache.ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    section = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^##|\Z)", text, re.M | re.S)
    assert section, f"no heading {heading}"
    row = re.search(rf"^\| {re.escape(client)} \| `([^`]+)`", section[1], re.M)
    assert row, f"no row of {client} below {heading}"
    return section[1], row[1]


def alike(text):
    """Without what differs from one run to the next: numbers, and whether an address has a name before it."""
    return re.sub(r"\d+", "0", text.replace("localhost/", "/"))


@pytest.fixture
def prints(processes, tmp_path):
    """prints(client, bootstrap, options): that client at work; what it prints is looked at with says()."""
    def start(client, bootstrap, options):
        if client == "Java":
            config = tmp_path / "client.properties"
            config.write_text("".join(f"{k}={v}\n" for k, v in options.items()), encoding="ascii")
            line = tmp_path / "line"
            line.write_text("a record\n", encoding="ascii")
            argv = kafka.java("org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", bootstrap, "--topic", "demo",
                              "--command-config", config)
            with open(line, "rb") as stdin:
                return processes.start(argv, client, stdin=stdin)
        else:
            script = LIBRDKAFKA if client == "librdkafka" else KAFKA_PYTHON
            names = {k if client == "librdkafka" else k.replace(".", "_"): v for k, v in options.items()}
            argv = [sys.executable, "-c", script, bootstrap, *(f"{k}={v}" for k, v in names.items())]
        return processes.start(argv, client)
    return start


def says(program, heading, deadline=60):
    _, message = quoted(heading, program.name)
    wait.until(lambda: alike(message) in alike(program.stdout() + program.log()), deadline,
               lambda: f"{program.name} to print what docs/troubleshooting.md quotes: {message}\n{program.stdout()}{program.log()}")
    program.kill()


CLIENTS = [pytest.param("Java", marks=pytest.mark.java), "librdkafka", "kafka-python"]


@pytest.mark.parametrize("client", CLIENTS)
def test_connection_refused(client, prints):
    with fakes.refusing_port("127.0.0.1") as port:
        says(prints(client, f"127.0.0.1:{port}", {}), "Connection refused")


@pytest.mark.parametrize("client", CLIENTS)
def test_no_link(client, prints, pair):
    heading = "The connection is taken, then closed, again and again"
    with fakes.refusing_port("127.0.0.1") as port:
        tunnel_client = pair.client(f"https://localhost:{port}", kafka={"kafka": 0}, ready=False, args=["--connect-wait", "1"])
        says(prints(client, f"127.0.0.1:{tunnel.port(tunnel_client, 'kafka')}", {}), heading)
        line = tunnel_client.wait_for("connection_reset")
        assert line["body"] in quoted(heading, client)[0]


@pytest.mark.parametrize("client", CLIENTS)
def test_client_tries_tls(client, prints, pair, cluster):
    heading = "The client tries TLS"
    tunnel_client = pair.client(pair.server(kafka=cluster.bootstrap), kafka={"kafka": 0})
    port = tunnel.port(tunnel_client, "kafka")
    says(prints(client, f"127.0.0.1:{port}", {"security.protocol": "SSL"}), heading)
    line = tunnel_client.wait_for("connection_reset")
    assert line["reason"].startswith("this listener speaks plaintext Kafka, but the client tried TLS")
    assert "this listener speaks plaintext Kafka, but the client tried TLS" in quoted(heading, client)[0]


AIOKAFKA = """
import asyncio, ssl, sys
from aiokafka import AIOKafkaProducer
async def run():
    context = ssl.create_default_context(cafile=sys.argv[2])
    await AIOKafkaProducer(bootstrap_servers=sys.argv[1], security_protocol="SSL", ssl_context=context).start()
asyncio.run(run())
"""
TRUSTING = {
    "Java": lambda ca: {"security.protocol": "SSL", "ssl.truststore.type": "PEM", "ssl.truststore.location": ca},
    "librdkafka": lambda ca: {"security.protocol": "SSL", "ssl.ca.location": ca},
    "kafka-python": lambda ca: {"security.protocol": "SSL", "ssl.cafile": ca},
}
PROGRAMS = {
    "aiokafka": lambda: [sys.executable, "-c", AIOKAFKA],
    "franz-go": lambda: [cache.go_clients(), "secure franz-go"],
    "Sarama": lambda: [cache.go_clients(), "secure sarama"],
    "kafkajs": lambda: ["node", cache.node_client().with_name("secure.js")],
}


# franz-go tries for as long as it is given: a minute.
@pytest.mark.parametrize("client", [*CLIENTS, *(pytest.param(name, marks=pytest.mark.slow) for name in PROGRAMS)])
def test_listener_is_not_trusted(client, prints, pair, processes, pki, tmp_path):
    heading = "The client does not trust the listener's certificate"
    with fakes.Broker() as broker:
        broker.brokers = [broker.node(1)]
        tunnel_client = pair.client(pair.server(kafka=broker.address), kafka={"kafka": 0},
                                    args=["--listener-tls", "auto", "--state-dir", tmp_path / "state"])
        bootstrap = f"127.0.0.1:{tunnel.port(tunnel_client, 'kafka')}"
        if client in TRUSTING:
            program = prints(client, bootstrap, TRUSTING[client](pki.ca))
        elif client == "aiokafka":
            program = processes.start([*PROGRAMS[client](), bootstrap, pki.ca], client)
        else:
            program = processes.start([*PROGRAMS[client](), f"bootstrap={bootstrap}", "topic=demo", f"ca={pki.ca}"], client)
        says(program, heading, 150)
        line = tunnel_client.wait_for("listener_tls_failed")
        assert line["body"].split(":")[0] in quoted(heading, client)[0]


LOGIN = {
    "Java": {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.jaas.config":
             'org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="wrong";'},
    "librdkafka": {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "alice", "sasl.password": "wrong"},
    "kafka-python": {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.plain.username": "alice",
                     "sasl.plain.password": "wrong"},
}


@pytest.mark.parametrize("client", CLIENTS)
def test_login_where_nobody_asks(client, prints, pair, cluster):
    tunnel_client = pair.client(pair.server(kafka=cluster.bootstrap), kafka={"kafka": 0})
    port = tunnel.port(tunnel_client, "kafka")
    says(prints(client, f"127.0.0.1:{port}", LOGIN[client]), "The client logs in where nobody asks")


@pytest.fixture(scope="module")
def brokers_with_login(session_processes, tmp_path_factory, pki):
    cluster = secure.Cluster(tmp_path_factory.mktemp("login"), session_processes, pki, nodes=1)
    try:
        cluster.start()
        yield cluster.bootstrap_of("SASLPLAIN")
    finally:
        cluster.stop(hard=True)


@pytest.mark.kafka
@pytest.mark.parametrize("client", CLIENTS)
def test_brokers_want_a_login(client, prints, pair, brokers_with_login):
    heading = "The brokers want a login"
    server = pair.server(kafka=brokers_with_login)
    says(prints(client, f"127.0.0.1:{tunnel.port(pair.client(server, kafka={'kafka': 0}), 'kafka')}", {}), heading)
    said = server.wait_for("broker_hung_up")["body"].split(",")[0]
    assert said in quoted(heading, client)[0]


# kafka-python shows the broker's answer at an attempt that is left to chance (docs/compatibility.md).
@pytest.mark.kafka
@pytest.mark.parametrize("client", ["Java", "librdkafka"])
def test_login_fails(client, prints, pair, brokers_with_login):
    port = tunnel.port(pair.client(pair.server(kafka=brokers_with_login), kafka={"kafka": 0}), "kafka")
    says(prints(client, f"127.0.0.1:{port}", LOGIN[client]), "The login fails")
