"""Kafka over a long path: a real broker at the far end, Kafka's own tools and a small client at the near one.

The producer and the consumer run for a time, not for a number of records: what a path carries in the first seconds,
before anything is lost, says little.
"""

import contextlib
import re
import selectors
import struct
import subprocess
import time

from measure import kafka as tools
from measure.report import Row
from measure.system import Failed

RECORD_BYTES = 1024
# What a consumer can read at most: 500 Mbit/s for 10 s.
FILLED_RECORDS = 640 << 10
PARTITIONS = (1, 6)
REPORT_MS = 500
START_SECONDS = 60   # of a JVM, until it has sent or got something
SLACK_SECONDS = 60
ENDLESS = 10 ** 9    # records: the tool is stopped before
RECORD_INTERVAL_S = 0.02
LATE_SECONDS = 30    # how long records may take that were the last

# The same client with what Kafka's documentation advises over a long way: sockets whose buffers the system chooses,
# and batches that fill a round trip.
TUNED_BATCH_BYTES = 512 << 10
TUNED_PRODUCER = [f"batch.size={TUNED_BATCH_BYTES}", "send.buffer.bytes=-1", "receive.buffer.bytes=-1"]
STOCK_CONSUMER_BUFFER = 65536  # ConsumerPerformance would ask for 2 MiB
DURABLE = ["acks=all", "enable.idempotence=true"]  # as they are by default since Kafka 3.0

PRODUCED = re.compile(r"^(\d+) records sent, .* max latency\.$")
CONSUMED = re.compile(r"^\S+ \S+, \d+, ([\d.]+), ")  # time, thread, MiB so far


class _Broker:
    """Called with the Bench before the tunnel starts; a context manager that yields the ends' flags."""

    def __init__(self, tuned):
        self.tuned = tuned
        self.cluster = self._place = self._far_port = self._near_port = None
        self.fixture, self._process = tools.import_fixture()

    @contextlib.contextmanager
    def __call__(self, bench):
        self._place = bench.place
        self._far_port, self._near_port = bench.ports.take(), bench.ports.take()
        directory = bench.new_directory("kafka")
        (directory / "logs").mkdir()
        self.cluster = self.fixture.Cluster(directory / "data", self._process.Processes(directory / "logs"), nodes=1)
        self.cluster.broker_class = self._reachable_from_afar(self.fixture.Broker)
        try:
            with bench.place.far():
                self.cluster.start()
            yield (["--kafka", f"127.0.0.1:{self._near_port}"], ["--kafka", self.cluster.bootstrap])
        except AssertionError as failure:  # the fixture's way to fail
            raise Failed(str(failure)) from None
        finally:
            self.cluster.stop(hard=True)

    def _reachable_from_afar(self, base):
        address = f"{self._place.far_address}:{self._far_port}"
        buffers = {"socket.send.buffer.bytes": -1, "socket.receive.buffer.bytes": -1} if self.tuned else {}

        class Reachable(base):
            """With one more listener, for those who come without a tunnel."""

            def settings(self):
                known = super().settings()
                for key in ("listeners", "advertised.listeners"):
                    known[key] += f",DIRECT://{address}"
                known["listener.security.protocol.map"] += ",DIRECT:PLAINTEXT"
                return {**known, **buffers}
        return Reachable

    def bootstrap(self, tunnel):
        """For a client at the near end."""
        return (f"127.0.0.1:{self._near_port}" if tunnel.ends else f"{self._place.far_address}:{self._far_port}")

    def topic(self, partitions):
        with self._place.far():
            return self.cluster.create_topic(partitions, replication=1)

    def fill(self, topic):
        """At the far end, so that it is quick."""
        with self._place.far():
            with _Tool(self, "ProducerPerformance", *_producing(self.cluster.bootstrap, topic, FILLED_RECORDS),
                       "acks=1", "batch.size=524288") as tool:
                tool.finish()

    def start_producer(self, tunnel, topic):
        with self._place.near():
            return _Tool(self, "ProducerPerformance", *_producing(self.bootstrap(tunnel), topic, ENDLESS), *DURABLE,
                         *(TUNED_PRODUCER if self.tuned else []))

    def start_consumer(self, tunnel, topic):
        with self._place.near():
            return _Tool(self, "ConsumerPerformance", "--bootstrap-server", self.bootstrap(tunnel), "--topic", topic,
                         "--num-records", FILLED_RECORDS, "--timeout", SLACK_SECONDS * 1000, "--show-detailed-stats",
                         "--hide-header", "--reporting-interval", REPORT_MS,
                         "--socket-buffer-size", -1 if self.tuned else STOCK_CONSUMER_BUFFER)


def _producing(bootstrap, topic, records):
    return ["--bootstrap-server", bootstrap, "--topic", topic, "--num-records", records, "--record-size", RECORD_BYTES,
            "--throughput", -1, "--reporting-interval", REPORT_MS, "--command-property"]


