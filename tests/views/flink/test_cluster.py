"""The same views kept by Flink on a cluster of its own, from the same topic of Kafka, have the same rows.

Started by `scripts/flink`, which has PyFlink in an environment of its own and says in HEADWATER_FLINK where its Python
and the connector's jar are.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from headwater.log.opening import open_log
from headwater.log.port import Log, TopicPartition, TopicSpec
from headwater.views.flink.script import changes, script
from headwater.views.plan import View
from headwater.views.topics import topics_of
from headwater.views.types import DATE, DOUBLE, TIMESTAMP
from headwater.views.whole import query_of, reads_views_only
from tests.views.feeding import Fed, records_of
from tests.views.flink.shop import LATER, PAYMENTS, PRICES, RATES, START, TOPIC, fill, plans
from tests.views.flink.views import BEST, CLOSED, GROUPS, JOINS, VIEWS

pytestmark = pytest.mark.flink

SEED, EVENTS, SINKS = 7, 600, 2
DEADLINE_S = 600.0
PARTS = {"groups": GROUPS, "joins": JOINS, "best": BEST, "closed": CLOSED}
PROGRAM = Path(__file__).parent / "program.py"


@pytest.fixture(scope="module")
def log(kafka_broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """Has all that views read, and the topics that they write."""
    with closing(open_log(f"{kafka_broker}?index_directory={tmp_path_factory.mktemp('index')}")) as log:
        sources = [TopicSpec(TOPIC, 3), TopicSpec(PAYMENTS, 2), TopicSpec(PRICES, 1), TopicSpec(RATES, 1)]
        log.create_topics([*sources, *(TopicSpec(view.name, SINKS) for view in plans(VIEWS))])
        fill(log, SEED, EVENTS)
        yield log


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", ["groups", "joins", "best", "closed"])
def test_flink_has_the_same_rows(part: str, log: Log, kafka_broker: str, tmp_path: Path) -> None:
    print("seed", SEED)
    everything = plans(VIEWS)
    views = [one for one in everything if f"CREATE TABLE {one.name} " in PARTS[part]]
    want = {name: sorted(map(repr, rows)) for name, rows in rows_here(everything, views, log).items()}
    print({name: len(rows) for name, rows in want.items()})
    assert all(want.values()), "there is nothing to compare"

    program = tmp_path / "views.sql"
    program.write_text(script(everything, [view.name for view in views], kafka_broker.removeprefix("kafka://")))
    python, jar = os.environ["HEADWATER_FLINK"].split(os.pathsep)
    with (
        (tmp_path / "flink.log").open("w") as said,
        closing(Topics(views, log)) as topics,
        subprocess.Popen([python, str(PROGRAM), str(program), jar], stdout=said, stderr=subprocess.STDOUT) as running,
    ):
        try:
            deadline_s = time.monotonic() + DEADLINE_S
            got = topics.rows()
            while got != want and running.poll() is None and time.monotonic() < deadline_s:
                got = topics.rows()
        finally:
            running.terminate()
    for name in want:
        assert got[name] == want[name], (name, (tmp_path / "flink.log").read_text()[-4000:])


def rows_here(everything: list[View], views: list[View], log: Log) -> dict[str, list[tuple[Any, ...]]]:
    """The rows that headwater has. Arguments: everything: the views that there are; views: that are wanted."""
    wanted = {view.name for view in views}
    found, fed = {}, dict[str, Fed]()
    records = [one for topic in (TOPIC, PAYMENTS, PRICES, RATES) for one in records_of(log, topic)]
    for view in everything:
        if not reads_views_only(view):
            fed[view.name] = Fed(view)
            topics = {one.name for one in topics_of(view)}
            fed[view.name].feed([one for one in records if one.topic in topics])
            assert not fed[view.name].dead()
            found[view.name] = shown(view, fed[view.name].rows())
            continue
        (read,) = {one.name for one in view.relations}
        found[view.name] = fed[read].rows(query_of(view))
    for one in fed.values():
        one.close()
    return {name: [tuple(map(plain, row)) for row in rows] for name, rows in found.items() if name in wanted}


def shown(view: View, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those of windows that have closed. A watermark counts milliseconds, so the times of sessions are cut to them."""
    if not view.name.startswith("closed_"):
        return rows
    at = [one.name for one in view.output].index("window_start")
    rows = [row for row in rows if row[at] < START + LATER - timedelta(hours=1)]
    if view.name != "closed_sessions":
        return rows
    return [tuple(to_milliseconds(one) if isinstance(one, datetime) else one for one in row) for row in rows]


def to_milliseconds(time: datetime) -> datetime:
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


class Topics:
    """What stands in the topics of views. Arguments: views; log."""

    def __init__(self, views: list[View], log: Log) -> None:
        self._views, self._reader = views, log.reader()
        self._found: dict[str, dict[Any, bytes | None]] = {view.name: {} for view in views}
        self._reader.assign({TopicPartition(view.name, p): 0 for view in views for p in range(SINKS)})

    def rows(self) -> dict[str, list[str]]:
        """The rows of each view: of those that change the last of each key, of others all."""
        changing = {view.name: changes(view) for view in self._views}
        for one in self._reader.read(10_000, 1.0).records:
            self._found[one.topic][one.key if changing[one.topic] else (one.partition, one.offset)] = one.value
        return {view.name: sorted(map(repr, self._rows_of(view))) for view in self._views}

    def _rows_of(self, view: View) -> Iterator[tuple[Any, ...]]:
        for value in self._found[view.name].values():
            if value is not None:
                row = json.loads(value, parse_float=Decimal)
                yield tuple(plain(read(row[one.name], one.type)) for one in view.output)

    def close(self) -> None:
        self._reader.close()


def read(value: Any, kind: object) -> Any:
    """A value of JSON as what it means."""
    if value is None:
        return None
    if kind == DOUBLE:
        return float(value)
    if kind == TIMESTAMP:
        return datetime.fromisoformat(value)
    if kind == DATE:
        return date.fromisoformat(value)
    return value


def plain(value: Any) -> Any:
    """A value in one form: numbers without their scale, times by what they say, doubles with nine digits."""
    if isinstance(value, float):
        return "0" if value == 0 or math.isnan(value) else f"{value:.9g}"
    if isinstance(value, Decimal | int) and not isinstance(value, bool):
        return f"{Decimal(value).normalize():f}"
    if isinstance(value, datetime):
        return value.timestamp()
    return value
