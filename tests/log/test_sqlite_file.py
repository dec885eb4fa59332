"""The file under the log: what is refused and how, what a full disk costs, what is deleted by age."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headwater.environment import SYSTEM, KeptTelemetry
from headwater.errors import Misuse, Unavailable
from headwater.log.port import NewRecord, TopicPartition, TopicSpec, Transaction
from headwater.log.sqlite import SqliteLog
from headwater.log.sqlite.alive import token_of
from headwater.testing.conformance.log.waiting import (
    eventually,
    make_topic,
    numbered,
    numbers,
    read_topic,
    writing,
)


class Clock:
    """A clock that the test turns."""

    telemetry = KeptTelemetry()
    tracing = None

    def __init__(self) -> None:
        self.time = datetime(2024, 4, 10, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic_s(self) -> float:
        return self.time.timestamp()

    def new_id(self) -> str:
        return SYSTEM.new_id()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def test_a_file_that_is_no_database_is_misuse(path: Path) -> None:
    path.write_bytes(b"time,amount\n" * 1000)
    with pytest.raises(Misuse, match=r"log\.db is not an SQLite database"):
        SqliteLog(path)
    assert path.read_bytes() == b"time,amount\n" * 1000


def test_a_database_of_another_program_is_misuse_and_stays_as_it_is(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers (id)")
    other.commit()
    before = path.read_bytes()
    with pytest.raises(Misuse, match=r"log\.db is an SQLite database of another program"):
        SqliteLog(path)
    assert path.read_bytes() == before
    other.close()


def test_a_file_made_by_a_newer_version_is_misuse(path: Path) -> None:
    SqliteLog(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(Misuse, match="newer headwater"):
        SqliteLog(path)


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_a_log_without_a_file_is_misuse(path: str) -> None:
    with pytest.raises(Misuse, match="memory://"):
        SqliteLog(path)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"nowhere/log\.db"):
        SqliteLog(tmp_path / "nowhere" / "log.db")


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A directory that is readable for all, seen by a user who may write nothing."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    SqliteLog(directory / "log.db").close()
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    else:
        directory.chmod(0o555)
        (directory / "log.db").chmod(0o444)
    yield directory
    if root:
        os.seteuid(0)
    else:
        directory.chmod(0o755)
    shutil.rmtree(directory)


def test_a_file_that_cannot_be_written_is_refused_when_it_is_opened(nobody: Path) -> None:
    with pytest.raises(Unavailable, match=r"log\.db cannot be .* permissions"):
        SqliteLog(nobody / "log.db")


FILL_THE_DISK = """
import resource, signal, sys
from headwater.errors import Unavailable
from headwater.log.port import NewRecord
from headwater.log.sqlite import SqliteLog
from headwater.log.sqlite.alive import token_of

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = SqliteLog(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
acknowledged = 0
try:
    while True:
        log.append([NewRecord("t", 0, b"k", b"%d" % acknowledged, [("fill", b"x" * 10_000)])])
        acknowledged += 1
except Unavailable as error:
    print(error, file=sys.stderr)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
log.append([NewRecord("t", 0, b"k", b"%d" % acknowledged)])
print(acknowledged)
"""


def test_a_full_disk_is_said_and_loses_nothing(path: Path) -> None:
    log = SqliteLog(path)
    log.create_topics([TopicSpec("t", 1)])
    done = subprocess.run([sys.executable, "-c", FILL_THE_DISK, str(path)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "log.db cannot be used" in done.stderr
    assert "nothing of this was written" in done.stderr
    acknowledged = int(done.stdout)
    assert acknowledged > 20
    assert numbers(read_topic(log, "t", 60)) == list(range(acknowledged + 1)), "and it went on when there was room"
    log.close()


def test_a_writer_that_hangs_is_named_after_a_while(path: Path) -> None:
    log = SqliteLog(path, patience_s=0.2)
    topic = make_topic(log)
    hanging = sqlite3.connect(path, isolation_level=None)
    hanging.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match=r"log\.db .*another process held its write lock for 0\.2 s and nothing"):
        log.append(numbered(topic, 0, [1]))
    hanging.execute("ROLLBACK")
    hanging.close()
    log.append(numbered(topic, 0, [2]))
    assert numbers(read_topic(log, topic, 60)) == [2]
    log.close()


def test_transactions_that_share_a_commit_fail_alone(path: Path) -> None:
    log = SqliteLog(path)
    topic = make_topic(log, 2)
    at_work, go_on, ready = threading.Event(), threading.Event(), threading.Barrier(6)
    failed: list[int] = []

    def lead(transaction: Transaction) -> None:
        at_work.set()
        assert go_on.wait(60)
        transaction.write(numbered(topic, 0, [100]))

    def follow(number: int) -> None:
        def fill(transaction: Transaction) -> None:
            transaction.append(numbered(topic, number % 2, [number]))
            if number in (2, 3):
                raise ValueError(number)

        ready.wait(60)
        try:
            log.writer(f"w{number}").transact(fill)
        except ValueError:
            failed.append(number)

    leader = threading.Thread(target=lambda: log.writer("leader").transact(lead))
    leader.start()
    assert at_work.wait(60)
    followers = [threading.Thread(target=follow, args=(number,)) for number in range(6)]
    for thread in followers:
        thread.start()
    eventually(lambda: len(log._commits._turns._queue) == 6, 60, "all wait for the leader")
    go_on.set()
    for thread in (leader, *followers):
        thread.join(60)
    assert sorted(failed) == [2, 3]
    assert sorted(numbers(read_topic(log, topic, 60))) == [0, 1, 4, 5, 100]
    # Every committed transaction has its marker, and those that failed left nothing.
    assert sum(log.ends([TopicPartition(topic, 0), TopicPartition(topic, 1)]).values()) == 10
    log.close()


def test_records_are_deleted_by_age_only_where_the_topic_says_so(path: Path) -> None:
    clock = Clock()
    log = SqliteLog(path, environment=clock)
    day_ms = 86_400_000
    short, for_ever = make_topic(log, retention_ms=day_ms, log_time=True), make_topic(log)
    late = log.reader()
    late.assign({TopicPartition(short, 0): 0})
    for _ in range(3):
        log.append(numbered(short, 0, range(1500)) + numbered(for_ever, 0, range(10)))
        clock.time += timedelta(hours=13)
    for _ in range(3):
        log.append(numbered(for_ever, 0, [10]))  # writing anything trims a little
    partition = TopicPartition(short, 0)
    assert log.begins([partition]) == {partition: 3000}
    assert len(read_topic(log, short, 60)) == 1500
    assert len(read_topic(log, for_ever, 60)) == 33
    with pytest.raises(Unavailable, match=r"records 0 to 2999 of .* are gone"):
        late.read(10, 1)
    log.close()


def test_a_compacted_topic_needs_keys(path: Path) -> None:
    log = SqliteLog(path)
    log.create_topics([TopicSpec("states", 1, compacted=True)])
    with pytest.raises(Misuse, match="needs a key"):
        log.append([NewRecord("states", 0, None, b"v")])
    log.close()


def test_one_commit_keeps_the_latest_of_a_key_and_the_offsets_that_it_told(path: Path) -> None:
    log = SqliteLog(path)
    topic = make_topic(log, 2, compacted=True)
    told: list[int] = []

    def fill(transaction: Transaction) -> None:
        told.extend(transaction.append(numbered(topic, 0, range(25))))

    log.writer("w").transact(fill)
    log.append(numbered(topic, 1, [7]))
    records = read_topic(log, topic, 60)
    assert [(r.partition, r.offset) for r in records if r.partition == 0] == [(0, o) for o in told[15:]]
    assert numbers(records) == [*range(15, 25), 7]
    log.close()


def test_a_log_is_the_same_log_when_it_is_opened_again(path: Path) -> None:
    log = SqliteLog(path)
    log_id, topic = log.id, make_topic(log)
    log.writer("w").transact(writing(numbered(topic, 0, [1, 2])))
    log.close()
    with pytest.raises(Misuse, match="closed"):
        log.append(numbered(topic, 0, [3]))
    for ask in (log.topics, log.groups, lambda: log.ends([TopicPartition(topic, 0)])):
        with pytest.raises(Misuse, match="closed"):
            ask()
    again = SqliteLog(path)
    assert again.id == log_id
    assert numbers(read_topic(again, topic, 60)) == [1, 2]
    assert again.append(numbered(topic, 0, [3])) == [3]
    again.close()


def test_an_idle_member_writes_a_heartbeat_now_and_then_and_not_at_every_read(path: Path) -> None:
    clock = Clock()
    log = SqliteLog(path, environment=clock, session_timeout_s=6.0)
    topic = make_topic(log)
    members = [log.member(f"g{n}", [topic], name="m") for n in range(5)]
    for member in members:
        while not member.read(1, 0).assigned:
            pass
    watch = sqlite3.connect(path)
    watched = [watch.execute("PRAGMA data_version").fetchone()]
    for _ in range(24):
        clock.time += timedelta(seconds=0.25)
        for member in members:
            member._next_look_s = 0.0  # real time hardly passes here
            member.read(1, 0)
            watched.append(watch.execute("PRAGMA data_version").fetchone())
    assert 2 <= len(set(watched)) - 1 <= 4, "in six seconds, for five members"
    watch.close()
    log.close()


def test_a_reader_without_envelopes_brings_keys_values_and_offsets(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    log.create_topics([TopicSpec("t", 1)])
    log.append([NewRecord("t", 0, b"k", b"v", [("h", b"1")], 5), NewRecord("t", 0, None, None, [("h", b"1")], 5)])
    reader = log.reader(envelopes=False)
    reader.assign({TopicPartition("t", 0): 0})
    found = reader.read(10, 0).records
    assert [(one.offset, one.key, one.value) for one in found] == [(0, b"k", b"v"), (1, None, None)]
    assert [(tuple(one.headers), one.timestamp_ms) for one in found] == [((), 0)] * 2
    log.close()


def test_members_that_join_at_once_have_one_sign_of_life(path: Path) -> None:
    log = SqliteLog(path)
    log.create_topics([TopicSpec("t", 1)])
    together = threading.Barrier(8)

    def join(number: int) -> str:
        together.wait(30)
        return log.member(f"g{number}", ["t"], name="m").id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(join, range(8)))
    assert len({token_of(id) for id in ids}) == 1
    assert len(set(ids)) == 8
    assert sum(len(group.members) for group in log.groups()) == 8
    assert len(list(path.parent.glob("*-alive-*"))) == 1
    log.close()
    assert not list(path.parent.glob("*-alive-*"))


def test_a_log_is_where_it_was_opened_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(tmp_path)
    log = SqliteLog("log.db")
    log.create_topics([TopicSpec("t", 1)])
    monkeypatch.chdir(there)
    member = log.member("g", ["t"], name="m")
    assert member.read(10, 0).assigned == [TopicPartition("t", 0)]
    log.append([NewRecord("t", 0, b"k", b"1")])
    member.start({TopicPartition("t", 0): 0})
    assert [record.value for record in member.read(10, 5).records] == [b"1"]
    log.close()
    assert list(there.iterdir()) == []
