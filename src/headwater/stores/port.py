"""The port of a store, and the contract that every implementation keeps.

- **Rows and positions move together.** `apply` compares the stored positions of a runner with those that the
  caller started from, and then commits rows and new positions in one transaction, or raises `StaleRunner` and
  writes nothing. So an event is applied once, whoever else runs, and after a crash the rows are the fold of
  the log up to the stored positions.
- **Two runners may change one row** (it is fed by several partitions). From `load` to the commit nobody else
  changes what was loaded: an embedded file locks itself, a server locks rows in the order of their keys, a
  search engine writes on condition and does the work again.
- **Values come back equal.** A row that is read equals the row that was written, in every column type: no
  decimal becomes a float, no time loses its zone.
- **Readers** see committed rows only, and cannot write.
- **A table's shape belongs to its version.** Another shape under the same name and version is refused when
  the table is opened.
- **A name shows one version**, and goes on to show it while another one is opened and filled (see `stores.switching`).
- **Failures**: `Unavailable` (the store cannot be reached, is locked or full: nothing was written), `Misuse`
  (wrong SQL, a value of the wrong type, a changed shape), `StaleRunner`.

- **Bookkeeping is rows, too.** What a runner remembers beside its positions (held records, ids that it has seen) is a
  table of its own, made by `bookkeeping_table` and opened with the others: it moves in the same transactions. Who gives
  a runner something to do writes such rows from outside, with an `apply` that moves no positions.

A store knows nothing of events or of the classes that declare projections; it gets schemas and rows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec

from headwater.errors import Misuse
from headwater.log.port import Aborted, Positions, TopicPartition
from headwater.stores.indexes import Index, refuse_bad_indexes
from headwater.stores.shapes import describe

R = TypeVar("R")
Key = tuple[Any, ...]
"""The values of a row's key columns, in the schema's order; a tuple also for one column."""

LONGEST_NAME = 63
OWN_NAME = "hw_[a-z]+_[a-z0-9_]*_[0-9a-f]{8}"
NAME = re.compile(rf"(?=(?!hw_|sqlite_)|{OWN_NAME}$)(?!.*_v[0-9]+$)[a-z_][a-z0-9_]{{0,{LONGEST_NAME - 1}}}")
"""Of a table: names with hw_ are the store's own, and those of `bookkeeping_table`."""


class StaleRunner(Aborted):
    """The store stands elsewhere than the runner believes: another one has taken over, or positions were
    reset. Nothing was written; go on from the stored positions."""


class Column(NamedTuple):
    """A column: its name is the field's name in Python, `type` the field's annotation."""

    name: str
    type: Any


@dataclass(frozen=True, slots=True, eq=False)
class TableSchema(Generic[R]):
    """A table of one version of a read model.

    Arguments: name: what queries call it; version: of its shape and of the code that fills it; row: the class
    (a msgspec Struct) whose fields are the columns; key: the columns that make the primary key; indexes: groups of
    columns by which rows are often looked for, of no meaning but speed: a store that knows none may pass over them.
    Raises: Misuse for a name, key or index that cannot be one.
    """

    name: str
    version: int
    row: type[R]
    key: tuple[str, ...]
    indexes: tuple[Index, ...] = ()
    columns: tuple[Column, ...] = field(init=False)

    def __post_init__(self) -> None:
        fields: Any = msgspec.structs.fields(self.row)  # type: ignore[arg-type] # any Struct class, also of ours
        object.__setattr__(self, "columns", tuple(Column(f.name, f.type) for f in fields))
        if not NAME.fullmatch(self.name):
            raise Misuse(
                f"{self.name!r} cannot be a table: use a-z, 0-9 and _, beginning with a letter but not with hw_ "
                "or sqlite_, and not ending as _v1 does"
            )
        names = [column.name for column in self.columns]
        if not self.key or not set(self.key) <= set(names):
            raise Misuse(f"table {self.name} needs a key among its columns {', '.join(names)}: write hw.Key[...]")
        refuse_bad_indexes(f"table {self.name}", names, self.indexes)

    @property
    def shape(self) -> dict[str, str]:
        """Column name -> its type in words, the key's columns marked. Two equal shapes can share rows."""
        return {c.name: describe(c.type) + (" key" if c.name in self.key else "") for c in self.columns}

    @property
    def fingerprint(self) -> str:
        """A short name of the shape."""
        text = msgspec.json.encode([list(self.shape.items()), self.key])
        return hashlib.blake2b(text, digest_size=8).hexdigest()

    @property
    def title(self) -> str:
        return f"{self.name} version {self.version}"


