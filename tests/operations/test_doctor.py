"""`examine` on the embedded logs: what is wrong with a file, with its topics, or with who has it."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import headwater as hw
from headwater.environment import System
from headwater.log.findings import Finding
from headwater.log.memory import MemoryLog
from headwater.log.port import Log, NewRecord, TopicSpec
from headwater.log.sqlite import SqliteLog
from headwater.log.sqlite.alive import teach
from headwater.log.sqlite.examining import ROOM_BYTES
from headwater.log.sqlite.examining import examine as examine_file
from headwater.log.topology import Topology
from headwater.operations.doctor import examine
from headwater.testing.waiting import eventually
from tests.bank import Account, Open
from tests.disks import small_disk


class Clock(System):
    """Moved by hand."""

    s = 1000.0

    def monotonic_s(self) -> float:
        return self.s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bank's.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    """With the topics of an entity type."""
    with closing(SqliteLog(path)) as log:
        Topology.read(log).ensure(["account"], partitions=2)
        yield log


def wrong(log: Log) -> list[Finding]:
    return [one for one in examine(log) if one.level != "ok"]


def only(findings: list[Finding]) -> Finding:
    (one,) = findings
    return one


def obey(todo: str | None) -> None:
    """Does what a command line of the SQLite shell does."""
    program, file, statement = shlex.split((todo or "").partition("then: ")[2])
    assert program == "sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(statement)
        connection.commit()


def test_what_an_app_makes_is_well(log: SqliteLog, path: Path) -> None:
    assert wrong(log) == []
    findings = examine(log)
    assert {one.where for one in findings if one.check in ("partition counts", "history")} == {"1 entity type"}
    checks = [one.check for one in findings]
    own = ["file", "durability", "room", "retention", "leases"]
    assert checks == ["record", "partition counts", "history", *own, "stopped"]


def test_a_log_in_memory_is_looked_at_too() -> None:
    log = MemoryLog()
    found = only(wrong(log))
    assert (found.level, found.found) == ("warning", "no app has run here yet")
    Topology.read(log).ensure(["account"], partitions=2)
    assert wrong(log) == []


@pytest.mark.parametrize(
    ("spec", "level", "says"),
    [
        (TopicSpec("account-events", 2, retention_ms=86_400_000), "fault", "after 1 d; they must be kept for ever"),
        (TopicSpec("account-commands", 2, 3_600_000, log_time=True), "warning", "they must be kept for 7 d"),
        (TopicSpec("account-events", 2, log_time=True), "warning", "record times are the log's clock, and should not"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_topic_that_was_made_by_somebody_else(path: Path, spec: TopicSpec, level: str, says: str) -> None:
    with closing(SqliteLog(path)) as log:
        log.create_topics([spec])
        Topology.read(log).ensure(["account"], partitions=2)
        found = only(wrong(log))
        assert (found.level, found.check, found.where) == (level, "retention", f"topic {spec.name}")
        assert says in found.found
        obey(found.todo)
        assert wrong(log) == []


def test_a_compacted_topic_of_events(path: Path) -> None:
    with closing(SqliteLog(path)) as log:
        log.create_topics([TopicSpec("account-events", 2, compacted=True)])
        Topology.read(log).ensure(["account"], partitions=2)
        found = only(wrong(log))
        assert (found.level, found.check) == ("fault", "retention")
        assert "only the latest record of each key is kept" in found.found


def test_a_file_that_is_damaged(log: SqliteLog, path: Path) -> None:
    log.append([NewRecord("account-events", 0, b"%d" % n, b"x" * 2000) for n in range(200)])
    log.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records_by_key'").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096 + 100)
        file.write(b"\xff" * 500)
    with closing(SqliteLog(path)) as damaged:
        found = [one for one in examine(damaged) if one.level != "ok"]
    assert {(one.level, one.check) for one in found} == {("fault", "file")}
    assert "damaged: " in found[0].found
    assert '".recover"' in (found[0].todo or "")


def test_a_file_that_is_not_written_safely(log: SqliteLog, path: Path) -> None:
    log.close()
    with closing(sqlite3.connect(path)) as connection:
        teach(connection, str(path))
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = NORMAL")
        found = [one for one in examine_file(connection, str(path), [], [], 0) if one.check == "durability"]
        assert [one.level for one in found] == ["fault", "fault"]
        assert "journal mode is delete, not wal" in found[0].found
        assert "synchronous is NORMAL" in found[1].found
        for statement in ("PRAGMA journal_mode = WAL", found[1].todo or ""):
            connection.execute(statement)
        found = [one for one in examine_file(connection, str(path), [], [], 0) if one.check == "durability"]
        assert [one.level for one in found] == ["ok"]


def test_a_disk_that_is_nearly_full(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", ROOM_BYTES // 2) as disk,
        closing(SqliteLog(disk.directory / "log.db")) as log,
    ):
        Topology.read(log).ensure(["account"], partitions=2)
        found = only(wrong(log))
    assert (found.level, found.check) == ("fault", "room")
    assert str(disk.directory) in (found.todo or "")


def test_an_owner_that_ended_without_leaving(log: SqliteLog, path: Path) -> None:
    clock = Clock()
    with closing(SqliteLog(path, environment=clock)) as other:
        member = other.member("account-owners", ["account-commands"], name="owner")
        assert len(member.read(1, 0).assigned) == 2
        assert wrong(other) == []
        clock.s += 60.0
        found = only(wrong(other))
        assert (found.level, found.check, found.where) == ("warning", "leases", "group account-owners")
        assert f"2 partition(s) belong to {member.id}" in found.found
        assert len(other.member("account-owners", ["account-commands"], name="another").read(1, 0).assigned) == 2
        assert wrong(other) == []


def test_a_partition_that_is_stopped() -> None:
    log = MemoryLog()
    app = hw.App("bank", aggregates=[Account], partitions=1)
    with app.run(log, store="memory://") as shop:
        shop.send(Open("1", "ann"))
        log.append([NewRecord("account-commands", 0, b"1", b"not ours")])
        found = only(eventually(lambda: wrong(log)))
    assert (found.level, found.check, found.where) == ("fault", "stopped", "partition account-commands/0")
    assert "a foreign record in an owned topic" in found.found
