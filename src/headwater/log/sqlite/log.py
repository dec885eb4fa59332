"""The log in one SQLite file, shared by all processes of a machine that open it.

Records go in through `commits`, come out through `reading`, and who reads what is in `membership`; here are the
handle that holds them together and the questions that need neither.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from os import PathLike, fspath
from typing import Any
from weakref import WeakSet

from headwater.environment import SYSTEM, Environment
from headwater.errors import Misuse
from headwater.log.findings import Finding
from headwater.log.limits import check_before, check_deletion, check_specs
from headwater.log.port import (
    GroupDescription,
    Held,
    NewRecord,
    OnDone,
    Positions,
    Record,
    TopicDescription,
    TopicPartition,
    TopicSpec,
    Transaction,
)
from headwater.log.sqlite import catalog, membership
from headwater.log.sqlite.alive import Alive
from headwater.log.sqlite.commits import Commits
from headwater.log.sqlite.draft import Draft
from headwater.log.sqlite.examining import examine
from headwater.log.sqlite.faults import explain
from headwater.log.sqlite.members import House, SqliteMember
from headwater.log.sqlite.membership import Presence
from headwater.log.sqlite.news import News
from headwater.log.sqlite.reading import Handed, Source, SqliteReader
from headwater.log.sqlite.records import OFFSET_MASK, SELECT, place_of, to_records
from headwater.log.sqlite.retention import delete_some
from headwater.log.sqlite.schema import File

_SELECT_KEY = f"{SELECT} records WHERE key = ? AND place >= ? AND place < ? ORDER BY place"


class SqliteLog:
    """A log in a file. See `headwater.log.port.Log`.

    Arguments:
        path: the file; it is made when it is not there. SQLite keeps two more beside it (`-wal`, `-shm`) while
            the log is in use: copy all three or none. An empty one (`-alive-…`) tells that members live.
        session_timeout_s: how long a member may stay without reading before others take its partitions. Those of a
            process that has ended are taken at once.
        patience_s: how long to wait for another process that is writing, before `Unavailable`.
        environment: the clock for record times, sessions and retention.
    Raises: Misuse when the file is something else; Unavailable when it cannot be read and written.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        session_timeout_s: float = 6.0,
        patience_s: float = 30.0,
        environment: Environment = SYSTEM,
    ) -> None:
        file = File(fspath(path), patience_s)
        self._id = file.open(environment)
        self._file, self._environment, self._session_timeout_s = file, environment, session_timeout_s
        self._handed, self._house = Handed(), House(Alive(file.place, environment))
        self._asking, self._connection = threading.Lock(), file.connect()
        self._catalog, self._news = catalog.Catalog(file), News(file)
        self._commits = Commits(file, self._catalog, self._news, environment)
        self._source = Source(file, self._catalog, self._news, self._handed)
        self._open: WeakSet[SqliteReader | SqliteMember] = WeakSet()
        self._closed = False

    @property
    def id(self) -> str:
        return self._id

    @property
    def url(self) -> str:
        return f"sqlite:///{self._file.path}"

    @property
    def embedded(self) -> bool:
        return True

    @property
    def cache(self) -> None:
        return None

    @property
    def records_read(self) -> int:
        return self._handed.count

    @property
    def transaction_timeout_s(self) -> None:
        return None

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        check_specs(specs)
        self._commits.alone(lambda connection: catalog.create(connection, specs, self._environment))

    def topics(self, names: Collection[str] | None = None) -> dict[str, TopicDescription]:
        known = self._catalog.load().items()
        return {name: topic.describe() for name, topic in known if names is None or name in names}

    def begins(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return self._counters("first", partitions)

    def ends(self, partitions: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        return self._counters("next", partitions)

    def _counters(self, column: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        question = f"SELECT {column} FROM counters WHERE slot = ?"
        return {p: self._ask(question, slot)[0][0] for p, slot in self._catalog.slots(partitions).items()}

    def held(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Held]:
        """None: a transaction is written as a whole when it is committed."""
        return {}

    def positions_at(self, partitions: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        found = self.ends(partitions)
        for partition, slot in self._catalog.slots(partitions).items():
            table = self._catalog.find(partition.topic).table
            within = "place >= ? AND place < ? AND timestamp_ms >= ?"
            rows = self._ask(
                f"SELECT place FROM {table} WHERE {within} ORDER BY place LIMIT 1",
                place_of(slot, 0),
                place_of(slot, found[partition]),
                timestamp_ms,
            )
            if rows:
                found[partition] = rows[0][0] & OFFSET_MASK
        return found

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        return self._commits.share(lambda draft: draft.append(records), marker=False)

    def append_nowait(self, records: Sequence[NewRecord], on_done: OnDone) -> None:
        for index, offset in enumerate(self.append(records)):
            on_done(index, offset, None)

    def reader(self, *, envelopes: bool = True, patient: bool = False) -> SqliteReader:
        reader = SqliteReader(self._source, envelopes)
        self._open.add(reader)
        return reader

    def member(self, group: str, topics: Sequence[str], *, name: str, lean: bool = False) -> SqliteMember:
        if not topics:
            raise Misuse(f"a member of group {group} needs topics to read")
        for topic in topics:
            self._catalog.find(topic)
        presence = Presence(
            self._house.alive.member_id(name), group, tuple(topics), int(self._session_timeout_s * 1000)
        )
        member = SqliteMember(self._source, self._commits, self._house, presence, lean=lean)
        self._open.add(member)
        return member

    def writer(self, name: str) -> SqliteWriter:
        return SqliteWriter(self._commits)

    def keyed(self, partition: TopicPartition, key: bytes) -> list[Record]:
        slot = self._catalog.slot(partition)
        rows = self._ask(_SELECT_KEY, key, place_of(slot, 0), place_of(slot + 1, 0))
        self._handed.add(len(rows))
        return list(to_records(partition.topic, partition.partition, rows))

    def delete_before(self, positions: Positions) -> None:
        slots = self._catalog.slots(positions)
        check_before(positions, self.ends(list(positions)))
        for partition, position in positions.items():
            check_deletion(partition.topic, self._catalog.find(partition.topic).compacted)
            slot, gone = slots[partition], self.begins([partition])[partition]
            while gone < position:
                delete = partial(delete_some, slot=slot, before=position)
                gone = self._commits.alone(delete)
        self._news.look(0)

    def settle(self, group: str, partitions: Sequence[TopicPartition]) -> None:
        """Nothing to do: a transaction that its process did not commit is gone with the process."""

    def committed(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        question = "SELECT position FROM positions WHERE name = ? AND slot = ?"
        found = {p: self._ask(question, group, slot) for p, slot in self._catalog.slots(partitions).items()}
        return {partition: rows[0][0] for partition, rows in found.items() if rows}

    def reset(self, group: str, positions: Positions, *, foreign: bool = False) -> None:
        slots = self._catalog.slots(positions)
        now_ms = self._commits.alive_ms()
        self._commits.alone(lambda connection: membership.reset(connection, group, positions, slots, now_ms))

    def groups(self, names: Collection[str] | None = None) -> list[GroupDescription]:
        members: dict[str, dict[str, list[TopicPartition]]] = {}
        positions: dict[str, dict[TopicPartition, int]] = {}
        for group, member in self._ask(membership.LIVING, self._commits.alive_ms()):
            members.setdefault(group, {})[member] = []
        for group, slot, owner in self._ask("SELECT name, slot, owner FROM leases ORDER BY name, slot"):
            owned = members.setdefault(group, {}).get(owner)
            if owned is not None:
                owned.append(self._catalog.partition(slot))
        for group, slot, position in self._ask("SELECT name, slot, position FROM positions"):
            positions.setdefault(group, {})[self._catalog.partition(slot)] = position
        known = sorted(members.keys() | positions.keys())
        return [
            GroupDescription(name, members.get(name, {}), positions.get(name, {}))
            for name in known
            if names is None or name in names
        ]

    def examine(self, specs: Sequence[TopicSpec], groups: Sequence[str]) -> list[Finding]:
        try:
            with self._asking:
                return examine(self._connection, self._file.path, specs, groups, self._commits.alive_ms())
        except sqlite3.Error as error:
            raise explain(error, self._file.path) from error

    def _ask(self, question: str, *arguments: object) -> list[tuple[Any, ...]]:
        """The rows that answer a question."""
        try:
            with self._asking:
                return self._connection.execute(question, arguments).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self._file.path) from error

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for reading in list(self._open):
            reading.close()
        self._house.alive.close()
        self._commits.close()
        self._news.close()
        self._catalog.close()
        with self._asking:
            self._connection.close()


class SqliteWriter:
    """See `headwater.log.port.Writer`."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits

    def transact(
        self, fill: Callable[[Transaction], None], meanwhile: Callable[[], None] | None = None
    ) -> dict[TopicPartition, int]:
        def filled(draft: Draft) -> dict[TopicPartition, int]:
            fill(draft)
            return draft.firsts()

        return self._commits.share(filled, marker=True)

    def close(self) -> None:
        """Nothing is held between transactions."""
