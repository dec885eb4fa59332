"""Commands on one SQLite file, with one caller and with sixteen, beside the package `eventsourcing`.

    library          App.run on sqlite:///…, `send` from each caller's thread
    eventsourcing    its Application with its SQLite module: load the aggregate, decide, save

Both write to the same disk with synchronous=FULL and a write-ahead log (asked of the connections, not assumed) and
are given the same orders for accounts that have a history already. The package runs as it comes, so it loads each
aggregate from its events; with its cache of aggregates (a setting) it is measured beside, as a figure.

So the history decides: with 1, 5, 25 and 100 events an account the package did 870, 600, 270 and 90 commands/s with
one caller, and headwater about 1,000 with each (medians of three rounds of 300 orders on a busy machine). The rate
that is quoted for the package, 1,300/s, is printed beside its own; a history of one event came nearest to it.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import headwater as hw
from benchmarks.accounts import Account, Deposit, Ledger, Order, Overdrawn, orders_for
from benchmarks.rounds import Different, Options, Report, check_equal, options, take_turns
from benchmarks.with_eventsourcing import FULL, bank

CALLERS = 16
ACCOUNTS = 400
HISTORY = 25
OPENING_CENTS = 1_000
QUOTED = {"eventsourcing_one_caller_per_s": 1_300.0}
TARGETS = {"one_caller_vs_eventsourcing": ("≥", 3.0), "sixteen_callers_vs_eventsourcing": ("≥", 10.0)}

Call = Callable[[Order], bool]
"""Has one order carried out and waits; tells whether it was accepted. From any thread."""

Service = tuple[Call, Callable[[Sequence[str]], None], Callable[[str], int]]
"""How to call; how to give accounts of these names their history; what an account's balance is."""


@contextmanager
def library(directory: Path) -> Iterator[Service]:
    with hw.App("bench", aggregates=[Account]).run(
        f"sqlite:///{directory / 'log.db'}", only=["commands"], store="memory://"
    ) as shop:

        def call(order: Order) -> bool:
            try:
                shop.send(order.command())
            except Overdrawn:
                return False
            return True

        def found(ids: Sequence[str]) -> None:
            deposits = [Deposit(id, OPENING_CENTS) for _ in range(HISTORY) for id in ids]
            for outcome in shop.send_many(deposits):
                if not isinstance(outcome, hw.Receipt):
                    raise outcome

        refuse_careless_connections(directory / "log.db")
        yield call, found, lambda id: shop.get(Account, id).cents


def refuse_careless_connections(file: Path) -> None:
    """Asks every connection of this process to a file how it writes; the setting is each connection's own.

    Raises: RuntimeError: one is not synchronous=FULL with a write-ahead log, or none has written.
    """
    written = 0
    for connection in [one for one in gc.get_objects() if isinstance(one, sqlite3.Connection)]:
        try:
            [(_, _, path)] = connection.execute("PRAGMA database_list").fetchall()
        except sqlite3.ProgrammingError:  # closed
            continue
        if not path or not file.samefile(path):
            continue
        [(synchronous,)] = connection.execute("PRAGMA synchronous").fetchall()
        [(journal,)] = connection.execute("PRAGMA journal_mode").fetchall()
        if (synchronous, journal) != (FULL, "wal"):
            raise RuntimeError(f"a connection to {file} has synchronous={synchronous} and journal_mode={journal}")
        written += connection.total_changes
    if not written:
        raise RuntimeError(
            f"no connection of this process has written to {file}: nothing was asked of the one that does"
        )


@contextmanager
def package(directory: Path, cached: bool) -> Iterator[Service]:
    with bank(directory / "events.db", cached=cached) as app:
        yield app.order, lambda ids: app.found(ids, HISTORY, OPENING_CENTS), app.balance


def at_once(call: Call, orders: Sequence[Order], callers: int) -> tuple[int, float]:
    """Has the orders carried out by so many threads, each account always by the same one, so that refusals do not
    depend on who comes first. Returns how many were accepted, and the seconds it took."""
    shares: list[list[Order]] = [[] for _ in range(callers)]
    for order in orders:
        shares[int(order.account_id.rpartition("-")[2]) % callers].append(order)
    accepted = [0] * callers
    failures: list[BaseException] = []

    def work(index: int) -> None:
        try:
            accepted[index] = sum([call(order) for order in shares[index]])
        except Exception as error:  # noqa: BLE001 -- told by the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(callers)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    if failures:
        raise failures[0]
    return sum(accepted), seconds


@dataclass
class Side:
    """One of those compared. `one`, `many`: commands per second with one caller and with sixteen."""

    name: str
    start: Callable[[Path], AbstractContextManager[Service]]
    one: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)

    def turn(self, index: int, count: int) -> None:
        """A new file, accounts with a history, then the orders of one caller, then those of sixteen.

        Raises: Different.
        """
        ids = [f"{index}-{number:06d}" for number in range(ACCOUNTS)]
        everything = [Order(id, OPENING_CENTS) for id in ids for _ in range(HISTORY)]
        accepted = len(everything)
        with (
            tempfile.TemporaryDirectory(prefix="headwater-bench-") as directory,
            self.start(Path(directory)) as service,
        ):
            call, found, balance = service
            found(ids)
            for seconds_of, callers, part in ((self.one, 1, 0), (self.many, CALLERS, 1)):
                orders = orders_for(2 * index + part, count, ACCOUNTS, prefix=index)
                gc.collect()
                done, seconds = at_once(call, orders, callers)
                seconds_of.append(count / seconds)
                accepted += done
                everything += orders
            expected = Ledger.expected(everything)
            check_equal(f"{self.name}, by its answers, accepted", accepted, expected.accepted)
            balances = {id: balance(id) for id in ids}
            check_equal(f"{self.name}'s sum of all balances", sum(balances.values()), expected.cents)
            check_equal(f"{self.name}'s wrong balances", [k for k in ids if balances[k] != expected.balances[k]], [])


def measure(asked: Options) -> Report:
    """Raises: Different."""
    rounds, count = (3, 1500) if asked.quick else (7, 6000)
    ours = Side("headwater", library)
    theirs = Side("eventsourcing", lambda directory: package(directory, cached=False))
    cached = Side("eventsourcing_cached", lambda directory: package(directory, cached=True))
    sides = [ours, theirs] if asked.quick else [ours, theirs, cached]
    take_turns(rounds, [lambda index, side=side: side.turn(index, count) for side in sides])  # type: ignore[misc] # mypy infers no lambda with a default
    report = Report("embedded", TARGETS, QUOTED)
    for side in sides:
        report.figure(f"{side.name}_one_caller_per_s", side.one)
        report.figure(f"{side.name}_sixteen_callers_per_s", side.many)
    report.ratio("one_caller_vs_eventsourcing", ours.one, theirs.one)
    report.ratio("sixteen_callers_vs_eventsourcing", ours.many, theirs.many)
    return report


def main() -> int:
    asked = options("embedded", "Commands on one SQLite file, beside the package eventsourcing.")
    try:
        report = measure(asked)
    except Different as error:
        print(f"embedded: {error}", file=sys.stderr)
        return 1
    return report.finish(asked)


if __name__ == "__main__":
    sys.exit(main())
