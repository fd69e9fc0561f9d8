"""Leaders move while clients work: nothing is lost, and no broker's address reaches a client.

A broker that is asked for a partition which it no longer leads answers with NodeEndpoints: the new leader's address, which a client
dials at once (KIP-951). Recorders stand on both sides of the tunnel:

    clients -> 127.0.0.3: recorder -> 127.0.0.4: tunnel-client ... tunnel-server -> 127.0.0.2: recorder -> brokers

With --direct the clients connect to the recorder before the brokers, which must then see what the test is about: the same clients
and moves, with addresses.
"""

import collections
import itertools
import json
import struct
import subprocess
import time

import pytest

from conftest import size
from harness import cache, clients, endpoints, kafka, tunnel, wait
from harness.live import Live, java_consumer, java_producer, new_group, wait_progress
from harness.recorder import Conversation, Findings, Recorder

CLIENTS_HOST, TUNNEL_HOST = "127.0.0.3", "127.0.0.4"
SECONDS = size("KAFKA_TUNNEL_E2E_MOVES_S", 60, 300)
PARTITIONS = 6
MOVES = ["order", "replicas", "killed", "order", "replicas", "stopped"]
PROOF = ["Produce", "Fetch"]  # of these, NodeEndpoints must have been seen


VECTORS = [line.split() for line in (cache.ROOT / "tests/vectors/kafka-responses.txt").read_text(encoding="ascii").splitlines()
           if not line.startswith("#")]
APIS = {name + "Response": api for api, name in endpoints.NAMES.items()}
REAL = ["b1.example", "b2.example"]


def found(api, version, pieces):
    """What is found in the answer to one request (the vectors' correlation id is 42) that comes in these pieces."""
    findings = Findings(*REAL)
    conversation = Conversation(findings)
    request = struct.pack(">hhih", api, version, 42, 4) + b"test"
    conversation.request(struct.pack(">i", len(request)) + request)
    for piece in pieces:
        conversation.response(piece)
    return findings


@pytest.mark.harness
@pytest.mark.parametrize("name", APIS)
def test_recorder_finds_an_address_however_it_is_split(name):
    """Each version, and so each encoding, of each response with addresses, cut in two everywhere, and byte by byte."""
    api, total = APIS[name], 0
    for version, kind, given, expected in [v[1:] for v in VECTORS if v[0] == name]:
        version, given, expected = int(version), bytes.fromhex(given), bytes.fromhex(expected)
        here = sum(given.count(host.encode()) for host in REAL)
        total += here
        for pieces in [(given[:i], given[i:]) for i in range(len(given))] + [[given[i:i + 1] for i in range(len(given))]]:
            findings = found(api, version, pieces)
            assert findings.texts.total() == here == findings.addresses.total()
            assert set(findings.addresses) <= {(endpoints.NAMES[api], "b1.example", 9092), (endpoints.NAMES[api], "b2.example", 9093)}
            assert all(a.nodes == [(2, "b2.example", 9093)] for a in findings.announced)
            assert len(findings.announced) == endpoints.carries(api, version)
        findings = found(api, version, [expected])
        assert not findings.texts.total() and not findings.addresses
        assert all(a.nodes == ([(2, "127.0.0.1", 19002)] if kind == "REWRITE" else []) for a in findings.announced)
    assert total > 0


class Sides:
    """The recorder before the brokers, the one before the clients (none with --direct), and what clients are given."""

    def __init__(self, brokers, clients_side, bootstrap, client=None, server=None):
        self.brokers, self.clients, self.bootstrap = brokers, clients_side, bootstrap
        self.client, self.server = client, server


