"""The client matrix: which test shows which feature of which client.

A test, or one of its parameters, carries `matrix.case(CLIENT, FEATURE)`. With --matrix FILE a run writes what became of each
case; docs/update-compatibility makes the table in docs/compatibility.md of two such files, one through the tunnel and one direct.
"""

import json
import pathlib
import re
import xml.etree.ElementTree as tree

import pytest

HERE = pathlib.Path(__file__).resolve().parent.parent


def _pypi(package):
    text = (HERE / "requirements.txt").read_text(encoding="utf-8")
    return re.search(rf"^{re.escape(package)}(?:\[\S*\])?==(\S+)", text, re.MULTILINE).group(1)


def _maven(property_name, pom="pom.xml"):
    root = tree.parse(HERE / "java" / pom).getroot()
    return root.find(f".//{{http://maven.apache.org/POM/4.0.0}}{property_name}").text


def _go(module):
    text = (HERE / "clients" / "go" / "go.mod").read_text(encoding="utf-8")
    return re.search(rf"{re.escape(module)} v(\S+)", text).group(1)


def _npm(package):
    return json.loads((HERE / "clients" / "node" / "package.json").read_text(encoding="utf-8"))["dependencies"][package]


# Column of the table -> its version, read where it is pinned; the order is the table's.
CLIENTS = {
    "Java": lambda: _maven("kafka.version"),
    "Java of Kafka 4.4": lambda: _maven("kafka.version", "pom-4.4.xml"),
    "Java of Kafka 3": lambda: _maven("kafka.version", "pom-3.xml"),
    "confluent-kafka (librdkafka)": lambda: _pypi("confluent-kafka"),
    "kafka-python": lambda: _pypi("kafka-python"),
    "aiokafka": lambda: _pypi("aiokafka"),
    "franz-go": lambda: _go("github.com/twmb/franz-go"),
    "sarama": lambda: _go("github.com/IBM/sarama"),
    "kafka-go": lambda: _go("github.com/segmentio/kafka-go"),
    "kafkajs": lambda: _npm("kafkajs"),
}


def case(client, feature):
    """A mark for a test or a pytest.param: it shows that `feature` works with `client`."""
    assert client in CLIENTS, f"{client} is not in matrix.CLIENTS"
    return pytest.mark.matrix(client, feature)


class Results:
    """What became of each case in this run."""

    def __init__(self):
        self.cases = {}

    def note(self, report):
        """Called for every phase of a test; a failure or skip in any of them counts."""
        for client, feature in report.matrix_cases:
            entry = self.cases.setdefault((client, feature, report.nodeid), {"outcome": "passed", "reason": ""})
            if report.outcome != "passed" and entry["outcome"] == "passed":
                entry["outcome"] = report.outcome
                entry["reason"] = _reason(report)

    def write(self, path, direct):
        cases = [{"client": client, "feature": feature, "test": test, **entry}
                 for (client, feature, test), entry in self.cases.items()]
        versions = {client: version() for client, version in CLIENTS.items()}
        pathlib.Path(path).write_text(json.dumps({"direct": direct, "versions": versions, "cases": cases}, indent=1) + "\n",
                                      encoding="utf-8")


def _reason(report):
    if isinstance(report.longrepr, tuple):  # a skip: path, line, reason
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message.splitlines()[0][:200] if crash else report.outcome
