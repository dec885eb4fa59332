"""What the plan of a view that others read means, computed over all rows at once, without changes and weights; and rows
of topics, by chance."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from headwater.views.plan import Join, Relation, Step, Unnest, View
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


def place_of(step: Step) -> str:
    if isinstance(step, Unnest):
        how, on = ("LEFT JOIN", " ON true") if step.outer else ("CROSS JOIN", "")
        return f"{how} UNNEST({step.of}) AS {step.alias}(item){on}"
    assert isinstance(step, Join), "no view that others read here has a window"
    equal = " AND ".join(f"({left}) = ({right})" for left, right in step.equal)
    return f"{step.side} JOIN {rows_of(step.right)} ON {equal} AND ({step.on})"


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
