"""What clients read of entities: never older than what was known before, and true."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from headwater.errors import HeadwaterError
from headwater.testing.audit.earlier import Earlier, Known
from headwater.testing.audit.events import EntityKey, EventLog
from headwater.testing.audit.folding import StateFold
from headwater.testing.audit.history import History, ReadCall
from headwater.testing.audit.violations import Invariant, Violation


def check_reads(history: History, events: EventLog) -> Iterator[Violation]:
    """READS.

    What an owner answers includes everything that anybody knew before the question. Who reads the log's events
    sees what they themselves knew, and who reads a row what they asked for: both may be behind otherwise.
    """
    anybody, own = _known(history)
    for read in history.reads:
        where: EntityKey = read.entity, read.id
        if read.how == "row":
            known: Known | None = Known(0, read.at_least, "was asked for")
        else:
            source = anybody.get(where) if read.how == "owner" else own.get((read.client, where))
            known = source.before(read.started_s) if source is not None else None
        there = len(events.of_entity.get(where, ()))
        if known is not None and read.version < known.value:
            why = f"after version {known.value} {known.source}"
        elif read.version > there and where not in events.unsound:
            why = f"and the log has {there}"
        else:
            continue
        sentence = f"client {read.client} read {read.entity} {read.id!r} at version {read.version}, {why}"
        yield Violation(Invariant.READS, sentence, read.entity, read.id)


def _known(history: History) -> tuple[dict[EntityKey, Earlier], dict[tuple[str, EntityKey], Earlier]]:
    """What was known of each entity to anybody, and to each client."""
    anybody: defaultdict[EntityKey, list[Known]] = defaultdict(list)
    own: defaultdict[tuple[str, EntityKey], list[Known]] = defaultdict(list)
    for client, where, known in _facts(history):
        anybody[where].append(known)
        own[client, where].append(known)
    return {key: Earlier(ones) for key, ones in anybody.items()}, {key: Earlier(ones) for key, ones in own.items()}


def _facts(history: History) -> Iterator[tuple[str, EntityKey, Known]]:
    for call in history.commands:
        if call.outcome == "accepted":
            yield call.client, call.key[:2], Known(call.ended_s, call.version, f"was told to client {call.client}")
    for read in history.reads:
        if read.how != "row":
            known = Known(read.ended_s, read.version, f"was read by client {read.client}")
            yield read.client, (read.entity, read.id), known


def check_read_states(history: History, events: EventLog, folds: Mapping[str, StateFold]) -> Iterator[Violation]:
    """READ_STATES, the first breach of each entity."""
    found: defaultdict[EntityKey, list[ReadCall]] = defaultdict(list)
    for read in history.reads:
        if read.state is not None:
            found[read.entity, read.id].append(read)
    for (entity, id), reads in found.items():
        fold = folds.get(entity)
        logged = [one.record for one in events.of_entity.get((entity, id), ())]
        if fold is None or (entity, id) in events.unsound:
            continue
        try:
            folded = fold.at(id, logged, {read.version for read in reads})
        except HeadwaterError as error:
            yield Violation(Invariant.READ_STATES, f"{entity} {id!r} cannot be folded: {error}", entity, id)
            continue
        for read in reads:
            there = folded.get(read.version)
            if there is not None and not fold.same(read.state or b"", there):
                sentence = (
                    f"client {read.client} read {entity} {id!r} at version {read.version} as "
                    f"{(read.state or b'').decode()}, and the fold of its events is {there.decode()}"
                )
                yield Violation(Invariant.READ_STATES, sentence, entity, id)
                break
