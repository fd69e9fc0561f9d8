"""What requests brokers have got, as their own request logs say (kafka.request.logger)."""

import json
import re
import uuid

from harness import kafka, process, wait

LOGGER = "kafka.request.logger"
COMPLETED = re.compile(r"Completed request: ?(\{.*\})")


class RequestLog:
    """While it is open, the brokers of a running cluster log each request when it is answered."""

    def __init__(self, cluster):
        self.cluster = cluster

    def __enter__(self):
        self.marks = {b: b.process.mark() for b in self.cluster.brokers}
        self._set_level("level=DEBUG")
        return self

    def __exit__(self, *_):
        self._set_level()

    def _set_level(self, *level):
        nodes = ",".join(str(b.node_id) for b in self.cluster.brokers)
        process.run(kafka.java("Loggers", f"bootstrap={self.cluster.bootstrap}", f"nodes={nodes}", f"logger={LOGGER}", *level), 60)

    def _entries(self, broker, client_id):
        for line in broker.process.lines(self.marks[broker]):
            found = COMPLETED.search(line) if client_id in line else None
            entry = json.loads(found.group(1)) if found else None
            if entry and entry["requestHeader"]["clientId"] == client_id:
                yield entry

    def catch_up(self):
        """Until what has been answered so far is in the log: each broker is asked something once more."""
        from confluent_kafka.admin import AdminClient
        for broker in self.cluster.brokers:
            name = "mark-" + uuid.uuid4().hex
            AdminClient({"bootstrap.servers": broker.address, "client.id": name}).list_topics(timeout=30)
            wait.until(lambda b=broker, n=name: list(self._entries(b, n)), 30, f"request log of broker {broker.node_id}", interval=0.1)

    def of(self, client_id):
        """(name of the API, every text in the request) of each request with that client id."""
        return [(e["requestHeader"]["requestApiKeyName"], set(_texts(e["request"])))
                for b in self.cluster.brokers for e in self._entries(b, client_id)]


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for element in value.values() if isinstance(value, dict) else value:
            yield from _texts(element)
