"""Every statement of the corpus is understood, and its plan gives what DuckDB gives for the same over all rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from headwater.views.binding import Binder
from headwater.views.planning import plan_with
from headwater.views.texts import Text
from tests.views.corpus import CORPUS, Case
from tests.views.evaluating import fill, result_of
from tests.views.selling import AUCTIONS, catalogue

SEED = 7


@pytest.fixture(scope="module")
def binder() -> Iterator[Binder]:
    with Binder() as binder:
        yield binder


@pytest.fixture(scope="module")
def session(binder: Binder) -> Iterator[duckdb.DuckDBPyConnection]:
    """All topics as tables, and the topics of others under the names that statements give them."""
    known = catalogue()
    plan_with(binder, [Text(AUCTIONS)], known)
    with duckdb.connect() as session:
        session.execute("SET TimeZone = 'UTC'")
        fill(session, known.sources.values(), SEED)
        for source in known.sources.values():
            if source.topic is not None:
                session.execute(f'CREATE VIEW {source.name} AS SELECT * FROM "{source.topic}"')
        yield session


@pytest.mark.parametrize("name", CORPUS)
def test_a_statement_means_what_it_says(name: str, binder: Binder, session: duckdb.DuckDBPyConnection) -> None:
    case = CORPUS[name]
    text = f"{AUCTIONS if 'nexmark' in name else ''}; {case.before}; CREATE TABLE v AS {case.sql}"
    views = plan_with(binder, [Text(text)], catalogue())
    for view in views:
        if view.relation.name == "order-events" and view.name == "v":
            assert tuple(one.name for one in view.relation.types) == case.types
    if not case.runs:
        return
    session.execute("BEGIN")
    try:
        for view in views:
            session.execute(f'CREATE TABLE "{view.name}" AS {result_of(view)}')
        got = session.execute("DESCRIBE v").fetchall(), session.execute("FROM v").fetchall()
        want = wanted(session, case)
    finally:
        session.execute("ROLLBACK")
    assert [row[0] for row in got[0]] == [row[0] for row in want[0]]
    assert sorted(map(repr, got[1])) == sorted(map(repr, want[1])), f"seed {SEED}"
    assert got[1], "there is nothing to compare"


def wanted(session: duckdb.DuckDBPyConnection, case: Case) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """What DuckDB says itself, of the events that take part."""
    types = ", ".join(f"'{one}'" for one in case.types)
    session.execute(f'CREATE TEMP VIEW taking_part AS SELECT * FROM "order-events" WHERE _type IN ({types})')
    sql = re.sub(r"FROM (\"?order-events\"?)", "FROM taking_part", case.equal or case.sql, flags=re.IGNORECASE)
    sql = sql.replace('"order-events".', "taking_part.").replace("JOIN customer-events", 'JOIN "customer-events"')
    sql = sql.replace("order-state", '"order-state"').replace("eventType", "_type")
    return session.execute(f"DESCRIBE {sql}").fetchall(), session.execute(sql).fetchall()
