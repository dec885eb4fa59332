"""A grouped read model filled from events that are there already: a row per account, of 20,000 accounts.

    library   `App.run` of one projection on a log in a SQLite file, with an empty store, until it has caught up
    floor     a loop over the rows of that file, with msgspec, a dict and psycopg: the same 10,000 events a batch,
              rows locked and loaded, changed, written by one statement, position and rows in one transaction

Both sides come to the same rows; any event changes that of its account, so a batch writes some thousands of them. The
floor, too, commits without waiting for the disk. It is written for this one table: it checks no type and knows no
runner of other partitions.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

import headwater as hw
from benchmarks import bare
from benchmarks.accounts import Deposited, Withdrawn
from benchmarks.replay import OFFSET_BITS, TOPIC, Balances, decode_event, expected, fill_sqlite
from benchmarks.replay import Deposited as BareDeposited
from benchmarks.rounds import Different, Options, Report, check_equal, options, take_turns
from headwater.testing.postgres import PostgresServer, start_postgres

BATCH = 10_000
LOOK_S = 0.05
TARGETS = {"postgres_vs_floor": ("≥", 0.7)}


class Balance(hw.Projection):
    account_id: hw.Key[str]
    cents: int = 0
    events: int = 0

    @hw.on(Deposited)
    def deposited(self, event: Deposited) -> None:
        self.cents += event.cents
        self.events += 1

    @hw.on(Withdrawn)
    def withdrawn(self, event: Withdrawn) -> None:
        self.cents -= event.cents
        self.events += 1


def library(log: str, store: str) -> float:
    """Fills the read model. Returns the seconds from the app's start until it has caught up."""
    started = time.perf_counter()
    app = hw.App("bench", projections=[Balance], partitions=bare.PARTITIONS)
    with app.run(log, only=["projections"], store=store) as shop:
        while shop.lag()["balance"]:
            time.sleep(LOOK_S)
        return time.perf_counter() - started


FLOOR_TABLES = """
CREATE TABLE balance (account_id text COLLATE "C" PRIMARY KEY, cents bigint NOT NULL, events bigint NOT NULL)
    WITH (fillfactor = 80);
CREATE TABLE positions (part integer PRIMARY KEY, next bigint NOT NULL)
"""
FLOOR_LOAD = (
    "SELECT account_id, cents, events FROM balance WHERE account_id = ANY($1::text[]) ORDER BY account_id FOR UPDATE"
)
FLOOR_SAVE = (
    "INSERT INTO balance SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])"
    " ON CONFLICT (account_id) DO UPDATE SET cents = excluded.cents, events = excluded.events"
)
FLOOR_POSITION = "INSERT INTO positions VALUES ($1, $2) ON CONFLICT (part) DO UPDATE SET next = excluded.next"


def floor(log: Path, store: str) -> float:
    """Fills a table of its own. Returns the seconds."""
    started = time.perf_counter()
    with (
        closing(sqlite3.connect(log)) as file,
        psycopg.connect(store, autocommit=True, cursor_factory=psycopg.RawCursor) as connection,
    ):
        connection.execute("SET synchronous_commit = off")
        connection.execute(FLOOR_TABLES)
        (slot,) = file.execute("SELECT first_slot FROM topics WHERE name = ?", [TOPIC]).fetchone()
        read = "SELECT place, value FROM records WHERE place >= ? AND place < ? ORDER BY place LIMIT ?"
        for partition in range(bare.PARTITIONS):
            place, end = slot + partition << OFFSET_BITS, slot + partition + 1 << OFFSET_BITS
            while records := file.execute(read, [place, end, BATCH]).fetchall():
                place = records[-1][0] + 1
                with connection.transaction():
                    floor_batch(connection, [decode_event(value) for _, value in records])
                    connection.execute(FLOOR_POSITION, [partition, place])
        return time.perf_counter() - started


def floor_batch(connection: psycopg.Connection[tuple[str, int, int]], events: list[bare.Deposited]) -> None:
    keys = {event.account_id for event in events}
    found = connection.execute(FLOOR_LOAD, ["{" + ",".join(keys) + "}"]).fetchall()
    rows = {key: [cents, count] for key, cents, count in found}
    get = rows.get
    for event in events:
        row = get(event.account_id)
        if row is None:
            row = rows[event.account_id] = [0, 0]
        if type(event) is BareDeposited:
            row[0] += event.cents
        else:
            row[0] -= event.cents
        row[1] += 1
    columns = [rows, (cents for cents, _ in rows.values()), (count for _, count in rows.values())]
    connection.execute(FLOOR_SAVE, ["{" + ",".join(map(str, column)) + "}" for column in columns])


def stored(store: str) -> Balances:
    with psycopg.connect(store) as connection:
        rows = connection.execute("SELECT account_id, events, cents FROM balance").fetchall()
    return {key: (int(events), int(cents)) for key, events, cents in rows}


@dataclass
class Side:
    """One of those compared, with its rates: events per second."""

    name: str
    fill: Callable[[str], float]
    rates: list[float] = field(default_factory=list)

    def turn(self, server: PostgresServer, count: int, right: Balances) -> None:
        """Fills an empty store. Raises: Different."""
        with server.schema() as store:
            gc.collect()
            self.rates.append(count / self.fill(store))
            found = stored(store)
        check_equal(f"{self.name}: wrong rows", [key for key in right if found.get(key) != right[key]], [])
        check_equal(f"{self.name}: how many rows", len(found), len(right))


def measure(asked: Options) -> Report:
    """Raises: Different."""
    rounds, count = (3, 60_000) if asked.quick else (5, 500_000)
    right = expected(count)
    report = Report("stores", TARGETS)
    report.figures["events"] = count
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as directory:
        file = Path(directory) / "log.db"
        url = f"sqlite:///{file}"
        app = hw.App("bench", projections=[Balance], partitions=bare.PARTITIONS)
        with app.run(url, store="memory://"):
            pass  # makes the topic
        fill_sqlite(url, count)
        server = start_postgres()
        try:
            sides = [
                Side("postgres_library", lambda store: library(url, store)),
                Side("postgres_floor", lambda store: floor(file, store)),
            ]
            turns = [lambda _, side=side: side.turn(server, count, right) for side in sides]  # type: ignore[misc]
            take_turns(rounds, turns)
        finally:
            server.delete()
    for side in sides:
        report.figure(f"{side.name}_events_per_s", side.rates)
    report.ratio("postgres_vs_floor", sides[0].rates, sides[1].rates)
    return report


def main() -> int:
    asked = options("stores", "A grouped read model in PostgreSQL, beside a bare loop.")
    try:
        report = measure(asked)
    except Different as error:
        print(f"stores: {error}", file=sys.stderr)
        return 1
    return report.finish(asked)


if __name__ == "__main__":
    sys.exit(main())
