"""Envelopes of a whole batch at once: as `read_meta` tells them of each record, however odd its headers are."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pyarrow as pa
import pytest

from headwater.failures.parking import Place, Trouble, place_of
from headwater.log.port import StoredRecord
from headwater.messages.envelope import Meta, read_meta
from headwater.messages.unreadable import Unreadable
from headwater.views.metadata import ENVELOPE, Metadata
from tests.views.orders import CODEC, TOPIC

VALUES: Sequence[bytes | None] = (
    b'{"eventType":"OrderCancelled","eventVersion":1,"orderId":"a","reason":"x"}',
    b'{"eventType":"OrderCancelled","eventVersion":1,"orderId":"a","timestamp":"2024-04-10T10:30:00Z"}',
    b'{"eventType":"OrderCancelled","eventVersion":1,"orderId":"a","timestamp":"no time"}',
    b"{bad",
    None,
)
KEYS: Sequence[bytes | None] = (b"a", "größe".encode(), b"", None, b"\xff")
SAID: dict[str, Sequence[bytes]] = {
    "ce_id": (b"0192", b"", b"\xff"),
    "ce_time": (
        b"2024-04-10T10:30:00Z",
        b"2024-04-10T10:30:00.1Z",
        b"2024-04-10T10:30:00.123456Z",
        b"2024-04-10T10:30:00.123456789Z",
        b"2024-04-10T12:30:00+02:00",
        b"2024-02-30T10:30:00Z",
        b"2024-04-10T10:30:00",
        b"2024-04-10",
        b"0000-04-10T10:30:00Z",
        b"2024-04-10T24:30:00Z",
        b"2024-04-10T10:30:60Z",
        b"2024-04-10T10:30:00Z\n",
        b"",
        b"\xff",
    ),
    "hw_recorded": (b"2024-04-10T10:30:01.5Z", b"", b"yesterday"),
    "ce_entityversion": (b"1", b"007", b"999999999999999999", b"-1", b" 7", b"x", b"", b"\xff"),
    "ce_subject": (b"b", b"", b"\xff"),
    "ce_commandid": (b"c", b"", b"\n"),
    "ce_correlationid": (b"d", b""),
    "ce_authid": (b"ann", "jörg".encode()),
    "unheard": (b"1",),
}


def some_records(chance: random.Random, count: int, oddity: float) -> list[StoredRecord]:
    """Arguments: oddity: how often a header is not the first of its kind."""
    found = []
    for offset in range(count):
        headers = []
        for name, values in SAID.items():
            if chance.random() < 0.9:
                headers.append((name, chance.choice(values) if chance.random() < oddity else values[0]))
        if chance.random() < oddity / 4:
            headers.append(chance.choice(headers))
        key = chance.choice(KEYS[:4]) if chance.random() < 0.9 else KEYS[4]
        found.append(StoredRecord(TOPIC, 0, offset, key, chance.choice(VALUES), tuple(headers), 1_700_000_000_000))
    return found


def told(record: StoredRecord) -> Meta | Unreadable:
    silent = all(name != "ce_time" for name, _ in record.headers)
    said = CODEC.payload_time(record.value) if silent else None
    if isinstance(said, Unreadable):
        return said
    return read_meta(TOPIC, 0, record.offset, record.key, record.headers, record.timestamp_ms, said)


def columns_of(names: Sequence[str], records: Sequence[StoredRecord]) -> tuple[dict[str, pa.Array], set[Place]]:
    troubles: dict[Place, Trouble] = {}
    texts = pa.array([None if one.value is None else one.value.decode() for one in records], pa.string())
    columns = Metadata(names, CODEC).columns(range(len(records)), texts, records, troubles)
    return {"v": texts, **columns}, set(troubles)


@pytest.mark.parametrize("oddity", [0.0, 0.02, 0.5])
def test_all_columns_are_as_of_each_record(oddity: float) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    records = some_records(random.Random(seed), 400, oddity)
    columns, troubles = columns_of(list(ENVELOPE), records)
    for i, record in enumerate(records):
        if record.value is None:
            continue
        meta = told(record)
        row = {name: columns[name][i].as_py() for name in ENVELOPE}
        if isinstance(meta, Meta):
            assert row == {name: of(meta) for name, (_, of) in ENVELOPE.items()}, record
            assert columns["v"][i].as_py() is not None
            assert place_of(record) not in troubles
        else:
            assert columns["v"][i].as_py() is None, record
            assert place_of(record) in troubles


@pytest.mark.parametrize("name", list(ENVELOPE))
def test_one_column_is_as_of_each_record_that_can_be_read(name: str) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    records = some_records(random.Random(seed), 300, 0.2)
    columns, troubles = columns_of([name], records)
    for i, record in enumerate(records):
        meta = told(record)
        if isinstance(meta, Meta) and record.value is not None:
            assert columns[name][i].as_py() == ENVELOPE[name][1](meta), record
            assert place_of(record) not in troubles
