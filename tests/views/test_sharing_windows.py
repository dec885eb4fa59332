"""Windows with a grace of which several files have the partitions say what is said of all events that were in time.

Which file reads a partition changes by a seed, and with it from where; files are opened anew now and then. What is to
be said, and which records are late, is computed over all events at once (see `timed`).

The suite takes a few seeds; `python -m tests.views.test_sharing_windows 300` takes as many per shape as it is told.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from headwater.environment import SYSTEM
from headwater.log.port import Record, TopicPartition
from headwater.operations.views_diff import changed_by
from headwater.schemas.topics import PLAIN
from headwater.views import merging, state
from headwater.views.explaining import explained
from headwater.views.file import MEMORY
from headwater.views.kept import Compiled
from headwater.views.plan import View
from headwater.views.sharing import tagged
from tests.views import feeding
from tests.views.comparing import check_seeds, mutated, refuse_survivor, same
from tests.views.feeding import Fed, records_of, small_merges
from tests.views.orders import TOPIC
from tests.views.test_late import BAD, Written, again, kept, letters
from tests.views.test_sharing import TIMED, answered, plan
from tests.views.timed import SHAPES, Shape, Timed, timed_log

FILES, QUICK, SEEDS, MUTANT_SEEDS = 3, 1, 2, 25
GRACED = [one for one in SHAPES if one.grace is not None]


def plan_of(shape: Shape) -> View:
    return plan(shape.view.split(" AS ", 1)[1], TIMED, f"shared = true, late = '{shape.late}'")


class Opened:
    """A process's file. Arguments: view: by partition; path."""

    def __init__(self, view: View, path: Path | str) -> None:
        self._view, self._path = view, path
        self.fed = Fed(view, path)
        self._counts: dict[TopicPartition, int] = {}

    def begun(self, partition: int) -> int:
        return self.fed.positions.get(TopicPartition(TOPIC, partition), 0)

    def late(self, partition: int) -> tuple[int, set[int]]:
        """How many records of a partition it has counted as late, and the offsets of those that are dead letters."""
        self._counts |= self.fed.work.late() or {}
        found = {row.record_offset for row in letters(self.fed) if row.stage == "late" and row.partition == partition}
        return self._counts.get(TopicPartition(TOPIC, partition), 0), found

    def close(self) -> None:
        self.fed.close()

    def open_again(self) -> None:
        self.fed.close()
        self.fed = Fed(self._view, self._path)


def check(shape: Shape, seed: int, directory: Path) -> None:
    """Raises AssertionError with the seed where the rows over all files are others than the oracle's, or other records
    are late."""
    chance, title = random.Random(seed), f"seed {seed}, {shape.name}"
    view, found = plan_of(shape), records_of(timed_log(chance))
    records = {p: [one for one in found if one.partition == p] for p in range(2)}
    restarts, paths = chance.random() < 0.25, [directory / f"{shape.name} {seed} {i}.duckdb" for i in range(FILES)]
    with ExitStack() as opened:
        oracle = opened.enter_context(closing(Timed(shape)))
        files = [Opened(tagged(view), path if restarts else MEMORY) for path in paths]
        for path, file in zip(paths, files, strict=True):
            opened.callback(path.unlink, missing_ok=True)
            opened.callback(file.close)
        read = dict.fromkeys(records, 0)
        while any(read[p] < len(records[p]) for p in records):
            owners = {p: chance.randrange(FILES) for p in records}
            for p in records:
                more = records[p][read[p] : read[p] + chance.choice([0, 1, 3, 10, 40])]
                oracle.add(more)
                read[p] += len(more)
            for i, file in enumerate(files):
                mine = [records[p][file.begun(p) : read[p]] for p, owner in owners.items() if owner == i]
                for batch in cut(chance, shuffled(chance, mine)):
                    file.fed.feed(batch)
            rows, wanted = answered(view, [file.fed for file in files], owners), oracle.rows()
            assert same(rows, wanted), f"{title}: {rows} instead of {wanted}"
            for p, owner in owners.items():
                late = {offset for partition, offset in oracle.late if partition == p}
                told = late if shape.late == "dead_letter" else set[int]()
                assert files[owner].late(p) == (len(late), told), f"{title}: of partition {p}"
            if restarts and chance.random() < 0.4:
                chance.choice(files).open_again()


def shuffled(chance: random.Random, parts: list[list[Record]]) -> list[Record]:
    """Records of several partitions as they may be read: each partition's in its order."""
    order = [i for i, part in enumerate(parts) for _ in part]
    chance.shuffle(order)
    each = [iter(part) for part in parts]
    return [next(each[i]) for i in order]


