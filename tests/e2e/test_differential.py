"""The Kafka filter against an independent reading of the protocol: what goes in and what comes out, field by field.

Random messages of every response of Apache Kafka in every version are encoded by harness/schema.py, go through the real filter in
random pieces (build/tests/differential/filter-pipe), and are decoded again: everything is equal but the addresses.

KAFKA_TUNNEL_DIFFERENTIAL=N compares N messages of each API and version (ten times as many of those with addresses), beginning at seed
KAFKA_TUNNEL_DIFFERENTIAL_SEED. A failure says which seed repeats it.
"""

import copy
import os
import random
import re
import struct
import subprocess
import threading

import pytest

from harness import cache, schema
from harness.schema import TAGS

# The schemas are read from kafka-clients.
pytestmark = [pytest.mark.tunnel, pytest.mark.java]

# What the product says it knows: the last version of each API with addresses.
KNOWN = {0: 13, 1: 18, 3: 13, 10: 6, 60: 2, 78: 2, 79: 2}
API_VERSIONS, UNSUPPORTED_VERSION = 18, 35
CASES = int(os.environ.get("KAFKA_TUNNEL_DIFFERENTIAL", "12"))
SEED = int(os.environ.get("KAFKA_TUNNEL_DIFFERENTIAL_SEED", "1"))


@pytest.fixture(scope="module")
def messages():
    return schema.responses(next(cache.kafka_jars().glob("kafka-clients-*.jar")))


def filter_pipe(binaries, cases):
    """[(result, bytes)] for [(seed, request, response)]."""
    path = binaries.build / "tests" / "differential" / "filter-pipe"
    with subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as pipe:
        def write():
            for seed, request, response in cases:
                pipe.stdin.write(struct.pack(">II", seed, len(request)) + request + struct.pack(">I", len(response)) + response)
            pipe.stdin.close()
        writer = threading.Thread(target=write)
        writer.start()
        results = []
        for _ in cases:
            result, size = struct.unpack(">iI", pipe.stdout.read(8))
            results.append((result, pipe.stdout.read(size)))
        writer.join()
    assert pipe.returncode == 0
    return results


def frame(body):
    return struct.pack(">i", len(body)) + body


def has_tags(message, version):
    """Whether the response's header has a tag section: that of ApiVersions never has (KIP-511)."""
    return version in message.flexible and message.key != API_VERSIONS


def request_frame(key, version, correlation_id, flexible):
    """Of what a request holds the filter reads acks of Produce and the mechanism of SaslHandshake."""
    body = struct.pack(">hhih", key, version, correlation_id, 4) + b"test"
    if flexible:
        body += b"\0"
    if key == 0:
        body += (b"\0" if flexible else b"\xff\xff" if version >= 3 else b"") + struct.pack(">h", -1)
    if key == 17:
        body += struct.pack(">h", 5) + b"PLAIN"
    return frame(body + b"the rest")


def local(node, kind=1):
    return f"127.0.0.{kind}", 1024 + node % 60000


def rewrite(entry, node_field="NodeId", kind=1):
    if entry["Host"] == "":
        return
    if entry[node_field] < 0 or not 1 <= entry["Port"] <= 65535 or not re.fullmatch("[!-~]+", entry["Host"]):
        entry["Host"], entry["Port"] = "", -1  # what nobody could dial is blanked
    else:
        entry["Host"], entry["Port"] = local(entry[node_field], kind)


def expected(key, version, value):
    """What the client shall be told. Erased endpoints leave a tag of zeros, which `decoded` takes out."""
    value = copy.deepcopy(value)
    if key == 3:
        for broker in value["Brokers"]:
            rewrite(broker)
    elif key == 10:
        for coordinator in value["Coordinators"] if version >= 4 else [value]:
            rewrite(coordinator)
    elif key == 60:
        for broker in value["Brokers"]:
            rewrite(broker, "BrokerId", 2 if value.get("EndpointType") == 2 else 1)
    elif key == 0 and version >= 10:
        for endpoint in value.get("NodeEndpoints", ()):
            rewrite(endpoint)
    elif key == 1 and version >= 16:
        value.pop("NodeEndpoints", None)
    elif key in (78, 79):
        value["NodeEndpoints"] = []
    elif key == API_VERSIONS and value["ErrorCode"] != UNSUPPORTED_VERSION:
        for api in value["ApiKeys"]:
            known = KNOWN.get(api["ApiKey"])
            if known is not None and api["MaxVersion"] > known >= api["MinVersion"]:
                api["MaxVersion"] = known
    return value


def decoded(message, version, data, sent):
    value, used = message.decode(data, version)
    assert used == len(data), f"{len(data) - used} bytes too many"
    if message.key in (1, 78, 79):
        fillers = [n for n, b in value.get(TAGS, {}).items() if n not in sent.get(TAGS, {}) and not any(b)]
        assert len(fillers) <= 1 and (not fillers or sent.get("NodeEndpoints") is not None)
        for number in fillers:
            del value[TAGS][number]
        if not value.get(TAGS):
            value.pop(TAGS, None)
    return value


