"""What a member is given of a file: each record once and in order, in whatever batches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.errors import Unavailable
from headwater.log.port import TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.testing.conformance.log.waiting import make_topic, numbered
from tests.log.owning import owner_of

FULL = 4


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    opened = SqliteLog(tmp_path / "log.db")
    yield opened
    opened.close()


@pytest.mark.parametrize("seed", range(6))
def test_each_record_is_read_once_and_in_order(log: SqliteLog, seed: int) -> None:
    """Between reads more is written, and partitions are read again from elsewhere."""
    print("seed", seed)
    chance = random.Random(seed)
    topic = make_topic(log, 2)
    written = {TopicPartition(topic, number): 0 for number in range(2)}
    places: dict[TopicPartition, list[int]] = {tp: [] for tp in written}
    reader = owner_of(log, topic)
    reader.start(dict.fromkeys(written, 0))
    expected: dict[TopicPartition, int] = dict.fromkeys(written, 0)
    for _ in range(80):
        match chance.choice(["write", "read", "read", "read", "go"]):
            case "write":
                tp, count = chance.choice(list(written)), chance.randint(1, 3 * FULL)
                places[tp] += log.append(numbered(topic, tp.partition, range(written[tp], written[tp] + count)))
                written[tp] += count
            case "go":
                expected = {tp: chance.randint(0, count) for tp, count in written.items()}
                ends = log.ends(list(written))
                reader.start({tp: places[tp][n] if n < written[tp] else ends[tp] for tp, n in expected.items()})
            case "read":
                batch = reader.read(chance.choice([FULL, FULL, 2 * FULL, 3]), 0)
                for record in batch.records:
                    tp = TopicPartition(record.topic, record.partition)
                    assert record.offset == places[tp][expected[tp]]
                    expected[tp] += 1
                for tp in batch.ended:
                    assert expected[tp] == written[tp]
    for _ in range(200):
        for record in reader.read(FULL, 0).records:
            expected[TopicPartition(record.topic, record.partition)] += 1
    assert expected == written
    reader.close()


def test_what_was_deleted_meanwhile_is_told(log: SqliteLog) -> None:
    topic = make_topic(log, records=5 * FULL)
    tp, reader = TopicPartition(topic, 0), owner_of(log, topic)
    reader.start({tp: 0})
    assert len(reader.read(FULL, 0).records) == FULL
    log.delete_before({tp: 3 * FULL})
    with pytest.raises(Unavailable, match="are gone"):
        reader.read(FULL, 0)
    reader.close()