def cut(chance: random.Random, records: list[Record]) -> list[list[Record]]:
    """Batches."""
    found = []
    while records:
        count = chance.choice([1, 2, 5, 20, 100])
        found.append(records[:count])
        records = records[count:]
    return found


@pytest.fixture(autouse=True)
def many_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    small_merges(monkeypatch)


@pytest.mark.parametrize("shape", GRACED, ids=lambda one: one.name)
def test_windows_over_several_files_are_those_of_all_that_was_in_time(shape: Shape, tmp_path: Path) -> None:
    first = random.randrange(10**6)
    for seed in range(first, first + QUICK):
        check(shape, seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("shape", GRACED, ids=lambda one: one.name)
def test_with_many_seeds(shape: Shape, tmp_path: Path) -> None:
    for seed in range(SEEDS):
        check(shape, seed, tmp_path)


def test_nothing_is_said_to_close() -> None:
    view = plan_of(GRACED[0])
    said = [{line.name for line in explained(one)} for one in (view, replace(view, shared=False))]
    assert [one & {"clock", "closed"} for one in said] == [{"clock"}, {"clock", "closed"}]


def test_what_a_statement_would_change_is_told_by_reading_all_partitions() -> None:
    shape, log = GRACED[0], timed_log(random.Random(7))
    old = plan_of(shape)
    new = plan_of(shape._replace(window=shape.window.replace("grace => INTERVAL 5 MINUTE", "grace => INTERVAL 1 DAY")))
    with closing(Timed(shape)) as oracle:
        oracle.add(records_of(log))
        assert oracle.late
        change = changed_by(old, new, log, PLAIN, SYSTEM)
        assert (change.difference.old_rows, change.set_aside) == (len(oracle.rows()), (len(oracle.late), 0))
        assert [line.part for line in change.came] == ["plan"]


def test_the_clock_of_a_dead_letter_is_kept_until_it_is_tried_again() -> None:
    written = Written()
    with closing(Fed(tagged(plan_of(GRACED[0])))) as v:
        v.feed(written.at(1))
        v.feed(written.at(2, order="bad", value=BAD))
        v.feed(written.at(60, order="2"))
        again(v, *letters(v))
        assert v.rows("SELECT sum(n) FROM v") == [(3,)]  # it was not late when it came
        v.feed(written.at(61, order="worse", value=BAD))
        assert [(row.stage, kept(v, "aside")) for row in letters(v)] == [("decode", 1)]


compile_view = state.compile_view


def planted(text: str, instead: str) -> Callable[[View, str], Compiled]:
    """What a file is compiled to, with another text in the place of one. Both may name the clock."""

    def compiled(view: View, runner: str) -> Compiled:
        clock = f'hw."{runner}/clock"'
        found: Compiled = mutated(compile_view(view, runner), text.format(clock=clock), instead.format(clock=clock))
        return found

    return compiled


MUTANTS: dict[str, Callable[[View, str], Compiled]] = {
    "a file closes windows by the clocks that it has": lambda view, name: compile_view(
        replace(view, shared=False), name
    ),
    "what a file's clocks have left behind is late in all partitions": planted(
        "SELECT max(m) FROM {clock} WHERE p = -1", "SELECT min(m) FROM {clock}"
    ),
    "a file has one clock": planted("c.m AS before", "(SELECT max(m) FROM {clock}) AS before"),
    "a partition that comes back has no clock": planted("c.m AS before", "NULL::TIMESTAMPTZ AS before"),
    "the partitions of a batch have one clock": planted("PARTITION BY s.p, s.again ", ""),
    "what is late is counted for all partitions": planted(
        "SELECT p, NULL, NULL, 1", "SELECT (SELECT min(p) FROM {clock}), NULL, NULL, 1"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mutant_is_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = MUTANTS[name]
    shapes = [one for one in GRACED if changed(tagged(plan_of(one)), "x") != compile_view(tagged(plan_of(one)), "x")]
    assert shapes, "it can be planted nowhere"
    monkeypatch.setattr(feeding, "compile_view", changed)
    if "closes" in name:  # after every batch
        monkeypatch.setattr(merging.Growth, "enough", True)
    refuse_survivor(partial(check, shape, seed, tmp_path) for seed in range(MUTANT_SEEDS) for shape in shapes)


if __name__ == "__main__":
    merging.MERGE_ROWS = 6
    check_seeds({one.name: one for one in GRACED}, check, int(sys.argv[1]))
