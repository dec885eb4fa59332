"""What positions mean, and what setting them takes: on each log."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.failures.held import tables_of
from headwater.log.memory import MemoryLog
from headwater.log.port import Log, NewRecord, Positions, TopicPartition, TopicSpec
from headwater.operations.resetting.moves import moves_of
from headwater.operations.resetting.planning import Readers, Scope, carry_out, plan, target_of
from headwater.operations.resetting.scenarios import (
    At,
    Bounds,
    Current,
    Earliest,
    Latest,
    Offset,
    Scenario,
    Shifted,
    clamped,
    new_positions,
)
from headwater.operations.resetting.targets import NoConsent, StillRead
from headwater.projections.read_model import read_models_of
from headwater.stores.memory import MemoryStore
from headwater.stores.opening import open_store
from headwater.testing import eventually
from headwater.testing.conformance.log.waiting import writing
from tests.bank import Account, Deposit, Deposited, Open
from tests.logs import OpenAgain
from tests.orders import app as shop_app
from tests.processes.test_billing import assert_one_payment_each, is_idle, orders, recorded

START = datetime(2024, 4, 10, tzinfo=UTC)
P0, P1 = TopicPartition("seed", 0), TopicPartition("seed", 1)


@pytest.fixture
def hours() -> Log:
    """Partition 0 has an event for each of five hours, partition 1 has none."""
    log = MemoryLog()
    log.create_topics([TopicSpec("seed", 2)])
    times = [int((START + timedelta(hours=n)).timestamp() * 1000) for n in range(5)]
    log.append([NewRecord("seed", 0, b"k", b"v", timestamp_ms=time) for time in times])
    return log


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        (Earliest(), {P0: 0, P1: 0}),
        (Latest(), {P0: 5, P1: 0}),
        (Current(), {P0: 3, P1: 0}),
        (Offset(2), {P0: 2, P1: 0}),
        (Offset(-1), {P0: 0, P1: 0}),
        (Shifted(-2), {P0: 1, P1: 0}),
        (Shifted(9), {P0: 5, P1: 0}),
        (At(START + timedelta(minutes=90)), {P0: 2, P1: 0}),
        (At(START - timedelta(days=36500)), {P0: 0, P1: 0}),
        (At(START + timedelta(days=1)), {P0: 5, P1: 0}),
    ],
)
def test_a_scenario_gives_positions_that_the_log_has(hours: Log, scenario: Scenario, expected: Positions) -> None:
    bounds = Bounds.of(hours, [P0, P1])
    asked = new_positions(hours, "g", {P0: 3, P1: 0}, bounds, [P0, P1], scenario)
    found, words = clamped(asked, bounds)
    assert found == expected
    assert len(words) == sum(asked[tp] != expected[tp] for tp in asked)


def test_records_between_are_counted_and_not_the_gaps() -> None:
    log = MemoryLog(gaps=True)
    print("seed", log.seed)
    log.create_topics([TopicSpec("seed", 2)])
    with closing(log.writer("seed")) as writer:
        for n in range(40):
            writer.transact(writing([NewRecord("seed", 0, b"k", b"%d" % n)]))
    bounds = Bounds.of(log, [P0, P1])
    assert bounds.ends[P0] > 40
    [back, nothing] = moves_of(log, "g", {P0: bounds.ends[P0]}, {P0: 0, P1: 0}, bounds)
    assert (back.again, back.skipped, nothing.again, nothing.skipped) == (40, 0, 0, 0)
    [on] = moves_of(log, "g", {}, {P0: bounds.ends[P0]}, bounds)
    assert (on.again, on.skipped) == (0, 40)


def positions_of(log: Log, group: str) -> Mapping[TopicPartition, int]:
    """None as long as nobody has committed any."""
    return next((one.positions for one in log.groups([group])), {})


def test_a_process_that_is_told_everything_again_recognises_it(open_again: OpenAgain) -> None:
    log = open_again()
    with shop_app.run(log) as shop:
        list(shop.send_many(orders(20)))
        eventually(lambda: recorded(log) == 20)
        eventually(lambda: is_idle(log, "billing", ["order-events", "payment-events"]))
    readers = Readers(shop_app.name, (), shop_app.processes)
    eventually(lambda: not any(group.members for group in log.groups(["billing"])))
    told = plan(log, target_of(log, "billing", readers), Scope(everything=True), Earliest())
    assert sum(move.again for move in told.moves) == 60, "the events of orders and payments"
    [words], [done] = told.words, told.done
    assert "40 commands again: 40 it would recognise as duplicates" in words
    assert "billing will be sent 40 commands again: 40 it will recognise" in done
    with pytest.raises(NoConsent, match="say with --repeat-effects"):
        carry_out([told])
    target = target_of(log, "billing", readers, repeat_effects=True)
    again = plan(log, target, Scope(everything=True), Earliest())
    carry_out([again])
    with shop_app.run(log) as shop:
        eventually(lambda: any(group.members for group in log.groups(["billing"])), saying="it reads again")
        with pytest.raises(StillRead, match="group billing is being read by"):
            carry_out([again])
        list(shop.send_many(orders(1, prefix="late")))
        eventually(lambda: recorded(log) == 21)
        eventually(lambda: is_idle(log, "billing", ["order-events", "payment-events"]))
    assert_one_payment_each(log, 21)


class Balance(hw.Projection):
    account_id: hw.Key[str]
    balance: Decimal = Decimal(0)

    @hw.on(Deposited)
    def deposited(self, event: Deposited) -> None:
        self.balance += event.amount


class Receipts(hw.Projection):
    account_id: hw.Key[str]

    @hw.on(Deposited)
    def deposited(self, event: Deposited, sink: hw.Sink[sqlite3.Cursor]) -> None:
        sink.cursor.execute("INSERT INTO receipts VALUES (?)", [event.account_id])


def test_a_reset_tells_of_what_it_does_not_remove() -> None:
    log = MemoryLog()
    log.create_topics([TopicSpec("account-events", 2)])
    log.append([NewRecord("account-events", 0, b"a", b"{}")])
    [model] = read_models_of("bank", [Receipts])
    store = MemoryStore()
    store.open_tables(model.runner, [*model.tables, *tables_of(model.runner)])
    there = {TopicPartition("account-events", 0): 1, TopicPartition("account-events", 1): 0}
    store.apply(model.runner, {}, there, lambda loading: None)
    target = target_of(log, model.runner, Readers("bank", [model], (), lambda: store))
    planned = plan(log, target, Scope(everything=True), Earliest())
    removed, beside = planned.words
    assert "all rows of receipts version 1 would be removed" in removed
    assert "hw rebuild" not in removed, "which refuses it"
    assert "wrote beside its rows (hw.Sink) is not removed" in beside
    removed, beside = planned.done
    assert "all rows of receipts version 1 were removed" in removed
    assert "wrote beside its rows (hw.Sink) was not removed" in beside


bank = hw.App("bank", aggregates=[Account], projections=[Balance], partitions=2)
BALANCE = "bank-balance-v1"


class PowerCut(Exception):
    pass


class Cut:
    """A log whose machine loses its power when positions are set."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def reset(self, group: str, positions: Positions, *, foreign: bool = False) -> None:
        raise PowerCut

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)


