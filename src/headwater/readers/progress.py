"""Whether a reader gets on, judged from what its status says at two looks. Pure.

    before, now ──► gets on | has trouble | neither (it is in the middle of something: says nothing yet)

A reader gets on when it has committed a batch since the last look, or has nothing to read and does its rounds. It has
trouble when a round failed, when it does not run, or is at one step for `STALLED_S` seconds. One that has trouble, and
has not got on for as long, is stuck; one that ended is stuck at once. It stays stuck, whatever it tries again
meanwhile, until it has committed a batch or, with nothing to read, has done its rounds for `CALM_S` seconds. One that
turns and turns may still leave a partition where it is: that is seen by the partition's position.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from headwater.log.port import Positions, TopicPartition
from headwater.readers.loop import Status

STALLED_S = 20.0
"""A reader that gets nowhere for longer, though there is work, is an alert. With the time between two looks it is told
within 30 s."""

CALM_S = 10.0
"""Without work not each round asks for what is away, so it is not over with the first that comes to its end."""

FRAMES = 3


class Mark(NamedTuple):
    """A reader at a look. Arguments: well_s: when it got on last; trouble_s: when there was trouble last; None: it has
    got on since; well_failures: how often it had failed by `well_s`."""

    batches: int
    failures: int
    rounds: int
    well_s: float
    well_failures: int = 0
    trouble_s: float | None = None


@dataclass(frozen=True, slots=True)
class Stuck:
    """Why a reader does not get on. Arguments: text; details: what data or users' code said; waits: whether what its
    thread is at says more."""

    text: str
    details: str | None = None
    waits: bool = False


def mark(before: Mark | None, status: Status, done: bool, now_s: float) -> Mark:
    """A reader now, after what it was at the look before. Arguments: done: whether it has nothing to read."""
    if before is None:
        before = Mark(0, 0, 0, min(now_s, status.step_s))
    batches, failures, rounds = status.batches, status.failures, status.rounds
    troubled = failures > before.failures or status.state != "running" or now_s - status.step_s > STALLED_S
    quiet = done and rounds > before.rounds and not troubled
    calm = before.trouble_s is None or now_s - before.trouble_s >= CALM_S
    if batches > before.batches or (quiet and calm):
        return Mark(batches, failures, rounds, min(now_s, status.step_s), failures)
    trouble_s = before.trouble_s
    if troubled or (trouble_s is not None and not quiet):
        trouble_s = now_s
    return Mark(batches, failures, rounds, before.well_s, before.well_failures, trouble_s)


def at_the_end(status: Status, ends: Positions) -> bool:
    """Whether a reader has nothing to read. What it has left, or does not own, is none of its work."""
    mine = [tp for tp in status.owned if tp.partition not in status.stopped]
    reached = status.reached
    return all(tp in ends and reached.get(tp, 0) >= ends[tp] for tp in mine)


def stuck(status: Status, mark: Mark, now_s: float) -> Stuck | None:
    """Why a reader does not get on; None: it does, or not for long enough yet."""
    if not status.alive:
        if status.state == "stopped":
            return None  # it was told to
        return Stuck(f"has ended: {status.failed_at or 'its thread is gone'}", status.last_failure)
    if mark.trouble_s is None or now_s - mark.well_s <= STALLED_S:
        return None
    if status.failures > mark.well_failures and status.failed_at is not None:
        return Stuck(f"has not got on for more than {STALLED_S:g} s: {status.failed_at}", status.last_failure)
    return Stuck(f"{status.step}, for more than {STALLED_S:g} s", waits=True)


class Standing(NamedTuple):
    """A partition in which there is something to read. Arguments: since_s: since when its reader is at `position`."""

    position: int
    since_s: float


def standing(
    before: Mapping[TopicPartition, Standing], positions: Positions, ends: Positions, now_s: float
) -> dict[TopicPartition, Standing]:
    """The partitions whose reader has something to read, and for how long it has not moved."""
    found = {}
    for tp, position in positions.items():
        if position < ends.get(tp, 0):
            known = before.get(tp)
            found[tp] = known if known is not None and known.position == position else Standing(position, now_s)
    return found


def place_of(thread: int) -> str:
    """Where a thread of this process is: its innermost calls."""
    frame = sys._current_frames().get(thread)
    calls: list[str] = []
    while frame is not None and len(calls) < FRAMES:
        code = frame.f_code
        calls.append(f"{code.co_name} ({code.co_filename.rpartition('/')[2]}:{frame.f_lineno})")
        frame = frame.f_back
    return ", called by ".join(calls)
