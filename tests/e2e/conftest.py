"""Fixtures and options of the end-to-end tests. What they are made of is in harness/.

  --direct        the control run: Kafka clients and raw connections go straight to the targets, no tunnel;
                  tests that speak about the tunnel itself are left out (and counted as deselected)
  --build DIR     where the two programs are (default: build/)
  --matrix FILE   writes what became of each case of the client matrix (harness/matrix.py)

KAFKA_TUNNEL_E2E_MIB     size of the checksum runs through Kafka (default 256; the full one is 1024)
KAFKA_TUNNEL_E2E_RAW_MIB size of the raw checksum runs, each way (default 1024; the full one is 4096)
KAFKA_TUNNEL_E2E_MOVES_S seconds in which leaders move (default 60; the full ones are 300)
KAFKA_TUNNEL_E2E_FULL=1  all full sizes
"""

import json
import os
import pathlib
import sys

import pytest

from harness import cache, kafka, long_path, matrix, process, raw, secure, trace, tunnel, wait
from harness.pki import Pki

FULL = os.environ.get("KAFKA_TUNNEL_E2E_FULL") == "1"
FIGURES = []
MATRIX = matrix.Results()


# Fixtures that start real brokers.
BROKERS = {"cluster", "named_cluster", "secure_cluster", "brokers_with_login", "line_outcome"}


def size(name, default, full):
    return int(os.environ.get(name) or (full if FULL else default))