def bookkeeping_table(kind: str, runner: str, row: type[R], key: tuple[str, ...]) -> TableSchema[R]:
    """A table in which a runner remembers something beside its rows; no table of a user can have its name.

    Arguments: kind: what it remembers, in letters (`held`: hw_held_shop_revenue_v1_…); runner: whose it is; row, key:
    as of `TableSchema`. Where a row is of one partition, its key begins with topic and partition.
    """
    words = re.sub(r"[^a-z0-9]+", "_", runner.lower())
    name = f"hw_{kind}_{words}"[: LONGEST_NAME - 9]
    return TableSchema(f"{name}_{hashlib.blake2b(runner.encode(), digest_size=4).hexdigest()}", 1, row, key)


def refuse_stale(runner: str, start: Positions, to: Positions, stored: Positions) -> None:
    """Compares the positions that a runner started from with the stored ones. Raises: StaleRunner."""
    for partition in to:
        if stored.get(partition) != start.get(partition):
            raise StaleRunner(
                f"{runner} started from {start.get(partition)} of {partition}, but the store stands at "
                f"{stored.get(partition)}"
            )


def moves(start: Positions, to: Positions) -> bool:
    """Whether a commit moves a position. One that is lost with its server is noticed by that alone."""
    return any(start.get(partition) != position for partition, position in to.items())


def refuse_another_runner(schema: TableSchema[Any], place: str, runner: str, stored: str) -> None:
    """Compares who opens a table with who fills it. Arguments: place: the store's, for the error. Raises: Misuse."""
    if stored != runner:
        raise Misuse(
            f"{schema.title} in {place} is filled by {stored}, not by {runner}: "
            'give one of the two read models another name="…"'
        )


def word_of_sql(name: str) -> str:
    """Added to what a database says of a query that it does not understand near a name."""
    return f'; if {name} is meant as a table or a column, it is also a word of SQL: write "{name}" in double quotes'


def refuse_changed_shape(schema: TableSchema[Any], stored: Mapping[str, str]) -> None:
    """Compares a schema with the stored shape of the same name and version.

    Raises: Misuse naming the columns that differ and the version to declare.
    """
    shape = schema.shape
    changes = [f"{name} is new" for name in shape.keys() - stored.keys()]
    changes += [f"{name} is gone" for name in stored.keys() - shape.keys()]
    changes += [
        f"{name} was {stored[name]} and is {shape[name]}"
        for name in shape.keys() & stored.keys()
        if shape[name] != stored[name]
    ]
    if not changes and list(shape) != list(stored):
        changes = [f"the order of columns was {', '.join(stored)}"]
    if changes:
        raise Misuse(
            f"the shape of {schema.title} changed: {'; '.join(sorted(changes))}. "
            f"Declare it with version={schema.version + 1}: its rows are made again beside the old ones"
        )


class Loading(Protocol):
    """The rows, inside the transaction of `Store.apply`. Valid only there."""

    def load(self, table: TableSchema[R], keys: Collection[Key]) -> dict[Key, R]:
        """The rows of those keys that exist, in one statement as far as the store allows."""
        ...

    def save(self, table: TableSchema[R], rows: Collection[R]) -> None:
        """Writes whole rows, new or not: one write each. A value of the wrong type raises `Misuse`."""
        ...

    def delete(self, table: TableSchema[Any], keys: Collection[Key]) -> None:
        """Removes rows; those that do not exist are no error."""
        ...


