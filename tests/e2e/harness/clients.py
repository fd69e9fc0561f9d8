"""Kafka clients as a user runs them: separate programs that are given a bootstrap address and nothing else.

Each function returns what the program printed: {"records", "bytes", "seconds", "partitions": {"0": sha256, ...}}.
`trace` (see trace.py) runs the program under strace.
"""

import hashlib
import json
import sys

from harness import cache, kafka, process

CLIENTS = ["java", "kcat", "confluent", "kafka-python", "aiokafka"]
SCRIPTS = {"confluent": "confluent_client.py", "kafka-python": "kafka_python_client.py", "aiokafka": "aiokafka_client.py"}


def arguments(args):
    """key=value; what goes to the Kafka client as NAME is prop.NAME: written here as prop_NAME with __ for a dot."""
    def key(k):
        return "prop." + k[5:].replace("__", ".") if k.startswith("prop_") else k
    return [f"{key(k)}={v}" for k, v in args.items()]


def python(client, verb, **args):
    return [sys.executable, cache.HERE / "clients" / SCRIPTS[client], verb, *arguments(args)]


def java(main, pom="pom.xml", **args):
    return kafka.java(main, *arguments(args), heap="256m", pom=pom)


JAVA = {"Java": "pom.xml", "Java of Kafka 3": "pom-3.xml", "Java of Kafka 4.4": "pom-4.4.xml"}
# Column of the client matrix -> the program that tries its features.
FEATURES = {"confluent-kafka (librdkafka)": "confluent_features.py", "kafka-python": "kafka_python_features.py",
            "aiokafka": "aiokafka_features.py"}


def features(client, **args):
    """The command that tries a client's features one after the other and prints {feature: "ok" or what failed}."""
    if client in JAVA:
        return java("Features", pom=JAVA[client], **args)
    if client == "kafkajs":
        return ["node", cache.node_client(), *arguments(args)]
    if client in ("franz-go", "sarama", "kafka-go"):
        return [cache.go_clients(), client, *arguments(args)]
    return [sys.executable, cache.HERE / "clients" / FEATURES[client], "features", *arguments(args)]


def nodes_known(route):
    """Makes the tunnel open the listeners of all brokers, so that route.ports() has them."""
    process.run(python("confluent", "describe", bootstrap=route.bootstrap), 60)


def _run(argv, deadline, trace, input=None):
    done = process.run(trace.wrap(argv) if trace else argv, deadline, input=input)
    return done


def _json(done):
    return json.loads(done.stdout.strip().splitlines()[-1])


def produce(client, bootstrap, topic, count, size=1000, seed="s", partitions=6, deadline=90, trace=None, **more):
    args = dict(bootstrap=bootstrap, topic=topic, count=count, size=size, seed=seed, **more)
    if client == "java":
        return _json(_run(java("Produce", **args), deadline, trace))
    if client == "kcat":
        return _kcat_produce(bootstrap, topic, count, size, seed, partitions, deadline, trace)
    return _json(_run(python(client, "produce", deadline=deadline, **args), deadline + 5, trace))


def consume(client, bootstrap, topic, group, count, deadline=90, trace=None, **more):
    args = dict(bootstrap=bootstrap, topic=topic, group=group, count=count, deadline=deadline, **more)
    if client == "java":
        return _json(_run(java("Consume", **args), deadline + 10, trace))
    if client == "kcat":
        return _kcat_consume(bootstrap, topic, group, count, deadline, trace)
    return _json(_run(python(client, "consume", **args), deadline + 10, trace))


def expected(count, size, seed, partitions):
    """What a complete run over the text records must print, whatever the client."""
    from clients import common
    digests = common.Digests()
    for i in range(count):
        digests.add(i % partitions, common.value(seed, i, size))
    return digests.result()


def same(got, want, who="consumer"):
    for key in ("records", "bytes", "partitions"):
        assert got[key] == want[key], f"{who}: {key}: got {got[key]}, due {want[key]}"


def _kcat_produce(bootstrap, topic, count, size, seed, partitions, deadline, trace):
    """kcat chooses partitions itself unless told one: one run a partition."""
    from clients import common
    for p in range(partitions):
        lines = b"".join(common.value(seed, i, size) + b"\n" for i in range(p, count, partitions)).decode()
        _run(["kcat", "-b", bootstrap, "-P", "-t", topic, "-p", p, "-X", "acks=all"], deadline, trace, input=lines)
    return expected(count, size, seed, partitions)


def _kcat_consume(bootstrap, topic, group, count, deadline, trace):
    """-G joins the group; kcat leaves after `count` records."""
    done = _run(["kcat", "-b", bootstrap, "-G", group, "-c", count, "-X", "auto.offset.reset=earliest",
                 "-f", "%p %o %s\\n", topic], deadline, trace)
    records = sorted(((int(p), int(o), v.encode()) for p, o, v in
                      (line.split(" ", 2) for line in done.stdout.splitlines() if line)))
    digests, total = {}, 0
    for partition, _, data in records:
        digests.setdefault(partition, hashlib.sha256()).update(data)
        total += len(data)
    return {"records": len(records), "bytes": total, "seconds": done.seconds,
            "partitions": {str(p): d.hexdigest() for p, d in digests.items()}}
