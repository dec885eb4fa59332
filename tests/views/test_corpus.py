"""Every statement of the corpus is started by an app and maintained, and says what DuckDB says of all rows at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.port import NewRecord, TopicSpec
from headwater.testing import eventually
from headwater.views.binding import Binder
from headwater.views.planning import plan_with
from headwater.views.texts import Text
from tests.views.comparing import same
from tests.views.corpus import CORPUS, Case
from tests.views.corpus_log import PARTITIONS, Filling
from tests.views.evaluating import result_of
from tests.views.selling import AUCTIONS, CustomerEvent, Order, catalogue

SEED = 7


class Told(NamedTuple):
    """Arguments: session: all topics as tables, those of others under the names that statements give them; topics: the
    records of the same rows, in the order of the log."""

    session: duckdb.DuckDBPyConnection
    topics: dict[str, list[NewRecord]]


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    known = catalogue()
    with Binder() as binder:
        plan_with(binder, [Text(AUCTIONS)], known)
    with duckdb.connect() as session:
        session.execute("SET TimeZone = 'UTC'")
        filling = Filling(session, SEED)
        filling.fill(list(known.sources.values()))
        for source in known.sources.values():
            if source.topic is not None:
                session.execute(f'CREATE VIEW {source.name} AS SELECT * FROM "{source.topic}"')
        topics: dict[str, list[NewRecord]] = {}
        for one in filling.records:
            topics.setdefault(one.topic, []).append(one)
        yield Told(session, topics)


def test_there_are_as_many_as_are_wanted() -> None:
    assert len(CORPUS) >= 60


@pytest.mark.parametrize("name", CORPUS)
def test_a_statement_means_what_it_says(name: str, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CORPUS[name]
    monkeypatch.chdir(tmp_path)
    text = f"{AUCTIONS if 'nexmark' in name else ''}; {case.before}; CREATE TABLE v AS {case.sql}"
    (tmp_path / "views.sql").write_text(text)
    app = hw.App("shop", aggregates=[Order], events=[CustomerEvent], views="views.sql", partitions=PARTITIONS)
    view = app.plans()[-1]
    if view.relation.name == "order-events":
        assert tuple(one.name for one in view.relation.types) == case.types
    columns, rows = wanted(told.session, app, case)
    assert rows, "there is nothing to compare"
    with closing(MemoryLog()) as log:
        log.create_topics([TopicSpec(one, PARTITIONS) for one in told.topics])
        log.append([one for records in told.topics.values() for one in records[: len(records) // 2]])
        with app.run(log, only=["views"]) as shop:
            log.append([one for records in told.topics.values() for one in records[len(records) // 2 :]])
            found: list[dict[str, Any]] = []

            def says_the_same() -> bool:
                found[:] = shop.query("SELECT * FROM v", into=dict)
                return same([tuple(one.values()) for one in found], rows)

            eventually(says_the_same, 30, saying=f"seed {SEED}: {len(rows)} rows of DuckDB's")
    assert list(found[0]) == columns


def wanted(session: duckdb.DuckDBPyConnection, app: hw.App, case: Case) -> tuple[list[str], list[tuple[Any, ...]]]:
    """What DuckDB says itself, of the events that take part: names of columns, and rows."""
    types = ", ".join(f"'{one}'" for one in case.types)
    sql = re.sub(r"FROM (\"?order-events\"?)", "FROM taking_part", case.equal or case.sql, flags=re.IGNORECASE)
    sql = sql.replace('"order-events".', "taking_part.").replace("JOIN customer-events", 'JOIN "customer-events"')
    sql = sql.replace("order-state", '"order-state"').replace("eventType", "_type")
    session.execute("BEGIN")
    try:
        for view in app.plans()[:-1]:
            session.execute(f'CREATE TABLE "{view.name}" AS {result_of(view)}')
        session.execute(f'CREATE TEMP VIEW taking_part AS SELECT * FROM "order-events" WHERE _type IN ({types})')
        return [row[0] for row in session.execute(f"DESCRIBE {sql}").fetchall()], session.execute(sql).fetchall()
    finally:
        session.execute("ROLLBACK")
