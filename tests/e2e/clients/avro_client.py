"""Avro with a Schema Registry, as data engineers write it: confluent-kafka's serializer and deserializer.

avro_client.py run bootstrap=HOST:PORT registry=URL topic=NAME group=NAME count=N: produces and consumes, prints {"records": N}.
"""

import json

import common
import features
from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

ORDER = json.dumps({"type": "record", "name": "Order", "fields": [
    {"name": "id", "type": "long"}, {"name": "customer", "type": "string"}, {"name": "amount", "type": ["null", "double"]}]})


def order(i):
    return {"id": i, "customer": f"customer-{i % 7}", "amount": i / 4 if i % 3 else None}


def main(args):
    registry = SchemaRegistryClient({"url": args["registry"]})
    context = SerializationContext(args["topic"], MessageField.VALUE)
    count = int(args["count"])
    serialize, failures = AvroSerializer(registry, ORDER), []
    producer = Producer({"bootstrap.servers": args["bootstrap"]})
    for i in range(count):
        producer.produce(args["topic"], serialize(order(i), context), key=str(i),
                         on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(60) == 0 and not failures, failures

    # A registry client of its own: the schema must come from the registry, not from a cache.
    deserialize, got = AvroDeserializer(SchemaRegistryClient({"url": args["registry"]})), []
    consumer = Consumer({"bootstrap.servers": args["bootstrap"], "group.id": args["group"], "auto.offset.reset": "earliest"})
    consumer.subscribe([args["topic"]])

    def more_came():
        got.extend(deserialize(m.value(), context) for m in consumer.consume(100, 0.2) if not m.error())
        return len(got) >= count
    features.until(more_came, f"{count} records", 60)
    consumer.close()
    assert sorted(got, key=lambda o: o["id"]) == [order(i) for i in range(count)]
    print(json.dumps({"records": len(got)}))


main(common.arguments())
