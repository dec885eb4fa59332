"""What waits in front of an owner: seen from the log alone, with the reason where the record itself is one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import NewRecord, TopicPartition, TopicSpec
from headwater.operations.stopped import in_front_of
from headwater.testing import VirtualEnvironment

HEADERS = [("ce_id", b"c-1"), ("ce_type", b"Open")]
AT_WORK = TopicPartition("account-commands", partition_of(b"1", 2))


@pytest.fixture
def clock() -> VirtualEnvironment:
    return VirtualEnvironment()


@pytest.fixture
def log(clock: VirtualEnvironment) -> Iterator[MemoryLog]:
    opened = MemoryLog(environment=clock)
    opened.create_topics([TopicSpec("account-commands", 2, log_time=True)])
    yield opened
    opened.close()


def command(headers: list[tuple[str, bytes]]) -> NewRecord:
    return NewRecord(*AT_WORK, b"1", b"{}", headers)


def test_a_command_that_just_came_is_being_carried_out(log: MemoryLog, clock: VirtualEnvironment) -> None:
    assert in_front_of(log, "account", "1", clock) is None
    log.append([command(HEADERS)])
    clock.advance(timedelta(seconds=2))
    assert in_front_of(log, "account", "1", clock) is None


def test_one_that_waits_for_long_is_named(log: MemoryLog, clock: VirtualEnvironment) -> None:
    log.append([command(HEADERS), command(HEADERS)])
    log.reset("account-owners", {AT_WORK: 1})
    clock.advance(timedelta(seconds=90))
    found = in_front_of(log, "account", "1", clock)
    assert found is not None
    place = f"account-commands, partition {AT_WORK.partition}"
    assert found.text == f"{place} does not go on: its owner has not carried out offset 1 for 90 s"
    log.reset("account-owners", {AT_WORK: 2})
    assert in_front_of(log, "account", "1", clock) is None


def test_a_record_that_nobody_can_carry_out_is_told_at_once(log: MemoryLog, clock: VirtualEnvironment) -> None:
    log.append([command([])])
    found = in_front_of(log, "account", "1", clock)
    assert found is not None
    assert "is stopped: a foreign record in an owned topic" in found.text


def test_an_entity_type_without_topics_keeps_nobody_waiting(log: MemoryLog, clock: VirtualEnvironment) -> None:
    assert in_front_of(log, "order", "1", clock) is None