class Answer:
    """What a query found: `columns`, and the rows as tuples, read as they are iterated (once). Cells are what the
    store makes of its types, a decimal here a text and there a Decimal; `stores.typed.rows_as` makes them one."""

    def __init__(self, columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
        self.columns, self._rows = columns, rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    def dicts(self) -> Iterator[dict[str, Any]]:
        """The rows as dictionaries by column name."""
        return (dict(zip(self.columns, row, strict=True)) for row in self._rows)


RunnerState = Literal["running", "held", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class RunnerNote:
    """What a runner says about itself, for other processes.

    Arguments: worker: which of the processes that share the runner's partitions, as "host/pid/..."; state;
    failure: text of the last failure; heartbeat: when it said so (UTC); partitions: what it owns.
    """

    worker: str
    state: RunnerState
    failure: str | None
    heartbeat: datetime
    partitions: frozenset[TopicPartition] = frozenset()


class Store(Protocol):
    """A store. Thread-safe."""

    def bind(self, log_id: str) -> None:
        """Ties the store to a log. Raises: Misuse: its rows come from another log."""
        ...

    def open_tables(self, runner: str, schemas: Sequence[TableSchema[Any]], code: str = "") -> str:
        """Makes what does not exist. Queries by a name that shows nothing yet find this version from then on.

        Arguments: runner: who fills them; code: fingerprint of the code that fills them.
        Returns: the code's fingerprint when the stored rows were begun (`code` itself, if there are none).
        Raises: Misuse: the shape of a version changed, or another runner fills the table.
        """
        ...

    def forget(self, runner: str) -> None:
        """Removes the tables that a runner fills, its positions and the fingerprint of its code."""
        ...

    def positions(self, runner: str) -> dict[TopicPartition, int]:
        """How far the rows have come: the next offset per partition; partitions never applied are left out."""
        ...

    def apply(self, runner: str, start: Positions, to: Positions, work: Callable[[Loading], None]) -> None:
        """Runs `work` and commits its changes together with the positions `to`. Where another runner was first, a
        store may undo everything and run `work` again.

        Arguments: start: for each partition of `to`, the position the runner started from (left out: nothing
        applied yet); to: nothing is compared where it is empty, for who is no runner. An exception of `work` rolls
        back and is raised again.
        Raises: StaleRunner, Unavailable.
        """
        ...

    def row(self, table: TableSchema[R], key: Key) -> R | None:
        """One row, or None. Raises: Misuse: the table was never opened, or the key does not fit."""
        ...

    def rows(
        self,
        table: TableSchema[R],
        where: Mapping[str, object] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
    ) -> list[R]:
        """Rows whose columns equal `where`, in the order of these columns ("-total": descending), then of the
        key."""
        ...

    def query(
        self, sql: str, args: Sequence[object] | Mapping[str, object] = (), *, timeout_s: float | None = None
    ) -> Answer:
        """A question in the store's own language, read-only. Arguments: timeout_s: for the answer, its last row
        included. Raises: Misuse with the store's words. Unavailable: it took longer."""
        ...

    def note(self, runner: str, note: RunnerNote) -> None:
        """Says how a runner's worker is; replaces what that worker said before. A worker that "stopped"
        without a failure is forgotten."""
        ...

    def notes(self, runner: str) -> list[RunnerNote]:
        """What the workers of a runner last said, the latest heartbeat first."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class ServerStore(Protocol):
    """What a store has beside its port, where another process does its work: who waits for it does something else
    meanwhile. (One that works in this process would only be disturbed.)"""

    @property
    def is_server(self) -> Literal[True]: ...


@runtime_checkable
class PlacedStore(Protocol):
    """What a store has beside its port, where it can say where it is: for who asks what somebody waits for."""

    @property
    def place(self) -> str:
        """Its address, without a password."""
        ...


def refuse_other_keys(schema: TableSchema[Any], keys: Collection[Key]) -> None:
    """Raises: Misuse: one is no key of the table, by its form."""
    count = len(schema.key)
    if set(map(type, keys)) <= {tuple} and set(map(len, keys)) <= {count}:  # nearly always, without a step for each
        return
    for key in keys:
        if not isinstance(key, tuple) or len(key) != count:
            raise Misuse(f"{key!r} is no key of {schema.title}: give {', '.join(schema.key)}")


def key_of_row(table: TableSchema[Any], rows: Collection[Any]) -> list[Key]:
    """The keys of rows, in order."""
    return list(zip(*(map(attrgetter(name), rows) for name in table.key), strict=True))
