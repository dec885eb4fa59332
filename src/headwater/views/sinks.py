"""A view's rows in a store of read models, as a plan: which views can have a sink, and the SQL of its outbox. Pure.

    batch ─► groups, and their keys in the outbox      one transaction of the views' file
    outbox ─► rows of these keys as they are now ─► upserts with the view's position ─► the keys leave the outbox

Rows go out whole, so to send one again changes nothing, and of many changes of a row only the last one has to be sent.
A key that is in the outbox several times counts once; the outbox is merged as other tables of a view are, so a sink
that is away costs no more than the number of keys.

A row of the sink has the columns of the view, and before them `row_key`, a text that is made of the view's key: a group
may be that of NULL, which no store takes for a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from keyword import iskeyword
from typing import Any, Final
from uuid import UUID

import msgspec

from headwater.stores.port import NAME, TableSchema
from headwater.views.kept import Compiled, KeptTable, table_of
from headwater.views.plan import View
from headwater.views.statements import Statement
from headwater.views.types import Scalar, SqlType, literal, quoted

SCHEMES: Final = tuple(
    f"{one}://" for one in ("redis", "rediss", "opensearch", "elasticsearch", "postgresql", "postgres", "sqlite")
)
ROW_KEY: Final = "row_key"
OUTBOX, STATE = "outbox", "sink"
"""Tables of a view's own."""

THERE: Final = quoted("hw there")

KINDS: Final[Mapping[str, Any]] = {
    "VARCHAR": str,
    "JSON": str,
    "BOOLEAN": bool,
    "FLOAT": float,
    "DOUBLE": float,
    "DATE": date,
    "TIME": time,
    "UUID": UUID,
    "BLOB": bytes,
    "TIMESTAMPTZ": datetime,
    "TIMESTAMP WITH TIME ZONE": datetime,
    "TIMESTAMP": datetime,
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), int),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), int),
}


def sink_of(statement: Statement, view: View) -> str | None:
    """The address of a view's sink as it was written, None: it has none. Raises: BadStatement: it cannot have one."""
    address = statement.options.get("sink")
    if address is None:
        return None
    found = re.search(r"\bsink\b", statement.sql, re.IGNORECASE)
    place = statement.start + (found.start() if found is not None else 0)
    why = refusal(view, str(address))
    if why is not None:
        raise statement.text.error(f"{view.name} cannot have a sink: {why}", place)
    return str(address)


def refusal(view: View, address: str) -> str | None:
    """Why the rows of a view cannot be in a store."""
    if not address.startswith("${") and not address.startswith(SCHEMES):
        return f"its address begins with one of {', '.join(SCHEMES)}"
    if view.target == "stream":
        return "the rows of a stream go into its topic"
    if all(one.origin == "view" for one in view.relations):
        return "it reads views alone and is computed when it is read; give a sink to what it reads, or read a topic"
    if view.grouping is None:
        return "nothing says which row is which; GROUP BY what identifies a row, with LATEST(…) for its columns"
    if not view.grouping.keys:
        return "it has one row and no key; GROUP BY something, or ask the view"
    if view.window is not None and view.window.kind == "session":
        return "the key of a session has its times in it, which change as it grows; TUMBLE and HOP have lasting keys"
    if not view.key:
        return "all that it is grouped by must be among its columns, for these are the key of a row"
    if not NAME.fullmatch(view.name):
        return f"the table there is called as the view, and {view.name!r} is no such name: use a-z, 0-9 and _"
    for one in view.output:
        if not one.name.isidentifier() or iskeyword(one.name) or one.name.startswith("_") or one.name == ROW_KEY:
            return f"a column there cannot be called {one.name!r}: give it another name, … AS …"
    return None


@dataclass(frozen=True, slots=True)
class SinkPlan:
    """What a view's sink needs.

    Arguments: table: as the store keeps the rows; outbox, state: tables of the views' file, with their schema, quoted;
    definition: the statement that makes the outbox; adds: SELECT of what a batch adds to it; fold: of the same keys,
    each once; changed: SELECT of the rows whose keys are in it, with `THERE`: whether there is such a row now; all: of
    all rows.
    """

    table: TableSchema[Any]
    outbox: str
    state: str
    definition: str
    adds: str
    fold: str
    changed: str
    all: str


