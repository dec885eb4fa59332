"""Bytes that are not of their schema: no reader crashes, and each failure says topic, partition, offset and reason."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

import headwater.messages as hw
from headwater.entities.behaviour import Behaviour
from headwater.entities.folding import Fold
from headwater.errors import BadData
from headwater.projections.read_model import read_models_of
from headwater.schemas.codec import FORMATS, Format, SchemaCodec
from headwater.schemas.derivation import schema_of
from headwater.schemas.framing import frame
from headwater.schemas.port import Schema
from headwater.schemas.topics import Codecs
from tests.schemas import wares
from tests.schemas.shelf import Shelf
from tests.schemas.test_codec import NOW
from tests.schemas.test_topics import Order, OrderEvent, OrderPlaced, Sold
from tests.schemas.wares import WareEvent, WareGone

SEED = 20264
SNIPPETS = (
    b"",
    b"\0",
    b"\xff" * 9,
    b"\x80" * 12,
    b"\x02" * 40,
    b"\xfe\xff\xff\xff\x0f",
    b"{",
    b'"',
    b"\\u0000",
    b"\xc3",
)


def spoiled(content: bytes, chance: random.Random) -> bytes:
    """The bytes with something wrong in them; mostly behind the frame, so that they get as far as a decoder."""
    spoilt = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(0 if chance.random() < 0.1 else 5, len(spoilt) + 1)
        match chance.randrange(4):
            case 0:
                spoilt[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del spoilt[at : at + chance.randrange(1, 9)]
            case 2:
                spoilt[at:at] = chance.choice(SNIPPETS)
            case _:
                spoilt[at:at] = chance.randbytes(chance.randrange(1, 9))
    return bytes(spoilt)


def read_spoilt(seed: int, count: int) -> None:
    """Reads spoilt values of every form, alone and in batches; both give the same."""
    chance, shelf = random.Random(seed), Shelf()
    codecs: dict[Format, SchemaCodec[Any]] = {
        format: SchemaCodec([WareEvent, hw.Reverted], "ware-events", format, shelf) for format in FORMATS
    }
    events = (wares.listed(), WareGone("w1"), hw.Reverted(hw.RawJson(b'{"a":[1]}'), 3))
    sound = [codec.encode(event, NOW) for codec in codecs.values() for event in events]
    for _ in range(count):
        batch = [spoiled(chance.choice(sound), chance) for _ in range(5)]
        for codec in codecs.values():
            alone = [codec.decode(content) for content in batch]
            assert said(codec.decode_many(batch)) == said(alone), (seed, batch)
            for content, found in zip(batch, alone, strict=True):
                assert not isinstance(found, hw.Unreadable) or found.reason, (seed, content)
                codec.payload_time(content)
                codec.as_json(content)


def said(found: Sequence[object]) -> list[str]:
    return [repr(one) if not isinstance(one, hw.Reverted) else str(bytes(one.state)) for one in found]


def test_spoilt_values_are_data_and_no_exceptions() -> None:
    print("seed", SEED)
    read_spoilt(SEED, 60)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_many_spoilt_values(seed: int) -> None:
    read_spoilt(seed, 1_000)


def test_schemas_that_are_none_are_data_as_well() -> None:
    """A registry may hold anything under an id."""
    print("seed", SEED)
    chance, shelf = random.Random(SEED), Shelf()
    codec: SchemaCodec[Any] = SchemaCodec([WareEvent], "ware-events", "avro", shelf)
    body = codec.encode(wares.listed(), NOW)[5:]
    text = schema_of(wares.WareListed, "avro").encode()
    for _ in range(100):
        spoilt = Schema("avro", spoiled(text, chance).decode(errors="replace"))
        found = codec.decode(frame(shelf.put(spoilt)) + body)
        assert isinstance(found, (wares.WareListed, hw.Unreadable)), spoilt


class Stored(NamedTuple):
    """A record of a topic."""

    value: bytes
    offset: int
    topic: str = "order-events"
    partition: int = 3
    key: bytes = b"1"
    headers: tuple[()] = ()
    timestamp_ms: int = 0


def test_every_failure_says_where_it_was_and_why() -> None:
    codecs = Codecs({"order-events": "avro"}, Shelf())
    behaviour: Behaviour[Any] = Behaviour(Order, codecs)
    good = behaviour.events.encode(OrderPlaced("1", []), NOW)
    records = [Stored(good, 7), Stored(good[:-1], 8)]
    told = r"no Avro of its schema.*\(topic order-events, partition 3, offset 8\)"
    with pytest.raises(BadData, match=told):
        behaviour.read(records)
    with pytest.raises(BadData, match=told):
        Fold(behaviour).add(records)
    [model] = read_models_of("shop", [Sold], codecs)
    [(place, trouble)] = model.gather(records).troubles.items()
    assert place == ("order-events", 3, 8)
    assert trouble.stage == "decode"
    assert "no Avro of its schema" in str(trouble.cause)
    assert "offset 8" in str(trouble.cause)


def test_a_schema_of_nothing_but_names_is_followed_no_further() -> None:
    """Named types that stand for each other, many times over: what they would expand to is never written out."""
    shelf = Shelf()
    fields = [{"name": "f0", "type": {"type": "record", "name": "R0", "fields": [{"name": "x", "type": "null"}]}}]
    for level in range(1, 30):
        inner: dict[str, Any] = {"type": "record", "name": f"R{level}", "fields": []}
        inner["fields"] = [{"name": name, "type": f"R{level - 1}"} for name in "ab"]
        fields.append({"name": f"f{level}", "type": inner})
    schema = {"type": "record", "name": "OrderPlaced", "fields": fields}
    codec: SchemaCodec[Any] = SchemaCodec([OrderEvent], "order-events", "avro", shelf)
    found = codec.decode(frame(shelf.put(Schema("avro", json.dumps(schema)))))
    assert isinstance(found, hw.Unreadable)
    assert "over 100,000 parts" in found.reason
