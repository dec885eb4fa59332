"""Runners of a search store die at every step, meet on the same rows, and lose or repeat nothing."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import pytest

from headwater.errors import Unavailable
from headwater.log.port import Positions, TopicPartition
from headwater.stores import opensearch_sessions
from headwater.stores.opensearch import OpenSearchStore
from headwater.stores.opensearch_connection import Reply
from headwater.stores.port import Loading, StaleRunner, Store, TableSchema
from headwater.testing.conformance.store import ACCOUNT, P0, P1, Account
from headwater.testing.conformance.switching import BESIDE, HOLDER, NEXT, RUNNER, Holder, switching

NAMES = [f"a{n}" for n in range(6)]


class Added(NamedTuple):
    """An event: an account is charged; one whose total is 0 is closed."""

    name: str
    amount: int


Logs = dict[TopicPartition, list[Added]]


def made_up_logs(draw: random.Random, events: int) -> Logs:
    return {
        partition: [Added(draw.choice(NAMES), draw.choice([-1, 1, 2])) for _ in range(events)] for partition in (P0, P1)
    }


def folded(logs: Logs, to: Positions) -> dict[str, Decimal]:
    """What the rows are at these positions, in whatever order partitions came."""
    totals: dict[str, Decimal] = {}
    for partition, events in logs.items():
        for name, amount in events[: to.get(partition, 0)]:
            totals[name] = totals.get(name, Decimal(0)) + amount
    return {name: total for name, total in totals.items() if total}


def charging(events: Sequence[Added]) -> Callable[[Loading], None]:
    """A batch: rows that are made, changed and deleted."""

    def work(loading: Loading) -> None:
        rows = loading.load(ACCOUNT, list({(event.name,): None for event in events}))
        found = {key: row.total for (key,), row in rows.items()}
        for name, amount in events:
            found[name] = found.get(name, Decimal(0)) + amount
        loading.save(ACCOUNT, [Account(name, total) for name, total in found.items() if total])
        loading.delete(ACCOUNT, [(name,) for name, total in found.items() if not total])

    return work


def stored(store: Store) -> dict[str, Decimal]:
    """Row by row, as it is committed."""
    found = [store.row(ACCOUNT, (name,)) for name in NAMES]
    return {row.name: row.total for row in found if row is not None}


class Killed(BaseException):
    """The process is gone."""


def doomed(url: str, requests: int) -> OpenSearchStore:
    """A store whose process dies when the server has carried out so many requests, and before the next one."""
    store = OpenSearchStore(url)
    connection = store._connection
    ask, left = connection.ask, [requests]

    def counted(*args: Any, **options: Any) -> Reply:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return ask(*args, **options)

    connection.ask = counted  # type: ignore[method-assign] # the process dies here
    return store


def advance(store: Store, logs: Logs, partition: TopicPartition, count: int) -> bool:
    """Applies the next events of a partition; False: there are none."""
    start = store.positions("r")
    begin = start.get(partition, 0)
    events = logs[partition][begin : begin + count]
    if events:
        store.apply("r", start, {partition: begin + len(events)}, charging(events))
    return bool(events)


def advance_always(store: Store, logs: Logs, partition: TopicPartition, count: int) -> None:
    while advance(store, logs, partition, count):
        pass


def dying_before_the_commit(url: str) -> OpenSearchStore:
    """A store whose process dies when it has written its rows in bulk."""
    store = OpenSearchStore(url)
    ask = store._connection.ask

    def bulk_is_the_last(method: str, path: str, *args: Any, **options: Any) -> Reply:
        reply = ask(method, path, *args, **options)
        if path == "/_bulk":
            raise Killed
        return reply

    store._connection.ask = bulk_is_the_last  # type: ignore[method-assign] # the process dies here
    return store


@pytest.mark.slow
def test_a_runner_that_dies_at_any_step_has_committed_all_of_a_batch_or_nothing(opensearch_url: str) -> None:
    logs = made_up_logs(random.Random(7), 200)
    observer = OpenSearchStore(opensearch_url)
    observer.open_tables("r", [ACCOUNT])
    batches = step = 0
    while batches < 3:  # that came through before it died
        store = doomed(opensearch_url, step)
        before = observer.positions("r").get(P0, 0)
        with pytest.raises(Killed):
            advance_always(store, logs, P0, 5)
        positions = observer.positions("r")
        assert stored(observer) == folded(logs, positions), f"died at request {step}"
        batches, step = (positions.get(P0, 0) - before) // 5, step + 1
    advance_always(observer, logs, P0, 50)
    assert stored(observer) == folded(logs, {P0: 200})
    assert {row.name: row.total for row in observer.rows(ACCOUNT)} == folded(logs, {P0: 200})
    observer.close()


def test_what_a_dead_runner_has_written_is_taken_back_where_its_successor_changes_something_else(
    opensearch_url: str,
) -> None:
    with closing(OpenSearchStore(opensearch_url)) as store:
        store.open_tables("r", [ACCOUNT])
        store.apply("r", {}, {P0: 1}, charging([Added("old", 5), Added("going", 1)]))
        dying = dying_before_the_commit(opensearch_url)
        with pytest.raises(Killed):
            dying.apply("r", {P0: 1}, {P0: 2}, charging([Added("old", 1), Added("new", 1), Added("going", -1)]))
        assert store.row(ACCOUNT, ("old",)) == Account("old", Decimal(5)), "as it is committed"
        assert store.row(ACCOUNT, ("new",)) is None
        assert store.row(ACCOUNT, ("going",)) == Account("going", Decimal(1))
        store.apply("r", {P0: 1}, {P0: 2}, charging([Added("other", 1)]))  # its code has changed
        assert store.rows(ACCOUNT) == [Account(n, Decimal(t)) for n, t in (("going", 1), ("old", 5), ("other", 1))]


def test_a_request_that_comes_late_from_a_dead_runner_changes_nothing(opensearch_url: str) -> None:
    with closing(OpenSearchStore(opensearch_url)) as store, closing(OpenSearchStore(opensearch_url)) as old:
        store.open_tables("r", [ACCOUNT])
        ask = old._connection.ask

        def held_up(method: str, path: str, *args: Any, **options: Any) -> Reply:
            if path == "/_bulk" and store.positions("r") == {}:  # meanwhile its successor is at work, and commits
                store.apply("r", {}, {P0: 1}, charging([Added("ann", 1)]))
                store.apply("r", {P0: 1}, {P0: 2}, charging([Added("bob", 1)]))
            return ask(method, path, *args, **options)

        old._connection.ask = held_up  # type: ignore[method-assign] # the network
        with pytest.raises(StaleRunner):
            old.apply("r", {}, {P0: 2}, charging([Added("ann", 1), Added("bob", 1), Added("eve", 7)]))
        assert store.rows(ACCOUNT) == [Account("ann", Decimal(1)), Account("bob", Decimal(1))]
        assert store.row(ACCOUNT, ("eve",)) is None


@pytest.mark.slow
def test_runners_of_two_partitions_that_change_the_same_rows_lose_nothing_though_they_die(opensearch_url: str) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print("seed", seed)
    logs = made_up_logs(random.Random(seed), 60)
    with closing(OpenSearchStore(opensearch_url)) as observer:
        observer.open_tables("r", [ACCOUNT])
        failures: list[BaseException] = []

        def live(partition: TopicPartition, draw: random.Random) -> None:
            try:
                while observer.positions("r").get(partition, 0) < 60:
                    store = doomed(opensearch_url, draw.randrange(40))
                    with suppress(Killed, Unavailable):
                        advance_always(store, logs, partition, 3)
            except BaseException as error:  # noqa: BLE001 -- told to the test
                failures.append(error)

        threads = [threading.Thread(target=live, args=[p, random.Random(seed + p.partition)]) for p in (P0, P1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
        assert failures == []
        ends = {P0: 60, P1: 60}
        assert observer.positions("r") == ends
        assert stored(observer) == folded(logs, ends)
        assert {row.name: row.total for row in observer.rows(ACCOUNT)} == folded(logs, ends)


@pytest.mark.slow
def test_an_exchange_that_dies_at_any_step_has_happened_or_not(
    opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensearch_sessions, "PATIENCE_S", 0.1)
    with closing(OpenSearchStore(opensearch_url)) as observer:
        for runner, table, total, code in ((RUNNER, HOLDER, 1, "old"), (BESIDE, NEXT, 2, "new")):
            observer.open_tables(runner, [table], code)
            rows = [Holder(f"a{n}", Decimal(total)) for n in range(5)]
            observer.apply(runner, {}, {P0: 7}, partial(save, table, rows))
        exchanged = step = 0
        while exchanged < 2:  # within one life
            store = doomed(opensearch_url, step)
            exchanged = 0
            with suppress(Killed):
                while True:
                    store.switch(switching(), lambda loading: None)
                    exchanged += 1
            code = "old" if totals(observer, HOLDER) == {1} else "new"
            assert observer.shown("account") == (1, RUNNER, code), f"died at request {step}"
            assert totals(observer, NEXT) == {2 if code == "old" else 1}
            asked = {Decimal(total) for _, total in observer.query('{"index": "account"}')}
            assert asked == totals(observer, HOLDER)
            for runner in (RUNNER, BESIDE):
                observer.apply(runner, {P0: 7}, {P0: 7}, lambda loading: None)  # nobody is kept from work for long
            step += 1


def save(table: TableSchema[Holder], rows: list[Holder], loading: Loading) -> None:
    loading.save(table, rows)


def totals(store: OpenSearchStore, table: TableSchema[Holder]) -> set[Decimal]:
    return {row.total for row in store.rows(table)}
