"""The events of each entity by themselves: their versions, their partition, their ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headwater.log.partitioning import partition_of
from headwater.testing.audit.events import EventLog, LoggedEvent
from headwater.testing.audit.violations import Invariant, Violation, at_record


def check_versions(events: EventLog) -> Iterator[Violation]:
    """VERSIONS and HOME: the first breach of each entity."""
    for (entity, id), history in events.of_entity.items():
        strays = [one for one in history if one.commit is not None and not _at_home(one, events)]
        if strays:
            yield at_record(
                Invariant.HOME,
                f"an event of {entity} {id!r} stands in a partition that is not its key's",
                strays[0].record,
                entity=entity,
                id=id,
            )
        elif broken := _first_broken(history):
            before = history[broken.number - 2].version if broken.number > 1 else None
            after = f"after version {before}" if before is not None else f"as event number {broken.number}"
            yield at_record(
                Invariant.VERSIONS,
                f"{entity} {id!r} has version {broken.version} {after}",
                broken.record,
                entity=entity,
                id=id,
            )


def _at_home(event: LoggedEvent, events: EventLog) -> bool:
    return partition_of(event.id.encode(), events.partitions[event.entity]) == event.record.partition


def _first_broken(history: Sequence[LoggedEvent]) -> LoggedEvent | None:
    for event in history:
        if event.version is not None and event.version != event.number:
            return event
    return None


def check_event_ids(events: EventLog) -> Iterator[Violation]:
    """EVENT_IDS."""
    known: dict[str, LoggedEvent] = {}
    for history in events.of_entity.values():
        for event in history:
            if event.event_id is None:
                continue
            other = known.setdefault(event.event_id, event)
            if other is not event:
                first = other.record
                yield at_record(
                    Invariant.EVENT_IDS,
                    f"event id {event.event_id} stands also at {other.partition}, offset {first.offset}",
                    event.record,
                    entity=event.entity,
                    id=event.id,
                )
