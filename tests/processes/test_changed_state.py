"""A process whose fields change under one version is refused when it starts: nothing could make its states anew."""

from __future__ import annotations

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.port import TopicPartition
from headwater.testing import eventually


class BoxEvent(hw.Event, entity="box"):
    box_id: hw.Key[str]


class Filled(BoxEvent):
    pass


class BoxCommand(hw.Command, entity="box"):
    box_id: hw.Key[str]


class Fill(BoxCommand):
    pass


class Box(hw.Aggregate[BoxEvent]):
    @hw.decides
    def fill(self, command: Fill) -> Filled:
        return Filled(command.box_id)


class Counting(hw.Process):
    box_id: hw.Key[str]
    seen: int = 0

    @hw.on(Filled)
    def count(self, event: Filled) -> None:
        self.seen += 1


class Renamed(hw.Process, name="Counting"):
    box_id: hw.Key[str]
    times: int = 0

    @hw.on(Filled)
    def count(self, event: Filled) -> None:
        self.times += 1


class Newer(hw.Process, name="Counting", version=2):
    box_id: hw.Key[str]
    times: int = 0

    @hw.on(Filled)
    def count(self, event: Filled) -> None:
        self.times += 1


def with_(process: type[hw.Process]) -> hw.App:
    return hw.App("boxes", aggregates=[Box], processes=[process], partitions=1)


def states(log: MemoryLog, topic: str) -> int:
    partition = TopicPartition(topic, 0)
    return log.ends([partition])[partition] if topic in log.topics() else 0


def test_fields_that_change_without_a_new_version_are_refused_at_start() -> None:
    log = MemoryLog()
    with with_(Counting).run(log, store="memory://") as boxes:
        boxes.send(Fill("b"))
        eventually(lambda: states(log, "counting-state") > 0)
    with (
        pytest.raises(hw.Unavailable, match=r"fields of process Renamed changed.*\(hw\.Process, version=2\)"),
        with_(Renamed).run(log, store="memory://"),
    ):
        pass
    with with_(Newer).run(log, store="memory://"):
        eventually(lambda: states(log, "counting-v2-state") > 0)
