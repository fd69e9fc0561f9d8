"""--keep-names with real brokers and logins that are bound to a broker's name, passed through: GSSAPI with a throwaway realm, and
AWS_MSK_IAM with AWS's own signer and a stand-in for what MSK does. MSK itself is not here."""

import json
import re

import pytest
from confluent_kafka import ElectionType, KafkaError, TopicPartition

from harness import clients, kafka, kerberos, named, names, process, tunnel, wait

pytestmark = [pytest.mark.tunnel, pytest.mark.skipif(not names.possible(), reason="needs mount namespaces"),
              pytest.mark.skipif(kerberos.missing() is not None, reason=kerberos.missing() or "there is a KDC"),
              pytest.mark.timeout(900)]
RECORDS = 2000


@pytest.fixture(scope="module")
def realm(session_processes, tmp_path_factory):
    return kerberos.Realm(tmp_path_factory.mktemp("realm"), session_processes)


@pytest.fixture(scope="module")
def named_cluster(session_processes, tmp_path_factory, realm):
    cluster = named.Cluster(tmp_path_factory.mktemp("named"), session_processes, realm)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop(hard=True)


@pytest.fixture(scope="module")
def logins(realm):
    """{mechanism: what a client writes}; alice is made once."""
    return {"GSSAPI": named.login("GSSAPI", realm.jaas("alice")), **{m: named.login(m) for m in ("AWS_MSK_IAM", "OAUTHBEARER")}}


class Way:
    """How programs reach the brokers: `wrap(argv)`, from `bootstrap`."""

    def __init__(self, wrap, bootstrap):
        self.wrap, self.bootstrap = wrap, bootstrap


@pytest.fixture
def start(pair, tmp_path, named_cluster, realm):
    """start(brokers) starts a server that knows so many of the brokers; the KDC is a raw target. lines: other names on its side."""
    def start(brokers, lines=()):
        kafka = ",".join(b.named_address for b in named_cluster.brokers[:brokers])
        return pair.server(kafka=kafka, tcp={"kdc": f"127.0.0.1:{realm.port}"}, tls=None,
                           prefix=names.with_hosts(tmp_path / "real-hosts", [*named_cluster.lines, *lines]))
    return start


def through(realm, kdc):
    """The environment of a program that reaches the KDC through the tunnel."""
    return ["env", *(f"{k}={v}" for k, v in named.java_env(realm.write_config("through.conf", kdc)).items())]


@pytest.fixture(params=["run", "hosts"])
def way(request, pair, start, named_cluster, realm, tmp_path):
    """Under `run --keep-names`, where the server knows one broker and the others become known by its responses; or as an ordinary
    process with the lines of `hosts`, where the server knows both."""
    server = start(1 if request.param == "run" else 2)
    url, kdc = f"http://localhost:{server.port}", wait.quiet_ports(1)
    if request.param == "run":
        client = [pair.binaries.client, "run", "--keep-names", "--server", url, "--kafka", "0", "--tcp", f"kdc={kdc}", "--"]
        return Way(lambda argv: [*through(realm, kdc), *client, *argv], named_cluster.brokers[0].named_address)
    pair.client(server, kafka={"kafka": 0}, tcp={"kdc": kdc}, args=["--keep-names"])
    said = process.run([pair.binaries.client, "hosts", "--server", url], 60).stdout.splitlines()
    assert said[0].startswith("# kafka: there may be more brokers than these")  # they want a login first
    prefix = names.with_hosts(tmp_path / "app-hosts", [line for line in said if not line.startswith("#")])
    return Way(lambda argv: [*through(realm, kdc), *prefix, *argv], named_cluster.named_bootstrap)


def log_in(wrap, bootstrap, login):
    """What became of it: "none", or an exception's class, and its text."""
    done = process.run(wrap(named.java("Login", bootstrap=bootstrap, **login)), 90)
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return said["error"], said["text"]


@pytest.fixture
def without_names(pair, start, realm):
    """As a client reaches brokers that have addresses of the tunnel's."""
    kdc = wait.quiet_ports(1)
    client = pair.client(start(2), kafka={"kafka": 0}, tcp={"kdc": kdc})
    return Way(lambda argv: [*through(realm, kdc), *argv], f"localhost:{tunnel.port(client, 'kafka')}")


def there_and_back(way, cluster, login):
    """Records of a topic that both brokers lead."""
    topic = cluster.create_topic(partitions=4, replication=1)
    produced = process.run(way.wrap(named.java("Produce", bootstrap=way.bootstrap, topic=topic, count=RECORDS, size=200, seed="s", **login)), 120)
    consumed = process.run(way.wrap(named.java("Consume", bootstrap=way.bootstrap, topic=topic, group=topic, count=RECORDS, deadline=60,
                                               **login)), 120)
    out, back = (json.loads(done.stdout.strip().splitlines()[-1]) for done in (produced, consumed))
    assert out["records"] == back["records"] == RECORDS
    clients.same(back, clients.expected(RECORDS, 200, "s", 4))


def test_gssapi(way, named_cluster, logins, realm):
    """Tickets are for kafka/NAME of the broker that is dialled, and each broker takes its own."""
    mark = len(realm.kdc.log())
    there_and_back(way, named_cluster, logins["GSSAPI"])
    granted = realm.kdc.log()[mark:]
    for broker in named_cluster.brokers:
        assert f"alice@{kerberos.REALM} for kafka/{broker.name}@{kerberos.REALM}" in granted, granted


