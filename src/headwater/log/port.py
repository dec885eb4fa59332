"""The log: partitioned, append-only topics, and the contract that every implementation keeps.

- **Order** is per partition. Nobody may rely on an order between partitions, and a transaction over two
  partitions may become visible in one before the other.
- **Committed data only.** A reader never sees a record of an open or aborted transaction, and what it has
  read of a partition is a completed prefix: nothing appears later below a position that was reached.
- **Positions have gaps** (transaction markers, aborted records, compaction). A position is the offset of the
  next record to read. `Batch.reached` lies past gaps; counting records or `offset + 1` does not.
- **Transactions** write to several topics and move a group's positions, all or nothing.
- **Fencing.** A transaction that moves a group's positions commits only while the member that presents its
  `Fence` still owns those partitions. After `Fenced` nothing of the transaction was written.
- **Failures** are `Unavailable` (the log cannot be reached; nothing is known to be written), `Aborted`,
  `Fenced` and `Misuse`. A failure that leaves the outcome open is settled by the implementation, by reading,
  before it answers; where the log itself is gone for long, it is `Undecided`.

The log knows bytes only. Domain types live above it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from headwater.errors import HeadwaterError, Unavailable
from headwater.log.findings import Finding

Headers = Sequence[tuple[str, bytes]]


class Aborted(HeadwaterError):
    """The transaction was not carried out, nothing of it is visible; the work can be done again from the
    committed positions."""


class Torn(Aborted):
    """Only a part of the transaction is visible. What is known of its partitions must be built anew from what
    can be read, before the work is done again."""


class Undecided(Unavailable):
    """The log went away while something was written, and did not come back in time to be asked: it may have
    been written. Before doing it again, read what is there."""


class Fenced(HeadwaterError):
    """Another member owns the partitions now; nothing was written. Drop what is known of them."""


class TopicPartition(NamedTuple):
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


Positions = Mapping[TopicPartition, int]
"""Per partition, the offset of the next record."""


class Record(Protocol):
    """A committed record. Implementations may compute the properties lazily."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def timestamp_ms(self) -> int:
        """Milliseconds since 1970: the producer's, or the log's where the topic says `log_time`."""
        ...


