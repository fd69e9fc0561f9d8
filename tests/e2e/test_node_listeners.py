"""The listeners for single nodes: which ports they get, that each leads to its node and to nothing else, what bounds them."""

import contextlib
import re
import resource
import socket

import pytest

from harness import fakes, pages, raw, tunnel, wait, wire

pytestmark = pytest.mark.tunnel

IDS = [0, 1, 999, 1000, 1001, 2147483647]


def numbers(nodes):
    """{node id: port} of {node id: (host, port)}."""
    return {node: port for node, (_, port) in nodes.items()}


def start(pair, clusters, node_ports=None, args=(), server=None, **kw):
    """A client with {name: (broker, bootstrap port)}, and its server if there is none yet."""
    if server is None:
        more = [a for name, (broker, _) in list(clusters.items())[1:] for a in ("--kafka", f"{name}={broker.address}")]
        name, (broker, _) = next(iter(clusters.items()))
        server = pair.server(kafka=f"{name}={broker.address}", args=more + ["--log-level", "debug"])
    more = [a for name, ports in (node_ports or {}).items() for a in ("--node-ports", f"{name}={ports}")]
    client = pair.client(server, kafka={name: p for name, (_, p) in clusters.items()}, args=[*args, *more], **kw)
    return server, client


def restart_server(pair, server, clusters, client):
    """On the same port; the client begins a new session."""
    port, mark = server.port, client.mark()
    server.stop()
    first, *rest = [f"{name}={broker.address}" for name, (broker, _) in clusters.items()]
    more = [a for cluster in rest for a in ("--kafka", cluster)]
    server = pair.server(kafka=first, listen=f"127.0.0.1:{port}", args=more + ["--log-level", "debug"])
    client.wait_for("link_up", 60, since=mark)
    return server


def is_reset(port, client_id="test"):
    """Whether a question there ends without an answer."""
    try:
        wire.ask_metadata(port, client_id)
        return False
    except (ConnectionError, AssertionError):
        return True


def all_here(broker, ids):
    """A list of nodes that are all at the same broker."""
    return [broker.node(i) for i in ids]


def test_ports_are_the_same_after_restarts(pair):
    """Whatever the ids, whatever the order that they are named in; both ends forget everything when they restart."""
    bootstrap = wait.quiet_ports(1002)
    with fakes.Broker() as broker:
        broker.brokers = all_here(broker, IDS)
        clusters = {"kafka": (broker, bootstrap)}
        server, client = start(pair, clusters)
        first = wire.ask_metadata(bootstrap)
        assert set(first) == set(IDS) and {host for host, _ in first.values()} == {"127.0.0.1"}
        base = bootstrap + 1
        # 1000 and 1001 find their own ports taken, by 0 and 1, and get the next free ones.
        assert numbers(first) == {0: base, 1: base + 1, 999: base + 999, 1000: base + 2, 1001: base + 3,
                                  2147483647: base + 647}
        taken = {e["name"]: (e["port"], e["listen_port"]) for e in client.events("node_port_taken")}
        assert taken == {"kafka/1000": (base, base + 2), "kafka/1001": (base + 1, base + 3)}
        client.stop()
        broker.brokers.reverse()
        _, client = start(pair, clusters, server=server)
        assert wire.ask_metadata(bootstrap) == first
        server = restart_server(pair, server, clusters, client)
        for node, port in numbers(first).items():
            broker.client_ids.clear()
            assert wire.ask_metadata(port, f"to-{node}") == first
            assert f"to-{node}" in broker.client_ids
            assert server.wait_for("stream_opened", target=f"kafka/{node}")["address"] == broker.address


def test_ports_of_neighbours(pair):
    """Two clusters side by side: no matter which of them is used first."""
    first = wait.quiet_ports(2100)
    with fakes.Broker() as a, fakes.Broker() as b:
        a.brokers, b.brokers = all_here(a, [1, 2, 3]), all_here(b, [1, 2, 3])
        clusters = {"a": (a, first), "b": (b, first + 1)}
        server, client = start(pair, clusters)
        seen = {name: wire.ask_metadata(clusters[name][1]) for name in ("a", "b")}
        # b has the ports above its own, as if it were alone; a has no room there and gets the next 1000.
        assert numbers(seen["b"]) == {n: first + 2 + n for n in (1, 2, 3)}
        assert numbers(seen["a"]) == {n: first + 1002 + n for n in (1, 2, 3)}
        client.stop()
        start(pair, dict(reversed(clusters.items())), server=server)
        assert {name: wire.ask_metadata(clusters[name][1]) for name in ("b", "a")} == seen


