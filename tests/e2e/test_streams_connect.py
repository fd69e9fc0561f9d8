"""Kafka Streams and Kafka Connect, whose clients are many in one process."""

import json
import uuid

import pytest

from harness import clients, kafka, matrix, process, wait

WORDS = ["broker", "listener", "session", "stream", "window"]


@pytest.fixture
def topics(cluster):
    names = [cluster.create_topic(2) for _ in range(2)]
    yield names
    for name in names:
        cluster.delete_topic(name)


@matrix.case("Java", "Kafka Streams (exactly once)")
def test_word_count(kafka_route, topics, tmp_path):
    lines = 100
    argv = clients.java("WordCount", bootstrap=kafka_route.bootstrap, **{"in": topics[0]}, out=topics[1],
                        application=f"count-{uuid.uuid4().hex[:8]}", directory=tmp_path, lines=lines)
    counted = json.loads(process.run(argv, 150).stdout.strip().splitlines()[-1])
    assert counted == {word: sum(i % len(WORDS) >= at for i in range(lines)) for at, word in enumerate(WORDS)}


@matrix.case("Java", "Kafka Connect (file source and sink)")
def test_file_through_connect(kafka_route, topics, tmp_path, processes):
    source, sink = tmp_path / "source.txt", tmp_path / "sink.txt"
    text = "".join(f"line {i} of {source.name}\n" for i in range(500))
    source.write_text(text, encoding="ascii")
    worker = {"bootstrap.servers": kafka_route.bootstrap, "key.converter": "org.apache.kafka.connect.storage.StringConverter",
              "value.converter": "org.apache.kafka.connect.storage.StringConverter", "offset.flush.interval.ms": 500,
              "offset.storage.file.filename": tmp_path / "offsets", "listeners": "HTTP://127.0.0.1:0",
              "plugin.discovery": "only_scan"}
    file = "org.apache.kafka.connect.file"
    connectors = [{"name": "source", "connector.class": f"{file}.FileStreamSourceConnector", "file": source, "topic": topics[0]},
                  {"name": "sink", "connector.class": f"{file}.FileStreamSinkConnector", "file": sink, "topics": topics[0],
                   "consumer.override.auto.offset.reset": "earliest"}]
    paths = []
    for i, settings in enumerate([worker, *connectors]):
        paths.append(tmp_path / f"{i}.properties")
        paths[-1].write_text("".join(f"{k}={v}\n" for k, v in settings.items()), encoding="ascii")
    connect = processes.start(kafka.java("org.apache.kafka.connect.cli.ConnectStandalone", *paths), "connect")

    def arrived():
        assert connect.alive(), connect.tail()
        # Two partitions: the order of lines is that of each.
        return sink.exists() and sorted(sink.read_text(encoding="ascii").splitlines()) == sorted(text.splitlines())
    wait.until(arrived, 120, lambda: f"the file has gone through\n{connect.tail()}", 0.2)
    connect.kill()
