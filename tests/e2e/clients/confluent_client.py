"""confluent-kafka (librdkafka): produce, consume as a group of one or several members, describe the cluster."""

import itertools
import json
import sys
import time

import common
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient


def produce(args):
    failures = []
    producer = Producer({"bootstrap.servers": args["bootstrap"], "enable.idempotence": True, **common.properties(args)})
    topic, size, seed = args["topic"], int(args["size"]), args["seed"]
    partitions = len(producer.list_topics(topic, timeout=30).topics[topic].partitions)
    digests, count, pace = common.Digests(), common.Count(args), common.Pace(args)
    for i in itertools.count():
        if i >= count.value:
            break
        data = common.value(seed, i, size)
        digests.add(i % partitions, data)
        while True:
            try:
                producer.produce(topic, data, partition=i % partitions,
                                 on_delivery=lambda error, _: failures.append(str(error)) if error else None)
                break
            except BufferError:
                producer.poll(0.5)
        producer.poll(0)
        pace.sleep(i + 1)
    left = producer.flush(float(args.get("deadline", 60)))
    if left or failures:
        sys.exit(f"{left} records not delivered; {failures[:3]}")
    digests.print()


def consume(args):
    """members=N: N consumers of one group in this process; each must be given partitions."""
    count, members = common.Count(args), int(args.get("members", 1))
    digests, deadline = common.Digests(), common.Deadline(args)
    assigned = [set() for _ in range(members)]
    consumers = []
    for _ in range(members):
        consumer = Consumer({"bootstrap.servers": args["bootstrap"], "group.id": args["group"],
                             "auto.offset.reset": "earliest", "enable.auto.commit": False,
                             "group.protocol": args.get("protocol", "classic"), **common.properties(args)})
        consumer.subscribe([args["topic"]])
        consumers.append(consumer)
    # Members join before anything is read, so that each gets a share whatever the speed.
    while not all(assigned):
        for i, consumer in enumerate(consumers):
            message = consumer.poll(0.05)
            assigned[i] = {p.partition for p in consumer.assignment()}
            if message and not message.error():
                digests.add_at(message.partition(), message.offset(), message.value())
        deadline.check(digests, count.value)
    while digests.records < count.value:
        for consumer in consumers:
            for message in consumer.consume(500, 0.1):
                if message.error():
                    if message.error().code() != KafkaError._PARTITION_EOF:
                        print(message.error(), file=sys.stderr)
                    continue
                digests.add_at(message.partition(), message.offset(), message.value())
        deadline.check(digests, count.value)
    for consumer in consumers:
        consumer.commit(asynchronous=False)
        consumer.close()
    digests.print(members=[sorted(a) for a in assigned])


def describe(args):
    """What this client has been told about the cluster: by Metadata and by DescribeCluster."""
    admin = AdminClient({"bootstrap.servers": args["bootstrap"], **common.properties(args)})
    metadata = admin.list_topics(timeout=30)
    cluster = admin.describe_cluster(request_timeout=30).result()
    print(json.dumps({
        "metadata": {b.id: f"{b.host}:{b.port}" for b in metadata.brokers.values()},
        "describe_cluster": {n.id: f"{n.host}:{n.port}" for n in cluster.nodes},
        "topics": sorted(metadata.topics)}))


def login(args):
    """librdkafka tries again and again; it says why through the error callback."""
    errors = []
    producer = Producer({"bootstrap.servers": args["bootstrap"], "error_cb": errors.append, **common.properties(args)})
    deadline = time.monotonic() + 30
    while not errors and time.monotonic() < deadline:
        producer.poll(0.1)
    common.say_failure(KafkaException(f"{errors[0].name()} {errors[0].str()}") if errors else "none")


ARGS = common.arguments()
{"login": login, "produce": produce, "consume": consume, "describe": describe}[ARGS["verb"]](ARGS)
