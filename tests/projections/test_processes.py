"""Processes that maintain a read model may be killed at any point, and may be several; no event counts twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.log.port import Log, TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.projections.declare import table_of
from headwater.projections.read_model import read_models_of
from headwater.projections.waiting import wait_until
from headwater.stores.opening import open_store
from headwater.stores.port import Store
from headwater.testing.waiting import eventually
from tests.projections.everyone import Everyone
from tests.projections.test_prefix import open_trades, read_prefix
from tests.projections.trade import TOPIC, OpenTrade, Paid, TradeEvent, append, make_log, placed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = SqliteLog(str(tmp_path / "log.db"), session_timeout_s=1.0)
    yield log
    log.close()


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of the store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/views.db"
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = open_store(url)
    yield store
    store.close()


@contextmanager
def maintaining(tmp_path: Path, url: str, projection: str, *step: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun to maintain the read model; killed at the end if it lives then."""
    program = [sys.executable, "-m", "tests.projections.maintain", str(tmp_path / "log.db")]
    child = subprocess.Popen([*program, url, projection, *step], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("ready") or step, "at a step it may have died already"
        yield child
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def trades(count: int) -> list[TradeEvent]:
    events: list[TradeEvent] = []
    for n in range(count):
        events.append(placed(f"t{n % 40}", total=f"{n % 100}.01"))
        if n % 3 == 0:
            events.append(Paid(f"t{n * 7 % 40}", Decimal(1)))
    return events


def refuse_difference(log: Log, store: Store, runner: str) -> int:
    """Compares the rows with the fold of the prefix at the stored positions, and returns how long that is."""
    positions, rows = store.positions(runner), store.rows(table_of(OpenTrade))
    while positions != store.positions(runner):  # a server may still commit what a process sent before it was killed
        positions, rows = store.positions(runner), store.rows(table_of(OpenTrade))
    assert rows == open_trades(read_prefix(log, positions))
    return sum(positions.values())


def test_killed_anywhere_rows_are_the_fold_of_the_prefix_at_the_position(
    log: Log, tmp_path: Path, url: str, store: Store
) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    make_log(1, log)
    [model] = read_models_of("test", [OpenTrade])
    before = 0
    for _ in range(4):
        append(log, trades(3_000))  # however far it comes before it is killed, there is more for the next one
        with maintaining(tmp_path, url, "OpenTrade") as child:
            target = before + chance.randrange(50, 2000)
            eventually(lambda t=target: sum(store.positions(model.runner).values()) >= t, saying="it goes on")  # type: ignore[misc] # mypy infers no lambda with a default
            child.kill()
            child.wait(60)
        now = refuse_difference(log, store, model.runner)
        assert now >= target, "it went on, and not from the beginning"
        before = now


@pytest.mark.parametrize("step", ["loaded", "saved", "committed"])
def test_killed_at_a_step_a_batch_is_there_with_its_position_or_not_at_all(
    log: Log, tmp_path: Path, url: str, store: Store, step: str
) -> None:
    kill_and_go_on(log, tmp_path, url, store, step)


def test_killed_before_a_server_commits_the_batch_is_not_there(log: Log, tmp_path: Path, postgres_url: str) -> None:
    with closing(open_store(postgres_url)) as store:
        kill_and_go_on(log, tmp_path, postgres_url, store, "positions written")


def test_killed_while_a_server_commits_the_batch_is_there_or_not_at_all(
    log: Log, tmp_path: Path, redis_url: str
) -> None:
    with closing(open_store(redis_url)) as store:
        kill_and_go_on(log, tmp_path, redis_url, store, "sent")


def kill_and_go_on(log: Log, tmp_path: Path, url: str, store: Store, step: str) -> None:
    make_log(1, log)
    append(log, trades(60))
    with maintaining(tmp_path, url, "OpenTrade", step, "3") as child:
        assert child.wait(60) == -signal.SIGKILL
    [model] = read_models_of("test", [OpenTrade])
    died_at = refuse_difference(log, store, model.runner)
    assert died_at in {"committed": [21], "sent": [14, 21]}.get(step, [14]), "batches have seven records"
    with maintaining(tmp_path, url, "OpenTrade"):
        wait_until(store, model.runner, log.ends([TopicPartition(TOPIC, 0)]), 60, log=log)
    assert refuse_difference(log, store, model.runner) == 80


def shares(store: Store, runner: str) -> list[int]:
    """How many partitions each worker has, as it says."""
    return sorted(len(note.partitions) for note in store.notes(runner))


def test_processes_share_partitions_and_a_row_and_lose_nothing(
    log: Log, tmp_path: Path, url: str, store: Store
) -> None:
    partitions = 4
    make_log(partitions, log)
    for partition in range(partitions):
        append(log, [placed(f"t{n}", total="0.01") for n in range(500)], partition)
    [model] = read_models_of("test", [Everyone])
    with ExitStack() as stack:
        children = [stack.enter_context(maintaining(tmp_path, url, "Everyone")) for _ in range(2)]
        for partition in range(partitions):
            append(log, [placed(f"u{n}", total="0.01") for n in range(500)], partition)
        ends = log.ends([TopicPartition(TOPIC, p) for p in range(partitions)])
        wait_until(store, model.runner, ends, 60, log=log)
        # one that stood still for the session's time has lost its share for a moment
        eventually(lambda: shares(store, model.runner) == [2, 2], saying="each has a share")
        children[0].kill()
        for partition in range(partitions):
            append(log, [placed(f"v{n}", total="0.01") for n in range(100)], partition)
        ends = log.ends(list(ends))
        wait_until(store, model.runner, ends, 60, log=log)
    assert store.rows(table_of(Everyone)) == [Everyone("all", 4400, Decimal("44.00"))]
