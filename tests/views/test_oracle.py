"""After each batch a view equals the same question, asked by DuckDB of all events so far.

The events, the cuts between batches, the order of partitions, restarts and merges come from a seed. Mutants of the
compiled view are planted to see that the comparison would find them.

The suite takes a few seeds; `python -m tests.views.test_oracle 300` takes as many per shape as it is told.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, Record
from headwater.views import merging, state
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.state import Compiled, KeptTable
from headwater.views.texts import Text
from tests.views import feeding
from tests.views.comparing import InDuckDB, check_seeds, compare, rare, refuse_survivor
from tests.views.feeding import records_of, small_merges
from tests.views.orders import CODEC, TOPIC, Item, OrderCancelled, OrderEvent, OrderPlaced, make_log
from tests.views.shapes import OPERATORS, SHAPES, Shape

TABLE = (
    "CREATE TABLE events (orderId VARCHAR, customerId VARCHAR, items STRUCT(sku VARCHAR, itemPrice DECIMAL(38,9))[],"
    " total DECIMAL(38,9), discount DECIMAL(38,9), reason VARCHAR, _type VARCHAR, _partition INTEGER, _offset BIGINT,"
    " _time TIMESTAMPTZ)"
)
QUICK, SEEDS, MUTANT_SEEDS = 1, 8, 10


def plan(shape: Shape) -> View:
    [view] = plan_views([Text(f"CREATE TABLE v AS {shape.view}")], catalogue_of([OrderEvent], []))
    return view


PLANS: dict[str, View] = {}


def plan_of(shape: Shape) -> View:
    if shape.name not in PLANS:
        PLANS[shape.name] = plan(shape)
    return PLANS[shape.name]


def events(chance: random.Random) -> list[OrderEvent]:
    found: list[OrderEvent] = []
    for _ in range(chance.randrange(1, 60)):
        order = chance.choice("12345")
        if chance.random() < 0.25:
            found.append(OrderCancelled(order, chance.choice(["x", "y"])))
            continue
        items = [Item(chance.choice("abc"), price(chance)) for _ in range(chance.choice([0, 1, 2, 3]))]
        who, discount = (
            chance.choice(["ann", "Ann", "bob", None]),
            chance.choice([None, None, Decimal(1), price(chance)]),
        )
        found.append(OrderPlaced(order, who, items, price(chance), discount))
    return found


def price(chance: random.Random) -> Decimal:
    return Decimal(chance.randrange(-200, 1000)) / chance.choice([1, 10, 100])


def log_of(chance: random.Random) -> Log:
    """Events in two partitions, with times out of order, some of them the same."""
    log = make_log(2)
    for event in events(chance):
        at_ms = 1_772_452_800_000 + chance.randrange(20) * 60_000
        key = event.order_id.encode()
        log.append([NewRecord(TOPIC, partition_of(key, 2), key, CODEC.encode(event), (), at_ms)])
    return log


def batches(chance: random.Random, records: Sequence[Record]) -> Iterator[list[Record]]:
    """The records in batches that interleave partitions in any way; in each partition in order."""
    waiting = [[one for one in records if one.partition == p] for p in range(2)]
    while any(waiting):
        batch: list[Record] = []
        for partition in chance.sample(waiting, 2):
            count = chance.choice([0, 1, 2, 5, 30])
            batch += partition[:count]
            del partition[:count]
        if batch:
            yield batch


class Oracle(InDuckDB):
    """All events so far that a view reads, as a table. Arguments: types: their names; sql: what the view asks."""

    def __init__(self, types: Collection[str], sql: str) -> None:
        super().__init__(sql, TABLE)
        self._types = types

    def add(self, records: Sequence[Record]) -> None:
        rows = []
        for record in records:
            event = CODEC.decode(record.value)
            assert isinstance(event, OrderPlaced | OrderCancelled)
            said = CODEC.payload_time(record.value)
            time = said if isinstance(said, datetime) else datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
            at = [type(event).__name__, record.partition, record.offset, time]
            if isinstance(event, OrderPlaced):
                items = [{"sku": one.sku, "itemPrice": one.item_price} for one in event.items]
                rows.append([event.order_id, event.customer_id, items, event.total, event.discount, None, *at])
            elif type(event).__name__ in self._types:
                rows.append([event.order_id, None, None, None, None, event.reason, *at])
        if rows:
            marks = ", ".join([f"({', '.join('?' * 10)})"] * len(rows))
            self._connection.execute(f"INSERT INTO events VALUES {marks}", [cell for row in rows for cell in row])


def check(shape: Shape, seed: int, directory: Path) -> None:
    """Raises AssertionError with the seed where the view is another than the oracle's."""
    chance = random.Random(seed)
    log = log_of(chance)
    view = plan_of(shape)
    oracle = Oracle({one.name for one in view.relation.types}, shape.oracle)
    path, title = directory / f"{shape.name} {seed}.duckdb", f"seed {seed}, {shape.name}"
    compare(view, oracle, batches(chance, records_of(log)), chance, path, title)


