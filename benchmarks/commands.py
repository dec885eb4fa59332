"""Commands through the whole path on one Kafka broker: caller, owner, transaction, reply, caller.

    library   App.run on the broker: `send_many` for throughput, `send` for one at a time
    floor     the same by hand (`commands_floor`)

Both run in this process, one after the other, with the same commands, partitions, producers and contents of
records. At the end what each wrote is read back from its events and added up.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import headwater as hw
from benchmarks import bare
from benchmarks.accounts import Account, Ledger, Order, Overdrawn, orders_for
from benchmarks.brokers import one_broker, values_in
from benchmarks.commands_floor import KafkaFloor
from benchmarks.rounds import Different, Options, Report, check_equal, options, take_turns

IN_FLIGHT = 4000
ACCOUNTS = 10_000
WARMING = 2000
BROKEN_BELOW = 20_000
QUOTED = {"library_commands_per_s": 26_500.0}
TARGETS = {"throughput_vs_floor": ("≥", 0.6), "p50_vs_floor": ("≤", 1.5)}

Many = Callable[[Sequence[Order]], tuple[int, int]]
"""Has orders carried out, many under way; tells how many were accepted and refused."""

One = Callable[[Order], bool]
"""Has one order carried out; tells whether it was accepted."""

Callers = AbstractContextManager[tuple[Many, One]]


@contextmanager
def library(url: str) -> Iterator[tuple[Many, One]]:
    with hw.App("bench", aggregates=[Account], partitions=bare.PARTITIONS).run(
        url, only=["commands"], store="memory://"
    ) as shop:

        def many(orders: Sequence[Order]) -> tuple[int, int]:
            accepted = refused = 0
            for outcome in shop.send_many((order.command() for order in orders), in_flight=IN_FLIGHT):
                if isinstance(outcome, hw.Receipt):
                    accepted += 1
                elif isinstance(outcome, Overdrawn):
                    refused += 1
                else:
                    raise outcome
            return accepted, refused

        def one(order: Order) -> bool:
            try:
                shop.send(order.command())
            except Overdrawn:
                return False
            return True

        yield many, one


@contextmanager
def floor(bootstrap: str, name: str, headers: bool) -> Iterator[tuple[Many, One]]:
    with KafkaFloor(bootstrap, name, headers=headers) as hand:

        def many(orders: Sequence[Order]) -> tuple[int, int]:
            replies = hand.send_many((bare.command(order.account_id, order.cents) for order in orders), IN_FLIGHT)
            accepted = sum(reply.outcome == "accepted" for reply in replies)
            return accepted, len(replies) - accepted

        def one(order: Order) -> bool:
            return hand.send(bare.command(order.account_id, order.cents)).outcome == "accepted"

        yield many, one


@dataclass
class Side:
    """One of those compared: how to start it for a round, and what its rounds measured.

    Arguments: name; start: by the round's number; events: the topics that it writes its events to.
    """

    name: str
    start: Callable[[int], Callers]
    events: list[str]
    rates: list[float] = field(default_factory=list)
    p50s_ms: list[float] = field(default_factory=list)
    p99s_ms: list[float] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    accepted: int = 0

    def turn(self, index: int, count: int, singles: int) -> None:
        """Warms up, has many orders carried out at once, then some one at a time."""
        warming, crowd, alone = (
            orders_for(3 * index + part, size, ACCOUNTS) for part, size in enumerate((WARMING, count, singles))
        )
        with self.start(index) as (many, one):
            accepted = many(warming)[0]
            gc.collect()
            started = time.perf_counter()
            accepted += many(crowd)[0]
            self.rates.append(count / (time.perf_counter() - started))
            times_s = []
            for order in alone:
                before = time.perf_counter()
                accepted += one(order)
                times_s.append(time.perf_counter() - before)
        self.p50s_ms.append(statistics.median(times_s) * 1000)
        self.p99s_ms.append(statistics.quantiles(times_s, n=100)[98] * 1000)
        self.orders += [*warming, *crowd, *alone]
        self.accepted += accepted

    def check(self, bootstrap: str) -> None:
        """The answers, and the events in the topics, must be what arithmetic says. Raises: Different."""
        expected = Ledger.expected(self.orders)
        check_equal(f"{self.name}, by its answers, accepted", self.accepted, expected.accepted)
        cents: dict[str, int] = {}
        events = [bare.decode_event(value) for topic in self.events for value in values_in(bootstrap, topic)]
        for event in events:
            change = event.cents if isinstance(event, bare.Deposited) else -event.cents
            cents[event.account_id] = cents.get(event.account_id, 0) + change
        check_equal(f"{self.name}, by its events, accepted", len(events), expected.accepted)
        check_equal(f"{self.name}'s sum of all balances", sum(cents.values()), sum(expected.balances.values()))
        check_equal(f"{self.name}'s wrong balances", [k for k in cents if cents[k] != expected.balances.get(k)], [])


def measure(asked: Options) -> Report:
    """Raises: Different."""
    rounds, count, singles = (4, 12_000, 100) if asked.quick else (7, 60_000, 400)
    with one_broker() as broker:

        def by_hand(name: str, headers: bool) -> Side:
            def start(index: int) -> Callers:
                return floor(broker.bootstrap, f"{name}{index}", headers)

            return Side(name, start, [f"{name}{index}-events" for index in range(rounds)])

        ours = Side("library", lambda index: library(broker.url), ["account-events"])
        hand = by_hand("floor", True)
        sides = [ours, hand] if asked.quick else [ours, hand, by_hand("floor-without-headers", False)]
        take_turns(rounds, [lambda index, side=side: side.turn(index, count, singles) for side in sides])  # type: ignore[misc] # each is of its side
        for side in sides:
            side.check(broker.bootstrap)
    report = Report("commands", TARGETS, QUOTED)
    for side in sides:
        name = side.name.replace("-", "_")
        report.figure(f"{name}_commands_per_s", side.rates)
        report.figure(f"{name}_p50_ms", side.p50s_ms, 2)
        report.figure(f"{name}_p99_ms", side.p99s_ms, 2)
    report.ratio_of_rounds("throughput_vs_floor", ours.rates, hand.rates)
    report.ratio_of_rounds("p50_vs_floor", ours.p50s_ms, hand.p50s_ms)
    return report


def main() -> int:
    asked = options("commands", "Commands through the whole path on one Kafka broker, beside the same by hand.")
    try:
        report = measure(asked)
    except Different as error:
        print(f"commands: {error}", file=sys.stderr)
        return 1
    code = report.finish(asked)
    if report.figures["floor_commands_per_s"] < BROKEN_BELOW:
        print(
            f"commands: the floor reached {report.figures['floor_commands_per_s']:,.0f} commands/s, and one below "
            f"{BROKEN_BELOW:,} is broken: the machine is too slow or too busy for these ratios to mean anything",
            file=sys.stderr,
        )
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
