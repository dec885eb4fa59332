"""The error tree, by who acts next.

`Misuse`: the programmer. `Rejected` (in `messages`), `Conflict`, `NotFound`, `Unknown`: the caller.
`BadData`: the owner of the data. `Failed`: the author of a handler. `Unavailable`, `NotYet`: the operator,
or nobody, because waiting helps. Every message says what happened, where, and what to do next.
"""

from __future__ import annotations


class HeadwaterError(Exception):
    """The root of every error that headwater raises on purpose."""


class Misuse(HeadwaterError):
    """The program asks for something that can never work: its author acts next."""


class Conflict(HeadwaterError):
    """The entity is not at the version that the caller expected; read it again and decide again."""

    def __init__(self, entity: str, entity_id: str, expected: int, actual: int) -> None:
        super().__init__(
            f"{entity} {entity_id!r} is at version {actual}, not {expected}: read it again, then send again"
        )
        self.entity, self.entity_id, self.expected, self.actual = entity, entity_id, expected, actual


class NotFound(HeadwaterError):
    """No event was ever written for this entity."""

    def __init__(self, entity: str, entity_id: str) -> None:
        super().__init__(f"there is no {entity} {entity_id!r}")
        self.entity, self.entity_id = entity, entity_id


class Unknown(HeadwaterError):
    """No answer came in time, or none is to be expected soon. The command may or may not have been carried out;
    sending it again with the same id is safe, and `outcome` tells. Arguments: waited_s: 0: not known; reason: why
    there is no answer, if that is known: its owner is gone, and the next one carries it out."""

    def __init__(self, command_id: str, waited_s: float, reason: str | None = None) -> None:
        within = f" within {waited_s:g} s" if waited_s else ""
        super().__init__(
            f"no answer to command {command_id}{within}; it may still be carried out: "
            f"ask for its outcome, or send it again with the same command_id{'' if reason is None else f'; {reason}'}"
        )
        self.command_id, self.waited_s, self.reason = command_id, waited_s, reason


class BadData(HeadwaterError):
    """A record that cannot be read or does not belong where it is; the owner of the data acts next.

    Arguments: found: what its codec said of it (None: it was read).
    """

    def __init__(self, reason: str, *, topic: str, partition: int, offset: int, found: object | None = None) -> None:
        super().__init__(f"{reason} (topic {topic}, partition {partition}, offset {offset})")
        self.reason, self.topic, self.partition, self.offset, self.found = reason, topic, partition, offset, found


class Failed(HeadwaterError):
    """A handler raised something that is not a refusal. Nothing was written; its author acts next."""

    def __init__(self, handler: str, where: str, cause: str) -> None:
        super().__init__(f"{handler} failed on {where}: {cause}; nothing was written")
        self.handler, self.where, self.cause = handler, where, cause


class Unavailable(HeadwaterError):
    """Something that must run does not, or cannot be reached; the operator acts next."""


class NotYet(HeadwaterError):
    """A read model has not come as far as the caller asks.

    Arguments: read_model: its name; wanted, actual: next offset per "topic/partition"; lag_events: events
    still to apply; lag_counted: whether these are all (False: at least so many were found); lag_s: age in seconds of
    the oldest of them (None: not known); runner: what is known of the process that maintains it ("running", "none",
    "held", "failed"); last_failure: its text, if any.
    """

    def __init__(
        self,
        read_model: str,
        wanted: dict[str, int],
        actual: dict[str, int],
        *,
        lag_events: int,
        lag_counted: bool,
        lag_s: float | None,
        runner: str,
        last_failure: str | None,
    ) -> None:
        age = "" if lag_s is None else f", {lag_s:.1f} s"
        why = "" if last_failure is None else f"; last failure: {last_failure}"
        events = f"{'' if lag_counted else 'at least '}{counted(lag_events, 'event')}"
        stands = f"stands at {actual}, wanted {wanted}: {events}{age} behind"
        if wanted and all(actual.get(partition, 0) >= position for partition, position in wanted.items()):
            stands = "has read what is waited for, and set it aside"
        super().__init__(f"read model {read_model} {stands}; runner: {runner}{why}")
        self.read_model, self.wanted, self.actual = read_model, wanted, actual
        self.lag_events, self.lag_counted, self.lag_s = lag_events, lag_counted, lag_s
        self.runner, self.last_failure = runner, last_failure


def without_payload(error: BaseException) -> str:
    """What went wrong where, without words that may come from data or from users' code: for what leaves the machine.

    Such words are those of exceptions that are not ours, and of ours where they pass on what another one said.
    """
    name = type(error).__name__
    if isinstance(error, BadData):
        return f"{name} in topic {error.topic}, partition {error.partition}, offset {error.offset}"
    if isinstance(error, Failed):
        cause = "" if error.__cause__ is None else f": {type(error.__cause__).__name__}"
        return f"{error.handler} failed on {error.where}{cause}"
    if isinstance(error, Unavailable) or (isinstance(error, HeadwaterError) and error.__cause__ is None):
        return f"{name}: {error}"
    return name if error.__cause__ is None else f"{name} from {type(error.__cause__).__name__}"


def counted(count: int, what: str) -> str:
    """For sentences: "1 dead letter", "2,000 dead letters"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
