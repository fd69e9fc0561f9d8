"""A long life with many faults: nothing is lost, and memory stays where it was. KAFKA_TUNNEL_SOAK_S says how long, in seconds."""

import os
import random
import time

import pytest

from harness import faults, raw, tunnel, wait
from harness.live import Live, java_consumer, java_producer, wait_progress
from test_survive import Echoes

pytestmark = [pytest.mark.tunnel, pytest.mark.memory]
SECONDS = int(os.environ.get("KAFKA_TUNNEL_SOAK_S", "20"))


@pytest.mark.timeout(SECONDS + 400)
def test_soak(pair, peer, cluster, processes, figure):
    topic = cluster.create_topic(6)
    server = pair.server(kafka=cluster.bootstrap, tcp={"raw": f"{peer.host}:{peer.port}"})
    between = faults.Proxy([("127.0.0.1", server.port)])
    client = pair.client(f"https://localhost:{between.port}", kafka={"kafka": 0}, tcp={"raw": 0})
    bootstrap, port = f"localhost:{tunnel.port(client, 'kafka')}", tunnel.port(client, "raw")
    # A stalled link is noticed after 10 s: the clients' own patience is their default, 30 s.
    live = Live(processes, bootstrap, topic, java_producer(bootstrap, topic, patience=30),
                {"consumer": java_consumer(bootstrap, topic, deadline=SECONDS + 300, patience=30)})
    wait_progress(cluster, topic)
    echoes, rng = Echoes(port, 20), random.Random(1)
    started, samples, drops, stalls, lives = time.monotonic(), [], 0, 0, 0
    while time.monotonic() - started < SECONDS:
        pause = rng.choice([0.05, 1, 3, 8])
        end = time.monotonic() + pause
        while time.monotonic() < end:
            assert raw.echo_once(port, b"short life") == b"short life"
            lives += 1
            time.sleep(0.05)
        wait.until(between.count, 20, "a link")
        if rng.random() < 0.05:
            between.stall()
            stalls += 1
            mark = client.mark()
            client.wait_for("link_resumed", deadline=30, since=mark)
        else:
            between.drop(rng.choice(["rst", "fin"]))
            drops += 1
        samples.append((client.rss_mib(), server.rss_mib(), client.descriptors(), server.descriptors()))
        live.alive()
    echoed = echoes.finish()
    produced = live.finish(cluster)
    assert not client.events("session_lost") and not client.events("connection_reset")
    quarter = max(1, len(samples) // 4)
    for name, column in (("client", 0), ("server", 1)):
        early = max(s[column] for s in samples[:quarter])
        late = max(s[column] for s in samples[-quarter:])
        figure(name, f"at the most {early:.1f} MiB in the first quarter, {late:.1f} in the last; descriptors "
                     f"{max(s[column + 2] for s in samples[:quarter])} and {max(s[column + 2] for s in samples[-quarter:])}")
        assert late < early + 4
    figure("soak", f"{(time.monotonic() - started) / 60:.1f} min, {drops} drops, {stalls} stalls, {lives} short connections, "
                   f"{echoed / 1e9:.2f} GB echoed over 20 long ones, {produced['records']} records, none lost or doubled")
    between.close()
    cluster.delete_topic(topic)
