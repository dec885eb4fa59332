"""The store in Redis: a hash per row, filled by as many processes as there are partitions.

    apply: compare positions -> work: load, save -> one script: compare positions and rows read, write both
    row, rows: scripts that only read

Redis has no transaction that waits for its client, and nothing that it could roll back. So what the work saves stays on
this side until one script commits it (see `redis_loading`); where another runner has changed a row that was read, the
work is done again with the rows as they are then. A runner that is overtaken a few times, because its batches are
larger than the others', asks for its turn: for some seconds the others' commits wait for its own. The turn ends by
itself where its holder has died, and nothing rests on it but that everybody comes forward.

The names of keys are told in `redis_tables`; beside the rows of `shop` there are `shop:hw_store` (the log that they
were made from), `shop:hw_tables`, `shop:hw_code`, `shop:hw_last` (of each table the last commit), and for each runner
`shop:hw_positions:…` and `shop:hw_workers:…`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from msgspec import json, msgpack

from headwater.errors import Misuse, Unavailable
from headwater.log.port import Positions, TopicPartition
from headwater.stores.bound import OtherLog
from headwater.stores.port import (
    Answer,
    Key,
    RunnerNote,
    StaleRunner,
    TableSchema,
    refuse_another_runner,
    refuse_changed_shape,
    refuse_stale,
)
from headwater.stores.redis_connections import Address, Server
from headwater.stores.redis_loading import RedisLoading, no_table
from headwater.stores.redis_notes import read_notes, write_note
from headwater.stores.redis_reading import pages, place_of, rows_at, stored_positions, texts
from headwater.stores.redis_remembered import Remembered
from headwater.stores.redis_scripts import FORGET, OPEN, SWEEP
from headwater.stores.redis_switching import entry_of, exchange, refusal, shown_by
from headwater.stores.redis_tables import Entry, RedisTable, version_name
from headwater.stores.redis_turns import Turn
from headwater.stores.switching import Shown, Switch

R = TypeVar("R")
FORMAT = "2"
ATTEMPTS = 100
BEFORE_TURN = 3
"""Attempts in which others may be first; then a runner asks for its turn."""

PAGE = 10_000
"""Rows that are read at once; other clients of the server wait for some ten milliseconds meanwhile."""

SWEPT = 5000


class RedisStore:
    """A `Store` in a server of Redis 7 or later.

    Arguments: url: `redis://user:password@host:6379/0?prefix=shop`, or `rediss://` with TLS. All keys begin with the
    prefix ("headwater", where none is given).
    Raises: Misuse: it is no such address, or the server cannot keep read models. Unavailable: it cannot be reached.
    """

    is_server: Literal[True] = True

    def __init__(self, url: str) -> None:
        self._server = Server(Address(url))
        self._place = self._server.place
        self._tables: dict[tuple[str, int], RedisTable] = {}
        self._opened: dict[str, dict[TableSchema[Any], str]] = {}
        self._rows = Remembered()
        self._log: str | None = None
        try:
            self._refuse_other("format", FORMAT)
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> str:
        """See `PlacedStore`."""
        return self._place

    def bind(self, log_id: str) -> None:
        stored = self._server.remembered("log", log_id)
        if stored != log_id:
            example = "redis://host:6379/0?prefix=other"
            raise OtherLog(self._place, stored, log_id, freed="remove the keys of this prefix", example=example)
        self._log = log_id

    def open_tables(self, runner: str, schemas: Sequence[TableSchema[Any]], code: str = "") -> str:
        tables = [RedisTable(schema) for schema in schemas]
        stored = self._open(runner, tables, code)
        self._tables.update({(table.schema.name, table.schema.version): table for table in tables})
        self._opened.setdefault(runner, {}).update(dict.fromkeys(schemas, code))
        return stored

    def forget(self, runner: str) -> None:
        """As the port says. The rows are removed in parts; who opens the table again meanwhile finds none of them."""
        self._opened.pop(runner, None)
        self._rows.clear()
        for place in self._server.run(FORGET, runner):
            self._sweep(place.decode())

    def shown(self, name: str) -> Shown | None:
        return shown_by(self._server, name)

    def switch(self, switch: Switch, work: Callable[[RedisLoading], None]) -> None:
        """As the port says. `work` may run more than once; only the last time is kept."""
        for _ in range(ATTEMPTS):
            told = exchange(self._server, switch)
            said = self._attempt("", {}, {}, work, secrets.token_urlsafe(9), told)
            if said == "ok":
                self._rows.clear()
                return
            if said != "overtaken":
                raise refusal(said, self._place)
        raise Unavailable(f"{self._place}: others were first {ATTEMPTS} times; it is tried again")

    def scan(self, name: str, version: int) -> Answer:
        """As the port says. What is committed while it is read may be seen in a part of the rows only."""
        columns = tuple(entry_of(self._server, name, version).shape)
        found = texts(self._server, version_name(name, version), columns, PAGE)
        return Answer(
            columns, (tuple(None if text is False else text for text in row) for page in found for row in page)
        )

    def positions(self, runner: str) -> dict[TopicPartition, int]:
        """As the port says. Who runs here asks for them before it begins, and so has lost tables made again."""
        if self._has_lost(runner):
            self._make_again(runner)
        return stored_positions(self._server, runner)

    def apply(self, runner: str, start: Positions, to: Positions, work: Callable[[RedisLoading], None]) -> None:
        """As the port says. `work` may run more than once; only the last time is kept."""
        commit = secrets.token_urlsafe(9)
        turn = Turn(self._server, self._key("hw_turn", runner), commit)
        try:
            for attempt in range(ATTEMPTS):
                if attempt:  # the script compares them, too: to ask first each time would only cost
                    self._refuse_stale(runner, start, to)
                if attempt >= BEFORE_TURN:
                    turn.take()
                match self._attempt(runner, start, to, work, commit):
                    case "ok":
                        return
                    case "turn":
                        turn.wait()
                    case "lost":
                        self._refuse_stale(runner, start, to)
                        if not self._has_lost(runner):
                            raise Unavailable(f"the tables of {runner} were removed from {self._place}")
                        self._make_again(runner)
                        raise StaleRunner(f"{self._place} has lost the tables of {runner}; they are made again")
        except BaseException:
            turn.give_back()
            raise
        turn.give_back()
        raise Unavailable(f"{self._place}: other runners were first {ATTEMPTS} times; it is tried again")

    def row(self, table: TableSchema[R], key: Key) -> R | None:
        found = self.table(table)
        rows: list[R] = rows_at(self._server, found, [key])
        return rows[0] if rows else None

    def rows(
        self,
        table: TableSchema[R],
        where: Mapping[str, object] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
    ) -> list[R]:
        """As the port says. Reads the whole table, `PAGE` rows at a time, unless `where` has the key, or the first rows
        in the order of the key are asked for and Redis sorts such keys: texts, dates, UUIDs. What is committed between
        two pages may be seen in the later one only."""
        found, where = self.table(table), where or {}
        found.refuse_unknown(name.removeprefix("-") for name in order)
        wanted = found.wanted(where)
        enough = limit if found.sorted_by_key and not order else 0 if limit == 0 else None
        rows: list[R] = []
        if where.keys() >= set(table.key):
            found_rows: Iterable[list[R]] = [rows_at(self._server, found, [tuple(where[name] for name in table.key)])]
        else:
            found_rows = pages(self._server, found, PAGE if enough is None or wanted else min(PAGE, enough))
        for page in found_rows:
            rows += [row for row in page if all(getattr(row, name) == value for name, value in wanted.items())]
            if enough is not None and len(rows) >= enough:
                break
        if order or not found.sorted_by_key:
            found.sort(rows, order)
        return rows[:limit]

    def query(
        self, sql: str, args: Sequence[object] | Mapping[str, object] = (), *, timeout_s: float | None = None
    ) -> Answer:
        """Raises: Misuse: Redis answers no queries."""
        raise Misuse(
            f"Redis has no SQL, so the query {sql!r} cannot be answered: read with row(…) by key or rows(…) by equal "
            "columns, or keep the read model in SQLite or PostgreSQL"
        )

    def note(self, runner: str, note: RunnerNote) -> None:
        write_note(self._server, runner, note)

    def notes(self, runner: str) -> list[RunnerNote]:
        return read_notes(self._server, runner)

    def close(self) -> None:
        self._server.close()

    def table(self, schema: TableSchema[Any]) -> RedisTable:
        """The table of a schema that somebody has opened in this store. Raises: Unavailable: nobody has.
        Misuse: with another shape."""
        found = self._tables.get((schema.name, schema.version))
        if found is not None and found.schema.row is schema.row:
            return found
        table = RedisTable(schema)
        entry = self._entry(table)
        if entry is None:
            raise no_table(self._server, table.schema.title)
        refuse_changed_shape(schema, entry.shape)
        self._tables[schema.name, schema.version] = table
        return table

    def _attempt(
        self,
        runner: str,
        start: Positions,
        to: Positions,
        work: Callable[[RedisLoading], None],
        commit: str,
        switch: Mapping[str, object] | None = None,
    ) -> str:
        """Returns what the script says. What the work raises is only believed if it has seen no mixture of others'
        commits."""
        remembered = self._rows if switch is None else Remembered()
        loading = RedisLoading(self._server, self.table, commit, remembered)
        try:
            work(loading)
        except Unavailable:
            self._refuse_stale(runner, start, to)  # a table may be gone with the positions
            raise
        except Exception:
            said = loading.commit(runner, start, to, switch, only_look=True)
            if said == "ok":
                raise
            return said
        return loading.commit(runner, start, to, switch)

    def _refuse_stale(self, runner: str, start: Positions, to: Positions) -> None:
        refuse_stale(runner, start, to, stored_positions(self._server, runner))

    def _has_lost(self, runner: str) -> bool:
        """Whether the server has come back without tables that were opened here: it kept nothing, or an older
        snapshot. What somebody has removed on purpose is not lost."""
        opened = [version_name(schema.name, schema.version) for schema in self._opened.get(runner, ())]
        if not opened or None not in self._server.call("HMGET", self._key("hw_tables"), *opened):
            return False
        return not self._server.call("SISMEMBER", self._key("hw_forgotten"), runner)

    def _make_again(self, runner: str) -> None:
        """Makes the tables that the server has lost, without rows."""
        self._rows.clear()
        self._refuse_other("format", FORMAT)
        if self._log is not None:
            self.bind(self._log)
        for schema, code in self._opened[runner].items():
            self._open(runner, [RedisTable(schema)], code)

    def _open(self, runner: str, tables: Sequence[RedisTable], code: str) -> str:
        while True:
            given = []
            for table in tables:
                schema = table.schema
                stored = self._entry(table)
                if stored is None:
                    self._sweep(place_of(self._server, table.name))
                else:
                    refuse_another_runner(schema, self._place, runner, stored.runner)
                    refuse_changed_shape(schema, stored.shape)
                entry = json.encode(Entry(runner, schema.shape)).decode()
                before = False if stored is None else json.encode(stored).decode()
                given.append({"name": schema.name, "table": table.name, "entry": entry, "before": before})
            found = self._server.run(OPEN, msgpack.encode({"runner": runner, "code": code, "tables": given}))
            if found is not None:
                return str(found, "utf-8")

    def _entry(self, table: RedisTable) -> Entry | None:
        found = self._server.call("HGET", self._key("hw_tables"), table.name)
        return None if found is None else json.decode(found, type=Entry)

    def _sweep(self, place: str) -> None:
        """Removes the rows of a table that has left the list. Arguments: place: where they are."""
        while self._server.run(SWEEP, place, SWEPT):
            pass

    def _refuse_other(self, name: str, value: str) -> None:
        stored = self._server.remembered(name, value)
        if stored != value:
            raise Misuse(
                f"{self._place} was written by another version of headwater ({name} {stored}, this one reads {value}): "
                "remove the keys under this prefix, they are made again from the log"
            )

    def _key(self, *parts: str) -> str:
        return self._server.prefix + ":".join(parts)
