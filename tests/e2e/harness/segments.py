"""What brokers keep of a partition, read from their disks: each record, and who wrote it under which sequence number.

The format is that of record batches, magic 2 (Kafka's documentation, "Message Format").
"""

import collections
import struct

# `sequence` is the record's own: its batch's first one and its place therein.
Record = collections.namedtuple("Record", "offset producer epoch sequence value")

# baseOffset, batchLength, partitionLeaderEpoch, magic, crc, attributes, lastOffsetDelta, baseTimestamp, maxTimestamp, producerId,
# producerEpoch, baseSequence, count of records
_HEADER = struct.Struct(">qiibIhiqqqhii")
_BEFORE_LENGTH = 12  # batchLength counts from behind itself
_COMPRESSION, _CONTROL = 0x07, 0x20


def _varint(data, at):
    """Zigzag, the least significant seven bits first: (value, the place behind it)."""
    shift = result = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (result >> 1) ^ -(result & 1), at
        shift += 7


def _values(data, at, count):
    for _ in range(count):
        length, at = _varint(data, at)
        end = at + length
        at += 1  # attributes
        for _ in range(2):  # timestampDelta, offsetDelta
            _, at = _varint(data, at)
        key, at = _varint(data, at)
        at += max(0, key)
        size, at = _varint(data, at)
        yield data[at:at + size]
        at = end


def records(directory):
    """All records of the partition whose segments are in `directory`, by offset."""
    found = []
    for path in sorted(directory.glob("*.log")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            base, length, _, magic, _, attributes, _, _, _, producer, epoch, sequence, count = _HEADER.unpack_from(data, at)
            assert magic == 2 and not attributes & _COMPRESSION, f"{path}: a batch at {at} that this cannot read"
            if not attributes & _CONTROL:
                found.extend(Record(base + i, producer, epoch, sequence + i, value)
                             for i, value in enumerate(_values(data, at + _HEADER.size, count)))
            at += _BEFORE_LENGTH + length
    return found