class Case:
    def __init__(self, message, version, seed):
        rng = random.Random(f"{message.key} {version} {seed}")
        self.message, self.version, self.seed = message, version, seed
        self.flexible = version in message.flexible
        correlation_id = rng.choice((0, 1, -1, (1 << 31) - 1, -(1 << 31), (1 << 31) - 7, rng.randint(-(1 << 31), (1 << 31) - 1)))
        self.value = message.random(rng, version)
        header = struct.pack(">i", correlation_id) + b"\0" * has_tags(message, version)
        self.header = len(header)
        if message.key == API_VERSIONS:
            self.value["ErrorCode"] = rng.choice((0, UNSUPPORTED_VERSION, self.value["ErrorCode"]))
            for api in self.value["ApiKeys"]:  # around the versions that matter
                api["ApiKey"] = rng.choice((*KNOWN, api["ApiKey"]))
                api["MinVersion"], api["MaxVersion"] = sorted(KNOWN.get(api["ApiKey"], 4) + rng.randint(-3, 3) for _ in range(2))
        # A refused version is answered in the layout of version 0, whatever was asked for.
        refused = message.key == API_VERSIONS and self.value["ErrorCode"] == UNSUPPORTED_VERSION
        self.layout = 0 if refused else version
        if refused:
            self.value = {name: self.value[name] for name in ("ErrorCode", "ApiKeys")}
        self.response = frame(header + message.encode(self.value, self.layout))
        self.request = request_frame(message.key, version, correlation_id, self.flexible)
        self.split = rng.choice((0, rng.randint(1, (1 << 32) - 1)))

    def judge(self, result, output):
        assert result == 0, output.decode()
        key = self.message.key
        if key not in KNOWN and key != API_VERSIONS or self.layout != self.version:
            assert output == self.response, "what carries no address must pass byte for byte"
            return
        assert struct.unpack(">i", output[:4])[0] == len(output) - 4
        assert output[4:4 + self.header] == self.response[4:4 + self.header]
        if key in (1, 78, 79):
            assert len(output) == len(self.response), "the frame must keep its size"
        got = decoded(self.message, self.version, output[4 + self.header:], self.value)
        assert got == expected(key, self.version, self.value)
        if key in (1, 78, 79):
            self.judge_erased(output)

    def judge_erased(self, output):
        """Not even as bytes that decoders skip is an erased host still there."""
        rest = self.message.encode(expected(self.message.key, self.version, self.value), self.version)
        for endpoint in self.value.get("NodeEndpoints") or ():
            host = endpoint["Host"].encode()
            assert len(host) < 8 or host in rest or host not in output, "an erased host is still in the frame"


def run(binaries, cases):
    for case, (result, output) in zip(cases, filter_pipe(binaries, [(c.split, c.request, c.response) for c in cases])):
        try:
            case.judge(result, output)
        except AssertionError as failure:
            raise AssertionError(f"{case.message.name} v{case.version} seed {case.seed} (KAFKA_TUNNEL_DIFFERENTIAL=1 "
                                 f"KAFKA_TUNNEL_DIFFERENTIAL_SEED={case.seed}): {failure}") from failure


def test_all_fields_of_every_api_and_version_are_equal(binaries, messages, figure):
    """Those with addresses get ten times as many messages."""
    count = pairs = 0
    for message in messages.values():
        for version in message.valid:
            times = CASES * (10 if message.key in KNOWN or message.key == API_VERSIONS else 1)
            cases = [Case(message, version, seed) for seed in range(SEED, SEED + times)]
            run(binaries, cases)
            pairs, count = pairs + 1, count + len(cases)
    assert set(KNOWN) <= set(messages)
    figure("compared", f"{len(messages)} APIs, {pairs} versions, {count} messages")


def test_older_versions_that_brokers_no_longer_have(binaries, messages, figure):
    """The schemas of Kafka 4 begin later than clients and brokers of Kafka 3 do; their fields are still in them."""
    older = {0: range(0, 3), 1: range(0, 4), 78: range(0, 1), 79: range(0, 1)}
    count = 0
    for key, numbers in older.items():
        for version in numbers:
            if version in messages[key].valid:
                continue
            cases = [Case(messages[key], version, seed) for seed in range(SEED, SEED + CASES)]
            run(binaries, cases)
            count += len(cases)
    figure("compared", f"{count} messages")


def test_the_codec_agrees_with_kafka_python(messages, figure):
    """A third reading: kafka-python decodes and encodes the same bytes, where it knows API and version."""
    from kafka.protocol import admin, consumer, metadata, producer, sasl
    classes = {}
    for module in (admin, consumer, metadata, producer, sasl):
        for name in dir(module):
            if re.fullmatch(r"\w+Response", name):
                known = getattr(module, name)
                classes[getattr(known, "API_KEY", None)] = known
    pairs = count = 0
    for key, known in classes.items():
        if key not in messages:
            continue
        for version in messages[key].valid:
            if not known.min_version <= version <= known.max_version:
                continue
            for seed in range(3):
                value = messages[key].random(random.Random(f"{key} {version} {seed}"), version, unknown_tags=False)
                value = messages[key].without_defaults(value, version)
                if key == API_VERSIONS:  # with an error kafka-python takes it for the layout of version 0
                    value["ErrorCode"] = 0
                data = bytes(4) + b"\0" * has_tags(messages[key], version) + messages[key].encode(value, version)
                again = known.decode(data, version=version, header=True).encode(framed=True, header=True)
                assert bytes(again) == frame(data), f"{messages[key].name} v{version} seed {seed}"
                count += 1
            pairs += 1
    assert pairs > 100
    figure("agreed", f"{pairs} versions, {count} messages")
