"""Where a cluster says that its brokers are: what is there must speak Kafka before a client's bytes go to it, and not every address may
be one. A broker that is hostile, or that somebody has led astray, could otherwise make the server connect its clients to other services.
"""

import contextlib
import socket
import struct

import pytest

from harness import fakes, process, tunnel, wait, wire

pytestmark = pytest.mark.tunnel
COMMAND = b"\r\nSET everything lost\r\n"


@pytest.fixture
def broker():
    with fakes.Broker() as one:
        yield one


@pytest.fixture
def lead(pair, broker):
    """lead([(node id, host, port)], server's arguments) -> (server, client): the client knows these nodes."""
    def run(nodes, *args):
        broker.brokers = [broker.node(1), *nodes]
        server = pair.server(kafka=broker.address, tls=None, args=args)
        client = pair.client(server, kafka={"kafka": 0})
        assert set(wire.ask_metadata(tunnel.port(client, "kafka"))) == {1, *(node for node, _, _ in nodes)}
        return server, client
    return run


def request(correlation_id):
    """A Kafka request that holds a command of the other service's."""
    return wire.frame(struct.pack(">hh", wire.METADATA, 1) + correlation_id + struct.pack(">h", len(COMMAND)) + COMMAND + bytes(4))


def is_refused(client, node, data=wire.metadata_request()):
    """The connection is reset, before a byte is read from it."""
    port = tunnel.port(client, f"kafka/{node}")
    with contextlib.suppress(ConnectionResetError), socket.create_connection(("127.0.0.1", port), 20) as sock:
        sock.sendall(data)
        raise AssertionError(f"not reset, and read {sock.recv(1000)}")


def test_another_service_is_announced_as_a_node(lead):
    """It sees the server's question and nothing of the client's; the client sees nothing of it."""
    with fakes.LineService() as service:
        server, client = lead([service.node(2)])
        is_refused(client, 2, request(service.correlation_id))
        refused = server.wait_for("stream_refused", 20)
        assert refused["target"] == "kafka/2" and "no Kafka broker answers there" in refused["reason"], refused
        assert f"127.0.0.2:{service.port}" in refused["reason"]
        assert b"SET" not in service.received and b"test" not in service.received
        frame = 4 + struct.unpack_from(">i", service.received)[0]
        assert wire.is_check(service.received[4:]) and b"kafka-tunnel" in service.received and len(service.received) == frame


def test_each_connection_must_prove_itself(lead):
    """Also at an address that has answered before: another service may have it now."""
    with fakes.Broker() as node:
        node.brokers = [node.node(2)]
        server, client = lead([node.node(2)])
        assert set(wire.ask_metadata(tunnel.port(client, "kafka/2"))) == {2}
        port = node.port
        fakes.close(node.listener)
    service = wait.until(lambda: take(port), 20, "the port of the broker")
    with service:
        is_refused(client, 2, request(service.correlation_id))
        assert b"SET" not in service.received and wire.is_check(service.received[4:])


def take(port):
    with contextlib.suppress(OSError):
        return fakes.LineService(port=port)
    return None


@pytest.mark.parametrize("host,kind", [
    ("169.254.169.254", "link-local"), ("2852039166", "link-local"), ("::ffff:169.254.169.254", "link-local"), ("fe80::1", "link-local"),
    ("224.0.0.1", "multicast"), ("ff02::1", "multicast"), ("0.0.0.0", "unspecified"), ("0", "unspecified"), ("::", "unspecified"),
    ("255.255.255.255", "broadcast"),
])
def test_addresses_where_no_broker_is(host, kind, lead):
    server, client = lead([(2, host, 80)])
    is_refused(client, 2)
    forbidden = server.wait_for("node_forbidden", 20)
    assert (forbidden["cluster"], forbidden["node"], forbidden["rule"], forbidden["level"]) == ("kafka", 2, kind, "warning"), forbidden
    assert host in forbidden["address"]
    reason = server.wait_for("stream_refused")["reason"]
    assert kind in reason and "--allow-brokers" in reason, reason
    assert "--allow-brokers" in client.wait_for("connection_reset")["reason"]


@pytest.mark.parametrize("host", ["127.0.0.3", "localhost", "0x7f000003"])
@pytest.mark.parametrize("args,rule", [
    (["--deny-brokers", "127.0.0.0/8", "--deny-brokers", "::1"], "127.0.0.0/8|::1"), (["--allow-brokers", "10.0.0.0/8", "--allow-brokers", "brokers.example"], "--allow-brokers"),
], ids=["denied", "not allowed"])
def test_rules(host, args, rule, lead):
    """Decided by what a name leads to; nobody is connected to. The bootstrap broker, on loopback as well, is configured. The port is not
    one of those the client chooses for its listeners: it looks who has a port that it would like."""
    with fakes.Silent("127.0.0.3", wait.free_port()) as three, contextlib.ExitStack() as stack:
        for other in ("127.0.0.1", "::1"):
            with contextlib.suppress(OSError):
                silent = fakes.Silent(other, three.port)
                stack.enter_context(silent)
                stack.callback(lambda one=silent: one.received and pytest.fail(f"{one.host} was connected to"))
        server, client = lead([(2, host, three.port)], *args)
        is_refused(client, 2)
        forbidden = server.wait_for("node_forbidden", 20)
        assert forbidden["rule"] in rule and args[0] in server.wait_for("stream_refused")["reason"], forbidden
        assert three.received == []
        assert set(wire.ask_metadata(tunnel.port(client, "kafka/1"))) == {1, 2}


def test_what_is_allowed_is_reached(lead):
    with fakes.Broker(host="127.0.0.3") as three:
        three.brokers = [three.node(2)]
        _, client = lead([three.node(2), (3, "localhost", three.port)], "--allow-brokers", "127.0.0.3", "--deny-brokers", "127.0.0.1")
        assert set(wire.ask_metadata(tunnel.port(client, "kafka/2"))) == {2}
        is_refused(client, 3)


def test_loopback_is_for_clusters_on_loopback(pair):
    """A cluster elsewhere has no brokers on the server's own machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            here = probe.getsockname()[0]
        except OSError:
            pytest.skip("no address but loopback")
    with fakes.Broker(host=here) as elsewhere, fakes.Silent() as silent:
        elsewhere.brokers = [elsewhere.node(1), (2, silent.host, silent.port)]
        server = pair.server(kafka=elsewhere.address, tls=None)
        client = pair.client(server, kafka={"kafka": 0})
        assert set(wire.ask_metadata(tunnel.port(client, "kafka"))) == {1, 2}
        is_refused(client, 2)
        assert server.wait_for("node_forbidden", 20)["rule"] == "loopback" and silent.received == []
        assert set(wire.ask_metadata(tunnel.port(client, "kafka/1"))) == {1, 2}


@pytest.mark.parametrize("args,says", [
    (["--allow-brokers", "10.0.0.0/33"], "--allow-brokers 10.0.0.0/33"), (["--deny-brokers", "10.0.0"], "--deny-brokers 10.0.0"),
    (["--deny-brokers", "a*.example"], "--deny-brokers a*.example"), (["--deny-brokers", "a,b"], "once for each"),
])
def test_rules_that_are_none(args, says, pair):
    done = process.run([pair.binaries.server, "--kafka", "127.0.0.2:1", *args], 20, check=False)
    assert done.returncode == 2 and says in done.stderr, done.stderr