def test_clusters_do_not_mix(pair):
    """The same node ids in two clusters: each listener leads to the node of its own."""
    with fakes.Broker() as a1, fakes.Broker() as a2, fakes.Broker() as b1, fakes.Broker() as b2:
        a1.brokers = a2.brokers = [a1.node(1), a2.node(2)]
        b1.brokers = b2.brokers = [b1.node(1), b2.node(2)]
        server, client = start(pair, {"a": (a1, 0), "b": (b1, 0)})
        listeners = {name: numbers(wire.ask_metadata(tunnel.port(client, name))) for name in ("a", "b")}
        assert len({*listeners["a"].values(), *listeners["b"].values()}) == 4
        for name, nodes in (("a", (a1, a2)), ("b", (b1, b2))):
            for node, broker in enumerate(nodes, 1):
                probe = f"{name}-{node}"
                assert numbers(wire.ask_metadata(listeners[name][node], probe)) == listeners[name]
                assert [x for x in (a1, a2, b1, b2) if probe in x.client_ids] == [broker]


def test_controllers_and_brokers_have_ids_of_their_own(pair):
    """Controller 1 is not broker 1; after a restart of the server it asks each kind of node where its nodes are."""
    with fakes.Broker() as broker, fakes.Broker() as controller:
        for node in (broker, controller):
            node.brokers, node.controllers = [broker.node(1)], [controller.node(1)]
        clusters = {"kafka": (broker, 0)}
        server, client = start(pair, clusters)
        bootstrap = tunnel.port(client, "kafka")
        to_broker = numbers(wire.ask_metadata(bootstrap))[1]
        to_controller = numbers(wire.ask_controllers(bootstrap))[1]
        assert to_broker != to_controller
        for _ in range(2):
            for port, target, there, other in ((to_broker, "kafka/1", broker, controller),
                                               (to_controller, "kafka/controller/1", controller, broker)):
                mark = server.mark()
                probe = f"probe-{target}-{mark}"
                wire.ask_metadata(port, probe)
                assert probe in there.client_ids and probe not in other.client_ids
                assert server.wait_for("stream_opened", since=mark, target=target)["address"] == there.address
            # As the bootstrap broker was asked by the server itself: Metadata, DescribeCluster.
            server = restart_server(pair, server, clusters, client)
        # A KRaft controller ends a connection that asks for Metadata: only the other question helps.
        broker.brokers = None
        assert is_reset(to_broker)
        # Which of both is said depends on whether the client's request was there before the server had asked by itself.
        told = wait.until(lambda: server.events("stream_refused", target="kafka/1") + server.events("nodes_learned", target="kafka/1"),
                          15, "the server says why")
        assert "broker 1" in told[0]["reason"] or "could not learn" in told[0]["reason"], told
        assert wire.ask_controllers(to_controller)


def test_node_that_is_gone(pair):
    """Its listener stays, and a connection there is reset; both logs say what was tried. When it is back it is reached."""
    with fakes.Broker() as broker, fakes.refusing_port() as gone:
        broker.brokers = [broker.node(1), (2, "127.0.0.2", gone)]
        server, client = start(pair, {"kafka": (broker, 0)})
        bootstrap = tunnel.port(client, "kafka")
        port = numbers(wire.ask_metadata(bootstrap))[2]
        broker.brokers = [broker.node(1)]
        assert set(wire.ask_metadata(bootstrap)) == {1}
        with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", port), 30) as sock:
            sock.sendall(wire.metadata_request())
            sock.recv(1)
        for event in (server.wait_for("stream_refused", target="kafka/2"),
                      client.wait_for("connection_reset", listener="kafka/2")):
            assert f"127.0.0.2:{gone}" in event["reason"] and "refused" in event["reason"], event
        with fakes.Broker() as back:
            broker.brokers = back.brokers = [broker.node(1), back.node(2)]
            assert numbers(wire.ask_metadata(bootstrap))[2] == port
            wire.ask_metadata(port, "welcome")
            assert "welcome" in back.client_ids


