"""Joins, and the states of aggregates as tables: after each batch the same as DuckDB says of all events so far.

As `test_oracle`, with two topics of different keys and numbers of partitions. `python -m tests.views.test_joins 300`
takes as many seeds per shape as it is told.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.environment import SYSTEM
from headwater.errors import NotYet, Unavailable
from headwater.log.memory import MemoryLog
from headwater.log.port import NewRecord, Record, StoredRecord, TopicSpec
from headwater.schemas.topics import PLAIN
from headwater.testing.conformance.log.waiting import eventually
from headwater.views import merging, state
from headwater.views.file import MEMORY, ViewFile
from headwater.views.kept import Compiled
from headwater.views.moments import Moment
from headwater.views.nesting import leaves
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.replaying import ends_of, replay
from headwater.views.texts import Text
from tests.views import feeding
from tests.views.comparing import InDuckDB, check_seeds, compare, mutated, rare, refuse_survivor
from tests.views.feeding import Fed, small_merges
from tests.views.shopping import (
    BUYERS,
    DESCRIBED,
    NOON,
    SALES,
    Buyer,
    BuyerEvent,
    BuyerMoved,
    BuyerPaid,
    Move,
    Sale,
    SaleEvent,
    SaleMade,
    SaleVoided,
    Sell,
    batches,
    catalogue,
    events,
    log_of,
    records_of,
)

QUICK, SEEDS, MUTANT_SEEDS = 1, 2, 24

TABLES = (
    "CREATE TABLE sales (sale VARCHAR, buyer VARCHAR, amount DECIMAL(38,9), places VARCHAR[], reason VARCHAR,"
    " _partition INTEGER, _offset BIGINT, _time TIMESTAMPTZ)",
    "CREATE TABLE moves (name VARCHAR, region VARCHAR, _partition INTEGER, _offset BIGINT, _type VARCHAR,"
    " _time TIMESTAMPTZ)",
    "CREATE TABLE rates (region VARCHAR, rate DECIMAL(9,3))",
    "CREATE TABLE old_rates (region VARCHAR, rate DECIMAL(9,3), gone BOOLEAN, since TIMESTAMPTZ, place BIGINT)",
    "CREATE TABLE versions (id VARCHAR, region VARCHAR, credit DECIMAL(38,9), moves BIGINT, since TIMESTAMPTZ,"
    " place BIGINT)",
    "CREATE TABLE sale_states (id VARCHAR, version BIGINT, buyer VARCHAR, amount DECIMAL(38,9), void BOOLEAN)",
    "CREATE TABLE buyers (id VARCHAR, version BIGINT, region VARCHAR, credit DECIMAL(38,9), moves BIGINT,"
    " _partition INTEGER, _offset BIGINT)",
)
NAMES = {"buyer-events": "moves", "sale-events": "sales", "sale-state": "sale_states", "buyer-state": "buyers"}

SHAPES = {
    "states": "SELECT id, region, credit * 2 AS twice FROM buyer-state WHERE moves > 0",
    "folds of states": "SELECT region, COUNT(*) AS n, COUNT(credit) FILTER (WHERE moves > 1) AS c, SUM(credit) AS s, "
    "MIN(credit) AS lo, MAX(credit) AS hi, COUNT(DISTINCT moves) AS m, SUM(moves) / COUNT(moves) AS mean, "
    "ARG_MAX(id, credit) FILTER (WHERE moves < 3) AS best FROM buyer-state GROUP BY region",
    "states without a key": "SELECT COUNT(*) AS n, SUM(version) AS v, MAX(amount) AS hi FROM sale-state "
    "HAVING MAX(amount) < 50",
    "inner": "SELECT e.sale, e.amount, b.region FROM sale-events e JOIN buyer-state b ON e.buyer = b.id "
    "AND e.amount > b.credit",
    "inner folded": "SELECT b.region, COUNT(*) AS n, SUM(e.amount) AS s, MIN(e.amount) AS lo, MAX(b.moves) AS hi "
    "FROM sale-events e JOIN buyer-state b ON e.buyer = b.id WHERE e.amount > 0 GROUP BY b.region",
    "left": "SELECT e.sale, e.amount, b.region, b.id FROM sale-events e LEFT JOIN buyer-state b ON e.buyer = b.id "
    "AND b.moves > 0",
    "left folded": "SELECT COALESCE(b.region, 'none') AS r, COUNT(b.id) AS n, COUNT(*) AS all, "
    "COUNT(DISTINCT e.sale) AS d, SUM(e.amount) AS s FROM sale-events e LEFT JOIN buyer-state b ON e.buyer = b.id "
    "GROUP BY COALESCE(b.region, 'none')".replace("AS all", "AS every"),
    "right": "SELECT e.sale, b.id, b.credit FROM sale-events e RIGHT JOIN buyer-state b ON e.buyer = b.id "
    "WHERE b.credit > 0",
    "full": "SELECT s.id AS sale, b.id AS buyer, s.amount, b.credit FROM sale-state s FULL JOIN buyer-state b "
    "ON s.buyer = b.id AND NOT s.void",
    "two tables": "SELECT b.region, SUM(s.amount) AS s, COUNT(*) AS n, MAX(s.amount) AS hi FROM sale-state s "
    "JOIN buyer-state b ON s.buyer = b.id WHERE NOT s.void GROUP BY b.region",
    "two tables, left": "SELECT s.id, s.amount, b.credit FROM sale-state s LEFT JOIN buyer-state b ON s.buyer = b.id",
    "three": "SELECT b.region, COUNT(*) AS n, SUM(s.amount) AS s, COUNT(o.id) AS o FROM sale-events e "
    "JOIN sale-state s ON e.sale = s.id LEFT JOIN buyer-state b ON s.buyer = b.id "
    "LEFT JOIN buyer-state o ON o.region = b.region AND o.id <> b.id GROUP BY b.region",
    "two keys": "SELECT e.sale, s.amount FROM sale-events e LEFT JOIN sale-state s ON e.sale = s.id "
    "AND e.buyer = s.buyer",
    "elements": "SELECT p, COUNT(b.id) AS n, SUM(b.credit) AS s FROM sale-events e, UNNEST(e.places) AS p "
    "LEFT JOIN buyer-state b ON p = b.region GROUP BY p",
}
BEFORE = """
CREATE TABLE homes AS SELECT name, ARG_MAX(region, _offset) AS home, COUNT(*) AS n FROM buyer-events
    WHERE _type = 'BuyerMoved' GROUP BY name HAVING COUNT(*) < 5;
