"""A view of grouped totals from Kafka, beside Kafka Streams and Quix Streams doing the same.

    library          `hw.App(views=...)`: rows and positions in one DuckDB file, one transaction a batch
    kafka_streams_1  one thread, at least once: RocksDB, and a changelog topic
    kafka_streams_2  two threads
    kafka_streams_1_exactly_once
    quix             Quix Streams, at least once: RocksDB, and a changelog topic

All read the same topic of four partitions, from its beginning, one after the other, each in a process of its own on the
same two cores, on which the broker runs, too. Time counts from the first record (the library: from when it has its
partitions) until all are in the state and committed. The rows of all are compared.

    windowed         the library alone: a count by customer and hour of the events' times, from the same topic
    joined           the library alone: a count by the country of the customer, whose state is joined
    latency          at 1,000 events/s, from the append of an event to the answer of a question that has its row

As many orders as events, what a kill costs, merges, memory and a restart: `views_groups`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.brokers import one_broker
from benchmarks.kafka_streams import Totals, rows_of, streams_totals
from benchmarks.quix_totals import quix_totals
from benchmarks.rounds import Different, Options, Report, check_equal, options, take_turns
from benchmarks.views_orders import TOPIC, write_customers, write_orders
from headwater.log.kafka.connection import cache_directory

TARGETS = {"vs_kafka_streams_1": ("≥", 3.0), "vs_kafka_streams_2": ("≥", 2.0), "vs_quix": ("≥", 8.0)}
ROOT = Path(__file__).resolve().parents[1]
CORES = 2

Run = Callable[[Path], Totals]
"""Reads all events with an empty directory for its state."""


def pin() -> None:
    """Keeps this process, and all that it starts from now on, on the first cores that it may use."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def said_by(program: str, *arguments: str) -> Any:
    """What a program of the library's side prints at its end. Raises: Different: it failed."""
    command = [sys.executable, "-m", f"benchmarks.{program}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Different(f"the library's process ended: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def library(url: str, events: int, directory: Path, view: str = "order_summary") -> Totals:
    said = said_by("views_side", url, f"v{directory.name}", str(events), str(directory), view)
    return Totals(said["seconds"], said["cpu_s"], rows_of(directory / "rows.tsv"))


@dataclass
class Side:
    """Arguments: name; run; events: how many there are; expected: the rows."""

    name: str
    run: Run
    events: int
    expected: dict[str, Decimal]
    rates: list[float] = field(default_factory=list)
    cpus_s: list[float] = field(default_factory=list)

    def turn(self, index: int) -> None:
        with tempfile.TemporaryDirectory(prefix="headwater-views-") as directory:
            totals = self.run(Path(directory))
        check_equal(f"{self.name}'s rows", totals.rows == self.expected, True)
        self.rates.append(self.events / totals.seconds)
        self.cpus_s.append(totals.cpu_s)


def measure(asked: Options) -> Report:
    """Raises: Different."""
    pin()
    rounds, events, orders = (1, 60_000, 5_000) if asked.quick else (5, 1_000_000, 50_000)
    cache = cache_directory()
    with one_broker() as broker:
        write_customers(broker.bootstrap)
        expected = write_orders(broker.bootstrap, events, orders)

        def streams(directory: Path, threads: int, exactly_once: bool) -> Totals:
            places = broker.bootstrap, TOPIC, events, directory, cache
            return streams_totals(*places, threads=threads, exactly_once=exactly_once)

        runs: dict[str, Run] = {
            "library": partial(library, broker.url, events),
            "kafka_streams_1": partial(streams, threads=1, exactly_once=False),
            "kafka_streams_2": partial(streams, threads=2, exactly_once=False),
            "kafka_streams_1_exactly_once": partial(streams, threads=1, exactly_once=True),
            "quix": lambda directory: quix_totals(broker.bootstrap, TOPIC, events, directory, cache),
        }
        sides = {name: Side(name, run, events, expected) for name, run in runs.items()}
        for name, view in (("windowed", "orders_by_hour"), ("joined", "orders_by_country")):
            run = partial(library, broker.url, events, view=view)
            sides[name] = Side(name, run, events, {"all": Decimal(events)})
        take_turns(rounds, [side.turn for side in sides.values()])
        with tempfile.TemporaryDirectory(prefix="headwater-views-") as directory:
            given = (broker.url, broker.bootstrap, "latency", str(5 if asked.quick else 30), directory)
            latencies_ms = sorted(said_by("views_latency", *given))
    report = Report("views", TARGETS)
    for side in sides.values():
        report.figure(f"{side.name}_events_per_s", side.rates)
        report.figure(f"{side.name}_cpu_s", side.cpus_s, 1)
    report.figure("latency_p50_ms", [latencies_ms[len(latencies_ms) // 2]], 1)
    report.figure("latency_p99_ms", [latencies_ms[len(latencies_ms) * 99 // 100]], 1)
    rates = sides["library"].rates
    for ratio, other in (("vs_kafka_streams_1", "kafka_streams_1"), ("vs_kafka_streams_2", "kafka_streams_2")):
        report.ratio(ratio, rates, sides[other].rates)
    report.ratio("vs_quix", rates, sides["quix"].rates)
    return report


def main() -> int:
    asked = options("views", __doc__ or "")
    try:
        return measure(asked).finish(asked)
    except Different as error:
        print(f"views: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
