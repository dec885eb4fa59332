"""What a search store keeps beside the rows: documents that are read by their name and changed on condition.

Each is one document of the index `<prefix>-hw_store`. A change reads it and writes it back under the condition that
nobody has changed it since, and begins anew where somebody has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import msgspec

from headwater.errors import Unavailable
from headwater.log.port import Positions, TopicPartition
from headwater.stores.opensearch_connection import Connection, path_of
from headwater.stores.port import RunnerState

T = TypeVar("T")
SWITCH = "~switch"
ATTEMPTS = 200
LONGEST_ID = 400
MISSING = 404
CONFLICT = 409


class StoreDoc(msgspec.Struct):
    """Arguments: format: of everything here; log: whose events the rows come from."""

    format: str
    log: str | None = None


class TableDoc(msgspec.Struct):
    """A version of a table. Arguments: runner: who fills it; shape: see `TableSchema.shape`; index: where it is."""

    runner: str
    shape: dict[str, str]
    index: str


class Session(msgspec.Struct, omit_defaults=True):
    """One after another, a session's transactions have the numbers 1, 2, …

    Arguments: committed: the last one that is; instance: the store that began it; partitions: what its transactions
    were about; closed: it commits nothing any more; settled: and what it had written is taken back.
    """

    instance: str
    committed: int = 0
    partitions: list[tuple[str, int]] = []
    closed: bool = False
    settled: bool = False


class RunnerDoc(msgspec.Struct, omit_defaults=True):
    """A runner: where it stands, and whether its transactions are committed, which one write of this document decides.

    Arguments: positions: topic -> partition -> next offset; code: fingerprint; tables: names of the documents of its
    tables; indices: where they are; sessions: those that may have written what is not committed; turn: the session that
    goes first, because others were in its way; forgetting: its tables are being removed; frozen: the transaction that
    exchanges its tables for others, while nobody else may commit.

    The document of `SWITCH` says besides: places: the document in which a runner is found, moved: that in which a table
    is, where they are not in their own; owners: whose a table is, of runners that were exchanged; exchanges: how often
    these have changed; shown: the version that a table's name shows; pending: other programs do not see all of it yet.
    """

    positions: dict[str, dict[int, int]] = {}
    code: str | None = None
    tables: list[str] = []
    indices: list[str] = []
    sessions: dict[str, Session] = {}
    turn: str | None = None
    forgetting: bool = False
    frozen: str | None = None
    places: dict[str, str] = {}
    moved: dict[str, str] = {}
    owners: dict[str, str] = {}
    exchanges: int = 0
    shown: dict[str, int] = {}
    pending: bool = False

    @property
    def stored(self) -> dict[TopicPartition, int]:
        return {
            TopicPartition(topic, partition): position
            for topic, partitions in self.positions.items()
            for partition, position in partitions.items()
        }

    def move(self, to: Positions) -> None:
        for (topic, partition), position in to.items():
            self.positions.setdefault(topic, {})[partition] = position


class WorkerDoc(msgspec.Struct):
    """See `RunnerNote`."""

    state: RunnerState
    failure: str | None
    heartbeat: str
    partitions: list[tuple[str, int]]


class WorkersDoc(msgspec.Struct):
    """What the workers of a runner have said."""

    workers: dict[str, WorkerDoc] = {}


class Version(NamedTuple):
    """Of a document: what a write on condition compares."""

    seq_no: int
    term: int


class _Got(msgspec.Struct, Generic[T]):
    found: bool
    seq_no: int = msgspec.field(name="_seq_no", default=-1)
    term: int = msgspec.field(name="_primary_term", default=0)
    source: T | None = msgspec.field(name="_source", default=None)


class _Written(msgspec.Struct):
    seq_no: int = msgspec.field(name="_seq_no")
    term: int = msgspec.field(name="_primary_term")


class State:
    """The documents of one store. Arguments: connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.index = f"{connection.address.prefix}-hw_store"

    def make(self) -> None:
        """Makes the index, if it is missing; with a copy where there is another server to have it."""
        if self._connection.ask("HEAD", path_of(self.index), accept=[MISSING]).status != MISSING:
            return
        settings = {"index.number_of_shards": 1, "index.auto_expand_replicas": "0-1"}
        made = self._connection.ask(
            "PUT", path_of(self.index), {"settings": settings, "mappings": {"enabled": False}}, accept=[400]
        )
        if made.status == 400 and made.cause.type != "resource_already_exists_exception":
            raise Unavailable(f"{self._connection.place} cannot make the index {self.index}: {made.cause.words}")

    def read(self, name: str, kind: type[T]) -> tuple[T | None, Version | None]:
        """A document and its version, as it is now; None where there is none."""
        reply = self._connection.ask("GET", path_of(self.index, "_doc", id_of(name)), accept=[MISSING])
        if reply.status == MISSING and b'"found"' not in reply.body:
            raise Unavailable(
                f"{self._connection.place} has no index {self.index}: it was removed; open the store anew"
            )
        got = msgspec.json.decode(reply.body, type=_Got[kind])  # type: ignore[valid-type] # a class is given
        return (got.source, Version(got.seq_no, got.term)) if got.found else (None, None)

    def write(self, name: str, document: object, before: Version | None) -> Version | None:
        """Writes a document, if it still is what was read. Returns its version; None: somebody was first."""
        condition = "op_type=create" if before is None else f"if_seq_no={before.seq_no}&if_primary_term={before.term}"
        path = f"{path_of(self.index, '_doc', id_of(name))}?{condition}"
        reply = self._connection.ask("PUT", path, document, accept=[CONFLICT])
        if reply.status == CONFLICT:
            return None
        written = msgspec.json.decode(reply.body, type=_Written)
        return Version(written.seq_no, written.term)

    def remove(self, name: str) -> None:
        self._connection.ask("DELETE", path_of(self.index, "_doc", id_of(name)), accept=[MISSING])

    def change(
        self, name: str, kind: type[T], change: Callable[[T | None], T | None]
    ) -> tuple[T | None, Version | None]:
        """Reads, changes and writes, until nobody was first.

        Arguments: change: called with the document (None: there is none), perhaps several times; None: it stays.
        Returns: the document as it is now. Raises: Unavailable: others were always first.
        """
        for _ in range(ATTEMPTS):
            found, version = self.read(name, kind)
            changed = change(found)
            if changed is None:
                return found, version
            written = self.write(name, changed, version)
            if written is not None:
                return changed, written
        raise Unavailable(f"{self._connection.place}: others changed {name} first {ATTEMPTS} times; it is tried again")


def id_of(name: str) -> str:
    if len(name.encode()) <= LONGEST_ID:
        return name
    return f"{name.partition('/')[0]}/#{hashlib.blake2b(name.encode(), digest_size=32).hexdigest()}"


def runner_name(runner: str) -> str:
    return f"runner/{runner}"


def table_name(name: str, version: int) -> str:
    return f"table/{name}/{version}"
