"""What changed code would do, found out over the real history, in memory, without changing anything.

    events ──► the code as it is now  ──┐
       └─────► what there is now      ──┴─► compared: per entity, per row; and what cannot be read or folded

What there is now is either code in another folder, which folds the same events (`LocalSide` in another process: exact),
or what is stored (`StoredSide`: where a state begins to differ is known as far as the log kept older state records).
Only fields that both sides have are compared; a field that one side has is named once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from headwater.entities.behaviour import Behaviour
from headwater.environment import Environment
from headwater.errors import Misuse
from headwater.log.port import Log, Positions, TopicPartition
from headwater.log.topology import events_topic
from headwater.operations.preview_sides import LocalSide, Side
from headwater.operations.shadow import Folded, Place, Traced, Trouble, Unread
from headwater.projections.read_model import ReadModel

DETAILED = 1000
"""How many entities or rows that differ are told one by one; the others are counted."""


class Change(NamedTuple):
    """A field, on both sides."""

    old: Any
    new: Any


class Difference(NamedTuple):
    """An entity whose state would be another one.

    Arguments: first: the first event after which it differs (None: not known exactly); versions: the first and the last
    that this event may have; fields: those that differ after it; now: those that differ after all events.
    """

    id: str
    first: Place | None
    versions: tuple[int, int]
    fields: dict[str, Change]
    now: dict[str, Change]


class EntityPreview(NamedTuple):
    """One entity type.

    Arguments: schema, stored: what the states are called by this code and by the other side; added, removed: fields;
    differences: the first `DETAILED` of `differing`; apart: entities that cannot be compared, since one side has none
    or another version; seconds: of the fold; longest: the share of the partition with the most events.
    """

    entity: str
    schema: str
    stored: set[str]
    entities: int
    events: int
    added: list[str]
    removed: list[str]
    differing: int
    differences: list[Difference]
    apart: int
    troubles: list[Trouble]
    unread: list[Unread]
    seconds: float
    longest: float

    @property
    def clean(self) -> bool:
        return not (self.differing or self.troubles or self.unread)


class RowDifference(NamedTuple):
    """A row that would be another one, or there on one side only. Arguments: fields: empty where it is."""

    key: str
    only: str | None
    fields: dict[str, Change]


class TablePreview(NamedTuple):
    """A table of a projection. Arguments: compared: whether the other side has it; else as `EntityPreview`."""

    table: str
    rows: int
    compared: bool
    note: str | None
    added: list[str]
    removed: list[str]
    differing: int
    differences: list[RowDifference]
    failures: list[str]
    seconds: float

    @property
    def clean(self) -> bool:
        return not (self.differing or self.failures)


def preview_entity(
    behaviour: Behaviour[Any], new: LocalSide, old: Side, log: Log, environment: Environment
) -> EntityPreview:
    """Folds all events of an entity type and compares. Raises: Unavailable."""
    entity, ends = behaviour.entity, ends_of(log, [events_topic(behaviour.entity)])
    begun_s = environment.monotonic_s()
    shadow = new.shadow(entity, ends)
    seconds = environment.monotonic_s() - begun_s
    schemas = old.schemas(entity)
    there = old.fields(entity) if schemas else []
    mine = new.fields(entity)
    common = [name for name in mine if name in there]
    states = shadow.folded(common)
    before = old.folded(entity, ends, common) if schemas else {}
    wrong, apart = _compare(states, {id: state for id, state in before.items() if id not in shadow.troubles})
    told = sorted(wrong)[:DETAILED]
    sizes = _sizes(log, ends)
    return EntityPreview(
        entity,
        behaviour.schema,
        schemas,
        len(states) + len(shadow.troubles),
        shadow.events,
        [name for name in mine if name not in there] if schemas else [],
        [name for name in there if name not in mine],
        len(wrong),
        _explain(entity, told, new, old, ends, common) if told else [],
        apart if schemas else 0,
        list(shadow.troubles.values()),
        list(shadow.unread.values()),
        seconds,
        max(sizes, default=0) / max(1, sum(sizes)),
    )


def ends_of(log: Log, topics: Iterable[str]) -> dict[TopicPartition, int]:
    """The visible ends of the topics that there are."""
    found = log.topics(list(topics))
    return log.ends([TopicPartition(name, p) for name, topic in found.items() for p in range(topic.partitions)])


def _sizes(log: Log, ends: Positions) -> list[int]:
    begins = log.begins(list(ends))
    return [end - begins[tp] for tp, end in ends.items()]


def _compare(states: Mapping[str, Folded], before: Mapping[str, Folded]) -> tuple[list[str], int]:
    """The ids of states that differ at the same version, and how many cannot be compared."""
    wrong, apart = [], 0
    for entity_id in states.keys() | before.keys():
        one, other = states.get(entity_id), before.get(entity_id)
        if one is None or other is None or one.version != other.version:
            apart += 1
        elif one.digest != other.digest:
            wrong.append(entity_id)
    return wrong, apart


def _explain(
    entity: str, ids: Sequence[str], new: LocalSide, old: Side, ends: Positions, common: Sequence[str]
) -> list[Difference]:
    steps, known = new.traced(entity, ends, set(ids)), old.traced(entity, ends, set(ids))
    return [_difference(entity_id, steps[entity_id], known.get(entity_id, []), common) for entity_id in ids]


def _difference(entity_id: str, steps: Sequence[Traced], known: Sequence[Traced], common: Sequence[str]) -> Difference:
    """Walks the versions that both sides know."""
    after = {step.version: step for step in steps}
    same, now = 0, dict[str, Change]()
    first: Difference | None = None
    for step in known:
        mine = after.get(step.version)
        if mine is None:
            continue
        now = _changes(step.fields, mine.fields, common)
        if now and first is None:
            exact = after.get(same + 1) if same + 1 == step.version else None
            first = Difference(entity_id, exact.place if exact else None, (same + 1, step.version), now, {})
        elif not now and first is None:
            same = step.version
    assert first is not None, "their newest states differ"
    return first._replace(now=now)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], common: Iterable[str]) -> dict[str, Change]:
    return {name: Change(old.get(name), new.get(name)) for name in common if old.get(name) != new.get(name)}


def preview_tables(
    model: ReadModel, new: LocalSide, old: Side, log: Log, environment: Environment, ends: Positions | None
) -> list[TablePreview]:
    """Makes the rows of a read model anew and compares. Arguments: ends: how far (None: all events).

    Raises: Unavailable.
    """
    to = ends or ends_of(log, [topic.name for topic in model.topics])
    begun_s = environment.monotonic_s()
    tables, failures = new.rows_of(model, to)
    seconds = environment.monotonic_s() - begun_s
    found = []
    for table in model.tables:
        rows, note = tables[table.name], None
        try:
            before = old.rows(table.name, to)
        except Misuse as error:  # its shape changed: the rows that there are cannot be read by this code
            before, note = None, str(error)
        wrong = _compare_rows(rows, before) if before is not None else []
        names = _names(rows), _names(before or {})
        found.append(
            TablePreview(
                table.name,
                len(rows),
                before is not None,
                note,
                [name for name in names[0] if before and name not in names[1]],
                [name for name in names[1] if rows and name not in names[0]],
                len(wrong),
                wrong[:DETAILED],
                [str(failure) for failure in failures],
                seconds,
            )
        )
    return found


def _names(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(next(iter(rows.values()), {}))


def _compare_rows(
    rows: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]]
) -> list[RowDifference]:
    wrong = []
    for key in sorted(rows.keys() | before.keys()):
        one, other = rows.get(key), before.get(key)
        if one is None or other is None:
            wrong.append(RowDifference(key, "new" if other is None else "old", {}))
        elif changes := _changes(other, one, one.keys() & other.keys()):
            wrong.append(RowDifference(key, None, changes))
    return wrong
