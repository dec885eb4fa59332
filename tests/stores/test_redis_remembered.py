"""Rows that a store in Redis remembers: bounded, distrusted where somebody else was, and never believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.errors import Misuse
from headwater.log.port import TopicPartition
from headwater.stores import redis_remembered
from headwater.stores.port import Loading
from headwater.stores.redis import RedisStore
from headwater.stores.redis_remembered import PAUSE, Remembered, Row
from headwater.stores.redis_scripts import LOAD
from headwater.testing.conformance.store import ACCOUNT, P0, P1, Account
from headwater.testing.redis import RedisServer


def rows(*endings: str, commit: str = "c1", text: str = "1") -> dict[str, Row]:
    return {ending: (commit, (ending, text)) for ending in endings}


def known(remembered: Remembered, *endings: str) -> set[str]:
    return set(remembered.look("t", endings)[0])


def test_those_that_were_written_longest_ago_are_dropped_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_remembered, "MOST_ROWS", 3)
    remembered = Remembered()
    remembered.put("t", rows("a", "b", "c"), [], empty=True)
    assert remembered.look("t", ["a", "x"]) == (rows("a"), True), "there are no others"
    remembered.put("t", rows("a", commit="c2"), [], empty=False)
    remembered.put("t", rows("d"), [], empty=False)
    assert remembered.look("t", "abcd") == (rows("c", "d") | rows("a", commit="c2"), False)
    remembered.put("t", {}, ["c"], empty=False)
    remembered.put("t", rows("e"), [], empty=False)
    assert known(remembered, *"abcde") == {"a", "d", "e"}, "a deleted row has left room"
    assert remembered.look("other", ["a"]) == ({}, False)


def test_a_table_is_known_as_a_whole_only_if_it_was_empty_before_the_first_row() -> None:
    remembered = Remembered()
    remembered.put("t", rows("a"), [], empty=False)
    remembered.put("t", rows("b"), [], empty=True)
    assert not remembered.look("t", ["a"])[1]


def test_large_rows_are_not_remembered() -> None:
    remembered = Remembered()
    remembered.put("t", rows("a", "b"), [], empty=True)
    remembered.put("t", rows("b", text="x" * 1000), [], empty=False)
    assert remembered.look("t", ["a", "b"]) == ({}, False)


def test_where_somebody_else_was_nothing_is_remembered_for_a_while() -> None:
    remembered = Remembered()
    remembered.put("t", rows("a"), [], empty=True)
    remembered.put("other", rows("a"), [], empty=True)
    remembered.distrust(["t"])
    assert (known(remembered, "a"), remembered.look("other", ["a"])[1]) == (set(), True)
    for _ in range(PAUSE):
        remembered.put("t", rows("a"), [], empty=False)
    assert known(remembered, "a") == set()
    remembered.put("t", rows("a"), [], empty=False)
    assert known(remembered, "a") == {"a"}


# --- on a server


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    with closing(RedisStore(redis_url)) as store:
        store.open_tables("r", [ACCOUNT])
        yield store


@pytest.fixture
def other(redis_url: str, store: RedisStore) -> Iterator[RedisStore]:
    """Another process's; it knows nothing of what the first one remembers."""
    with closing(RedisStore(redis_url)) as other:
        other.open_tables("r", [ACCOUNT])
        yield other


def adding(*keys: str) -> Callable[[Loading], None]:
    def work(loading: Loading) -> None:
        found = loading.load(ACCOUNT, [(key,) for key in keys])
        changed = [found.get((key,)) or Account(key) for key in keys]
        for row in changed:
            row.total += 1
        loading.save(ACCOUNT, changed)

    return work


def removing(*keys: str) -> Callable[[Loading], None]:
    return lambda loading: loading.delete(ACCOUNT, [(key,) for key in keys])


def commit(store: RedisStore, partition: TopicPartition, work: Callable[[Loading], None]) -> None:
    at = store.positions("r").get(partition)
    store.apply("r", {} if at is None else {partition: at}, {partition: (at or 0) + 1}, work)


def totals(store: RedisStore) -> dict[str, int]:
    return {row.name: int(row.total) for row in store.rows(ACCOUNT)}


