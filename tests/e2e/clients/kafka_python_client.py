"""kafka-python: produce, consume as a member of a group."""

import sys

import common
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.net.sasl.oauth import AbstractTokenProvider


class Token(AbstractTokenProvider):
    def __init__(self, token):
        self._token = token

    def token(self):
        return self._token


def security(args):
    oauth = {"sasl_oauth_token_provider": Token(args["token"])} if "token" in args else {}
    return {**common.properties(args), **common.tls(args), **oauth}


def login(args):
    # It loses what the broker says when it reads the end of the connection along with it, direct as well, and tries again: let it try often.
    common.say_first_log(lambda: KafkaAdminClient(bootstrap_servers=args["bootstrap"], reconnect_backoff_max_ms=100,
                                                  **security(args)).list_topics(),
                         r"\w*AuthenticationFailedError.*")


def produce(args):
    producer = KafkaProducer(bootstrap_servers=args["bootstrap"], acks="all", linger_ms=5, **security(args))
    topic, size, seed = args["topic"], int(args["size"]), args["seed"]
    partitions = len(producer.partitions_for(topic))
    digests, futures = common.Digests(), []
    for i in range(int(args["count"])):
        data = common.value(seed, i, size)
        digests.add(i % partitions, data)
        futures.append(producer.send(topic, data, partition=i % partitions))
    producer.flush(float(args.get("deadline", 60)))
    for future in futures:
        future.get(timeout=1)
    producer.close()
    digests.print()


def consume(args):
    count, digests, deadline = int(args["count"]), common.Digests(), common.Deadline(args)
    consumer, polled = common.awake(lambda: KafkaConsumer(
        args["topic"], bootstrap_servers=args["bootstrap"], group_id=args["group"], auto_offset_reset="earliest",
        enable_auto_commit=False, **security(args)))
    while True:
        for messages in polled.values():
            for m in messages:
                digests.add_at(m.partition, m.offset, m.value)
        if digests.records >= count:
            break
        deadline.check(digests, count)
        polled = consumer.poll(timeout_ms=200, max_records=1000)
    consumer.commit()
    consumer.close()
    digests.print()


ARGS = common.arguments()
sys.exit({"login": login, "produce": produce, "consume": consume}[ARGS["verb"]](ARGS))
