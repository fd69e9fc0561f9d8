"""--access: who may do what. The broker is a stand-in that keeps what it was asked; real brokers and clients are in test_access_kafka.py."""

import signal
import socket
import struct

import pytest

from harness import fakes, process, raw, tunnel, wait, wire
from harness.mux_client import CLUSTER, REFUSED, Client
from harness.pages import Pages

pytestmark = pytest.mark.tunnel
PRODUCE, LIST_OFFSETS, HEARTBEAT = 0, 2, 12
KEEP, NAMES = 165, 166


class AskedBroker(fakes.Broker):
    """Answers Heartbeat, and keeps the keys of what it was asked."""

    def __init__(self):
        self.keys = []
        super().__init__([])
        self.brokers = [self.node(1)]

    def _answer(self, request):
        if not wire.is_check(request):
            self.keys.append(struct.unpack_from(">h", request)[0])
            if self.keys[-1] in (HEARTBEAT, PRODUCE):
                return wire_frame(request[4:8] + b"\0\0" * (self.keys[-1] == HEARTBEAT))
        return super()._answer(request)


def wire_frame(body):
    return struct.pack(">i", len(body)) + body


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def request(key, version, correlation_id, body=b""):
    return wire_frame(struct.pack(">hhi", key, version, correlation_id) + string("test") + body)


def heartbeat(correlation_id, group):
    return request(HEARTBEAT, 0, correlation_id, string(group) + struct.pack(">i", 1) + string("member"))


def list_offsets(correlation_id, topic):
    return request(LIST_OFFSETS, 1, correlation_id, struct.pack(">ii", -1, 1) + string(topic) + struct.pack(">iiq", 1, 0, -1))


def receive(sock):
    """(correlation id, the rest)"""
    frame = wire.read_frame(sock)
    return struct.unpack(">i", frame[:4])[0], frame[4:]


@pytest.fixture
def broker():
    with AskedBroker() as one:
        yield one


class Rules:
    def __init__(self, path):
        self.path = path

    def write(self, text):
        new = self.path.with_suffix(".new")
        new.write_text(text, encoding="ascii")
        new.rename(self.path)


@pytest.fixture
def rules(tmp_path):
    return Rules(tmp_path / "access.properties")


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("tok-alice-0123456789 alice\ntok-bob-0123456789 bob\n", encoding="ascii")
    path.chmod(0o600)
    return path


@pytest.fixture
def start(pair, broker, rules, tokens, peer):
    """start(text, who): a server with these rules, and a client."""
    def begin(text, who="alice", server=None, **kw):
        if server is None:
            rules.write(text)
            server = pair.server(f"main={broker.address}", tcp={"peer": f"{peer.host}:{peer.port}"},
                                 args=("--token-file", tokens, "--access", rules.path, "--status", "127.0.0.1:0"))
        client = pair.client(server, **{"kafka": {"main": 0}, **kw}, args=("--token", f"tok-{who}-0123456789"))
        return server, client
    return begin


def connect(client, name="main"):
    return socket.create_connection(("127.0.0.1", tunnel.port(client, name)), timeout=30)


def reload(server):
    mark = server.mark()
    server.popen.send_signal(signal.SIGHUP)
    return server.wait_for("reloaded", since=mark)


def test_answers_come_in_order_and_nothing_denied_reaches_the_broker(start, broker):
    server, client = start("a.identity=alice\na.allow=Heartbeat\na.group=mine\n")
    with connect(client) as sock:
        sock.sendall(heartbeat(1, "mine") + heartbeat(2, "theirs") + list_offsets(3, "t") + heartbeat(4, "mine") + heartbeat(5, "theirs"))
        assert receive(sock) == (1, b"\0\0")
        assert receive(sock) == (2, struct.pack(">h", 30))  # GROUP_AUTHORIZATION_FAILED
        number, answer = receive(sock)
        assert number == 3 and struct.pack(">ih", 0, 29) in answer  # TOPIC_AUTHORIZATION_FAILED of partition 0
        assert receive(sock) == (4, b"\0\0")
        assert receive(sock) == (5, struct.pack(">h", 30))
    assert [k for k in broker.keys if k in (HEARTBEAT, LIST_OFFSETS)] == [HEARTBEAT, HEARTBEAT]
    denied = server.wait_for("access_denied", api="ListOffsets")
    assert denied["identity"] == "alice" and denied["client_id"] == "test"
    assert server.wait_for("access_denied", api="Heartbeat")["name"] == "theirs"
    figures = Pages(server).metrics()
    assert figures.sum("kafka_denied_total", api="Heartbeat") == 2 and figures.sum("kafka_denied_total") == 3
    assert figures.sum("kafka_requests_total", api="Heartbeat") == 2 and figures.sum("kafka_requests_total", api="ListOffsets") == 0