CREATE TABLE large AS SELECT sale, buyer, amount * 2 AS twice FROM sale-events WHERE amount > 10;
CREATE TABLE spent AS SELECT buyer, SUM(amount) AS s, MAX(amount) AS hi, COUNT(DISTINCT sale) AS d FROM sale-events
    GROUP BY buyer;
CREATE TABLE regions AS SELECT h.home, SUM(s.s) AS s, MIN(s.hi) AS lo FROM homes h LEFT JOIN spent s ON h.name = s.buyer
    GROUP BY h.home;
CREATE TABLE seen AS SELECT e.sale, e.amount, b.region FROM sale-events e JOIN buyer-state b ON e.buyer = b.id;
"""
"""Views that others read."""

SHAPES |= {
    "a view": "SELECT e.sale, e.amount, h.home FROM sale-events e LEFT JOIN homes h ON e.buyer = h.name AND h.n > 1",
    "a view, folded": "SELECT h.home, SUM(e.amount) AS s, MAX(e.amount) AS hi, COUNT(*) AS n FROM sale-events e "
    "JOIN homes h ON e.buyer = h.name GROUP BY h.home",
    "a view of rows": "SELECT b.region, SUM(l.twice) AS s, MIN(l.twice) AS lo FROM buyer-state b "
    "RIGHT JOIN large l ON b.id = l.buyer GROUP BY b.region",
    "a view with values": "SELECT b.id, b.credit, s.hi, s.d FROM buyer-state b FULL JOIN spent s ON b.id = s.buyer",
    "a view of views": "SELECT b.region, COUNT(r.s) AS n, SUM(r.lo) AS lo FROM buyer-state b "
    "JOIN regions r ON b.region = r.home GROUP BY b.region",
    "a view that joins": "SELECT s.id, COUNT(x.sale) AS n, MAX(x.region) AS r FROM sale-state s "
    "RIGHT JOIN seen x ON s.id = x.sale GROUP BY s.id",
}
SHAPES |= {
    "as it was": "SELECT e.sale, b.region, b.moves FROM sale-events e "
    "LEFT JOIN buyer-state FOR SYSTEM_TIME AS OF e._time AS b ON e.buyer = b.id AND b.moves > 0",
    "as it was, folded": "SELECT b.region, COUNT(*) AS n, SUM(e.amount) AS s, MAX(b.credit) AS hi FROM sale-events e "
    "JOIN buyer-state FOR SYSTEM_TIME AS OF e._time + INTERVAL 1 MINUTE AS b ON e.buyer = b.id GROUP BY b.region",
    "two streams": "SELECT e.sale, e.amount, m.region FROM sale-events e JOIN buyer-events m "
    "WITHIN INTERVAL 3 MINUTE ON e.buyer = m.name",
    "two streams, left": "SELECT e.sale, COUNT(m.name) AS n, MAX(m.region) AS hi, SUM(e.amount) AS s "
    "FROM sale-events e LEFT JOIN buyer-events m WITHIN (INTERVAL 5 MINUTE, INTERVAL 1 MINUTE) "
    "ON e.buyer = m.name AND m.region <> 'S' GROUP BY e.sale",
}
SHAPES |= {
    "others": "SELECT region, rate * 2 AS twice FROM rates WHERE rate > 1",
    "others, left": "SELECT b.region, COUNT(r.rate) AS n, SUM(r.rate) AS s, MIN(r.rate) AS lo FROM buyer-state b "
    "LEFT JOIN rates r ON b.region = r.region GROUP BY b.region",
    "others, full": "SELECT b.id, r.region, r.rate FROM buyer-state b FULL JOIN rates r ON b.region = r.region",
    "others as they were": "SELECT m.name, m.region, r.rate FROM buyer-events m "
    "LEFT JOIN rates FOR SYSTEM_TIME AS OF m._time AS r ON m.region = r.region",
}
SHAPES |= {
    "windows": "SELECT b.region, window_start, COUNT(*) AS n, SUM(e.amount) AS s, MAX(b.credit) AS hi "
    "FROM sale-events e RIGHT JOIN buyer-state b ON e.buyer = b.id "
    "GROUP BY b.region, TUMBLE(e._time, INTERVAL 5 MINUTE)",
    "sessions": "SELECT b.region, window_start, window_end, COUNT(*) AS n, SUM(e.amount) AS s, MAX(e.amount) AS hi, "
    "COUNT(DISTINCT e.sale) AS d FROM sale-events e JOIN buyer-state b ON e.buyer = b.id "
    "GROUP BY b.region, SESSION(e._time, INTERVAL 2 MINUTE)",
    "sessions of all": "SELECT window_start, window_end, COUNT(b.id) AS n, COUNT(*) AS every, SUM(b.credit) AS s "
    "FROM sale-events e LEFT JOIN buyer-state b ON e.buyer = b.id AND b.moves > 0 "
    "GROUP BY SESSION(e._time, INTERVAL 1 MINUTE) HAVING COUNT(*) > 1",
    "sessions within a time": "SELECT e.buyer, window_start, window_end, COUNT(*) AS n, MIN(m.region) AS lo "
    "FROM sale-events e FULL JOIN buyer-events m WITHIN INTERVAL 2 MINUTE ON e.buyer = m.name AND m.region <> 'S' "
    "GROUP BY e.buyer, SESSION(e._time, INTERVAL 3 MINUTE)",
    "sessions as they were": "SELECT m.region, window_start, window_end, COUNT(r.rate) AS n, SUM(r.rate) AS s "
    "FROM sale-events e JOIN buyer-events m WITHIN INTERVAL 3 MINUTE ON e.buyer = m.name "
    "LEFT JOIN rates FOR SYSTEM_TIME AS OF e._time AS r ON m.region = r.region "
    "GROUP BY m.region, SESSION(e._time, INTERVAL 2 MINUTE)",
}
OPERATORS = {
    "inner join": r"(?<!LEFT )(?<!RIGHT )(?<!FULL )JOIN",
    "left join": "LEFT JOIN",
    "right join": "RIGHT JOIN",
    "full join": "FULL JOIN",
    "a condition beside the equality": r"ON (?:(?!GROUP).)*? AND ",
    "within a time": "WITHIN",
    "as it was": "SYSTEM_TIME AS OF",
    "states": "-state",
    "a table of others": r"\brates\b",
    "a view": r"\b(homes|large|spent|regions|seen)\b",
    "groups": "GROUP BY",
    "values with weights": r"MIN\(|MAX\(|DISTINCT",
    "where": "WHERE",
    "windows": r"TUMBLE\(|SESSION\(",
    "sessions": r"SESSION\(",
}
"""What tells that an operator is in a query."""


def sessions(columns: str, source: str, keys: str, gap: str) -> str:
    """The sessions of all rows: those that are not more than the gap after another one are with it."""
    by = f"PARTITION BY {keys} ORDER BY t" if keys else "ORDER BY t"
    apart = f"CASE WHEN t - lag(t) OVER ({by}) <= INTERVAL {gap} THEN 0 ELSE 1 END AS begins"
    numbered = f"SELECT *, sum(begins) OVER ({by}) AS session FROM (SELECT *, {apart} FROM ({source}))"
    ends = f"min(t) AS window_start, max(t) + INTERVAL {gap} AS window_end"
    shown = ", ".join([*([keys] if keys else []), ends, columns])
    by = ", ".join([*([keys] if keys else []), "session"])
    return f"SELECT {shown} FROM ({numbered}) WHERE t IS NOT NULL GROUP BY {by}"


AT = (
    "SELECT e.*, (SELECT arg_max(struct_pack(region := v.region, credit := v.credit, moves := v.moves), "
    "(since, place)) FROM versions v WHERE v.id = e.buyer AND v.since <= e._time{}) AS b FROM sales e"
)
ORACLES = {
    "windows": "SELECT b.region, time_bucket(INTERVAL 5 MINUTE, e._time), COUNT(*) AS n, SUM(e.amount) AS s, "
    "MAX(b.credit) AS hi FROM sales e RIGHT JOIN buyers b ON e.buyer = b.id WHERE e._time IS NOT NULL GROUP BY ALL",
    "sessions": sessions(
        "COUNT(*), SUM(amount), MAX(amount), COUNT(DISTINCT sale)",
        "SELECT b.region, e._time AS t, e.amount, e.sale FROM sales e JOIN buyers b ON e.buyer = b.id",
        "region",
        "2 MINUTE",
    ),
    "sessions of all": sessions(
        "COUNT(id), COUNT(*), SUM(credit)",
        "SELECT e._time AS t, b.id, b.credit FROM sales e LEFT JOIN buyers b ON e.buyer = b.id AND b.moves > 0",
        "",
        "1 MINUTE",
    )
    + " HAVING COUNT(*) > 1",
    "sessions within a time": sessions(
        "COUNT(*), MIN(region)",
        "SELECT e.buyer, e._time AS t, m.region FROM sales e FULL JOIN moves m ON e.buyer = m.name AND m.region <> 'S' "
        "AND m._time BETWEEN e._time - INTERVAL 2 MINUTE AND e._time + INTERVAL 2 MINUTE",
        "buyer",
        "3 MINUTE",
    ),
    "others as they were": "SELECT name, region, CASE WHEN NOT r.gone THEN r.rate END AS rate FROM (SELECT m.*, "
    "(SELECT arg_max(struct_pack(rate := o.rate, gone := o.gone), (since, place)) FROM old_rates o "
    "WHERE o.region = m.region AND o.since <= m._time) AS r FROM moves m)",
    "sessions as they were": sessions(
        "COUNT(rate), SUM(rate)",
        "SELECT region, t, CASE WHEN NOT r.gone THEN r.rate END AS rate FROM (SELECT m.region, e._time AS t, "
        "(SELECT arg_max(struct_pack(rate := o.rate, gone := o.gone), (since, place)) FROM old_rates o "
        "WHERE o.region = m.region AND o.since <= e._time) AS r FROM sales e JOIN moves m ON e.buyer = m.name "
        "AND m._time BETWEEN e._time - INTERVAL 3 MINUTE AND e._time + INTERVAL 3 MINUTE)",
        "region",
        "2 MINUTE",
    ),
    "as it was": "SELECT sale, CASE WHEN b.moves > 0 THEN b.region END AS region, "
    f"CASE WHEN b.moves > 0 THEN b.moves END AS moves FROM ({AT.format('')})",
    "as it was, folded": "SELECT b.region, COUNT(*) AS n, SUM(amount) AS s, MAX(b.credit) AS hi "
    f"FROM ({AT.format(' + INTERVAL 1 MINUTE')}) WHERE b IS NOT NULL GROUP BY b.region",
    "two streams": "SELECT e.sale, e.amount, m.region FROM sales e JOIN moves m ON e.buyer = m.name "
    "AND m._time BETWEEN e._time - INTERVAL 3 MINUTE AND e._time + INTERVAL 3 MINUTE",
    "two streams, left": "SELECT e.sale, COUNT(m.name) AS n, MAX(m.region) AS hi, SUM(e.amount) AS s FROM sales e "
    "LEFT JOIN moves m ON e.buyer = m.name AND m.region <> 'S' "
    "AND m._time BETWEEN e._time - INTERVAL 5 MINUTE AND e._time + INTERVAL 1 MINUTE GROUP BY e.sale",
    "elements": "SELECT p, COUNT(b.id) AS n, SUM(b.credit) AS s FROM (SELECT unnest(places) AS p FROM sales) "
    "LEFT JOIN buyers b ON p = b.region GROUP BY p",
}
IN_SHORT = [
    "sessions",
    "folds of states",
    "full",
    "three",
    "a view, folded",
    "two streams, left",
    "others as they were",
]
"""Shapes that the quick part tries."""
PLANS: dict[str, View] = {}


def plan_of(name: str) -> View:
    if name not in PLANS:
        views = plan_views([Text(f"{DESCRIBED}{BEFORE}CREATE TABLE v AS {SHAPES[name]}")], catalogue())
        PLANS[name] = next(one for one in views if one.name == "v")
    return PLANS[name]


def oracle_of(name: str) -> str:
    return in_duckdb(ORACLES.get(name, SHAPES[name]))


def in_duckdb(sql: str) -> str:
    """A query over the tables of the oracle."""
    sql = sql.replace("ARG_MAX(id, credit)", "ARG_MAX(id, (credit, _partition, _offset))")
    for topic, table in NAMES.items():
        sql = sql.replace(topic, table)
    return sql


class Oracle(InDuckDB):
    """All events so far, and the states that they come to. Arguments: types: names of the events of sales that a view
    reads as such; sql: what it asks."""

    def __init__(self, types: Collection[str], sql: str) -> None:
        super().__init__(sql, *TABLES, in_duckdb(BEFORE.replace("CREATE TABLE", "CREATE VIEW")))
        self._types = types
        self._sales: dict[str, Sale] = {}
        self._buyers: dict[str, Buyer] = {}
        self._rates: dict[str, Decimal | None] = {}
        self._places: dict[str, tuple[int, int]] = {}

    def add(self, records: Sequence[Record]) -> None:
        for record in records:
            at = NOON.fromtimestamp(record.timestamp_ms / 1000, UTC)
            if record.topic == "rate-table":
                region = (record.key or b"").decode()
                rate = None if record.value is None else json.loads(record.value, parse_float=Decimal)["rate"]
                self._insert("old_rates", [region, rate, rate is None, at, record.offset])
                self._rates[region] = rate
                continue
            codec: Any = SALES if record.topic == "sale-events" else BUYERS
            event = codec.decode(record.value)
            if isinstance(event, BuyerEvent):
                buyer = self._buyers.setdefault(event.name, Buyer(id=event.name))
                buyer.version += 1
                self._places[event.name] = (record.partition, record.offset)
                if isinstance(event, BuyerMoved):
                    self._insert("moves", [event.name, event.region, record.partition, record.offset, "BuyerMoved", at])
                    buyer.moved(event)
                else:
                    assert isinstance(event, BuyerPaid)
                    buyer.paid(event)
                self._insert("versions", [buyer.id, buyer.region, buyer.credit, buyer.moves, at, record.offset])
                continue
            assert isinstance(event, SaleEvent)
            sale = self._sales.setdefault(event.sale, Sale(id=event.sale))
            sale.version += 1
            row: list[Any] = [event.sale, None, None, None, None, record.partition, record.offset, at]
            if isinstance(event, SaleMade):
                sale.made(event)
                row[1:4] = [event.buyer, event.amount, event.places]
            elif isinstance(event, SaleVoided):
                sale.voided(event)
                row[4] = event.reason
            if type(event).__name__ in self._types:
                self._insert("sales", row)
        self._connection.execute("DELETE FROM sale_states; DELETE FROM buyers; DELETE FROM rates")
        for region, rate in self._rates.items():
            if rate is not None:
                self._insert("rates", [region, rate])
        for sale in self._sales.values():
            self._insert("sale_states", [sale.id, sale.version, sale.buyer, sale.amount, sale.void])
        for buyer in self._buyers.values():
            row = [buyer.id, buyer.version, buyer.region, buyer.credit, buyer.moves, *self._places[buyer.id]]
            self._insert("buyers", row)

    def _insert(self, table: str, row: Sequence[Any]) -> None:
        self._connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def check(name: str, seed: int, directory: Path) -> None:
    """Raises AssertionError with the seed where the view is another than the oracle's."""
    chance = random.Random(seed)
    records = records_of(list(events(chance)), chance)
    view, title = plan_of(name), f"seed {seed}, {name}"
    types = {kind.name for one in leaves(view) if one.origin == "events" for kind in one.types}
    oracle = Oracle(types, oracle_of(name))
    path = directory / f"{name} {seed}.duckdb"
    compare(view, oracle, batches(chance, records), chance, path, title)


