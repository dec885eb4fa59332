"""A query over views that is followed: what is a step, and how a follower goes on after either side was gone."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, closing
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.errors import Misuse, Unavailable
from headwater.log.port import TopicPartition
from headwater.projections.waiting import Progress
from headwater.views import following
from headwater.views.changes import Known, Weighted, packed, position_text, positions_in
from headwater.views.following import Follower, Places
from tests.clocks import Ahead
from tests.views.comparing import same
from tests.views.ending import ending
from tests.views.feeding import Fed, records_of
from tests.views.orders import SEED, CancelOrder, Order, PlaceOrder, Summary, append, make_log
from tests.views.shapes import SHAPES, Shape
from tests.views.test_oracle import Oracle, batches, events, plan_of

ALL = "SELECT * FROM order_summary"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("following")
    (place / "order_summary.sql").write_text(
        SEED + "\nCREATE TABLE sizes AS SELECT total > 5 AS big, COUNT(*) AS orders FROM order_summary GROUP BY big;"
    )
    return place


@pytest.fixture(scope="module")
def app(place: Path) -> hw.App:
    return hw.App("shop", aggregates=[Order], views=f"{place}/*.sql", partitions=2)


@pytest.fixture(scope="module")
def both(app: hw.App, place: Path) -> Iterator[tuple[hw.Shop, hw.Shop]]:
    """A shop in the process that maintains the views, and one that has to ask it."""
    url = f"sqlite:///{place / 'both.db'}"
    with app.run(url) as shop, app.connect(url) as client:
        yield shop, client


def of(step: hw.Changes[Summary]) -> dict[tuple[str, Decimal | None], int]:
    return {(one.row.order_id, one.row.total): one.weight for one in step.changes}


def until(steps: Iterator[hw.Changes[Summary]], wanted: dict[tuple[str, str], int], so_far: Any = None) -> str:
    """Takes steps until their sum is this answer. Returns the position of the last one."""
    rows: Counter[tuple[str, str]] = Counter(so_far)
    for step in steps:
        for one in step.changes:
            rows[one.row.order_id, f"{one.row.total:f}".rstrip("0").rstrip(".")] += one.weight
            assert all(weight >= 0 for weight in rows.values()) or one.weight < 0
        if +rows == wanted:
            return step.position
    raise AssertionError("it ended")


def test_a_row_that_changes_goes_and_comes(both: tuple[hw.Shop, hw.Shop]) -> None:
    shop = both[0]
    for key, asked in zip(("123", "124"), both, strict=True):
        shop.query(ALL, into=Summary, after=shop.send(PlaceOrder(key, [Decimal("0.1")])))
        with ending(asked.follow(f"{ALL} WHERE orderId >= ?", key, into=Summary)) as steps:
            assert of(next(steps)) == {(key, Decimal("0.1")): 1}
            shop.send(PlaceOrder(key, [Decimal(2)]))
            step = next(steps)
            assert [one.weight for one in step.changes] == [-1, 1]  # what went is told first
            assert of(step) == {(key, Decimal("0.1")): -1, (key, Decimal("2.1")): 1}
            shop.send(CancelOrder("8", "x"))  # changes nothing here: no step
            shop.send(PlaceOrder(f"{key}-7", [Decimal(1)]))
            assert of(next(steps)) == {(f"{key}-7", Decimal(1)): 1}


def test_who_is_slow_is_told_of_several_commits_in_one_step(both: tuple[hw.Shop, hw.Shop]) -> None:
    shop = both[0]
    for key, asked in zip(("slow", "slower"), both, strict=True):
        with ending(asked.follow(f"{ALL} WHERE orderId = ?", key, into=Summary)) as steps:
            assert of(next(steps)) == {}
            for _ in range(3):
                shop.query(ALL, into=Summary, after=shop.send(PlaceOrder(key, [Decimal(1)])))
            assert of(next(steps)) == {(key, Decimal(3)): 1}  # what it was between is not told


def test_a_follower_that_goes_leaves_its_place(both: tuple[hw.Shop, hw.Shop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MOST_FOLLOWERS", 1)
    for asked in (*both, *both):
        with ending(asked.follow(ALL, into=Summary, timeout_s=60)) as steps:
            next(steps)


def test_it_goes_on_when_another_process_has_the_views(app: hw.App, tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path / 'shop.db'}", Ahead()
    with app.connect(url, environment=clock) as client:
        with app.run(url) as shop:
            shop.send(PlaceOrder("123", [Decimal(1)]))
            steps = client.follow(ALL, into=Summary, timeout_s=60)
            until(steps, {("123", "1"): 1})
        clock.ahead_s += 61  # who iterates was at something else, and has not looked for the views meanwhile
        with app.run(url) as shop:  # another one, as far as its socket and its state in memory go
            shop.send(PlaceOrder("123", [Decimal(2)]))
            position = until(steps, {("123", "3"): 1}, {("123", "1"): 1})
            assert isinstance(steps, Generator)
            steps.close()
            shop.query(ALL, into=Summary, after=shop.send(PlaceOrder("7", [Decimal(7)])))
            with ending(client.follow(ALL, into=Summary, since=position, timeout_s=60)) as steps:  # as another would
                assert of(next(steps)) == {("7", Decimal(7)): 1}


def test_a_view_over_views_and_values_for_question_marks(both: tuple[hw.Shop, hw.Shop]) -> None:
    shop = both[0]
    shop.query(ALL, into=Summary, after=shop.send(PlaceOrder("big", [Decimal(7)])))
    for asked in both:
        with ending(asked.follow("SELECT orders FROM sizes WHERE big = ?", True, into=int)) as steps:
            assert [(one.row, one.weight) for one in next(steps).changes] == [(1, 1)]


def test_an_asynchronous_follower(app: hw.App, tmp_path: Path) -> None:
    async def followed() -> list[dict[tuple[str, Decimal | None], int]]:
        found = []
        async with app.run(f"sqlite:///{tmp_path / 'shop.db'}") as shop:
            steps = shop.follow(ALL, into=Summary)
            assert isinstance(steps, AsyncGenerator)
            async with aclosing(steps):
                async for step in steps:
                    found.append(of(step))
                    if len(found) == 3:
                        return found
                    await shop.send(PlaceOrder(str(len(found)), [Decimal(1)]))
        raise AssertionError("it ended")

    assert asyncio.run(followed()) == [{}, {("1", Decimal(1)): 1}, {("2", Decimal(1)): 1}]


def test_what_cannot_be_followed_is_refused(both: tuple[hw.Shop, hw.Shop], monkeypatch: pytest.MonkeyPatch) -> None:
    shop = both[0]
    receipt = shop.send(PlaceOrder("1", [Decimal(7)]))
    shop.query(ALL, into=Summary, after=[receipt, shop.send(PlaceOrder("2", [Decimal(7)]))])
    for asked in both:
        with pytest.raises(Misuse, match="one SELECT"):
            next(asked.follow("DROP TABLE order_summary", into=Summary))
        with pytest.raises(Misuse, match="a receipt is of one partition"):
            next(asked.follow(ALL, into=Summary, since=receipt.token))
        position = next(asked.follow(ALL, into=Summary)).position
        with pytest.raises(Misuse, match="most_replayed="):
            next(asked.follow(ALL, into=Summary, since=position, most_replayed=0))
    monkeypatch.setattr(following, "FOLLOWED_ROWS", 1)
    for asked in both:
        with pytest.raises(Misuse, match="more than 1 rows"):
            next(asked.follow(ALL, into=Summary))
    monkeypatch.setattr(following, "MOST_FOLLOWERS", 0)
    for asked in both:
        with pytest.raises(Unavailable, match="as many as may be"):
            next(asked.follow(ALL, into=Summary, timeout_s=0.0))


class Reader:
    """The reader of a view that is fed by hand, for a follower."""

    def __init__(self, fed: Fed) -> None:
        self._fed, self.progress, self.runner = fed, Progress(), fed.model.runner

    @property
    def commits(self) -> int:
        return self._fed.file.commits

    def refuse_shared(self) -> None:
        """It has all partitions."""


@pytest.mark.parametrize("shape", [one for one in SHAPES if one.name in ("rows", "having")], ids=lambda one: one.name)
def test_steps_add_up_to_what_the_view_is_at_their_positions(shape: Shape) -> None:
    chance = random.Random(3)
    log = make_log(2)
    append(log, events(chance))
    view = plan_of(shape)
    asked = Oracle({one.name for one in view.relation.types}, shape.oracle)
    with closing(Fed(view)) as fed, closing(asked) as oracle:
        connection = fed.file.database.cursor()
        follower = Follower(":memory:", connection, "SELECT * FROM v", [], {"v": Reader(fed)}, Places(), 30.0)
        known = Known()
        with closing(follower):
            cut = [[], *batches(chance, records_of(log))]
            for batch in cut:
                if batch:
                    fed.feed(batch)
                    oracle.add(batch)
                if batch is not cut[-1] and chance.random() < 0.3:
                    continue  # it is slow
                step = follower.next(30)
                assert step is not None
                known.add(step.changes)
                assert step.by_view().get("v", {}) == fed.positions
                wanted = Known([tuple(row) for row in fed.rows()])
                assert not known.become(wanted), "what was told is not what is there"
                assert same(fed.rows(), oracle.rows())
            assert follower.next(0) is None


WEIGHTED = st.dictionaries(st.tuples(st.integers(0, 3), st.none() | st.decimals(0, 2, places=1)), st.integers(1, 2))


@given(WEIGHTED, WEIGHTED, st.lists(WEIGHTED, max_size=3))
@settings(max_examples=25, deadline=None)
def test_steps_lead_from_what_was_known_to_the_answer(
    known: dict[Any, int], answer: dict[Any, int], later: list[dict[Any, int]]
) -> None:
    def whole(rows: dict[Any, int]) -> list[Weighted]:
        return [Weighted(weight, row) for row, weight in rows.items()]

    follower, fresh = Known([row for row, weight in known.items() for _ in range(weight)]), Known()
    fresh.add(whole(answer))
    sum_of = Counter({packed(row): weight for row, weight in known.items()})
    steps = [follower.become(fresh)]
    for before, after in pairwise([answer, *later]):
        steps.append(follower.add([*(Weighted(-w, row) for row, w in before.items()), *whole(after)]))
    for step, rows in zip(steps, [answer, *later], strict=True):
        assert len({packed(one.row) for one in step}) == len(step)  # each row once, gone or come
        for one in step:
            sum_of[packed(one.row)] += one.weight
        assert +sum_of == {packed(row): weight for row, weight in rows.items()}
        assert not -sum_of


def test_the_text_of_a_position() -> None:
    here, there = {TopicPartition("order-events", 0): 3}, {TopicPartition("order-events", 0): 4}
    same = position_text({"a": here, "b": here}, "log")
    assert same.startswith("1.")
    assert positions_in(same, ["a", "b"], "log") == {"a": here, "b": here}
    text = position_text({"a": here, "b": there}, "log")
    assert positions_in(text, ["b", "a"], "log") == {"a": here, "b": there}
    with pytest.raises(Misuse, match="says nothing of view c"):
        positions_in(text, ["c"], "log")
    with pytest.raises(Misuse, match="of log log"):
        positions_in(text, ["a"], "another")
    with pytest.raises(Misuse, match="damaged"):
        positions_in(text[:-3], ["a"], "log")
