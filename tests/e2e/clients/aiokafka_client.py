"""aiokafka: produce, consume as a member of a group."""

import asyncio
import sys

import common
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider


class Token(AbstractTokenProvider):
    def __init__(self, token):
        self._token = token

    async def token(self):
        return self._token


def security(args):
    oauth = {"sasl_oauth_token_provider": Token(args["token"])} if "token" in args else {}
    return {**common.properties(args), **common.tls(args), **oauth}


async def start(args):
    producer = AIOKafkaProducer(bootstrap_servers=args["bootstrap"], **security(args))
    try:
        await producer.start()
    finally:
        await producer.stop()


async def produce(args):
    producer = AIOKafkaProducer(bootstrap_servers=args["bootstrap"], enable_idempotence=True, linger_ms=5, **security(args))
    await producer.start()
    try:
        topic, size, seed = args["topic"], int(args["size"]), args["seed"]
        partitions = len(await producer.partitions_for(topic))
        digests, futures = common.Digests(), []
        for i in range(int(args["count"])):
            data = common.value(seed, i, size)
            digests.add(i % partitions, data)
            futures.append(await producer.send(topic, data, partition=i % partitions))
        await producer.flush()
        await asyncio.gather(*futures)
    finally:
        await producer.stop()
    digests.print()


async def consume(args):
    count, digests, deadline = int(args["count"]), common.Digests(), common.Deadline(args)
    consumer = AIOKafkaConsumer(args["topic"], bootstrap_servers=args["bootstrap"], group_id=args["group"],
                                auto_offset_reset="earliest", enable_auto_commit=False, **security(args))
    await consumer.start()
    try:
        while digests.records < count:
            for messages in (await consumer.getmany(timeout_ms=200, max_records=1000)).values():
                for m in messages:
                    digests.add_at(m.partition, m.offset, m.value)
            deadline.check(digests, count)
        await consumer.commit()
    finally:
        await consumer.stop()
    digests.print()


ARGS = common.arguments()
if ARGS["verb"] == "login":
    common.say_first_log(lambda: asyncio.run(start(ARGS)), r"\w*AuthenticationFailed.*")
sys.exit(asyncio.run({"produce": produce, "consume": consume}[ARGS["verb"]](ARGS)))
