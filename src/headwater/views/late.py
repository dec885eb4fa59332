"""Records that came too late for a window, in words and numbers for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from headwater.environment import Telemetry
from headwater.errors import BadData
from headwater.failures.parking import Trouble
from headwater.log.port import Record, TopicPartition
from headwater.views.clock import Clock
from headwater.views.explaining import spoken
from headwater.views.plan import View

LATE = "headwater_late_records"
"""A gauge."""


def told_late(view: View, clock: Clock, record: Record, time: datetime, latest: datetime, windows: int) -> Trouble:
    """Why a record was left out.

    Arguments: clock: by which it was; time: of the record; latest: the latest time that its partition had had by then;
    windows: how many it was left out of.
    """
    window = view.window
    if window is None or window.grace_us is None:
        why = f"the join took records up to {spoken(clock.takes_us)} after their time"
    else:
        many = "the window that it belongs to" if windows == 1 else f"{windows} windows that it belongs to"
        why = f"{many} took records up to {spoken(window.grace_us)} after the end"
    text = f"{time.isoformat()} came after {latest.isoformat()}, and {why}"
    cause = BadData(text, topic=record.topic, partition=record.partition, offset=record.offset)
    return Trouble("late", view.name, "Late", text, cause, late=True)


def tell_late(telemetry: Telemetry, runner: str, counts: Mapping[TopicPartition, int | None]) -> None:
    """Arguments: counts: how many were late in each partition so far; None: it is another's now."""
    for tp, count in counts.items():
        telemetry.gauge(LATE, {"group": runner, "topic": tp.topic, "partition": str(tp.partition)}, count)
