"""Two streams that are joined within a time, with a grace: what is late, and what leaves the state.

As `test_joins`, with the late rule applied first, in plain Python. `python -m tests.views.test_joins_expiring 300`
takes as many seeds per shape as it is told.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from headwater.failures.held import HeldRecord
from headwater.log.port import Record, StoredRecord, TopicPartition
from headwater.views import merging, state
from headwater.views.kept import Compiled
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.texts import Text
from tests.views import feeding
from tests.views.comparing import InDuckDB, check_seeds, compare, mutated, rare, refuse_survivor
from tests.views.feeding import Fed, small_merges
from tests.views.shopping import (
    BUYERS,
    NOON,
    PARTITIONS,
    SALES,
    BuyerEvent,
    BuyerMoved,
    BuyerPaid,
    SaleEvent,
    SaleMade,
    batches,
    catalogue,
    ms,
    written,
)

QUICK, SEEDS, MUTANT_SEEDS = 1, 4, 40


class Shape(NamedTuple):
    """Arguments: name; sql: the query, with `within` in place of each WITHIN; within: what stands there, and what the
    batch query compares instead; takes: table of the oracle -> for how many minutes after its time a row is taken."""

    name: str
    sql: str
    within: tuple[tuple[str, str], ...]
    takes: Mapping[str, int]

    @property
    def view(self) -> str:
        sql = self.sql
        for words, _ in self.within:
            sql = sql.replace("within", words, 1)
        return f"CREATE TABLE v AS {sql}"

    @property
    def oracle(self) -> str:
        sql = self.sql.replace("sale-events", "sales").replace("buyer-events m", "moves m")
        sql = sql.replace("buyer-events e", "firsts e")
        for _, compared in self.within:
            sql = sql.replace(" within ON ", f" ON {compared} AND ", 1)
        return sql.replace("buyer-events p", "pays p")


def shape(name: str, sql: str, *within: tuple[str, str], **takes: int) -> Shape:
    return Shape(name, sql, within, takes)


def near(before: int, after: int, grace: int, right: str = "m") -> tuple[str, str]:
    return (
        f"WITHIN (INTERVAL {before} MINUTE, INTERVAL {after} MINUTE, grace => INTERVAL {grace} MINUTE)",
        f"{right}._time BETWEEN e._time - INTERVAL {before} MINUTE AND e._time + INTERVAL {after} MINUTE",
    )


SHAPES = [
    shape(
        "inner",
        "SELECT e.sale, e.amount, m.region FROM sale-events e JOIN buyer-events m within ON e.buyer = m.name",
        near(2, 1, 1),
        sales=2,
        moves=3,
    ),
    shape(
        "inner, folded",
        "SELECT m.region, COUNT(*) AS n, SUM(e.amount) AS s, MAX(e.amount) AS hi FROM sale-events e "
        "JOIN buyer-events m within ON e.buyer = m.name AND e.amount > 3 GROUP BY m.region HAVING COUNT(*) > 1",
        near(0, 3, 0),
        sales=3,
        moves=0,
    ),
    shape(
        "left",
        "SELECT e.sale, e.amount, m.region FROM sale-events e LEFT JOIN buyer-events m within "
        "ON e.buyer = m.name AND m.region <> 'S'",
        near(1, 2, 0),
        sales=2,
        moves=1,
    ),
    shape(
        "left, folded",
        "SELECT e.sale, COUNT(m.name) AS n, COUNT(*) AS every, SUM(e.amount) AS s, COUNT(DISTINCT m.region) AS d "
        "FROM sale-events e LEFT JOIN buyer-events m within ON e.buyer = m.name GROUP BY e.sale",
        near(2, 2, 1),
        sales=3,
        moves=3,
    ),
    shape(
        "right",
        "SELECT m.name, m.region, COUNT(e.sale) AS n, MIN(e.amount) AS lo FROM sale-events e "
        "RIGHT JOIN buyer-events m within ON e.buyer = m.name WHERE m.region IS NOT NULL GROUP BY m.name, m.region",
        near(1, 0, 2),
        sales=2,
        moves=3,
    ),
    shape(
        "full",
        "SELECT e.sale, e.amount, m.name, m.region FROM sale-events e FULL JOIN buyer-events m within "
        "ON e.buyer = m.name AND e.amount > 2 WHERE e.amount IS NULL OR e.amount < 8",
        near(1, 1, 1),
        sales=2,
        moves=2,
    ),
    shape(
        "three",
        "SELECT e.sale, m.region, p.paid FROM sale-events e JOIN buyer-events m within ON e.buyer = m.name "
        "JOIN buyer-events p within ON e.buyer = p.name",
        near(2, 1, 0),
        near(1, 3, 1, "p"),
        sales=4,
        moves=2,
        pays=2,
    ),
    shape(
        "three, left",
        "SELECT e.sale, COUNT(m.name) AS n, SUM(p.paid) AS s FROM sale-events e LEFT JOIN buyer-events m within "
        "ON e.buyer = m.name LEFT JOIN buyer-events p within ON m.name = p.name GROUP BY e.sale",
        near(1, 2, 1),
        near(2, 0, 0, "p"),
        sales=3,
        moves=2,
        pays=2,
    ),
    shape(
        "itself",
        "SELECT e.name, e.region, m.region AS other FROM buyer-events e JOIN buyer-events m within ON e.name = m.name",
        near(1, 2, 0),
        firsts=2,
        moves=1,
    ),
]
IN_SHORT = ["inner", "full", "three, left"]
"""Shapes that the quick part tries."""
OPERATORS = {
    "inner join": r"(?<!LEFT )(?<!RIGHT )(?<!FULL )JOIN",
    "left join": "LEFT JOIN",
    "right join": "RIGHT JOIN",
    "full join": "FULL JOIN",
    "a join with a join": "JOIN.*JOIN",
    "a stream with itself": r"FROM (\S+) .*JOIN \1 ",
    "a condition beside the equality": r" ON (?:(?!GROUP|WHERE).)*? AND ",
    "only what comes before": r"INTERVAL 0 MINUTE, grace",
    "only what comes after": r"\(INTERVAL 0 MINUTE",
    "a grace": r"grace => INTERVAL [1-9]",
    "no time to be late": r"grace => INTERVAL 0",
    "where": "WHERE",
    "groups": "GROUP BY",
    "rows": "^(?!.*GROUP BY)",
    "having": "HAVING",
    "a count of rows": r"COUNT\(\*",
    "a count of a field": r"COUNT\((?!\*|DISTINCT)",
    "a count of different ones": r"COUNT\(DISTINCT",
    "a sum": r"SUM\(",
    "the least": r"MIN\(",
    "the greatest": r"MAX\(",
}
"""What the language has for streams that are joined within a time, and what tells that it is in a query."""
PLANS: dict[str, View] = {}


def plan_of(shape: Shape) -> View:
    if shape.name not in PLANS:
        [PLANS[shape.name]] = plan_views([Text(shape.view)], catalogue())
    return PLANS[shape.name]


def straggling(chance: random.Random) -> list[Record]:
    """Events in any partition; times go on by half minutes, and jump back now and then."""
    ends, records = Counter[TopicPartition](), list[Record]()
    for number in range(chance.randrange(1, 60)):
        at = NOON + timedelta(minutes=number / 3 + chance.choice([0, 0, 0, 0.5, 1, 2, -1, -2, -3, -6]))
        buyer, amount = chance.choice(["ann", "bob"]), Decimal(chance.randrange(-20, 90)) / 10
        events: list[SaleEvent | BuyerEvent] = [
            SaleMade(chance.choice("123"), chance.choice([buyer, buyer, buyer, None]), amount, []),
            BuyerMoved(buyer, chance.choice(["N", "S", None])),
            BuyerPaid(buyer, amount),
        ]
        topic, key, value = written(chance.choice(events))
        tp = TopicPartition(topic, chance.randrange(PARTITIONS[topic]))
        records.append(StoredRecord(topic, tp.partition, ends[tp], key, value, (), ms(at)))
        ends[tp] += 1
    return records


@dataclass
class Late:
    """The late rule of one relation. Arguments: takes_us: how far behind its partition's clock a row may be."""

    takes: timedelta

    def __post_init__(self) -> None:
        self._clocks: dict[int, datetime] = {}

    def tells(self, partition: int, at: datetime) -> bool:
        self._clocks[partition] = max(self._clocks.get(partition, at), at)
        return at + self.takes < self._clocks[partition]