def test_aws_msk_iam(way, named_cluster, logins):
    """AWS's signer signs the name of the broker that is dialled, and the stand-in finds that signature good at that broker."""
    marks = {broker: len(broker.process.log()) for broker in named_cluster.brokers}
    there_and_back(way, named_cluster, logins["AWS_MSK_IAM"])
    for broker, mark in marks.items():
        said = broker.process.log()[mark:]
        assert f"AWS_MSK_IAM signed host {broker.name} at {broker.name}: good" in said and ": wrong" not in said


@pytest.mark.parametrize("mechanism", ["AWS_MSK_IAM", "GSSAPI"])
def test_tls_at_the_brokers_own_names(pair, start, named_cluster, logins, realm, tmp_path, mechanism):
    """What an MSK or Kerberos client of Java's has, SASL_SSL and the brokers' names, stays; only the CA is another one. The listeners take
    nothing but TLS, and the broker's name is in the certificate of each."""
    state = tmp_path / "state"
    server = start(1)
    client = [pair.binaries.client, "run", "--keep-names", "--server", f"http://localhost:{server.port}", "--kafka", "0",
              "--listener-tls", "required", "--listener-name", named.DOMAIN, "--state-dir", state, "--"]
    login = {**logins[mechanism], "prop_security__protocol": "SASL_SSL", "prop_ssl__truststore__type": "PEM",
             "prop_ssl__truststore__location": state / "listener-ca.pem"}
    way = Way(lambda argv: [*through(realm, realm.port), *client, *argv], named_cluster.brokers[0].named_address)
    there_and_back(way, named_cluster, login)


def test_without_names_these_logins_fail(without_names, named_cluster, logins, realm):
    """As docs/compatibility.md says: the client dials an address of the tunnel's."""
    error, _ = log_in(without_names.wrap, without_names.bootstrap, logins["GSSAPI"])
    assert error != "none" and re.search(r"for kafka/localhost@TUNNEL\.TEST, Server not found in Kerberos database", realm.kdc.log())
    error, _ = log_in(without_names.wrap, without_names.bootstrap, logins["AWS_MSK_IAM"])
    said = "".join(broker.process.log() for broker in named_cluster.brokers)
    assert error == "SaslAuthenticationException" and re.search(r"AWS_MSK_IAM signed host localhost at b-[12]\.\S+: wrong", said)


def test_msk_by_oauthbearer_needs_no_names(without_names, named_cluster, logins):
    """AWS's signer for OAUTHBEARER signs the region's endpoint, whatever broker is dialled."""
    there_and_back(without_names, named_cluster, logins["OAUTHBEARER"])
    for broker in named_cluster.brokers:
        assert f"OAUTHBEARER signed host kafka.us-east-1.amazonaws.com at {broker.name}: good" in broker.process.log()


def lead_as_preferred(cluster, topic, partitions):
    """The brokers that should lead the partitions do."""
    admin = cluster.admin()  # it must live as long as its question
    elected = admin.elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, p) for p in range(partitions)])
    for error in elected.result(30).values():
        assert error is None or error.code() == KafkaError.ELECTION_NOT_NEEDED, error


def test_a_broker_is_renamed_while_leaders_move(pair, start, named_cluster, logins, processes, realm):
    """The command that runs finds the new name, which its signer signs, and nothing is lost or doubled. The last test here: the
    broker keeps its new name."""
    first, second = named_cluster.brokers
    old, new = second.name, named.name_of(9)
    server = start(1, [f"{kafka.HOST} {new}"])
    topic = named_cluster.create_topic(partitions=4, replication=2)
    login = {**logins["AWS_MSK_IAM"], "prop_delivery__timeout__ms": 600000, "prop_metadata__max__age__ms": 3000}
    client = [pair.binaries.client, "run", "--keep-names", "--server", f"http://localhost:{server.port}", "--kafka", "0", "--"]
    mark = len(second.process.log())
    program = processes.start([*through(realm, realm.port), *client,
                               *named.java("Produce", bootstrap=first.named_address, topic=topic, count="stdin", rate=100, size=200, seed="s",
                                           **login)], "run", stdin=-1)
    wait.until(lambda: f"signed host {old} at {old}: good" in second.process.log()[mark:] or not program.alive(), 90, program.tail)
    second.stop()
    second.name = new
    second.start()
    named_cluster.wait_ready(120)
    lead_as_preferred(named_cluster, topic, 4)
    wait.until(lambda: f"signed host {new} at {new}: good" in second.process.log() or not program.alive(), 120, program.tail)
    program.popen.stdin.write(b"\n")
    program.popen.stdin.close()
    assert program.wait_exit(120) == 0, program.tail()
    out = json.loads(program.stdout().strip().splitlines()[-1])
    back = process.run([*through(realm, realm.port), *client, *named.java("Consume", bootstrap=first.named_address, topic=topic, group=topic,
                                                                          count=out["records"], deadline=90, **logins["AWS_MSK_IAM"])], 150)
    clients.same(json.loads(back.stdout.strip().splitlines()[-1]), out)
    assert ": wrong" not in second.process.log() and "Traceback" not in program.log()
