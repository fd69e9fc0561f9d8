"""What the Python Kafka clients share: arguments key=value, the records, the digests. The same as in ../java."""

import hashlib
import json
import sys
import time

BLOCK = 1 << 17
FILLER = bytes(ord("a") + i % 26 for i in range(BLOCK))


def arguments():
    args = dict(a.split("=", 1) for a in sys.argv[2:])
    args["verb"] = sys.argv[1]
    return args


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


class Deadline:
    def __init__(self, args):
        self.end = time.monotonic() + float(args.get("deadline", 120))

    def check(self, digests, count):
        if time.monotonic() > self.end:
            sys.exit(f"only {digests.records} of {count} records at the deadline")