class StoredRecord(NamedTuple):
    """A `Record` held in plain fields."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """A record to append. `timestamp_ms` None: now.

    A struct, out of the garbage collector's sight: an owner makes several for every command, and they refer to
    nothing that could refer back.
    """

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How a topic is made.

    Arguments: retention_ms: None keeps for ever; compacted: only the latest record of a key must stay;
    log_time: record times are the log's clock, not the writer's.
    """

    name: str
    partitions: int
    retention_ms: int | None = None
    compacted: bool = False
    log_time: bool = False


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic as it is. `id` changes when a topic is deleted and made again."""

    name: str
    id: str
    partitions: int
    retention_ms: int | None
    compacted: bool
    log_time: bool


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """A consumer group: its members' ids with what each owns, and its committed positions.

    Arguments: foreign: the partitions whose position another program has set.
    """

    name: str
    members: Mapping[str, Sequence[TopicPartition]]
    positions: Positions
    foreign: frozenset[TopicPartition] = frozenset()


class Held(NamedTuple):
    """A partition in which something that was written cannot be seen yet, because a transaction is open there or
    ended a moment ago. Arguments: stable: where what can be seen ends; written: the end of all that was written."""

    stable: int
    written: int


@dataclass(slots=True)
class Batch:
    """What one read brought.

    Arguments: records: in order within each partition, of one or several partitions; reached: for every
    partition that made progress, the next position, past gaps; ended: partitions whose end (as of this read)
    was reached; assigned, revoked: partitions that a group member gained or lost during this read (always
    empty for a plain reader), and a revoked one has no records in this batch, nor later ones; look_ahead: gives the
    records that have come since, for who can prepare something with them.

    It gives the list with which the next read goes on, whole, unless one of its partitions is revoked or started
    before; nobody else changes it. It may be called while a transaction is open, since it hears no news of the group,
    and raises nothing: that is left to the next read. (A log that does not read ahead gives nothing.)
    """

    records: list[Record] = field(default_factory=list)
    reached: dict[TopicPartition, int] = field(default_factory=dict)
    ended: set[TopicPartition] = field(default_factory=set)
    assigned: list[TopicPartition] = field(default_factory=list)
    revoked: list[TopicPartition] = field(default_factory=list)
    look_ahead: Callable[[], Sequence[Record]] = tuple


class Reader(Protocol):
    """Reads given partitions, outside any group. Not thread-safe, but `close` may come from any thread."""

    def assign(self, positions: Positions) -> None:
        """Reads these partitions from these positions from now on, and no others. A position below the first
        kept record raises `Unavailable` at the next read, with the lost range; so does one beyond the end. An
        unknown topic or partition raises `Misuse`, here or at the next read."""
        ...

    def read(self, max_records: int, timeout_s: float) -> Batch:
        """Up to `max_records` records. Returns at once with what is there; waits up to `timeout_s` seconds
        for the first record or the first news of an end. What is read ahead is bounded in bytes, so a slow
        caller holds the log back, not the memory."""
        ...

    def close(self) -> None:
        """Wakes a `read` that waits in another thread; it returns an empty batch."""
        ...


OnDone = Callable[[int, int | None, Exception | None], None]
"""(index of the record, its offset or None, why it was not written or None)"""

Fence = object
"""Proof of membership, opaque: made by `Member.fence`, checked by `Transaction.positions`."""


class Member(Protocol):
    """A reader whose partitions are assigned by the group. Not thread-safe; one thread polls it.

    A newly assigned partition delivers nothing until `start` is called for it. The member is kept alive by
    `read`; one that does not read for the group's time-out loses its partitions. Nothing may be in flight
    while `read` is called: no transaction is open across it.
    """

    @property
    def id(self) -> str: ...

    def read(self, max_records: int, timeout_s: float) -> Batch:
        """As `Reader.read`; also carries assignments and revocations, for which it does not wait longer than
        for records. `max_records` 0 keeps the membership alive without taking records."""
        ...

    def start(self, positions: Positions) -> None:
        """Delivers assigned partitions from these positions (also used to go back after `Aborted`)."""
        ...

    def fence(self) -> Fence:
        """Proof that the assignment seen by the last `read` is still this member's; taken once per batch,
        on the polling thread."""
        ...

    def commit(self, positions: Positions) -> None:
        """Commits positions outside a transaction. Raises `Fenced` when a partition is no longer owned."""
        ...

    def close(self) -> None:
        """Leaves the group at once, so that others take over without waiting."""
        ...


class Transaction(Protocol):
    """An open transaction, valid inside the function given to `Writer.transact`."""

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        """Appends in order and returns each record's offset (blocks until the log has assigned them)."""
        ...

    def write(self, records: Sequence[NewRecord]) -> None:
        """Appends in order without asking for offsets."""
        ...

    def positions(self, group: str, positions: Positions, fence: Fence) -> None:
        """Moves the group's positions in this transaction, if the fence holds at commit."""
        ...


class Writer(Protocol):
    """Writes transactions, one at a time. Belongs to one thread."""

    def transact(
        self, fill: Callable[[Transaction], None], meanwhile: Callable[[], None] | None = None
    ) -> dict[TopicPartition, int]:
        """Runs `fill` in a transaction and returns after the commit is certain: with the offset of the first record in
        each partition that was written to, as far as the log told it.

        `fill` only hands over records that are ready: no user code, no reading, no waiting, since a lock may
        be held. It runs exactly once. An exception in it aborts and is raised again. `meanwhile` is what else the
        caller has to do, in its own thread and without raising: it may be done, once, while the log is at work on what
        `fill` handed over.
        Raises: Aborted, Fenced, Unavailable; in each case nothing was written, except for Torn (a part of it
        was) and Undecided (perhaps).
        """
        ...

    def close(self) -> None: ...