@pytest.fixture(autouse=True)
def many_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    small_merges(monkeypatch)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda one: one.name)
def test_a_view_equals_the_same_question_asked_of_all_events(shape: Shape, tmp_path: Path) -> None:
    first = random.randrange(10**6)
    for seed in range(first, first + QUICK):
        check(shape, seed, tmp_path)


# What is planted in the compiled view, by what it is: where, and texts, each with what stands in its place.
MUTANTS: dict[str, tuple[str, *tuple[str, ...]]] = {
    "groups are folded by their latest": ("fold", "sum(n)", "max(n)"),
    "sums are not folded": ("fold", 'sum("p0")', 'max("p0")'),
    "counts of a field count rows": ("adds", 'count("r0"."discount")', "count(*)"),
    "a filter is forgotten": ("adds", ' FILTER ("r0"."total" > 3)', ""),
    "a condition is forgotten": ("adds", " WHERE ", " WHERE true OR "),
    "the least is the greatest": ("adds", "min(", "max("),
    "the greatest of a fold is the least": ("fold", "max(", "min("),
    "having is forgotten": ("rows", ' WHERE "n" > 2', ' WHERE true OR "n" > 2'),
    "values that came twice count twice": ("rows", "count(*) AS d", "sum(w) AS d"),
    "groups without a value have no number": ("rows", 'COALESCE("p2", 0)', '"p2"'),
    "no events at all are no number": ("rows", "coalesce(g.n, 0) AS n", "g.n"),
    "null is no key": ("rows", "IS NOT DISTINCT FROM", "="),
    "the last is the first": ("adds", "arg_max(", "arg_min("),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_mutant_is_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, *texts = MUTANTS[name]
    compile_view = state.compile_view

    def spoilt(statement: str) -> str:
        for text, instead in zip(texts[::2], texts[1::2], strict=True):
            statement = statement.replace(text, instead)
        return statement

    def changes(table: KeptTable) -> dict[str, Any]:
        statement = getattr(table, where)
        return {where: spoilt(statement)} if statement else {}

    def mutated(view: View, runner: str) -> Compiled:
        found = compile_view(view, runner)
        if where == "rows":
            return replace(found, rows=spoilt(found.rows))
        tables = [replace(one, **changes(one)) for one in found.tables]
        return replace(found, tables=tuple(tables), rows=mutated_rows(found, tables))

    shapes = [one for one in SHAPES if mutated(plan_of(one), "x") != compile_view(plan_of(one), "x")]
    assert shapes, "it can be planted nowhere"
    monkeypatch.setattr(feeding, "compile_view", mutated)
    refuse_survivor(partial(check, shape, seed, tmp_path) for seed in range(MUTANT_SEEDS) for shape in shapes)


def mutated_rows(found: Compiled, tables: Sequence[KeptTable]) -> str:
    """The view reads what it folds."""
    rows = found.rows
    for before, after in zip(found.tables, tables, strict=True):
        if before.fold is not None and after.fold is not None:
            rows = rows.replace(before.fold, after.fold)
    return rows


def test_each_operator_is_in_a_tenth_of_the_shapes() -> None:
    assert rare(OPERATORS, [one.view for one in SHAPES]) == []


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=lambda one: one.name)
def test_with_many_seeds(shape: Shape, tmp_path: Path) -> None:
    for seed in range(SEEDS):
        check(shape, seed, tmp_path)


if __name__ == "__main__":
    merging.MERGE_ROWS = 6
    check_seeds({one.name: one for one in SHAPES}, check, int(sys.argv[1]))
