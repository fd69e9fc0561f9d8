"""Local connections that come while there is no link: who has left again when it comes up is not served."""

import socket
import struct

import pytest

from harness import fakes, pages, raw, tunnel, wait, wire

pytestmark = pytest.mark.tunnel


def waiting(client):
    return pages.Pages(client).metrics().sum("waiting_connections")


def leave(sock, how):
    if how == "rst":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "half":
        sock.shutdown(socket.SHUT_WR)
    else:
        sock.close()


def test_who_has_left_is_not_served(pair, peer):
    """Kafka clients ask, and leave: a closed, a reset, a half-closed connection. Only who stays is heard of at the broker."""
    with fakes.Broker() as broker:
        broker.brokers = [broker.node(1)]
        targets = {"kafka": broker.address, "tcp": {"raw": f"{peer.host}:{peer.port}"}, "tls": None}
        server = pair.server(**targets)
        client = pair.client(server, kafka={"kafka": 0}, tcp={"raw": 0},
                             args=["--status", "127.0.0.1:0", "--connect-wait", "60", "--log-level", "debug"])
        kafka, plain = tunnel.port(client, "kafka"), tunnel.port(client, "raw")
        wire.ask_metadata(kafka, client_id="before")
        server.kill()
        client.wait_for("link_lost")
        kept = [raw.connect(kafka, None) for _ in range(30)]
        for number, sock in enumerate(kept):
            sock.sendall(wire.metadata_request(client_id=f"left-{number}"))
        gone = raw.connect(plain, "sink")
        wait.until(lambda: waiting(client) == 31, 10, "all to wait")
        for number, sock in enumerate(kept):
            leave(sock, ("fin", "rst", "half")[number % 3])
        leave(gone, "rst")
        wait.until(lambda: waiting(client) == 0, 10, "their places to be free, before there is a link")
        # They come and go in between; and two that stay, one of them with nothing more to say than its request.
        late = [raw.connect(kafka, None) for _ in range(30)]
        for number, sock in enumerate(late):
            sock.sendall(wire.metadata_request(client_id=f"left-late-{number}"))
        stays = raw.connect(kafka, None)
        stays.sendall(wire.metadata_request(client_id="stays"))
        asks = raw.connect(plain, "sink")
        asks.sendall(b"all of it")
        asks.shutdown(socket.SHUT_WR)
        wait.until(lambda: waiting(client) >= 2, 10, "the ones that stay to wait")
        for number, sock in enumerate(late):
            leave(sock, ("fin", "rst", "half")[number % 3])
        pair.server(**targets, listen=f"127.0.0.1:{server.port}")
        wire.read_frame(stays)
        assert b'"bytes": 9' in raw.read_rest(asks)
        wire.ask_metadata(kafka, client_id="after")
        heard = [name for name in broker.client_ids if not name.startswith("kafka-tunnel")]
        assert [name for name in heard if name.startswith("left")] == []
        assert {"before", "stays", "after"} <= set(heard)
