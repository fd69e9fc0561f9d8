"""confluent-kafka (librdkafka): its features, one by one."""

import common
import features
from confluent_kafka import (Consumer, ConsumerGroupTopicPartitions, ElectionType, IsolationLevel, KafkaException, Producer,
                             TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, OffsetSpec, ResourceType)

ARGS = common.arguments()
BASE = {"bootstrap.servers": ARGS["bootstrap"], **common.properties(ARGS)}
ADMIN = AdminClient(BASE)


def results(futures):
    return {key: future.result(30) for key, future in futures.items()}


def topic(partitions=3):
    name = features.name("f")
    results(ADMIN.create_topics([NewTopic(name, partitions, int(ARGS.get("replication", 3)))]))
    return name


def send(producer, name, records):
    failures = []
    for value in records:
        producer.produce(name, value, on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(30) == 0 and not failures, failures


def read(name, due, **more):
    """As a member of a new group; its offsets are committed."""
    group, got = features.name("g"), []
    consumer = Consumer({**BASE, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, **more})
    consumer.subscribe([name])

    def more_came():
        got.extend(m.value() for m in consumer.consume(100, 0.2) if not m.error())
        return len(got) >= len(due)
    try:
        features.until(more_came, f"{len(due)} records", 60)
        features.same(got, due)
        consumer.commit(asynchronous=False)
    finally:
        consumer.close()
    found = results(ADMIN.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))[group]
    assert sum(p.offset for p in found.topic_partitions if p.offset > 0) >= len(due)
    return group


def produce(acks, **more):
    name, first = topic(), []
    if acks == "0":  # a record is lost without a word when the topic is so new that its leaders are not there yet
        first = features.values("first")
        send(Producer(BASE), name, first)
    send(Producer({**BASE, "acks": acks, **more}), name, features.values())
    read(name, first + features.values())


def transactions():
    name = topic()
    producer = Producer({**BASE, "transactional.id": features.name("t")})
    producer.init_transactions(30)
    producer.begin_transaction()
    send(producer, name, features.values("aborted"))
    producer.abort_transaction(30)
    producer.begin_transaction()
    send(producer, name, features.values())
    producer.commit_transaction(30)
    read(name, features.values(), **{"isolation.level": "read_committed"})


def compression():
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        produce("all", **{"compression.type": codec})


def group(protocol):
    name = topic()
    send(Producer(BASE), name, features.values())
    read(name, features.values(), **{"group.protocol": protocol})


def topics():
    name = topic(4)
    features.until(lambda: len(ADMIN.list_topics(name, timeout=20).topics[name].partitions) == 4, "four partitions")
    results(ADMIN.delete_topics([name]))


def configs():
    resource = ConfigResource(ResourceType.TOPIC, topic(1))
    resource.add_incremental_config(ConfigEntry("retention.ms", "4711", incremental_operation=AlterConfigOpType.SET))
    results(ADMIN.incremental_alter_configs([resource]))
    asked = ConfigResource(ResourceType.TOPIC, resource.name)
    features.until(lambda: results(ADMIN.describe_configs([asked]))[asked]["retention.ms"].value == "4711", "the new setting")
    for node in ADMIN.describe_cluster().result(30).nodes:
        broker = ConfigResource(ResourceType.BROKER, node.id_string)
        assert results(ADMIN.describe_configs([broker]))[broker]["node.id"].value == node.id_string


def groups():
    name = topic(1)
    send(Producer(BASE), name, features.values())
    group_id = read(name, features.values())
    assert group_id in {g.group_id for g in ADMIN.list_consumer_groups().result(30).valid}
    assert results(ADMIN.describe_consumer_groups([group_id]))[group_id].group_id == group_id
    results(ADMIN.delete_consumer_groups([group_id]))


def offsets(deleted):
    partition = TopicPartition(topic(1), 0)
    send(Producer(BASE), partition.topic, features.values(count=10))
    if deleted:
        results(ADMIN.delete_records([TopicPartition(partition.topic, 0, deleted)]))
    for spec, due in ((OffsetSpec.earliest(), deleted), (OffsetSpec.latest(), 10)):
        found = results(ADMIN.list_offsets({partition: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED))
        assert found[partition].offset == due, found


def elect_leaders():
    partition = TopicPartition(topic(1), 0)
    for error in ADMIN.elect_leaders(ElectionType.PREFERRED, [partition]).result(30).values():
        if error and error.name() != "ELECTION_NOT_NEEDED":
            raise KafkaException(error)


FEATURES = features.Features()
for ACKS in ("0", "1", "all"):
    FEATURES.check(f"produce acks={ACKS}", produce, ACKS)
FEATURES.check("idempotent producer", lambda: produce("all", **{"enable.idempotence": True}))
FEATURES.check("transactions", transactions)
FEATURES.check("compression", compression)
FEATURES.check("consumer group (classic)", group, "classic")
if ARGS.get("modern", "true") == "true":
    FEATURES.check("consumer group (KIP-848)", group, "consumer")
FEATURES.check("admin: topics", topics)
FEATURES.check("admin: configs", configs)
FEATURES.check("admin: groups", groups)
FEATURES.check("admin: describe cluster",
               lambda: features.Nodes(ARGS).check((n.host, n.port) for n in ADMIN.describe_cluster().result(30).nodes))
FEATURES.check("admin: delete records", offsets, 4)
FEATURES.check("admin: list offsets", offsets, 0)
FEATURES.check("admin: elect leaders", elect_leaders)
FEATURES.print()
