"""Whether a reader gets on, judged from what its status says at two looks. Pure.

    before, now ──► gets on | does not | is in the middle of a batch (says nothing yet)

A reader that does not get on for `STALLED_S` seconds, or is at one step for as long, is stuck; one that ended is stuck
at once. One that turns and turns may still leave a partition where it is: that is seen by the partition's position.
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

FRAMES = 3


class Mark(NamedTuple):
    """A reader at a look. Arguments: since_s: since when it does not get on; None: it does."""

    batches: int
    failures: int
    since_s: float | None


@dataclass(frozen=True, slots=True)
class Stuck:
    """Why a reader does not get on. Arguments: text; details: what data or users' code said; at: where its thread is,
    if that says something."""

    text: str
    details: str | None = None
    at: str | None = None


def mark(before: Mark | None, status: Status, now_s: float) -> Mark:
    """A reader now, after what it was at the look before."""
    batches, failures = (0, 0) if before is None else before[:2]
    since_s = now_s if before is None or before.since_s is None else before.since_s
    if status.batches > batches:
        stuck: float | None = None
    elif status.failures > failures or status.state != "running":
        stuck = since_s
    elif status.step == "is at a batch":
        stuck = None if before is None else before.since_s
    else:
        stuck = None
    return Mark(status.batches, status.failures, stuck)


def stuck(status: Status, since_s: float | None, now_s: float) -> Stuck | None:
    """Why a reader does not get on; None: it does, or not for long enough yet."""
    if not status.alive:
        if status.state == "stopped":
            return None  # it was told to
        return Stuck(f"has ended: {status.failed_at or 'its thread is gone'}", status.last_failure)
    if now_s - status.step_s > STALLED_S:
        thread = status.thread
        at = None if thread is None or thread.ident is None else place_of(thread.ident)
        return Stuck(f"{status.step}, for more than {STALLED_S:g} s", at=at)
    if since_s is not None and now_s - since_s > STALLED_S:
        why = status.failed_at or status.step
        return Stuck(f"has not got on for more than {STALLED_S:g} s: {why}", status.last_failure)
    return None


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
