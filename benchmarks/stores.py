"""A grouped read model filled from events that are there already: a row per account, of 20,000 accounts.

    library   `App.run` of one projection on a log in a SQLite file, with an empty store, until it has caught up
    floor     a loop over the rows of that file, with msgspec, a dict and the store's client (`store_floors`)

Both sides take 10,000 events a batch, read the rows that they change, and commit rows and position together; any event
changes the row of its account, so a batch writes some thousands of them. Both come to the same rows. The floors, too,
commit without waiting for the disk. The tables are there before either side begins: they are made once, and the
library makes eleven of them in PostgreSQL. The sides take turns; the first round counts for nothing, as servers and
caches warm up in it, and of the others the median of the ratios counts. A search server is slower by so much that it
is given fewer events.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import redis

import headwater as hw
from benchmarks import bare, store_floors
from benchmarks.accounts import Deposited, Withdrawn
from benchmarks.replay import TOPIC, Balances, expected, fill_sqlite
from benchmarks.rounds import Different, Options, Report, check_equal, options, take_turns
from headwater.log.opening import open_log
from headwater.log.port import TopicPartition
from headwater.messages.tokens import encode_token
from headwater.projections.read_model import read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.stores.opening import open_store
from headwater.testing.postgres import start_postgres
from headwater.testing.redis import start_redis
from headwater.testing.search import SearchServer, start_search

WAIT_S = 300.0
TARGETS = dict.fromkeys(("sqlite_vs_floor", "postgres_vs_floor", "redis_vs_floor", "opensearch_vs_floor"), ("≥", 0.7))


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


def library_tables(log: str, store: str) -> None:
    """Makes what the library keeps in a store."""
    with closing(open_log(log)) as opened, closing(open_store(store)) as empty:
        for model in read_models_of("bench", [Balance]):
            ProjectionRunner(model, opened, empty).close()


def library(log: str, end: str, store: str) -> float:
    """Fills the read model. Arguments: end: the log's, as a token.

    Returns: the seconds from the app's start until a client that waits for the end reads a row.
    """
    started = time.perf_counter()
    app = hw.App("bench", projections=[Balance], partitions=bare.PARTITIONS)
    with app.run(log, only=["projections"], store=store) as shop:
        shop.row(Balance, "000000", after=end, timeout_s=WAIT_S)
        return time.perf_counter() - started


def end_of(url: str) -> str:
    """How far a log has come, as a token."""
    with closing(open_log(url)) as log:
        ends = log.ends([TopicPartition(TOPIC, partition) for partition in range(bare.PARTITIONS)])
        return encode_token({(topic, number): position for (topic, number), position in ends.items()}, log.id)


@dataclass
class Kind:
    """One store. Arguments: empty: an address without rows, a new one each time; tables: makes what `floor` fills by
    hand, which returns the seconds; stored: what is there, from the library or by hand; slow: it is given fewer events.
    """

    name: str
    empty: Callable[[], AbstractContextManager[str]]
    tables: Callable[[str], None]
    floor: Callable[[Path, str], float]
    stored: Callable[[str], Balances]
    slow: bool = False


@dataclass
class Given:
    """A log. Arguments: file; url; count: of its events; end: as a token; right: the rows that come of it."""

    file: Path
    url: str
    count: int
    end: str
    right: Balances


@contextmanager
def sqlite_file() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as made:
        yield f"sqlite:///{made}/store.db"


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def sqlite_stored(url: str) -> Balances:
    with closing(sqlite3.connect(path_of(url))) as file:
        named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('balance', 'balance_v1')"
        [(table,)] = file.execute(named).fetchall()
        return {key: (n, cents) for key, n, cents in file.execute(f"SELECT account_id, events, cents FROM {table}")}


def postgres_stored(url: str) -> Balances:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT account_id, events, cents FROM balance").fetchall()
    return {key: (int(events), int(cents)) for key, events, cents in rows}


@contextmanager
def redis_database(url: str) -> Iterator[str]:
    yield url
    with closing(redis.Redis.from_url(url)) as client:
        client.flushdb()


def redis_stored(url: str) -> Balances:
    with closing(redis.Redis.from_url(url, decode_responses=True)) as client, client.pipeline(False) as pipeline:
        for pattern in ("balance:*", "headwater:balance_v1:*"):
            for key in client.scan_iter(pattern, 10_000):
                pipeline.hmget(key, "account_id", "events", "cents")
        return {key: (int(events), int(cents)) for key, events, cents in pipeline.execute()}


def search_stored(server: SearchServer, url: str) -> Balances:
    alias = f"{url.rpartition('/')[2]}-balance"
    index = alias if server.ask("GET", f"/_alias/{alias}") else f"{url.rpartition('/')[2]}-floor"
    server.ask("POST", f"/{index}/_refresh")
    found: Balances = {}
    after: list[str] | None = None
    while True:
        body = {"size": 10_000, "sort": ["account_id"], **({"search_after": after} if after else {})}
        hits = server.ask("POST", f"/{index}/_search", body)["hits"]["hits"]
        if not hits:
            return found
        found |= {one["account_id"]: (one["events"], one["cents"]) for one in (hit["_source"] for hit in hits)}
        after = hits[-1]["sort"]


def index_of(url: str) -> str:
    return f"http{url.removeprefix('opensearch')}-floor"


def no_tables(url: str) -> None:
    """Redis has none."""


@contextmanager
def kinds() -> Iterator[list[Kind]]:
    """The stores, while their servers run."""
    with ExitStack() as stack:
        postgres, server, search = start_postgres(), start_redis(), start_search("opensearch")
        stack.callback(postgres.delete)
        stack.callback(server.delete)
        stack.callback(search.delete)
        floors = store_floors
        yield [
            Kind(
                "sqlite",
                sqlite_file,
                lambda url: floors.sqlite_tables(path_of(url)),
                lambda log, url: floors.sqlite(log, path_of(url)),
                sqlite_stored,
            ),
            Kind("postgres", postgres.schema, floors.postgres_tables, floors.postgres, postgres_stored),
            Kind("redis", lambda: redis_database(server.url), no_tables, floors.redis_script, redis_stored),
            Kind(
                "opensearch",
                search.prefix,
                lambda url: floors.opensearch_index(index_of(url)),
                lambda log, url: floors.opensearch(log, index_of(url)),
                lambda url: search_stored(search, url),
                slow=True,
            ),
        ]


@dataclass
class Side:
    """One of those compared, with its rates: events per second."""

    name: str
    kind: Kind
    tables: Callable[[str], None]
    fill: Callable[[str], float]
    rates: list[float] = field(default_factory=list)

    def turn(self, given: Given, *, counts: bool) -> None:
        """Fills an empty store. Raises: Different."""
        with self.kind.empty() as store:
            self.tables(store)
            gc.collect()
            rate = given.count / self.fill(store)
            found = self.kind.stored(store)
        if counts:
            self.rates.append(rate)
        right = given.right
        check_equal(f"{self.name}: wrong rows", [key for key in right if found.get(key) != right[key]], [])
        check_equal(f"{self.name}: how many rows", len(found), len(right))


def measure(asked: Options) -> Report:
    """Raises: Different."""
    rounds, count, few = (3, 60_000, 20_000) if asked.quick else (7, 500_000, 100_000)
    report = Report("stores", TARGETS)
    report.figures |= {"events": count, "events_to_the_search_server": few}
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as directory, ThreadPoolExecutor(1) as beside:
        logs = [beside.submit(fill, Path(directory) / f"log-{n}.db", n) for n in (count, few)]  # while servers start
        with kinds() as stores:
            many, fewer = (log.result() for log in logs)
            for kind in stores:
                compare(kind, fewer if kind.slow else many, rounds, report)
    return report


def fill(file: Path, count: int) -> Given:
    """Makes the events."""
    url = f"sqlite:///{file}"
    app = hw.App("bench", projections=[Balance], partitions=bare.PARTITIONS)
    with app.run(url, store="memory://"):
        pass  # makes the topic
    fill_sqlite(url, count)
    return Given(file, url, count, end_of(url), expected(count))


def compare(kind: Kind, given: Given, rounds: int, report: Report) -> None:
    """Measures one store. Raises: Different."""
    sides = [
        Side(
            f"{kind.name}_library",
            kind,
            lambda store: library_tables(given.url, store),
            lambda store: library(given.url, given.end, store),
        ),
        Side(f"{kind.name}_floor", kind, kind.tables, lambda store: kind.floor(given.file, store)),
    ]
    take_turns(rounds + 1, [lambda index, side=side: side.turn(given, counts=index > 0) for side in sides])  # type: ignore[misc] # mypy infers no lambda with a default
    for side in sides:
        report.figure(f"{side.name}_events_per_s", side.rates)
    report.ratio_of_rounds(f"{kind.name}_vs_floor", sides[0].rates, sides[1].rates)


def main() -> int:
    asked = options("stores", "A grouped read model in SQLite, PostgreSQL, Redis and OpenSearch, beside bare loops.")
    try:
        report = measure(asked)
    except Different as error:
        print(f"stores: {error}", file=sys.stderr)
        return 1
    return report.finish(asked)


if __name__ == "__main__":
    sys.exit(main())
