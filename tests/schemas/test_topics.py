"""A whole app whose events are Avro or JSON Schema: owners, read models, processes, history, on every log."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest

import headwater as hw
from headwater.errors import Misuse
from headwater.log.memory import MemoryLog
from headwater.log.port import NewRecord, Positions, Record, TopicPartition, TopicSpec
from headwater.operations.tailing import as_shown, records_from
from headwater.projections.declare import table_of
from headwater.projections.read_model import read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.schemas.frames import Frames
from headwater.schemas.framing import frame
from headwater.schemas.port import Schema
from headwater.schemas.registries import open_registry
from headwater.schemas.registries.publishing import register_all
from headwater.schemas.topics import Codecs
from headwater.stores.memory import MemoryStore
from headwater.testing import eventually
from tests.logs import OpenAgain
from tests.schemas.shelf import Shelf


class Item(hw.Value):
    sku: str
    price: Decimal


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    items: list[Item]
    due: datetime | None = None


class OrderCancelled(OrderEvent, version=2):
    reason: Literal["late", "broken"] = "late"


@hw.upcasts(OrderCancelled, from_version=1)
def order_cancelled_1(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "reason": "broken" if fields["broken"] else "late"}


class OrderCommand(hw.Command, entity="order"):
    order_id: hw.Key[str]


class PlaceOrder(OrderCommand):
    items: list[Item]


class CancelOrder(OrderCommand):
    pass


class Order(hw.Aggregate[OrderEvent]):
    total: Decimal = Decimal(0)
    cancelled: bool = False

    @hw.decides
    def place(self, command: PlaceOrder) -> OrderPlaced:
        return OrderPlaced(command.order_id, command.items)

    @hw.decides
    def cancel(self, command: CancelOrder) -> OrderCancelled:
        return OrderCancelled(command.order_id)

    @hw.evolves
    def placed(self, event: OrderPlaced) -> None:
        self.total += sum((item.price for item in event.items), Decimal(0))

    @hw.evolves
    def gone(self, event: OrderCancelled) -> None:
        self.cancelled = True


class Sold(hw.Projection):
    sku: hw.Key[str]
    total: Decimal = Decimal(0)
    last: datetime | None = None

    @hw.on(OrderPlaced, keys=lambda event, meta: {item.sku for item in event.items})
    def placed(self, event: OrderPlaced, meta: hw.Meta) -> None:
        self.total += sum((item.price for item in event.items if item.sku == self.sku), Decimal(0))
        self.last = meta.time


class Once(hw.Projection, dedupe=hw.by_id("orderId")):
    order_id: hw.Key[str]
    times: int = 0

    @hw.on(OrderPlaced)
    def placed(self, event: OrderPlaced) -> None:
        self.times += 1


class Spent(hw.Value):
    order_id: str
    total: Decimal


class CancelTwice(hw.Process):
    order_id: hw.Key[str]
    sent: bool = False

    @hw.on(OrderCancelled)
    def again(self, event: OrderCancelled) -> CancelOrder | None:
        if self.sent:
            return None
        self.sent = True
        return CancelOrder(event.order_id)


Format = Literal["json", "json-schema", "avro"]


def shop(schemas: Path, format: Format) -> hw.App:
    """The app, all of its schemas registered."""
    app = hw.App(
        "shop",
        aggregates=[Order],
        projections=[Sold],
        processes=[CancelTwice],
        partitions=2,
        schemas=str(schemas),
        codecs={"order-events": format},
    )
    register_all(open_registry(str(schemas), None), app.published())
    return app


def records(log: Any, topic: str = "order-events") -> list[Record]:
    positions: Positions = log.begins([TopicPartition(topic, p) for p in range(log.topics([topic])[topic].partitions)])
    return list(records_from(log, positions, follow=False))


ITEMS = [Item("CD-1", Decimal("11.77")), Item("CD-2", Decimal("1.00"))]


def test_an_app_writes_and_reads_avro(open_again: OpenAgain, tmp_path: Path) -> None:
    with shop(tmp_path, "avro").run(open_again(), store="memory://") as running:
        receipt = running.send(PlaceOrder("1", ITEMS))
        running.send(CancelOrder("1"))
        order = eventually(lambda: found if (found := running.get(Order, "1")).version == 3 else None)
        assert (order.total, order.cancelled) == (Decimal("12.77"), True)
        row = running.row(Sold, "CD-1", after=receipt)
        assert row is not None
        assert row.total == Decimal("11.77")
        placed, *cancelled = running.history(Order, "1")
        assert placed.event == OrderPlaced("1", ITEMS)
        assert [one.event for one in cancelled] == [OrderCancelled("1")] * 2, "the process answered the first"
        running.append(Order, "1", [OrderPlaced("1", ITEMS)], expected_version=3)
        running.revert(Order, "1", to_version=1, actor="user:ann")
        assert running.get(Order, "1").total == Decimal("12.77")
        assert running.replay(Order)["1"].cancelled is False
    with shop(tmp_path, "avro").run(open_again(), store="memory://") as running:
        assert running.get(Order, "1").version == 5, "its state comes from the log again"
        assert eventually(lambda: (found := running.row(Sold, "CD-1")) and found.total == Decimal("23.54") and found)
    log = open_again()
    first, *_ = written = records(log)
    assert all((one.value or b"")[:1] == b"\0" for one in written)
    assert dict(first.headers)["content-type"] == b"avro/binary"
    assert dict(first.headers)["ce_dataschema"].endswith(b"OrderPlaced.v1.1.avsc")
    shown = as_shown(first, Frames(open_registry(str(tmp_path), None), {}))
    assert json.loads(bytes(shown["value"])) | {"timestamp": None} == {
        "eventType": "OrderPlaced",
        "eventVersion": 1,
        "orderId": "1",
        "items": [{"sku": "CD-1", "price": "11.77"}, {"sku": "CD-2", "price": "1.00"}],
        "due": None,
        "timestamp": None,
    }


@pytest.mark.parametrize("codecs", [None, {"order-events": "json"}])
def test_json_says_where_its_schema_is_and_how_it_is_written(tmp_path: Path, codecs: dict[str, Format] | None) -> None:
    schemas, log = f"{tmp_path}/schemas", MemoryLog()
    app = hw.App("shop", aggregates=[Order], partitions=1, schemas=schemas, codecs=codecs)
    register_all(open_registry(schemas, None), app.published())
    with app.run(log, store="memory://") as running:
        running.send(PlaceOrder("1", ITEMS))
    [one] = records(log)
    assert dict(one.headers)["ce_dataschema"].decode() == f"{schemas}/order-events/OrderPlaced.v1.1.json"
    assert (dict(one.headers)["content-type"], (one.value or b"")[:1]) == (b"application/json", b"{")


def test_one_topic_may_hold_all_formats(tmp_path: Path) -> None:
    """Each app goes on where the one before it stopped, and writes as it is told."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    for version, format in enumerate(("json", "avro", "json-schema", "json"), 1):
        with shop(tmp_path, format).run(url, store="memory://") as running:  # type: ignore[arg-type] # one of these
            receipt = running.send(PlaceOrder("1", ITEMS))
            assert running.get(Order, "1").version == version
            row = running.row(Sold, "CD-2", after=receipt)
            assert row is not None
            assert row.total == version, "the read model is made anew from all of them"
            assert running.replay(Order)["1"].total == version * Decimal("12.77")


