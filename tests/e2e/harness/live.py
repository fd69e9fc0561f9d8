"""Kafka clients that work during a whole test, while something is done to brokers or tunnel; and how to see that they do."""

import hashlib
import json
import re
import subprocess
import uuid

from confluent_kafka import Consumer, KafkaException, TopicPartition

from harness import clients, wait

# A new epoch in the log of an idempotent producer: Java's (level INFO, see java/log4j2.yaml), librdkafka's (debug=eos).
EPOCHS = re.compile(r"ProducerId set to (\d+) with epoch (\d+)|(?:Acquired|bumped epoch to) PID\{Id:(\d+),Epoch:(\d+)\}")


def java_producer(bootstrap, topic, patience=5):
    return clients.java("Produce", bootstrap=bootstrap, topic=topic, count="stdin", rate=200, size=200, seed="live",
                        prop_delivery__timeout__ms=120000, prop_request__timeout__ms=patience * 1000)


def java_consumer(bootstrap, topic, protocol="classic", deadline=200, patience=5):
    return clients.java("Consume", bootstrap=bootstrap, topic=topic, group=new_group(), count="stdin", deadline=deadline,
                        prop_request__timeout__ms=patience * 1000, prop_default__api__timeout__ms=patience * 2000,
                        prop_group__protocol=protocol)


def new_group():
    return "g-" + uuid.uuid4().hex[:8]


def epochs(log):
    """{(producer id, epoch)} that a producer has had, as its log says."""
    return {tuple(int(number) for number in match.groups() if number) for match in EPOCHS.finditer(log)}


def renumbered(records, known):
    """How many of the records of one partition (segments.Record) its only producer wrote twice because it began a new epoch.

    While a leader moves, a broker answers OUT_OF_ORDER_SEQUENCE_NUMBER to a batch that comes before the one that failed. librdkafka
    then begins a new epoch (KIP-360) in all its partitions, and gives new sequence numbers to whatever is in flight, at most five
    batches each: those that a broker had appended before its connection broke are there twice
    (https://github.com/confluentinc/librdkafka/issues/4953, open in 2.16). Such copies follow directly on the originals, in the same
    order, as the first of the new epoch, and the producer has logged that epoch: `known`. Any other record that is there twice is a
    failure.
    """
    place, copies, at = {}, 0, 0
    while at < len(records):
        record, first = records[at], place.setdefault(records[at].value, at)
        if first == at:
            at += 1
            continue
        count = at - first
        old, new = records[first:at], records[at:at + count]
        told = "\n".join(f"{r.value[:24]!r}: offset {r.offset}, producer {r.producer}, epoch {r.epoch}, sequence {r.sequence}"
                         for r in old[:3] + new[:3])
        assert [r.value for r in old] == [r.value for r in new], f"a record is there twice:\n{told}"
        assert all(len({(r.producer, r.epoch) for r in side}) == 1 for side in (old, new)), f"copies of several epochs:\n{told}"
        assert all(r.producer == record.producer and r.epoch < record.epoch for r in old), f"copies without a new epoch:\n{told}"
        assert record.sequence == 0, f"copies that do not begin their epoch:\n{told}"
        assert (record.producer, record.epoch) in known, f"copies of an epoch that the producer does not know, {known}:\n{told}"
        place.update((r.value, at + i) for i, r in enumerate(new))
        copies += count
        at += count
    return copies


def digests(partitions):
    """As the clients print it, of {partition: values}."""
    return {"records": sum(len(values) for values in partitions.values()),
            "bytes": sum(len(value) for values in partitions.values() for value in values),
            "partitions": {str(p): hashlib.sha256(b"".join(values)).hexdigest() for p, values in partitions.items() if values}}


class Live:
    """A producer and consumers of one topic at work until told to finish; no record may be lost, doubled or out of order.

    `producer` and `consumers` {name: command} are programs with count=stdin (see java/Consume.java); Java ones if not given.
    """

    def __init__(self, processes, bootstrap, topic, producer=None, consumers=None):
        self.topic = topic
        self.producer = processes.start(producer or java_producer(bootstrap, topic), "producer", stdin=subprocess.PIPE)
        consumers = consumers or {"consumer": java_consumer(bootstrap, topic)}
        self.consumers = [processes.start(argv, name, stdin=subprocess.PIPE) for name, argv in consumers.items()]

    @staticmethod
    def _tell(client, line):
        client.popen.stdin.write(line.encode() + b"\n")
        client.popen.stdin.close()

    @staticmethod
    def _result(client, deadline):
        assert client.wait_exit(deadline) == 0, client.tail()
        return json.loads(client.stdout().strip().splitlines()[-1])

    def alive(self):
        """Fails if one of them has given up."""
        for client in [self.producer, *self.consumers]:
            assert client.alive(), client.tail()

    def finish(self, cluster, leaders_move=False):
        """What was produced, with "copies": how many records the producer wrote again by itself (see `renumbered`), which it has no
        reason for unless leaders move."""
        self._tell(self.producer, "stop")
        produced = self._result(self.producer, 130)
        stored = cluster.records(self.topic)
        known = epochs(self.producer.log())
        copies = sum(self._checked(p, records, known) for p, records in stored.items())
        assert leaders_move or copies == 0, f"{self.topic}: {copies} records twice, of {known}\n{self.producer.tail(100)}"
        clients.same(digests({p: list(dict.fromkeys(r.value for r in records)) for p, records in stored.items()}), produced,
                     f"the brokers, of {self.producer.name}")
        everything = digests({p: [r.value for r in records] for p, records in stored.items()})
        for consumer in self.consumers:
            self._tell(consumer, str(everything["records"]))
        for consumer in self.consumers:
            clients.same(self._result(consumer, 60), everything, consumer.name)
        return {**produced, "copies": copies}

    def _checked(self, partition, records, known):
        try:
            return renumbered(records, known)
        except AssertionError as reason:
            raise AssertionError(f"{self.topic}-{partition}: {reason}\n{self.producer.tail(100)}") from None


def end_offsets(cluster, topic):
    """The sum over all partitions, as the brokers know it; -1 while a leader is just moving."""
    alive = ",".join(b.address for b in cluster.brokers if b.process.alive())
    consumer = Consumer({"bootstrap.servers": alive, "group.id": "offsets", "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions)
    except KafkaException:
        return -1
    finally:
        consumer.close()


def wait_progress(cluster, topic, records=300, deadline=60):
    """The producer gets at least so many more records through."""
    first = wait.until(lambda: (n := end_offsets(cluster, topic)) >= 0 and (n + 1), deadline, "end offsets", 0.2) - 1
    wait.until(lambda: end_offsets(cluster, topic) >= first + records, deadline, f"{records} more records in {topic}", 0.2)
