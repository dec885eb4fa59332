"""Decoding batches of events in Avro, with JSON Schema and in JSON, beside what the libraries underneath take.

    avro           a codec's `decode_many`: framed values in, typed events out
    fastavro       `schemaless_reader` on the same bodies by the same schemas: dictionaries
    json_schema    framed JSON by a codec; json: the same without frames
    msgspec        one decoder for all classes on the same JSON

Two of three events have a nested list and three decimals, the third has two fields. Both sides must find the same. The
ids are those of a directory of schemas. Batches have 1,000 values.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
import msgspec

import headwater as hw
from benchmarks.rounds import Different, Report, check_equal, options, take_turns
from headwater.messages.codec import Codec
from headwater.schemas.codec import Format, SchemaCodec
from headwater.schemas.registries import Registry, open_registry
from headwater.schemas.registries.publishing import published_by, register_all

TARGETS = {"avro_vs_fastavro": ("≤", 1.3), "json_schema_vs_msgspec": ("≤", 1.3), "json_vs_msgspec": ("≤", 1.3)}
TOPIC = "order-events"
FRAME = 5
BATCH = 1_000


class Item(hw.Value):
    sku: str
    item_price: Decimal
    quantity: int = 1


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    customer_id: str
    items: list[Item]
    total: Decimal


class OrderCancelled(OrderEvent):
    reason: str


CLASSES: list[type[OrderEvent]] = [OrderPlaced, OrderCancelled]


def order(number: int) -> OrderEvent:
    if number % 3 == 2:
        return OrderCancelled(f"order-{number}", "the customer changed his mind")
    items = [Item("CD-1", Decimal("11.77")), Item("CD-2", Decimal("4.90"), 2)]
    return OrderPlaced(f"order-{number}", f"customer-{number % 1000}", items, Decimal("21.57"))


class Side:
    """One way of decoding. `us`: microseconds per event, of each round."""

    def __init__(self, name: str, decode: Callable[[Sequence[bytes]], Sequence[Any]], values: Sequence[bytes]) -> None:
        self.name, self._decode = name, decode
        self._batches = [values[start : start + BATCH] for start in range(0, len(values), BATCH)]
        self.us: list[float] = []

    def turn(self, index: int) -> None:
        """A batch is let go before the next, as a reader does: else Python's collector would look through all of them
        in some turns, which takes as long as decoding, and not in others. Raises: Different."""
        took_s, letters = 0.0, ""
        for batch in self._batches:
            begun_s = time.perf_counter()
            found = self._decode(batch)
            took_s += time.perf_counter() - begun_s
            letters += letters_of(found)
        self.us.append(took_s / len(letters) * 1e6)
        check_equal(f"{self.name}, the last letters of all ids", letters, letters_of(None, len(letters)))


def letters_of(events: Sequence[Any] | None, count: int = 0) -> str:
    ids: Iterator[str]
    if events is None:
        ids = (f"order-{number}" for number in range(count))
    else:
        ids = (one["orderId"] if isinstance(one, dict) else one.order_id for one in events)
    return "".join(id[-1] for id in ids)


def by_fastavro(registry: Registry, values: Sequence[bytes]) -> Callable[[Sequence[bytes]], Sequence[Any]]:
    schemas = {
        frame: fastavro.parse_schema(json.loads(registry.schema(int.from_bytes(frame[1:], "big")).text))
        for frame in {value[:FRAME] for value in values}
    }

    def decode(batch: Sequence[bytes]) -> Sequence[Any]:
        found = []
        for value in batch:
            body = io.BytesIO(value)
            body.seek(FRAME)
            found.append(fastavro.schemaless_reader(body, schemas[value[:FRAME]], None))
        return found

    return decode


def codec_of(registry: Registry, format: Format) -> SchemaCodec[OrderEvent]:
    register_all(registry, published_by(f"{format}-{TOPIC}", CLASSES, "avro" if format == "avro" else "json"))
    return SchemaCodec(CLASSES, f"{format}-{TOPIC}", format, registry)


def main() -> int:
    asked = options("schemas", "Events in Avro, with JSON Schema and in JSON, decoded in batches.")
    count, rounds = (20_000, 11) if asked.quick else (50_000, 21)
    events, now = [order(number) for number in range(count)], datetime.now(UTC)
    with tempfile.TemporaryDirectory() as directory:
        registry = open_registry(directory, None)
        codecs: dict[Format, Codec[OrderEvent]] = {
            format: codec_of(registry, format) for format in ("avro", "json-schema", "json")
        }
        written = {format: [codec.encode(event, now) for event in events] for format, codec in codecs.items()}
        floor = msgspec.json.Decoder(OrderPlaced | OrderCancelled).decode
        avro, framed, plain = written["avro"], written["json-schema"], written["json"]
        sides = [
            Side("fastavro", by_fastavro(registry, avro), avro),
            Side("avro", codecs["avro"].decode_many, avro),
            Side("msgspec", lambda values: list(map(floor, values)), plain),
            Side("json_schema", codecs["json-schema"].decode_many, framed),
            Side("json", codecs["json"].decode_many, plain),
        ]
        try:
            take_turns(rounds, [side.turn for side in sides])
        except Different as error:
            print(f"schemas: {error}", file=sys.stderr)
            return 1
    report = Report("schemas", TARGETS)
    report.figures["events"] = count
    for side in sides:
        report.figure(f"{side.name}_us_per_event", side.us, 3)
    us = {side.name: side.us for side in sides}
    report.ratio("avro_vs_fastavro", us["avro"], us["fastavro"])
    report.ratio("json_schema_vs_msgspec", us["json_schema"], us["msgspec"])
    report.ratio("json_vs_msgspec", us["json"], us["msgspec"])
    return report.finish(asked)


if __name__ == "__main__":
    sys.exit(main())
