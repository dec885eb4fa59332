"""Windows mean what they mean in Kafka Streams: the same records in the same topics, ten cases, row by row.

One Java process reads all topics (`streams/Windows.java`). What depends on the order of arrival there is told in
docs/views.md; two cases of it are here, to show that it does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from benchmarks.kafka_streams import run_program

from headwater.errors import Unavailable
from headwater.log.opening import open_log
from headwater.log.port import NewRecord
from headwater.testing import PrefixedLog
from headwater.testing.conformance.log.waiting import fresh
from headwater.testing.places import forget_on_kafka
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text
from tests.conftest import CACHE, absent
from tests.views.feeding import Fed, records_of
from tests.views.orders import CODEC, TOPIC, OrderPlaced, make_log

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MS = 1 / 60_000
"""A millisecond in minutes."""

Row = tuple[str, int, int, int]
"""Key, start and end of the window in milliseconds, count."""


@dataclass(frozen=True)
class Case:
    """Arguments: records: key, minutes after noon, and total where it is not 1; size, advance, grace: in minutes, of a
    session the gap and 0; least: a total that is counted."""

    size: int
    advance: int
    grace: int
    records: Sequence[tuple[str, float] | tuple[str, float, int]]
    least: int = 0

    @property
    def window(self) -> str:
        size, advance, grace = (f"INTERVAL {one} MINUTE" for one in (self.size, self.advance, self.grace))
        every = f", {advance}" if self.advance else ""
        return f"{'HOP' if self.advance else 'SESSION'}(_time, {size}{every}, grace => {grace})"

    @property
    def view(self) -> str:
        return (
            "CREATE TABLE v AS SELECT orderId, window_start, window_end, COUNT(*) AS n FROM order-events "
            f"WHERE total >= {self.least} GROUP BY orderId, {self.window}"
        )


CASES = {
    "in order": Case(10, 10, 0, [("a", 1), ("a", 9), ("b", 10), ("a", 25)]),
    "out of order, within the grace": Case(10, 10, 5, [("a", 1), ("a", 12), ("b", 3), ("a", 14.9), ("a", 2)]),
    "at the end of the grace": Case(10, 10, 5, [("a", 15 - MS), ("a", 1), ("a", 15), ("a", 2), ("a", 10)]),
    "another key moves the clock": Case(10, 10, 1, [("a", 1), ("b", 60), ("a", 2), ("c", 3), ("a", 61)]),
    "windows that overlap": Case(10, 4, 0, [("a", 0), ("a", 3), ("b", 7), ("a", 11.5), ("a", 20)]),
    "late for some windows only": Case(20, 10, 5, [("a", 26), ("a", 12), ("b", 12), ("a", 36), ("a", 11)]),
    "sessions that end with their gap": Case(5, 0, 5, [("a", 0), ("a", 5), ("a", 10 + MS), ("b", 3), ("b", 8 + MS)]),
    "a record that joins two sessions": Case(
        5, 0, 30, [("a", 0), ("a", 9), ("b", 4), ("a", 4.5), ("a", 20), ("a", 13)]
    ),
    "a session that comes too late": Case(
        5, 0, 2, [("a", 0), ("b", 30), ("a", 1), ("c", 23), ("d", 23 - MS), ("a", 31)]
    ),
    "what a filter leaves out moves no clock": Case(
        10, 10, 0, [("a", 1), ("a", 90, 0), ("a", 2), ("b", 30), ("a", 3)], least=1
    ),
}  # fmt: skip

BY_ARRIVAL = {
    "an old record is taken since its session is there": Case(3, 0, 0, [("a", 0), ("a", 3), ("a", -2)]),
    "the same one is late since its session is not there yet": Case(3, 0, 0, [("x", 3), ("a", -2), ("a", 0), ("a", 3)]),
}


def told_by_views(log: PrefixedLog, case: Case) -> set[Row]:
    [view] = plan_views([Text(case.view)], catalogue_of([OrderPlaced], []))
    with closing(Fed(view)) as fed:
        for record in records_of(log):  # in batches of one: other ones make no difference, see test_oracle_windows
            fed.feed([record])
        return {(key, ms(start), ms(end), n) for key, start, end, n in fed.rows()}


def ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def write(log: PrefixedLog, case: Case) -> None:
    make_log(1, log)
    records = []
    for key, minutes, *total in case.records:
        value = CODEC.encode(OrderPlaced(key, "ann", [], Decimal((total or [1])[0])))
        at_ms = ms(NOON + timedelta(minutes=minutes))
        records.append(NewRecord(TOPIC, 0, key.encode(), value, (), at_ms))
    log.append(records)


@dataclass(frozen=True)
class Told:
    """What both say of a case."""

    views: set[Row]
    streams: set[Row]


@pytest.fixture(scope="module")
def told(kafka_broker: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    directory, base = tmp_path_factory.mktemp("streams"), fresh("windows")
    views: dict[str, set[Row]] = {}
    specs, topics = [], {}
    every = {**CASES, **BY_ARRIVAL}
    with closing(open_log(kafka_broker)) as log:
        for number, (name, case) in enumerate(every.items()):
            part = PrefixedLog(log, f"{base}-{number}-")
            write(part, case)
            views[name] = told_by_views(part, case)
            topics[f"{base}-{number}-{TOPIC}"] = name
            specs.append(spec(f"{base}-{number}-{TOPIC}", case))
    (directory / "cases").write_text("\n".join(specs))
    source = Path(__file__).parent / "streams" / "Windows.java"
    bootstrap = kafka_broker.removeprefix("kafka://").partition("?")[0]
    arguments = [bootstrap, base, str(directory / "state"), str(directory / "cases"), str(directory / "rows")]
    try:
        run_program(source, directory, CACHE, *arguments)
    except Unavailable as error:
        absent(str(error))
    finally:
        forget_on_kafka(kafka_broker, base)
    streams: dict[str, set[Row]] = {name: set() for name in every}
    for line in (directory / "rows").read_text().splitlines():
        topic, key, start, end, count = line.split("\t")
        case = every[topics[topic]]
        more_ms = 0 if case.advance else case.size * 60_000  # a session of ours ends the gap after its last record
        streams[topics[topic]].add((key, int(start), int(end) + more_ms, int(count)))
    return {name: Told(views[name], streams[name]) for name in every}


def spec(topic: str, case: Case) -> str:
    return json.dumps(
        {
            "topic": topic,
            "kind": "hop" if case.advance else "session",
            "sizeMs": case.size * 60_000,
            "advanceMs": case.advance * 60_000,
            "graceMs": case.grace * 60_000,
            "leastTotal": case.least,
            "records": len(case.records),
        }
    )


@pytest.mark.parametrize("name", CASES)
def test_both_say_the_same(name: str, told: dict[str, Told]) -> None:
    assert told[name].views == told[name].streams
    assert told[name].views, "there is nothing to compare"


def test_where_the_order_of_arrival_decides_there_it_does_not_here(told: dict[str, Told]) -> None:
    counts = {
        name: [sum(n for key, _, _, n in rows if key == "a") for rows in (told[name].streams, told[name].views)]
        for name in BY_ARRIVAL
    }
    assert list(counts.values()) == [[3, 2], [2, 2]]
