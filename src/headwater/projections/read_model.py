"""A read model: tables that share a runner, the topics that feed them, and the code's fingerprint.

`read_model_of` makes one from projection classes, `aggregate_table` from an aggregate's behaviour: the table that
every aggregate has without asking.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from headwater.entities.code import code_of
from headwater.errors import Misuse
from headwater.messages.envelope import Meta
from headwater.messages.reactions import Reaction, reactions_of
from headwater.projections.declare import Projection, group_of, table_of
from headwater.projections.folding import Handler, Rows
from headwater.projections.gathering import Listener, Topic, key_tests
from headwater.stores.port import TableSchema


@dataclass(frozen=True, slots=True, eq=False)
class ReadModel:
    """Arguments: title: for people; runner: names its position in the store and its consumer group; tables;
    topics; code: fingerprint of what fills the tables; remade: whether a change of shape or code throws the
    rows away and makes them again without asking."""

    title: str
    runner: str
    tables: tuple[TableSchema[Any], ...]
    topics: tuple[Topic, ...]
    code: str
    remade: bool = False

    @property
    def families(self) -> frozenset[str]:
        """The entity types whose events feed it."""
        return frozenset(topic.entity for topic in self.topics)


def read_models_of(app: str, projections: Sequence[type[Projection]]) -> list[ReadModel]:
    """One read model per projection, or per `group=`. Raises: Misuse: two tables have one name."""
    groups: dict[str, list[type[Projection]]] = {}
    names: dict[str, type[Projection]] = {}
    for projection in projections:
        other = names.setdefault(table_of(projection).name, projection)
        if other is not projection:
            raise Misuse(
                f"{projection.__qualname__} and {other.__qualname__} are both the table {table_of(projection).name}: "
                'give one of them another, class …(hw.Projection, name="…")'
            )
        groups.setdefault(group_of(projection), []).append(projection)
    return [read_model_of(app, group, members) for group, members in groups.items()]


def read_model_of(app: str, group: str, projections: Sequence[type[Projection]]) -> ReadModel:
    """The read model of projections that share a position.

    Raises: Misuse: nothing feeds them.
    """
    tables = tuple(table_of(projection) for projection in projections)
    listeners: list[Listener] = []
    functions: list[Callable[..., Any]] = []
    for projection in projections:
        reactions = reactions_of(projection)
        if not reactions and len(projections) == 1:
            raise Misuse(f"projection {projection.__name__} reacts to nothing; add a method with @hw.on(SomeEvent)")
        listeners += [listener_of(projection, reaction) for reaction in reactions]
        functions += [reaction.function for reaction in reactions]
    entities = sorted({str(listener.event.__hw__.entity) for listener in listeners})
    topics = tuple(Topic(e, [one for one in listeners if one.event.__hw__.entity == e]) for e in entities)
    versions = ".".join(str(table.version) for table in sorted(tables, key=attrgetter("name")))
    return ReadModel(group, f"{app}-{group}-v{versions}", tables, topics, code_of(list(dict.fromkeys(functions))))


def listener_of(projection: type[Projection], reaction: Reaction) -> Listener:
    event: Any = reaction.message_type
    handler = Handler(
        name=f"{projection.__name__}.{reaction.function.__name__}",
        table=table_of(projection),
        make=maker_of(projection),
        call=call_of(reaction),
    )
    names_row = reaction.key or reaction.keys
    wants_meta = reaction.wants_meta or (names_row is not None and uses_meta(names_row))
    own = attrgetter(event.__hw__.key_field)
    tests = key_tests(handler.table)
    return Listener(event, handler, tests, reaction.key, reaction.keys, own, wants_meta)


def uses_meta(function: Callable[..., Any]) -> bool:
    """Whether a function of (event, meta) looks at its second argument; reading headers for nothing costs more
    than most key functions do."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_argcount != 2 or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        return True
    name = code.co_varnames[1]
    loaded = {instruction.argval for instruction in dis.get_instructions(code)}
    return any(name == value or (isinstance(value, tuple) and name in value) for value in loaded)


def maker_of(projection: type[Projection]) -> Callable[..., Any]:
    """Makes a row from the values of its key; all other columns have their defaults."""
    names = projection.__hw__.key_fields
    if projection.__match_args__[: len(names)] == names:
        return projection
    return lambda *key: projection(**dict(zip(names, key, strict=True)))


def call_of(reaction: Reaction) -> Callable[[Any, Any, Meta | None, Rows], object]:
    """The function with all four arguments, whatever its author left out."""
    function = reaction.function
    if reaction.wants_meta and reaction.wants_rows:
        return function
    if reaction.wants_meta:
        return partial(_with_meta, function)
    if reaction.wants_rows:
        return partial(_with_rows, function)
    return partial(_alone, function)


def _with_meta(function: Callable[..., Any], row: Any, event: Any, meta: Meta | None, rows: Rows) -> object:
    return function(row, event, meta)


def _with_rows(function: Callable[..., Any], row: Any, event: Any, meta: Meta | None, rows: Rows) -> object:
    return function(row, event, rows)


def _alone(function: Callable[..., Any], row: Any, event: Any, meta: Meta | None, rows: Rows) -> object:
    return function(row, event)
