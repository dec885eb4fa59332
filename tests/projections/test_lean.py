"""A projection that asks records for their values only: what is set aside has all parts all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import headwater as hw
from headwater.environment import SYSTEM
from headwater.failures.held import HeldRecord, tables_of
from headwater.log.port import Log, Record, TopicPartition, TopicSpec
from headwater.log.sqlite import SqliteLog, reading
from headwater.log.sqlite.reading import Question
from headwater.log.sqlite.records import SqliteRecord
from headwater.projections.read_model import ReadModel, read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.readers.spans import batches_between
from headwater.stores.memory import MemoryStore
from headwater.testing.conformance.log.waiting import attempts
from tests.projections.fragile import Fragile, folded, write
from tests.projections.trade import TOPIC, OpenTrade, Revenue

COUNT, EVERY = 40, 13


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    monkeypatch.setattr(reading, "_MANY", 10)
    opened = SqliteLog(tmp_path / "log.db")
    opened.create_topics([TopicSpec(TOPIC, 1)])
    yield opened
    opened.close()


def model_of(projection: type[hw.Projection]) -> ReadModel:
    [model] = read_models_of("lean", [projection])
    return model


def test_what_is_set_aside_has_the_key_and_the_headers_that_were_written(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    lean, ask_again = [], reading.Reading._ask_again

    def noted(self: reading.Reading, question: Question) -> list[SqliteRecord]:
        lean.append(question)
        return ask_again(self, question)

    monkeypatch.setattr(reading.Reading, "_ask_again", noted)
    written, store = write(log, COUNT, EVERY), MemoryStore()
    runner = ProjectionRunner(model_of(Fragile), log, store)
    loop = runner.loop()
    member = loop.join()
    for _ in attempts(60, "all is read"):
        loop.turn(member, 0)
        if loop.status.records >= COUNT:
            break
    rows, held = folded(written)
    assert {row.trade_id: row.totals for row in store.rows(runner.model.tables[0])} == rows
    found = store.rows(tables_of(runner.model.runner).held)
    assert len(found) == sum(map(len, held.values()))
    whole = {record.offset: record for record in everything(log)}
    assert [parts(row) for row in found] == [parts(whole[row.record_offset]) for row in found]
    assert lean, "it was read in two parts"
    member.close()
    runner.close()


def everything(log: Log) -> list[Record]:
    start, ends = {TopicPartition(TOPIC, 0): 0}, log.ends([TopicPartition(TOPIC, 0)])
    return [record for batch in batches_between(log, start, ends, "reading", SYSTEM) for record in batch.records]


def parts(one: Record | HeldRecord) -> object:
    return one.key, one.value, list(one.headers), one.timestamp_ms


def test_who_wants_meta_wants_more_than_values() -> None:
    assert not model_of(OpenTrade).wants_envelopes
    assert model_of(Revenue).wants_envelopes
