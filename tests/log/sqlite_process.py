"""Another process on the same SQLite log, for tests that stop or kill it.

python sqlite_process.py append FILE TOPIC WORKER SECONDS    appends until the time is over, then reports
python sqlite_process.py acknowledge FILE TOPIC              prints every number whose commit returned
python sqlite_process.py own FILE SOURCE TARGET GROUP [SESSION_S]
                                                             owns the source and commits on every line of stdin
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from headwater.log.port import Fenced, NewRecord, TopicPartition, Transaction
from headwater.log.sqlite import SqliteLog
from headwater.testing.conformance.log.waiting import writing

PARTITIONS = 4


def append(path: str, topic: str, worker: str, seconds: str) -> None:
    log = SqliteLog(path)
    writer = log.writer(f"worker-{worker}")
    key, deadline = worker.encode(), time.monotonic() + float(seconds)
    times_s: list[float] = []
    number = 0
    while time.monotonic() < deadline:
        records = [NewRecord(topic, (number + n) % PARTITIONS, key, b"%d" % (number + n)) for n in range(3)]
        started = time.monotonic()
        if number % 2:
            log.append(records)
        else:
            writer.transact(writing(records))
        times_s.append(time.monotonic() - started)
        number += 3
    times_s.sort()
    report = {"worker": worker, "records": number, "commits": len(times_s)}
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0)):
        report[name] = round(times_s[min(int(len(times_s) * share), len(times_s) - 1)] * 1000, 2)
    print(json.dumps(report))


def acknowledge(path: str, topic: str) -> None:
    log = SqliteLog(path)
    writer = log.writer("killed")
    number = 0
    while True:
        records = [NewRecord(topic, partition, b"k", b"%d" % number) for partition in range(PARTITIONS)]
        writer.transact(writing(records))
        print(number, flush=True)
        number += 1


def own(path: str, source: str, target: str, group: str, session_timeout_s: str = "1") -> None:
    log = SqliteLog(path, session_timeout_s=float(session_timeout_s))
    member = log.member(group, [source], name="owner")
    writer = log.writer("owner")
    while not member.read(10, 0.05).assigned:
        pass
    print("owns", flush=True)
    for line in sys.stdin:
        fence, position = member.fence(), int(line)

        def fill(transaction: Transaction, fence: object = fence, position: int = position) -> None:
            transaction.write([NewRecord(target, 0, b"k", b"%d" % position)])
            transaction.positions(group, {TopicPartition(source, 0): position}, fence)

        try:
            writer.transact(fill)
        except Fenced:
            print("fenced", flush=True)
        else:
            print("committed", flush=True)


if __name__ == "__main__":
    verbs: dict[str, Callable[..., None]] = {"append": append, "acknowledge": acknowledge, "own": own}
    verbs[sys.argv[1]](*sys.argv[2:])
