"""Two processes maintain a view that is not shared, each in a file of its own: both say what they have and lack."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.app import Running
from headwater.errors import Unavailable
from headwater.log.port import GroupDescription, Log, TopicPartition
from headwater.testing.waiting import eventually
from headwater.views.portion import ASKED_EVERY_S, SURE_S, Portion
from tests.logs import open_again as open_again
from tests.views.orders import SEED, TOPIC, Order, PlaceOrder, Summary

ALL = [TopicPartition(TOPIC, p) for p in range(3)]
WAIT_S = 120


class TheGroup:
    """What is told of the group, and the time. Arguments: members: what each has; away: nothing is told."""

    def __init__(self) -> None:
        self.members: dict[str, Sequence[TopicPartition]] = {}
        self.away, self.asked, self.s = False, 0, 1000.0

    def ask(self) -> GroupDescription:
        self.asked += 1
        if self.away:
            raise Unavailable("the log does not answer")
        return GroupDescription("sums", self.members, {})

    def now_s(self) -> float:
        return self.s

    def passes(self, portion: Portion, s: float) -> None:
        """Time passes, in which nothing is owned."""
        end_s = self.s + s
        while self.s < end_s:
            self.s += 0.25
            portion.look([])


@pytest.fixture
def group() -> TheGroup:
    return TheGroup()


@pytest.fixture
def portion(group: TheGroup) -> Portion:
    portion = Portion("sums", group.ask, group.now_s)
    portion.opened(ALL)
    return portion


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """What was logged since this was asked last."""
    found = [(one.levelno, one.getMessage()) for one in caplog.records if one.name == "headwater.views"]
    caplog.clear()
    return found


def test_a_part_is_told_once_and_again_when_it_changes(portion: Portion, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    portion.look(ALL)
    assert (told(caplog), portion.notices) == ([], []), "it has all"
    for _ in range(2):
        portion.look(ALL[:1])
    text = (
        "view sums is made here from order-events/0 only, since another process has order-events/1 order-events/2, "
        "and questions to it fail: stop the other process, or let them share the view, WITH (shared = true)"
    )
    assert told(caplog) == [(logging.WARNING, text)]
    assert portion.notices == [text]
    portion.look(ALL[:2])
    [(level, text)] = told(caplog)
    assert level == logging.WARNING
    assert "from order-events/0 order-events/1 only, since another process has order-events/2, and" in text
    portion.look(ALL)
    assert told(caplog) == [(logging.INFO, "view sums is made here from all of its 3 partitions again")]
    portion.look(ALL[:2])
    assert portion.notices == [text]
    assert told(caplog) == [(logging.WARNING, text)]


def test_between_two_assignments_nothing_is_told(portion: Portion, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for owned in (ALL, [], ALL):
        portion.look(owned)
    assert (told(caplog), portion.notices) == ([], [])


def test_who_is_given_nothing_tells_it_and_refuses(
    portion: Portion, group: TheGroup, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    group.members = {"other": ALL, "this": []}
    group.passes(portion, SURE_S)
    portion.refuse([])
    assert (told(caplog), portion.notices) == ([], []), "the other one may have been killed"
    group.passes(portion, 2)
    [(level, text)] = told(caplog)
    assert level == logging.WARNING
    assert text == (
        "view sums is not made here, since another process has order-events/0 order-events/1 order-events/2, and "
        "questions to it fail: ask that process, or stop it, or let them share the view, WITH (shared = true)"
    )
    assert portion.notices == [text]
    with pytest.raises(Unavailable, match=r"another process, which has order-events/0 .* ask that process, or stop it"):
        portion.refuse([])
    asked = group.asked
    group.members = {"this": []}
    group.passes(portion, SURE_S)
    assert group.asked == asked <= SURE_S / ASKED_EVERY_S + 2, "what is kept here is old until this one has them"
    with pytest.raises(Unavailable):
        portion.refuse([])
    portion.look(ALL)
    portion.refuse(ALL)
    portion.refuse([])  # it is between two assignments again
    asked = group.asked
    group.passes(portion, ASKED_EVERY_S / 2)
    assert group.asked == asked, "mostly it is given some in a moment"
    assert told(caplog) == [(logging.INFO, "view sums is made here from all of its 3 partitions again")]


def test_who_is_not_known_to_have_been_given_nothing_answers(portion: Portion, group: TheGroup) -> None:
    for members in (
        {},
        {"before this one was started again": ALL},  # and this one is no member yet
        {"other": ALL[:2], "this": []},  # one is on its way
        {"other": ALL[:2], "this": ALL[2:]},  # it does not know yet
    ):
        group.members = dict(members)
        group.passes(portion, 2 * SURE_S)
        portion.refuse([])
    group.members, group.away = {"other": ALL, "this": []}, True
    group.passes(portion, 2 * SURE_S)
    portion.refuse([])
    group.away = False
    group.passes(portion, SURE_S)
    portion.look(ALL[:1])
    group.passes(portion, SURE_S)
    portion.refuse([])


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hw.App:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "summary.sql").write_text(SEED + "\n")
    return hw.App("shop", aggregates=[Order], views="*.sql", partitions=2)


def noticed(running: Running) -> list[str]:
    assert running.services is not None
    return running.services.notices


@pytest.mark.parametrize(
    "open_again", ["sqlite", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.slow])], indirect=True
)
def test_both_processes_say_that_they_have_a_part(app: hw.App, open_again: Callable[[], Log]) -> None:
    first, second = (f"sqlite:///{name}.models.db" for name in ("first", "second"))
    with (one := app.run(open_again(), store=first)) as shop:
        assert noticed(one) == []
        with (other := app.run(open_again(), store=second)) as beside:
            eventually(lambda: noticed(one) and noticed(other), WAIT_S)
            for running, asked in ((one, shop), (other, beside)):
                [text] = noticed(running)
                assert "view order_summary is made here from " in text
                assert "WITH (shared = true)" in text
                with pytest.raises(Unavailable, match=r"from 1 of 2 partitions, .*, WITH \(shared = true\)"):
                    asked.query("SELECT * FROM order_summary", into=Summary, timeout_s=1)
        again = ["view order_summary is made here from all of its 2 partitions again"]
        eventually(lambda: noticed(one) == again, WAIT_S)


@pytest.mark.parametrize(
    "open_again", ["sqlite", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.slow])], indirect=True
)
def test_who_was_given_no_partition_refuses_until_the_other_is_gone(
    app: hw.App, tmp_path: Path, open_again: Callable[[], Log]
) -> None:
    shop_of_one = hw.App(app.name, aggregates=[Order], views="*.sql", partitions=1)
    stores = []
    for directory in ("first", "second"):
        (tmp_path / directory).mkdir()
        stores.append(f"sqlite:///{tmp_path / directory / 'models.db'}")
    question, rows = "SELECT * FROM order_summary", [Summary("1", Decimal("1.25"))]
    with (
        (other := shop_of_one.run(open_again(), store=stores[1])) as beside,
        (one := shop_of_one.run(open_again(), store=stores[0], only=["views"])) as shop,
    ):
        placed = beside.send(PlaceOrder("1", [Decimal("1.25")]))
        assert beside.query(question, into=Summary, after=placed, timeout_s=WAIT_S) == rows
        eventually(lambda: noticed(one), WAIT_S)
        [text] = noticed(one)
        assert "view order_summary is not made here, since another process has order-events/0, and" in text
        wanted = r"by another process, which has order-events/0, .* stop it, or .*, WITH \(shared = true\)"
        with pytest.raises(Unavailable, match=wanted):
            shop.query(question, into=Summary, timeout_s=1)
        with pytest.raises(Unavailable, match=wanted):
            shop.query(question, into=Summary, after=placed, timeout_s=WAIT_S)
        asking = hw.AsyncShop(shop._desk, shop._models).query(question, into=Summary, after=placed, timeout_s=WAIT_S)
        with pytest.raises(Unavailable, match=wanted):
            asyncio.run(asking)
        assert noticed(other) == []
        assert beside.query(question, into=Summary, timeout_s=1) == rows
        other.close()
        assert shop.query(question, into=Summary, after=placed, timeout_s=WAIT_S) == rows
        assert noticed(one) == ["view order_summary is made here from all of its 1 partitions again"]
