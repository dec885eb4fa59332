"""A log on a disk that is full says so, keeps what it confirmed, and goes on when there is room."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.errors import Unavailable
from headwater.log.port import NewRecord, TopicPartition, TopicSpec
from headwater.log.sqlite import SqliteLog
from headwater.log.sqlite.faults import explain
from tests.disks import SmallDisk, small_disk

TOLD = r"log\.db cannot be used, the disk is full and nothing of this was written: make room, then try again"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "small", 4_000_000) as made:
        yield made


def until_full(log: SqliteLog, key: bytes = b"k") -> int:
    """Appends numbered records until that is refused. Returns how many were confirmed."""
    for number in range(1000):
        try:
            log.append([NewRecord("t", 0, key, b"%d %s" % (number, b"x" * 10_000))])
        except Unavailable as error:
            told = str(error)
            break
    assert re.search(TOLD, told)
    return number


def test_what_was_confirmed_stays_and_what_was_not_is_not_there(disk: SmallDisk) -> None:
    log = SqliteLog(disk.directory / "log.db")
    log.create_topics([TopicSpec("t", 1)])
    partition, confirmed = TopicPartition("t", 0), until_full(log)
    assert confirmed > 20
    with pytest.raises(Unavailable, match=TOLD):
        log.writer("w").transact(lambda tx: tx.write([NewRecord("t", 0, b"k", b"-1 ")] * 100_000))
    assert [int((record.value or b"").split()[0]) for record in log.keyed(partition, b"k")] == list(range(confirmed))
    log.close()


def test_it_goes_on_when_there_is_room_and_can_be_opened_meanwhile(disk: SmallDisk) -> None:
    log = SqliteLog(disk.directory / "log.db")
    log.create_topics([TopicSpec("t", 1)])
    log.append([NewRecord("t", 0, b"k", b"1")])
    disk.fill()
    until_full(log, key=b"other")
    assert [record.value for record in log.keyed(TopicPartition("t", 0), b"k")] == [b"1"]
    disk.make_room()
    log.append([NewRecord("t", 0, b"k", b"2")])
    log.close()
    again = SqliteLog(disk.directory / "log.db")
    assert [record.value for record in again.keyed(TopicPartition("t", 0), b"k")] == [b"1", b"2"]
    again.close()


def test_sqlites_word_for_a_full_disk_becomes_ours(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    connection.execute("CREATE TABLE t (x)")
    connection.execute("PRAGMA max_page_count = 10")
    with pytest.raises(sqlite3.OperationalError) as full:
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    connection.close()
    with pytest.raises(Unavailable, match=TOLD):
        raise explain(full.value, "log.db")
