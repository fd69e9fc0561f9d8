"""A real Apache Kafka cluster: three combined KRaft nodes on 127.0.0.2.

The brokers bind and advertise 127.0.0.2, an address the clients are never given: a client that dials what the brokers
announce, instead of the tunnel, is seen by address (see trace.py).
"""

import base64
import functools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness import cache, process, segments, wait

HOST = "127.0.0.2"
JVM = ["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:+UseSerialGC", "-Djava.awt.headless=true",
       "-Djava.net.preferIPv4Stack=true", f"-Dlog4j2.configurationFile={cache.HERE / 'java' / 'log4j2.yaml'}",
       "-Xlog:disable", "-Xlog:all=warning:stderr"]


@functools.cache
def _archive():
    """Half of a client's CPU time, and a quarter of a broker's, until it works is the loading of classes without this."""
    path = cache.java_archive(_make_archive)
    return [f"-XX:SharedArchiveFile={path}"] if path else []


def _make_archive(path, classes):
    with tempfile.TemporaryDirectory() as directory:
        alone = Cluster(pathlib.Path(directory), None, nodes=1)
        alone.place()
        broker = alone.brokers[0]
        process.run(["java", "-Xmx512m", *JVM, f"-XX:ArchiveClassesAtExit={path}", "-cp", classes, "Archive", alone.id, broker.config,
                     broker.address], deadline=240)


def java(main, *args, heap="512m", pom="pom.xml"):
    archive = _archive() if pom == "pom.xml" else []
    return ["java", f"-Xmx{heap}", *JVM, *archive, "-cp", cache.java_classes(pom), main, *args]


class Broker:
    """`front` is a bound socket, not yet listening, at the address that the listener RECORDED advertises; it binds
    `recorded_port`. Who listens on `front` and forwards there sees all that is said through that listener (recorder.py)."""

    env = None  # beside the tests' own

    def __init__(self, cluster, node_id, port, controller_port, recorded_port, front):
        self.cluster, self.node_id = cluster, node_id
        self.port, self.controller_port = port, controller_port
        self.recorded_port, self.front = recorded_port, front
        self.directory = cluster.directory / f"node{node_id}"
        self.config = cluster.directory / f"node{node_id}.properties"
        self.process = None

    @property
    def address(self):
        return f"{HOST}:{self.port}"

    def settings(self):
        voters = ",".join(f"{b.node_id}@{HOST}:{b.controller_port}" for b in self.cluster.brokers)
        replicas = min(3, len(self.cluster.brokers))
        return {
            "process.roles": "broker,controller",
            "node.id": self.node_id,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{HOST}:{self.port},RECORDED://{HOST}:{self.recorded_port},"
                         f"CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port},RECORDED://{HOST}:{self.front.getsockname()[1]}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,RECORDED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.directory,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "num.partitions": 3,
            "default.replication.factor": replicas,
            "min.insync.replicas": 1,
            "offsets.topic.num.partitions": 3,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.num.partitions": 3,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 3,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 3000,
            "controller.quorum.election.timeout.ms": 500,
            "controller.quorum.fetch.timeout.ms": 1000,
            "controlled.shutdown.max.retries": 1,
            "log.segment.bytes": 64 << 20,
            "log.cleaner.dedupe.buffer.size": 4 << 20,
            "auto.create.topics.enable": "false",
            "unstable.api.versions.enable": "false",
        }

    def write_config(self):
        self.config.write_text("".join(f"{k}={v}\n" for k, v in self.settings().items()), encoding="ascii")

    def start(self):
        assert self.process is None or not self.process.alive()
        self.write_config()
        env = {**os.environ, **self.env} if self.env else None
        self.process = process.Process(java("kafka.Kafka", self.config, pom=self.cluster.pom),
                                       self.cluster.processes.path(f"broker{self.node_id}"), name=f"broker {self.node_id}", env=env)

    def stop(self, hard=False):
        """A clean shutdown (leadership moves first), or SIGKILL."""
        if hard:
            self.process.popen.send_signal(signal.SIGKILL)
        else:
            self.process.popen.terminate()
        try:
            self.process.popen.wait(30)
        except subprocess.TimeoutExpired:
            self.process.popen.kill()
            self.process.popen.wait(10)

    def move(self):
        """Start again on another port (after stop)."""
        old = self.port
        while self.port == old:
            self.port = wait.free_port()
        self.start()

    def answers(self):
        return wait.port_open(HOST, self.port)


