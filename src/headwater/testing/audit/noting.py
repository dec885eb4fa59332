"""What the recorders of both faces share: what is asked, as plain data, and what an answer says of a read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from headwater.app import App
from headwater.client.read_models import After
from headwater.client.receipts import Appending, Receipt, Sending
from headwater.entities.aggregate import Aggregate
from headwater.environment import SYSTEM
from headwater.messages.declare import Command, key_of
from headwater.messages.rejection import Rejected
from headwater.testing.audit.history import QuestionCall, ReadCall
from headwater.testing.audit.journal import Asked, CommandNote, Journal, detail_of

Item = Command | Sending | Appending


class Notes:
    """Notes the calls of one client.

    Arguments: app: knows the entity types of aggregates; journal; client: its name, unique in the run.
    """

    def __init__(self, app: App, journal: Journal, client: str) -> None:
        self._app, self.journal, self.client = app, journal, client

    def entity(self, aggregate: type[Aggregate[Any]]) -> str:
        return self._app.behaviours[aggregate].entity

    def command(self, command: Command, command_id: str | None, expected: int | None) -> tuple[str, CommandNote]:
        """A command that is sent now, under its id or a new one, which is returned with the note."""
        id, entity = command_id or SYSTEM.new_id(), str(type(command).__hw__.entity)
        asked = Asked(self.client, entity, key_of(command), id, repr(command), expected)
        return id, self.journal.begin(asked)

    def events(
        self,
        aggregate: type[Aggregate[Any]],
        entity_id: str,
        content: object,
        command_id: str | None,
        expected: int | None,
    ) -> tuple[str, CommandNote]:
        """As `command`, for events that are appended, or an entity that is reverted."""
        id = command_id or SYSTEM.new_id()
        return id, self.journal.begin(
            Asked(self.client, self.entity(aggregate), entity_id, id, repr(content), expected)
        )

    def each(self, items: Iterable[Item], notes: deque[CommandNote]) -> Iterator[Item]:
        """The same items, each with an id, and with a note from when it is given away."""
        for item in items:
            if isinstance(item, Appending):
                events = tuple(item.events)
                id, note = self.events(item.aggregate, item.entity_id, events, item.command_id, item.expected_version)
                named: Item = msgspec.structs.replace(item, command_id=id, events=events)
            else:
                sending = item if isinstance(item, Sending) else Sending(item)
                id, note = self.command(sending.command, sending.command_id, sending.expected_version)
                named = msgspec.structs.replace(sending, command_id=id)
            notes.append(note)
            yield named

    def question(self, entity: str, id: str, command_id: str, started_s: float, answer: object) -> None:
        """Notes what somebody was told who asked for an outcome: a receipt, None, or an error."""
        place = self.client, started_s, self.journal.clock_s(), entity, id, command_id
        if isinstance(answer, Receipt):
            self.journal.add(QuestionCall(*place, "accepted", answer.version, answer.events))
        elif answer is None:
            self.journal.add(QuestionCall(*place, "absent"))
        else:
            assert isinstance(answer, BaseException)
            outcome: Literal["rejected", "unknown"] = "rejected" if isinstance(answer, Rejected) else "unknown"
            self.journal.add(QuestionCall(*place, outcome, detail=detail_of(answer)))

    def read(
        self,
        entity: str,
        id: str,
        how: Literal["owner", "events", "row"],
        started_s: float,
        found: Aggregate[Any] | int,
        at_least: int = 0,
    ) -> None:
        """Notes a read. Arguments: found: the state, or its version alone; 0: it was not found."""
        version, state = (found, None) if isinstance(found, int) else (found.version, msgspec.json.encode(found))
        ended_s = self.journal.clock_s()
        self.journal.add(ReadCall(self.client, started_s, ended_s, entity, id, how, version, state, at_least))


def close_all(notes: deque[CommandNote], error: BaseException) -> None:
    """What is left when a stream of commands ends early."""
    while notes:
        notes.popleft().answer(error)


def at_least(after: After, entity: str, id: str) -> int:
    """The version of an entity that a read must include, as far as receipts say it. A token says positions only."""
    receipts: Sequence[Receipt] = (
        [after] if isinstance(after, Receipt) else after if isinstance(after, list | tuple) else []
    )
    return max((one.version for one in receipts if (one.entity, one.id) == (entity, id)), default=0)


def is_past(moment: dict[str, Any]) -> bool:
    """Whether a read asks for the past, which says nothing of now."""
    return any(moment.get(name) is not None for name in ("as_of", "known_at", "at_version"))