def test_a_request_in_many_pieces_is_held_until_it_is_judged(start, broker):
    _, client = start("a.allow=Heartbeat\na.group=mine\n")
    with connect(client) as sock:
        for byte in heartbeat(1, "mine") + heartbeat(2, "theirs") + heartbeat(3, "mine"):
            sock.sendall(bytes([byte]))
        assert [receive(sock)[0] for _ in range(3)] == [1, 2, 3]
    assert broker.keys.count(HEARTBEAT) == 2


def test_welcome_lists_what_the_identity_may_use(start, broker, binaries, pki):
    server, _ = start("a.identity=alice\na.allow=consume\na.topic=facts.*\nb.identity=bob\nb.target=peer\n")
    text = process.run([binaries.client, "doctor", "--server", f"https://localhost:{server.port}", "--ca", pki.ca, "--token",
                        "tok-alice-0123456789", "--kafka", "main=0"], 60).stdout
    assert "the server knows you as alice and offers cluster main\n" in text
    assert "the server's rules (--access) allow you only this: main: consume, topic facts.*" in text
    _, bob = start(None, "bob", server, kafka=None, tcp={"peer": 0})
    assert raw.echo_once(tunnel.port(bob, "peer"), b"in") == b"in"


def test_what_is_not_on_offer_is_refused(start):
    server, _ = start("a.identity=alice\na.target=peer\nb.identity=bob\nb.allow=all\n", kafka=None, tcp={"peer": 0})
    _, bob = start(None, "bob", server, ready=False, tcp={"peer": 0})
    assert bob.wait_for("unknown_target")["offered"] == "--kafka main"


def test_an_identity_without_a_rule_does_not_come_in(start):
    server, client = start("b.identity=bob\nb.allow=all\n", ready=False)
    assert server.wait_for("unauthorized")["reason"] == "no rule of --access is for this identity"
    assert "rules allow alice nothing" in str(client.wait_for("dial_failed"))


def test_new_rules_count_at_once_and_a_bad_file_keeps_the_old(start, broker, rules):
    server, client = start("a.allow=Heartbeat\na.group=mine\n")
    with connect(client) as sock:
        sock.sendall(heartbeat(1, "theirs"))
        assert receive(sock) == (1, struct.pack(">h", 30))
        rules.write("a.allow=Hartbeat\n")
        assert reload(server)["failed"] == 1
        error = server.wait_for("access_unreadable")["reason"]
        assert error.endswith('line 1: rule a allows "Hartbeat", which is no API of Kafka; did you mean "Heartbeat"?')
        sock.sendall(heartbeat(2, "theirs") + heartbeat(3, "mine"))
        assert receive(sock) == (2, struct.pack(">h", 30))
        assert receive(sock) == (3, b"\0\0")
        rules.write("a.allow=Heartbeat\na.group=theirs\n")
        server.wait_for("access_read")  # without SIGHUP
        sock.sendall(heartbeat(4, "theirs") + heartbeat(5, "mine"))
        assert receive(sock) == (4, b"\0\0")
        assert receive(sock) == (5, struct.pack(">h", 30))
        # Where nothing is allowed any more, the connection ends.
        rules.write("a.target=peer\n")
        assert sock.recv(1) == b"" if not_reset(sock) else True
        assert server.wait_for("stream_revoked")["target"].startswith("main")


def not_reset(sock):
    try:
        sock.recv(1, socket.MSG_PEEK)
    except ConnectionResetError:
        return False
    return True


