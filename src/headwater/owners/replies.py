"""What an owner answers, and how the answer travels in `<entity>-replies`.

A reply is proof that its transaction was committed. It is no proof that a reader sees the events already, so
it carries the position that a reader must have reached.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from headwater.errors import Conflict, Failed, HeadwaterError, Misuse, NotFound, Unavailable
from headwater.messages.rejection import rejection_from_wire

Outcome = Literal["accepted", "rejected", "conflict", "failed", "misuse", "unavailable"]


class Reply(msgspec.Struct, rename="camel", omit_defaults=True):
    """An answer to one command.

    Arguments: command_id; outcome; entity, id: which entity; version: the entity's, after the command;
    events: how many it appended; partition, next_offset: where reading `<entity>-events` has to arrive to see
    them; duplicate: the command had been carried out before, this is the answer it got; body: the rejection,
    or what was asked for; text: what went wrong, for people; expected: the version that the caller named.
    """

    command_id: str
    outcome: Outcome
    entity: str
    id: str
    version: int = 0
    events: int = 0
    partition: int = 0
    next_offset: int = 0
    duplicate: bool = False
    body: msgspec.Raw = msgspec.Raw()
    text: str | None = None
    expected: int | None = None
    asked_by: str | None = None

    def error(self) -> HeadwaterError | None:
        """The exception that the caller gets, or None when the command was accepted."""
        text = self.text or ""
        match self.outcome:
            case "accepted":
                return None
            case "rejected":
                return rejection_from_wire(bytes(self.body))
            case "conflict":
                return Conflict(self.entity, self.id, self.expected or 0, self.version)
            case "misuse":
                return Misuse(text)
            case "unavailable":
                return Unavailable(text)
            case "failed":
                handler, _, cause = text.partition("\n")
                return Failed(handler, f"{self.entity} {self.id!r}, command {self.command_id}", cause)


encode_reply = msgspec.json.Encoder().encode
decode_reply = msgspec.json.Decoder(Reply).decode


def not_found(entity: str, entity_id: str) -> NotFound:
    return NotFound(entity, entity_id)
