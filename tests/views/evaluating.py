"""What a plan means, computed over all rows at once: the expressions of the plan, without changes and weights."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb

from headwater.views.plan import Join, Relation, Unnest, View, Window
from headwater.views.sources import Source, SourceType
from headwater.views.types import quoted
from headwater.views.whole import groups_of

START = datetime(2026, 1, 5, 8, tzinfo=UTC)


def result_of(view: View) -> str:
    """The query that gives a view's rows from tables that have its relations' names."""
    places = [rows_of(view.relation)]
    for step in view.steps:
        places.append(place_of(step))
    rows = f"FROM {' '.join(places)} WHERE {view.where or 'true'}"
    outputs = ", ".join(f"{one.expression} AS {quoted(one.name)}" for one in view.output)
    if view.grouping is None:
        return f"SELECT {outputs} {rows}"
    return f"SELECT {outputs} FROM ({groups_of(view.grouping, rows)}) WHERE {view.grouping.having or 'true'}"


def rows_of(relation: Relation) -> str:
    types = (
        ""
        if relation.origin != "events"
        else f" WHERE _type IN ({', '.join(repr(one.name) for one in relation.types)})"
    )
    columns = ", ".join(quoted(one.name) for one in relation.columns) or "1"
    return f"(SELECT {columns} FROM {quoted(relation.name)}{types}) AS {relation.alias}"


def place_of(step: Unnest | Join | Window) -> str:
    if isinstance(step, Unnest):
        how, on = ("LEFT JOIN", " ON true") if step.outer else ("CROSS JOIN", "")
        return f"{how} UNNEST({step.of}) AS {step.alias}(item){on}"
    if isinstance(step, Join):
        equal = " AND ".join(f"({left}) = ({right})" for left, right in step.equal)
        between = step.within
        near = (
            ""
            if between is None
            else (
                f" AND {between.right} BETWEEN {between.left} - to_microseconds({between.before_us}) "
                f"AND {between.left} + to_microseconds({between.after_us})"
            )
        )
        return f"{step.side} JOIN {rows_of(step.right)} ON {equal} AND ({step.on}){near}"
    assert step.kind == "tumble", "the others have nothing here to be compared with"
    size = f"to_microseconds({step.size_us})"
    start = f"time_bucket({size}, {step.time})"
    return f"CROSS JOIN LATERAL (SELECT {start} AS window_start, {start} + {size} AS window_end) AS win"


def fill(session: duckdb.DuckDBPyConnection, sources: Iterable[Source], seed: int, count: int = 40) -> None:
    """A table for each source, with rows that have all that can be NULL here and there, and equal times and values."""
    choose = random.Random(seed)
    for source in sources:
        columns = {one.wire: one.type for kind in source.types for one in kind.members}
        columns |= {one.wire: one.type for one in source.metadata}
        named = ", ".join(f"{quoted(wire)} {kind.sql}" for wire, kind in columns.items())
        session.execute(f"CREATE TABLE {quoted(source.topic or source.name)} ({named})")
        for offset in range(count):
            row = row_of(choose, choose.choice(source.types), source, offset)
            if source.key and any(row[key] in seen(session, source, key) for key in source.key):
                continue
            marks = ", ".join("?" for _ in row)
            session.execute(
                f"INSERT INTO {quoted(source.topic or source.name)} ({', '.join(map(quoted, row))}) VALUES ({marks})",
                list(row.values()),
            )


def seen(session: duckdb.DuckDBPyConnection, source: Source, key: str) -> set[Any]:
    found = session.execute(f"SELECT {quoted(key)} FROM {quoted(source.topic or source.name)}").fetchall()
    return {row[0] for row in found}


def row_of(choose: random.Random, kind: SourceType, source: Source, offset: int) -> dict[str, Any]:
    row = {one.wire: value_of(choose, one.wire, one.type.sql) for one in kind.members}
    known = {one.wire for one in source.metadata}
    about = {
        "_type": kind.name,
        "_partition": offset % 3,
        "_offset": offset // 3,
        "_time": START + timedelta(minutes=choose.randrange(40) * 15),
        "_entity_version": offset,
    }
    return row | {name: value for name, value in about.items() if name in known}


def value_of(choose: random.Random, wire: str, kind: str) -> Any:
    """A value of a type; few of each, so that there are groups and ties."""
    if wire in ("orderId", "customerId", "id") and kind == "VARCHAR":
        return choose.choice(["a", "b", "c", "d"])
    if wire in ("id", "auction", "seller", "bidder"):
        return choose.choice([1, 2, 3, 123, 246])
    if wire == "items":
        return [item_of(choose) for _ in range(choose.randrange(4))]
    texts = {
        "status": ["new", "placed"],
        "region": ["N", "S"],
        "state": ["OR", "CA", "NY"],
        "channel": ["apple", "other"],
    }
    if wire in texts:
        return choose.choice(texts[wire])
    if wire == "category":
        return choose.choice([10, 11])
    if choose.random() < 0.2 and wire not in ("discounts", "tags"):
        return None
    return plain_value(choose, kind)


def item_of(choose: random.Random) -> dict[str, Any]:
    parts = [{"weight": choose.randrange(9)} for _ in range(choose.randrange(3))]
    price = Decimal(choose.randrange(5000)) / 100
    return {"sku": choose.choice("xyz"), "itemPrice": price, "quantity": choose.randrange(4), "parts": parts}


def plain_value(choose: random.Random, kind: str) -> Any:
    if kind.startswith("DECIMAL"):
        return Decimal(choose.randrange(20000)) / 100
    if kind == "BIGINT":
        return choose.randrange(40)
    if kind == "DOUBLE":
        return choose.randrange(40) / 4
    if kind == "DATE":
        return date(2026, 3, 1) + timedelta(days=choose.randrange(40))
    if kind == "VARCHAR":
        return choose.choice(["https://a/b/c/d?x&channel_id=7", "c.c", "late"])
    if kind == "VARCHAR[]":
        return [choose.choice(["red", "blue"]) for _ in range(choose.randrange(3))]
    if kind.startswith("STRUCT") and not kind.endswith("]"):
        return {"city": choose.choice(["Rome", "Oslo"]), "zipCode": choose.choice([None, "1"])}
    return []