def test_a_topic_of_others_is_read_in_every_form(open_again: OpenAgain, tmp_path: Path) -> None:
    log = open_again()
    log.create_topics([TopicSpec("order-events", 1)])
    values = []
    for format in ("json", "json-schema", "avro"):
        codec: Any = shop(tmp_path, format).codecs.of("order-events", [OrderPlaced])
        values.append(codec.encode(OrderPlaced("1", ITEMS), datetime(2024, 4, 10, 10, 30, tzinfo=UTC)))
    framed, by_header = values[2], (values[2][5:], [("__value_schema_id", values[2][:5])])
    log.append([NewRecord("order-events", 0, b"1", value) for value in (*values, framed)])
    log.append([NewRecord("order-events", 0, b"1", *by_header)])
    listening = hw.App("listening", projections=[Sold], schemas=str(tmp_path), codecs={"order-events": "json"})
    with listening.run(open_again(), store="memory://") as running:
        row = eventually(lambda: found if (found := running.row(Sold, "CD-2")) and found.total == 5 else None)
        assert row.last == datetime(2024, 4, 10, 10, 30, tzinfo=UTC), "the payload says when it happened"


def test_copies_are_recognised_by_a_field_of_avro(tmp_path: Path) -> None:
    with closing(MemoryLog()) as log:
        log.create_topics([TopicSpec("order-events", 1)])
        codec: Any = shop(tmp_path, "avro").codecs.of("order-events", [OrderPlaced])
        values = [codec.encode(OrderPlaced(id, ITEMS)) for id in ("1", "1", "2")]
        log.append([NewRecord("order-events", 0, b"x", value) for value in values])
        listening = hw.App("listening", projections=[Once], schemas=str(tmp_path), codecs={"order-events": "avro"})
        with listening.run(log, store="memory://") as running:
            assert eventually(lambda: running.row(Once, "2")).times == 1
            assert running.row(Once, "1") == Once("1", 1)


