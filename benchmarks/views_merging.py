"""A view of many groups: what a commit takes while merges go on, what memory it needs, how long a restart takes.

    python -m benchmarks.views_merging [groups] [batches]

The seed's statement over as many orders as asked for (1,000,000), in a file; then batches (3,000) of 1,000 events of
known orders, each committed with its positions. Printed are the times of commits, with the pieces of merges in them, of
the longest and of those without one; what the process keeps in memory; how long it takes to open the file again, to
find one order and to add all orders up. Decoding is part of a commit here, reading from a log is not. The last line is
JSON.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.views.feeding import Fed
from tests.views.orders import CODEC, TOPIC, OrderPlaced, placed, seed_plan

from headwater.log.port import Record, StoredRecord
from headwater.views.plan import View

FILL = 50_000
ONE = "SELECT total FROM order_summary WHERE orderId = '77777'"
ALL = "SELECT count(*), sum(total) FROM order_summary"


def record(order: int, offset: int) -> Record:
    event: OrderPlaced = placed(str(order), "1.25", "2.50")
    return StoredRecord(TOPIC, 0, offset, str(order).encode(), CODEC.encode(event), (), 0)


def resident_mb() -> float:
    """What the process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def told(name: str, took_s: Sequence[float]) -> tuple[float, float]:
    """Prints what commits took, and returns p50 and p99 in milliseconds."""
    ordered = sorted(took_s)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    print(f"{name}: n={len(ordered)} p50={p50 * 1e3:.1f} ms p99={p99 * 1e3:.1f} ms max={ordered[-1] * 1e3:.1f} ms")
    return p50 * 1e3, p99 * 1e3


def asked(fed: Fed, sql: str) -> float:
    began_s = time.perf_counter()
    fed.rows(sql)
    return time.perf_counter() - began_s


def main(groups: int, batches: int) -> None:
    view: View = seed_plan()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "views.duckdb"
        fed, offset = Fed(view, path), 0
        began_s = time.perf_counter()
        for first in range(0, groups, FILL):
            fed.feed([record(order, offset + i) for i, order in enumerate(range(first, min(groups, first + FILL)))])
            offset += FILL
        print(f"filled {groups:,} groups in {time.perf_counter() - began_s:.1f} s, {resident_mb():.0f} MB resident")
        plain, merging = list[float](), list[float]()
        layout = "SELECT generation, merged FROM hw.parts"
        for batch in range(batches):
            records = [record((batch * 7919 + i * 104_729) % groups, offset + i) for i in range(1_000)]
            offset += 1_000
            with fed.file.aside() as connection:
                before = connection.execute(layout).fetchall()
            began_s = time.perf_counter()
            fed.feed(records)
            took_s = time.perf_counter() - began_s
            with fed.file.aside() as connection:
                after = connection.execute(layout).fetchall()
            (plain if before == after else merging).append(took_s)
        p50_ms, p99_ms = told("commits of 1,000 events", plain + merging)
        told("without a piece of a merge", plain)
        if merging:
            told("with one", merging)
        print(f"one order {asked(fed, ONE) * 1e3:.1f} ms, all {asked(fed, ALL) * 1e3:.0f} ms")
        found = {"commit_p50_ms": p50_ms, "commit_p99_ms": p99_ms, "resident_mb": resident_mb()}
        print(f"{found['resident_mb']:.0f} MB resident, {path.stat().st_size / 1e6:.0f} MB in the file")
        fed.close()
        command = [sys.executable, "-m", "benchmarks.views_merging", "again", str(path)]
        told_again = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    *lines, last = told_again.splitlines()
    print("\n".join(lines))
    print(json.dumps(found | json.loads(last)))


def again(path: str) -> None:
    """In a process of its own."""
    began_s = time.perf_counter()
    fed = Fed(seed_plan(), path)
    opened_s = time.perf_counter() - began_s
    print(f"opened again in {opened_s * 1e3:.0f} ms, {resident_mb():.0f} MB resident")
    one_s, all_s = asked(fed, ONE), asked(fed, ALL)
    print(f"one order {one_s * 1e3:.1f} ms, all {all_s * 1e3:.0f} ms, {resident_mb():.0f} MB resident")
    fed.close()
    print(json.dumps({"restart_ms": opened_s * 1e3, "first_answer_ms": one_s * 1e3}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["again"]:
        again(sys.argv[2])
    else:
        os.environ.setdefault("TZ", "UTC")
        numbers = [int(one) for one in sys.argv[1:]]
        main(*(numbers + [1_000_000, 3_000][len(numbers) :]))
