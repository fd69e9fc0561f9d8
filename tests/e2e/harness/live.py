"""Kafka clients that work during a whole test, while something is done to brokers or tunnel; and how to see that they do."""

import json
import subprocess
import uuid

from confluent_kafka import Consumer, KafkaException, TopicPartition

from harness import clients, wait


def java_producer(bootstrap, topic, patience=5):
    return clients.java("Produce", bootstrap=bootstrap, topic=topic, count="stdin", rate=200, size=200, seed="live",
                        prop_delivery__timeout__ms=120000, prop_request__timeout__ms=patience * 1000)


def java_consumer(bootstrap, topic, protocol="classic", deadline=200, patience=5):
    return clients.java("Consume", bootstrap=bootstrap, topic=topic, group=new_group(), count="stdin", deadline=deadline,
                        prop_request__timeout__ms=patience * 1000, prop_default__api__timeout__ms=patience * 2000,
                        prop_group__protocol=protocol)


def new_group():
    return "g-" + uuid.uuid4().hex[:8]


class Live:
    """A producer and consumers of one topic at work until told to finish; no record may be lost, doubled or out of order.

    `producer` and `consumers` {name: command} are programs with count=stdin (see java/Consume.java); Java ones if not given.
    """

    def __init__(self, processes, bootstrap, topic, producer=None, consumers=None):
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

    def finish(self):
        self._tell(self.producer, "stop")
        produced = self._result(self.producer, 130)
        for consumer in self.consumers:
            self._tell(consumer, str(produced["records"]))
        for consumer in self.consumers:
            clients.same(self._result(consumer, 60), produced)
        return produced


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