def test_a_reset_that_is_killed_after_its_store_is_repaired_at_the_next_start(
    open_again: OpenAgain, tmp_path: Path
) -> None:
    """The group stays ahead of the store. The runner goes on where the store is, and the group follows."""
    log, url = open_again(), f"sqlite:///{tmp_path / 'models.db'}"
    [model] = read_models_of("bank", [Balance])
    partitions = [TopicPartition("account-events", p) for p in range(2)]
    with bank.run(log, store=url) as shop:
        for number in range(5):
            shop.send(Open(str(number), "ann"))
            shop.send(Deposit(str(number), Decimal(5)))
        eventually(lambda: len(shop.rows(Balance)) == 5, saying="both partitions are read")
        before = shop.rows(Balance)
        eventually(lambda: positions_of(log, BALANCE) == log.ends(partitions))
    with closing(open_store(url)) as store:
        eventually(lambda: not any(group.members for group in log.groups([BALANCE])))
        readers = Readers("bank", [model], (), lambda: store)
        killed = plan(log, target_of(Cut(log), BALANCE, readers), Scope(everything=True), Earliest())  # type: ignore[arg-type] # a double
        with pytest.raises(PowerCut):
            carry_out([killed])
        assert store.positions(BALANCE) == {}
    assert positions_of(log, BALANCE) == log.ends(partitions)
    with bank.run(log, store=url, only=["projections"]) as shop:
        eventually(lambda: len(shop.rows(Balance)) == 5, saying="all is made again")
        assert shop.rows(Balance) == before
        eventually(lambda: positions_of(log, BALANCE) == shop._models.store.positions(BALANCE))
