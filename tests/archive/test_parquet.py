"""Records come out of a file as they went in, or not at all."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.environment import SYSTEM
from headwater.errors import Unavailable
from headwater.log.archive.archive import Tape
from headwater.log.archive.parquet import FileReader, FileWriter, KeyFilter, footer_sha256
from headwater.log.port import NewRecord, Record, StoredRecord, TopicPartition, TopicSpec
from headwater.log.sqlite import SqliteLog
from headwater.operations.archiving import archive_topic
from tests.archive.trail import TOPIC, archive_at, plain

TP = TopicPartition("trail", 3)
some_bytes = st.none() | st.binary(max_size=20)
headers = st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=5), some_bytes), max_size=4).map(tuple)
contents = st.lists(
    st.tuples(st.integers(1, 5), some_bytes, some_bytes, headers, st.integers(-1, 2**53)), min_size=1, max_size=30
)


def numbered(rows: Sequence[tuple[int, Any, Any, Any, int]]) -> list[Record]:
    """Records with gaps between their offsets."""
    offset, records = -1, list[Record]()
    for gap, key, value, its_headers, time_ms in rows:
        offset += gap
        records.append(StoredRecord(TP.topic, TP.partition, offset, key, value, its_headers, time_ms))
    return records


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=50
)
@given(rows=contents, cut=st.integers(0, 30))
def test_any_record_comes_out_as_it_went_in(tmp_path: Path, rows: Any, cut: int) -> None:
    records = numbered(rows)
    writer = FileWriter(tmp_path / "file.parquet", TP, "id")
    writer.add(records[:cut])
    writer.add(records[cut:])
    content = writer.close()
    assert (content.first, content.last, content.records) == (records[0].offset, records[-1].offset, len(records))
    with pa.OSFile(str(tmp_path / "file.parquet"), "rb") as source:
        reader = FileReader(source, TP, footer_sha256(source))
        assert plain(reader.read(0)) == plain(records)
        for key in {record.key for record in records if record.key is not None}:
            assert KeyFilter.of([record.key for record in records]).may_have(key)
            assert plain(list(reader.keyed(key, [0]))) == plain([one for one in records if one.key == key])


def test_a_damaged_file_is_noticed_or_gives_the_same_records(tmp_path: Path) -> None:
    """Wherever a bit is flipped; what `verify` finds by the hash of the whole file, a reader has to find by itself."""
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    chance = random.Random(seed)
    log, archive = SqliteLog(tmp_path / "log.db"), archive_at(tmp_path / "archive")
    log.create_topics([TopicSpec(TOPIC, 1)])
    log.append(
        [NewRecord(TOPIC, 0, b"%d" % (n % 7), chance.randbytes(n % 40), [("n", b"%d" % n)], n) for n in range(300)]
    )
    list(archive_topic(log, archive, TOPIC, SYSTEM))
    log.close()
    (topic,) = archive.topics()
    original = read_all(Tape(archive, topic, 0, 0, True))
    assert len(original) == 300
    (path,) = (tmp_path / "archive").rglob("*.parquet")
    content = path.read_bytes()
    noticed = 0
    for _ in range(400):
        damaged = bytearray(content)
        at = chance.randrange(len(content))
        damaged[at] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            assert read_all(Tape(archive, topic, 0, 0, True)) == original, f"a bit at {at} of {len(content)}"
        except Unavailable:
            noticed += 1
    assert noticed > 300
    for length in (0, 7, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(Unavailable, match="damaged"):
            read_all(Tape(archive, topic, 0, 0, True))


def read_all(tape: Tape) -> list[Any]:
    found: list[Record] = []
    while not (fetched := tape.fetch(100)).ended:
        found += fetched.records
    tape.close()
    return plain(found)
