"""Events as records, as an owner would have written them: for read models and processes, which only read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from headwater.environment import Environment
from headwater.errors import Misuse
from headwater.log.port import NewRecord
from headwater.log.topology import events_topic
from headwater.messages.builtin import Reverted
from headwater.messages.declare import Event, key_of
from headwater.messages.envelope import event_headers
from headwater.messages.json_codec import JsonCodec
from headwater.messages.times import time_text


class Happened(NamedTuple):
    """An event of a scenario; `time` None: on the scenario's clock."""

    event: Event
    time: datetime | None


def happened_of(event: object) -> Happened:
    """An event, or (event, time). Raises: Misuse: neither, or a naive time."""
    found, time = event if isinstance(event, tuple) and len(event) == 2 else (event, None)
    if not isinstance(found, Event):
        raise Misuse(f"{event!r} did not happen: give events, or (event, time)")
    if time is not None and (not isinstance(time, datetime) or time.tzinfo is None):
        raise Misuse(f"{time!r}: the time of an event must be aware, such as datetime(2024, 4, 10, tzinfo=UTC)")
    return Happened(found, time)


class EventWriter:
    """Makes the records of events; versions are counted per entity. A revert, which names no entity, is of the one that
    the event before it is of.

    Arguments: environment: time and ids; partition: of an entity type and a key.
    """

    def __init__(self, environment: Environment, partition: Callable[[str, bytes], int]) -> None:
        self._environment, self._partition = environment, partition
        self._versions: dict[tuple[str, str], int] = {}
        self._codecs: dict[type[Event], JsonCodec[Event]] = {}
        self._last: tuple[str, str] | None = None
        """The entity, and its key, of the event before."""

    def records(self, events: Sequence[Happened]) -> list[NewRecord]:
        """Raises: Misuse: an event of no entity, or without a key; a revert with no event before it."""
        return [self._record(happened) for happened in events]

    def _record(self, happened: Happened) -> NewRecord:
        event, kind = happened.event, type(happened.event)
        if kind not in self._codecs:
            self._codecs[kind] = JsonCodec([kind])
        entity, key = self._last = self._entity_of(event)
        now = self._environment.now()
        time = happened.time or now
        version = self._versions[entity, key] = self._versions.get((entity, key), 0) + 1
        command_id = self._environment.new_id()
        headers = event_headers(
            id=self._environment.new_id(),
            source="scenario",
            type=kind.__hw__.wire_name,
            time=time_text(time),
            subject=key,
            entity_version=version,
            causation_id=command_id,
            correlation_id=command_id,
            command_id=command_id,
            recorded=time_text(now),
            commit=(command_id, 0, 1),
        )
        value = self._codecs[kind].encode(event, time)
        ms = int(time.timestamp() * 1000)
        raw = key.encode()
        return NewRecord(events_topic(entity), self._partition(entity, raw), raw, value, headers, ms)

    def _entity_of(self, event: Event) -> tuple[str, str]:
        if isinstance(event, Reverted):
            if self._last is None:
                raise Misuse(
                    "hw.Reverted does not say of which entity it is: it is of the one that the event before it is of, "
                    "so give one first"
                )
            return self._last
        entity = type(event).__hw__.entity
        if entity is None:
            raise Misuse(f"{type(event).__name__} belongs to no entity: declare its family with entity=")
        return entity, key_of(event)
