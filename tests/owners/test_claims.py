"""A checkpoint, and what is told of a transaction, claim no more than is true when something fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from headwater.errors import Unavailable
from headwater.log.kafka.outcome import Outcome, Written
from headwater.log.port import NewRecord, StoredRecord, TopicPartition, Torn
from headwater.owners.checkpoint import Binding, Checkpoint, Marks
from headwater.owners.partition import PartitionMemory
from headwater.owners.rebuilding import Rewriting
from headwater.owners.states import StatesOnDisk

BINDING = Binding("log", "topic", 0, 3, "new")


def opened(path: Path) -> StatesOnDisk:
    return StatesOnDisk(Checkpoint(path / "0-0.db", BINDING), small_bytes=0)


def value(schema: str, offset: int) -> bytes:
    return f'{{"version":1,"events":{offset},"commands":{offset},"schema":"{schema}"}}'.encode()


def test_what_any_failure_of_saving_leaves_is_kept_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = opened(tmp_path)
    states.keep({b"a": value("new", 0)})
    states.kept_before(0, Marks())
    states.keep({b"b": value("new", 1)})
    states.kept_before(1, Marks())

    def no_memory(*given: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Checkpoint, "take", no_memory)
    with pytest.raises(MemoryError):
        states.save()
    monkeypatch.undo()
    states.keep({b"c": value("new", 2)})
    states.kept_before(2, Marks())
    states.save()  # e.g. when the partition is released
    states.close()
    again = opened(tmp_path)
    assert again.position == 2
    assert {key: again.get(key) is not None for key in (b"a", b"b", b"c")} == {b"a": True, b"b": True, b"c": True}
    again.close()


class TearingWriter:
    """A topic; the transaction's records are visible, its positions are not."""

    def __init__(self, log: list[StoredRecord]) -> None:
        self.log = log

    def append(self, records: list[NewRecord]) -> list[int]:
        raise AssertionError

    def write(self, records: list[NewRecord]) -> None:
        for one in records:
            self.log.append(StoredRecord(one.topic, one.partition, len(self.log), one.key, one.value, (), 0))

    def positions(self, *given: object) -> None: ...

    def transact(self, fill: Any, meanwhile: Any = None) -> dict[TopicPartition, int]:
        fill(self)
        raise Torn("only a part of a transaction is visible")

    def close(self) -> None: ...


def test_a_torn_rewriting_is_read_back_before_anything_is_built_on_it(tmp_path: Path) -> None:
    log = [StoredRecord("bank-state", 0, 0, b"a", value("old", 0), (), 0)]
    states = opened(tmp_path)
    states.take(log, 1)
    memory = PartitionMemory(states)
    memory.take_marks()
    memory.rebuilt = {b"a": value("new", 0)}
    try:
        Rewriting("bank", "new", cast(Any, TearingWriter(log))).go_on({0: memory}, cast(Any, None))
    except Unavailable:
        return  # right: the partition is restored
    # The next transaction, of another entity, goes on in the same memory
    first = len(log)
    log.append(StoredRecord("bank-state", 0, first, b"b", value("new", first), (), 0))
    memory.keep({b"b": log[first].value or b""})
    memory.wrote_states(first, (1, 1, 0), "new")
    states.save()
    states.close()
    again = opened(tmp_path)
    held = {record.key: record.value for record in log if record.offset < again.position}
    assert {key: again.get(key or b"") for key in held} == held
    again.close()


class Stands:
    def committed(self, group: str, partitions: object) -> dict[TopicPartition, tuple[int, str]]:
        return {TopicPartition("bank-commands", 0): (5, Written("me-a", 1).mark)}


def test_a_position_that_did_not_move_says_nothing_about_a_commit() -> None:
    """Rewriting sends the position that is committed already. An earlier transaction of the same id put it there
    (p0 rewritten by a, then p1's commands by b, then p0 rewritten by a again); no record of this one ever arrived."""
    written = Written("me-a", 3)
    written.positions("bank-owners", {TopicPartition("bank-commands", 0): 5})
    outcome = Outcome(cast(Any, None), cast(Any, Stands()))
    assert sum(outcome._positions(written)) == 0, "it was aborted, and is taken for committed"
