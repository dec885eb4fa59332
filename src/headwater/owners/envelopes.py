"""The envelopes of a command and of the events that it leads to: headers for the log, `Meta` for who asks.

An owner makes a dozen headers for every event, so what is the same for a batch, for a type of event or for the
events of one command is made once. `messages.envelope.event_headers` says what each header means.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec

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


class Envelope(msgspec.Struct, eq=False):
    """The envelope of one command on one entity, and of its events.

    Arguments: entity: the entity type; source: who writes its events (the app's name); arrived: the command;
    entity_id; now: when it is carried out.
    """

    entity: str
    source: str
    arrived: Arrived
    entity_id: str
    now: Moment
    _common: tuple[bytes, list[Header]] | None = None

    @property
    def happened(self) -> datetime:
        """When what the command leads to happened: the caller may have said so."""
        return self.arrived.time or self.now.time

    @property
    def happened_ms(self) -> int:
        time = self.arrived.time
        return self.now.ms if time is None else milliseconds(time)

    def headers(
        self, event: type[Event], event_id: str, version: int, index: int, count: int, content: Iterable[Header]
    ) -> list[Header]:
        """The headers of one of the command's `count` events, with the entity's version after it. Arguments: content:
        those that say how its value is written."""
        command_id, common = self._common or self._make_common()
        return [
            *fixed_headers(self.source, event.__hw__.wire_name),
            *content,
            *common,
            ("ce_id", event_id.encode()),
            ("ce_entityversion", b"%d" % version),
            ("hw_commit", b"%b;%d;%d" % (command_id, index, count)),
        ]

    def _make_common(self) -> tuple[bytes, list[Header]]:
        """The command's id, and the headers that all its events have in common: made with the first, since a command
        may be refused."""
        arrived, now = self.arrived, self.now
        command_id, time, first = arrived.id.encode(), arrived.time, arrived.correlation_id
        common = [
            now.time_header if time is None else ("ce_time", time_text(time).encode()),
            ("ce_subject", arrived.key),
            now.recorded,
            ("ce_commandid", command_id),
            ("ce_causationid", command_id),
            ("ce_correlationid", first.encode() if first else command_id),
        ]
        if arrived.actor is not None:
            add_causes(common, None, None, arrived.actor)
        if arrived.traceparent is not None:
            common.append(("traceparent", arrived.traceparent))
        self._common = made = command_id, common
        return made

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
