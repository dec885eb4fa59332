"""Each record twice, and the processes that read them killed: each counts once."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headwater.log.port import Log, NewRecord, TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.projections.declare import table_of
from headwater.projections.read_model import read_models_of
from headwater.projections.seen_rows import tallies_in
from headwater.projections.waiting import wait_until
from headwater.stores.opening import open_store
from headwater.stores.port import Store
from tests.projections.once import Once
from tests.projections.test_processes import maintaining
from tests.projections.trade import TOPIC, make_log, placed, record

[MODEL] = read_models_of("test", [Once])


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with closing(SqliteLog(str(tmp_path / "log.db"), session_timeout_s=1.0)) as log:
        yield log


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of the store."""
    return f"sqlite:///{tmp_path}/views.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url)) as store:
        yield store


def twice(count: int, partitions: int, chance: random.Random) -> list[NewRecord]:
    """So many records for each partition, each with a copy some places behind it."""
    records = []
    for p in range(partitions):
        places = [(n, record(placed(f"t{n}", f"c{n % 5}"), n, p)) for n in range(count)]
        places += [(n + chance.randrange(1, 40), one) for n, one in places]
        records += [one for _, one in sorted(places, key=lambda place: place[0])]
    return records


def finish(log: Log, store: Store, partitions: int) -> None:
    ends = log.ends([TopicPartition(TOPIC, p) for p in range(partitions)])
    wait_until(store, MODEL.runner, ends, 60, log=log)


def refuse_other_than(store: Store, count: int) -> None:
    rows = {row.customer: row.trades for row in store.rows(table_of(Once))}
    assert rows == {"everybody": count, **{f"c{n}": count // 5 for n in range(5)}}
    assert sum(tally.duplicates for tally in tallies_in(store, MODEL)) == count


@pytest.mark.parametrize("step", ["saved", "committed"])
def test_killed_at_a_step_nothing_counts_twice_or_not_at_all(
    log: Log, tmp_path: Path, url: str, store: Store, step: str
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    make_log(1, log)
    log.append(twice(100, 1, random.Random(seed)))
    with maintaining(tmp_path, url, "Once", step, "5") as child:
        assert child.wait(60) == -signal.SIGKILL
    with maintaining(tmp_path, url, "Once"):
        finish(log, store, 1)
    refuse_other_than(store, 100)


def test_who_takes_partitions_over_knows_what_was_seen(log: Log, tmp_path: Path, url: str, store: Store) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    make_log(4, log)
    records = twice(250, 4, chance)
    log.append([one for n, one in enumerate(records) if n % 500 < 300])
    with maintaining(tmp_path, url, "Once") as first, maintaining(tmp_path, url, "Once"):
        log.append([one for n, one in enumerate(records) if n % 500 >= 300])
        while sum(store.positions(MODEL.runner).values()) < chance.randrange(200, 1500):
            assert first.poll() is None
        first.kill()
        finish(log, store, 4)
    refuse_other_than(store, 1000)
