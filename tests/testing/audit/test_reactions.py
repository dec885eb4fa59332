"""Processes before the auditor: an event, the state after it and what was sent for it stand and fall together."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec.structs import replace

from headwater.log.memory import MemoryLog
from headwater.log.port import Log
from headwater.testing import eventually
from headwater.testing.audit import Contents, Invariant, Journal, RecordedShop, audit, collect, report, state_folds
from headwater.testing.audit.contents import KeptRecord
from tests.logs import OpenAgain
from tests.processes.shop import PARTS, Payment, PlaceOrder
from tests.processes.shop import app as shop_app
from tests.testing.audit.editing import changed, header
from tests.testing.audit.runs import Run

app = shop_app()
PROCESS = app.processes[0].entity
ORDERS = [f"o{number}" for number in range(6)]


def a_run_with_a_process(log: Log) -> Run:
    journal = Journal()
    with app.run(log, only=PARTS) as shop:
        client = RecordedShop(shop, app, journal, "client")
        for _ in range(2):
            for order in ORDERS:
                client.send(PlaceOrder(order, Decimal(1)), command_id=f"place {order}")
        for order in ORDERS:
            eventually(lambda order=order: _recorded(client, f"p-{order}") == 1)  # type: ignore[misc] # called at once
    return Run(journal.history(), collect(log, app))


def _recorded(client: RecordedShop, payment: str) -> int:
    found = client.find(Payment, payment)
    return found.recorded if found is not None else 0


def audited(run: Run) -> set[Invariant]:
    found = audit(run.history, run.contents, states=state_folds(app))
    print(report(found))
    return {one.invariant for one in found}


def test_on_every_log(log: Log) -> None:
    assert audited(a_run_with_a_process(log)) == set()


def test_a_new_version_sends_the_same_commands_again(open_again: OpenAgain) -> None:
    run, newer = a_run_with_a_process(open_again()), shop_app(2)
    log = open_again()
    with newer.run(log, only=PARTS):
        eventually(lambda: _all_sent_again(collect(log, newer)))
    contents = collect(log, newer)
    old = collect(log, app)
    names = {partition.name for partition in contents.partitions}
    both = [*contents.partitions, *(one for one in old.partitions if one.name not in names)]
    assert audited(replace(run, contents=Contents(tuple(both), tuple({*contents.committed, *old.committed})))) == set()


def _all_sent_again(contents: Contents) -> bool:
    sent = [one for one in contents.records("payment-commands") if header(one, "hw_source")]
    return len(sent) == 4 * len(ORDERS)


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run_with_a_process(MemoryLog())


def with_change(run: Run, topic: str, change: Callable[[KeptRecord], KeptRecord | None], key: str) -> Run:
    return replace(run, contents=changed(run.contents, topic, change, key))


def test_a_state_that_is_lost(run: Run) -> None:
    assert audited(with_change(run, f"{PROCESS}-state", lambda _: None, "o1")) == {Invariant.REACTIONS}


def test_a_state_that_is_older_than_what_was_sent(run: Run) -> None:
    def older(record: KeptRecord) -> KeptRecord:
        value = record.value or b""
        start = value.index(b'"sources":{') + len(b'"sources":{')
        return record._replace(value=value[:start] + value[value.index(b"}", start) :])

    committed = tuple(one for one in run.contents.committed if one.group != f"{PROCESS}-owners")
    broken = with_change(run, f"{PROCESS}-state", older, "o1")
    broken = replace(broken, contents=replace(broken.contents, committed=committed))
    found = audit(broken.history, broken.contents, states=state_folds(app))
    assert [one.invariant for one in found] == [Invariant.REACTIONS] * 2
    assert {(one.entity, one.id) for one in found} == {("payment", "p-o1")}


def test_a_command_that_is_sent_twice(run: Run) -> None:
    partitions = []
    for partition in run.contents.partitions:
        again = (
            [one for one in partition.records if one.key == b"p-o1"] if partition.topic == "payment-commands" else []
        )
        more = tuple(one._replace(offset=partition.end + index) for index, one in enumerate(again))
        partitions.append(replace(partition, records=partition.records + more))
    broken = replace(run, contents=replace(run.contents, partitions=tuple(partitions)))
    assert audited(broken) == {Invariant.REACTIONS}
