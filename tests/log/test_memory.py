"""The log in memory keeps the contract, kind or as unkind as it can be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from headwater.errors import Misuse
from headwater.log.memory import MemoryLog
from headwater.log.port import NewRecord, TopicPartition, TopicSpec
from headwater.testing.conformance.log import LogConformance
from headwater.testing.conformance.log.waiting import MakeLog, carry_out, make_topic, numbered, writing


class InMemory(LogConformance):
    session_timeout_s: ClassVar[float] = 0.5
    patience_s: ClassVar[float] = 60.0
    compacts_at_once: ClassVar[bool] = True
    unkind: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def make_log(self) -> Iterator[MakeLog]:
        log = MemoryLog(session_timeout_s=self.session_timeout_s, **self.unkind)
        print(f"seed of the log: {log.seed}")
        handles = [log]

        def make() -> MemoryLog:
            handles.append(log.again())
            return handles[-1]

        yield make
        for handle in handles:
            handle.close()


class TestKind(InMemory):
    pass


class TestGaps(InMemory):
    unkind: ClassVar[dict[str, Any]] = {"gaps": True}


class TestUnkind(InMemory):
    unkind: ClassVar[dict[str, Any]] = {"gaps": True, "late": True, "aborts": 0.3}


def test_a_late_transaction_is_seen_in_one_partition_before_the_other() -> None:
    for seed in range(100):
        log = MemoryLog(late=True, seed=seed)
        topic = make_topic(log, 2)
        partitions = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
        carry_out(log.writer("w"), writing(numbered(topic, 0, [1]) + numbered(topic, 1, [2])), 60)
        if set(log.ends(partitions).values()) == {0, 1}:
            return
    raise AssertionError("with 100 seeds both partitions always showed the transaction at the same look")


def test_gaps_make_offsets_that_nobody_can_count() -> None:
    log = MemoryLog(gaps=True, seed=1)
    topic = make_topic(log)
    writer = log.writer("w")
    for number in range(20):
        carry_out(writer, writing(numbered(topic, 0, [number])), 60)
    assert log.ends([TopicPartition(topic, 0)])[TopicPartition(topic, 0)] > 40


def test_a_compacted_topic_needs_keys() -> None:
    log = MemoryLog()
    log.create_topics([TopicSpec("states", 1, compacted=True)])
    with pytest.raises(Misuse, match="needs a key"):
        log.append([NewRecord("states", 0, None, b"v")])