class _Tool:
    """One of Kafka's tools, in the namespace of the calling thread."""

    def __init__(self, broker, name, *arguments):
        self._name = name
        argv = [str(part) for part in broker.fixture.java(f"org.apache.kafka.tools.{name}", *arguments)]
        self._popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT)
        self._buffer = b""
        self._said = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.communicate()

    def line(self, seconds):
        """The next line of output; None: it has ended."""
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._popen.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0, end - time.monotonic())):
                    raise Failed(f"{self._name}: nothing within {seconds} s\n{self._tail()}")
                part = self._popen.stdout.read1(65536)
                if not part:
                    return None
                self._buffer += part
        first, self._buffer = self._buffer.split(b"\n", 1)
        self._said.append(first.decode(errors="replace").rstrip())
        return self._said[-1]

    def _tail(self):
        return "\n".join(self._said[-10:])

    def finish(self):
        while self.line(SLACK_SECONDS * 5) is not None:
            pass
        if self._popen.wait(SLACK_SECONDS) != 0:
            raise Failed(f"{self._name}:\n{self._tail()}")

    def rate(self, bytes_more, settings):
        """10^6 bytes a second after the warm-up, between two of the tool's lines. bytes_more(line): by how much it
        raises the count, or None."""
        began = first = None
        count = 0
        while (line := self.line(START_SECONDS)) is not None:
            more = bytes_more(line)
            if more is None:
                continue
            now = time.monotonic()
            count += more
            began = began or now
            if first is None and now - began >= settings.warmup:
                first, count = now, 0
            elif first is not None and now - first >= settings.seconds:
                return count / (now - first) / 1e6
        if first is None or count == 0:
            raise Failed(f"{self._name} has ended too soon:\n{self._tail()}")
        return count / (now - first) / 1e6  # all that there was


def _produced_bytes(line):
    found = PRODUCED.match(line)
    return int(found[1]) * RECORD_BYTES if found else None


class _Consumed:
    """ConsumerPerformance tells how much it has got so far."""

    def __init__(self):
        self._before = 0.0

    def __call__(self, line):
        found = CONSUMED.match(line)
        if not found:
            return None
        before, self._before = self._before, float(found[1]) * 2 ** 20
        return self._before - before


def _latencies(bootstrap, topic, seconds):
    """Milliseconds from the time at which a record was due until a consumer has it: one every 20 ms, whether or not
    the ones before have arrived. A stock client of librdkafka."""
    from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition  # pylint: disable=import-outside-toplevel
    common = {"bootstrap.servers": bootstrap, "log_level": 0}
    producer = Producer({**common, "acks": "all", "enable.idempotence": True})
    consumer = Consumer({**common, "group.id": "bench", "enable.auto.commit": False})
    took = []

    def take(until):
        while time.monotonic() < until:
            message = consumer.poll(max(0, until - time.monotonic()))
            if message is None:
                return
            if message.error():
                raise Failed(f"consuming: {message.error()}")
            took.append((time.monotonic() - struct.unpack("d", message.value()[:8])[0]) * 1000)

    def send(due):
        producer.produce(topic, struct.pack("d", due).ljust(RECORD_BYTES), partition=0)
        producer.poll(0)
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_END)])
        end = time.monotonic() + START_SECONDS
        while not took:  # both have found the broker, and the consumer its place
            if time.monotonic() > end:
                raise Failed("no record came through")
            send(time.monotonic())
            take(time.monotonic() + 0.5)
        producer.flush(LATE_SECONDS)
        take(time.monotonic() + 1)
        took.clear()
        start, sent = time.monotonic(), 0
        while (due := start + sent * RECORD_INTERVAL_S) < start + seconds:
            take(due)
            send(due)
            sent += 1
        end = time.monotonic() + LATE_SECONDS
        while len(took) < sent and time.monotonic() < end:
            take(time.monotonic() + 0.1)
        if len(took) != sent:
            raise Failed(f"{sent} records were sent, {len(took)} came")
    finally:
        consumer.close()
        producer.flush(0)
    return sorted(took)


def _keep_latencies(took, key, results):
    for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1)):
        results[f"{key}_{name}"] = took[min(len(took) - 1, int(len(took) * share))]


def _measure(name, tuned):
    def measure(start, settings, results):
        broker = _Broker(tuned)
        with start(beside=broker) as tunnel:
            for partitions in PARTITIONS:
                topic = broker.topic(partitions)
                with broker.start_producer(tunnel, topic) as producer:
                    results[f"{name}_produce{partitions}"] = producer.rate(_produced_bytes, settings)
            for partitions in PARTITIONS:
                topic = broker.topic(partitions)
                broker.fill(topic)
                with broker.start_consumer(tunnel, topic) as consumer:
                    results[f"{name}_consume{partitions}"] = consumer.rate(_Consumed(), settings)
            watched = broker.topic(1)
            with tunnel.place.near():
                took = _latencies(broker.bootstrap(tunnel), watched, settings.seconds)
            _keep_latencies(took, f"{name}_alone", results)
            with broker.start_producer(tunnel, broker.topic(1)) as producer:
                producer.line(START_SECONDS)
                with tunnel.place.near():
                    took = _latencies(broker.bootstrap(tunnel), watched, settings.seconds)
            _keep_latencies(took, f"{name}_beside", results)
    return measure


KAFKA_GROUPS = {"kafka": _measure("kafka", False), "kafka-tuned": _measure("kafka-tuned", True)}


def rows(name):
    title = {"kafka": "stock", "kafka-tuned": "tuned"}[name]
    return [*(Row(f"{name}_{what}{n}", f"{title}: {what}, {n} partition{'s' * (n > 1)}, MB/s", 2)
              for what in ("produce", "consume") for n in PARTITIONS),
            *(Row(f"{name}_{key}_{point}", f"{title}: record end to end {text}, {point}, ms")
              for key, text in (("alone", "alone"), ("beside", "beside a producer"))
              for point in ("p50", "p99", "max"))]