@pytest.fixture(autouse=True)
def many_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    small_merges(monkeypatch)


@pytest.mark.parametrize("name", IN_SHORT)
def test_a_join_equals_the_same_question_asked_of_all_events(name: str, tmp_path: Path) -> None:
    first = random.randrange(10**6)
    for seed in range(first, first + QUICK):
        check(name, seed, tmp_path)


def test_each_operator_is_in_a_tenth_of_the_shapes() -> None:
    assert rare(OPERATORS, SHAPES.values()) == []


# What is planted in the compiled view, by what it is: the text of a change, what stands in its place, and the shape.
MUTANTS = {
    "an old row of a table does not go": ("-sum(o.w)", "0 * sum(o.w)", "states"),
    "a table's old row comes again": ("-sum(o.w)", "sum(o.w)", "two tables"),
    "what was kept does not meet the new rows of a table": (
        " UNION ALL BY NAME FROM ",
        " WHERE false UNION ALL BY NAME FROM ",
        "inner",
    ),
    "new rows of a table meet only what was kept": (
        " UNION ALL BY NAME FROM ",
        " UNION ALL BY NAME SELECT * EXCLUDE w, 0 AS w FROM ",
        "inner folded",
    ),
    "weights are added": ("l.w * r.w", "l.w + r.w", "two tables"),
    "what was before is not taken back": ("-1 * coalesce", "0 * coalesce", "full"),
    "a row of the right side without a partner does not count": ("coalesce(r.w, 1)", "coalesce(r.w, 0)", "left"),
    "a row of the left side without a partner does not count": ("coalesce(l.w, 1)", "coalesce(l.w, 0)", "right"),
    "keys of the right side are forgotten": (" UNION SELECT", " EXCEPT SELECT", "left folded"),
    "a condition beside the equality is forgotten": (
        ' AND (("r1"."moves" > 0',
        ' AND (true OR ("r1"."moves" > 0',
        "left",
    ),
    "a version begins with its end": (".since AND", ".until AND", "as it was"),
    "a version does not end": (' < "hw span r1".until)', ' < "hw span r1".since)', "as it was, folded"),
    "versions follow in the order of the log": ('ORDER BY "hw span r1".since, ', "ORDER BY ", "as it was"),
    "times may be further apart": (" - 180000000 AND", " - 240000000 AND", "two streams"),
    "a partner may come later": (" + 60000000", " + 900000000", "two streams, left"),
    "the old row of a group does not go": ("-1::BIGINT", "0::BIGINT", "a view, folded"),
    "the new row of a group forgets the old ones": (" UNION ALL FROM ", " EXCEPT ALL FROM ", "a view, folded"),
    "a row that came often comes once": (", range(abs(w))", "", "three"),
    "a session is only its first row": ('coalesce("k1" > max(', 'coalesce(true OR "k1" > max(', "sessions"),
    "sessions that touch are two": ("> max(", ">= max(", "sessions of all"),
    "a session ends with its last row": ('"_time") + 120000000)', '"_time") + 0)', "sessions"),
    "values stay where their row was": ('BETWEEN s."k1" AND s."k2"', 'BETWEEN s."k1" AND s."k1"', "sessions"),
    "rows that went stay in their session": ("HAVING sum(n) <> 0)", "HAVING sum(n) <> 99)", "sessions"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_planted_in_a_join_is_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, instead, shape = MUTANTS[name]
    compile_view = state.compile_view

    def planted(view: View, runner: str) -> Compiled:
        """Spoils the changes of a batch, or if the text is not in them, what is added and read."""
        found = compile_view(view, runner)
        spoilt = replace(found, changes=mutated(found.changes, text, instead))
        return spoilt if spoilt != found else mutated(found, text, instead)

    assert planted(plan_of(shape), "x") != compile_view(plan_of(shape), "x"), "it can be planted nowhere"
    monkeypatch.setattr(feeding, "compile_view", planted)
    refuse_survivor(partial(check, shape, seed, tmp_path) for seed in range(MUTANT_SEEDS))


class Spent(hw.Value):
    region: str | None
    spent: Decimal


def test_a_receipt_of_each_side_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views.sql").write_text(
        "CREATE TABLE spent AS SELECT b.region, SUM(e.amount) AS spent FROM sale-events e "
        "JOIN buyer-state b ON e.buyer = b.id GROUP BY b.region"
    )
    app = hw.App("shop", aggregates=[Sale, Buyer], views="*.sql", partitions=2)
    with app.run("memory://") as shop:
        receipts = [shop.send(Move("ann", "N")), shop.send(Sell("1", "ann", Decimal(3)))]
        assert shop.query("SELECT * FROM spent", into=Spent, after=receipts) == [Spent("N", Decimal(3))]
        receipt = shop.send(Move("ann", "S"))
        assert shop.query("SELECT * FROM spent", into=Spent, after=receipt) == [Spent("S", Decimal(3))]


def test_a_view_waits_for_a_topic_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views.sql").write_text(
        f"{DESCRIBED} CREATE TABLE spent AS SELECT r.region, SUM(e.amount * r.rate) AS spent FROM sale-events e "
        "JOIN rates r ON e.buyer = r.region GROUP BY r.region"
    )
    log, app = MemoryLog(), hw.App("shop", aggregates=[Sale, Buyer], views="*.sql", partitions=2)
    with app.run(log) as shop:
        receipt = shop.send(Sell("1", "N", Decimal(3)))
        with pytest.raises(Unavailable, match="there is no topic rate-table, which view spent reads"):
            shop.query("SELECT * FROM spent", into=Spent, after=receipt)
        log.create_topics([TopicSpec("rate-table", 3)])
        log.append([NewRecord("rate-table", 0, b"N", b'{"region":"N","rate":2}')])

        def spent() -> list[Spent]:
            try:
                return shop.query("SELECT * FROM spent", into=Spent, after=receipt)
            except (Unavailable, NotYet):
                return []

        eventually(lambda: spent() == [Spent("N", Decimal(6))], 60.0, "the row of both topics")


