"""Joins mean what they mean in Kafka Streams: the same records in the same topics, row by row.

One Java process reads all topics (`streams/Joins.java`). Two topics are joined by their keys, as there. What depends on
the order of arrival there is told in docs/views.md; two cases of it are here, to show that it does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from benchmarks.kafka_streams import run_program

from headwater.errors import Unavailable
from headwater.log.opening import open_log
from headwater.log.port import NewRecord, TopicSpec
from headwater.testing import PrefixedLog
from headwater.testing.conformance.log.waiting import fresh
from headwater.testing.places import forget_on_kafka
from headwater.views.planning import plan_views
from headwater.views.texts import Text
from tests.conftest import CACHE, absent
from tests.views import feeding
from tests.views.feeding import Fed, records_of
from tests.views.shopping import BUYERS, NOON, SALES, BuyerMoved, SaleMade, catalogue, ms

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

LATER = 10_000
"""Minutes after noon at which all that is joined within a time has come to an end, there."""
END = "the end"
"""The key of records that tell it."""

Row = tuple[str, str | None, str | None]
"""Key, and the text of both sides."""
Records = Sequence[tuple[str, float, str | None]]
"""Key, minutes after noon, and a text; None: a tombstone."""

FIELDS = {"sale-events": "buyer", "buyer-events": "region", "home-table": "text", "rate-table": "text"}
DESCRIBED = """
CREATE TABLE homes (name VARCHAR PRIMARY KEY, text VARCHAR) WITH (topic = 'home-table');
CREATE TABLE rates (name VARCHAR PRIMARY KEY, text VARCHAR) WITH (topic = 'rate-table');
"""


@dataclass(frozen=True)
class Case:
    """Arguments: query: of the view; left, right: the records of both topics; before, after, grace: in minutes."""

    query: str
    left: Records
    right: Records
    before: int = 0
    after: int = 0
    grace: int = 0

    @property
    def kind(self) -> str:
        """What Kafka Streams calls it, in short."""
        if "within" in self.query:
            return "streams"
        return "lookup" if "SYSTEM_TIME" in self.query else "tables"

    @property
    def topics(self) -> tuple[str, str]:
        if self.kind == "streams":
            return "sale-events", "buyer-events"
        if self.kind == "lookup":
            return "sale-events", "buyer-events" if "-state" in self.query else "rate-table"
        return ("sale-events", "buyer-events") if "-state" in self.query else ("home-table", "rate-table")

    @property
    def records(self) -> tuple[Records, Records]:
        """Those of both topics; of streams also those that end it."""
        more = [(END, LATER, "")] if self.kind == "streams" else []
        return [*self.left, *more], [*self.right, *more]

    @property
    def how(self) -> str:
        return next((how for how in ("left", "outer") if f"{how.upper()} JOIN" in self.query), "inner")

    @property
    def view(self) -> str:
        before, after, grace = (f"INTERVAL {one} MINUTE" for one in (self.before, self.after, self.grace))
        query = self.query.replace("within", f"WITHIN ({before}, {after}, grace => {grace})")
        return f"{DESCRIBED}CREATE TABLE v AS {query.replace('OUTER JOIN', 'FULL JOIN')}"


STREAMS = (
    "SELECT COALESCE(e.sale, m.name) AS k, e.buyer, m.region FROM sale-events e {}JOIN buyer-events m within "
    "ON e.sale = m.name"
)
STATES = "SELECT COALESCE(s.id, b.id) AS k, s.buyer, b.region FROM sale-state s {}JOIN buyer-state b ON s.id = b.id"
TABLES = "SELECT COALESCE(h.name, r.name) AS k, h.text, r.text AS r FROM homes h {}JOIN rates r ON h.name = r.name"
LOOKUP = (
    "SELECT e.sale, e.buyer, b.region FROM sale-events e {}JOIN buyer-state FOR SYSTEM_TIME AS OF e._time AS b "
    "ON e.sale = b.id"
)
LOOKUP_OF_OTHERS = (
    "SELECT e.sale, e.buyer, r.text FROM sale-events e {}JOIN rates FOR SYSTEM_TIME AS OF e._time AS r "
    "ON e.sale = r.name"
)

NEAR: tuple[Records, Records] = (
    [("a", 1, "a1"), ("b", 2, "b2"), ("a", 5, "a5"), ("c", 6, "c6"), ("a", 9, "a9"), ("d", 30, "d30")],
    [("a", 0, "A0"), ("a", 3, "A3"), ("b", 4 + 1 / 60_000, "B4"), ("a", 7, "A7"), ("a", 7, "A7 too"), ("d", 29, "D29")],
)
CHANGES: tuple[Records, Records] = (
    [("a", 1, "a1"), ("b", 2, "b2"), ("a", 4, "a4"), ("c", 5, "c5"), ("d", 6, "d6"), ("b", 8, None), ("f", 9, "f9"),
     ("f", 10, None), ("f", 12, "f12")],
    [("a", 3, "A3"), ("b", 3, "B3"), ("c", 4, "C4"), ("c", 7, None), ("e", 8, "E8"), ("f", 11, "F11"), ("a", 13, "A13"),
     ("e", 14, None), ("g", 15, "G15")],
)  # fmt: skip
LOOKED_UP: tuple[Records, Records] = (
    [
        ("a", 1, "a1"),
        ("a", 3, "a3"),
        ("b", 4, "b4"),
        ("a", 6, "a6"),
        ("a", 9, "a9"),
        ("b", 10, "b10"),
        ("c", 11, "c11"),
    ],
    [("a", 2, "A2"), ("b", 5, "B5"), ("a", 5.5, "A5"), ("a", 7, "A7"), ("c", 12, "C12")],
)


def with_tombstones() -> tuple[Records, Records]:
    left, right = LOOKED_UP
    return left, [*right[:3], ("a", 7, None), ("b", 9.5, "B9"), ("b", 9.7, None), ("c", 12, "C12")]


def without_tombstones() -> tuple[Records, Records]:
    left, right = CHANGES
    return [one for one in left if one[2]], [one for one in right if one[2]]


CASES = {
    "streams, inner": Case(STREAMS.format(""), *NEAR, before=2, after=2, grace=1),
    "streams, only what comes after": Case(STREAMS.format(""), *NEAR, after=2, grace=1),
    "streams, out of order, within the grace": Case(
        STREAMS.format(""),
        [("a", 5, "a5"), ("a", 2, "a2"), ("b", 6, "b6"), ("a", 4, "a4")],
        [("a", 6, "A6"), ("a", 1, "A1"), ("b", 3, "B3"), ("a", 3, "A3")],
        before=2,
        after=1,
        grace=5,
    ),
    "streams, left": Case(STREAMS.format("LEFT "), *NEAR, before=2, after=2, grace=1),
    "streams, outer": Case(STREAMS.format("OUTER "), *NEAR, before=1, after=3, grace=1),
    "states by id, inner": Case(STATES.format(""), *without_tombstones()),
    "tables, inner": Case(TABLES.format(""), *CHANGES),
    "tables, left": Case(TABLES.format("LEFT "), *CHANGES),
    "tables, outer": Case(TABLES.format("OUTER "), *CHANGES),
    "a stream and a state, inner": Case(LOOKUP.format(""), *LOOKED_UP),
    "a stream and a state, left": Case(LOOKUP.format("LEFT "), *LOOKED_UP),
    "a stream and a table, inner": Case(LOOKUP_OF_OTHERS.format(""), *with_tombstones()),
    "a stream and a table, left": Case(LOOKUP_OF_OTHERS.format("LEFT "), *with_tombstones()),
}

BY_ARRIVAL = {
    "a table's change that comes late": Case(
        LOOKUP_OF_OTHERS.format(""), [("a", 6, "a6")], [("a", 5, "of 5"), ("a", 2, "of 2, but later")]
    ),
    "a partner that comes late": Case(
        STREAMS.format("LEFT "), [("a", 2, "a2")], [("b", 7, "B7"), ("a", 4, "A4")], before=1, after=3, grace=1
    ),
}


def write(log: PrefixedLog, case: Case) -> None:
    log.create_topics([TopicSpec(topic, 1) for topic in case.topics])
    for topic, records in zip(case.topics, case.records, strict=True):
        log.append([
            NewRecord(topic, 0, key.encode(), value_of(topic, key, text), (), ms(NOON + timedelta(minutes=minutes)))
            for key, minutes, text in records
        ])  # fmt: skip


def value_of(topic: str, key: str, text: str | None) -> bytes | None:
    if text is None:
        return None
    if topic == "sale-events":
        return SALES.encode(SaleMade(key, text, Decimal(1), []))
    if topic == "buyer-events":
        return BUYERS.encode(BuyerMoved(key, text))
    return json.dumps({"name": key, "text": text}).encode()


def told_by_views(log: PrefixedLog, case: Case) -> Counter[Row]:
    view = plan_views([Text(case.view)], catalogue())[-1]
    with closing(Fed(view)) as fed:
        for topic in case.topics:  # other batches and orders make no difference, see test_joins
            fed.feed(records_of(log, topic))
        return Counter(row for row in fed.rows() if row[0] != END)


@dataclass(frozen=True)
class Told:
    """What both say of a case."""

    views: Counter[Row]
    streams: Counter[Row]


@pytest.fixture(scope="module")
def told(kafka_broker: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    directory, base = tmp_path_factory.mktemp("streams"), fresh("joins")
    views: dict[str, Counter[Row]] = {}
    specs = []
    with closing(open_log(kafka_broker)) as log, pytest.MonkeyPatch.context() as patch:
        patch.setattr(feeding, "PARTITIONS", dict.fromkeys(FIELDS, 1))
        for number, (name, case) in enumerate({**CASES, **BY_ARRIVAL}.items()):
            prefix = f"{base}-{number}-"
            part = PrefixedLog(log, prefix)
            write(part, case)
            views[name] = told_by_views(part, case)
            specs.append(spec(name, prefix, case))
    (directory / "cases").write_text("\n".join(specs))
    source = Path(__file__).parent / "streams" / "Joins.java"
    bootstrap = kafka_broker.removeprefix("kafka://").partition("?")[0]
    arguments = [bootstrap, base, str(directory / "state"), str(directory / "cases"), str(directory / "rows")]
    try:
        run_program(source, directory, CACHE, *arguments)
    except Unavailable as error:
        absent(str(error))
    finally:
        forget_on_kafka(kafka_broker, base)
    streams = {name: Counter[Row]() for name in views}
    for line in (directory / "rows").read_text().splitlines():
        name, key, left, right = json.loads(line)
        if key != END:
            streams[name][key, left, right] += 1
    return {name: Told(views[name], streams[name]) for name in views}


def spec(name: str, prefix: str, case: Case) -> str:
    left, right = ({"topic": f"{prefix}{topic}", "field": FIELDS[topic]} for topic in case.topics)
    within = {"beforeMs": case.before * 60_000, "afterMs": case.after * 60_000, "graceMs": case.grace * 60_000}
    records = sum(map(len, case.records))
    about = {"name": name, "kind": case.kind, "how": case.how, "left": left, "right": right, "records": records}
    return json.dumps(about | within)


@pytest.mark.parametrize("name", CASES)
def test_both_join_the_same(name: str, told: dict[str, Told]) -> None:
    assert told[name].views == told[name].streams
    assert told[name].views, "there is nothing to compare"


def test_a_table_is_as_it_came_there_and_as_its_times_say_here(told: dict[str, Told]) -> None:
    both = told["a table's change that comes late"]
    assert both.streams == Counter([("a", "a6", "of 2, but later")])
    assert both.views == Counter([("a", "a6", "of 5")])


def test_a_partner_that_comes_late_is_joined_beside_none_there_and_not_joined_here(told: dict[str, Told]) -> None:
    both = told["a partner that comes late"]
    assert both.streams == Counter([("a", "a2", None), ("a", "a2", "A4")])
    assert both.views == Counter([("a", "a2", None)])
