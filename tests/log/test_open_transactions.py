"""The records in which Kafka's coordinators keep transactions, in both encodings that there are."""

from __future__ import annotations

import struct

import pytest

from headwater.log.kafka.open_transactions import OpenTransaction, Unreadable, decode, transactional_id
from headwater.log.port import TopicPartition

KEY = struct.pack(">hh", 0, 5) + b"shop1"
ONGOING, PREPARE_ABORT, COMPLETE = 1, 3, 4
EXPECTED = OpenTransaction(
    "shop1", 77, 12_000, 1_700_000_000_000, frozenset([TopicPartition("a", 0), TopicPartition("a", 300)])
)


def begin(version: int, status: int) -> bytes:
    return struct.pack(">hqhib", version, 77, 3, 12_000, status)


def times(begun_ms: int = 1_700_000_000_000) -> bytes:
    return struct.pack(">qq", begun_ms + 1, begun_ms)


PLAIN = struct.pack(">ih1siii", 1, 1, b"a", 2, 0, 300)
FLEXIBLE = b"\x02\x02a\x03" + struct.pack(">ii", 0, 300) + b"\x01\x07\x02xx"  # with a tagged field of two bytes
TAGS = b"\x01\x00\x08" + struct.pack(">q", 76)


def test_both_versions() -> None:
    for status in (ONGOING, PREPARE_ABORT):
        assert decode(KEY, begin(0, status) + PLAIN + times()) == EXPECTED
        assert decode(KEY, begin(1, status) + FLEXIBLE + times() + TAGS) == EXPECTED


def test_one_that_is_over() -> None:
    assert decode(KEY, begin(0, COMPLETE) + struct.pack(">i", -1) + times()) is None
    assert decode(KEY, begin(1, COMPLETE) + b"\x00" + times() + b"\x00") is None


@pytest.mark.parametrize("value", [b"", begin(2, ONGOING) + PLAIN + times(), begin(0, ONGOING) + PLAIN], ids=str)
def test_what_is_not_known_is_not_guessed(value: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(KEY, value)
    with pytest.raises(Unreadable):
        transactional_id(struct.pack(">hh", 1, 5) + b"shop1")