class Oracle(InDuckDB):
    """All events so far that came in time. Arguments: shape; view: its plan. `late`: those that did not, for one of
    their relations."""

    def __init__(self, shape: Shape, view: View) -> None:
        super().__init__(
            shape.oracle,
            "CREATE TABLE sales (sale VARCHAR, buyer VARCHAR, amount DECIMAL(38,9), _time TIMESTAMPTZ)",
            "CREATE TABLE moves (name VARCHAR, region VARCHAR, _time TIMESTAMPTZ)",
            "CREATE TABLE firsts AS FROM moves",
            "CREATE TABLE pays (name VARCHAR, paid DECIMAL(38,9), _time TIMESTAMPTZ)",
        )
        self.late = set[tuple[str, int, int]]()
        moves = view.relations[1]
        self._pays_move = {one.name for one in moves.types} == {"BuyerMoved", "BuyerPaid"}
        self._rules = {table: Late(timedelta(minutes=minutes)) for table, minutes in shape.takes.items()}

    def add(self, records: Sequence[Record]) -> None:
        for record in records:
            at = NOON.fromtimestamp(record.timestamp_ms / 1000, UTC)
            codec: Any = SALES if record.topic == "sale-events" else BUYERS
            match codec.decode(record.value):
                case SaleMade(sale=sale, buyer=buyer, amount=amount):
                    self._insert(record, at, "sales", [sale, buyer, amount])
                case BuyerMoved(name=name, region=region):
                    self._insert(record, at, "moves", [name, region])
                    self._insert(record, at, "firsts", [name, region])
                case BuyerPaid(name=name, paid=paid):
                    self._insert(record, at, "pays", [name, paid])
                    if self._pays_move:
                        self._insert(record, at, "moves", [name, None])

    def _insert(self, record: Record, at: datetime, table: str, row: list[Any]) -> None:
        rule = self._rules.get(table)
        if rule is not None and rule.tells(record.partition, at):
            self.late.add((record.topic, record.partition, record.offset))
        elif rule is not None:
            self._connection.execute(f"INSERT INTO {table} VALUES ({'?, ' * len(row)}?)", [*row, at])


