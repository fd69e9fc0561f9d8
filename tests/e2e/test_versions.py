"""Programs of before version 2 of the tunnel protocol, with those of today: a session has one link, and all that there was works."""

import pytest

from harness import cache, faults, raw, tunnel, wait

pytestmark = pytest.mark.tunnel
MIB = 1 << 20
VERSION_1 = "f1b3dc0"  # the last commit that speaks it only


@pytest.fixture(scope="module")
def old():
    build = cache.old_programs(VERSION_1)
    if not build:
        pytest.skip(f"the clone does not hold the commit {VERSION_1}")
    return tunnel.Binaries(build)


@pytest.fixture(params=["client", "server"])
def mixed(request, old, binaries, processes, pki, peer):
    """(server, proxy of 25 ms each way, client), one of them the old program."""
    servers, clients = (binaries, old) if request.param == "client" else (old, binaries)
    server = tunnel.Tunnel(servers, processes, pki).server(tcp={"raw": f"{peer.host}:{peer.port}"}, tls=None)
    proxy = faults.Proxy([("127.0.0.1", server.port)])
    proxy.delay = 0.025
    client = tunnel.Tunnel(clients, processes, pki).client(f"http://127.0.0.1:{proxy.port}", tcp={"raw": 0}, several=True)
    yield server, proxy, client
    proxy.close()


def test_bytes_and_half_close(mixed):
    """On a path where two programs of today have several links."""
    server, proxy, client = mixed
    raw.check_both(tunnel.port(client, "raw"), 32 * MIB)
    assert proxy.accepted == 1
    assert not client.events("link_joined") and not client.events("join_failed") and not server.events("link_joined")


def test_cut_again_and_again(mixed):
    """Each cut is resumed, and every byte is at its place."""
    server, proxy, client = mixed
    resumed = 0

    def cut():
        nonlocal resumed
        for _ in range(5):
            proxy.drop()
            resumed += 1
            wait.until(lambda: len(client.events("link_resumed")) >= resumed, 20, "the client to come back", 0.02)
    raw.check_both(tunnel.port(client, "raw"), 48 * MIB, during=cut)
    assert len(client.events("link_resumed")) == resumed and not client.events("session_lost")
    assert proxy.accepted == 1 + resumed and not server.events("session_ended")
