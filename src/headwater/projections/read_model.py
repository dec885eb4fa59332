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
from itertools import chain
from operator import attrgetter
from typing import Any, Protocol

from headwater.entities.code import code_of
from headwater.errors import Misuse
from headwater.failures.parking import Parking
from headwater.failures.policy import DEFAULT, FailurePolicy
from headwater.log.port import Record
from headwater.log.topology import events_topic
from headwater.messages.declare import key_of
from headwater.messages.envelope import Meta
from headwater.messages.reactions import Reaction, reactions_of
from headwater.messages.upcasts import functions_of
from headwater.projections.declare import Projection, dedupe_of, group_of, policy_of, table_of
from headwater.projections.dedupe import Dedupe
from headwater.projections.folding import Call, Handler, Rows, fold
from headwater.projections.gathering import Gather, Gathered, Listener, Topic, key_tests
from headwater.projections.isolating import fold_carefully
from headwater.projections.straight import Straight, fold_straight
from headwater.schemas.topics import PLAIN, Codecs
from headwater.stores.port import Loading, TableSchema


class Work(Protocol):
    """What becomes of a batch, where no Python is called for each of its events. Calls of `Gather` and of what follows
    come in turn: what is folded is the batch that was gathered last, or a part of it."""

    def prepare(self, records: Sequence[Record]) -> Gather:
        """What records mean: a call for each, of which only the record counts, and those that cannot be read. This may
        be called while another batch is worked on, in another thread."""
        ...

    def fold(self, loading: Loading, calls: Sequence[Call], parking: Parking) -> None:
        """Applies these calls, and tells `parking` what is left out of them. Raises: Stopped: at the first record that
        cannot be applied."""
        ...

    def fold_carefully(
        self, loading: Loading, records: Sequence[Record], gathered: Gathered, parking: Parking, *, saving: bool
    ) -> None:
        """Applies what can be applied of a batch, and tells the rest to `parking`. Raises: as `fold`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ReadModel:
    """Arguments: title: for people; runner: names its position in the store and its consumer group; tables;
    topics; code: fingerprint of what fills the tables; remade: whether a change of shape or code throws the
    rows away and makes them again without asking; dedupe: how copies of records are recognised, if they are;
    on_failure: what happens at a record that cannot be applied; sinks: whether a handler writes beside the rows; work:
    what is done instead of calling the listeners of topics."""

    title: str
    runner: str
    tables: tuple[TableSchema[Any], ...]
    topics: tuple[Topic, ...]
    code: str
    remade: bool = False
    dedupe: Dedupe | None = None
    on_failure: FailurePolicy = DEFAULT
    sinks: bool = False
    work: Work | None = None

    @property
    def families(self) -> frozenset[str]:
        """The entity types whose events feed it."""
        return frozenset(topic.entity for topic in self.topics if topic.entity)

    @property
    def wants_envelopes(self) -> bool:
        """Whether it asks records for more than their values, where nothing goes wrong."""
        other = self.work is not None or self.dedupe is not None
        return other or any(topic.wants_envelopes for topic in self.topics)

    @property
    def not_following(self) -> frozenset[str]:
        """The entity types whose reverts it does not follow, though one was met by now."""
        return frozenset(topic.entity for topic in self.topics if topic.passed_revert)

    def as_json(self, record: Record) -> bytes | None:
        """The JSON that the value of a record of its topics says; None: none."""
        (topic,) = (topic for topic in self.topics if topic.name == record.topic)
        return topic.as_json(record)

    def prepare(self, records: Sequence[Record]) -> Gather:
        """As `gather`; what can be done before the turn of these records has come is done now."""
        if self.work is not None:
            return self.work.prepare(records)
        gathered = self.gather(records)
        return lambda: gathered

    def gather(self, records: Sequence[Record]) -> Gathered:
        """What records mean, topic by topic; the order within each partition is kept."""
        if self.work is not None:
            return self.work.prepare(records)()
        if len(self.topics) == 1:
            return self.topics[0].gather(records)
        calls: list[Call] = []
        found = Gathered(calls, {})
        for topic in self.topics:
            some, troubles = topic.gather([record for record in records if record.topic == topic.name])
            calls.extend(some)
            found.troubles.update(troubles)
        return found

    def fold(self, loading: Loading, calls: Sequence[Call], parking: Parking) -> None:
        """Applies what was gathered. Raises: Stopped."""
        if self.work is not None:
            self.work.fold(loading, calls, parking)
        elif isinstance(calls, Straight):
            fold_straight(loading, calls)
        else:
            fold(loading, self.tables, calls)

    def fold_carefully(
        self, loading: Loading, records: Sequence[Record], gathered: Gathered, parking: Parking, *, saving: bool
    ) -> None:
        """See `isolating`. Raises: Stopped."""
        if self.work is not None:
            self.work.fold_carefully(loading, records, gathered, parking, saving=saving)
        else:
            fold_carefully(loading, self.tables, records, gathered, parking, saving=saving)


def read_models_of(app: str, projections: Sequence[type[Projection]], codecs: Codecs = PLAIN) -> list[ReadModel]:
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
    return [read_model_of(app, group, members, codecs) for group, members in groups.items()]


def read_model_of(app: str, group: str, projections: Sequence[type[Projection]], codecs: Codecs) -> ReadModel:
    """The read model of projections that share a position.

    Raises: Misuse: nothing feeds them.
    """
    tables = tuple(table_of(projection) for projection in projections)
    listeners: dict[str, list[Listener]] = {}
    functions: list[Callable[..., Any]] = []
    for projection in projections:
        reactions = reactions_of(projection)
        if not reactions and len(projections) == 1:
            raise Misuse(f"projection {projection.__name__} reacts to nothing; add a method with @hw.on(SomeEvent)")
        for reaction in reactions:
            listeners.setdefault(str(reaction.entity), []).append(listener_of(projection, reaction))
        functions += [reaction.function for reaction in reactions]
    topics = tuple(topic_of(entity, ones, codecs) for entity, ones in sorted(listeners.items()))
    versions = ".".join(str(table.version) for table in sorted(tables, key=attrgetter("name")))
    all_listeners = list(chain.from_iterable(listeners.values()))
    functions += functions_of(listener.event for listener in all_listeners)
    code, dedupe = code_of(list(dict.fromkeys(functions))), dedupe_of(group, projections)
    if dedupe is not None:  # other rows come of it
        code += f" {dedupe.words}"
    runner, policy = f"{app}-{group}-v{versions}", policy_of(group, projections)
    sinks = any(listener.handler.sinks for listener in all_listeners)
    return ReadModel(group, runner, tables, topics, code, dedupe=dedupe, on_failure=policy, sinks=sinks)


def topic_of(entity: str, listeners: Sequence[Listener], codecs: Codecs) -> Topic:
    return Topic(entity, listeners, codecs.of(events_topic(entity), [listener.event for listener in listeners]))


def listener_of(projection: type[Projection], reaction: Reaction) -> Listener:
    event: Any = reaction.message_type
    handler = Handler(
        name=f"{projection.__name__}.{reaction.function.__name__}",
        table=table_of(projection),
        make=maker_of(projection),
        call=call_of(reaction),
        short=None if reaction.wants_meta or reaction.wants_rows or reaction.wants_sink else reaction.function,
        sinks=reaction.wants_sink,
    )
    names_row = reaction.key or reaction.keys
    wants_meta = reaction.wants_meta or (names_row is not None and uses_meta(names_row))
    own = key_of if event.__hw__.key_field is None else attrgetter(event.__hw__.key_field)
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
    if reaction.wants_sink:
        return partial(_with_sink, function, reaction.wants_meta, reaction.wants_rows)
    if reaction.wants_meta and reaction.wants_rows:
        return function
    if reaction.wants_meta:
        return partial(_with_meta, function)
    if reaction.wants_rows:
        return partial(_with_rows, function)
    return partial(_alone, function)


def _with_sink(
    function: Callable[..., Any], meta_too: bool, rows_too: bool, row: Any, event: Any, meta: Meta | None, rows: Rows
) -> object:
    others = ([meta] if meta_too else []) + ([rows] if rows_too else [])
    return function(row, event, *others, rows._sink)


def _with_meta(function: Callable[..., Any], row: Any, event: Any, meta: Meta | None, rows: Rows) -> object:
    return function(row, event, meta)


def _with_rows(function: Callable[..., Any], row: Any, event: Any, meta: Meta | None, rows: Rows) -> object:
    return function(row, event, rows)


def _alone(function: Callable[..., Any], row: Any, event: Any, meta: Meta | None, rows: Rows) -> object:
    return function(row, event)