def test_rows_that_were_written_last_are_not_asked_for_again(
    store: RedisStore, other: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    run = store._server.run

    def watched(script: str, *arguments: str | bytes | int) -> Any:
        asked.append(script)
        return run(script, *arguments)

    monkeypatch.setattr(store._server, "run", watched)
    commit(store, P0, adding("ann", "bob"))
    assert asked.count(LOAD) == 1
    commit(store, P0, adding("bob", "cid"))
    assert asked.count(LOAD) == 1, "the table was empty before: there is no cid"
    commit(other, P1, adding("cid"))
    commit(store, P0, adding("cid", "bob"))
    assert asked.count(LOAD) == 2, "somebody else was there"
    commit(store, P0, adding("cid"))
    assert asked.count(LOAD) == 3, "and may come again"
    assert totals(store) == {"ann": 1, "bob": 3, "cid": 4}


def test_a_row_that_another_process_has_made_is_found_where_all_seemed_to_be_known(
    store: RedisStore, other: RedisStore
) -> None:
    commit(store, P0, adding("ann"))
    commit(other, P1, adding("new"))
    commit(store, P0, adding("new"))
    assert totals(store) == {"ann": 1, "new": 2}


def test_a_remembered_row_that_is_only_looked_at_is_compared_too(store: RedisStore, other: RedisStore) -> None:
    commit(store, P0, adding("from"))
    commit(other, P1, adding("from"))

    def copy(loading: Loading) -> None:
        loading.save(ACCOUNT, [Account("to", loading.load(ACCOUNT, [("from",)])["from",].total)])

    commit(store, P0, copy)
    assert totals(store) == {"from": 2, "to": 2}


def test_what_the_work_says_of_remembered_rows_is_only_believed_if_they_are_still_so(
    store: RedisStore, other: RedisStore
) -> None:
    commit(store, P0, adding("ann"))
    commit(other, P1, lambda loading: loading.delete(ACCOUNT, [("ann",)]))

    def refuse(loading: Loading) -> None:
        if loading.load(ACCOUNT, [("ann",)]):
            raise ArithmeticError("it is still there")

    commit(store, P0, refuse)


def test_rows_of_a_table_that_another_process_has_begun_again_are_not_believed(
    store: RedisStore, other: RedisStore
) -> None:
    commit(store, P0, adding("ann", "bob"))
    other.forget("r")
    other.open_tables("r", [ACCOUNT])
    commit(store, P0, adding("ann"))
    assert totals(store) == {"ann": 1}


def test_a_key_of_another_type_in_place_of_a_remembered_row_stops_a_write_before_it_begins(
    store: RedisStore, redis_server: RedisServer, redis_url: str
) -> None:
    commit(store, P0, adding("ann", "bob"))
    name = f"{redis_url.partition('prefix=')[2]}:account_v1:bob"
    client: Any
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        client.delete(name)
        client.set(name, "of another program")
        with pytest.raises(Misuse, match="another program has keys"):
            commit(store, P0, adding("ann", "bob"))
        client.delete(name)
    assert store.row(ACCOUNT, ("ann",)) == Account("ann", Decimal(1))


acts = st.tuples(
    st.booleans(), st.sampled_from(["add", "add", "delete", "begin again"]), st.sets(st.sampled_from("abc"), min_size=1)
)


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(acts, min_size=2, max_size=12))
def test_whoever_comes_in_between_the_rows_are_those_of_one_after_the_other(
    store: RedisStore, other: RedisStore, given: list[tuple[bool, str, set[str]]]
) -> None:
    """Each of two stores has a partition of its own, and forgets for one batch only that somebody was there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_remembered, "PAUSE", 1)
        patch.setattr(redis_remembered, "MOST_ROWS", 2)
        expected: dict[str, int] = {}
        store.forget("r")
        store.open_tables("r", [ACCOUNT])
        for mine, act, keys in given:
            one, partition = (store, P0) if mine else (other, P1)
            if act == "add":
                commit(one, partition, adding(*sorted(keys)))
                expected |= {key: expected.get(key, 0) + 1 for key in keys}
            elif act == "delete":
                commit(one, partition, removing(*keys))
                expected = {key: total for key, total in expected.items() if key not in keys}
            else:
                one.forget("r")
                one.open_tables("r", [ACCOUNT])
                expected = {}
            assert totals(one) == expected
