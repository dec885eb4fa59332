"""Killed at any step, a view is what the events up to its stored position come to, and goes on from there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.failures.held import tables_of
from headwater.failures.letters import deadletters_topic, read_letter
from headwater.log.port import Record, TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.views.file import ViewFile
from tests.views.feeding import records_of
from tests.views.maintain import RUNNER
from tests.views.orders import CODEC, OrderPlaced, append, make_log, placed


@contextmanager
def maintaining(log_path: Path, path: Path | str, *step: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.views.maintain", str(log_path), str(path), *step]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def write(log: SqliteLog, chance: random.Random, count: int) -> None:
    """Orders, and records that nobody can read, each of its own key: some anywhere in each partition."""
    make_log(2, log)
    append(
        log,
        [
            (f"bad {i}", b"{bad")
            if i % 10 == 5 or chance.random() < 0.05
            else placed(str(chance.randrange(30)), *(f"{chance.randrange(999) / 100:.2f}" for _ in range(2)))
            for i in range(count)
        ],
    )


def folded(records: list[Record], positions: dict[TopicPartition, int]) -> tuple[dict[str, Decimal], list[str]]:
    """What the records before these positions come to: totals, and keys of dead letters."""
    totals: dict[str, Decimal] = {}
    bad = []
    for record in records:
        if record.offset < positions.get(TopicPartition(record.topic, record.partition), 0):
            event = CODEC.decode(record.value)
            if isinstance(event, OrderPlaced):
                totals[event.order_id] = totals.get(event.order_id, Decimal(0)) + event.total
            else:
                bad.append((record.key or b"").decode())
    return totals, sorted(bad)


def refuse_difference(path: Path | str, records: list[Record]) -> int:
    """Compares the file with a fold. Returns how many records it stands for."""
    with closing(ViewFile(str(path))) as file:
        positions = file.positions(RUNNER)
        with file.aside() as connection:
            found = connection.execute(f'SELECT k0, sum(p0) FROM hw."{RUNNER}/groups" GROUP BY k0').fetchall()
            name = tables_of(RUNNER).held.name
            keys = connection.execute(f'SELECT key FROM hw."{name}_v1" WHERE failed = 1').fetchall()
    totals, bad = folded(records, positions)
    assert dict(found) == totals
    assert sorted(key.decode() for (key,) in keys) == bad
    return sum(one.offset < positions.get(TopicPartition(one.topic, one.partition), 0) for one in records)


STEPS = ["decoded", "added", "positions written", "committed", "published"]


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step(tmp_path: Path, step: str) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    path = tmp_path / "views.duckdb"
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        write(log, random.Random(seed), 100)
        records = records_of(log)
        with maintaining(tmp_path / "log.db", path, step, "5") as child:
            assert child.wait(120) == -signal.SIGKILL
        assert refuse_difference(path, records) < 100
        with maintaining(tmp_path / "log.db", path) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "all read\n"
        assert refuse_difference(path, records) == 100
        bad = [one.offset for one in records if one.value == b"{bad"]
        assert sorted(published(log)) == sorted(bad)


def published(log: SqliteLog) -> list[int]:
    """The offsets of the dead letters in their topic."""
    letters = map(read_letter, records_of(log, deadletters_topic(RUNNER)))
    return [letter.offset for letter in letters if letter is not None and letter.offset is not None]
