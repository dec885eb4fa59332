"""The loop of the oracle tests: a view is fed batch by batch, and after each says what an oracle says of all so far."""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, TypeVar

import duckdb
import pytest

from headwater.failures.held import HeldRecord
from headwater.log.port import Record
from headwater.views.file import MEMORY
from headwater.views.plan import View
from tests.views.feeding import Fed

S = TypeVar("S")


class Oracle(Protocol):
    """Knows what a view is to say."""

    def add(self, records: Sequence[Record]) -> None:
        """These come after those of before."""
        ...

    def rows(self) -> list[tuple[Any, ...]]:
        """What the view is to say of all so far."""
        ...

    def close(self) -> None: ...


class InDuckDB:
    """What an oracle has in common with others: tables of all so far, of which the same is asked. Arguments: sql: what;
    tables: statements that make them."""

    def __init__(self, sql: str, *tables: str) -> None:
        self._sql, self._connection = sql, duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        for table in tables:
            self._connection.execute(table)

    def rows(self) -> list[tuple[Any, ...]]:
        return self._connection.execute(self._sql).fetchall()

    def close(self) -> None:
        self._connection.close()


def compare(
    view: View,
    oracle: Oracle,
    batches: Iterator[list[Record]],
    chance: random.Random,
    path: Path,
    title: str,
    at_the_end: Callable[[Fed], None] = lambda fed: None,
) -> None:
    """Feeds batches to a view, and starts it anew now and then, in a quarter of the seeds.

    Arguments: batches: may be made by `chance` as they are asked for; path: of the file, if there is to be one; title:
    of messages. Raises: AssertionError: the view says something else than the oracle; NotApplied.
    """
    restarts = chance.random() < 0.25
    place: str | Path = path if restarts else MEMORY
    fed = Fed(view, place)
    try:
        refuse_difference(fed, oracle, title)
        for batch in batches:
            fed.feed(batch)
            oracle.add(batch)
            refuse_difference(fed, oracle, title)
            if restarts and chance.random() < 0.4:
                fed.close()
                fed = Fed(view, place)
        refuse_failed(fed, title)
        at_the_end(fed)
    finally:
        fed.close()
        oracle.close()
        if restarts:
            path.unlink()


def refuse_difference(fed: Fed, oracle: Oracle, title: str) -> None:
    found, wanted = fed.rows(), oracle.rows()
    if not same(found, wanted):
        refuse_failed(fed, title)
    assert same(found, wanted), f"{title}: {found} instead of {wanted}"


class NotApplied(Exception):
    """A statement of the view failed at a record, so what the view says is no answer to compare."""


def refuse_failed(fed: Fed, title: str) -> None:
    """Raises: NotApplied: there is a dead letter that is not late only."""
    rows: list[HeldRecord] = fed.file.rows(fed.held)
    failed = [row.message for row in rows if row.failed and row.stage != "late"]
    if failed:
        raise NotApplied(f"{title}: {failed[0]}")


def same(found: Sequence[tuple[Any, ...]], wanted: Sequence[tuple[Any, ...]]) -> bool:
    """As bags of rows; numbers with a tolerance where one side is a float."""
    if len(found) != len(wanted):
        return False
    pairs = zip(sorted(found, key=_order), sorted(wanted, key=_order), strict=True)
    return all(_same(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


def _order(row: tuple[Any, ...]) -> list[tuple[bool, str]]:
    return [
        (cell is None, f"{float(cell):.6f}" if isinstance(cell, int | float | Decimal) else str(cell)) for cell in row
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        return one is not None and other is not None and float(one) == pytest.approx(float(other), abs=1e-6)
    return bool(one == other)


def refuse_survivor(checks: Iterable[Callable[[], None]]) -> None:
    """Only another answer tells of what was planted. What DuckDB refuses or fails at would be noticed without any
    comparison, so such an error is not caught.

    Raises: Failed (of pytest): no check notices it.
    """
    for check in checks:
        try:
            check()
        except AssertionError:
            return
    pytest.fail("no seed shows it")


def check_seeds(shapes: Mapping[str, S], check: Callable[[S, int, Path], None], seeds: int) -> None:
    """Checks each shape with so many seeds, and tells which are done: for runs by hand."""
    with tempfile.TemporaryDirectory() as here:
        for name, shape in shapes.items():
            for seed in range(seeds):
                check(shape, seed, Path(here))
            print(f"{name}: {seeds} seeds", flush=True)


def rare(operators: Mapping[str, str], queries: Iterable[str]) -> list[str]:
    """The operators that are in less than a tenth of some queries. Arguments: operators: what tells that one is in a
    query, by name."""
    asked = list(queries)
    counts = {name: sum(re.search(told, one) is not None for one in asked) for name, told in operators.items()}
    return [name for name, count in counts.items() if count * 10 < len(asked)]


def mutated(part: Any, text: str, instead: str) -> Any:
    """A plan or what it is compiled to with every occurrence of a text replaced."""
    if isinstance(part, str):
        return part.replace(text, instead)
    if isinstance(part, tuple) and hasattr(part, "_fields"):
        return type(part)(*(mutated(one, text, instead) for one in part))
    if isinstance(part, tuple):
        return tuple(mutated(one, text, instead) for one in part)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{one.name: mutated(getattr(part, one.name), text, instead) for one in fields(part)})
    return part
