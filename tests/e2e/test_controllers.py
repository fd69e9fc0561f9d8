"""KRaft controllers through the tunnel: an Admin with bootstrap.controllers (KIP-919)."""

import json

import pytest

from harness import clients, matrix, process, trace, tunnel, wire


def ask(bootstrap, strace=None):
    argv = clients.java("Controllers", bootstrap=bootstrap)
    done = process.run(strace.wrap(argv) if strace else argv, 90)
    return json.loads(done.stdout.strip().splitlines()[-1])


def controllers(cluster):
    return ",".join(f"{b.address.rsplit(':', 1)[0]}:{b.controller_port}" for b in cluster.brokers)


@matrix.case("Java", "admin: controllers (KIP-919)")
def test_admin_of_controllers(cluster, direct, strace, request):
    """Their node ids are those of the brokers here, but their listeners lead to the controllers' ports."""
    if direct:
        seen = ask(controllers(cluster))
        assert seen["voters"] == 3 and set(seen["nodes"].values()) == set(controllers(cluster).split(","))
        return
    pair = request.getfixturevalue("pair")
    server = pair.server(kafka=f"controllers={controllers(cluster)}", args=["--log-level", "debug"])
    client = pair.client(server, kafka={"controllers": 0})
    port = tunnel.port(client, "controllers")
    seen = ask(f"localhost:{port}", strace)
    trace.only(strace.connects(), tunnel.ports(client))
    assert seen["voters"] == 3 and seen["leader"] in (1, 2, 3)
    listeners = {b.node_id: tunnel.port(client, f"controllers/controller/{b.node_id}") for b in cluster.brokers}
    assert seen["nodes"] == {str(node): f"127.0.0.1:{p}" for node, p in listeners.items()}

    # A server that has just started knows no controller, and Metadata would not tell it.
    mark = client.mark()
    server.stop()
    server = pair.server(kafka=f"controllers={controllers(cluster)}", args=["--log-level", "debug"],
                         listen=f"127.0.0.1:{server.port}")
    client.wait_for("link_up", 60, since=mark)
    for broker in cluster.brokers:
        nodes = wire.ask_controllers(listeners[broker.node_id])
        assert nodes == {node: ("127.0.0.1", p) for node, p in listeners.items()}
        opened = server.wait_for("stream_opened", target=f"controllers/controller/{broker.node_id}")
        assert opened["address"] == f"127.0.0.2:{broker.controller_port}"
    assert ask(f"localhost:{port}") == seen


@pytest.mark.tunnel
def test_doctor_at_a_controller(pair, cluster, binaries):
    """Named where a broker should be: ApiVersions is answered, and Metadata is not among them."""
    server = pair.server(kafka=f"127.0.0.2:{cluster.brokers[0].controller_port}", tls=None)
    done = process.run([binaries.client, "doctor", "--server", f"http://localhost:{server.port}", "--kafka", "0"], 60, check=False)
    assert done.returncode == 21 and "not from a broker: it does not serve Metadata" in done.stdout.splitlines()[-1], done.stdout


@pytest.mark.tunnel
def test_brokers_know_no_controllers(pair, cluster):
    """Whoever asks a broker where controllers are is told no; the log says why such a listener leads nowhere."""
    server = pair.server(kafka=f"mixed={controllers(cluster)}")
    client = pair.client(server, kafka={"mixed": 0})
    listener = wire.ask_controllers(tunnel.port(client, "mixed"))[1][1]
    mark = client.mark()
    server.stop()
    server = pair.server(kafka=f"mixed={cluster.bootstrap}", listen=f"127.0.0.1:{server.port}")
    client.wait_for("link_up", 60, since=mark)
    with pytest.raises((ConnectionError, AssertionError)):
        wire.ask_controllers(listener)
    reason = server.wait_for("stream_refused", target="mixed/controller/1")["reason"]
    assert "controller 1" in reason and "it is a broker" in reason
