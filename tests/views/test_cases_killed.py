"""Views that join and views with windows, killed at steps of a commit: see `test_killed`, which has a plain one.

Each case meets three of the six steps, drawn anew in each run: a process is started for each. On Kafka a join and a
windowed view meet one each: who comes next waits until the group has missed the one that was killed.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from headwater.failures.held import HeldRecord, tables_of
from headwater.failures.letters import deadletters_topic, read_letter
from headwater.log.opening import open_log
from headwater.log.port import Log, Record, TopicPartition
from headwater.views.file import ViewFile
from headwater.views.runner import name_of
from headwater.views.state import compile_view
from tests.logs import on_kafka
from tests.views.cases import BAD, CASES, Case
from tests.views.comparing import same
from tests.views.feeding import records_of, wait_until_visible

COUNT = 200
STEPS = ["published", "decoded", "merged", "added", "positions written", "committed"]


def maintain(*words: str) -> tuple[int, str]:
    """Runs a process until it is killed, or has read all. Returns how it ended, and what it said."""
    command = [sys.executable, "-m", "tests.views.maintain_case", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_killed_at_steps_of_a_commit(tmp_path: Path, name: str) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with closing(open_log(url)) as log:
        kill(name, 3, log, url, "", tmp_path / "views.duckdb")


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.parametrize("name", ["joined with states", "windows"])
def test_killed_at_a_step_of_a_commit_on_kafka(tmp_path: Path, name: str, kafka_broker: str) -> None:
    with on_kafka(kafka_broker, tmp_path) as (log, url, prefix):
        kill(name, 1, log, url, prefix, tmp_path / "views.duckdb")


def kill(name: str, times: int, log: Log, url: str, prefix: str, path: Path) -> None:
    """Has a view maintained by processes that are killed, and by one that reads all. Arguments: url, prefix: of the
    log; path: of the file."""
    seed, case = random.randrange(10**6), CASES[name]()
    print("seed", seed)
    chance = random.Random(seed)
    case.fill(log, chance, COUNT)
    records = records_of(log, *case.partitions)
    assert len(records) == COUNT
    so_far = 0
    for step in chance.sample(STEPS, times):
        code, said = maintain(url, prefix, str(path), name, step, str(chance.randrange(1, 4)))
        assert code == -signal.SIGKILL, f"{step}: {said}"
        before, (so_far, _) = so_far, stands_for(case, path, records)
        assert before <= so_far < COUNT, step
    code, said = maintain(url, prefix, str(path), name)
    assert (code, said.partition("\n")[0]) == (0, "all read"), said
    read, letters = stands_for(case, path, records)
    assert read == COUNT
    assert sorted(published(log, name_of("test", case.view)[0])) == sorted(letters)


def stands_for(case: Case, path: Path, records: list[Record]) -> tuple[int, list[tuple[str, int]]]:
    """Compares a file with the same question asked of the events before its positions. Returns how many records these
    are, and topic and offset of each that is a dead letter."""
    runner, _ = name_of("test", case.view)
    held = tables_of(runner).held
    with closing(ViewFile(str(path))) as file, closing(case.oracle()) as oracle:
        file.open_tables(runner, [held])
        positions = file.positions(runner)
        before = [one for one in records if one.offset < positions.get(TopicPartition(one.topic, one.partition), 0)]
        oracle.add([one for one in before if one.value != BAD])
        with file.aside() as connection:
            found = connection.execute(compile_view(case.view, runner).rows).fetchall()
        rows: list[HeldRecord] = file.rows(held)
        assert same(found, oracle.rows())
        late = {place[-2:] for place in oracle.late} if hasattr(oracle, "late") else set()
    bad = {(one.partition, one.offset) for one in before if one.value == BAD}
    assert {(row.partition, row.record_offset) for row in rows if row.stage == "late"} == late
    assert {(row.partition, row.record_offset) for row in rows if row.stage != "late"} == bad
    return len(before), [(row.topic, row.record_offset) for row in rows]


def published(log: Log, runner: str) -> list[tuple[str, int]]:
    """Topic and offset of each dead letter that is in the topic of these."""
    topic = deadletters_topic(runner)
    wait_until_visible(log, topic)
    found = records_of(log, topic)
    letters = [letter for letter in map(read_letter, found) if letter is not None]
    return [(letter.topic, letter.offset) for letter in letters if letter.topic and letter.offset is not None]