def test_full_range(pair):
    """A node beyond the range gets no listener; what is there goes on, and it comes when there is room for it."""
    first = wait.quiet_ports(2)
    with fakes.Broker() as broker:
        broker.brokers = all_here(broker, [7, 8])
        server, client = start(pair, {"kafka": (broker, 0)}, {"kafka": f"{first}-{first + 1}"})
        bootstrap = tunnel.port(client, "kafka")
        assert client.wait_for("node_ports", name="kafka")["ports"] == f"{first}-{first + 1}"
        seen = wire.ask_metadata(bootstrap)
        assert numbers(seen) == {node: first + node % 2 for node in (7, 8)}
        broker.brokers = all_here(broker, [7, 8, 9])
        assert is_reset(bootstrap)
        reason = client.wait_for("expose_failed", node=9)["reason"]
        assert f"{first}-{first + 1}" in reason and "--node-ports" in reason
        assert server.wait_for("expose_failed", node=9, cluster="kafka")["reason"] == reason
        broker.brokers = all_here(broker, [7, 8])
        assert wire.ask_metadata(bootstrap) == seen


def test_port_that_is_taken(pair):
    """The next one of the range, wrapping; a range without a single port leads to an error. Room that is made is used."""
    first = wait.quiet_ports(3)
    with fakes.Broker() as broker, socket.create_server(("127.0.0.1", first + 2)) as other:
        node = 5
        broker.brokers = all_here(broker, [node])
        server, client = start(pair, {"kafka": (broker, 0)}, {"kafka": f"{first}-{first + 2}"})
        own = first + 2
        assert numbers(wire.ask_metadata(tunnel.port(client, "kafka"))) == {node: first}
        event = client.wait_for("node_port_taken", name=f"kafka/{node}")
        assert (event["port"], event["listen_port"]) == (own, first)
        client.stop()
        _, client = start(pair, {"kafka": (broker, 0)}, {"kafka": f"{own}-{own}"}, server=server)
        assert is_reset(tunnel.port(client, "kafka"))
        assert f"{own}-{own}" in client.wait_for("expose_failed", node=node)["reason"]
        other.close()
        assert numbers(wire.ask_metadata(tunnel.port(client, "kafka"))) == {node: own}


@pytest.mark.parametrize("given, told", [("localhost", "localhost"), ("[::1]", "::1"), (None, "127.0.0.1")])
def test_advertised_host(given, told, pair):
    with fakes.Broker() as broker:
        broker.brokers = all_here(broker, [1])
        _, client = start(pair, {"kafka": (broker, 0)}, args=["--advertise", given] if given else [])
        assert wire.ask_metadata(tunnel.port(client, "kafka"))[1][0] == told


def test_ipv6_brokers(pair):
    """A bootstrap broker and nodes on ::1; addresses in logs have brackets."""
    try:
        broker = fakes.Broker(host="::1")
    except OSError as e:
        pytest.skip(f"no IPv6 loopback on this machine: {e}")
    with broker, fakes.refusing_port("::1") as gone:
        broker.brokers = [broker.node(1), (2, "::1", gone)]
        server, client = start(pair, {"kafka": (broker, 0)})
        ports = numbers(wire.ask_metadata(tunnel.port(client, "kafka")))
        wire.ask_metadata(ports[1], "over-v6", host="::1")
        assert "over-v6" in broker.client_ids
        for target in ("kafka", "kafka/1"):
            assert server.wait_for("stream_opened", target=target)["address"] == f"[::1]:{broker.port}"
        assert is_reset(ports[2])
        assert f"[::1]:{gone}" in server.wait_for("stream_refused", target="kafka/2")["reason"]
        broker.brokers[1] = (2, "::1", broker.port)
        wire.ask_metadata(tunnel.port(client, "kafka"))
        moved = server.wait_for("node_moved", node=2)
        assert (moved["from"], moved["to"]) == (f"[::1]:{gone}", f"[::1]:{broker.port}")


def test_cluster_of_5000_nodes(pair):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 14000:
        pytest.skip(f"needs 14000 descriptors, the limit is {hard}")
    first = wait.quiet_ports(5000)
    with fakes.Broker() as broker:
        broker.brokers = all_here(broker, range(5000))
        _, client = start(pair, {"kafka": (broker, 0)}, {"kafka": f"{first}-{first + 4999}"})
        seen = numbers(wire.ask_metadata(tunnel.port(client, "kafka")))
        assert seen == {node: first + node for node in range(5000)}
        assert numbers(wire.ask_metadata(seen[4999])) == seen