def test_a_state_that_a_view_cannot_read_is_a_dead_letter() -> None:
    fed = Fed(plan_of("states"))
    small = Decimal("0.0000000001")
    fed.feed(
        records_of([BuyerMoved("ann", "N"), BuyerPaid("ann", small), BuyerMoved("ann", "S"), BuyerMoved("bob", "S")])
    )
    assert sorted(fed.rows()) == [("ann", "N", 0), ("bob", "S", 0)]
    [failed] = [row for row in fed.file.rows(fed.held) if row.failed]
    assert "10 digits after the point" in failed.message
    fed.close()


def test_records_that_both_sides_cannot_read_take_nothing_with_them() -> None:
    """The places of the others in their batch are known, though the next batch was prepared since."""
    fed, small = Fed(plan_of("inner")), Decimal("0.0000000001")
    buyers = [BuyerMoved("ann", "N"), BuyerPaid("eve", small), BuyerMoved("bob", "S")]
    sales = [SaleMade(str(i), "bob", Decimal(i) if i % 3 else small, []) for i in range(9)]
    fed.feed(records_of([*buyers, *sales, SaleMade("of ann", "ann", Decimal(2), [])]))
    read = [(str(i), Decimal(i), "S") for i in range(9) if i % 3]
    assert sorted(fed.rows()) == [*read, ("of ann", Decimal(2), "N")]
    assert fed.dead().keys() == {"eve", "0", "3", "6"}
    fed.close()


