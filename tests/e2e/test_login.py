"""Brokers that answer only who has logged in, and a server that has just started and knows no node.

Kafka clients come back to the listeners of single brokers, whose addresses the server has forgotten. Without a login it cannot ask the
brokers; with the client's own it can.
"""

import contextlib
import socket
import struct

import pytest

from harness import fakes, raw, tunnel, wait, wire

pytestmark = pytest.mark.tunnel

METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = wire.METADATA, 17, 36
PASSWORD = b"\0alice\0alice-secret"


def request(api, correlation_id, body=b"", version=1):
    return wire.frame(struct.pack(">hhih", api, version, correlation_id, 4) + b"test" + body)


def read_frame(sock):
    if (body := wire.read_frame(sock)) is None:
        raise EOFError
    return body


class Broker(fakes.Listening):
    """SASL PLAIN, SaslHandshake v1; answers Metadata with all brokers of `nodes`, its own id as the controller's."""

    def __init__(self, node_id, nodes):
        self.node_id, self.nodes, self.asked = node_id, nodes, []
        super().__init__("127.0.0.2")
        nodes[node_id] = self

    def _serve(self, sock):
        logged_in = False
        with sock, contextlib.suppress(OSError, EOFError):
            while True:
                data = read_frame(sock)
                if wire.is_check(data):
                    sock.sendall(wire.check_response(data))
                    continue
                api, _, correlation_id, client = struct.unpack(">hhih", data[:10])
                self.asked.append((api, data[10:10 + client]))
                if api == SASL_HANDSHAKE:
                    body = struct.pack(">hih", 0, 1, 5) + b"PLAIN"
                elif api == SASL_AUTHENTICATE:
                    logged_in = data.endswith(PASSWORD)
                    body = struct.pack(">hhi", 0 if logged_in else 58, -1, 0)
                elif logged_in and api == METADATA:
                    # As many brokers as there are; the controller's id says who answers.
                    brokers = [(node, "127.0.0.2", broker.port) for node, broker in self.nodes.items()]
                    body = wire.metadata_response(brokers)[8:-8] + struct.pack(">ii", self.node_id, 0)
                else:
                    return  # as brokers do: they hang up
                sock.sendall(wire.frame(struct.pack(">i", correlation_id) + body))


@pytest.fixture
def brokers():
    nodes = {}
    found = [Broker(1, nodes), Broker(2, nodes)]
    yield found
    for broker in found:
        fakes.close(broker.listener)


def log_in(sock, password=PASSWORD):
    sock.sendall(request(SASL_HANDSHAKE, 1, struct.pack(">h", 5) + b"PLAIN"))
    assert struct.unpack(">ih", read_frame(sock)[:6]) == (1, 0)
    sock.sendall(request(SASL_AUTHENTICATE, 2, struct.pack(">i", len(password)) + password, version=0))
    return struct.unpack(">ih", read_frame(sock)[:6])[1]


def ask_metadata(sock):
    """Who answered, by its own word: the controller id."""
    sock.sendall(request(METADATA, 3, struct.pack(">i", 0)))
    body = read_frame(sock)
    assert b"127.0.0.2" not in body and b"127.0.0.1" in body
    return struct.unpack(">i", body[-8:-4])[0]


@pytest.fixture
def restarted(pair, brokers):
    """(new server, client, port of node 2's listener): the client has listeners from before the server was restarted."""
    bootstrap = f"127.0.0.2:{brokers[0].port}"
    server = pair.server(kafka=bootstrap)
    client = pair.client(server, kafka={"kafka": 0})
    with raw.connect(tunnel.port(client, "kafka"), None) as sock:
        assert log_in(sock) == 0
        assert ask_metadata(sock) == 1
    port = tunnel.port(client, "kafka/2")
    mark = client.mark()
    server.stop()
    server = pair.server(kafka=bootstrap, listen=f"127.0.0.1:{server.port}")
    client.wait_for("link_up", since=mark, deadline=30)
    brokers[1].asked.clear()
    return server, client, port


def test_a_login_teaches_where_nodes_are(restarted, brokers):
    server, client, port = restarted
    with raw.connect(port, None) as sock:
        assert log_in(sock) == 0
        assert not brokers[1].asked, "nobody knows this node yet: the login is at a bootstrap broker"
        sock.sendall(request(METADATA, 3, struct.pack(">i", 0)))
        with pytest.raises(ConnectionResetError):
            raw.read_rest(sock)
    assert server.wait_for("nodes_learned")["target"] == "kafka/2"
    assert "connect again" in client.wait_for("connection_reset", listener="kafka/2")["reason"]
    # What the client asked reached nobody; the question was the server's own.
    assert brokers[0].asked[-1] == (METADATA, b"kafka-tunnel")
    with raw.connect(port, None) as sock:
        assert log_in(sock) == 0
        assert ask_metadata(sock) == 2
    assert [name for api, name in brokers[1].asked if api == METADATA] == [b"test"]


def test_a_wrong_password_teaches_nothing(restarted, brokers):
    server, _, port = restarted
    with raw.connect(port, None) as sock:
        assert log_in(sock, b"\0alice\0guess") == 58
        sock.sendall(request(METADATA, 3, struct.pack(">i", 0)))
        with pytest.raises(ConnectionResetError):
            raw.read_rest(sock)
    reset = server.wait_for("nodes_learned")
    assert reset["level"] == "warning" and "may require TLS or SASL" in reset["reason"], reset
    assert not brokers[1].asked


def test_clients_that_leave_in_the_middle(restarted):
    """After the login, and while the server asks: the next one is served all the same."""
    _, _, port = restarted
    with raw.connect(port, None) as sock:
        assert log_in(sock) == 0
        sock.shutdown(socket.SHUT_WR)
        assert raw.read_rest(sock) == b""
    with raw.connect(port, None) as sock:
        assert log_in(sock) == 0
        sock.sendall(request(METADATA, 3, struct.pack(">i", 0)))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def served():
        with contextlib.suppress(OSError, EOFError), raw.connect(port, None) as sock:
            return log_in(sock) == 0 and ask_metadata(sock) == 2
    wait.until(served, 20, "node 2 answers")
