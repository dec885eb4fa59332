"""A reader of a file begins with the next batch while one is worked on, and is given what it would have been given."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import Unavailable
from headwater.log.port import TopicPartition
from headwater.log.sqlite import SqliteLog, ahead, reading
from headwater.log.sqlite.ahead import Ahead, Question
from headwater.testing.conformance.log.waiting import make_topic, numbered
from tests.log.owning import owner_of

FULL = 4


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteLog]:
    monkeypatch.setattr(ahead, "FULL", FULL)
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


def test_the_next_batch_is_read_while_one_is_worked_on(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a reader can be closed meanwhile."""
    read: list[tuple[str, int]] = []
    select = reading.Reading._select

    def noted(self: reading.Reading, question: Question) -> Any:
        read.append((threading.current_thread().name, question.position))
        return select(self, question)

    monkeypatch.setattr(reading.Reading, "_select", noted)
    topic = make_topic(log, records=3 * FULL)
    reader = owner_of(log, topic)
    reader.start({TopicPartition(topic, 0): 0})
    for _ in range(3):
        assert len(reader.read(FULL, 0).records) == FULL
    early = [position for name, position in read if name == "headwater-ahead"]
    assert early[:2] == [FULL, 2 * FULL]
    assert len(read) == len({position for _, position in read}), "nothing is read twice"
    reader.close()


def test_what_cannot_be_read_early_is_read_when_it_is_asked_for() -> None:
    def broken(question: Question) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    question = Question(TopicPartition("t", 0), 1, 0, 9, 5)
    early = Ahead(question, broken)
    early.wait()
    assert early.answer_to(question) is None
