"""Reads NodeEndpoints (KIP-951, KIP-932) out of Kafka responses: written for the tests, from Kafka's message schemas."""

import struct

PRODUCE, FETCH, METADATA, FIND_COORDINATOR, DESCRIBE_CLUSTER, SHARE_FETCH, SHARE_ACKNOWLEDGE = 0, 1, 3, 10, 60, 78, 79
NAMES = {PRODUCE: "Produce", FETCH: "Fetch", METADATA: "Metadata", FIND_COORDINATOR: "FindCoordinator",
         DESCRIBE_CLUSTER: "DescribeCluster", SHARE_FETCH: "ShareFetch", SHARE_ACKNOWLEDGE: "ShareAcknowledge"}


class Reader:
    """Flexible versions only: compact strings and arrays, and a tag section at the end of each struct."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        if size < 0 or self.at + size > len(self.data):
            raise ValueError(f"{size} bytes at {self.at} of {len(self.data)}")
        self.at += size
        return self.data[self.at - size:self.at]

    def int32(self):
        return struct.unpack(">i", self.take(4))[0]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    def string(self):
        """Also bytes and records."""
        size = self.uvarint()
        return bytes(self.take(size - 1)) if size else None

    def array(self, *fields):
        """Elements of fixed sizes (numbers) and of what methods read; returns what they returned."""
        return [[self.take(f) if isinstance(f, int) else f() for f in fields] for _ in range(max(0, self.uvarint() - 1))]

    def tags(self):
        return {self.uvarint(): bytes(self.take(self.uvarint())) for _ in range(self.uvarint())}


def _nodes(r):
    return [(struct.unpack(">i", node)[0], host.decode(), struct.unpack(">i", port)[0])
            for node, host, port, _, _ in r.array(4, r.string, 4, r.string, r.tags)]


def _tagged(tags):
    return _nodes(Reader(tags[0])) if 0 in tags else []


def _produce(r, version):
    errors = lambda: r.array(4, r.string, r.tags)
    partitions = lambda: r.array(4 + 2 + 8 + 8 + 8, errors, r.string, r.tags)
    r.array(16 if version >= 13 else r.string, partitions, r.tags)
    r.take(4)
    return _tagged(r.tags())


def _fetch(r, _):
    r.take(4 + 2 + 4)
    aborted = lambda: r.array(8 + 8, r.tags)
    partitions = lambda: r.array(4 + 2 + 8 + 8 + 8, aborted, 4, r.string, r.tags)
    r.array(16, partitions, r.tags)
    return _tagged(r.tags())


def _share(r, lock_timeout, *partition):
    r.take(4 + 2)
    r.string()
    r.take(4 if lock_timeout else 0)
    r.array(16, lambda: r.array(4 + 2, r.string, *partition, r.tags), r.tags)
    nodes = _nodes(r)
    r.tags()
    return nodes


def _share_fetch(r, version):
    acquired = lambda: r.array(8 + 8 + 2, r.tags)
    return _share(r, version >= 1, 2, r.string, 4 + 4, r.tags, r.string, acquired)


def _share_acknowledge(r, version):
    return _share(r, version >= 2, 4 + 4, r.tags)


_READERS = {PRODUCE: (10, _produce), FETCH: (16, _fetch), SHARE_FETCH: (0, _share_fetch), SHARE_ACKNOWLEDGE: (0, _share_acknowledge)}


def carries(api, version):
    return api in _READERS and version >= _READERS[api][0]


def read(api, version, body):
    """[(node, host, port)] of a whole response, from its correlation id on; nothing may be left over."""
    r = Reader(body)
    r.take(4)
    r.tags()
    nodes = _READERS[api][1](r, version)
    if r.at != len(body):
        raise ValueError(f"{len(body) - r.at} bytes left")
    return nodes
