"""The store in OpenSearch or Elasticsearch: an index per version of a table, and a name that shows one of them.

    apply: read the runner and the rows -> work -> rows in bulk -> one write that moves the positions and commits
    row: one document, as it is committed, without waiting for a refresh
    rows, query: a search, after a refresh where something was committed since the last one, so `after=` is exact

How rows and positions are committed together, where the server has no transactions, stands in
`opensearch_transactions`. Other programs read `<prefix>-<table>`, which shows a batch within a second, row by row, and
may show one an instant before it commits.

| index                             | what it is                                                             |
|-----------------------------------|------------------------------------------------------------------------|
| `<prefix>-<table>_v<version>-…`   | a version's rows; `…-writing` is the name under which they are written |
| `<prefix>-<table>`                | an alias: the version that is shown, without deleted rows              |
| `<prefix>-hw_store`               | positions, shapes, who works                                           |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import uuid4

from msgspec import json

from headwater.errors import Misuse
from headwater.log.port import Positions, TopicPartition
from headwater.stores.bound import OtherLog
from headwater.stores.cells import utc_text
from headwater.stores.opensearch_connection import Connection, Gone, address_of, path_of
from headwater.stores.opensearch_finding import Finding, Moved, Names
from headwater.stores.opensearch_loading import SearchLoading
from headwater.stores.opensearch_queries import ask, hits_of
from headwater.stores.opensearch_sessions import Frozen, Sessions
from headwater.stores.opensearch_state import (
    MISSING,
    RunnerDoc,
    State,
    StoreDoc,
    TableDoc,
    Version,
    WorkerDoc,
    WorkersDoc,
    runner_name,
)
from headwater.stores.opensearch_switching import follow, forget_owner, show_first
from headwater.stores.opensearch_switching import switch as exchange_tables
from headwater.stores.opensearch_tables import HIDDEN, SearchTable, writing
from headwater.stores.opensearch_transactions import apply
from headwater.stores.port import (
    Answer,
    Key,
    RunnerNote,
    TableSchema,
    refuse_another_runner,
    refuse_changed_shape,
)
from headwater.stores.switching import Shown, Switch, refuse_unmade

R = TypeVar("R")
T = TypeVar("T")
FORMAT = "1"


class OpenSearchStore:
    """A `Store` in OpenSearch 2 or Elasticsearch 7, or later ones.

    Arguments: url: `opensearch://user:password@host:9200/prefix`, or `elasticsearch://…`; see `address_of`.
    Raises: Misuse: it is no such address, or the indices are of another format. Unavailable: nothing answers there.
    """

    is_server: Literal[True] = True

    def __init__(self, url: str) -> None:
        self._connection = Connection(address_of(url))
        self._place = self._connection.place
        self._state = State(self._connection)
        self._sessions = Sessions(self._connection, self._state)
        self._finding = Finding(self._state, self._place)
        self._unseen: set[str] = set()  # indices that were written here since they were refreshed
        self._searched: dict[str, Version | None] = {}  # the runner's document at an index's last refresh
        try:
            self._state.make()
            found, _ = self._state.change("store", StoreDoc, lambda found: StoreDoc(FORMAT) if found is None else None)
        except BaseException:
            self._connection.close()
            raise
        if found is not None and found.format != FORMAT:
            self._connection.close()
            raise Misuse(
                f"{self._place} was written by another version of headwater (format {found.format}, this one reads "
                f"{FORMAT}): remove its indices, they are made again from the log"
            )

    @property
    def place(self) -> str:
        """See `PlacedStore`."""
        return self._place

    def bind(self, log_id: str) -> None:
        def tie(found: StoreDoc | None) -> StoreDoc | None:
            return None if found is not None and found.log is not None else StoreDoc(FORMAT, log_id)

        found, _ = self._state.change("store", StoreDoc, tie)
        if found is not None and found.log != log_id:
            example = "opensearch://host:9200/other"
            raise OtherLog(self._place, found.log, log_id, freed="remove its indices", example=example)

    def open_tables(self, runner: str, schemas: Sequence[TableSchema[Any]], code: str = "") -> str:
        while True:
            names = self._finding.look_up()
            found = names.runner_doc(runner)
            if found.forgetting:  # a process has ended within `forget`
                self.forget(runner)
            tables = [self._open(names, runner, schema) for schema in schemas]
            try:
                stored = self._list_tables(names, runner, tables, code)
            except Moved:
                continue
            break
        for schema in schemas:
            show_first(self._state, self._finding, schema.name, schema.version)
        follow(self._connection, self._state, self._finding)
        names.tables.update({(table.schema.name, table.schema.version): table for table in tables})
        return stored

    def forget(self, runner: str) -> None:
        """As the port says; when it ends in the middle, the next `open_tables` of the runner ends it."""
        names = self._finding.look_up()
        place = names.place(runner)

        def begin(found: RunnerDoc | None) -> RunnerDoc | None:
            if found is None:
                return None
            if found.frozen is not None:
                raise Frozen(place, found.frozen)
            self._finding.refuse_moved(names)
            closed = {id: session for id, session in found.sessions.items() if session.closed}
            return RunnerDoc(tables=found.tables, indices=found.indices, sessions=closed, forgetting=True)

        try:
            found, _ = self._sessions.until_thawed(lambda: self._state.change(runner_name(place), RunnerDoc, begin))
        except Moved:
            return self.forget(runner)
        others = False
        for name in names.owned(runner).union(() if found is None else found.tables):
            table, _ = self._state.read(name, TableDoc)
            if table is None:
                continue
            if names.owner(name, table) != runner:
                others = True
                continue
            self._connection.ask("DELETE", path_of(table.index), accept=[MISSING])
            self._state.remove(name)
        self._finding.forget_tables(() if found is None else found.indices)
        forget_owner(self._state, runner)
        if others:  # what sessions of this place have left in them is judged here
            self._state.change(
                runner_name(place), RunnerDoc, lambda found: found and RunnerDoc(sessions=found.sessions)
            )
        else:
            self._state.remove(runner_name(place))
        return None

    def shown(self, name: str) -> Shown | None:
        return self._finding.look_up().shown(name)

    def switch(self, switch: Switch, work: Callable[[SearchLoading], None]) -> None:
        self._finding.look_up()
        exchange_tables(self._sessions, self._finding, switch, work)
        self._finding.look_up()
        follow(self._connection, self._state, self._finding)

    def scan(self, name: str, version: int) -> Answer:
        found = self._finding.look_up().table_doc(name, version)
        if found is None:
            raise refuse_unmade(name, version, self._place)
        hidden = {"query": {"bool": {"must_not": HIDDEN}}}
        return ask(self._connection, lambda _: found.index, json.encode({"index": "", **hidden}).decode(), (), None)

    def positions(self, runner: str) -> dict[TopicPartition, int]:
        while True:
            names = self._finding.look_up()
            stored = names.runner_doc(runner).stored
            if names.exchanges == 0 or self._finding.look_up().exchanges == names.exchanges:
                return stored

    def apply(self, runner: str, start: Positions, to: Positions, work: Callable[[SearchLoading], None]) -> None:
        """As the port says. `work` may run more than once; only the last time is kept."""
        try:
            written = apply(self._sessions, self._finding, runner, start, to, work)
        except Gone:
            self._finding.forget_tables()
            raise
        self._unseen.update(written)

    def row(self, table: TableSchema[R], key: Key) -> R | None:
        def look(found: SearchTable) -> R | None:
            document = self._sessions.documents.look(found, found.ids([key])[0])
            row: R | None = None if document is None else found.rows([document])[0]
            return row

        return self._look(table, look)

    def rows(
        self,
        table: TableSchema[R],
        where: Mapping[str, object] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
    ) -> list[R]:
        return self._look(table, lambda found: self._rows(found, where or {}, order, limit))

    def query(
        self, sql: str, args: Sequence[object] | Mapping[str, object] = (), *, timeout_s: float | None = None
    ) -> Answer:
        """As the port says, in the language of searches; see `opensearch_queries`."""
        if self._finding.look_up().document.pending:
            follow(self._connection, self._state, self._finding)
        return ask(self._connection, self._alias, sql, args, timeout_s)

    def note(self, runner: str, note: RunnerNote) -> None:
        def say(found: WorkersDoc | None) -> WorkersDoc | None:
            found = WorkersDoc() if found is None else found
            if note.state == "stopped" and note.failure is None:
                return found if found.workers.pop(note.worker, None) is not None else None
            partitions = [(topic, partition) for topic, partition in sorted(note.partitions)]
            said = WorkerDoc(note.state, note.failure, utc_text(note.heartbeat), partitions)
            found.workers[note.worker] = said
            return found

        self._state.change(f"workers/{runner}", WorkersDoc, say)

    def notes(self, runner: str) -> list[RunnerNote]:
        found, _ = self._state.read(f"workers/{runner}", WorkersDoc)
        notes = [
            RunnerNote(
                worker,
                said.state,
                said.failure,
                datetime.fromisoformat(said.heartbeat),
                frozenset(TopicPartition(*partition) for partition in said.partitions),
            )
            for worker, said in ({} if found is None else found.workers).items()
        ]
        return sorted(notes, key=lambda note: note.heartbeat, reverse=True)

    def close(self) -> None:
        self._sessions.close()
        self._connection.close()

    def _look(self, schema: TableSchema[Any], look: Callable[[SearchTable], T]) -> T:
        """Looks into a table; once more, if it was removed and made anew since this process has known it."""
        try:
            return look(self._finding.look_up().table(schema))
        except Gone:
            self._finding.forget_tables()
            return look(self._finding.now.table(schema))

    def _rows(
        self, found: SearchTable, wanted: Mapping[str, object], order: Sequence[str], limit: int | None
    ) -> list[Any]:
        body = found.selection(wanted, order)
        self._refresh(found)
        chosen: list[Any] = []
        for hits in hits_of(self._connection, found, body, None if wanted else limit):
            rows = found.rows(self._sessions.documents.found(hits))
            chosen += (row for row in rows if found.matches(row, wanted))
            if limit is not None and len(chosen) >= limit:
                break
        return chosen if limit is None else chosen[:limit]

    def _open(self, names: Names, runner: str, schema: TableSchema[Any]) -> SearchTable:
        name, place = names.table_key(schema.name, schema.version), names.place(runner)
        index = f"{self._alias(schema.name)}_v{schema.version}-{uuid4().hex[:8]}"
        made = SearchTable(schema, index, place)
        stored, _ = self._state.read(name, TableDoc)
        if stored is None:
            self._connection.ask("PUT", path_of(index), {**made.definition, "aliases": {writing(index): {}}})
            told = TableDoc(place, schema.shape, index)
            stored, _ = self._state.change(name, TableDoc, lambda found: told if found is None else None)
            if stored is None or stored.index != index:  # another process has made it meanwhile
                self._connection.ask("DELETE", path_of(index), accept=[MISSING])
                return self._open(names, runner, schema)
        refuse_another_runner(schema, self._place, runner, names.owner(name, stored))
        refuse_changed_shape(schema, stored.shape)
        return SearchTable(schema, stored.index, place)

    def _list_tables(self, names: Names, runner: str, tables: Sequence[SearchTable], code: str) -> str:
        """Adds tables to those of a runner. Returns: the code of its rows. Raises: Moved."""
        place = names.place(runner)
        keys = {names.table_key(table.schema.name, table.schema.version) for table in tables}

        def add(found: RunnerDoc | None) -> RunnerDoc:
            found = RunnerDoc() if found is None else found
            if found.frozen is not None:
                raise Frozen(place, found.frozen)
            self._finding.refuse_moved(names)
            if found.code is None or not found.positions:
                found.code = code
            found.tables = sorted({*found.tables, *keys})
            found.indices = sorted({*found.indices, *(table.index for table in tables)})
            return found

        added, _ = self._sessions.until_thawed(lambda: self._state.change(runner_name(place), RunnerDoc, add))
        return code if added is None or added.code is None else added.code

    def _refresh(self, table: SearchTable) -> None:
        """Lets searches see what is committed in a table: by whom fills it, and by this process."""
        _, version = self._state.read(runner_name(table.runner), RunnerDoc)
        if table.index not in self._unseen and (table.index, version) in self._searched.items():
            return
        self._unseen.discard(table.index)  # before: what is written meanwhile is unseen again
        self._connection.ask("POST", path_of(table.index, "_refresh"))
        self._searched[table.index] = version

    def _alias(self, name: str) -> str:
        return f"{self._connection.address.prefix}-{name}"