class Cluster:
    broker_class = Broker
    pom = "pom.xml"  # the line of Kafka

    def __init__(self, directory, processes, nodes=3):
        self.directory, self.processes = directory, processes
        directory.mkdir(parents=True, exist_ok=True)
        self.id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        self.brokers = []
        self._nodes = nodes

    @property
    def bootstrap(self):
        return ",".join(b.address for b in self.brokers)

    def broker(self, node_id):
        return self.brokers[node_id - 1]

    def start(self, deadline=90):
        """Ports may be lost between asking and binding: then everything starts afresh, twice at the most."""
        for attempt in range(3):
            try:
                return self._start(deadline)
            except AssertionError:
                bind_lost = any("Address already in use" in b.process.log() for b in self.brokers if b.process)
                self.stop(hard=True)
                if attempt == 2 or not bind_lost:
                    raise
        return None

    def place(self):
        """Gives the brokers ports, and nothing else yet."""
        for b in self.brokers:
            b.front.close()
        fronts = _bound(self._nodes)
        ports = free_ports(3 * self._nodes)
        self.brokers = [self.broker_class(self, i + 1, *ports[3 * i:3 * i + 3], fronts[i]) for i in range(self._nodes)]
        for b in self.brokers:
            shutil.rmtree(b.directory, ignore_errors=True)
            b.write_config()

    def _start(self, deadline):
        self.place()
        process.run(java("FormatStorage", self.id, *[b.config for b in self.brokers], pom=self.pom), deadline=60)
        for b in self.brokers:
            b.start()
        self.wait_ready(deadline)

    def admin(self, bootstrap=None):
        return AdminClient({"bootstrap.servers": bootstrap or self.bootstrap, "socket.timeout.ms": 5000, "log_level": 0})

    def wait_ready(self, deadline=60, nodes=None):
        """All brokers registered, at their present addresses, and every partition led and fully replicated."""
        nodes = nodes or [b.node_id for b in self.brokers]

        def ready():
            for b in self.brokers:
                if b.node_id in nodes and not b.process.alive():
                    raise AssertionError(f"broker {b.node_id} died\n{b.process.tail(80)}")
            alive = ",".join(self.broker(n).address for n in nodes)
            try:
                metadata = self.admin(alive).list_topics(timeout=3)
            except KafkaException:
                return False
            there = {b.id: f"{b.host}:{b.port}" for b in metadata.brokers.values()}
            if any(there.get(n) != self.broker(n).address for n in nodes):
                return False
            return all(p.leader >= 0 and len(p.isrs) >= min(len(p.replicas), len(nodes))
                       for t in metadata.topics.values() for p in t.partitions.values())

        try:
            wait.until(ready, deadline, f"Kafka nodes {nodes} ready", interval=0.2)
        except AssertionError as e:
            raise AssertionError(f"{e}\n" + "\n".join(b.process.tail(30) for b in self.brokers if b.process)) from None

    def create_topic(self, partitions=6, replication=3, name=None):
        name = name or "t-" + uuid.uuid4().hex[:10]
        admin = self.admin()
        for future in admin.create_topics([NewTopic(name, partitions, replication)]).values():
            future.result(30)

        def led():
            topic = admin.list_topics(name, timeout=5).topics[name]
            return len(topic.partitions) == partitions and all(p.leader >= 0 for p in topic.partitions.values())
        wait.until(led, 30, f"topic {name} has leaders")
        return name

    def delete_topic(self, name):
        admin = self.admin()
        for future in admin.delete_topics([name]).values():
            try:
                future.result(30)
            except KafkaException as error:
                # A busy broker asks the controller again when an answer is late; the first question has done it.
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise

    def records(self, topic):
        """{partition: its records}, as the leaders have them on disk (see segments.py). Nobody may be writing."""
        def led():
            found = self.admin().list_topics(topic, timeout=10).topics[topic].partitions
            return all(m.leader > 0 for m in found.values()) and found
        partitions = wait.until(led, 30, f"leaders of {topic}")
        return {p: segments.records(self.broker(m.leader).directory / f"{topic}-{p}") for p, m in sorted(partitions.items())}

    def committed(self, group, topic, partitions):
        """Committed offsets of a group, as the brokers know them: their sum."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        try:
            found = consumer.committed([TopicPartition(topic, p) for p in range(partitions)], timeout=20)
        finally:
            consumer.close()
        return sum(max(0, p.offset) for p in found)

    def stop(self, hard=False):
        running = [b for b in self.brokers if b.process and b.process.alive()]
        for b in running:
            b.process.popen.send_signal(signal.SIGKILL)
        for b in running:
            b.process.popen.wait(30)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True, exist_ok=True)


def _bound(count):
    sockets = []
    for _ in range(count):
        s = socket.socket()
        s.bind((HOST, 0))
        sockets.append(s)
    return sockets


def free_ports(count):
    """For brokers that are started later, and again: nobody else gets them meanwhile."""
    return [wait.free_port() for _ in range(count)]
