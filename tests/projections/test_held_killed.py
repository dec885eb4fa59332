"""Killed at any step, what is set aside is there with the position or not at all, and once in the dead-letter topic."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from headwater.environment import SYSTEM
from headwater.failures.held import tables_of
from headwater.failures.letters import deadletters_topic, read_letter
from headwater.log.port import Log, TopicPartition
from headwater.messages.json_codec import JsonCodec
from headwater.operations.deadletters import DeadLetters, Selection
from headwater.projections.declare import table_of
from headwater.projections.read_model import read_models_of
from headwater.stores.port import Store
from headwater.testing.waiting import eventually
from tests.projections.fragile import P0, Fragile, folded, write
from tests.projections.test_processes import log as log
from tests.projections.test_processes import maintaining
from tests.projections.test_processes import store as store
from tests.projections.test_processes import url as url
from tests.projections.trade import Placed, make_log

CODEC: JsonCodec[Placed] = JsonCodec([Placed])
[MODEL] = read_models_of("test", [Fragile])
HELD = tables_of(MODEL.runner).held


def refuse_difference(log: Log, store: Store, written: list[tuple[str, str, str]]) -> int:
    """Compares rows and held records with what they are to be at the stored position. Returns how many were read."""
    position = store.positions(MODEL.runner).get(P0, 0)
    reader = log.reader()
    reader.assign({P0: 0})
    count = sum(record.offset < position for record in reader.read(10_000, 1.0).records)
    reader.close()
    rows, held = folded(written[:count])
    assert {row.trade_id: row.totals for row in store.rows(table_of(Fragile))} == rows
    found: dict[str, list[str]] = {}
    for row in store.rows(HELD):
        event = CODEC.decode(row.value)
        assert isinstance(event, Placed)
        found.setdefault(event.trade_id, []).append(str(event.total))
    assert found == held
    return count


def read_all(log: Log, store: Store) -> None:
    """Waits until the model has read everything; `wait_until` would tell that something is held."""
    end = log.ends([P0])[P0]
    eventually(lambda: store.positions(MODEL.runner).get(P0, 0) >= end)
    eventually(lambda: all(row.published for row in store.rows(HELD) if row.failed))


def published(log: Log) -> list[int]:
    """The offsets of the dead letters in the topic."""
    topic = deadletters_topic(MODEL.runner)
    if topic not in log.topics([topic]):
        return []
    reader = log.reader()
    reader.assign({TopicPartition(topic, 0): 0})
    letters = [read_letter(record) for record in reader.read(10_000, 1.0).records]
    reader.close()
    return [letter.offset for letter in letters if letter is not None and letter.offset is not None]


@pytest.mark.parametrize("step", ["loaded", "saved", "committed", "published"])
def test_killed_at_a_step(log: Log, tmp_path: Path, url: str, store: Store, step: str) -> None:
    make_log(1, log)
    written = write(log, 60, every=9)
    with maintaining(tmp_path, url, "Fragile", step, "3") as child:
        assert child.wait(60) == -signal.SIGKILL
    assert refuse_difference(log, store, written) < 60
    with maintaining(tmp_path, url, "Fragile"):
        read_all(log, store)
        assert refuse_difference(log, store, written) == 60
    failed = [row.record_offset for row in store.rows(HELD) if row.failed]
    assert sorted(published(log)) == failed


@pytest.mark.slow
@pytest.mark.parametrize("step", ["loaded", "saved", "committed"])
def test_killed_in_a_retry(
    log: Log, tmp_path: Path, url: str, store: Store, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_log(1, log)
    written = write(log, 60, every=9)
    with maintaining(tmp_path, url, "Fragile"):
        read_all(log, store)
    refuse_difference(log, store, written)
    desk = DeadLetters.of_models(store, [MODEL], SYSTEM)
    letters = desk.letters(Selection())
    asked = [desk.ask(letter, "retry", who="user:ann", reason="") for letter in letters]
    monkeypatch.setenv("MENDED", "1")
    with maintaining(tmp_path, url, "Fragile", step, "1") as child:
        assert child.wait(60) == -signal.SIGKILL
    with maintaining(tmp_path, url, "Fragile"):
        lines = [desk.outcome(letter, id, 60) for letter, id in zip(letters, asked, strict=True)]
    assert [line.step for line in lines] == ["retried"] * len(letters)
    assert store.rows(HELD) == []
    everything: dict[str, list[str]] = {}
    for trade, _, total in written:
        everything.setdefault(trade, []).append(total)
    assert {row.trade_id: row.totals for row in store.rows(table_of(Fragile))} == everything
