"""What the feature programs of the Python clients share: each tries one feature after the other and prints {feature: "ok" or why not}."""

import json
import re
import sys
import time
import traceback
import uuid

RECORDS = 50


def values(what="v", count=RECORDS):
    return [f"{what}{i}".encode() for i in range(count)]


def name(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def until(condition, what, deadline=30):
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        try:
            if (found := condition()):
                return found
        except Exception as failure:  # pylint: disable=broad-except
            # Each broker hears of a new topic in its own time.
            if not re.search("UNKNOWN_TOPIC_OR_PART|UnknownTopicOrPart|Unrecognized configs", repr(failure)):
                raise
        time.sleep(0.05)
    raise AssertionError(f"not within {deadline} s: {what() if callable(what) else what}")


def same(got, due):
    """Every record once, none besides."""
    assert sorted(got) == sorted(due), f"{len(got)} records, {len(set(got))} different, of {len(due)}"


class Nodes:
    """nodes=host:port,...: where describe_cluster may say that brokers are."""

    def __init__(self, args):
        self.allowed = set(args["nodes"].split(","))

    def check(self, nodes):
        seen = {f"{host}:{port}" for host, port in nodes}
        assert seen and seen <= self.allowed, f"{seen - self.allowed} is none of {self.allowed}"


class Features:
    def __init__(self):
        self.results = {}

    def failed(self, feature, failure):
        traceback.print_exc(file=sys.stderr)
        self.results[feature] = f"{type(failure).__name__}: {failure}"

    def check(self, feature, function, *args):
        try:
            function(*args)
            self.results[feature] = "ok"
        except Exception as failure:  # pylint: disable=broad-except
            self.failed(feature, failure)

    async def check_async(self, feature, function, *args):
        try:
            await function(*args)
            self.results[feature] = "ok"
        except Exception as failure:  # pylint: disable=broad-except
            self.failed(feature, failure)

    def print(self):
        print(json.dumps(self.results), flush=True)
