"""Only owners write `-events`: what somebody else writes there after them stops its partition."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest

import headwater as hw
from headwater.app import Running
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord
from headwater.messages.envelope import event_headers
from headwater.testing import eventually
from tests.bank import Account, Deposit, Open
from tests.logs import EMBEDDED, OpenAgain
from tests.owners.test_stopping import ELSEWHERE, HERE, ONE, PARTITIONS, app

VALUE = b'{"amount":"7","eventType":"Deposited","accountId":"%s"}' % HERE.encode()
NOW = "2024-04-10T10:30:00Z"


def stopped(running: Running) -> dict[int, str]:
    assert running.services is not None
    return running.services.owners["account"].failures


def once_stopped(running: Running) -> dict[int, str]:
    """What an app that starts finds. The group may know that its member owns a partition before the member does."""
    return eventually(lambda: dict(stopped(running)))


def append(log: Log, key: bytes | None, value: bytes = VALUE, headers: list[tuple[str, bytes]] | None = None) -> str:
    (offset,) = log.append([NewRecord("account-events", 0, key, value, headers or [])])
    return f"topic account-events, partition 0, offset {offset}"


@pytest.mark.parametrize("value", [VALUE, b"not JSON"])
def test_one_that_came_while_no_owner_lived_stops_its_partition_for_good(open_again: OpenAgain, value: bytes) -> None:
    log = open_again()
    with app.run(log, only=["commands"]) as bank:
        bank.send(Open(HERE, "ann"))
        bank.send(Open(ELSEWHERE, "bob"))
    where = append(log, HERE.encode(), value)
    for _ in range(2):
        running = app.run(open_again(), only=["commands"])
        with running as bank:
            assert list(once_stopped(running)) == [0]
            assert re.search(f"a foreign event in an owned topic.*{where}", stopped(running)[0])
            assert bank.get(Account, ELSEWHERE).owner == "bob"


def test_a_living_owner_notices_it_with_the_next_events_that_it_writes(
    open_again: OpenAgain, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_again()
    running = app.run(log, only=["commands"])
    with running as bank:
        bank.send(Open(HERE, "ann"))
        where = append(log, HERE.encode())
        sent = 0

        def noticed() -> bool:
            nonlocal sent
            # The mark of a transaction may come late, and looks like one record. An answer may come before the look,
            # and a look at what a slow broker does not show yet is left to the next transaction.
            if not stopped(running) and sent < 3 + caplog.text.count("not verified yet"):
                sent += 1
                with suppress(hw.Unknown, hw.Unavailable):
                    bank.send(Deposit(HERE, ONE), timeout_s=1)
            return bool(stopped(running))

        eventually(noticed)
        assert re.search(f"a foreign event in an owned topic.*{where}", stopped(running)[0])
        bank.send(Open(ELSEWHERE, "bob"))
    running = app.run(open_again(), only=["commands"])
    with running:
        assert where in once_stopped(running)[0]


@pytest.mark.parametrize("open_again", EMBEDDED, indirect=True)
def test_many_transactions_one_after_the_other_are_all_its_own(open_again: OpenAgain) -> None:
    running = app.run(open_again(), only=["commands"])
    with running as bank:
        for _ in range(50):
            bank.send(Deposit(HERE, ONE))
        assert not stopped(running)


@pytest.mark.parametrize("open_again", EMBEDDED, indirect=True)
def test_one_without_a_key_belongs_to_nobody(open_again: OpenAgain) -> None:
    log = open_again()
    with app.run(log, only=["commands"]):
        pass
    where = append(log, None)
    running = app.run(open_again(), only=["commands"])
    with running:
        assert re.search(f"an event without a key.*{where}", once_stopped(running)[0])


@pytest.mark.parametrize("open_again", EMBEDDED, indirect=True)
def test_one_in_a_partition_that_is_not_its_keys_would_have_two_owners(open_again: OpenAgain) -> None:
    log = open_again()
    with app.run(log, only=["commands"]):
        pass
    headers = event_headers(
        id="e", source="x", type="Deposited", time=NOW, subject=ELSEWHERE, entity_version=1, commit=("c", 0, 1)
    )
    assert partition_of(ELSEWHERE.encode(), PARTITIONS) == 1
    where = append(log, ELSEWHERE.encode(), headers=headers)
    running = app.run(open_again(), only=["commands"])
    with running:
        assert re.search(f"belongs to partition 1.*{where}", once_stopped(running)[0])
