"""After each batch a view with windows equals the same question, asked of all events so far that were not late.

Events out of order, the cuts between batches, the order of partitions, restarts and merges come from a seed. Mutants of
the compiled view are planted to see that the comparison would find them.

The suite takes a few seeds; `python -m tests.views.test_oracle_windows 300` takes as many per shape as it is told.
"""

from __future__ import annotations

import random
import sys
from functools import partial
from pathlib import Path

import pytest

from headwater.views import merging, state
from headwater.views.kept import Compiled
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text
from tests.views import feeding
from tests.views.comparing import check_seeds, compare, mutated, rare, refuse_survivor
from tests.views.feeding import Fed, records_of, small_merges
from tests.views.orders import OrderPlaced
from tests.views.test_oracle import batches
from tests.views.timed import SHAPES, Shape, Timed, timed_log

QUICK, SEEDS, MUTANT_SEEDS = 1, 2, 25


def plan_of(shape: Shape) -> View:
    [view] = plan_views([Text(shape.view)], catalogue_of([OrderPlaced], []))
    return view


def check(shape: Shape, seed: int, directory: Path) -> None:
    """Raises AssertionError with the seed where the view is another than the oracle's, or other records are late."""
    chance = random.Random(seed)
    log = timed_log(chance)
    oracle, title = Timed(shape), f"seed {seed}, {shape.name}"

    def refuse_other_late(fed: Fed) -> None:
        late = {(row.partition, row.record_offset) for row in fed.file.rows(fed.held) if row.stage == "late"}
        assert late == (oracle.late if shape.late == "dead_letter" else set()), title
        assert fed.late() == len(oracle.late), title

    path = directory / f"{shape.name} {seed}.duckdb"
    compare(plan_of(shape), oracle, batches(chance, records_of(log)), chance, path, title, refuse_other_late)


@pytest.fixture(autouse=True)
def many_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    small_merges(monkeypatch)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda one: one.name)
def test_a_view_equals_the_same_question_asked_of_all_that_was_in_time(shape: Shape, tmp_path: Path) -> None:
    first = random.randrange(10**6)
    for seed in range(first, first + QUICK):
        check(shape, seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=lambda one: one.name)
def test_with_many_seeds(shape: Shape, tmp_path: Path) -> None:
    for seed in range(SEEDS):
        check(shape, seed, tmp_path)


OPERATORS = {
    "tumble": r"TUMBLE\(",
    "hop": r"HOP\(",
    "session": r"SESSION\(",
    "a grace": "grace",
    "no grace": r"^(?!.*grace)",
    "late ones are dropped": "late = 'drop'",
    "groups beside the window": r"GROUP BY (?!TUMBLE|HOP|SESSION)",
    "no group beside it": "GROUP BY (TUMBLE|HOP|SESSION)",
    "count": r"COUNT\(\*",
    "sum": r"SUM\(",
    "least and greatest": r"(?<!ARG_)(MIN|MAX)\(",
    "arg_max": r"ARG_MAX\(",
    "distinct": "DISTINCT",
    "where": "WHERE",
    "having": "HAVING",
    "elements": "UNNEST",
}
"""What tells that an operator is in a query."""


def test_each_operator_is_in_a_tenth_of_the_shapes() -> None:
    assert rare(OPERATORS, [one.view for one in SHAPES]) == []


# What is planted in the statements of a compiled view, by what it is: a text, and what stands in its place.
MUTANTS = {
    "windows have no grace": ('("win"."window_end") + ', '("win"."window_end") + 0 * '),
    "a window takes what comes with the end of its grace": ("> epoch_us(tm.m)", ">= epoch_us(tm.m)"),
    "a session takes nothing that comes with the end of its grace": (">= epoch_us(tm.m)", "> epoch_us(tm.m)"),
    "each batch has a clock of its own": ("greatest(s.before, max(", "greatest(max("),
    "the clock is that of the end of the batch": (" ORDER BY s.i)", ")"),
    "the partitions have one clock": ("PARTITION BY s.p, s.again ", ""),
    "the clock is the time of the last record": ("max(s.t) OVER (", "last_value(s.t) OVER ("),
    "what is late is not counted": ("SELECT p, NULL, NULL, 1", "SELECT p, NULL, NULL, 0"),
    "what is late is not told": (" AND NOT (epoch_us", " AND false AND NOT (epoch_us"),
    "rows that are the gap apart are two sessions of a batch": (")) > ", ")) >= "),
    "sessions that are the gap apart are two": ("> max(", ">= max("),
    "sessions of two batches are two": ('coalesce("k1" > max(', 'coalesce(true OR "k1" > max('),
    "a session ends where its first part does": ('max("k2") AS "k2"', 'min("k2") AS "k2"'),
    "values of one part of a session are left out": ('BETWEEN s."k1" AND s."k2"', 'BETWEEN s."k1" AND s."k1"'),
    "windows close by the clock that is furthest": ("least((SELECT min(m)", "least((SELECT max(m)"),
    "windows close before their grace": ('epoch_us("k2") + ', 'epoch_us("k2") + 0 * '),
    "what has closed is forgotten": (
        "UNION ALL BY NAME FROM",
        "UNION ALL BY NAME SELECT * REPLACE (0::BIGINT AS n) FROM",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mutant_is_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, instead = MUTANTS[name]
    compile_view = state.compile_view

    def planted(view: View, runner: str) -> Compiled:
        compiled: Compiled = mutated(compile_view(view, runner), text, instead)
        return compiled

    shapes = [one for one in SHAPES if planted(plan_of(one), "x") != compile_view(plan_of(one), "x")]
    assert shapes, "it can be planted nowhere"
    monkeypatch.setattr(feeding, "compile_view", planted)
    if "close" in name:  # then windows close after every batch
        monkeypatch.setattr(merging.Growth, "enough", True)
    refuse_survivor(partial(check, shape, seed, tmp_path) for seed in range(MUTANT_SEEDS) for shape in shapes)


if __name__ == "__main__":
    merging.MERGE_ROWS = 6
    check_seeds({one.name: one for one in SHAPES}, check, int(sys.argv[1]))
