"""What is set aside, told: gauges and alerts per group, topic and partition, and a line in the log for what failed."""

from __future__ import annotations

import logging
from collections.abc import Collection

from headwater.environment import Telemetry, logged
from headwater.errors import counted, without_payload
from headwater.failures.held import HeldRecord, Shelf
from headwater.failures.parking import Pause
from headwater.log.port import TopicPartition
from headwater.readers.loop import FAILURES

logger = logging.getLogger("headwater.failures")

DEAD_LETTERS, HELD_RECORDS, HELD_BYTES = "headwater_dead_letters", "headwater_held_records", "headwater_held_bytes"
"""Gauges."""

PAUSED, WAITING = "headwater_partition_paused", "headwater_dead_letters_waiting"
"""Alerts: a partition is paused; somebody has to look at dead letters."""


def tell(telemetry: Telemetry, group: str, tp: TopicPartition, shelf: Shelf | None, pause: Pause | None) -> None:
    """How a partition is. Arguments: shelf: None: it is owned no longer; pause: None: it is not paused."""
    labels = {"group": group, "topic": tp.topic, "partition": str(tp.partition)}
    known = shelf or Shelf()
    for name, value in ((DEAD_LETTERS, known.failed), (HELD_RECORDS, len(known)), (HELD_BYTES, known.size_bytes)):
        telemetry.gauge(name, labels, None if shelf is None else value)
    if pause is None:
        telemetry.alert(PAUSED, labels, None)
    else:
        cause = str(pause.cause)
        if cause.startswith(f"{tp} is paused"):  # at a limit it says so by itself
            paused = f"{group}: at offset {pause.offset} {cause}"
        else:
            paused = f"{group}: {tp} is paused at offset {pause.offset}: {without_payload(pause.cause)}"
        telemetry.alert(PAUSED, labels, paused, unsaid(paused, cause))
    text = None
    if known.failed:
        behind = counted(len(known) - known.failed, "record")
        text = (
            f"{group}: {tp} has {counted(known.failed, 'dead letter')}, and behind that {behind}: hw deadletters list"
        )
    telemetry.alert(WAITING, labels, text)


def unsaid(text: str, details: str | None) -> str | None:
    """What the details of an alert add to its text: nothing, where it says them already."""
    return None if details is None or details in text else details


def tell_failed(telemetry: Telemetry, group: str, rows: Collection[HeldRecord]) -> None:
    """Counts what became dead letters, and logs one for all of a batch."""
    failed = [row for row in rows if row.failed]
    for row in failed:
        telemetry.count(FAILURES, {"group": group, "stage": row.stage})
    for row in failed[:1]:
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        text = "%s: %s, offset %d is a dead letter%s: %s failed: %s: %s"
        place = {"group": group, "topic": row.topic, "partition": row.partition, "offset": row.record_offset}
        what = {"stage": row.stage, "handler": row.handler, "error": row.error}
        extra = logged("dead_letter", details=row.message, **place, **what, count=len(failed))
        name = row.handler or row.stage
        logger.error(text, group, row.tp, row.record_offset, more, name, row.error, row.message, extra=extra)
