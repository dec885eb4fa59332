"""A lean member of a file is given values; the rest of a record comes when it is asked for, and is what was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.errors import Unavailable
from headwater.log.port import Member, NewRecord, Record, TopicPartition
from headwater.log.sqlite import SqliteLog, reading
from headwater.log.sqlite.lean import LeanRecord
from headwater.testing.conformance.log.waiting import make_topic
from tests.log.owning import owner_of

MANY = 4


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteLog]:
    monkeypatch.setattr(reading, "_MANY", MANY)
    opened = SqliteLog(tmp_path / "log.db")
    yield opened
    opened.close()


def written(log: SqliteLog, count: int) -> tuple[str, list[NewRecord]]:
    """A topic of one partition, and what stands in it."""
    topic = make_topic(log)
    records = [
        NewRecord(topic, 0, b"k%d" % n, b"v%d" % n, [("n", b"%d" % n)] if n % 2 else [], 1000 + n) for n in range(count)
    ]
    log.append(records)
    return topic, records


def member_of(log: SqliteLog, topic: str) -> Member:
    """A lean member that reads the whole topic."""
    member = owner_of(log, topic, lean=True)
    member.start({TopicPartition(topic, 0): 0})
    return member


def parts(record: Record) -> object:
    return record.key, record.value, list(record.headers), record.timestamp_ms


def kept(record: NewRecord) -> object:
    return record.key, record.value, list(record.headers), record.timestamp_ms


def test_the_parts_are_those_that_were_written(log: SqliteLog) -> None:
    topic, records = written(log, 2 * MANY)
    found = member_of(log, topic).read(2 * MANY, 0).records
    assert any(isinstance(record, LeanRecord) for record in found)
    assert [record.value for record in found] == [record.value for record in records]
    assert [parts(record) for record in reversed(found)] == [kept(record) for record in reversed(records)]


def test_few_records_are_read_with_all_their_parts(log: SqliteLog) -> None:
    topic, _ = written(log, MANY - 1)
    found = member_of(log, topic).read(2 * MANY, 0).records
    assert len(found) == MANY - 1
    assert not any(isinstance(record, LeanRecord) for record in found)


def test_what_was_deleted_before_it_was_asked_for_is_told(log: SqliteLog) -> None:
    topic, records = written(log, 2 * MANY)
    found = member_of(log, topic).read(2 * MANY, 0).records
    log.delete_before({TopicPartition(topic, 0): MANY})
    assert [parts(record) for record in found[MANY:]] == [kept(record) for record in records[MANY:]]
    with pytest.raises(Unavailable, match="was deleted"):
        print(found[0].key)


def test_the_newest_record_of_a_batch_has_all_its_parts_when_its_reader_is_closed(log: SqliteLog) -> None:
    topic, records = written(log, 2 * MANY)
    member = member_of(log, topic)
    found = member.read(MANY, 0).records
    member.close()
    assert parts(found[-1]) == kept(records[MANY - 1])
    with pytest.raises(Unavailable, match="was closed"):
        print(found[0].headers)


def test_of_a_compacted_topic_all_parts_are_of_one_moment(log: SqliteLog) -> None:
    topic = make_topic(log, compacted=True)
    log.append([NewRecord(topic, 0, b"k%d" % n, b"first", [("n", b"1")]) for n in range(2 * MANY)])
    found = member_of(log, topic).read(2 * MANY, 0).records
    log.append([NewRecord(topic, 0, b"k%d" % n, b"second", [("n", b"2")]) for n in range(2 * MANY)])
    assert {(record.value, *record.headers) for record in found} == {(b"first", ("n", b"1"))}
