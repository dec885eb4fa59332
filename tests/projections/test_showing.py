"""A new version is filled beside the old one, and queries find it by the name when it is as far."""

from __future__ import annotations

import logging
from decimal import Decimal

import pytest

import headwater as hw
from tests.projections.trade import Placed, Reading, append, make_log, placed


class Taken(hw.Projection):
    customer: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(Placed, key=lambda event, meta: event.customer)
    def placed(self, event: Placed) -> None:
        self.total += event.total


class TakenAndCounted(hw.Projection, name="taken", version=2):
    customer: hw.Key[str]
    total: Decimal = Decimal(0)
    orders: int = 0

    @hw.on(Placed, key=lambda event, meta: event.customer)
    def placed(self, event: Placed) -> None:
        self.total += event.total
        self.orders += 1


ASK = "SELECT * FROM taken"


def test_a_name_shows_the_old_rows_until_the_new_version_is_as_far() -> None:
    log = make_log()
    append(log, [placed(f"t{n}", total="1.00") for n in range(10)])
    old = Reading(log, Taken)
    old.read()
    append(log, [placed(f"u{n}", total="1.00") for n in range(10)])
    new = Reading(log, TakenAndCounted, store=old.store)
    shown = []
    for _ in range(4):
        new.runner.handle(new.reader.read(3, 1.0), None)
        shown.append(list(old.store.query(ASK)))
    assert shown == [*[[("ann", "10.00")]] * 3, [("ann", "12.00", 12)]], "ten have been read of both after four batches"
    old.read()
    new.read()
    assert list(old.store.query(ASK)) == [("ann", "20.00", 20)]


def test_a_worker_without_events_shows_it_when_another_has_come_as_far() -> None:
    log = make_log()
    append(log, [placed("t1")])
    old = Reading(log, Taken)
    old.read()
    waiting, working = (Reading(log, TakenAndCounted, store=old.store) for _ in range(2))
    waiting.runner.idle(None)
    assert list(old.store.query(ASK)) == [("ann", "10.00")]
    working.runner._showing._waits = False  # it is killed after its batch
    working.read()
    assert list(old.store.query(ASK)) == [("ann", "10.00")]
    waiting.runner.idle(None)
    assert list(old.store.query(ASK)) == [("ann", "10.00", 1)]


def test_a_name_does_not_go_back_by_itself_and_the_process_says_so(caplog: pytest.LogCaptureFixture) -> None:
    log = make_log()
    append(log, [placed("t1")])
    new = Reading(log, TakenAndCounted)
    new.read()
    with caplog.at_level(logging.WARNING, "headwater.projections"):
        old = Reading(log, Taken, store=new.store)
    assert "queries find version 2 of taken, and this process maintains version 1" in caplog.text
    assert "`hw rebuild taken --switch` lets them find it" in caplog.text
    old.read()
    assert list(old.store.query(ASK)) == [("ann", "10.00", 1)]
