"""The registry in the log: two that register at once, and what somebody else wrote there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headwater.errors import Unavailable
from headwater.log.memory import MemoryLog
from headwater.log.port import NewRecord
from headwater.schemas.registries import Incompatible, open_registry
from headwater.schemas.registries.log_topic import TOPIC, LogRegistry
from tests.schemas.test_compatibility_avro import Field, avro_schema

PLACED = "order-events/Placed.v1"
A: Field = ("a", "long", {})
B: Field = ("b", "long", {"default": 0})
TEXT_B = ("b", "string", {"default": ""})


class Meanwhile:
    """A log on which somebody else does something in the moment before the next record is written."""

    def __init__(self, log: MemoryLog, does: Callable[[], object]) -> None:
        self._log, self._does = log, [does]

    def append(self, records: list[NewRecord]) -> list[int]:
        while self._does:
            self._does.pop()()
        return self._log.append(records)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


def racing(log: MemoryLog, does: Callable[[], object]) -> LogRegistry:
    return LogRegistry(Meanwhile(log, does), "BACKWARD_TRANSITIVE")  # type: ignore[arg-type] # the rest passes through


def test_of_two_that_do_not_fit_the_earlier_one_stays(log: MemoryLog) -> None:
    other = open_registry("log://", log)
    other.register(PLACED, avro_schema(A))
    late = racing(log, lambda: other.register(PLACED, avro_schema(A, TEXT_B)))
    with pytest.raises(Incompatible) as refused:
        late.register(PLACED, avro_schema(A, B))
    assert [(one.path, one.revision) for one in refused.value.breaks] == [("b", 2)]
    for registry in (late, other, open_registry("log://", log)):
        assert [one.schema for one in registry.revisions(PLACED)] == [avro_schema(A), avro_schema(A, TEXT_B)]


def test_of_two_that_fit_both_stay(log: MemoryLog) -> None:
    other = open_registry("log://", log)
    late = racing(log, lambda: other.register(PLACED, avro_schema(A, B)))
    assert late.register(PLACED, avro_schema(A)).revision == 2
    assert [one.revision for one in other.revisions(PLACED)] == [1, 2]


def test_two_that_register_the_same(log: MemoryLog) -> None:
    other = open_registry("log://", log)
    late = racing(log, lambda: other.register(PLACED, avro_schema(A)))
    assert late.register(PLACED, avro_schema(A)) == other.register(PLACED, avro_schema(A))
    assert len(open_registry("log://", log).revisions(PLACED)) == 1


def test_a_reader_hears_of_what_was_registered_since(log: MemoryLog) -> None:
    reader, writer = open_registry("log://", log), open_registry("log://", log)
    assert reader.subjects() == []
    one = writer.register(PLACED, avro_schema(A))
    assert reader.schema(one.id) == avro_schema(A)


def test_what_somebody_else_wrote_there_is_told_with_its_place(log: MemoryLog) -> None:
    open_registry("log://", log).register(PLACED, avro_schema(A))
    log.append([NewRecord(TOPIC, 0, b"x", b"{}")])
    with pytest.raises(Unavailable, match="headwater-schemas/0 has at offset 1"):
        open_registry("log://", log).subjects()