@pytest.fixture
def sides(request, cluster, direct):
    fronts = ",".join(f"{kafka.HOST}:{b.front.getsockname()[1]}" for b in cluster.brokers)
    with Recorder(kafka.HOST) as brokers, Recorder(kafka.HOST, CLIENTS_HOST) as clients_side:
        for b in cluster.brokers:
            brokers.serve(b.front.dup(), (kafka.HOST, b.recorded_port))
        if direct:
            yield Sides(brokers, None, fronts)
            return
        pair = request.getfixturevalue("pair")
        first = clients_side.serve_window(CLIENTS_HOST, TUNNEL_HOST)
        server = pair.server(kafka=fronts)
        client = pair.client(server, kafka={"kafka": f"{TUNNEL_HOST}:{first}"}, args=["--advertise", CLIENTS_HOST])
        yield Sides(brokers, clients_side, f"{CLIENTS_HOST}:{first}", client, server)


@pytest.fixture
def topics(cluster):
    """Of two replicas on three brokers: there is always one to move to."""
    names = [cluster.create_topic(PARTITIONS, replication=2) for _ in range(2)]
    yield names
    for name in names:
        cluster.delete_topic(name)


class Mover:
    """Moves leaders, and counts."""

    def __init__(self, processes, cluster, topics):
        self.cluster, self.topics = cluster, topics
        self.moves, self.moved, self.answers = collections.Counter(), 0, 0
        self.brokers = itertools.cycle(cluster.brokers)
        self.leaders = processes.start(clients.java("Leaders", bootstrap=cluster.bootstrap, topics=",".join(topics)), "leaders",
                                       stdin=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leaders.popen.stdin.close()

    def move(self, kind):
        if kind in ("killed", "stopped"):
            self._restart(next(self.brokers), hard=kind == "killed")
        else:
            self._reassign(kind)
        self.moves[kind] += 1

    def _restart(self, broker, hard):
        try:
            broker.stop(hard)
            for topic in self.topics:
                wait_progress(self.cluster, topic, records=100)
        finally:
            broker.start()
            self.cluster.wait_ready(90)

    def _reassign(self, kind):
        self.leaders.popen.stdin.write(kind.encode() + b"\n")
        self.leaders.popen.stdin.flush()

        def answered():
            assert self.leaders.alive(), self.leaders.tail()
            return self.leaders.stdout().count("\n") > self.answers
        wait.until(answered, 120, f"leaders to move: {kind}", 0.1)
        self.moved += json.loads(self.leaders.stdout().splitlines()[self.answers])["moved"]
        self.answers += 1


def start_clients(processes, bootstrap, topics, seconds):
    """Java with every kind of group on one topic, librdkafka on the other."""
    deadline = 4 * seconds + 300
    share = clients.java("ConsumeShare", bootstrap=bootstrap, topic=topics[0], group=new_group(), count="stdin", deadline=deadline)
    java = Live(processes, bootstrap, topics[0], java_producer(bootstrap, topics[0]), {
        "java-classic": java_consumer(bootstrap, topics[0], "classic", deadline),
        "java-consumer": java_consumer(bootstrap, topics[0], "consumer", deadline),
        "java-share": share})
    librdkafka = Live(
        processes, bootstrap, topics[1],
        clients.python("confluent", "produce", bootstrap=bootstrap, topic=topics[1], count="stdin", rate=200, size=200, seed="live",
                       prop_debug="eos"),
        {"librdkafka-consumer": clients.python("confluent", "consume", bootstrap=bootstrap, topic=topics[1], group=new_group(),
                                               count="stdin", deadline=deadline)})
    return {"Java": java, "librdkafka": librdkafka}


def make_moves(mover, lives, brokers):
    """For so long, each kind at least once, and until the brokers have announced leaders to producers and consumers."""
    start = time.monotonic()
    for moves, kind in enumerate(itertools.cycle(MOVES)):
        passed = time.monotonic() - start
        proven = all(brokers.endpoints(name) for name in PROOF)
        if moves >= len(MOVES) and passed >= SECONDS and (proven or passed >= 3 * SECONDS):
            return passed
        mover.move(kind)
        for live in lives.values():
            live.alive()
        for topic in mover.topics:
            wait_progress(mover.cluster, topic, records=200)
    return None


def ident(announced):
    """The same response before and behind the tunnel. Of Produce the nodes stay, of the others the size of the frame."""
    if announced.key[1] == endpoints.PRODUCE:
        return announced.key, tuple(node for node, _, _ in announced.nodes)
    return announced.key, announced.size


def check_endpoints(sides, figure):
    """What brokers announced is rewritten in Produce, erased elsewhere; what clients got leads to the tunnel."""
    local = {int(e["name"].split("/")[1]): (CLIENTS_HOST, int(e["listen"].rsplit(":", 1)[1]))
             for e in sides.client.events("listening", kind="broker")}
    arrived = collections.Counter(ident(a) for a in sides.clients.announced)
    for name in sorted(sides.brokers.responses):
        how = "rewritten" if name == "Produce" else "erased"
        got = [n for a in sides.clients.announced if endpoints.NAMES[a.key[1]] == name for n in a.nodes]
        assert all((host, port) == local[node] for node, host, port in got), f"{name}: {got}, listeners are {local}"
        assert how == "rewritten" or not got, f"{name}: not erased: {got}"
        seen = [a for a in sides.brokers.announced if a.nodes and endpoints.NAMES[a.key[1]] == name]
        there = []
        for announced in seen:
            if arrived[ident(announced)] > 0:
                arrived[ident(announced)] -= 1
                there.append(announced)
        figure(name, f"{count(seen)} NodeEndpoints in {len(seen)} of {sides.brokers.responses[name]} responses; "
                     f"{count(there)} in {len(there)} responses {how}")
        # A client that leaves, or a broker that dies, may cut off a response on its way.
        assert len(there) >= 0.9 * len(seen) - 1, f"{name}: of {len(seen)} responses with NodeEndpoints {len(there)} arrived"


def count(announced):
    return sum(len(a.nodes) for a in announced)


def check_addresses(sides, figure):
    """The brokers' address appears nowhere at all; what is told instead are the tunnel's listeners."""
    brokers, local = sides.brokers.texts[kafka.HOST], sides.clients.texts[CLIENTS_HOST]
    leaked = sides.clients.texts[kafka.HOST]
    figure("addresses", f"{brokers} told by brokers, {local} told to clients instead, {leaked} leaked")
    assert leaked == 0, {k: v for k, v in sides.clients.addresses.items() if k[1] == kafka.HOST}
    told = {port for _, host, port in sides.clients.addresses if host == CLIENTS_HOST}
    assert told and told <= tunnel.ports(sides.client)


@pytest.mark.again
@pytest.mark.timeout(240 + 5 * SECONDS)
def test_leaders_move_while_clients_work(sides, cluster, topics, processes, figure, direct):
    lives = start_clients(processes, sides.bootstrap, topics, SECONDS)
    for topic in topics:
        wait_progress(cluster, topic)
    with Mover(processes, cluster, topics) as mover:
        passed = make_moves(mover, lives, sides.brokers)
    for name, live in lives.items():
        produced = live.finish(cluster, leaders_move=True)
        figure(f"{name} records", f"{produced['records']}, complete at {len(live.consumers)} consumers; "
                                  f"{produced['copies']} written again by the producer under a new epoch")
    figure("moves", f"{mover.moves.total()} in {passed / 60:.1f} min: {dict(mover.moves)}; {mover.moved} partitions by admin")
    for name in PROOF:
        assert sides.brokers.endpoints(name) > 0, f"the brokers sent no NodeEndpoints in {name}"
    assert not sides.brokers.failures, sides.brokers.failures
    assert sides.brokers.texts[kafka.HOST] > 0 and sides.brokers.addresses
    if direct:
        figure("NodeEndpoints", {name: sides.brokers.endpoints(name) for name in sides.brokers.responses})
        figure("addresses", f"{sides.brokers.texts[kafka.HOST]} told by brokers")
        return
    assert not sides.clients.failures, sides.clients.failures
    check_endpoints(sides, figure)
    check_addresses(sides, figure)
    figure("resets", f"{len(sides.client.events('connection_reset'))} at the client, "
                     f"{len(tunnel.cut_streams(sides.server))} at the server, "
                     f"{len(sides.server.events('stream_refused'))} of these refused")
    assert not sides.client.events("link_lost")
