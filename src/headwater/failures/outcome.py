"""How what was asked for a dead letter came out, in a line of the audit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headwater.failures.held import Asked, Audit, HeldRecord
from headwater.failures.parking import Parking, place_of_row


def outcome_of(
    asked: Asked, letter: HeldRecord | None, rows: Sequence[HeldRecord], parking: Parking, now: datetime
) -> Audit:
    """Arguments: letter: as it was before (None: there is none); rows: it and what waited behind it; parking: what of
    these is set aside again."""
    place = asked.topic, asked.partition, asked.record_offset
    if letter is None:
        message = "it is no dead letter, or not any more"
        return Audit(asked.id, now, *place, "nothing to do", asked.who, asked.reason, "", "", message)
    again = parking.rows.get(place_of_row(letter))
    waited = len(rows) - 1
    followed = sum(place_of_row(row) not in parking.rows for row in rows[1:])
    message = f"{followed} of {waited} records behind it were applied" if waited else "nothing waited behind it"
    step = "discarded" if asked.action == "discard" else "retried after an edit" if asked.edited else "retried"
    if again is not None:
        step, message = "failed again", again.message
    said = again or letter
    before = letter.value if asked.edited else None
    return Audit(asked.id, now, *place, step, asked.who, asked.reason, said.handler, said.error, message, before)
