"""What was told to clients against what the log has: nothing lost, nothing done that was refused or not asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise

import msgspec

from headwater.log.topology import events_topic
from headwater.testing.audit.events import EventLog, LoggedEvent
from headwater.testing.audit.history import REFUSALS, CommandCall, CommandKey
from headwater.testing.audit.violations import Invariant, Violation, at_record


class Acknowledgement(msgspec.Struct, frozen=True):
    """That a command was carried out, as somebody was told: in a receipt, or in a reply record."""

    key: CommandKey
    version: int
    events: int
    duplicate: bool
    partition: int
    next_offset: int
    told: str


def of_calls(calls: Iterable[CommandCall]) -> Iterator[Acknowledgement]:
    """The acknowledgements that clients got."""
    for one in calls:
        if one.outcome == "accepted":
            place = one.partition, one.next_offset
            yield Acknowledgement(one.key, one.version, one.events, one.duplicate, *place, f"client {one.client}")


def check_acknowledged(
    told: Iterable[Acknowledgement], events: EventLog, invariant: Invariant = Invariant.ACKNOWLEDGED
) -> Iterator[Violation]:
    """ACKNOWLEDGED (or REPLY_BESIDE, for replies): the events are there, at the version and before the position that
    somebody was told. A repetition that is older than what is remembered tells 0 events, whatever there were."""
    for one in told:
        found = events.of_command.get(one.key, [])
        wrong = _difference(one, found, sound=one.key[:2] not in events.unsound)
        if wrong is not None:
            entity, id, command_id = one.key
            yield Violation(
                invariant,
                f"{one.told} was told that command {command_id} of {entity} {id!r} was carried out, {wrong}",
                entity,
                id,
                command_id,
                events_topic(entity),
                one.partition,
                one.next_offset - 1,
            )


def _difference(told: Acknowledgement, found: list[LoggedEvent], *, sound: bool) -> str | None:
    there = len({one.commit.index if one.commit is not None else one.number for one in found})
    if there < told.events:
        return f"with {told.events} events, but {there} of them are in the log"
    if told.duplicate or (not told.events and not found):
        return None
    if not told.events:
        return f"without any event, but the log has {there} of it"
    last = found[told.events - 1]
    if sound and last.number != told.version:
        return f"at version {told.version}, but its last event is number {last.number} of its entity"
    if sound and last.record.offset + 1 != told.next_offset:
        return f"before offset {told.next_offset}, but its last event stands at {last.record.offset}"
    return None


def check_refused(calls: Iterable[CommandCall], events: EventLog, sent: Collection[CommandKey]) -> Iterator[Violation]:
    """REFUSED: of commands that were always refused, and of those that one client sent again until it was refused.
    Its commands keep their order: had an earlier one been carried out, the last would have been told so.

    Arguments: sent: the commands in `-commands` topics; one may be among them that somebody else sent under the same
    id.
    """
    for key, ones in by_key(calls).items():
        found = events.of_command.get(key, [])
        if not found or not (all(one.outcome in REFUSALS for one in ones) or _given_up(ones)):
            continue
        if key in sent and all(one.outcome == "misuse" for one in ones):
            continue
        entity, id, command_id = key
        told = ", then ".join(dict.fromkeys(one.outcome for one in ones))
        yield at_record(
            Invariant.REFUSED,
            f"client {ones[0].client} was told {told} for command {command_id} of {entity} {id!r}, and the log has "
            f"{len(found)} events of it",
            found[0].record,
            entity=entity,
            id=id,
            command_id=command_id,
        )


def _given_up(calls: list[CommandCall]) -> bool:
    """Whether one client sent a command again and again, and was refused at last."""
    one_after_the_other = all(
        one.client == other.client and one.ended_s < other.started_s for one, other in pairwise(calls)
    )
    told = [one.outcome for one in calls]
    return one_after_the_other and told[-1] in ("rejected", "conflict", "failed") and "accepted" not in told


def check_unasked(calls: Iterable[CommandCall], events: EventLog, sent: Collection[CommandKey]) -> Iterator[Violation]:
    """UNASKED: an owner's event of a command that nobody sent."""
    asked = {one.key for one in calls}
    for key, found in events.of_command.items():
        if found[0].commit is not None and key not in asked and key not in sent:
            entity, id, command_id = key
            sentence = f"nobody sent command {command_id} of {entity} {id!r}, and the log has {len(found)} events of it"
            yield at_record(Invariant.UNASKED, sentence, found[0].record, entity=entity, id=id, command_id=command_id)


def by_key(calls: Iterable[CommandCall]) -> Mapping[CommandKey, list[CommandCall]]:
    """Calls by command, each in the order in which they ended."""
    found: defaultdict[CommandKey, list[CommandCall]] = defaultdict(list)
    for one in sorted(calls, key=lambda call: call.ended_s):
        found[one.key].append(one)
    return found
