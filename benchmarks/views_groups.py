"""A view of as many groups as there are events; what a kill costs; merges, memory and restart. Beside `views`.

library, kafka_streams_1, quix   as in `views`, with 1,000,000 orders instead of 50,000
…_after_kill_s                   seconds of a process that goes on after one that was killed (SIGKILL) when it had
                                 read a third: start, restored state, the rest of the events, rows written down.
                                 Kafka Streams with exactly-once, without which its sums would be wrong.
                                 The group waits for the dead member meanwhile: 45 s as Kafka Streams is, 6 s as we are;
                                 so --quick kills the library alone
commit_…, resident, restart      of `views_merging`: 1,000 events of 1,000,000 orders in each commit
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.brokers import one_broker
from benchmarks.kafka_streams import SOURCE, Totals, program, rows_of, streams_totals
from benchmarks.quix_totals import quix_totals
from benchmarks.rounds import Different, Options, Report, check_equal, options, take_turns
from benchmarks.views import ROOT, Run, Side, library, pin, said_by
from benchmarks.views_orders import TOPIC, write_orders
from headwater.log.kafka.connection import cache_directory

TARGETS = {"vs_kafka_streams_1": ("≥", 3.0), "vs_quix": ("≥", 8.0)}
LOOK_S, PATIENCE_S = 0.02, 180.0


def go_on(command: Sequence[str]) -> float:
    """Seconds until a process has ended. Raises: Different: it failed, or takes too long."""
    begun_s = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise Different(f"{command[0]} was killed and does not come to an end again") from error
    if done.returncode:
        raise Different(f"after a kill: {done.stderr[-2000:]}")
    return time.perf_counter() - begun_s


def library_killed(url: str, events: int, directory: Path) -> float:
    given = [sys.executable, "-m", "benchmarks.views_killed", url, "killed", str(directory)]
    killed = subprocess.run([*given, str(events // 3)], cwd=ROOT, capture_output=True, text=True, check=False)
    check_equal(f"the library's process, killed ({killed.stderr[-2000:]}), exit", killed.returncode, -signal.SIGKILL)
    return go_on(given)


def streams_killed(bootstrap: str, events: int, directory: Path, cache: Path) -> float:
    group, admin = "killed-streams", AdminClient({"bootstrap.servers": bootstrap})
    command = program(SOURCE, directory, cache)
    given = [*command, bootstrap, TOPIC, group, str(directory / "state"), "1", "exactly_once_v2"]
    rows = str(directory / "rows.tsv")
    with subprocess.Popen([*given, str(events), rows], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        wait_until("Kafka Streams read a third", lambda: committed(admin, group, stable=False) >= events // 3)
        check_equal("Kafka Streams, before it is killed, exit", first.poll(), None)
        first.kill()
    left = [0]

    def settled() -> bool:
        left[0] = events - committed(admin, group, stable=True)
        return True

    wait_until("what Kafka Streams had not committed was given up", settled)
    return go_on([*given, str(left[0]), rows])


def committed(admin: AdminClient, group: str, *, stable: bool) -> int:
    """How many events a group has committed. Raises: KafkaException: it is not known yet."""
    asked = ConsumerGroupTopicPartitions(group)
    found = admin.list_consumer_group_offsets([asked], require_stable=stable)[group].result()
    return sum(max(0, at.offset) for at in found.topic_partitions)


def wait_until(what: str, true: Callable[[], bool]) -> None:
    """Raises: Different: it does not become true in time."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        try:
            if true():
                return
        except KafkaException as error:  # a group that is not there yet, or whose transaction is open
            print(f"  {what}: not yet ({error})", file=sys.stderr)
        time.sleep(LOOK_S)
    raise Different(f"{what}: not within {PATIENCE_S:g} s")


def measure(asked: Options) -> Report:
    """Raises: Different."""
    pin()
    rounds, events, groups, batches = (1, 60_000, 100_000, 100) if asked.quick else (3, 1_000_000, 1_000_000, 1200)
    cache = cache_directory()
    report = Report("views_groups", TARGETS)
    with one_broker() as broker:
        expected = write_orders(broker.bootstrap, events, events)

        def streams(directory: Path) -> Totals:
            return streams_totals(broker.bootstrap, TOPIC, events, directory, cache, threads=1, exactly_once=False)

        runs: dict[str, Run] = {
            "library": partial(library, broker.url, events),
            "kafka_streams_1": streams,
            "quix": lambda directory: quix_totals(broker.bootstrap, TOPIC, events, directory, cache),
        }
        sides = {name: Side(name, run, events, expected) for name, run in runs.items()}
        take_turns(rounds, [side.turn for side in sides.values()])
        kills: dict[str, Callable[[Path], float]] = {"library": partial(library_killed, broker.url, events)}
        if not asked.quick:
            kills["kafka_streams_1_exactly_once"] = partial(streams_killed, broker.bootstrap, events, cache=cache)
        for name, kill in kills.items():
            report.figure(f"{name}_after_kill_s", [after_kill(name, kill, expected)], 1)
    for side in sides.values():
        report.figure(f"{side.name}_events_per_s", side.rates)
        report.figure(f"{side.name}_cpu_s", side.cpus_s, 1)
    for name, value in said_by("views_merging", str(groups), str(batches)).items():
        report.figure(name, [value], 1)
    for ratio, other in (("vs_kafka_streams_1", "kafka_streams_1"), ("vs_quix", "quix")):
        report.ratio(ratio, sides["library"].rates, sides[other].rates)
    return report


def after_kill(name: str, kill: Callable[[Path], float], expected: dict[str, Decimal]) -> float:
    with tempfile.TemporaryDirectory(prefix="headwater-views-") as directory:
        took_s = kill(Path(directory))
        check_equal(f"{name}'s rows after a kill", rows_of(Path(directory) / "rows.tsv") == expected, True)
    return took_s


def main() -> int:
    asked = options("views_groups", __doc__ or "")
    try:
        return measure(asked).finish(asked)
    except Different as error:
        print(f"views_groups: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
