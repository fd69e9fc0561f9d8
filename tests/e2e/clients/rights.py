"""rights.py CLIENT bootstrap=... id=... ACTION...: does things one after the other, as ../java/Rights.java, and prints what the client says.

CLIENT is confluent or kafka-python.
"""

import sys
import time

PATIENT_S = 45


class Confluent:
    def __init__(self, bootstrap, client_id):
        self.common = {"bootstrap.servers": bootstrap, "client.id": client_id, "log_level": 0}

    def produce(self, topic):
        from confluent_kafka import KafkaException, Producer
        said = []
        producer = Producer({**self.common, "message.timeout.ms": 30000})
        producer.produce(topic, b"x", partition=0, on_delivery=lambda error, _: said.append(error))
        producer.flush(40)
        if said[0]:
            raise KafkaException(said[0])

    def assign(self, topic):
        from confluent_kafka import TopicPartition
        self._consume("unused", lambda consumer: consumer.assign([TopicPartition(topic, 0, 0)]), False)

    def group(self, topic, group):
        self._consume(group, lambda consumer: consumer.subscribe([topic]), True)

    def _consume(self, group, begin, commits):
        from confluent_kafka import Consumer, KafkaException
        consumer = Consumer({**self.common, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False})
        try:
            begin(consumer)
            end = time.monotonic() + PATIENT_S
            while time.monotonic() < end:
                message = consumer.poll(0.2)
                if message is None:
                    continue
                if message.error():
                    raise KafkaException(message.error())
                if commits:
                    consumer.commit(message, asynchronous=False)
                return
            raise RuntimeError("no records")
        finally:
            consumer.close()

    def create(self, topic):
        from confluent_kafka.admin import AdminClient, NewTopic
        admin = AdminClient(self.common)
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)


class KafkaPython:
    def __init__(self, bootstrap, client_id):
        self.common = {"bootstrap_servers": bootstrap, "client_id": client_id}

    def produce(self, topic):
        from kafka import KafkaProducer
        producer = KafkaProducer(**self.common, max_block_ms=30000)
        try:
            producer.send(topic, b"x", partition=0).get(30)
        finally:
            producer.close(5)

    def assign(self, topic):
        from kafka import TopicPartition
        self._consume(None, lambda consumer: consumer.assign([TopicPartition(topic, 0)]))

    def group(self, topic, group):
        self._consume(group, lambda consumer: consumer.subscribe([topic]))

    def _consume(self, group, begin):
        from kafka import KafkaConsumer
        consumer = KafkaConsumer(**self.common, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False)
        try:
            begin(consumer)
            if not consumer.poll(PATIENT_S * 1000):  # one long poll: see common.awake()
                raise RuntimeError("no records")
            if group:
                consumer.commit()
        finally:
            consumer.close(autocommit=False)

    def create(self, topic):
        from kafka.admin import KafkaAdminClient, NewTopic
        admin = KafkaAdminClient(**self.common)
        try:
            admin.create_topics([NewTopic(topic, 1, 1)])
        finally:
            admin.close()


def main():
    bootstrap, client_id = sys.argv[2].removeprefix("bootstrap="), sys.argv[3].removeprefix("id=")
    client = {"confluent": Confluent, "kafka-python": KafkaPython}[sys.argv[1]](bootstrap, client_id)
    for action in sys.argv[4:]:
        name, _, arguments = action.partition("=")
        try:
            getattr(client, name)(*arguments.split(","))
            print("ok", flush=True)
        except Exception as error:
            print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)


main()
