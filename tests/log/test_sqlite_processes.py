"""Several processes on one SQLite log: none waits for ever, none loses anything, a stopped owner stays out."""

from __future__ import annotations

import errno
import gc
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.errors import Misuse, Unavailable
from headwater.log.port import Record, TopicPartition, TopicSpec
from headwater.log.sqlite import SqliteLog
from headwater.testing.conformance.log.waiting import attempts, numbers, of, read_topic

PROGRAM = Path(__file__).with_name("sqlite_process.py")
PARTITIONS = 4


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "log.db")


class Children:
    """Processes that this test started, ended with it."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process


@pytest.fixture
def children() -> Iterator[Children]:
    children = Children()
    yield children
    for process in children.started:
        process.kill()
        process.communicate()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


class Follower(threading.Thread):
    """Reads a topic from the beginning, from a handle of its own, until it has reached the given ends."""

    def __init__(self, path: str, topic: str) -> None:
        super().__init__()
        self.log = SqliteLog(path)
        self.partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]
        self.ends: dict[TopicPartition, int] | None = None
        self.records: list[Record] = []

    def run(self) -> None:
        reader = self.log.reader()
        reader.assign(dict.fromkeys(self.partitions, 0))
        reached: dict[TopicPartition, int] = {}
        while reached != self.ends:
            batch = reader.read(2000, 0.1)
            self.records += batch.records
            reached.update(batch.reached)
        self.log.close()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("seconds", [20])
def test_eight_processes_append_to_one_file_beside_readers(path: str, children: Children, seconds: int) -> None:
    log = SqliteLog(path)
    log.create_topics([TopicSpec("t", PARTITIONS)])
    followers = [Follower(path, "t") for _ in range(2)]
    for follower in followers:
        follower.start()
    workers = [children.start("append", path, "t", worker, seconds) for worker in range(8)]
    reports = [json.loads(worker.communicate(timeout=seconds + 60)[0]) for worker in workers]
    ends = log.ends([TopicPartition("t", p) for p in range(PARTITIONS)])
    for follower in followers:
        follower.ends = ends
        follower.join(60)
        assert not follower.is_alive(), "a reader reaches the end"
    commits = sum(report["commits"] for report in reports)
    wal_bytes = Path(f"{path}-wal").stat().st_size
    print(f"\n8 processes: {commits / seconds:.0f} commits/s, {wal_bytes:,} bytes of WAL", *reports, sep="\n")
    for follower in followers:
        for report in reports:
            key = report["worker"].encode()
            for partition in follower.partitions:
                own = numbers([r for r in of(follower.records, partition) if r.key == key])
                assert own == list(range(partition.partition, report["records"], PARTITIONS))
    assert max(report["p99_ms"] for report in reports) < 1000
    assert wal_bytes < 200_000_000, "readers do not keep the write-ahead log from being used again"
    log.close()


def test_what_was_acknowledged_before_a_kill_is_there_after_it(path: str, children: Children) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed: {seed}")
    chance = random.Random(seed)
    SqliteLog(path).create_topics([TopicSpec("t", PARTITIONS)])
    for _ in range(3):
        process = children.start("acknowledge", path, "t")
        wanted, acknowledged = chance.randint(50, 400), -1
        while acknowledged < wanted:
            acknowledged = int(read_line(process))
        process.kill()
        assert process.stdout is not None
        rest = process.stdout.read().split()  # `communicate` passes over what was read ahead with a line
        acknowledged = int(rest[-1]) if rest else acknowledged
        log = SqliteLog(path)
        records = read_topic(log, "t", 60)
        for partition in range(PARTITIONS):
            found = numbers(of(records, TopicPartition("t", partition)))
            whole = found[-(acknowledged + 2) :] if found[-1] > acknowledged else found[-(acknowledged + 1) :]
            assert whole == list(range(len(whole))), "nothing acknowledged is lost, in order, at most one more"
        assert len({len(of(records, TopicPartition("t", p))) for p in range(PARTITIONS)}) == 1, "all or nothing"
        log.close()


def test_a_stopped_owner_can_commit_nothing_after_another_took_over(path: str, children: Children) -> None:
    log = SqliteLog(path, session_timeout_s=1.0)
    log.create_topics([TopicSpec("commands", 1), TopicSpec("events", 1)])
    partition = TopicPartition("commands", 0)
    owner = children.start("own", path, "commands", "events", "g")
    assert read_line(owner) == "owns"
    assert owner.stdin is not None
    owner.stdin.write("1\n")
    owner.stdin.flush()
    assert read_line(owner) == "committed"

    owner.send_signal(signal.SIGSTOP)
    successor = log.member("g", ["commands"], name="successor")
    stopped = time.monotonic()
    for _ in attempts(60, "the successor took over", pause_s=0):
        if successor.read(10, 0.1).assigned:
            break
    assert time.monotonic() - stopped < 30
    writer = log.writer("successor")
    fence = successor.fence()
    writer.transact(lambda t: t.positions("g", {partition: 2}, fence))
    owner.stdin.write("3\n")
    owner.stdin.flush()
    owner.send_signal(signal.SIGCONT)
    assert read_line(owner) == "fenced"
    assert log.committed("g", [partition]) == {partition: 2}
    assert numbers(read_topic(log, "events", 60)) == [1]
    log.close()


def test_what_a_killed_process_owned_is_free_at_once(path: str, children: Children) -> None:
    """Long before its session is over; and nothing of it is left beside the file."""
    log = SqliteLog(path, session_timeout_s=600.0)
    log.create_topics([TopicSpec("commands", 1), TopicSpec("events", 1)])
    partition = TopicPartition("commands", 0)
    owner = children.start("own", path, "commands", "events", "g", 600)
    assert read_line(owner) == "owns"
    [before] = log.groups(["g"])
    assert list(before.members.values()) == [[partition]]
    assert len(signs_of_life(path)) == 1
    owner.kill()
    owner.wait()
    assert [group for group in log.groups(["g"]) if group.members] == [], "who asks is told at once"
    log.reset("g", {partition: 0})

    successor = log.member("g", ["commands"], name="successor")
    assert successor.read(10, 0).assigned == [partition]
    assert [list(group.members) for group in log.groups(["g"])] == [[successor.id]]
    assert len(signs_of_life(path)) == 1, "that of the successor"
    log.close()
    assert signs_of_life(path) == []


def test_a_sign_of_life_that_was_deleted_says_nothing(path: str, children: Children) -> None:
    """Then a member lives as long as its session says: two that take each other for dead would drive each other out."""
    log = SqliteLog(path, session_timeout_s=600.0)
    log.create_topics([TopicSpec("commands", 1), TopicSpec("events", 1)])
    owner = children.start("own", path, "commands", "events", "g", 600)
    assert read_line(owner) == "owns"
    [sign] = signs_of_life(path)
    sign.unlink()
    [group] = log.groups(["g"])
    assert list(group.members.values()) == [[TopicPartition("commands", 0)]]
    log.close()


def test_a_killed_process_is_missed_by_whatever_name_it_knew_the_file(path: str, children: Children) -> None:
    link = Path(path).with_name("link.db")
    log = SqliteLog(path, session_timeout_s=600.0)
    log.create_topics([TopicSpec("commands", 1), TopicSpec("events", 1)])
    link.symlink_to(path)
    owner = children.start("own", link, "commands", "events", "g", 600)
    assert read_line(owner) == "owns"
    owner.kill()
    owner.wait()
    assert [group for group in log.groups(["g"]) if group.members] == []
    log.close()


def test_a_sign_of_life_that_may_not_be_removed_stops_nobody(
    path: str, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another user's in a directory like /tmp, where only its owner may."""
    log = SqliteLog(path, session_timeout_s=600.0)
    log.create_topics([TopicSpec("commands", 1), TopicSpec("events", 1)])
    owner = children.start("own", path, "commands", "events", "g", 600)
    assert read_line(owner) == "owns"
    owner.kill()
    owner.wait()

    def refused(place: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", place)

    monkeypatch.setattr(os, "unlink", refused)
    successor = log.member("g", ["commands"], name="successor")
    assert successor.read(10, 0).assigned == [TopicPartition("commands", 0)]
    log.close()


def test_a_member_lives_longer_than_the_handle_that_made_it(path: str) -> None:
    log = SqliteLog(path, session_timeout_s=600.0)
    log.create_topics([TopicSpec("commands", 1)])
    dropped = SqliteLog(path, session_timeout_s=600.0)
    member = dropped.member("g", ["commands"], name="m")
    del dropped
    gc.collect()
    [group] = log.groups(["g"])
    assert list(group.members) == [member.id]
    log.close()


def test_a_closed_handle_leaves_no_sign_of_life(path: str) -> None:
    log = SqliteLog(path)
    log.create_topics([TopicSpec("commands", 1)])
    log.close()
    with pytest.raises((Misuse, Unavailable)):
        log.member("g", ["commands"], name="m")
    assert signs_of_life(path) == []


def signs_of_life(path: str) -> list[Path]:
    return sorted(Path(path).parent.glob("log.db-alive-*"))
