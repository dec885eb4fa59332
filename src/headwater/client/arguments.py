"""What callers give, looked at before anything is done with it: a wrong type is refused here with a sentence.

Type checkers tell the same; not every program is checked.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from headwater.client.receipts import Receipt, Sending
from headwater.entities.travel import Moment
from headwater.errors import Misuse
from headwater.messages.declare import Command


def refuse_sending(sending: Sending) -> None:
    """Raises: Misuse: it is no command, or what goes on its envelope is of a wrong type or cannot be."""
    if not isinstance(sending.command, Command):
        raise Misuse(f"send takes a command, not {type(sending.command).__name__}")
    if sending.time is not None:
        refuse_time("time", sending.time)
    if sending.command_id is not None:
        refuse_text("command_id", sending.command_id)
        if not 0 < len(sending.command_id) <= 200:
            raise Misuse("a command_id has 1 to 200 characters")
    if sending.expected_version is not None:
        refuse_version("expected_version", sending.expected_version)
    if sending.actor is not None:
        refuse_text("actor", sending.actor)


def refuse_moment(moment: Moment) -> None:
    """Raises: Misuse: a time that is none, or no version."""
    for name, time in (("as_of", moment.as_of), ("known_at", moment.known_at)):
        if time is not None:
            refuse_time(name, time)
    if moment.at_version is not None:
        refuse_version("at_version", moment.at_version)


def refuse_class(aggregate: object) -> None:
    if not isinstance(aggregate, type):
        raise Misuse(f"an entity type is named by its class, as in get(Order, '123'), not by {_told(aggregate)}")


def refuse_id(entity_id: object) -> None:
    if not isinstance(entity_id, str):
        raise Misuse(f"the id of an entity is a text, such as {str(entity_id)!r}, not {_told(entity_id)}")


def refuse_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise Misuse(f"{name} is a text, not {_told(value)}")


def refuse_version(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Misuse(f"{name} is a number of events, such as 3, not {_told(value)}")


def refuse_time(name: str, value: object) -> None:
    if not isinstance(value, datetime):
        raise Misuse(f"{name} must be a time, such as datetime(2024, 4, 10, tzinfo=UTC), not {_told(value)}")
    if value.tzinfo is None:
        raise Misuse(f"{name} must be aware, such as datetime(2024, 4, 10, tzinfo=UTC)")
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise Misuse(f"{name} is outside of the years 1 to 9999 in UTC: {value!r}") from None


def refuse_receipts(after: object) -> None:
    if not isinstance(after, Collection) or not all(isinstance(one, Receipt) for one in after):
        raise Misuse(f"after= takes a receipt, several, or the token of one, not {_told(after)}")


def _told(value: object) -> str:
    return f"{value!r} ({type(value).__name__})"