def check(shape: Shape, seed: int, directory: Path) -> None:
    """Raises AssertionError with the seed where the view is another than the oracle's, or other records are late."""
    chance = random.Random(seed)
    view = plan_of(shape)
    records, oracle, title = straggling(chance), Oracle(shape, view), f"seed {seed}, {shape.name}"

    def refuse_other_late(fed: Fed) -> None:
        rows: list[HeldRecord] = fed.file.rows(fed.held)
        assert {(row.topic, row.partition, row.record_offset) for row in rows} == oracle.late, title
        assert {row.stage for row in rows} <= {"late"}, title
        assert fed.late() == len(oracle.late), title

    path = directory / f"{shape.name} {seed}.duckdb"
    compare(view, oracle, batches(chance, records, (0, 1, 2, 3)), chance, path, title, refuse_other_late)


@pytest.fixture(autouse=True)
def many_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can expire does so with each batch."""
    small_merges(monkeypatch)
    monkeypatch.setattr(merging.Growth, "enough", True)


@pytest.mark.parametrize("shape", [one for one in SHAPES if one.name in IN_SHORT], ids=lambda one: one.name)
def test_a_join_equals_the_same_question_asked_of_all_that_came_in_time(shape: Shape, tmp_path: Path) -> None:
    first = random.randrange(10**6)
    for seed in range(first, first + QUICK):
        check(shape, seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=lambda one: one.name)
def test_with_many_seeds(shape: Shape, tmp_path: Path) -> None:
    for seed in range(SEEDS):
        check(shape, seed, tmp_path)


def test_each_operator_is_in_a_tenth_of_the_shapes() -> None:
    assert rare(OPERATORS, [one.view for one in SHAPES]) == []


def going_on(minutes: int) -> Iterator[list[Record]]:
    """A batch for each minute: an event in each partition."""
    for minute in range(minutes):
        at = ms(NOON + timedelta(minutes=minute))
        batch: list[Record] = []
        for topic, count in PARTITIONS.items():
            event: SaleEvent | BuyerEvent = SaleMade(f"{minute}", "ann", Decimal(1), [])
            if topic == "buyer-events":
                event = BuyerMoved("ann", "N")
            _, key, value = written(event)
            if topic != "rate-table":
                batch += [StoredRecord(topic, p, minute, key, value, (), at) for p in range(count)]
        yield batch


@pytest.mark.parametrize("side", ["", pytest.param("FULL", marks=pytest.mark.slow)])
def test_what_is_kept_of_both_sides_stops_growing(side: str) -> None:
    sql = f"SELECT m.region, COUNT(*) AS n FROM sale-events e {side} JOIN buyer-events m within ON e.buyer = m.name"
    one = shape("v", f"{sql} GROUP BY m.region", near(2, 2, 1))
    with closing(Fed(plan_views([Text(one.view)], catalogue())[0])) as fed:
        kept = []
        for batch in going_on(24):
            fed.feed(batch)
            with fed.file.aside() as connection:
                names = ['hw."test-view/r0"', 'hw."test-view/r1"']
                kept.append([connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in names])
        [(region, n)] = fed.rows()
        assert (region, n) == ("N", sum(6 for one in range(24) for two in range(24) if abs(one - two) <= 2))
        most = [max(one[side] for one in kept[:12]) for side in (0, 1)]
        assert all(one[side] <= most[side] for one in kept[12:] for side in (0, 1)), kept
        assert kept[-1][0] < 2 * 12, kept


def at(minute: float, *events: SaleEvent | BuyerEvent, ends: Counter[TopicPartition]) -> list[Record]:
    """These events, each in every partition of its topic."""
    found = list[Record]()
    for event in events:
        topic, key, value = written(event)
        for tp in [TopicPartition(topic, p) for p in range(PARTITIONS[topic])]:
            found.append(
                StoredRecord(topic, tp.partition, ends[tp], key, value, (), ms(NOON + timedelta(minutes=minute)))
            )
            ends[tp] += 1
    return found


def test_what_a_row_was_joined_with_is_known_as_long_as_it_may_have_more_partners() -> None:
    sql = (
        "SELECT e.sale, COUNT(*) AS n, MAX(m.region) AS hi, MIN(m.region) AS lo FROM sale-events e "
        "LEFT JOIN buyer-events m within ON e.buyer = m.name AND m.region <> 'S' GROUP BY e.sale"
    )
    [view] = plan_views([Text(shape("", sql, near(1, 2, 0)).view)], catalogue())
    ends, many = Counter[TopicPartition](), PARTITIONS["sale-events"] * PARTITIONS["buyer-events"]
    ann, others = SaleMade("1", "ann", Decimal(1), []), SaleMade("2", "bob", Decimal(1), [])
    with closing(Fed(view)) as fed:
        fed.feed(at(6, BuyerMoved("ann", "N"), ends=ends) + at(7, ann, ends=ends))
        for _ in range(2):  # what expires goes with the batch after
            fed.feed(at(9.5, BuyerMoved("eve", "N"), others, ends=ends))
        fed.feed(at(8.8, BuyerMoved("ann", "E"), ends=ends))  # its clock is at 9.5, so it is in time
        assert sorted(fed.rows()) == [("1", 2 * many, "N", "E"), ("2", 2 * PARTITIONS["sale-events"], None, None)]


# What is planted in the statements of a compiled view, by what it is: a text, what stands in its place, and the shape.
MUTANTS = {
    "late rows are joined": ("WHERE NOT EXISTS (SELECT 1 FROM", "WHERE true OR EXISTS (SELECT 1 FROM", "inner"),
    "there is no grace": ('_time") + 120000000', '_time") + 60000000', "inner"),
    "each batch has a clock of its own": ("greatest(s.before, max(", "greatest(max(", "full"),
    "the partitions have one clock": ("PARTITION BY s.p, s.again ", "", "left"),
    "the floor is that of the partition that is furthest": ("least((SELECT min(m)", "least((SELECT max(m)", "inner"),
    "the floor forgets what is late": (" - 180000000 END", " END", "inner"),
    "right rows expire too early": (
        '(SELECT t FROM "hw floor r0")',
        '(SELECT t + 600000000 FROM "hw floor r0")',
        "inner",
    ),
    "left rows expire at once": ('_time") + 180000000 < (SELECT', '_time") < (SELECT', "inner, folded"),
    "a row that met a changed one is not touched": (" UNION SELECT", " EXCEPT SELECT", "left"),
    "who had no partner does not go": ("-1 * w", "0 * w", "full"),
    "who has no partner does not come": ("1 * w AS w", "0 * w AS w", "right"),
    "what is late is not counted": ("SELECT p, NULL, NULL, 1", "SELECT p, NULL, NULL, 0", "full"),
    "what is late is counted twice": (" AND (p, o) NOT IN (SELECT", " AND true OR (p, o) IN (SELECT", "itself"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_planted_in_a_join_with_a_grace_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, instead, title = MUTANTS[name]
    [shape] = [one for one in SHAPES if one.name == title]
    compile_view = state.compile_view

    def planted(view: View, runner: str) -> Compiled:
        compiled: Compiled = mutated(compile_view(view, runner), text, instead)
        return compiled

    assert planted(plan_of(shape), "x") != compile_view(plan_of(shape), "x"), "it can be planted nowhere"
    monkeypatch.setattr(feeding, "compile_view", planted)
    refuse_survivor(partial(check, shape, seed, tmp_path) for seed in range(MUTANT_SEEDS))


if __name__ == "__main__":
    merging.Growth.enough = True  # type: ignore[assignment, method-assign] # grown enough at any time
    check_seeds({one.name: one for one in SHAPES}, check, int(sys.argv[1]))
