"""A run that has something of everything, and what there is to audit of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

import msgspec
import pytest

import headwater as hw
from headwater.client.receipts import Appending
from headwater.log.port import Log, TopicPartition
from headwater.testing import eventually
from headwater.testing.audit import (
    Contents,
    History,
    Journal,
    ModelRows,
    RecordedShop,
    Violation,
    audit,
    collect,
    collect_rows,
    models_of,
    rows_folds,
    state_folds,
)
from headwater.testing.audit.noting import Item
from headwater.testing.audit.read_models import prefix
from tests.bank import Account, Break, Deposit, Deposited, Open, Overdrawn, Rename, Withdraw


class Balances(hw.Projection):
    account_id: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(Deposited)
    def deposited(self, event: Deposited) -> None:
        self.total += event.amount


app = hw.App("bank", aggregates=[Account], projections=[Balances], partitions=2)
COMMANDS = [TopicPartition("account-commands", partition) for partition in range(2)]
ONE, TEN = Decimal(1), Decimal(10)


class Run(msgspec.Struct, frozen=True):
    """What there is to audit. `models`: read models with their positions; `scans`: of other readers."""

    history: History
    contents: Contents
    models: list[ModelRows] = []
    scans: list[Contents] = []

    def audited(self) -> list[Violation]:
        return audit(
            self.history,
            self.contents,
            states=state_folds(app),
            models=self.models,
            rows=rows_folds(app),
            scans=self.scans,
        )

    def refolded(self) -> Run:
        """With read models that follow the log, whatever it holds now."""
        folds = rows_folds(app)
        models = [
            msgspec.structs.replace(one, rows=dict(folds[one.model](prefix(self.contents, one)))) for one in self.models
        ]
        return msgspec.structs.replace(self, models=models)


def a_run(again: Callable[[], Log]) -> Run:
    """Two clients, one beside the owner and one elsewhere, use all that a shop can do."""
    log, journal = again(), Journal()
    with app.run(log, store="memory://") as near, app.connect(log, store="memory://") as far:
        here, there = RecordedShop(near, app, journal, "here"), RecordedShop(far, app, journal, "there")
        for _ in range(2):
            journal.sample_group(log, "account-owners", COMMANDS)
            commands_of_every_outcome(here, there)
        ask_for_what_is_unknown(here, there, journal)
        reads(here, there)
        for number in (1, 2):  # the last ones, of an entity of their own
            here.send(Deposit("c", ONE), command_id=f"c{number}")
        journal.sample_group(log, "account-owners", COMMANDS)
        models = rows_of(near, log)
    contents = collect(again(), app)
    return Run(journal.history(), contents, models, [collect(again(), app)])


def commands_of_every_outcome(here: RecordedShop, there: RecordedShop) -> None:
    """Of entities a and b; the second time all of them are repetitions."""
    here.send(Open("a", "ann"), command_id="open")
    there.send(Deposit("a", TEN), command_id="deposit")
    there.append(Account, "a", [Deposited("a", ONE), Deposited("a", TEN)], command_id="two")
    here.send(Rename("a", "anne"), command_id="nothing")
    with pytest.raises(Overdrawn):
        there.send(Withdraw("a", Decimal(1000)), command_id="refused")
    with pytest.raises(hw.Conflict):
        here.send(Deposit("a", ONE), expected_version=1)
    with pytest.raises(hw.Failed):
        here.send(Break("a", "raise"))
    with pytest.raises(hw.Misuse):
        here.send(Open("a", "bob"), command_id="open")
    with suppress(hw.Unknown):
        there.send(Deposit("b", ONE), command_id="unknown", timeout_s=0)
    many: list[Item] = [
        Appending(Account, "b", [Deposited("b", ONE)], command_id="b1"),
        hw.Sending(Deposit("a", ONE), "a1"),
    ]
    assert all(isinstance(one, hw.Receipt) for one in there.send_many(many))
    with suppress(hw.Misuse):  # the second time the content is another one
        there.revert(Account, "a", to_version=2, command_id="back")


def ask_for_what_is_unknown(here: RecordedShop, there: RecordedShop, journal: Journal) -> None:
    journal.settled()
    sent = [one for one in journal.history().commands if one.command_id == "unknown"]
    for call in [*journal.unknown(), sent[0]]:  # this one also where it was answered in no time
        for client in (here, there):
            client.outcome(Account, call.id, call.command_id)
    assert here.outcome(Account, "a", "never") is None
    with pytest.raises(Overdrawn):
        there.outcome(Account, "a", "refused")


def reads(here: RecordedShop, there: RecordedShop) -> None:
    receipt = here.send(Deposit("b", TEN), command_id="b2")
    for client in (here, there):
        client.get(Account, "b")
        client.find(Account, "nobody")
        client.version(Account, "a")
        client.history(Account, "a")
    here.row(Account, "b", after=receipt)
    here.row(Account, "nobody")


def rows_of(shop: hw.Shop, log: Log) -> list[ModelRows]:
    """The read models, when they include all events."""
    store = shop._models.store
    ends = log.ends([TopicPartition("account-events", partition) for partition in range(2)], committed=False)
    names = [model.runner for model in models_of(app)]
    eventually(lambda: all(store.positions(name) == {tp: e for tp, e in ends.items() if e} for name in names))
    return collect_rows(store, models_of(app))
