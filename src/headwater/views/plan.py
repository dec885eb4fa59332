"""What a view is, once its statement has been understood: plain values, made by `planning`, run by the engine.

Theory of operation. A view is maintained by *changes*: a batch of records becomes rows with a weight `w` (+1: the row
came, -1: it went; a Z-set), the view's query is applied to these rows alone, and what comes out is added to what is
stored. This works since every step is linear (what it does to a sum of changes is the sum of what it does to each) or
says how it is maintained otherwise. A `View` has these steps in the order in which they are applied:

1. `relations`: what is read. Each becomes a table of changed rows named by its alias (`r0`, `r1`, …) with its
   `columns` and the weight. A relation of events reads only the event types that it lists, and of each only the fields
   that the query uses. One with a `key` is a table: a later row with the same key replaces the earlier one, which is
   its old row with weight -1 and its new one with +1, and a record that deletes is its old row with -1 only. Of several
   changes of one key in a batch the last one counts.
2. `steps` beside the first relation, left to right: an `Unnest` (linear: one row for each element of a list, `u0`,
   `u1`, …), a `Join` (bilinear: the change of A ⋈ B is ΔA ⋈ B(old) + A(new) ⋈ ΔB, with the product of the weights), or
   a `Window`, alias `win` with the columns `window_start` and `window_end` (TUMBLE and HOP with a grace: one row for
   each window that the row is in and that is still open; without a grace these two are an `Unnest`; SESSION: the
   session that the row is in among those of its batch, which is joined with what is stored of the same group).
3. `where`: a filter over the columns of all aliases.
4. Without `grouping` the view's rows are its `output` over the columns of all aliases.
5. With `grouping`, rows are gathered by `keys` (columns `k0`, `k1`, …) into `partials` (columns `p0`, `p1`, …) and
   `n`, the sum of the weights. A group is there while n > 0 (without keys there is always exactly one). Changes of
   partials are appended and folded when they are read. `having` and the `output` are expressions over `k…`, `p…`, `n`.

All expressions are texts of DuckDB SQL in which every column is quoted and has its alias, so they can be put in any
statement that has these aliases in sight. DuckDB itself has bound all of them: names and types are right.

What kind of partial is maintained how:

| kind | of the changed rows | folded by | where the input takes back |
|---|---|---|---|
| count | sum of w over rows with a non-NULL argument (NULL argument expression: all rows) | sum | the same |
| sum | sum of argument × w; the planner adds a count beside it, since the sum of no value is NULL | sum | the same |
| min, max | min, max of the argument | min, max | weighted values per group (a *bag*) |
| arg_min, arg_max | argument of the row with the least, greatest (`by`, *`ties`) | the same | bag |
| distinct | always a bag: sum of w by value; it is the number of values with a weight above 0 | sum of w | the same |

`Partial.bag` says which of them need one. A row counts for a partial only if its `filter` is true. An argument that is
`repeated` is a list whose elements are the row's values (only for distinct; other folds within an event are already
part of the argument, `list_sum(…)`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from headwater.views.types import SqlType

Origin = Literal["events", "states", "records", "view"]
PartialKind = Literal["count", "sum", "min", "max", "arg_min", "arg_max", "distinct"]
Side = Literal["inner", "left", "right", "full"]
Target = Literal["table", "stream"]
Late = Literal["dead_letter", "drop"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation or of a view. Arguments: name: unquoted; type."""

    name: str
    type: SqlType


@dataclass(frozen=True, slots=True)
class Field:
    """How a column is read from the value of a record.

    Arguments: column: its name in the relation; wire: the name of the member at the top of the JSON object; type: what
    to read, cut down to the parts that are used: `type.structure` is the right side for `from_json`.
    """

    column: str
    wire: str
    type: SqlType


@dataclass(frozen=True, slots=True)
class EventType:
    """An event type that a relation reads; columns that it has no field for are NULL.

    Arguments: name: its wire name; cls: its class, for codecs and upcasters; None: records that others write, described
    by a CREATE STREAM or TABLE with columns, where `name` is "" and every record is meant; fields.
    """

    name: str
    cls: type[Any] | None
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """Something that rows come from.

    Arguments: alias: its name in expressions; name: of the topic, or of the view; origin: events of a family, states of
    an aggregate (`<entity>-state`, folded), records that others write, or another view; columns: those that the query
    uses, fields and metadata; types: which records are read and how (empty for views; of states the aggregate's class,
    with the fields of its state); key: the columns that identify a row where a later one replaces it, empty: rows are
    only added; retracts: whether a row can go again; view: the plan of another view; history: whether
    what rows were before is kept, since they are looked up at a time.
    """

    alias: str
    name: str
    origin: Origin
    columns: tuple[Column, ...]
    types: tuple[EventType, ...] = ()
    key: tuple[str, ...] = ()
    retracts: bool = False
    view: View | None = None
    history: bool = False


