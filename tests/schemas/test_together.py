"""Batches of JSON are decoded as one text, and come to what each value comes to alone, whatever bytes are beside it."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

import headwater.messages as hw
from headwater.schemas.codec import SchemaCodec
from headwater.schemas.framing import frame
from headwater.schemas.port import Schema
from tests.messages.contract import Counted, CountedUp, Item, OrderCancelled, OrderEvent, OrderPlaced
from tests.schemas.shelf import Shelf

UP = b'{"eventType":"CountedUp","eventVersion":1,"number":7,"by":1}'
OPEN = UP[:-1]
IDS = [
    int.from_bytes(text, "big") for text in (b'{"a"', b"null", b"\nnul", b'"}\n{', b"\0\0\0\x07", b"\0{\0{", b"V\\u0")
]
PIECES = [
    UP,
    UP.replace(b":1}", b":2}"),
    OPEN + b',"more":["\\u0000 \\n"]}',
    b" " + UP.replace(b",", b",\n") + b"\n",
    # what would make sense only with what is before or behind it
    OPEN + b',"more":[',
    OPEN + b',"more":[null,',
    OPEN + b',"more":{"a":',
    OPEN + b',"more":"',
    OPEN + b",",
    b"]}",
    b",null]}",
    b'"}',
    b'"more":1}',
    b"{}]}",
    UP + b"]}",
    # none, two or three values
    b"",
    b" \n",
    b"null",
    b"null null",
    UP + UP,
    UP + b"\n" + UP,
    UP + b"null",
    UP + b"\nnull\n" + UP,
    UP + b"\nnull null\n" + UP,
    b"{}",
    # bytes that are of no JSON
    OPEN + b',"more":"\n"}',
    OPEN + b',"more":"\0"}',
    OPEN + b',"more":"\xff"}',
    b"\0" + UP,
    # another version, or two
    UP.replace(b'on":1', b'on":2'),
    OPEN + b',"eventVersion":2}',
    OPEN + b',"event\\u0056ersion":2}',
    b'{"eventType":"CountedUp","eventVersion":1,}',
]


def said(found: Sequence[object]) -> list[str]:
    return [repr(one) for one in found]


@pytest.fixture
def codec() -> SchemaCodec[Any]:
    """It knows the frames of all `IDS`."""
    shelf = Shelf()
    made: SchemaCodec[Any] = SchemaCodec([Counted], "counter-events", "json-schema", shelf)
    for id in IDS:
        assert shelf.put(Schema("json", f'{{"title":"{id}"}}'), id) == id
        assert made.decode(frame(id) + UP) == CountedUp(7, 1)
    return made


def test_a_batch_comes_to_what_its_values_come_to_alone(codec: SchemaCodec[Any]) -> None:
    seed = random.randrange(10**9)
    print("seed", seed)
    chance = random.Random(seed)
    frames = [frame(id) for id in IDS]
    bodies = [*PIECES, *(UP[:-2] + b'1,"more":"' + one + b'"}' for one in frames), *(one + UP for one in frames)]
    framed = [one + body for one in frames for body in (UP, *bodies)] + [
        one[:size] for one in frames for size in range(5)
    ]
    alone = {one: repr(codec.decode(one)) for one in (*bodies, *framed)}
    for _ in range(3_000):
        kind = framed if chance.random() < 0.6 else bodies if chance.random() < 0.7 else [*framed, *bodies]
        batch = chance.choices(kind, k=chance.randint(1, 3))
        batch += [chance.choice(frames) + UP if kind is framed else UP] * chance.choice((0, 0, 1))
        chance.shuffle(batch)
        assert said(codec.decode_many(batch)) == [alone.get(one) or repr(codec.decode(one)) for one in batch], batch


def test_pieces_that_make_one_object_of_two_values_are_not_taken_for_it(codec: SchemaCodec[Any]) -> None:
    """The batch has as many objects as values, and begins and ends with sound ones."""
    begin = frame(IDS[0])
    pairs = ((b',"more":[', UP + b"]}"), (b',"more":[null,', UP + b"]}"), (b',"more":"', b'"}'))
    for first, second in pairs:
        for between in (b"", b"\n", b"\nnull\n", b"\nnull null\n"):
            bodies = [UP, OPEN + first, second, UP + between + UP, UP]
            for batch in (bodies, [begin + one for one in bodies]):
                found = codec.decode_many(batch)
                assert [isinstance(one, hw.Unreadable) for one in found] == [False, True, True, True, False]


def test_a_frame_of_an_id_that_is_not_known_is_never_taken_for_one_that_is(codec: SchemaCodec[Any]) -> None:
    for unknown in (b"\0{\0{}"[:5], frame(IDS[0] + 1), b"\x01" + frame(IDS[0])[1:]):
        good, other = frame(IDS[0]) + UP, unknown + UP
        found = codec.decode_many([good, other, good])
        assert found[::2] == [CountedUp(7, 1)] * 2
        assert found[1] == codec.decode(other)
        assert isinstance(found[1], hw.Unreadable)


def test_decimals_stay_exact_and_finite_behind_frames() -> None:
    codec: SchemaCodec[Any] = SchemaCodec([OrderEvent], "order-events", "json-schema", Shelf())
    exact = Decimal("0.1000000000000000000000000000000000001")
    events = [OrderPlaced("1", "2", [Item("CD-1", exact)], exact), OrderCancelled("1", "Version 2, a \\u0041 and a V")]
    written = [codec.encode(event) for event in events] * 400
    assert codec.decode_many(written) == codec.decode_many(written) == events * 400
    written[501:501] = [written[0].replace(str(exact).encode(), b"NaN")]
    found = codec.decode_many(written)
    assert [place for place, one in enumerate(found) if isinstance(one, hw.Unreadable)] == [501]


class Small(hw.Event, entity="small"):
    id: hw.Key[str]


class Taken(Small):
    at: int


class TakenBackByTheOneWhoHadLeftItThereInTheFirstPlace(Small):
    at: int


def test_types_with_names_of_very_different_lengths_are_read_in_one_batch() -> None:
    codec: SchemaCodec[Any] = SchemaCodec([Small], "small-events", "json-schema", Shelf())
    events = [Taken("1", 2), TakenBackByTheOneWhoHadLeftItThereInTheFirstPlace("1", 3), Taken("2", 4)] * 200
    written = [codec.encode(event) for event in events]
    for _ in range(2):
        assert codec.decode_many(written) == events


class NoteEvent(hw.Event, entity="note"):
    id: hw.Key[str]


class Noted(NoteEvent):
    note: hw.RawJson


class NoteTaken(NoteEvent):
    text: str


def test_json_that_is_kept_as_it_is_does_not_keep_its_neighbours() -> None:
    notes: SchemaCodec[Any] = SchemaCodec([Noted], "note-events", "json-schema", Shelf())
    mixed: SchemaCodec[Any] = SchemaCodec([NoteTaken, hw.Reverted], "note-events", "json-schema", Shelf())
    raw = hw.RawJson(b'{"a":[1]}')
    for codec, event, long in (
        (notes, Noted("1", raw), Noted("1", hw.RawJson(b'"' + b"x" * 10_000 + b'"'))),
        (mixed, hw.Reverted(raw, 3), NoteTaken("1", "x" * 10_000)),
    ):
        written = [codec.encode(event), *[codec.encode(long)] * 200]
        assert codec.decode_many(written)[0] == event
        tracemalloc.start()
        try:
            kept = codec.decode_many(written)[0]
            assert tracemalloc.get_traced_memory()[0] < 500_000, "of two million bytes"
        finally:
            tracemalloc.stop()
        assert kept == event
