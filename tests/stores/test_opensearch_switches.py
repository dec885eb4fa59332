"""Rows of a search store are exchanged while a batch is under way, at any of its requests: it lands where it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from headwater.stores import opensearch_transactions
from headwater.stores.opensearch import OpenSearchStore
from headwater.stores.opensearch_connection import Reply
from headwater.stores.port import Loading, StaleRunner, TableSchema, bookkeeping_table
from headwater.stores.switching import beside
from headwater.testing.conformance.switching import (
    BESIDE,
    HOLDER,
    NEXT,
    P0,
    RUNNER,
    Holder,
    nothing,
    switching,
)

ASKED = bookkeeping_table("asked", RUNNER, Holder, ("name",))
EXCHANGE = switching()._replace(tables=[(HOLDER, NEXT), (ASKED, beside(ASKED))])


@pytest.fixture(params=["one process", "two processes"])
def stores(opensearch_url: str, request: pytest.FixtureRequest) -> Iterator[tuple[OpenSearchStore, OpenSearchStore]]:
    """Who works, and who exchanges."""
    with closing(OpenSearchStore(opensearch_url)) as store, closing(OpenSearchStore(opensearch_url)) as other:
        for runner, tables in ((RUNNER, [HOLDER, ASKED]), (BESIDE, [NEXT, beside(ASKED)])):
            store.open_tables(runner, tables)
            store.apply(runner, {}, {P0: 0}, lambda loading: None)
        yield store, store if request.param == "one process" else other


def before_request(store: OpenSearchStore, number: int, act: Callable[[], None]) -> Callable[[], bool]:
    """Arguments: act: what happens before one of the next requests. Returns: whether it did, and ends it."""
    ask, sent = store._connection.ask, [0]

    def counted(*args: Any, **options: Any) -> Reply:
        sent[0] += 1
        if sent[0] == number + 1:
            act()
        return ask(*args, **options)

    def end() -> bool:
        store._connection.ask = ask  # type: ignore[method-assign] # as it was
        return sent[0] > number

    store._connection.ask = counted  # type: ignore[method-assign] # at any step
    return end


def add(loading: Loading) -> None:
    row = loading.load(HOLDER, [("all",)]).get(("all",)) or Holder("all")
    row.total += 1
    loading.save(HOLDER, [row])


@pytest.mark.parametrize("listed", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["listed", "new"])
def test_a_batch_under_way_lands_in_the_rows_of_its_position(
    stores: tuple[OpenSearchStore, OpenSearchStore], listed: bool
) -> None:
    """Both stand at the same position, so that it tells nobody of the exchange. Arguments: listed: its session is."""
    store, other = stores
    step, under_way = 0, True
    while under_way:
        start = store.positions(RUNNER)[P0]
        store.apply(BESIDE, store.positions(BESIDE), {P0: start}, partial(put, NEXT, start))
        for _ in range(0 if listed else 2):  # there and back: whoever was listed is no more
            other.switch(EXCHANGE, nothing)
        end = before_request(store, step, lambda: other.switch(EXCHANGE, nothing))
        try:
            store.apply(RUNNER, {P0: start}, {P0: start + 1}, add)
        except StaleRunner:
            assert store.positions(RUNNER)[P0] == start + 1, f"exchanged before request {step}"
        under_way = end()
        for table, runner in ((HOLDER, RUNNER), (NEXT, BESIDE)):
            found = store.row(table, ("all",)) or Holder("all")
            assert found.total == store.positions(runner)[P0], f"{runner}, exchanged before request {step}"
        assert {store.positions(runner)[P0] for runner in (RUNNER, BESIDE)} <= {start, start + 1}
        step += 1
    assert step >= (5 if listed else 8)


def put(table: TableSchema[Holder], total: int, loading: Loading) -> None:
    loading.save(table, [Holder("all", Decimal(total))])


@pytest.mark.slow
def test_what_somebody_else_writes_into_its_tables_is_before_the_exchange_or_after_it(
    stores: tuple[OpenSearchStore, OpenSearchStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks a runner for something counts what he asks; the exchange reads it, and notes what it saw."""
    monkeypatch.setattr(opensearch_transactions, "PATIENCE_S", 0.1)  # who asks does nothing while rows are exchanged
    store, other = stores
    other.open_tables("operator", [SEEN := bookkeeping_table("seen", "operator", Holder, ("name",))])

    def ask(loading: Loading) -> None:
        seen = loading.load(SEEN, [("seen",)]).get(("seen",))
        loading.save(ASKED, [Holder("last", Decimal(-1) if seen is None else seen.total)])

    def exchange(loading: Loading) -> None:
        loading.load(ASKED, [("last",)])
        loading.save(SEEN, [Holder("seen", Decimal(step))])

    step, under_way = 0, True
    while under_way:
        end = before_request(store, step, lambda: other.switch(EXCHANGE, exchange))
        store.apply("operator", {}, {}, ask)
        under_way = end()
        last = store.row(ASKED, ("last",))
        seen = store.row(SEEN, ("seen",))
        if last is not None and seen is not None and under_way:
            assert last.total == seen.total, f"after the exchange, by what was before it: request {step}"
        step += 1
    assert step >= 5
