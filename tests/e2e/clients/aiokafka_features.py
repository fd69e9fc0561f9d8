"""aiokafka: its features, one by one."""

import asyncio

import common
import features
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

ARGS = common.arguments()
BASE = {"bootstrap_servers": ARGS["bootstrap"], **common.properties(ARGS)}


class Client:
    def __init__(self, admin):
        self.admin = admin

    async def topic(self, partitions=3):
        name = features.name("f")
        await self.admin.create_topics([NewTopic(name, partitions, int(ARGS.get("replication", 3)))])
        for _ in range(600):  # the brokers hear of it one after the other
            described = (await self.admin.describe_topics([name]))[0]
            if len(described["partitions"]) == partitions and all(p["leader"] >= 0 for p in described["partitions"]):
                return name
            await asyncio.sleep(0.05)
        raise AssertionError(f"no topic {name}")

    @staticmethod
    async def send(producer, name, records):
        for future in [await producer.send(name, value) for value in records]:
            await future

    @staticmethod
    async def read(name, due, **more):
        group, got = features.name("g"), []
        consumer = AIOKafkaConsumer(name, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, **BASE, **more)
        await consumer.start()
        try:
            for _ in range(300):
                got += [m.value for messages in (await consumer.getmany(timeout_ms=200)).values() for m in messages]
                if len(got) >= len(due):
                    break
            features.same(got, due)
            await consumer.commit()
            assert sum([await consumer.committed(p) or 0 for p in consumer.assignment()]) >= len(due)
        finally:
            await consumer.stop()
        return group

    async def produce(self, **more):
        name, first = await self.topic(), []
        if more.get("acks") == 0:  # lost without a word when the topic is so new that its leaders are not there yet
            first = features.values("first")
            async with AIOKafkaProducer(acks="all", **BASE) as producer:
                await self.send(producer, name, first)
        async with AIOKafkaProducer(**BASE, **more) as producer:
            await self.send(producer, name, features.values())
        await self.read(name, first + features.values())

    async def transactions(self):
        name = await self.topic()
        async with AIOKafkaProducer(transactional_id=features.name("t"), **BASE) as producer:
            await producer.begin_transaction()
            await self.send(producer, name, features.values("aborted"))
            await producer.abort_transaction()
            async with producer.transaction():
                await self.send(producer, name, features.values())
        await self.read(name, features.values(), isolation_level="read_committed")

    async def topics(self):
        name = await self.topic(4)
        for _ in range(600):  # another broker may be asked, that has not heard of it yet
            if name in await self.admin.list_topics():
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError(f"{name} is not listed")
        await self.admin.delete_topics([name])

    async def groups(self):
        name = await self.topic(1)
        async with AIOKafkaProducer(**BASE) as producer:
            await self.send(producer, name, features.values())
        group = await self.read(name, features.values())
        assert group in str(await self.admin.list_consumer_groups())
        assert group in str(await self.admin.describe_consumer_groups([group]))

    async def describe_cluster(self):
        found = await self.admin.describe_cluster()
        features.Nodes(ARGS).check((b["host"], b["port"]) for b in found["brokers"])

    async def offsets(self, deleted):
        partition = TopicPartition(await self.topic(1), 0)
        # With acks=1, its default, the brokers may not offer the last records yet.
        async with AIOKafkaProducer(acks="all", **BASE) as producer:
            await self.send(producer, partition.topic, features.values(count=10))
        if deleted:
            await self.admin.delete_records({partition: RecordsToDelete(deleted)})
        async with AIOKafkaConsumer(**BASE) as consumer:
            assert (await consumer.beginning_offsets([partition]))[partition] == deleted
            assert (await consumer.end_offsets([partition]))[partition] == 10


async def main():
    found = features.Features()
    admin = AIOKafkaAdminClient(**BASE)
    await admin.start()
    try:
        client = Client(admin)
        for acks in (0, 1, "all"):
            await found.check_async(f"produce acks={acks}", lambda acks=acks: client.produce(acks=acks))
        await found.check_async("idempotent producer", lambda: client.produce(enable_idempotence=True))
        await found.check_async("transactions", client.transactions)
        await found.check_async("compression", lambda: client.produce(compression_type="gzip"))
        await found.check_async("consumer group (classic)", client.produce)
        await found.check_async("admin: topics", client.topics)
        await found.check_async("admin: groups", client.groups)
        await found.check_async("admin: describe cluster", client.describe_cluster)
        await found.check_async("admin: delete records", client.offsets, 4)
        await found.check_async("admin: list offsets", client.offsets, 0)
    finally:
        await admin.close()
    found.print()


asyncio.run(main())
