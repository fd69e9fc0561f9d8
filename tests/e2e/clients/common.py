"""What the Python Kafka clients share: arguments key=value, the records, the digests. The same as in ../java."""

import collections
import hashlib
import json
import logging
import math
import os
import re
import ssl
import sys
import threading
import time

BLOCK = 1 << 17
FILLER = bytes(ord("a") + i % 26 for i in range(BLOCK))


def arguments():
    args = dict(a.split("=", 1) for a in sys.argv[2:])
    args["verb"] = sys.argv[1]
    return args


def properties(args):
    """The arguments prop.NAME: they go to the Kafka client as NAME."""
    return {key.removeprefix("prop."): value for key, value in args.items() if key.startswith("prop.")}


def awake(make, patience=15, attempts=4):
    """A consumer of kafka-python's that gets records, and the first of them.

    If a poll ends while the member joins its group, the member may stall until it is replaced, direct as well: so there is one long poll.
    """
    for _ in range(attempts):
        consumer = make()
        if first := consumer.poll(patience * 1000):
            return consumer, first
        consumer.close()
    raise AssertionError(f"{attempts} consumers got nothing in {patience} s each")


def tls(args):
    """For kafka-python and aiokafka: what ca=, cert= and key= name."""
    if "ca" not in args:
        return {}
    context = ssl.create_default_context(cafile=args["ca"])
    if "cert" in args:
        context.load_cert_chain(args["cert"], args["key"])
    return {"ssl_context": context}


def say_failure(failure):
    """The verb login: what a client says when it is not let in, without the addresses that differ from run to run."""
    text = re.sub(r"\S*(?:\d+\.){3}\d+\S*|\S*localhost\S*|\(after \d+ms.*|[^ ]*node_id[^ ]*|\b\d{2,}\b", "*", str(failure))
    print(json.dumps({"error": type(failure).__name__, "text": text}), flush=True)


class Log(logging.Handler):
    """What the client itself logs, its first and last lines, for whoever must find out why it does not work."""

    def __init__(self):
        super().__init__()
        self.first, self.last = [], collections.deque(maxlen=60)
        logging.basicConfig(level=logging.INFO, handlers=[self])

    def emit(self, record):
        line = f"{record.created:.3f} {record.getMessage()}"
        (self.first if len(self.first) < 60 else self.last).append(line)

    def text(self):
        return "\n".join(["its log:", *self.first, "...", *self.last])

    def print(self):
        print(self.text(), file=sys.stderr)


def say_first_log(attempt, pattern):
    """The same for clients that try again for long, and say why in their log: its first line like that."""
    class Watch(Log):
        def emit(self, record):
            super().emit(record)
            if re.search(pattern, record.getMessage()):
                say_failure(Exception(re.search(pattern, record.getMessage()).group(0)))
                os._exit(0)
    log = Watch()
    try:
        attempt()
    except Exception:
        log.print()
        raise
    say_failure("none")


def value(seed, index, size):
    head = f"{seed}:{index}:".encode()
    return (head + FILLER * (size // BLOCK + 1))[:size]


class Digests:
    """SHA-256 over the values of each partition in order. A redelivered record counts once; a gap is a failure."""

    def __init__(self):
        self.partitions, self.next = {}, {}
        self.records = self.bytes = 0
        self.start = time.monotonic()

    def add(self, partition, data):
        self.partitions.setdefault(partition, hashlib.sha256()).update(data)
        self.records += 1
        self.bytes += len(data)

    def add_at(self, partition, offset, data):
        due = self.next.get(partition, 0)
        if offset > due:
            sys.exit(f"partition {partition}: offset {offset} where {due} was due")
        if offset == due:
            self.next[partition] = due + 1
            self.add(partition, data)

    def result(self, **more):
        return {"records": self.records, "bytes": self.bytes, "seconds": round(time.monotonic() - self.start, 3),
                "partitions": {str(p): d.hexdigest() for p, d in sorted(self.partitions.items())}, **more}

    def print(self, **more):
        print(json.dumps(self.result(**more)), flush=True)


class Count:
    """count=N records, or count=stdin: endless, until a line comes on standard input. The line of a consumer is the number."""

    def __init__(self, args):
        self.value = math.inf if args["count"] == "stdin" else int(args["count"])
        if args["count"] == "stdin":
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        line = os.read(0, 64).strip()  # not sys.stdin: Python could not end while a thread waits in there
        self.value = int(line) if line.isdigit() else 0


class Pace:
    """rate= records a second; 0 and without it: as fast as it goes."""

    def __init__(self, args):
        self.rate, self.start = float(args.get("rate", 0)), time.monotonic()

    def sleep(self, records):
        if self.rate:
            time.sleep(max(0.0, self.start + records / self.rate - time.monotonic()))


class Deadline:
    def __init__(self, args):
        self.end = time.monotonic() + float(args.get("deadline", 120))
        self.log = Log()

    def check(self, digests, count):
        if time.monotonic() > self.end:
            self.log.print()
            sys.exit(f"only {digests.records} of {count} records at the deadline")
