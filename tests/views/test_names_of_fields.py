"""Fields may have the names that a view's own parts have."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

import pytest

import headwater as hw
from headwater.log.port import StoredRecord
from headwater.views.errors import BadStatement
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text
from tests.views.feeding import Fed

VALUE = (
    b'{"eventType":"DeskUsed","eventVersion":1,"deskId":"a","v0":{"x":100},"items":[{"x":1},{"x":2}],'
    b'"windowStart":"2026-01-01T00:00:00Z","amounts":[1,2],"timestamp":"2026-04-12T09:30:00Z"}'
)


class Place(hw.Value):
    x: int


class DeskEvent(hw.Event, entity="desk"):
    desk_id: hw.Key[str]


class DeskUsed(DeskEvent):
    v0: Place
    items: list[Place]
    window_start: datetime
    amounts: list[int]


def rows(query: str) -> list[tuple[object, ...]]:
    (view,) = plan_views([Text(f"CREATE TABLE v AS {query}")], catalogue_of([DeskEvent], []))
    with closing(Fed(view)) as fed:
        fed.feed([StoredRecord("desk-events", 0, 0, b"a", VALUE, (), 0)])
        assert fed.dead() == {}
        return fed.rows()


def test_an_element_of_a_list_is_not_taken_for_a_field() -> None:
    query = "SELECT SUM(items.x) AS s, SUM(v0.x) AS v, SUM(items.x) FILTER (WHERE items.x > 1) AS f FROM desk-events"
    assert rows(query) == [(3, 100, 2)]


def test_window_start_is_of_the_window_and_the_field_is_named_with_its_topic() -> None:
    window = "TUMBLE(_time, INTERVAL 1 HOUR)"
    query = f"SELECT window_start AS w, MAX(e.windowStart) AS f FROM desk-events AS e GROUP BY {window}"
    [(start, field)] = rows(query)
    assert str(start).startswith("2026-04-12 09:00")
    assert str(field).startswith("2026-01-01 00:00")


def test_a_sum_of_a_list_of_plain_values_says_what_to_write() -> None:
    with pytest.raises(BadStatement, match=r"SUM\(list_sum\(amounts\)\) adds them"):
        rows("SELECT SUM(amounts) AS s FROM desk-events")
    assert rows("SELECT SUM(list_sum(amounts)) AS s FROM desk-events") == [(3,)]
