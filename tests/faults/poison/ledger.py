"""The events, which a seed draws; the read model with its bug; and what its rows are to be."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

import headwater as hw
from headwater.log.partitioning import partition_of
from headwater.log.port import NewRecord

TOPIC, PARTITIONS = "ledger-events", 8
POISONED = 50
"""So many accounts have poison among their events."""

MENDED = "HEADWATER_TEST_MENDED"
"""With this in the environment the handler has no bug."""


class LedgerEvent(hw.Event, entity="ledger"):
    account: hw.Key[str]


class Booked(LedgerEvent):
    number: int
    cents: int
    poison: bool = False


class Ledger(hw.Projection):
    """What was booked on an account. `last`: the largest number; `disordered`: a smaller one came after it."""

    account: hw.Key[str]
    events: int = 0
    cents: int = 0
    last: int = -1
    disordered: bool = False

    @hw.on(Booked)
    def booked(self, event: Booked) -> None:
        if event.poison and MENDED not in os.environ:
            raise ValueError("a bug")
        self.events += 1
        self.cents += event.cents
        self.disordered = self.disordered or event.number <= self.last
        self.last = max(self.last, event.number)


app = hw.App("bank", projections=[Ledger])

Row = tuple[int, int, int]
"""Events, cents and last number of an account."""


@dataclass(frozen=True)
class Written:
    """What is written. Arguments: accounts: of each event, by its number; cents; unreadable, buggy: numbers of events
    that nobody can read, and of those at which the handler fails."""

    accounts: list[int]
    cents: list[int]
    unreadable: frozenset[int]
    buggy: frozenset[int]

    def records(self) -> Iterator[NewRecord]:
        """The events as somebody else would write them: JSON, without headers."""
        encode = msgspec.json.Encoder().encode
        for number, (account, cents) in enumerate(zip(self.accounts, self.cents, strict=True)):
            key = key_of(account)
            event: dict[str, object] = {"eventType": "Booked", "account": key, "number": number, "cents": cents}
            if number in self.buggy:
                event["poison"] = True
            value = b"\xff no JSON" if number in self.unreadable else encode(event)
            yield NewRecord(TOPIC, partition_of(key.encode(), PARTITIONS), key.encode(), value)

    def first_poison(self) -> dict[int, int]:
        """The number of the first poison of each account that has one."""
        first: dict[int, int] = {}
        for number in sorted(self.unreadable | self.buggy):
            first.setdefault(self.accounts[number], number)
        return first

    def fold(self, *, mended: bool) -> dict[str, Row]:
        """The rows when everything was read. Arguments: mended: all that can be read was applied; else an account
        stands before its first poison."""
        stops = {} if mended else self.first_poison()
        rows: defaultdict[int, Row] = defaultdict(lambda: (0, 0, -1))
        for number, (account, cents) in enumerate(zip(self.accounts, self.cents, strict=True)):
            if number not in self.unreadable and number < stops.get(account, len(self.accounts)):
                events, total, _ = rows[account]
                rows[account] = events + 1, total + cents, number
        return {key_of(account): row for account, row in rows.items()}


def key_of(account: int) -> str:
    return f"a{account:06d}"


def draw(seed: str, events: int, poison: int) -> Written:
    """Arguments: poison: how many events are, spread over `POISONED` accounts; half of them cannot be read."""
    chance = random.Random(seed)
    count = max(2 * POISONED, events // 50)
    accounts = chance.choices(range(count), k=events)
    cents = chance.choices(range(1, 1000), k=events)
    poisoned = set(chance.sample(range(count), POISONED))
    theirs: defaultdict[int, list[int]] = defaultdict(list)
    for number, account in enumerate(accounts):
        if account in poisoned:
            theirs[account].append(number)
    drawn = [number for numbers in theirs.values() for number in chance.sample(numbers, poison // POISONED)]
    chance.shuffle(drawn)
    return Written(accounts, cents, frozenset(drawn[::2]), frozenset(drawn[1::2]))