class Log(Protocol):
    """A log. Thread-safe, except for the readers, members and writers that it makes."""

    @property
    def id(self) -> str:
        """Names this log among all logs (the cluster id, or the file's own id)."""
        ...

    @property
    def url(self) -> str:
        """The address that `open_log` opens it by, without options; `memory://` where nobody else can open it."""
        ...

    @property
    def embedded(self) -> bool:
        """Whether writers in this process reach the log without a network: then a command that this process
        owns is decided where it is sent, and no command or reply record is written for it."""
        ...

    @property
    def cache(self) -> Path | None:
        """A directory on this machine for what can be read from the log again, this log's own. None: the log is on this
        machine itself."""
        ...

    @property
    def records_read(self) -> int:
        """How many records the log has handed to readers and `keyed` since it was opened."""
        ...

    @property
    def transaction_timeout_s(self) -> float | None:
        """After how many seconds the log ends a transaction that its writer left open; None: it leaves none open."""
        ...

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Makes those that do not exist; one that exists stays as it is, also when it differs."""
        ...

    def topics(self, names: Collection[str] | None = None) -> dict[str, TopicDescription]:
        """The topics that there are; of these names only, if given (a cluster may hold thousands of others)."""
        ...

    def begins(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The first kept offset of each."""
        ...

    def ends(self, partitions: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        """The position after the last visible record, or (committed=False) after the last one that was
        written at all, markers included. An unknown topic raises `Misuse`."""
        ...

    def held(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Held]:
        """Those in which something is held back by a transaction now. May be asked at any time: whoever reads or
        writes meanwhile does not wait for the answer."""
        ...

    def positions_at(self, partitions: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        """The first offset whose record time is at or after the given time; the end where there is none."""
        ...

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        """Appends outside a transaction, durably, and returns the offsets. A record over the topic's size
        limit raises `Misuse` before anything is written."""
        ...

    def append_nowait(self, records: Sequence[NewRecord], on_done: OnDone) -> None:
        """As `append`, without waiting: `on_done(index, offset, None)` or `on_done(index, None, error)` is
        called once per record, at any time from now on, from any thread, also from this one in this call: it must not
        wait, nor take a lock that is held here. A log may wait a millisecond, and longer while too much is under way.
        Raises, before anything is written: Misuse, Unavailable."""
        ...

    def reader(self, *, envelopes: bool = True, patient: bool = False) -> Reader:
        """Arguments: envelopes: False where only keys and values are wanted: a log may then leave headers empty and
        times 0, which saves a file a third of the work; patient: True for one who may learn of news half a second late,
        which spares a cluster most of the requests."""
        ...

    def member(self, group: str, topics: Sequence[str], *, name: str, lean: bool = False) -> Member:
        """Joins the group. Arguments: name: the human-readable client id; lean: True for one who asks a record for
        its value, and rarely for more: a log may then read the other parts when somebody asks for one, which raises
        Unavailable where the record was deleted meanwhile."""
        ...

    def writer(self, name: str) -> Writer:
        """`name` is unique per writer in this process, stable for its life, and part of the transactional id."""
        ...

    def keyed(self, partition: TopicPartition, key: bytes) -> list[Record]:
        """All committed records of one key, in order of offset, at a cost that follows their number and not
        the topic's. Only for topics that are never compacted."""
        ...

    def delete_before(self, positions: Positions) -> None:
        """Deletes the records below these positions, for ever: partitions begin there then. One that begins later
        already stays as it is. Raises: Misuse: a compacted topic, or a position beyond what can be seen."""
        ...

    def settle(self, group: str, partitions: Sequence[TopicPartition]) -> None:
        """Ends transactions that a dead owner left open over these partitions, at once instead of after its
        time-out. Called by the new owner, before it restores, with every partition that it is going to read and
        those whose positions it takes over."""
        ...

    def committed(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The stable committed positions; partitions without one are left out."""
        ...

    def reset(self, group: str, positions: Positions, *, foreign: bool = False) -> None:
        """Sets positions. Raises `Misuse` while the group has members, naming them.

        Arguments: foreign: True for a group of another program, whose positions are to look like its own.
        """
        ...

    def groups(self, names: Collection[str] | None = None) -> list[GroupDescription]:
        """The groups that there are; of these names only, if given."""
        ...

    def examine(self, specs: Sequence[TopicSpec], groups: Sequence[str]) -> list[Finding]:
        """What only this kind of log knows of its health, and changes nothing.

        Arguments: specs: topics that are there, as they should be; groups: whose members own some of them.
        """
        ...

    def close(self) -> None: ...
