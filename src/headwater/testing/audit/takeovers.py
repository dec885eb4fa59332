"""Who wrote a partition's events, one owner after the other: `hw_txn` names the owner of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from headwater.testing.audit.events import EventLog, LoggedEvent
from headwater.testing.audit.violations import Invariant, Violation, at_record


def check_owners(events: EventLog, *, partitions_return: bool) -> Iterator[Violation]:
    """OWNERS, the first breach of each partition.

    Arguments: partitions_return: an owner may have got a partition back. Then its events after another owner's are
    wrong only if they were decided (`hw_recorded`) before those: it had not read them.
    """
    for name, found in events.of_partition.items():
        marked = [one for one in found if one.transaction is not None]
        broken = _returned_too_late(marked) if partitions_return else _returned(marked)
        broken = broken or _counted_back(marked)
        if broken is None:
            continue
        event, newer = broken
        sentence = (
            f"transaction {_sequence(event)} of {_owner(event)} wrote to {name} after transaction {_sequence(newer)} "
            f"of {_owner(newer)}, at offset {newer.record.offset}, which is newer"
        )
        yield at_record(Invariant.OWNERS, sentence, event.record, entity=event.entity, id=event.id)


Breach = tuple[LoggedEvent, LoggedEvent]
"""The event that should not be there, and the one before it that tells so."""


def _returned(marked: Sequence[LoggedEvent]) -> Breach | None:
    """An owner that wrote again after another one had."""
    seen: set[str] = set()
    before: LoggedEvent | None = None
    for event in marked:
        owner = _owner(event)
        if before is not None and owner != _owner(before):
            if owner in seen:
                return event, before
            seen.add(_owner(before))
        before = event
    return None


def _returned_too_late(marked: Sequence[LoggedEvent]) -> Breach | None:
    """An owner that wrote after another one what it had decided before that one did. Owners have one clock here."""
    latest: dict[str, tuple[datetime, LoggedEvent]] = {}
    for event in marked:
        owner, recorded = _owner(event), event.recorded
        if recorded is None:
            continue
        for other, (time, newer) in latest.items():
            if other != owner and recorded < time:
                return event, newer
        known = latest.get(owner)
        if known is None or known[0] < recorded:
            latest[owner] = recorded, event
    return None


def _counted_back(marked: Sequence[LoggedEvent]) -> Breach | None:
    """A transaction behind a later one of the same owner."""
    latest: dict[str, LoggedEvent] = {}
    for event in marked:
        newer = latest.get(_owner(event))
        if newer is not None and _sequence(newer) > _sequence(event):
            return event, newer
        latest[_owner(event)] = event
    return None


def _owner(event: LoggedEvent) -> str:
    return event.transaction.owner if event.transaction is not None else ""


def _sequence(event: LoggedEvent) -> int:
    return event.transaction.sequence if event.transaction is not None else 0