@pytest.mark.parametrize("text, error", [
    ("a.alow=all\n", 'line 1: there is no such key; did you mean "allow"?'),
    ("\na.allow=Prduce\n", 'line 2: rule a allows "Prduce", which is no API of Kafka; did you mean "Produce"?'),
    ("a.allow=all\na.cluster=mian\n", 'line 2: rule a names the cluster "mian"; did you mean "main"?'),
    ("a.allow=all\na.cluster=orders\n", 'line 2: rule a names the cluster "orders", but there is no such --kafka cluster'),
    ("", "holds no rules, so nobody could do anything"),
])
def test_a_bad_file_ends_the_start(binaries, processes, rules, text, error):
    rules.write(text)
    server = processes.start([binaries.server, "--listen", "127.0.0.1:0", "--kafka", "main=127.0.0.2:9092", "--access", rules.path], "server")
    assert server.wait_exit() == 2
    assert f"--access: {rules.path} {error}" in server.log().replace("\\\"", "\"")


def test_without_answer_a_denied_produce_closes(start, broker):
    server, client = start("a.allow=produce\na.topic=mine\n")
    body = struct.pack(">h", 0) + struct.pack(">ii", 1000, 1) + string("theirs") + struct.pack(">iii", 1, 0, 3) + b"abc"
    with connect(client) as sock:
        sock.sendall(request(PRODUCE, 2, 1, body))
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            pass
    assert server.wait_for("access_denied")["name"] == "theirs"
    assert PRODUCE not in broker.keys


def test_a_large_produce_is_judged_by_its_first_bytes(start, broker):
    """20 MB to a topic that is denied: none of it reaches the broker, and none is held."""
    server, client = start("a.allow=produce\na.topic=mine\n")
    size = 20_000_000
    with connect(client) as sock:
        head = struct.pack(">h", 1) + struct.pack(">ii", 1000, 1) + string("theirs") + struct.pack(">iii", 1, 0, size)
        whole = request(PRODUCE, 2, 9, head + b"x" * size)
        sock.sendall(whole + list_offsets(10, "mine"))
        number, answer = receive(sock)
        assert number == 9 and struct.pack(">ih", 0, 29) in answer
        number, answer = receive(sock)
        assert number == 10 and struct.pack(">ih", 0, 29) in answer  # produce does not list offsets
    assert PRODUCE not in broker.keys


def produce(correlation_id, *topics, acks=1):
    """Each topic has one partition with so many bytes of records."""
    body = struct.pack(">h", acks) + struct.pack(">ii", 1000, len(topics))
    for topic, size in topics:
        body += string(topic) + struct.pack(">iii", 1, 0, size) + b"x" * size
    return request(PRODUCE, 2, correlation_id, body)


@pytest.mark.parametrize("size", [100, 100_000, 1_500_000, 3_000_000])
def test_several_topics_are_held_until_all_are_known(start, broker, size):
    """Up to 4 MiB before the last name; it is more than the stream's window."""
    _, client = start("a.allow=produce, Heartbeat\na.topic=mine-*\n")
    with connect(client) as sock:
        sock.sendall(produce(1, ("mine-1", size), ("mine-2", size)) + heartbeat(2, "g"))
        assert receive(sock) == (1, b"")
        assert receive(sock) == (2, b"\0\0")
        sock.sendall(produce(3, ("mine-1", size), ("theirs", size)) + heartbeat(4, "g"))
        number, answer = receive(sock)
        assert number == 3 and answer.count(struct.pack(">ih", 0, 29)) == 1 and answer.count(struct.pack(">ih", 0, 6)) == 1
        assert receive(sock) == (4, b"\0\0")
    assert broker.keys.count(PRODUCE) == 1


def test_more_than_can_be_held_passes_as_far_as_it_is_allowed(start, broker):
    server, client = start("a.allow=produce, Heartbeat\na.topic=mine-*\n")
    with connect(client) as sock:
        sock.sendall(produce(1, ("mine-1", 9_000_000), ("mine-2", 10)) + heartbeat(2, "g"))
        assert receive(sock) == (1, b"")
        assert receive(sock) == (2, b"\0\0")
        try:
            sock.sendall(produce(3, ("mine-1", 9_000_000), ("theirs", 10)))
            assert sock.recv(1) == b""
        except OSError:
            pass
    assert server.wait_for("access_denied")["name"] == "theirs"
    assert broker.keys.count(PRODUCE) == 1


# ---- rules that lines of the token file name

def name_rules(tokens, line):
    """In place: the clock of a file's times may stand still, but its size does not."""
    tokens.write_text(f"{line}\ntok-bob-0123456789 bob\n", encoding="ascii")


