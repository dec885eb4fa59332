"""Folding all events anew gives what the owners know."""

from __future__ import annotations

from decimal import Decimal

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import NewRecord
from headwater.messages.envelope import Meta
from tests.bank import Account, Deposit, Open, Overdrawn, Withdraw

PARTITIONS = 3
app = hw.App("bank", aggregates=[Account], partitions=PARTITIONS)


class VisitEvent(hw.Event, entity="visit"):
    place: hw.Key[str]


class Visited(VisitEvent):
    pass


class Visit(hw.Aggregate[VisitEvent]):
    last: str = ""

    @hw.evolves
    def visited(self, event: Visited, meta: Meta) -> None:
        self.last = meta.time.isoformat()


def written(log: MemoryLog, topic: str, key: bytes | None, partition_key: bytes, value: bytes) -> None:
    log.append([NewRecord(topic, partition_of(partition_key, PARTITIONS), key, value)])


def test_every_entity_is_as_its_owner_knows_it() -> None:
    with app.run("memory://") as shop:
        for number in range(20):
            shop.send(Open(f"a{number}", "ann"))
            shop.send(Deposit(f"a{number}", Decimal(number)))
            with pytest.raises(Overdrawn):
                shop.send(Withdraw(f"a{number}", Decimal(1000)))
        assert shop.replay(Account) == {f"a{number}": shop.get(Account, f"a{number}") for number in range(20)}


def test_a_reverted_entity_has_its_old_state_and_a_new_version() -> None:
    with app.run("memory://") as shop:
        shop.send(Open("a", "ann"))
        shop.send(Deposit("a", Decimal(5)))
        shop.revert(Account, "a", to_version=1)
        [account] = shop.replay(Account).values()
        assert (account.balance, account.version) == (Decimal(0), 3)


def test_nothing_happened_yet() -> None:
    with app.run("memory://") as shop:
        assert shop.replay(Account) == {}


def test_records_of_others_count_with_or_without_a_key() -> None:
    log = MemoryLog()
    with app.run(log) as shop:
        written(
            log, "account-events", b"a", b"a", b'{"eventType":"Opened","eventVersion":1,"accountId":"a","owner":"ann"}'
        )
        written(
            log,
            "account-events",
            None,
            b"a",
            b'{"eventType":"Deposited","eventVersion":1,"accountId":"a","amount":"7"}',
        )
        account = shop.replay(Account)["a"]
        assert (account.owner, account.balance, account.version) == ("ann", Decimal(7), 2)


def test_a_method_that_asks_for_meta_gets_the_time_of_the_event() -> None:
    log = MemoryLog()
    with hw.App("visits", aggregates=[Visit], partitions=PARTITIONS).run(log) as shop:
        value = b'{"eventType":"Visited","eventVersion":1,"place":"x","timestamp":"1997-01-01T00:00:00Z"}'
        written(log, "visit-events", b"x", b"x", value)
        assert shop.replay(Visit)["x"].last == "1997-01-01T00:00:00+00:00"


def test_an_unreadable_record_is_named_with_its_place() -> None:
    log = MemoryLog()
    with app.run(log) as shop:
        written(log, "account-events", b"a", b"a", b"no json")
        with pytest.raises(hw.BadData, match="account-events"):
            shop.replay(Account)
