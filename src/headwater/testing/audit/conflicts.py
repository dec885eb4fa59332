"""Expected versions: who names one finds the entity there, or changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from headwater.testing.audit.events import EntityKey, EventLog
from headwater.testing.audit.history import CommandCall
from headwater.testing.audit.violations import Invariant, Violation


def check_winners(calls: Iterable[CommandCall], events: EventLog) -> Iterator[Violation]:
    """ONE_WINNER: for each entity and expected version the first breach."""
    winners: defaultdict[tuple[EntityKey, int], dict[str, CommandCall]] = defaultdict(dict)
    for call in calls:
        if call.expected_version is None:
            continue
        if call.outcome == "conflict":
            yield from _false_conflict(call, events)
        elif _start(call, events) is not None:
            winners[call.key[:2], call.expected_version].setdefault(call.command_id, call)
    for ((entity, id), expected), ones in winners.items():
        if len(ones) > 1:
            ids = " and ".join(sorted(ones))
            sentence = f"commands {ids} both expected {entity} {id!r} at version {expected}, and both were accepted"
            yield Violation(Invariant.ONE_WINNER, sentence, entity, id, next(iter(ones)))
            continue
        for command_id, call in ones.items():
            start = _start(call, events)
            if start != expected:
                sentence = (
                    f"command {command_id} expected {entity} {id!r} at version {expected}, and was carried out at "
                    f"version {start}"
                )
                yield Violation(Invariant.ONE_WINNER, sentence, entity, id, command_id)


def _start(call: CommandCall, events: EventLog) -> int | None:
    """The version at which a command with events was carried out; None: it was not, or is told elsewhere."""
    if call.outcome == "accepted" and call.events:
        return call.version - call.events
    found = events.of_command.get(call.key)
    if call.outcome == "unknown" and found and call.key[:2] not in events.unsound:
        return found[0].number - 1
    return None


def _false_conflict(call: CommandCall, events: EventLog) -> Iterator[Violation]:
    entity, id, command_id = call.key
    versions = len(events.of_entity.get((entity, id), ()))
    if call.actual == call.expected_version:
        why = "which is the one that it expected"
    elif call.actual is not None and call.actual > versions and (entity, id) not in events.unsound:
        why = f"and the log has {versions}"
    else:
        return
    sentence = f"command {command_id} was refused because {entity} {id!r} is at version {call.actual}, {why}"
    yield Violation(Invariant.ONE_WINNER, sentence, entity, id, command_id)