def test_a_token_has_the_rules_that_its_line_names(start, broker, tokens):
    name_rules(tokens, "tok-alice-0123456789 rule=beat alice")
    server, client = start("a.identity=alice\na.allow=ListOffsets\nbeat.tokens-only=yes\nbeat.allow=Heartbeat\nbeat.group=mine\n"
                           "b.identity=bob\nb.allow=ListOffsets\n")
    with connect(client) as sock:
        sock.sendall(heartbeat(1, "mine") + heartbeat(2, "theirs") + list_offsets(3, "t"))
        assert receive(sock) == (1, b"\0\0")
        assert receive(sock) == (2, struct.pack(">h", 30))
        assert struct.pack(">ih", 0, 29) in receive(sock)[1]  # what fits alice's name is not hers
        # Another name counts for connections that there are; the file is looked at every two seconds.
        name_rules(tokens, "tok-alice-0123456789 rule=a alice")
        server.wait_for("tokens_read")
        sock.sendall(heartbeat(4, "mine"))
        assert receive(sock) == (4, struct.pack(">h", 30))
    _, bob = start(None, "bob", server)
    with connect(bob) as sock:
        sock.sendall(heartbeat(1, "mine"))
        assert receive(sock) == (1, struct.pack(">h", 30))  # a rule that is for tokens only
    assert broker.keys.count(HEARTBEAT) == 1


def test_a_name_without_a_rule_gives_nothing_until_there_is_one(start, rules, tokens):
    """Whichever of the two files is changed first."""
    name_rules(tokens, "tok-alice-0123456789 rule=loook alice")
    bobs = "b.identity=bob\nb.allow=all\n"
    everybodys = "look.allow=Heartbeat\nlook.group=mine\n"
    server, _ = start(bobs + everybodys, ready=False)
    warning = server.wait_for("token_rule_unknown")
    assert warning["level"] == "warning" and warning["file"] == str(tokens) and warning["identity"] == "alice"
    assert warning["reason"] == f'line 1: {rules.path} has no rule loook; did you mean "look"?'
    assert server.wait_for("unauthorized")["identity"] == "alice"
    mark = server.mark()
    rules.write(bobs + everybodys.replace("look", "loook"))
    server.wait_for("access_read")
    _, client = start(None, "alice", server)
    assert not server.events("token_rule_unknown", since=mark)
    with connect(client) as sock:
        sock.sendall(heartbeat(1, "mine"))
        assert receive(sock) == (1, b"\0\0")
        name_rules(tokens, "tok-alice-0123456789 rule=later alice")
        assert server.wait_for("token_rule_unknown", since=mark)["reason"] == f"line 1: {rules.path} has no rule later"
        assert server.wait_for("stream_revoked")["identity"] == "alice"
    rules.write(bobs + everybodys.replace("look", "later"))
    server.wait_for("access_read", since=mark)

    def works():
        try:
            with connect(client) as sock:
                sock.sendall(heartbeat(1, "mine"))
                return receive(sock) == (1, b"\0\0")
        except OSError:
            return False
    wait.until(works, 60, "alice may again")


def test_tokens_with_rules_need_rules(binaries, processes, tokens):
    name_rules(tokens, "tok-alice-0123456789 rule=look alice")
    server = processes.start([binaries.server, "--listen", "127.0.0.1:0", "--kafka", "main=127.0.0.2:9092", "--token-file", tokens], "server")
    assert server.wait_exit() == 2
    assert f"--token-file: {tokens} line 1: rule= names a rule of --access, which is not set" in server.log()


def test_a_cluster_that_is_not_allowed_tells_nothing(pair, broker, rules, tokens):
    """Neither a connection nor its brokers' names (KEEP) can be had, whatever a client asks for."""
    rules.write("a.cluster=open\na.allow=all\nb.identity=bob\nb.allow=all\n")
    with AskedBroker() as other:
        server = pair.server(f"main={broker.address}", tls=None,
                             args=("--kafka", f"open={other.address}", "--token-file", tokens, "--access", rules.path))
        with Client(server, token="tok-alice-0123456789") as client:
            client.message(KEEP, b"\4main")
            client.message(KEEP, b"\4open")
            assert client.next_message((NAMES,))[1].startswith(b"\4open")
            client.open(1, "main", CLUSTER)
            assert b"no rule of the server's --access" in client.next_message((REFUSED,))[1]
        with Client(server, token="tok-bob-0123456789") as client:
            client.message(KEEP, b"\4main")
            assert client.next_message((NAMES,))[1].startswith(b"\4main")
