"""Commands that come again after they left the window of remembered ids: found in the entity's events."""

from __future__ import annotations

from decimal import Decimal

import pytest

import headwater as hw
from headwater.environment import SYSTEM
from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import NewRecord, Record, StoredRecord, TopicPartition
from headwater.log.topology import commands_topic, events_topic, owners_group
from headwater.messages.envelope import command_headers
from headwater.messages.json_codec import JsonCodec
from headwater.owners import looking_back
from headwater.owners.arriving import Arrived
from headwater.owners.deciding import Done
from headwater.owners.looking_back import LookingBack, done_in
from headwater.owners.state_record import WINDOW
from headwater.testing import eventually
from tests.bank import Account, Deposit, Open

PARTITIONS = 4
app = hw.App("bank", aggregates=[Account], partitions=PARTITIONS)

ONE = Decimal(1)
COUNT = 3 * WINDOW
CODEC: JsonCodec[Deposit] = JsonCodec([Deposit], type_field="commandType", version_field="commandVersion")


def deposits() -> list[NewRecord]:
    """Of an import: each has its place in a file."""
    partition, value = partition_of(b"a", PARTITIONS), CODEC.encode(Deposit("a", ONE), None)
    records = []
    for line in range(COUNT):
        headers = command_headers(
            id=f"line-{line}", source="test", type="Deposit", subject="a", hw_source=f"import|file|0;{line};0"
        )
        records.append(NewRecord(commands_topic("account"), partition, b"a", value, headers))
    return records


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
def test_a_crowd_that_comes_twice_is_carried_out_once(together: bool) -> None:
    log = MemoryLog()
    with app.run(log, only=["commands"]) as bank:
        bank.send(Open("a", "ann"))
    records = deposits()
    log.append([*records, *records] if together else records)
    with app.run(log, only=["commands"]) as bank:
        eventually(lambda: bank.get(Account, "a").balance >= COUNT)
        if not together:
            log.append(records)
        bank.send(Deposit("a", ONE))
        eventually(lambda: consumed(log))  # it is carried out at once, and does not wait for them
        assert bank.get(Account, "a").balance == COUNT + 1


def consumed(log: MemoryLog) -> bool:
    commands = [TopicPartition(commands_topic("account"), p) for p in range(PARTITIONS)]
    committed = log.committed(owners_group("account"), commands)
    return all(committed.get(tp, 0) >= end for tp, end in log.ends(commands).items())


class Counting(MemoryLog):
    """Counts look-ups."""

    asked = 0

    def keyed(self, partition: TopicPartition, key: bytes) -> list[Record]:
        self.asked += 1
        return super().keyed(partition, key)


def test_the_history_of_an_entity_is_read_once_for_a_crowd() -> None:
    log = Counting()
    with app.run(log, only=["commands"]) as bank:
        answers = bank.send_many([Open("a", "ann"), Deposit("a", ONE), Deposit("a", ONE)])
        receipts = [one for one in answers if isinstance(one, hw.Receipt)]
        end = max(log.ends([TopicPartition(events_topic("account"), p) for p in range(PARTITIONS)]).values())
        look = LookingBack(log, "account", SYSTEM)
        ids = [receipt.command_id for receipt in receipts]
        partition = next(iter(receipts[0].positions)).partition
        asked = [Arrived(id, b"a", b"", partition) for id in [*ids, "never"]]
        assert [look(one, end) for one in asked] == [Done(1, 1), Done(2, 1), Done(3, 1), None]
        assert log.asked == 1
        look(asked[0], end - 1)
        assert log.asked == 2, "the entity has other events"


@pytest.mark.parametrize("most_ids", [1000, 2, 0])
def test_each_history_is_read_once_a_batch_however_many_entities_take_turns(
    most_ids: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking_back, "MOST_IDS", most_ids)
    log, accounts = Counting(), [f"a{number}" for number in range(5)]
    with app.run(log, only=["commands"]) as bank:
        orders = [Open(account, "ann") for account in accounts] + [Deposit(account, ONE) for account in accounts] * 3
        receipts = [one for one in bank.send_many(orders) if isinstance(one, hw.Receipt)]
    ends = {one.id: next(iter(one.positions.values())) for one in receipts}
    partitions = {one.id: next(iter(one.positions)).partition for one in receipts}
    look, rounds = LookingBack(log, "account", SYSTEM), 3
    for _ in range(rounds):
        work = [Arrived(one.command_id, one.id.encode(), b"", partitions[one.id]) for one in receipts]
        look.begin(work)
        found = [look(arrived, ends[arrived.key.decode()]) for arrived in work]
        assert found == [Done(one.version, 1) for one in receipts]
        assert look(Arrived("never", work[0].key, b"", work[0].partition), ends[accounts[0]]) is None
    kept = most_ids == 1000
    asked_apart = 0 if kept else rounds  # what no command of the batch asks is not found with the others
    assert log.asked == (1 if kept else rounds) * len(accounts) + asked_apart


def test_events_of_one_command_are_counted() -> None:
    def event(id: str) -> StoredRecord:
        return StoredRecord("account-events", 0, 0, b"a", b"{}", [("ce_commandid", id.encode())], 0)

    assert done_in(map(event, "aabab")) == {"a": Done(4, 3), "b": Done(5, 2)}
