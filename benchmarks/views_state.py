"""The state of a view in a file of DuckDB, in SQLite and in PostgreSQL, side by side.

    python -m benchmarks.views_state [--quick | groups commits single]

The seed's statement over 1,000,000 orders is filled by 50,000 events a commit; then come 400 commits of 1,000 events of
known orders, and 100 of one event (--quick: 20,000, 50 and 50). The three take turns with the same records, so what
else the machine does meets all of them alike. Then each state is opened by a process of its own.
PostgreSQL is a server on this machine that waits for the disk, as the two files do. Decoding is part of a commit here,
reading from a log is not. Printed is a table for docs/decisions/views_state.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import psycopg
from tests.views.feeding import Fed
from tests.views.orders import seed_plan

from benchmarks.views_merging import record, resident_mb
from headwater.log.port import Record
from headwater.testing.postgres import start_postgres

FILL = 50_000
ALL = "SELECT count(*), sum(total) FROM order_summary"


def fed_all(
    each: dict[str, Fed], batches: Sequence[list[Record]], cpu_s: dict[str, float] | None = None
) -> dict[str, list[float]]:
    """Feeds every batch to all of them in turn. Returns how long each took, in seconds.

    Arguments: cpu_s: gets what this process has computed for each, per batch.
    """
    took: dict[str, list[float]] = {name: [] for name in each}
    cpu: dict[str, float] = dict.fromkeys(each, 0.0)
    for number, records in enumerate(batches):
        names = list(each)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            began_s, used_s = time.perf_counter(), time.process_time()
            each[name].feed(records)
            took[name].append(time.perf_counter() - began_s)
            cpu[name] += (time.process_time() - used_s) / len(batches)
    if cpu_s is not None:
        cpu_s.update(cpu)
    return took


def size_mb(place: str) -> float:
    """What is taken of the disk."""
    if place.startswith("postgresql"):
        with psycopg.connect(place.rpartition("#")[0]) as connection:
            relations = ("hw_view_pieces", "hw_view_objects", "hw_view_states")
            sizes = [connection.execute("SELECT pg_total_relation_size(%s)", [one]).fetchone() for one in relations]
        size_bytes: int = sum(one[0] for one in sizes if one is not None)
        return size_bytes / 1e6
    path = Path(place.removeprefix("sqlite:///").partition("#")[0])
    return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*")) / 1e6


def p(took_s: Sequence[float], share: float) -> str:
    return f"{sorted(took_s)[min(len(took_s) - 1, int(len(took_s) * share))] * 1e3:.1f}"


def main(groups: int, commits: int, single: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = start_postgres(None, fsync=True)
        try:
            places = {
                "DuckDB": f"{directory}/views.duckdb",
                "SQLite": f"sqlite:///{directory}/views.db#bench",
                "PostgreSQL": f"{server.url}#bench",
            }
            each = {name: Fed(seed_plan(), place) for name, place in places.items()}
            offset, filling = 0, []
            for first in range(0, groups, FILL):
                many = range(first, min(groups, first + FILL))
                filling.append([record(order, offset + i) for i, order in enumerate(many)])
                offset += len(many)
            filled = fed_all(each, filling)
            known = [
                [record((n * 7919 + i * 104_729) % groups, offset + n * 1000 + i) for i in range(1000)]
                for n in range(commits)
            ]
            cpu_thousand, cpu_one = dict[str, float](), dict[str, float]()
            thousand = fed_all(each, known, cpu_thousand)
            offset += commits * 1000
            one = fed_all(each, [[record(n * 7919 % groups, offset + n)] for n in range(single)], cpu_one)
            answers = {name: fed.rows(ALL) for name, fed in each.items()}
            assert len({str(answer) for answer in answers.values()}) == 1, answers
            for fed in each.values():
                fed.close()
            rows: dict[str, dict[str, str]] = {}
            for name, place in places.items():
                told = subprocess.run(
                    [sys.executable, "-m", "benchmarks.views_state", "open", place],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                again = json.loads(told.stdout)
                assert again["answer"] == str(answers[name]), (again, answers[name])
                rows[name] = {
                    f"filled by {FILL:,}, events/s": f"{groups / sum(filled[name]):,.0f}",
                    "commits of 1,000 events, p50, ms": p(thousand[name], 0.5),
                    "the same, p99, ms": p(thousand[name], 0.99),
                    "the same, longest, ms": p(thousand[name], 1),
                    "the same, events/s": f"{1000 * commits / sum(thousand[name]):,.0f}",
                    "the same, CPU of this process per commit, ms": f"{cpu_thousand[name] * 1e3:.1f}",
                    "commits of one event, p50, ms": f"{median(one[name]) * 1e3:.1f}",
                    "of one event, p99, ms": p(one[name], 0.99),
                    "of one event, CPU of this process, ms": f"{cpu_one[name] * 1e3:.1f}",
                    "on the disk, MB": f"{size_mb(place):.0f}",
                    "opened by another process, s": f"{again['opened_s']:.2f}",
                    "all groups added up, s": f"{again['asked_s']:.2f}",
                    "memory of that process, MB": f"{again['resident_mb']:.0f}",
                }
        finally:
            server.delete()
    print(f"{groups:,} groups, {commits:,} commits of 1,000 events, {single:,} of one\n")
    print(f"| | {' | '.join(rows)} |\n|---|{'---|' * len(rows)}")
    for line in rows["DuckDB"]:
        print(f"| {line} | {' | '.join(rows[name][line] for name in rows)} |")


def opened(place: str) -> None:
    """In a process of its own."""
    before_mb, began_s = resident_mb(), time.perf_counter()
    fed = Fed(seed_plan(), place)
    opened_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    answer = fed.rows(ALL)
    asked_s = time.perf_counter() - began_s
    found = {"opened_s": opened_s, "asked_s": asked_s, "resident_mb": resident_mb() - before_mb, "answer": str(answer)}
    print(json.dumps(found))
    fed.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["open"]:
        opened(sys.argv[2])
    elif sys.argv[1:] == ["--quick"]:
        main(20_000, 50, 50)
    else:
        numbers = [int(one) for one in sys.argv[1:]]
        main(*(numbers + [1_000_000, 400, 100][len(numbers) :]))
