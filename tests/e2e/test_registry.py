"""A Schema Registry as a raw target beside the brokers: Avro producers and consumers use both through one tunnel."""

import json
import os
import sys

import pytest

from harness import cache, matrix, process, registry, tunnel


@pytest.fixture
def schema_registry(processes):
    """The port of a registry at registry.HOST."""
    running = processes.start([sys.executable, "-m", "harness.registry"], "registry", env={"PYTHONPATH": os.fspath(cache.HERE)})
    port = running.wait_for("ready")["port"]
    yield port
    running.kill()


@matrix.case("confluent-kafka (librdkafka)", "Schema Registry and Avro")
def test_avro_with_a_schema_registry(request, schema_registry, cluster, direct):
    topic = cluster.create_topic(3)
    bootstrap, url = cluster.bootstrap, f"http://{registry.HOST}:{schema_registry}"
    if not direct:
        pair = request.getfixturevalue("pair")
        server = pair.server(kafka=cluster.bootstrap, tcp={"registry": f"{registry.HOST}:{schema_registry}"})
        client = pair.client(server, kafka={"kafka": 0}, tcp={"registry": 0})
        bootstrap, url = f"localhost:{tunnel.port(client, 'kafka')}", f"http://localhost:{tunnel.port(client, 'registry')}"
    done = process.run([sys.executable, cache.HERE / "clients" / "avro_client.py", "run", f"bootstrap={bootstrap}", f"registry={url}",
                        f"topic={topic}", f"group=g-{topic}", "count=300"], 120)
    assert json.loads(done.stdout.splitlines()[-1]) == {"records": 300}
    cluster.delete_topic(topic)