@dataclass(frozen=True, slots=True)
class Unnest:
    """One row per element. Arguments: alias: of the element, its one column is `item`; of: the list; outer: whether a
    row without elements stays, with NULL; window: where the list is one of time windows, which."""

    alias: str
    of: str
    outer: bool = False
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """How far apart the times of two joined rows may be: left - before_us <= right <= left + after_us.

    Arguments: left, right: the times, expressions; before_us, after_us: microseconds; grace_us: a row is taken until
    the latest time that its partition has had lies this far past the last partner that it can have; None: nothing is
    late, and both streams are kept for good.
    """

    left: str
    right: str
    before_us: int
    after_us: int
    grace_us: int | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """A join of all that stands left of it with one more relation.

    Arguments: right; side; equal: pairs of expressions (left, right) that must be equal, at least one; on: what else
    must hold, over the columns of both ("true": nothing); within: for two streams; as_of: the time, an expression of
    the left side, at which the table on the right is looked up; None: a change of the table changes old results.
    """

    right: Relation
    side: Side
    equal: tuple[tuple[str, str], ...]
    on: str = "true"
    within: Interval | None = None
    as_of: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The time windows of a row, alias `win`.

    Arguments: kind; time: the row's time, a TIMESTAMPTZ expression; size_us: of a tumbling or hopping window, or the
    gap that ends a session; advance_us: from one window's start to the next one's (tumbling: the size; session: 0);
    grace_us: for how long after its end a window takes rows, by the latest time that the row's partition has had up to
    it, in log order (see `clock`); None: nothing is ever late and no window closes.
    """

    kind: Literal["tumble", "hop", "session"]
    time: str
    size_us: int
    advance_us: int
    grace_us: int | None


Step: TypeAlias = Unnest | Join | Window


@dataclass(frozen=True, slots=True)
class Key:
    """A column of a group's key. Arguments: name: `k0`, …; expression: over the aliases; type."""

    name: str
    expression: str
    type: SqlType


@dataclass(frozen=True, slots=True)
class Partial:
    """A column of what is stored per group.

    Arguments: name: `p0`, …; kind; argument: over the aliases, None: the row itself (count only); type: of the stored
    value (of the argument, where there is a bag); by: what arg_min and arg_max compare; by_type; ties: expressions that
    are compared next, partition and offset first, so that the result does not depend on batches; filter: None: all
    rows; repeated: the argument is a list of values; bag: whether weighted values must be kept.
    """

    name: str
    kind: PartialKind
    argument: str | None
    type: SqlType
    by: str | None = None
    by_type: SqlType | None = None
    ties: tuple[str, ...] = ()
    filter: str | None = None
    repeated: bool = False
    bag: bool = False


@dataclass(frozen=True, slots=True)
class Grouping:
    """How rows are gathered. Arguments: keys: none: all rows are one group; partials; having: over `k…`, `p…`, `n`."""

    keys: tuple[Key, ...]
    partials: tuple[Partial, ...]
    having: str | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """A column of the view. Arguments: name; expression: over the aliases, or over `k…`, `p…`, `n`; type."""

    name: str
    expression: str
    type: SqlType


@dataclass(frozen=True, slots=True)
class View:
    """A view that can be maintained.

    Arguments: name; target: a table, or a stream of rows into a topic; relation: the first one; steps; where;
    grouping; output; key: the columns of the output that identify a row, empty: none do; topic: where the rows of a
    stream go; history: whether past states are kept; sql: the statement as it was written; late: what becomes of a
    record that is left out of a window that has closed; record_key: the column that is the key of a stream's records;
    None: they have that of the record that they come from; sink: the address of a store that gets the rows of a table,
    too (see `sinks`); shared: whether processes share its partitions (see `sharing`).
    """

    name: str
    target: Target
    relation: Relation
    steps: tuple[Step, ...]
    where: str | None
    grouping: Grouping | None
    output: tuple[Output, ...]
    key: tuple[str, ...]
    topic: str | None
    history: bool
    sql: str
    late: Late = "dead_letter"
    record_key: str | None = None
    sink: str | None = None
    shared: bool = False

    @property
    def relations(self) -> tuple[Relation, ...]:
        """All that is read, in the order of their aliases."""
        return (self.relation, *(step.right for step in self.steps if isinstance(step, Join)))

    @property
    def window(self) -> Window | None:
        """Its time window, where that needs more than the list of windows that a row is in."""
        return next((step for step in self.steps if isinstance(step, Window)), None)

    @property
    def graced(self) -> bool:
        """Whether a record can come too late for it."""
        nears = [step.within for step in self.steps if isinstance(step, Join)]
        window = self.window
        return any(one is not None and one.grace_us is not None for one in nears) or (
            window is not None and window.grace_us is not None
        )

    @property
    def retracts(self) -> bool:
        """Whether its rows can go again or change."""
        return self.grouping is not None or any(one.retracts or one.key for one in self.relations)