def test_records_of_others_are_as_described_or_set_aside() -> None:
    described = "CREATE TABLE t (k VARCHAR PRIMARY KEY, d DECIMAL(12,2), i INTEGER, l VARCHAR[], j JSON, u TIMESTAMP);"
    [view] = plan_views([Text(f"{described}CREATE TABLE v AS SELECT k, d, i, l, j, u FROM t")], catalogue())
    good = b'{"k":"a","d":1.5,"i":7,"l":["x",null],"j":{"z":[1]},"u":"2026-01-01T00:00:00Z","more":1}'
    bad = [
        b'{"k":"b0","d":1.555}',
        b'{"i":3000000000}',
        b'{"l":"x"}',
        b"[]",
        b"null",
        b"{",
        b'{"k":"\xff"}',
        b'{"d":"NaN"}',
    ]
    values = [(b"a", good), (b"n", b"{}"), *((b"b%d" % i, one) for i, one in enumerate(bad)), (None, good)]
    fed = Fed(view)
    fed.feed([StoredRecord("t", 0, i, key, value, (), 0) for i, (key, value) in enumerate(values)])
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    a = ("a", Decimal("1.50"), 7, ["x", None], '{"z":[1]}', new_year)
    assert sorted(fed.rows(), key=str) == [a, ("n", *(None,) * 5)]
    assert len(fed.dead()) == len(bad) + 1
    assert "which tells whose row it is" in fed.dead()[""]
    fed.close()


def test_a_join_as_it_was_is_read_from_all_its_topics() -> None:
    log = log_of([BuyerMoved("ann", "N"), SaleMade("1", "ann", Decimal(2), []), BuyerMoved("ann", "S")])
    view, moment, file = plan_of("inner"), Moment(as_of=datetime.now(UTC)), ViewFile(MEMORY)
    replay(view, log, file, moment, ends_of(view, log, moment), PLAIN, SYSTEM)
    with file.aside() as connection:
        assert connection.execute("FROM v").fetchall() == [("1", Decimal(2), "S")]
    file.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_joins_with_many_seeds(name: str, tmp_path: Path) -> None:
    for seed in range(SEEDS):
        check(name, seed, tmp_path)


if __name__ == "__main__":
    merging.MERGE_ROWS = 6
    check_seeds({name: name for name in SHAPES}, check, int(sys.argv[1]))
