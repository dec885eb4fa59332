"""A part of a log under a prefix keeps the whole contract, and nobody sees into another part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from headwater.log.memory import MemoryLog
from headwater.log.port import Log, NewRecord, TopicPartition, TopicSpec
from headwater.testing import PrefixedLog
from headwater.testing.conformance.log import LogConformance
from headwater.testing.conformance.log.waiting import MakeLog


class TestPrefixedLog(LogConformance):
    session_timeout_s: ClassVar[float] = 0.5

    @pytest.fixture
    def make_log(self) -> Iterator[MakeLog]:
        log = MemoryLog(gaps=True, late=True, session_timeout_s=self.session_timeout_s)
        print("seed", log.seed)
        yield lambda: PrefixedLog(log.again(), "mine-")
        log.close()


def test_parts_do_not_see_each_other() -> None:
    whole = MemoryLog()
    one: Log = PrefixedLog(whole, "one-")
    two: Log = PrefixedLog(whole, "two-")
    for log, value in ((one, b"1"), (two, b"2")):
        log.create_topics([TopicSpec("orders", 1)])
        log.append([NewRecord("orders", 0, b"k", value)])
        log.member("readers", ["orders"], name="reader").read(1, 0)
    assert sorted(whole.topics()) == ["one-orders", "two-orders"]
    assert list(one.topics()) == ["orders"]
    assert [record.value for record in one.keyed(TopicPartition("orders", 0), b"k")] == [b"1"]
    assert [group.name for group in two.groups()] == ["readers"]
    assert one.id != two.id
