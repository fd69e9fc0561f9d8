#!/usr/bin/env python3
"""Produces and consumes ten records with confluent-kafka: produce_consume.py TOPIC [BOOTSTRAP]"""
import sys
import uuid

from confluent_kafka import Consumer, KafkaException, Producer


def main(topic, bootstrap="localhost:9092"):
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap})
    for i in range(10):
        producer.produce(topic, key=str(i), value=f"record {i}", on_delivery=lambda error, _: error and failures.append(error))
    if producer.flush(30) or failures:
        sys.exit(f"not delivered: {failures}")

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"example-{uuid.uuid4()}", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    seen = 0
    try:
        while seen < 10:
            message = consumer.poll(30)
            if message is None:
                sys.exit("no record within 30 s")
            if message.error():
                raise KafkaException(message.error())
            print(message.value().decode())
            seen += 1
    finally:
        consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
