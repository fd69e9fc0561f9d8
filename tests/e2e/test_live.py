"""What harness/live.py lets pass of records that are there twice: what the producer did by itself, and nothing else."""

import struct

import pytest

from harness import live, segments
from harness.segments import Record


def log(*blocks):
    """Records as they lie in a partition, of blocks (producer, epoch, first sequence, values)."""
    records = [(producer, epoch, first + i, value) for producer, epoch, first, values in blocks for i, value in enumerate(values)]
    return [Record(offset, *record) for offset, record in enumerate(records)]


pytestmark = pytest.mark.harness

OLD = (7, 0, 0, "abcde")
KNOWN = {(7, 0), (7, 1), (7, 2)}


@pytest.mark.parametrize("copies,blocks", [
    (0, [OLD]),
    (0, [OLD, (7, 1, 0, "fgh")]),
    (5, [OLD, (7, 1, 0, "abcdefgh")]),
    (2, [OLD, (7, 1, 0, "defgh")]),
    (1, [OLD, (7, 1, 0, "e")]),
    (4, [OLD, (7, 1, 0, "def"), (7, 2, 0, "efg")]),
    (3, [OLD, (7, 1, 0, "e"), (7, 2, 0, "efg"), (7, 3, 0, "gh")]),
])
def test_copies_under_a_new_epoch(copies, blocks):
    assert live.renumbered(log(*blocks), KNOWN | {(7, 3)}) == copies


@pytest.mark.parametrize("why,blocks", [
    ("there twice", [(7, 0, 0, "abcdeb")]),
    ("without a new epoch", [(7, 0, 0, "abcdede")]),
    ("there twice", [OLD, (7, 1, 0, "cd")]),
    ("there twice", [OLD, (7, 1, 0, "fe")]),
    ("there twice", [OLD, (7, 1, 0, "ed")]),
    ("several epochs", [OLD, (7, 1, 0, "f"), (7, 2, 0, "ef")]),
    ("without a new epoch", [(7, 1, 0, "abcde"), (7, 0, 0, "de")]),
    ("without a new epoch", [OLD, (8, 1, 0, "de")]),
    ("do not begin", [OLD, (7, 1, 5, "de")]),
    ("several epochs", [OLD, (7, 1, 0, "d"), (7, 2, 0, "e")]),
    ("does not know", [OLD, (7, 3, 0, "de")]),
])
def test_any_other_copy_is_a_failure(why, blocks):
    with pytest.raises(AssertionError, match=why):
        live.renumbered(log(*blocks), KNOWN)


def test_epochs_that_producers_log():
    assert live.epochs("""
2026-11-29 20:54:27,360 INFO TransactionManager: [Producer clientId=producer-1] ProducerId set to 12 with epoch 0
%7|1795985637.327|GETPID|rdkafka#producer-1| [thrd:main]: Acquired PID{Id:3,Epoch:0} (previous PID{Invalid})
%7|1795985637.393|DRAIN|rdkafka#producer-1| [thrd:main]: All partitions drained, bumped epoch to PID{Id:3,Epoch:1}
""") == {(12, 0), (3, 0), (3, 1)}


def batch(base, producer, epoch, sequence, values, attributes=0):
    records = b""
    for i, value in enumerate(values):
        # attributes, timestampDelta, offsetDelta, no key, the value, no header; lengths are zigzag
        record = bytes([0, 0, 2 * i, 1]) + varint(len(value)) + value + bytes([0])
        records += varint(len(record)) + record
    rest = struct.pack(">ibIhiqqqhii", 0, 2, 0, attributes, len(values) - 1, 0, 0, producer, epoch, sequence, len(values)) + records
    return struct.pack(">qi", base, len(rest)) + rest


def varint(number):
    number, found = 2 * number, b""
    while number >= 0x80:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def test_segments_of_a_broker(tmp_path):
    long = b"x" * 5000
    (tmp_path / "00000000000000000000.log").write_bytes(batch(0, 7, 0, 0, [b"a", long]) + batch(2, 7, 0, 2, [b"end"], attributes=0x20))
    (tmp_path / "00000000000000000003.log").write_bytes(batch(3, 7, 1, 0, [long]))
    assert segments.records(tmp_path) == [Record(0, 7, 0, 0, b"a"), Record(1, 7, 0, 1, long), Record(3, 7, 1, 0, long)]
