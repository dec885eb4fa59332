"""A record that does not belong where it is stops its own partition, says where it is, and loses nothing."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

import headwater as hw
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, TopicPartition
from headwater.messages.envelope import command_headers
from headwater.messages.json_codec import JsonCodec
from headwater.testing import eventually
from tests.bank import Account, Deposit, Deposited, Open
from tests.logs import EMBEDDED, OpenAgain, owned_by

PARTITIONS = 2
app = hw.App("bank", aggregates=[Account], partitions=PARTITIONS)
ONE = Decimal(1)

HERE = next(f"a{n}" for n in range(99) if partition_of(f"a{n}".encode(), PARTITIONS) == 0)
"""An account in partition 0, where the bad records come."""
ELSEWHERE = next(f"a{n}" for n in range(99) if partition_of(f"a{n}".encode(), PARTITIONS) == 1)

CODEC = JsonCodec([Deposit])
VALUE = CODEC.encode(Deposit(HERE, ONE), None)


def headers_of(**changed: bytes | None) -> list[tuple[str, bytes]]:
    """Of a good command, with some changed or left out."""
    found: dict[str, bytes | None] = dict(
        command_headers(id="a-command", source="elsewhere", type="Deposit", subject=HERE)
    )
    return [(name, value) for name, value in {**found, **changed}.items() if value is not None]


BAD_COMMANDS: dict[str, tuple[bytes | None, bytes | None, list[tuple[str, bytes]], str]] = {
    "foreign": (HERE.encode(), b'{"hello":"world"}', [], "a foreign record in an owned topic"),
    "no key": (None, VALUE, headers_of(), "a foreign record in an owned topic"),
    "no value": (HERE.encode(), None, headers_of(), "a foreign record in an owned topic"),
    "other partitioner": (ELSEWHERE.encode(), VALUE, headers_of(), "its sender uses another partitioner than murmur2"),
    "key not UTF-8": (
        next(bytes([0xFF, n]) for n in range(99) if partition_of(bytes([0xFF, n]), PARTITIONS) == 0),
        VALUE,
        headers_of(),
        "the key is not UTF-8",
    ),
    "expected version": (HERE.encode(), VALUE, headers_of(hw_expected=b"many"), "unreadable command headers"),
    "time": (HERE.encode(), VALUE, headers_of(ce_time=b"yesterday"), "unreadable command headers"),
    "long actor": (
        HERE.encode(),
        VALUE,
        headers_of(ce_authid=b"x" * 900_000),
        "id have 900,[0-9]+ characters",
    ),
    "id not UTF-8": (HERE.encode(), VALUE, headers_of(ce_id=b"\xff"), "unreadable command headers"),
}


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text


@pytest.mark.parametrize(
    ("open_again", "what"),
    [
        *((log, what) for log in EMBEDDED for what in BAD_COMMANDS),
        *(pytest.param("kafka", what, marks=pytest.mark.kafka) for what in ("foreign", "key not UTF-8")),
    ],
    indirect=["open_again"],
)
def test_a_bad_command_record_stops_its_partition_with_coordinates(open_again: OpenAgain, what: str) -> None:
    log = open_again()
    key, value, headers, words = BAD_COMMANDS[what]
    with app.run(log, only=["commands"]) as bank:
        bank.send(Open(HERE, "ann"))
    (offset,) = log.append([NewRecord("account-commands", 0, key, value, headers)])
    expected = f"{words}.*topic account-commands, partition 0, offset {offset}"
    for _ in range(2):  # it waits to be put right, over restarts
        running = app.run(open_again(), only=["commands"])
        with running as bank:
            assert running.services is not None
            owner = running.services.owners["account"]
            failures = owner.failures
            eventually(failures.__len__, saying="the partition stopped")
            assert list(failures) == [0]
            assert_matches(expected, failures[0])
            before = bank.version(Account, ELSEWHERE)
            assert bank.send(Deposit(ELSEWHERE, ONE)).version == before + 1
            if log.embedded:
                with pytest.raises(hw.Unavailable, match=expected):
                    bank.send(Deposit(HERE, ONE))
            else:
                with pytest.raises(hw.Unknown):
                    bank.send(Deposit(HERE, ONE), timeout_s=0.5)
    committed = log.committed("account-owners", [TopicPartition("account-commands", 0)])
    assert committed.get(TopicPartition("account-commands", 0), 0) <= offset


def test_commands_before_the_bad_record_are_carried_out_and_those_behind_it_wait(open_again: OpenAgain) -> None:
    log = open_again()
    with app.run(log, only=["commands"]):
        pass
    good = [NewRecord("account-commands", 0, HERE.encode(), VALUE, headers_of(ce_id=b"d%d" % n)) for n in range(3)]
    log.append(good[:2])
    (offset,) = log.append([NewRecord("account-commands", 0, HERE.encode(), b"?", [])])
    log.append(good[2:])
    running = app.run(open_again(), only=["commands"])
    with running as bank:
        assert eventually(lambda: len(bank.history(Account, HERE)) == 2)
        services = running.services
        assert services is not None
        assert eventually(lambda: services.owners["account"].failures)
        [status] = services.statuses
        batches = eventually(lambda: status.batches if status.stopped else 0)
        place = TopicPartition("account-commands", 0)
        log.append([NewRecord("account-commands", 0, HERE.encode(), VALUE, headers_of(ce_id=b"behind"))])
        eventually(lambda: status.batches > batches)
        assert status.reached[place] == offset, "what waits there is not taken for read"
    # Its owner sets the group past it; then the ones behind it are carried out.
    eventually(lambda: not owned_by(log, "account-owners"), saying="the group is empty")
    log.reset("account-owners", {TopicPartition("account-commands", 0): offset + 1})
    with app.run(open_again(), only=["commands"]) as bank:
        assert eventually(lambda: len(bank.history(Account, HERE)) == 4)
        assert [one.meta.command_id for one in bank.history(Account, HERE)] == ["d0", "d1", "d2", "behind"]


def test_a_command_that_cannot_be_read_is_its_senders_mistake_and_stops_nothing(log: Log) -> None:
    with app.run(log, only=["commands"]) as bank:
        for value in (b"{", b"[1]", b'{"commandType":"Deposit","accountId":"a","amount":"much"}', b"\xff\xfe"):
            log.append([NewRecord("account-commands", 0, HERE.encode(), value, headers_of())])
        log.append([NewRecord("account-commands", 0, HERE.encode(), VALUE, headers_of(ce_id=b"good"))])
        assert [one.meta.command_id for one in eventually(lambda: bank.history(Account, HERE))] == ["good"]


@pytest.mark.parametrize("value", [b"not JSON", b'{"version":"one"}', b""])
def test_a_foreign_record_among_the_states_stops_its_partition(open_again: OpenAgain, value: bytes) -> None:
    log = open_again()
    with app.run(log, only=["commands"]) as bank:
        bank.send(Open(HERE, "ann"))
        bank.send(Open(ELSEWHERE, "bob"))
    (offset,) = log.append([NewRecord("account-state", 0, b"foreign", value)])
    running = app.run(open_again(), only=["commands"])
    with running as bank:
        assert running.services is not None
        owner = running.services.owners["account"]
        failures = eventually(lambda: dict(owner.failures))  # the group knows of the partition before its member does
        assert list(failures) == [0]
        assert_matches(f"not a state record.*topic account-state, partition 0, offset {offset}", failures[0])
        assert bank.get(Account, ELSEWHERE).owner == "bob"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"not JSON", "malformed"),
        (b'{"eventType":"Deposited","eventVersion":1,"accountId":"a","amount":"much"}', "Invalid decimal"),
        (b'{"eventType":"Closed","eventVersion":1,"accountId":"a"}', "no class here has the wire name 'Closed'"),
    ],
)
def test_an_unreadable_event_from_before_owners_stops_its_partition_when_its_entity_is_wanted(
    open_again: OpenAgain, value: bytes, words: str
) -> None:
    log = open_again()
    with app.run(log, only=["commands"]) as bank:
        bank.send(Open(ELSEWHERE, "bob"))
    (offset,) = log.append([NewRecord("account-events", 0, HERE.encode(), value)])
    where = f"topic account-events, partition 0, offset {offset}"
    with app.run(open_again(), only=["commands"]) as bank:
        if log.embedded:
            with pytest.raises(hw.Unavailable, match=f"{words}.*{where}"):
                bank.get(Account, HERE)
        else:
            with pytest.raises(hw.Unknown):
                bank.get(Account, HERE, timeout_s=0.5)
        assert bank.get(Account, ELSEWHERE).owner == "bob"
        with pytest.raises(hw.BadData, match=where) as bad:
            bank.history(Account, HERE)
        assert (bad.value.topic, bad.value.partition, bad.value.offset) == ("account-events", 0, offset)


def test_events_that_others_wrote_are_an_entitys_history_like_its_own(open_again: OpenAgain) -> None:
    log = open_again()
    with app.run(log, only=["commands"]):
        pass
    value = b'{"amount":"7","eventType":"Deposited","accountId":"%s","timestamp":"1997-12-25T00:00:00Z"}'
    log.append([NewRecord("account-events", 0, HERE.encode(), value % HERE.encode())])
    with app.run(open_again(), only=["commands"]) as bank:
        assert bank.get(Account, HERE).balance == 7
        (recorded,) = bank.history(Account, HERE)
        assert recorded.event == Deposited(HERE, Decimal(7))
        assert (recorded.meta.version, recorded.meta.time.year, recorded.meta.recorded) == (1, 1997, None)
        assert bank.send(Deposit(HERE, ONE)).version == 2
