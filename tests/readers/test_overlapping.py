"""A batch is worked on while the next one is read, and nothing else happens meanwhile."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

import pytest

from headwater.environment import SYSTEM
from headwater.errors import Failed, Unavailable
from headwater.log.memory import MemoryLog
from headwater.log.port import Aborted, Batch, Fence, NewRecord, Positions, StoredRecord, TopicPartition, TopicSpec
from headwater.readers import garbage
from headwater.readers.loop import ReadingLoop
from headwater.readers.overlapping import FEW, Overlapping
from headwater.testing.waiting import eventually

P0 = TopicPartition("order-events", 0)


class Slow:
    """Works on a batch for as long as it is not let go."""

    def __init__(self) -> None:
        self.go, self.said = threading.Event(), list[str]()
        self.error: Exception | None = None

    @property
    def failures(self) -> Mapping[int, str]:
        return {}

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions:
        self.said.append("assigned")
        return dict.fromkeys(partitions, 0)

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.said.append("revoked")

    def idle(self, fence: Fence) -> None:
        self.said.append("idle")

    def resumed(self) -> Positions:
        return {P0: 0}

    def prepare(self, batch: Batch) -> str:
        self.said.append(f"prepare {batch.reached[P0]}")
        return f"{batch.reached[P0]}"

    def work(self, batch: Batch, prepared: str) -> None:
        assert self.go.wait(60)
        self.said.append(f"work {prepared}")
        if self.error is not None:
            raise self.error

    def worked(self, fence: Fence) -> None:
        self.said.append(f"worked {fence}")


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def overlapping(slow: Slow) -> Iterator[Overlapping[str]]:
    overlapping = Overlapping(slow, "test", "work", SYSTEM)
    yield overlapping
    slow.go.set()
    overlapping.close()


def test_who_works_on_a_batch_is_known_for_as_long_as_that_takes(slow: Slow, overlapping: Overlapping[str]) -> None:
    assert overlapping.worker is None
    overlapping.handle(batch(2000), None)
    eventually(lambda: overlapping.worker is not None, saying="a thread of its own works")
    slow.go.set()
    eventually(lambda: overlapping.worker is None, saying="the work is done")


def batch(position: int, records: int = FEW) -> Batch:
    return Batch([StoredRecord(*P0, i, None, b"", (), 0) for i in range(records)], {P0: position})


def test_the_collector_waits_from_the_handing_over_to_the_end(
    overlapping: Overlapping[str], slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "LONGEST_S", 600.0)
    eventually(gc.isenabled)
    overlapping.handle(batch(1), "first")
    assert not gc.isenabled()
    slow.go.set()
    eventually(gc.isenabled)
    slow.error = Failed("work", "batch 2", "it cannot")
    overlapping.handle(batch(2), "second")
    eventually(gc.isenabled)


def test_who_reads_goes_on_while_a_batch_is_worked_on(overlapping: Overlapping[str], slow: Slow) -> None:
    overlapping.handle(batch(1), "first")  # comes back, though the work has not begun
    assert overlapping.busy
    assert overlapping.resumed() == {}
    slow.go.set()
    eventually(lambda: not overlapping.busy, 60)
    overlapping.handle(batch(2), "second")
    overlapping.idle("third")
    assert slow.said == ["prepare 1", "work 1", "prepare 2", "worked second", "work 2", "idle"]
    assert overlapping.resumed() == {P0: 0}


def test_a_batch_is_prepared_while_the_one_before_is_worked_on(overlapping: Overlapping[str], slow: Slow) -> None:
    overlapping.handle(batch(1), "first")
    coming = threading.Thread(target=overlapping.handle, args=(batch(2), "second"))
    coming.start()
    eventually(lambda: "prepare 2" in slow.said, 60)
    assert slow.said == ["prepare 1", "prepare 2"]
    slow.go.set()
    coming.join(60)
    overlapping.idle("third")
    assert slow.said == ["prepare 1", "prepare 2", "work 1", "worked second", "work 2", "idle"]


def test_a_batch_of_few_records_is_done_before_more_are_read(overlapping: Overlapping[str], slow: Slow) -> None:
    slow.go.set()
    overlapping.handle(batch(1, FEW - 1), "first")
    assert slow.said == ["prepare 1", "work 1", "worked first"]
    assert [done.reached for done in overlapping.settled()] == [{P0: 1}]
    slow.error = Aborted("it stands elsewhere")
    with pytest.raises(Aborted):  # the loop still has it
        overlapping.handle(batch(2, FEW - 1), "second")


@pytest.mark.parametrize("then", ["assigned", "revoked"])
def test_partitions_change_after_the_batch_under_way(overlapping: Overlapping[str], slow: Slow, then: str) -> None:
    overlapping.handle(batch(1), None)
    changing = threading.Thread(target=getattr(overlapping, then), args=([P0],))
    changing.start()
    assert slow.said == ["prepare 1"]
    slow.go.set()
    changing.join(60)
    assert slow.said == ["prepare 1", "work 1", then]


@pytest.mark.parametrize(
    ("raised", "comes"),
    [
        (Failed("view v", "offset 1", "no"), Failed),
        (Aborted("it stands elsewhere"), Unavailable),  # of a batch that the loop has no more
    ],
)
def test_what_fails_is_raised_when_the_loop_comes_back(
    overlapping: Overlapping[str], slow: Slow, raised: Exception, comes: type[Exception]
) -> None:
    slow.error = raised
    slow.go.set()
    overlapping.handle(batch(1), None)
    eventually(lambda: not overlapping.busy)
    with pytest.raises(comes):
        overlapping.handle(batch(2), None)
    overlapping.revoked([P0])
    assert slow.said == ["prepare 1", "work 1", "prepare 2", "revoked"]  # what was read since is dropped


def test_the_status_of_the_loop_is_never_ahead_of_what_is_committed(overlapping: Overlapping[str], slow: Slow) -> None:
    log = MemoryLog()
    log.create_topics([TopicSpec(P0.topic, 1)])
    loop = ReadingLoop(
        log, "readers", [P0.topic], overlapping, name="test", settled=overlapping.settled, environment=SYSTEM
    )
    with closing(loop.join()) as member:
        assert loop.turn(member)  # it is given the partition
        log.append([NewRecord(P0.topic, 0, None, b"") for _ in range(FEW)])
        assert loop.turn(member)
        assert (loop.status.records, loop.status.reached) == (0, {P0: 0})  # it is being worked on
        slow.go.set()
        eventually(lambda: not loop.turn(member) and not overlapping.busy)
        assert (loop.status.records, loop.status.batches) == (FEW, 1)
        assert loop.status.reached == {P0: log.ends([P0])[P0]}
        assert loop.status.busy_s > 0
