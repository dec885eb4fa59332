"""A program of Kafka Streams beside us: it reads what owners and streams write, and we read what it writes.

Keys, partitions and JSON agree on both ways, and nothing is read twice: it works exactly once, as we do.
"""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from benchmarks.kafka_streams import run_program

import headwater as hw
from headwater.errors import Unavailable
from headwater.log.opening import open_log
from headwater.log.partitioning import partition_of
from headwater.log.port import TopicSpec
from headwater.testing import PrefixedLog
from headwater.testing.conformance.log.waiting import fresh
from headwater.testing.places import forget_on_kafka
from headwater.testing.waiting import eventually
from tests.conftest import CACHE, absent
from tests.views.feeding import wait_until_visible
from tests.views.orders import TOPIC, Order, PlaceOrder
from tests.views.test_streams import SOLD, all_of

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

PARTITIONS, ORDERS = 3, 12
SOLD_TOPIC, LABELS = "sold-events", "label-events"
TOTALS = (
    "CREATE TABLE labels AS SELECT label, COUNT(*) AS n, SUM(total) AS total, MAX(_time) AS at "
    "FROM label-events GROUP BY label;"
)


class LabelEvent(hw.Event, entity="label"):
    label: hw.Key[str]


class LabelPrinted(LabelEvent):
    order_id: str
    total: Decimal


class Printed(hw.Projection):
    label: hw.Key[str]
    count: int = 0
    total: Decimal = Decimal(0)

    @hw.on(LabelPrinted)
    def printed(self, event: LabelPrinted) -> None:
        self.count += 1
        self.total += event.total


class Total(hw.Value):
    label: str
    n: int
    total: Decimal


def test_both_read_what_the_other_writes(kafka_broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sold.sql").write_text(SOLD)
    (tmp_path / "labels.sql").write_text(TOTALS)
    writing = hw.App("shop", aggregates=[Order], views="sold.sql", partitions=PARTITIONS)
    reading = hw.App("labels", projections=[Printed], views="labels.sql", events=[LabelEvent])
    prefix = fresh("beside") + "-"
    try:
        with closing(open_log(f"{kafka_broker}?index_directory={tmp_path / 'index'}")) as opened:
            log = PrefixedLog(opened, prefix)
            prices = {f"o{i}": [Decimal(f"{i}.10"), Decimal("2.05")] for i in range(1, ORDERS + 1)}
            with writing.run(log) as shop:
                for order, each in prices.items():
                    shop.send(PlaceOrder(order, each))
                eventually(lambda: len(all_of(log, SOLD_TOPIC)) == 2 * ORDERS)
            log.create_topics([TopicSpec(LABELS, PARTITIONS)])
            seen = labels_printed(kafka_broker, prefix, tmp_path)
            written = [*all_of(log, TOPIC), *all_of(log, SOLD_TOPIC)]
            wanted = []
            for one in written:
                event, headers = msgspec.json.decode(one.value or b""), dict(one.headers)
                place, key = str(one.partition), (one.key or b"").decode()
                number = Decimal(event.get("total") or event["price"])
                cause = headers.get("ce_causationid", b"").decode()
                wanted.append((prefix + one.topic, key, place, place, event["eventType"], f"{number:f}", cause))
            assert sorted(seen) == sorted(wanted)

            wait_until_visible(log, LABELS)
            labels = all_of(log, LABELS)
            assert len(labels) == ORDERS
            assert {one.partition == partition_of(one.key or b"", PARTITIONS) for one in labels} == {True}
            totals = {f"ñ-{order}": sum(each, Decimal(0)) for order, each in prices.items()}
            with reading.run(log) as shop:
                eventually(lambda: {row.label: row.total for row in shop.rows(Printed)} == totals)
                assert {row.count for row in shop.rows(Printed)} == {1}
                eventually(lambda: len(shop.query("SELECT label, n, total FROM labels", into=Total)) == ORDERS)
                found = shop.query("SELECT label, n, total FROM labels", into=Total)
                assert {row.label: row.total for row in found} == totals
    finally:
        forget_on_kafka(kafka_broker, prefix)


def labels_printed(kafka_broker: str, prefix: str, directory: Path) -> list[tuple[str, ...]]:
    """Lets the program work. Returns what it says that it saw."""
    topics = [f"{prefix}{name}" for name in (TOPIC, SOLD_TOPIC, LABELS)]
    bootstrap = kafka_broker.removeprefix("kafka://").partition("?")[0]
    arguments = [bootstrap, f"{prefix}printer", str(directory / "state"), *topics]
    try:
        run_program(
            Path(__file__).parent / "streams" / "Labels.java",
            directory,
            CACHE,
            *(*arguments, str(PARTITIONS), str(3 * ORDERS), str(directory / "seen")),
        )
    except Unavailable as error:
        absent(str(error))
    return [tuple(line.split("\t")) for line in (directory / "seen").read_text(encoding="utf-8").splitlines()]
