"""State records: each is the fold of its entity's events, beside which it was written, and knows what was answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from headwater.errors import BadData, HeadwaterError
from headwater.log.topology import state_topic
from headwater.owners.state_record import WINDOW, StateRecord, decode_value
from headwater.testing.audit.contents import Contents, KeptRecord
from headwater.testing.audit.events import EntityKey, EventLog
from headwater.testing.audit.folding import StateFold
from headwater.testing.audit.history import CommandCall
from headwater.testing.audit.violations import Invariant, Violation, at_record

States = dict[EntityKey, list[tuple[KeptRecord, StateRecord]]]
"""The state records of each entity that are still there, oldest first."""


def states_of(contents: Contents) -> States:
    """All state records of the entity types that have events. Raises: BadData: a record that is none."""
    found: States = {}
    for entity in contents.entities():
        for record in contents.records(state_topic(entity)):
            try:
                state = decode_value(record.value or b"")
            except msgspec.DecodeError as error:
                at: dict[str, Any] = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
                raise BadData(f"not a state record: {error}", **at) from error
            found.setdefault((entity, state.id), []).append((record, state))
    return found


def check_beside(states: States, events: EventLog) -> Iterator[Violation]:
    """STATE_BESIDE: the newest state of an entity covers every event that an owner wrote."""
    for (entity, id), history in events.of_entity.items():
        written = [one for one in history if one.transaction is not None]
        known = states.get((entity, id))
        if not written or (entity, id) in events.unsound:
            continue
        last = written[-1].record
        covered = known[-1][1].events if known else 0
        if covered <= last.offset:
            state = f"its newest state covers only those before {covered}" if known else "it has no state"
            sentence = f"{entity} {id!r} has an event that was written without its state: {state}"
            yield at_record(Invariant.STATE_BESIDE, sentence, last, entity=entity, id=id)


def check_remembered(
    calls: Iterable[CommandCall], states: States, events: EventLog, torn: Iterable[EntityKey]
) -> Iterator[Violation]:
    """REMEMBERED: what was accepted or rejected stands in the newest state, as long as that has room.

    Arguments: torn: entities of which it is known that states are missing.
    """
    apart = set(torn) | events.unsound
    for key in dict.fromkeys(one.key for one in calls if _leaves_a_trace(one, events)):
        entity, id, command_id = key
        if (entity, id) in apart:
            continue
        known = states.get((entity, id))
        recent = known[-1][1].recent if known else []
        if len(recent) < WINDOW and not any(_id_of(one) == command_id for one in recent):
            sentence = f"command {command_id} of {entity} {id!r} was answered, and its newest state does not know it"
            yield Violation(Invariant.REMEMBERED, sentence, entity, id, command_id)


def _leaves_a_trace(call: CommandCall, events: EventLog) -> bool:
    """Refused, accepted without events, or accepted with events that are there: those that are lost are told of
    elsewhere."""
    if call.outcome == "accepted" and call.events:
        return call.key in events.of_command
    return call.outcome in ("accepted", "rejected") and not (call.duplicate and call.key in events.of_command)


def _id_of(remembered: msgspec.Raw) -> str:
    id: str = msgspec.json.decode(remembered)[0]
    return id


def check_states(states: States, events: EventLog, folds: Mapping[str, StateFold]) -> Iterator[Violation]:
    """STATE, the first breach of each entity. States of another schema say nothing that can be compared."""
    for (entity, id), known in states.items():
        fold = folds.get(entity)
        if fold is None or (entity, id) in events.unsound:
            continue
        history = [one.record for one in events.of_entity.get((entity, id), ())]
        counts = {state.events: sum(one.offset < state.events for one in history) for _, state in known}
        try:
            folded = fold.at(id, history, set(counts.values()))
        except HeadwaterError as error:
            yield Violation(Invariant.STATE, f"{entity} {id!r} cannot be folded: {error}", entity, id)
            continue
        for record, state in known:
            count = counts[state.events]
            if state.version != count:
                wrong = f"says version {state.version} after {count} events"
            elif state.schema == fold.schema and not fold.same(bytes(state.state), folded[count]):
                wrong = f"is {bytes(state.state).decode()}, and the fold of its events is {folded[count].decode()}"
            else:
                continue
            sentence = f"the state of {entity} {id!r} at version {count} {wrong}"
            yield at_record(Invariant.STATE, sentence, record, entity=entity, id=id)
            break