def test_an_old_version_in_avro_goes_through_its_upcaster(tmp_path: Path) -> None:
    app = shop(tmp_path, "avro")
    codec: Any = app.codecs.of("order-events", [OrderEvent])
    first = {
        "type": "record",
        "name": "OrderCancelled",
        "fields": [
            {"name": "orderId", "type": "string"},
            {"name": "broken", "type": "boolean"},
        ],
    }
    id = (
        open_registry(str(tmp_path), None)
        .register("order-events/OrderCancelled.v1", Schema("avro", json.dumps(first)))
        .id
    )
    assert app.registry is not None
    app.registry.close()  # it has a schema now that another process registered
    old = frame(id) + b"\x02" + b"1" + b"\x01"
    assert codec.decode(old) == OrderCancelled("1", "broken")
    assert codec.decode_many([old, old]) == [OrderCancelled("1", "broken")] * 2


def test_an_app_does_not_start_with_a_schema_that_nobody_registered(tmp_path: Path) -> None:
    app = hw.App("shop", aggregates=[Order], schemas=str(tmp_path), codecs={"order-events": "avro"})
    with pytest.raises(Misuse, match=r"not registered in .*order-events/OrderPlaced\.v1.*hw schema register"):
        app.run("memory://").__enter__()


def test_codecs_are_declared_for_topics_of_the_app() -> None:
    with pytest.raises(Misuse, match="names 'ordr-events', and the app reads and writes order-events"):
        hw.App("shop", aggregates=[Order], schemas="schemas/", codecs={"ordr-events": "avro"})
    with pytest.raises(Misuse, match="the codecs are 'json', 'json-schema', 'avro'"):
        hw.App("shop", aggregates=[Order], schemas="schemas/", codecs={"order-events": "xml"})  # type: ignore[dict-item] # there is none
    with pytest.raises(Misuse, match="needs a place for schemas"):
        hw.App("shop", aggregates=[Order], codecs={"order-events": "avro"})


def test_a_reader_waits_for_a_registry_that_is_down_and_goes_on(tmp_path: Path) -> None:
    shelf = Shelf()
    codecs = Codecs({"order-events": "avro"}, shelf)
    [model] = read_models_of("shop", [Sold], codecs)
    with closing(MemoryLog()) as log:
        log.create_topics([TopicSpec("order-events", 1)])
        codec: Any = codecs.of("order-events", [OrderPlaced])
        log.append([NewRecord("order-events", 0, b"1", codec.encode(OrderPlaced("1", ITEMS)))])
        shelf.down = True
        store = MemoryStore()
        runner = ProjectionRunner(model, log, store)
        loop = runner.loop()
        loop.start()
        try:
            eventually(
                lambda: loop.status.state == "retrying" and "fallen over" in (loop.status.last_failure or ""),
                saying="the reader waits for the registry, and says so",  # between two attempts it runs for a moment
            )
            shelf.down = False
            eventually(lambda: store.row(table_of(Sold), ("CD-1",)) is not None)
        finally:
            loop.stop()
            runner.close()


def test_a_view_reads_avro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "orders.sql").write_text(
        "CREATE TABLE orders AS SELECT orderId, SUM(price) AS total FROM order-events GROUP BY orderId;\n"
    )
    app = hw.App(
        "shop",
        aggregates=[Order],
        views="views/*.sql",
        schemas="schemas",
        codecs={"order-events": "avro"},
        partitions=2,
    )
    register_all(open_registry("schemas", None), app.published())
    with app.run("memory://") as running:
        running.send(PlaceOrder("1", ITEMS))
        receipt = running.send(PlaceOrder("1", ITEMS))
        assert running.query("SELECT * FROM orders", into=Spent, after=receipt) == [Spent("1", Decimal("25.54"))]
