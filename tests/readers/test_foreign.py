"""Positions that another program has set: what is made of them, and what is said."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from decimal import Decimal

import pytest

from headwater.log.memory import MemoryLog
from headwater.log.port import GroupDescription, Log, TopicPartition
from headwater.log.topology import Topology
from headwater.operations.groups import foreign_texts, group_lags
from headwater.processes.forwarding import Forwarder
from headwater.projections.shadow import straightened
from headwater.testing import eventually
from tests.orders import PlaceOrder, app
from tests.processes.test_billing import assert_one_payment_each, is_idle, recorded

P0, P1, P2, P3 = (TopicPartition("order-events", p) for p in range(4))


def test_a_group_follows_its_store_again_and_only_what_differs_is_told(caplog: pytest.LogCaptureFixture) -> None:
    group = GroupDescription("shop-revenue-v1", {}, {P0: 0, P1: 7, P2: 9, P3: 4}, frozenset({P0, P1}))
    start = {P0: 7, P1: 7, P2: 7, P3: 7}
    with caplog.at_level(logging.WARNING, "headwater.readers"):
        wrong, said = straightened(group, start, "revenue")
    assert wrong == {P0: 7, P1: 7, P2: 7}, "ahead, or without our mark; one that is only behind follows by itself"
    [text] = said
    assert text.startswith(
        "group shop-revenue-v1 was set to 0 in order-events/0 by another program: the rows of revenue"
    )
    assert "hw reset --group shop-revenue-v1 --all-topics --to-earliest --execute" in text
    assert caplog.messages == said


def test_partitions_that_are_not_taken_over_are_left_alone() -> None:
    group = GroupDescription("g", {}, {P0: 0, P1: 0}, frozenset({P0, P1}))
    assert straightened(group, {P1: 3}, "revenue")[0] == {P1: 3}
    assert straightened(GroupDescription("g", {}, {}), {P1: 3}, "revenue") == ({}, [])


class ResetElsewhere:
    """A log whose positions another program has set."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def groups(self, names: Collection[str] | None = None) -> list[GroupDescription]:
        return [replace(group, foreign=frozenset(group.positions)) for group in self._log.groups(names)]

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)


def test_a_process_takes_the_position_says_so_and_repeats_nothing() -> None:
    log = MemoryLog()
    with app.run(log) as shop:
        shop.send(PlaceOrder("o1", Decimal(1)))
        eventually(lambda: recorded(log) == 1)
    moved: Log = ResetElsewhere(log)  # type: ignore[assignment] # a double
    positions = log.groups(["billing"])[0].positions
    log.reset("billing", dict.fromkeys(positions, 0))
    forwarder = Forwarder(moved, Topology.read(log), app.processes[0], name="test")
    assert set(forwarder.relaying.assigned(sorted(positions)).values()) == {0}
    notice = forwarder.relaying.notices[0]
    assert notice.startswith("group billing was set to 0 in ")
    assert "billing is told of the events from there on; those that it knows it recognises" in notice
    forwarder.close()
    with app.run(log) as shop:
        shop.send(PlaceOrder("o2", Decimal(1)))
        eventually(lambda: recorded(log) == 2)
        eventually(lambda: is_idle(log, "billing", ["order-events", "payment-events"]), saying="also what it knew")
    assert_one_payment_each(log, 2)


def test_only_our_own_groups_are_told() -> None:
    log = MemoryLog()
    with app.run(log) as shop:
        shop.send(PlaceOrder("o1", Decimal(1)))
        eventually(lambda: recorded(log) == 1)
    lags = group_lags(ResetElsewhere(log))  # type: ignore[arg-type] # a double
    assert foreign_texts(lags, ["somebody"]) == []
    told = foreign_texts(lags, ["billing"])
    assert told
    assert all(text.startswith("group billing was set to ") for text in told)
