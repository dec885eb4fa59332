"""A question for an entity whose partition is stopped is answered with the reason, long before its time is up."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

import headwater as hw
from headwater.app import Running
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord
from headwater.testing import eventually
from tests.bank import Account, Deposit, Open
from tests.logs import OpenAgain, end_of

LONG_S = 60.0
"""So long is waited for an answer, before it is `Unknown` what became of the question."""

app = hw.App("bank", aggregates=[Account], partitions=2)
HERE = next(f"a{n}" for n in range(99) if partition_of(f"a{n}".encode(), 2) == 0)
ELSEWHERE = next(f"a{n}" for n in range(99) if partition_of(f"a{n}".encode(), 2) == 1)


def stop(running: Running, log: Log, record: NewRecord) -> str:
    """Stops partition 0 by a record that does not belong there. Returns where it is."""
    (offset,) = log.append([record])
    services = running.services
    assert services is not None
    eventually(lambda: services.owners["account"].failures, saying="the partition stopped")
    return f"topic {record.topic}, partition 0, offset {offset}"


@pytest.mark.parametrize(
    ("key", "why"), [(HERE, "a foreign record in an owned topic"), (ELSEWHERE, "another partitioner than murmur2")]
)
def test_it_is_told_in_any_process(open_again: OpenAgain, key: str, why: str) -> None:
    log = open_again()
    headers = [] if key == HERE else [("ce_id", b"1")]
    with (running := app.run(open_again(), only=["commands"])) as bank:
        bank.send(Open(HERE, "ann"))
        reason = f"{why}.*{stop(running, log, NewRecord('account-commands', 0, key.encode(), b'{}', headers))}"
        waiting = end_of(log, "account-commands")
        with pytest.raises(hw.Unavailable, match=f"partition 0 of 'account' is not served here: .*{reason}"):
            bank.get(Account, HERE, timeout_s=LONG_S)
        assert end_of(log, "account-commands") == waiting, "nothing is written where no answer can come"
        with app.connect(open_again()) as client:
            with pytest.raises(hw.Unavailable, match=f"account-commands, partition 0 is stopped: .*{reason}"):
                client.get(Account, HERE, timeout_s=LONG_S)
            with pytest.raises(hw.Unavailable, match=reason):
                client.version(Account, HERE, timeout_s=LONG_S)

        async def ask() -> None:
            async with app.connect(open_again()) as client:
                await client.get(Account, HERE, timeout_s=LONG_S)

        with pytest.raises(hw.Unavailable, match=reason):
            asyncio.run(ask())
        assert bank.version(Account, ELSEWHERE) == 0, "the others go on"


def test_an_event_that_no_owner_wrote_is_told_in_any_process(open_again: OpenAgain) -> None:
    log = open_again()
    with (running := app.run(open_again(), only=["commands"])) as bank:
        bank.send(Open(HERE, "ann"))
        (offset,) = log.append([NewRecord("account-events", 0, HERE.encode(), b"{}")])
        bank.send(Deposit(HERE, Decimal(1)))
        services = running.services
        assert services is not None
        eventually(lambda: services.owners["account"].failures, saying="the partition stopped")
        with app.connect(open_again()) as client:
            why = f"partition 0 is stopped: a foreign event .*topic account-events, partition 0, offset {offset}"
            with pytest.raises(hw.Unavailable, match=why):
                client.get(Account, HERE, timeout_s=LONG_S)
            assert client.version(Account, ELSEWHERE) == 0, "the others go on"


def test_a_partition_that_stops_at_the_question_is_told_by_its_owner(open_again: OpenAgain) -> None:
    log = open_again()
    with app.run(log, only=["commands"]) as bank:
        bank.send(Open(ELSEWHERE, "bob"))
    log.append([NewRecord("account-events", 0, HERE.encode(), b"not JSON")])
    with (
        app.run(open_again(), only=["commands"]) as bank,
        pytest.raises(hw.Unavailable, match=r"malformed.*topic account-events, partition 0"),
    ):
        bank.get(Account, HERE, timeout_s=LONG_S)
