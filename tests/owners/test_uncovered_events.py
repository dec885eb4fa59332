"""Events that no state record covers: they count for ever, whatever else happens in their partition meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

import headwater as hw
from headwater.entities.behaviour import Behaviour
from headwater.log.memory import MemoryLog
from headwater.log.port import Log, NewRecord, TopicPartition
from headwater.messages.envelope import command_headers, event_headers
from headwater.messages.json_codec import JsonCodec
from headwater.owners.state_record import WINDOW, Entry, encode_entry
from headwater.testing import eventually
from tests.bank import Account, AccountEvent, Deposit, Deposited, Open, Withdraw
from tests.logs import EMBEDDED, OpenAgain

app = hw.App("bank", aggregates=[Account], partitions=1)
BEHAVIOUR = Behaviour(Account)
TEN, ONE = Decimal(10), Decimal(1)
LONG_AGO, ACCEPTED = datetime(1997, 1, 1, tzinfo=UTC), datetime.now(UTC)
SOURCE = "sales|order-events|0;7;0"


def deposited(account: str, version: int, command: str, at: tuple[int, int] = (0, 1)) -> NewRecord:
    """An event as an owner writes it. Arguments: at: its place among the events of its command, and their number."""
    headers = event_headers(
        id=f"{command}-{at[0]}",
        source="bank",
        type="Deposited",
        time=LONG_AGO,
        subject=account,
        entity_version=version,
        command_id=command,
        recorded=ACCEPTED,
        commit=(command, *at),
    )
    value = BEHAVIOUR.events.encode(Deposited(account, TEN), LONG_AGO)
    return NewRecord("account-events", 0, account.encode(), value, headers, round(LONG_AGO.timestamp() * 1000))


def command(account: str, id: str, source: str | None = None, what: type[Deposit | Withdraw] = Deposit) -> NewRecord:
    headers = command_headers(id=id, source="tests", type=what.__name__, subject=account, hw_source=source)
    value = JsonCodec([what]).encode(what(account, TEN))
    return NewRecord("account-commands", 0, account.encode(), value, headers)


def prepare(log: Log, *records: NewRecord) -> None:
    """Has the topics made, and writes there as a cut-off transaction would have."""
    with app.run(log, only=["commands"]):
        pass
    for record in records:
        log.append([record])


def consumed(log: Log) -> bool:
    partition = TopicPartition("account-commands", 0)
    return log.committed("account-owners", [partition]).get(partition, 0) >= log.ends([partition])[partition]


def versions(bank: hw.Shop, account: str) -> list[int | None]:
    return [one.meta.version for one in bank.history(Account, account)]


@pytest.mark.parametrize("open_again", EMBEDDED, indirect=True)
def test_they_count_after_another_entity_has_moved_on(open_again: OpenAgain) -> None:
    prepare(open_again(), deposited("a", 1, "c1"), deposited("a", 2, "c2"))
    with app.run(open_again(), only=["commands"]) as bank:
        bank.send(Deposit("b", ONE))
    with app.run(open_again(), only=["commands"]) as bank:
        assert (bank.version(Account, "a"), bank.get(Account, "a").balance) == (2, Decimal(20))
        bank.send(Deposit("a", ONE))
        assert versions(bank, "a") == [1, 2, 3]
    with app.run(open_again(), only=["commands"]) as bank:
        assert bank.get(Account, "a").balance == 21


@pytest.mark.parametrize("open_again", EMBEDDED, indirect=True)
def test_of_a_cut_off_transaction_some_states_may_be_missing(open_again: OpenAgain) -> None:
    log = open_again()
    prepare(log, command("a", "c1"), command("b", "c2"))
    first, _ = log.append([deposited("a", 1, "c1"), deposited("b", 1, "c2")])
    entry = Entry.new("a", None, BEHAVIOUR.encode_state(Account(id="a", version=1, balance=TEN)))
    entry.version, entry.events = 1, first + 1
    (consumed_to,) = log.ends([TopicPartition("account-commands", 0)], committed=False).values()
    log.append([NewRecord("account-state", 0, b"a", encode_entry(entry, BEHAVIOUR.schema, consumed_to, first, first))])
    with app.run(open_again(), only=["commands"]) as bank:
        assert bank.version(Account, "b") == 1
        bank.send(Deposit("b", ONE))
        assert (versions(bank, "a"), versions(bank, "b")) == ([1], [1, 2])
        assert bank.get(Account, "b").balance == 11


def test_their_commands_are_known_however_long_ago_they_happened() -> None:
    log = MemoryLog()
    prepare(log, command("a", "c1"), command("a", "c2"), deposited("a", 1, "c1"), deposited("a", 2, "c2"))
    with app.run(log, only=["commands"]) as bank:
        assert eventually(lambda: consumed(log))
        assert (versions(bank, "a"), bank.get(Account, "a").balance) == ([1, 2], Decimal(20))


def test_a_command_of_a_process_found_among_them_is_known_for_ever() -> None:
    log = MemoryLog()
    prepare(log, command("a", "c1", SOURCE), deposited("a", 1, "c1"))
    with app.run(log, only=["commands"]) as bank:
        assert eventually(lambda: consumed(log))
        assert len(list(bank.send_many([Deposit("a", ONE) for _ in range(WINDOW + 1)]))) == WINDOW + 1
        log.append([command("a", "c1", SOURCE)])  # as after a reset of the process
        assert eventually(lambda: consumed(log))
        assert bank.get(Account, "a").balance == TEN + WINDOW + 1


class Twice(hw.Aggregate[AccountEvent]):
    """The same accounts, later: another state, and two events for each deposit."""

    balance: Decimal = Decimal(0)
    deposits: int = 0

    @hw.decides
    def deposit(self, command: Deposit) -> list[Deposited]:
        return [Deposited(command.account_id, command.amount)] * 2

    @hw.evolves
    def deposited(self, event: Deposited) -> None:
        self.balance += event.amount
        self.deposits += 1


def test_a_torn_command_is_completed_also_after_the_state_has_changed_its_shape() -> None:
    log = MemoryLog()
    later = hw.App("bank", aggregates=[Twice], partitions=1)
    with app.run(log, only=["commands"]) as bank:
        bank.send(Open("a", "ann"))
    log.append([deposited("a", 2, "c9", (0, 2))])
    log.append([command("a", "c9")])
    with later.run(log, only=["commands"]) as bank:
        assert eventually(lambda: consumed(log))
        assert [one.meta.version for one in bank.history(Twice, "a")] == [1, 2, 3]
        assert bank.get(Twice, "a").balance == 20
