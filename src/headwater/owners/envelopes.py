"""The envelopes of a command and of the events that it leads to: headers for the log, `Meta` for who asks.

An owner makes a dozen headers for every event, so what is the same for a batch, for a type of event or for the
events of one command is made once. `messages.envelope.event_headers` says what each header means.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from headwater.messages.declare import Command, Event
from headwater.messages.envelope import Header, Meta, add_causes, fixed_headers, time_text
from headwater.owners.arriving import Arrived


class Moment(NamedTuple):
    """The time of a batch, taken once, in the forms that records carry."""

    time: datetime
    ms: int
    time_header: Header
    recorded: Header

    @classmethod
    def of(cls, time: datetime) -> Moment:
        text = time_text(time).encode()
        return cls(time, milliseconds(time), ("ce_time", text), ("hw_recorded", text))


class Envelope:
    """The envelope of one command on one entity, and of its events.

    Arguments: entity: the entity type; source: who writes its events (the app's name); arrived: the command;
    entity_id; now: when it is carried out.
    """

    __slots__ = ("_common", "arrived", "command_id", "entity", "entity_id", "happened", "happened_ms", "now", "source")

    def __init__(self, entity: str, source: str, arrived: Arrived, entity_id: str, now: Moment) -> None:
        self.entity, self.source, self.arrived, self.entity_id, self.now = entity, source, arrived, entity_id, now
        self.command_id = arrived.id.encode()
        time = arrived.time
        if time is None:
            self.happened, self.happened_ms, time_header = now.time, now.ms, now.time_header
        else:
            self.happened, self.happened_ms = time, milliseconds(time)
            time_header = ("ce_time", time_text(time).encode())
        self._common = [time_header, ("ce_subject", arrived.key), now.recorded, ("ce_commandid", self.command_id)]
        add_causes(self._common, arrived.id, arrived.correlation_id or arrived.id, arrived.actor)

    def headers(self, event: type[Event], event_id: str, version: int, index: int, count: int) -> list[Header]:
        """The headers of one of the command's `count` events, with the entity's version after it."""
        return [
            *fixed_headers(self.source, event.__hw__.wire_name),
            *self._common,
            ("ce_id", event_id.encode()),
            ("ce_entityversion", b"%d" % version),
            ("hw_commit", b"%b;%d;%d" % (self.command_id, index, count)),
        ]

    def of_command(self, command: type[Command], version: int) -> Meta:
        """For its @decides method, with the entity's version before it."""
        return self._meta(self.arrived.id, command.__hw__.wire_name, version, None, self.arrived.offset)

    def of_event(self, event: type[Event], event_id: str, version: int) -> Meta:
        """For the @evolves method of one of its events."""
        return self._meta(event_id, event.__hw__.wire_name, version, self.arrived.id, -1)

    def _meta(self, id: str, kind: str, version: int, cause: str | None, offset: int) -> Meta:
        arrived = self.arrived
        return Meta(
            id=id,
            type=kind,
            time=self.happened,
            recorded=self.now.time,
            entity=self.entity,
            entity_id=self.entity_id,
            version=version,
            command_id=arrived.id,
            causation_id=cause,
            correlation_id=arrived.correlation_id or arrived.id,
            actor=arrived.actor,
            partition=arrived.partition,
            offset=offset,
        )


def milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
