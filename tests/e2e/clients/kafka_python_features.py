"""kafka-python: its features, one by one."""

import common
import features
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

ARGS = common.arguments()
BASE = {"bootstrap_servers": ARGS["bootstrap"], **common.properties(ARGS)}
LOG = common.Log()
ADMIN = KafkaAdminClient(**BASE)


def topic(partitions=3):
    name = features.name("f")
    ADMIN.create_topics([NewTopic(name, partitions, int(ARGS.get("replication", 3)))], wait_for_metadata=True)
    return name


def send(producer, name, records):
    futures = [producer.send(name, value) for value in records]
    producer.flush(30)
    for future in futures:
        future.get(30)


def read(name, due, **more):
    group, got = features.name("g"), []
    consumer, first = common.awake(lambda: KafkaConsumer(name, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
                                                         **BASE, **more))

    def take(polled):
        got.extend(m.value for messages in polled.values() for m in messages)

    def more_came():
        take(consumer.poll(200))
        return len(got) >= len(due)
    take(first)
    try:
        features.until(more_came, lambda: f"{len(due)} records, only {len(got)} of {consumer.assignment()}; {LOG.text()}", 60)
        features.same(got, due)
        consumer.commit()
        assert sum(consumer.committed(p) or 0 for p in consumer.assignment()) >= len(due)
    finally:
        consumer.close()
    return group


def produce(acks, **more):
    name, first = topic(), []
    if acks == 0:  # a record is lost without a word when the topic is so new that its leaders are not there yet
        first = features.values("first")
        producer = KafkaProducer(acks="all", **BASE)
        send(producer, name, first)
        producer.close()
    producer = KafkaProducer(acks=acks, **BASE, **more)
    send(producer, name, features.values())
    producer.close()
    read(name, first + features.values())


def transactions():
    name = topic()
    producer = KafkaProducer(transactional_id=features.name("t"), **BASE)
    producer.init_transactions()
    producer.begin_transaction()
    for value in features.values("aborted"):
        producer.send(name, value)
    producer.flush(30)
    producer.abort_transaction()
    producer.begin_transaction()
    send(producer, name, features.values())
    producer.commit_transaction()
    producer.close()
    read(name, features.values(), isolation_level="read_committed")


def topics():
    name = topic(4)
    features.until(lambda: name in ADMIN.list_topics(), f"{name} is listed")
    features.until(lambda: len(ADMIN.describe_topics([name])[0]["partitions"]) == 4, "four partitions")
    ADMIN.delete_topics([name])


def configs():
    name = topic(1)
    features.until(lambda: ADMIN.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": "4711"})]) or True,
                   "the change")
    features.until(lambda: "4711" in str(ADMIN.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])), "the new setting")


def groups():
    name = topic(1)
    producer = KafkaProducer(**BASE)
    send(producer, name, features.values())
    producer.close()
    group = read(name, features.values())
    assert group in str(ADMIN.list_groups())
    assert group in str(ADMIN.describe_groups([group]))
    ADMIN.delete_groups([group])


def delete_records():
    partition = TopicPartition(topic(1), 0)
    producer = KafkaProducer(**BASE)
    send(producer, partition.topic, features.values(count=10))
    producer.close()
    ADMIN.delete_records({partition: 4})
    consumer = KafkaConsumer(**BASE)
    assert consumer.beginning_offsets([partition])[partition] == 4
    assert consumer.end_offsets([partition])[partition] == 10
    consumer.close()


def list_offsets():
    partition = TopicPartition(topic(1), 0)
    producer = KafkaProducer(**BASE)
    send(producer, partition.topic, features.values(count=10))
    producer.close()
    consumer = KafkaConsumer(**BASE)
    assert consumer.beginning_offsets([partition])[partition] == 0
    assert consumer.end_offsets([partition])[partition] == 10
    consumer.close()


FEATURES = features.Features()
for ACKS in (0, 1, "all"):
    FEATURES.check(f"produce acks={ACKS}", lambda acks=ACKS: produce(acks, enable_idempotence=False))
FEATURES.check("idempotent producer", lambda: produce("all", enable_idempotence=True))
FEATURES.check("transactions", transactions)
FEATURES.check("compression", lambda: produce("all", compression_type="gzip"))
FEATURES.check("consumer group (classic)", lambda: produce("all"))
FEATURES.check("admin: topics", topics)
FEATURES.check("admin: configs", configs)
FEATURES.check("admin: groups", groups)
FEATURES.check("admin: describe cluster",
               lambda: features.Nodes(ARGS).check((b["host"], b["port"]) for b in ADMIN.describe_cluster()["brokers"]))
FEATURES.check("admin: delete records", delete_records)
FEATURES.check("admin: list offsets", list_offsets)
FEATURES.print()