def plan_sink(view: View, runner: str, compiled: Compiled) -> SinkPlan:
    """Arguments: view: one that `sink_of` lets pass; runner: whose tables they are; compiled."""
    grouping = view.grouping
    assert grouping is not None, "a view without groups has no sink"
    groups, outbox = table_of(runner, "groups"), table_of(runner, OUTBOX)
    keys = [quoted(one.name) for one in grouping.keys]
    added = next(one.adds for one in compiled.tables if one.name == groups)
    listed = ", ".join(keys)
    types = ", ".join(f"{quoted(one.name)} {one.type.sql}" for one in grouping.keys)
    fields = [(ROW_KEY, str), *((one.name, kind_of(one.type) | None) for one in view.output)]
    columns = ", ".join(f"{cast(f'r.{quoted(one.name)}', one.type)} AS {quoted(one.name)}" for one in view.output)
    same = " AND ".join(
        f"r.{quoted(name)} IS NOT DISTINCT FROM k.{key}" for name, key in zip(view.key, keys, strict=True)
    )
    taken = f"(SELECT DISTINCT {listed} FROM {outbox})"
    of_group = " AND ".join(f"o.{key} IS NOT DISTINCT FROM k.{key}" for key in keys)
    narrow = {
        name: f"(SELECT o.* FROM {name} AS o SEMI JOIN {taken} AS k ON {of_group})"
        for name in (groups, *(table_of(runner, one.name) for one in grouping.partials if one.bag))
    }
    rows = re.compile("|".join(map(re.escape, narrow))).sub(lambda one: narrow[one[0]], compiled.rows)
    by_output = key_text([(f"r.{quoted(name)}", key.type) for name, key in zip(view.key, grouping.keys, strict=True)])
    by_group = key_text([(f"k.{quoted(one.name)}", one.type) for one in grouping.keys])
    return SinkPlan(
        TableSchema(view.name, 1, msgspec.defstruct(view.name, fields), (ROW_KEY,)),
        outbox,
        table_of(runner, STATE),
        f"CREATE TABLE IF NOT EXISTS {outbox} ({types}, seq BIGINT)",
        f"SELECT DISTINCT {listed}, (SELECT coalesce(max(seq), 0) + 1 FROM {outbox}) AS seq FROM ({added})",
        f"SELECT {listed}, max(seq) AS seq FROM {outbox} GROUP BY {listed}",
        f"SELECT {by_group} AS {ROW_KEY}, {columns}, r.{THERE} IS NOT NULL AS {THERE} FROM {taken} AS k"
        f" LEFT JOIN (SELECT *, true AS {THERE} FROM ({rows})) AS r ON {same}",
        f"SELECT {by_output} AS {ROW_KEY}, {columns}, true AS {THERE} FROM ({compiled.rows}) AS r",
    )


def recording(compiled: Compiled, plan: SinkPlan) -> Compiled:
    """The same view, which puts the keys that a batch changes into its outbox, too."""
    outbox = KeptTable(plan.outbox, plan.adds, plan.fold, lasting=True)
    return replace(compiled, tables=(*compiled.tables, outbox), opening=(*compiled.opening, plan.definition))


def kind_of(kind: SqlType) -> Any:
    """What a value of this type is in the sink."""
    if not isinstance(kind, Scalar):
        return str
    return Decimal if kind.name.startswith("DECIMAL") else KINDS.get(kind.name, str)


def cast(expression: str, kind: SqlType) -> str:
    """An expression as a type that the sink has: lists and structs are JSON, and what it does not know is text."""
    if not isinstance(kind, Scalar):
        return f"to_json({expression})::VARCHAR"
    if kind.name == "TIMESTAMP":
        return f"{expression}::TIMESTAMPTZ"
    if kind.name == "JSON" or (kind.name not in KINDS and not kind.name.startswith("DECIMAL")):
        return f"{expression}::VARCHAR"
    return expression


def key_text(parts: list[tuple[str, SqlType]]) -> str:
    """The expression that makes one text of a key, different ones of different keys: its parts with a colon between
    them, in which % and : are %25 and %3A where there are several; \\N for NULL, and a text that begins with a
    backslash has one more. Arguments: parts: expressions with their types."""
    texts = []
    for expression, kind in parts:
        text = f"{expression}::VARCHAR" if isinstance(kind, Scalar) else f"to_json({expression})::VARCHAR"
        if len(parts) > 1:
            text = f"replace(replace({text}, '%', '%25'), ':', '%3A')"
        escaped = f"CASE WHEN starts_with({text}, {literal(chr(92))}) THEN {literal(chr(92))} || {text} ELSE {text} END"
        texts.append(f"coalesce({escaped}, {literal(chr(92) + 'N')})")
    return " || ':' || ".join(texts)
