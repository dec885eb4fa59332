"""Calls in columns leave what the same calls leave one by one, and fail at the same record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.log.port import StoredRecord
from headwater.projections.folding import Call, Stopped, fold
from headwater.projections.read_model import ReadModel, read_models_of
from headwater.projections.straight import Straight, fold_straight
from headwater.stores.opening import open_store
from headwater.stores.port import Loading, Store
from tests.projections.trade import TOPIC

Folding = Callable[[Loading, ReadModel, Sequence[Call]], None]


class CountEvent(hw.Event, entity="count"):
    count_id: hw.Key[str]


class Added(CountEvent):
    number: int


class Ended(CountEvent):
    """The count begins anew."""


class Asked(CountEvent):
    """Nobody can answer."""


class Count(hw.Projection):
    count_id: hw.Key[str]
    numbers: list[int] = []

    @hw.on(Added)
    def added(self, event: Added) -> None:
        self.numbers.append(event.number)

    @hw.on(Ended)
    def ended(self, event: Ended) -> hw.Deleted:
        return hw.DELETED

    @hw.on(Asked)
    def asked(self, event: Asked) -> None:
        raise ValueError(f"{self.count_id} has {self.numbers}")


class Unborn(hw.Projection):
    """A row of this one cannot be made for every key."""

    count_id: hw.Key[str]

    def __post_init__(self) -> None:
        if self.count_id == "c":
            raise ValueError("c is no count")

    @hw.on(Added)
    def added(self, event: Added) -> None:
        pass


@cache
def model_of(projection: type[hw.Projection]) -> ReadModel:
    [model] = read_models_of("test", [projection])
    return model


def straight(loading: Loading, model: ReadModel, calls: Sequence[Call]) -> None:
    assert isinstance(calls, Straight)
    fold_straight(loading, calls)


def one_by_one(loading: Loading, model: ReadModel, calls: Sequence[Call]) -> None:
    fold(loading, model.tables, list(calls))


def outcome(
    projection: type[hw.Projection], batches: Sequence[Sequence[CountEvent]], how: Folding
) -> tuple[list[Any], tuple[int, str] | None]:
    """The rows, and where and why it stopped."""
    model = model_of(projection)
    [topic] = model.topics
    store: Store = open_store("memory://")
    store.open_tables(model.runner, model.tables)
    encode: Any = topic._codec.encode
    stopped: tuple[int, str] | None = None
    for events in batches:
        records = [StoredRecord(TOPIC, 0, n, b"", encode(event), (), 0) for n, event in enumerate(events)]
        calls = topic.gather(records).calls
        try:
            store.apply(model.runner, {}, {}, lambda loading, calls=calls: how(loading, model, calls))  # type: ignore[misc] # mypy infers no lambda with a default
        except Stopped as error:
            stopped = error.record.offset, str(error)
            break
    rows = store.rows(model.tables[0])
    store.close()
    return rows, stopped


ids = st.sampled_from("abc")
events = st.builds(Added, ids, st.integers(0, 9)) | st.builds(Ended, ids)
batches = st.lists(st.lists(events, max_size=6), max_size=3)


@settings(deadline=None)
@given(batches, st.none() | st.builds(Asked, ids))
def test_straight_or_one_by_one_the_rows_are_the_same(given: list[list[CountEvent]], last: Asked | None) -> None:
    if last is not None:
        given = [*given, [Added("a", 1), last, Added("b", 2)]]
    assert outcome(Count, given, straight) == outcome(Count, given, one_by_one)


@settings(deadline=None)
@given(st.lists(st.lists(st.builds(Added, ids, st.just(1)), max_size=4), max_size=2))
def test_a_row_that_cannot_be_made_stops_at_its_first_event(given: list[list[CountEvent]]) -> None:
    assert outcome(Unborn, given, straight) == outcome(Unborn, given, one_by_one)


def test_an_event_after_a_deletion_begins_anew() -> None:
    given = [Added("a", 1), Ended("a"), Added("a", 2), Added("b", 3)]
    rows, stopped = outcome(Count, [given], straight)
    assert [(row.count_id, row.numbers) for row in rows] == [("a", [2]), ("b", [3])]
    assert stopped is None


@pytest.mark.parametrize("how", [straight, one_by_one])
def test_what_fails_is_told_with_its_record(how: Folding) -> None:
    _, stopped = outcome(Count, [[Added("a", 1), Added("b", 2), Asked("b")]], how)
    assert stopped is not None
    offset, text = stopped
    assert offset == 2
    assert "Count.asked" in text
    assert "b has [2]" in text