def test_more_nodes_than_descriptors(pair, peer):
    """Listeners leave room for connections: all others go on, and what cannot be is said at once."""
    with fakes.Broker() as broker, fakes.Broker() as small:
        broker.brokers, small.brokers = all_here(broker, range(5000)), all_here(small, [1])
        server = pair.server(kafka=broker.address, tcp={"peer": f"{peer.host}:{peer.port}"},
                             args=["--kafka", f"small={small.address}"])
        first = wait.quiet_ports(2100)  # so that descriptors are what is short
        client = pair.client(server, kafka={"small": first, "kafka": first + 1}, tcp={"peer": 0}, descriptors=1024)
        seen = wire.ask_metadata(tunnel.port(client, "small"))
        with raw.connect(tunnel.port(client, "peer"), "echo") as beside:
            for _ in range(3):
                assert is_reset(tunnel.port(client, "kafka"))
            assert "ulimit -n" in client.wait_for("expose_failed", cluster="kafka")["reason"]
            reason = server.wait_for("stream_reset", target="kafka")["reason"]
            assert re.search("node that cannot be given an address", reason), reason
            beside.sendall(b"still here")
            assert beside.recv(100) == b"still here"
        assert wire.ask_metadata(tunnel.port(client, "small")) == seen
        many = [raw.connect(tunnel.port(client, "peer"), "echo") for _ in range(100)]
        for sock in many:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            sock.close()
        assert not client.events("accept_paused")


def test_more_nodes_than_the_address_book_holds(pair):
    """Refused at once, as said in the log; the book keeps what it has."""
    with fakes.Broker() as broker:
        server, client = start(pair, {"kafka": (broker, 0)}, {"kafka": "1024-65535"}, descriptors=256)
        bootstrap = tunnel.port(client, "kafka")
        broker.brokers = all_here(broker, [1])
        seen = wire.ask_metadata(bootstrap)
        broker.brokers = all_here(broker, range(10001))
        assert is_reset(bootstrap)
        assert server.wait_for("nodes_full", cluster="kafka")["limit"] == 10000
        broker.brokers = all_here(broker, [1])
        assert wire.ask_metadata(bootstrap) == seen


def test_nodes_that_cannot_be_dialled(pair):
    """A young broker with the id -1: taken out of responses, told once with its cluster, id and address, counted."""
    with fakes.Broker() as broker:
        broker.brokers = [broker.node(1), (-1, "young.example", 9092), (2, "nowhere.example", 0)]
        server = pair.server(kafka=broker.address, args=["--status", "127.0.0.1:0"])
        client = pair.client(server, kafka={"kafka": 0})
        bootstrap = tunnel.port(client, "kafka")
        for _ in range(3):
            seen = wire.ask_metadata(bootstrap)
            assert seen[-1] == seen[2] == ("", -1) and seen[1][1] > 0
        told = [(e["level"], e["cluster"], e["node"], e["kind"], e["address"]) for e in server.events("node_unusable")]
        assert told == [("warning", "kafka", -1, "broker", "young.example:9092"),
                        ("warning", "kafka", 2, "broker", "nowhere.example:0")]
        assert pages.Pages(server).metrics().sum("kafka_nodes_unusable_total", target="kafka") == 6


def port_of_the_kernel(stack):
    """One that it gives out by itself, and that it keeps for whoever asks for this one."""
    sock = stack.enter_context(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return sock.getsockname()[1]


def test_ports_that_outgoing_connections_can_take(pair):
    """The kernel gives ports of a range of its own to connections: who chooses one of these is warned, at both ends; others are not."""
    low = wait.quiet_ports(6)
    warned = []
    with contextlib.ExitStack() as stack, fakes.Broker() as broker:
        given, status, listen = (port_of_the_kernel(stack) for _ in range(3))
        for chosen, nodes in (((given, status, listen), f"{given + 1}-{given + 3}"), ((low, low + 1, low + 2), f"{low + 3}-{low + 5}")):
            server = pair.server(kafka=broker.address, listen=f"127.0.0.1:{chosen[2]}", args=["--status", "127.0.0.1:0"])
            client = pair.client(server, kafka={"kafka": chosen[0]}, args=["--status", f"127.0.0.1:{chosen[1]}", "--node-ports", nodes])
            warned.append({(e["listener"], e["ports"]) for p in (server, client) for e in p.events("listener_at_risk", level="warning")})
    assert warned[0] == {("kafka", str(given)), ("kafka", f"{given + 1}-{given + 3}"), ("status", str(status)), ("tunnel", str(listen))}
    assert warned[1] == set()
