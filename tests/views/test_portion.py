"""Two processes maintain a view that is not shared, each in a file of its own: both say what they have and lack."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

import headwater as hw
from headwater.app import Running
from headwater.errors import Unavailable
from headwater.log.port import Log, TopicPartition
from headwater.testing.waiting import eventually
from headwater.views.portion import Portion
from tests.logs import open_again as open_again
from tests.views.orders import SEED, TOPIC, Order, Summary

ALL = [TopicPartition(TOPIC, p) for p in range(3)]
WAIT_S = 120


@pytest.fixture
def portion() -> Portion:
    portion = Portion("sums")
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