def pytest_addoption(parser):
    parser.addoption("--direct", action="store_true", help="control run without the tunnel")
    parser.addoption("--build", default=os.environ.get("KAFKA_TUNNEL_BUILD"), help="directory of the built programs")
    parser.addoption("--matrix", default=None, help="write the results of the client matrix to this file as JSON")
    parser.addoption("--figures", default=None, help="write the measured figures to this file as JSON")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if BROKERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
        if item.get_closest_marker("kafka"):
            item.add_marker(pytest.mark.java)
        if item.get_closest_marker("speed"):
            item.add_marker(pytest.mark.alone)
    if config.getoption("--direct"):
        gone = [i for i in items if i.get_closest_marker("tunnel")]
        config.hook.pytest_deselected(items=gone)
        items[:] = [i for i in items if i not in gone]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    cache.for_java = item.get_closest_marker("java") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of every log it could have looked at."""
    report = yield
    report.matrix_cases = [list(mark.args) for mark in item.iter_markers("matrix")]
    if report.failed:
        for p in process.Processes.started:
            report.sections.append((f"log of {p.name} (pid {p.pid}, exit {p.popen.poll()})", p.tail()))
        cluster = item.funcargs.get("cluster")
        for b in cluster.brokers if cluster else ():
            report.sections.append((f"log of broker {b.node_id}", b.process.tail(15)))
    return report


def pytest_runtest_logreport(report):
    """In the process that sums up, which need not be the one that ran the test."""
    MATRIX.note(report)
    if report.when == "teardown":
        FIGURES.extend((f"{report.nodeid.rpartition('::')[2]}: {name}", value)
                       for kind, (name, value) in report.user_properties if kind == "figure")


def pytest_terminal_summary(terminalreporter, config):
    if FIGURES:
        terminalreporter.section("figures" + (" (direct)" if config.getoption("--direct") else ""))
        for name, value in FIGURES:
            terminalreporter.write_line(f"{name}: {value}")
    if config.getoption("--matrix"):
        MATRIX.write(config.getoption("--matrix"), config.getoption("--direct"))
    path = config.getoption("--figures")
    if path:
        pathlib.Path(path).write_text(json.dumps(FIGURES, indent=1), encoding="utf-8")


@pytest.fixture
def figure(request):
    """figure("what", "value"): a measured number for the summary."""
    return lambda name, value: request.node.user_properties.append(("figure", (name, value)))


@pytest.fixture(scope="session")
def direct(request):
    return request.config.getoption("--direct")


@pytest.fixture(scope="session", autouse=True)
def descriptors():
    raw.raise_descriptor_limit()


@pytest.fixture(autouse=True)
def ports():
    yield
    wait.release_ports()


@pytest.fixture(scope="session")
def binaries(request):
    return tunnel.Binaries(request.config.getoption("--build"))


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def session_processes(tmp_path_factory):
    processes = process.Processes(tmp_path_factory.mktemp("logs"))
    yield processes
    processes.finish()


@pytest.fixture(scope="module")
def secure_cluster(session_processes, tmp_path_factory, pki):
    cluster = secure.Cluster(tmp_path_factory.mktemp("secure"), session_processes, pki)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop(hard=True)


@pytest.fixture
def processes(tmp_path):
    processes = process.Processes(tmp_path)
    yield processes
    processes.finish()


@pytest.fixture(scope="session")
def cluster(session_processes, tmp_path_factory):
    """Three real brokers on 127.0.0.2, the same for all tests; who breaks it mends it."""
    cluster = kafka.Cluster(tmp_path_factory.mktemp("kafka"), session_processes)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop(hard=True)


@pytest.fixture(scope="session")
def peer(session_processes):
    """The raw TCP target, on 127.0.0.2."""
    return raw.start_peer(session_processes)


@pytest.fixture
def pair(binaries, processes, pki):
    """Starts tunnel servers and clients that live as long as the test."""
    return tunnel.Tunnel(binaries, processes, pki)


@pytest.fixture
def make_long_path(binaries):
    """make_long_path(delay_ms=10, loss=1, congestion_control="cubic"): the options of packet-path; as root on Linux, or the
    test is skipped with the reason. Its namespaces live as long as the test."""
    made = []

    def make(**options):
        if not sys.platform.startswith("linux"):
            pytest.skip("network namespaces and tun devices are Linux's")
        try:
            made.append(long_path.LongPath(binaries.build / "bench" / "packet-path", **options))
        except long_path.Impossible as reason:
            pytest.skip(f"no long path here: {reason}")
        return made[-1]
    yield make
    for path in made:
        path.close()


@pytest.fixture(scope="session")
def far_certificate(pki):
    return pki.authority.issue("far", f"IP:{long_path.FAR_ADDRESS}")


@pytest.fixture
def apart(make_long_path, binaries, processes, pki, far_certificate, tmp_path):
    """apart(loss=1, server_args=[...], client_args=[...]): tunnel-server and tunnel-client on a long path (harness/long_path.py)."""
    token_file = tmp_path / "token"
    token_file.write_text(long_path.TOKEN, encoding="ascii")

    def make(server_args=(), client_args=(), **options):
        options.setdefault("congestion_control", long_path.CONGESTION_CONTROL)
        path = make_long_path(**options)
        assert path.far_address == long_path.FAR_ADDRESS
        return long_path.Apart(path, binaries, processes, pki, far_certificate, token_file, server_args, client_args)
    return make


class Route:
    """The way to a target: through the tunnel, or straight in a control run."""

    def __init__(self, client=None, server=None, bootstrap=None, raw_port=None, raw_host="127.0.0.1"):
        self.client, self.server = client, server
        self.bootstrap, self.raw_port, self.raw_host = bootstrap, raw_port, raw_host

    def connect(self, command, timeout=60):
        return raw.connect(self.raw_port, command, self.raw_host, timeout)

    def echo(self, data=b"ping", timeout=30):
        return raw.echo_once(self.raw_port, data, self.raw_host, timeout)

    def programs(self):
        return [p for p in (self.client, self.server) if p]

    def ports(self):
        """Every local port of the tunnel: what a Kafka client may dial."""
        return tunnel.ports(self.client) if self.client else set()


@pytest.fixture(scope="session")
def kafka_route(request, cluster, session_processes, direct):
    """What Kafka clients are given: localhost:PORT of a tunnel through wss, or the brokers themselves."""
    if direct:
        return Route(bootstrap=cluster.bootstrap)
    maker = tunnel.Tunnel(request.getfixturevalue("binaries"), session_processes, request.getfixturevalue("pki"))
    server = maker.server(kafka=cluster.bootstrap)
    client = maker.client(server, kafka={"kafka": 0})
    return Route(client, server, bootstrap=f"localhost:{tunnel.port(client, 'kafka')}")


@pytest.fixture
def raw_route(request, peer, direct):
    """A tunnel of the test's own to the raw peer."""
    if direct:
        return Route(raw_port=peer.port, raw_host=peer.host)
    maker = request.getfixturevalue("pair")
    server = maker.server(tcp={"peer": f"{peer.host}:{peer.port}"})
    client = maker.client(server, tcp={"peer": 0})
    return Route(client, server, raw_port=tunnel.port(client, "peer"))


@pytest.fixture
def strace(tmp_path):
    return trace.Trace(tmp_path / "strace")
