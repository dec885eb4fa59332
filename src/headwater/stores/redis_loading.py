"""What a batch reads and wants to write, kept on this side until one script commits all of it.

Nothing is locked. Each row that was read is remembered with the commit that wrote it last (None: there was no row); the
script compares them, and writes only if nobody has written one of them meanwhile. For the table as a whole the last
commit is remembered, too: where it still is the last one, no row needs to be looked at that was read from the server.
Rows of earlier batches of this process are not read again (see `redis_remembered`), but always compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import compress, repeat
from typing import Any, NamedTuple, TypeVar

from msgspec import msgpack

from headwater.errors import Unavailable
from headwater.log.port import Positions
from headwater.stores.port import Key, TableSchema, key_of_row
from headwater.stores.redis_cells import Text
from headwater.stores.redis_connections import Server
from headwater.stores.redis_remembered import Remembered, Row
from headwater.stores.redis_scripts import COMMIT, LOAD
from headwater.stores.redis_tables import WRITTEN_BY, RedisTable

R = TypeVar("R")
LOADED_AT_ONCE = 10_000
"""Other clients of the server wait for some ten milliseconds meanwhile."""

_commits = msgpack.Decoder(list[str | bool]).decode
_columns = msgpack.Decoder(list[list[str | bool]]).decode


class Found(NamedTuple):
    """Arguments: commits: for each row that was asked for the commit that wrote it; False: there is none; rows: the
    texts of those that are there; last: the commits that were the last ones of their table when it was read, and sizes:
    how many rows it had: of many rows it is read several times."""

    commits: list[Text]
    rows: list[tuple[Text, ...]]
    last: set[str]
    sizes: set[int]


def load(server: Server, table: RedisTable, endings: Sequence[str]) -> Found:
    """Rows by their endings. Raises: Unavailable: no such table."""
    found = Found([], [], set(), set())
    fields = msgpack.encode([WRITTEN_BY, *table.columns.names])
    for at in range(0, len(endings), LOADED_AT_ONCE):
        answer = server.run(LOAD, table.name, fields, msgpack.encode(endings[at : at + LOADED_AT_ONCE]))
        if answer is None:
            raise no_table(server, table.schema.title)
        last, size, commits, columns = answer
        found.last.add(last.decode())
        found.sizes.add(size)
        found.commits.extend(_commits(commits))
        found.rows.extend(zip(*_columns(columns), strict=True))
    return found


def no_table(server: Server, title: str) -> Unavailable:
    return Unavailable(f"{server.place} has no table {title} yet: start the process that runs it")


class Touched:
    """Of one table: `seen`: what the names of rows that were read end with, with the commit that wrote each (False:
    there was no row); `now`: rows by these endings as they will be; `written`: which of them have changed; `last`: the
    commits that were the table's last ones when something was read; `empty`: it had no rows then; `remembered`: of some
    rows it was not asked."""

    def __init__(self) -> None:
        self.last: set[str] = set()
        self.empty = self.remembered = False
        self.seen: dict[str, Text] = {}
        self.now: dict[str, tuple[Text, ...] | None] = {}
        self.written: dict[str, None] = {}

    def saved(self) -> tuple[dict[str, tuple[Text, ...]], list[str]]:
        """What has changed: rows by their endings, and endings of those that are gone."""
        rows = {ending: row for ending in self.written if (row := self.now[ending]) is not None}
        return rows, [] if len(rows) == len(self.written) else [one for one in self.written if one not in rows]


class RedisLoading:
    """`Loading` of one attempt. Arguments: commit: the name of what it will commit, unique; remembered: rows of earlier
    commits."""

    def __init__(
        self, server: Server, table: Callable[[TableSchema[Any]], RedisTable], commit: str, remembered: Remembered
    ) -> None:
        self._server, self._table, self._commit, self._remembered = server, table, commit, remembered
        self._touched: dict[RedisTable, Touched] = {}

    def load(self, table: TableSchema[R], keys: Collection[Key]) -> dict[Key, R]:
        found, touched = self._known(table)
        endings = dict.fromkeys(found.endings(keys))
        now = touched.now
        if unknown := [ending for ending in endings if ending not in now]:
            self._look_up(found, touched, unknown)
        rows = found.columns.decode([row for row in map(now.__getitem__, endings) if row is not None])
        return dict(zip(key_of_row(table, rows), rows, strict=True))

    def save(self, table: TableSchema[R], rows: Collection[R]) -> None:
        found, touched = self._known(table)
        endings, texts = found.texts(rows)
        touched.now.update(zip(endings, texts, strict=True))
        touched.written.update(dict.fromkeys(endings))

    def delete(self, table: TableSchema[Any], keys: Collection[Key]) -> None:
        found, touched = self._known(table)
        for ending in found.endings(keys):
            touched.now[ending] = None
            touched.written[ending] = None

    def commit(
        self,
        runner: str,
        start: Positions,
        to: Positions,
        switch: Mapping[str, object] | None = None,
        *,
        only_look: bool = False,
    ) -> str:
        """Writes all of it with the positions, or nothing.

        Arguments: switch: what is exchanged (see `redis_switching`); only_look: says what would come of it.

        Returns: what the script says.
        """
        given: Mapping[str, object] = {
            "commit": self._commit,
            "runner": runner,
            "partitions": [str(partition) for partition in to],
            "start": [str(start[partition]) if partition in start else False for partition in to],
            "to": [str(position) for position in to.values()],
            "tables": [changes(table, touched) for table, touched in self._touched.items()],
            "only_look": only_look,
            "switch": switch or False,
        }
        said = str(self._server.run(COMMIT, msgpack.encode(given)), "ascii")
        if said == "overtaken":
            self._remembered.distrust(table.name for table, touched in self._touched.items() if touched.remembered)
        elif said == "ok" and not only_look and switch is None:
            self._remember()
        return said

    def _remember(self) -> None:
        for table, touched in self._touched.items():
            if touched.written:
                saved, gone = touched.saved()
                rows: Iterable[Row] = zip(repeat(self._commit), saved.values())
                self._remembered.put(table.name, dict(zip(saved, rows, strict=True)), gone, empty=touched.empty)

    def _look_up(self, table: RedisTable, touched: Touched, unknown: Sequence[str]) -> None:
        remembered, whole = self._remembered.look(table.name, unknown)
        if remembered or whole:
            touched.remembered = True
            touched.seen.update((ending, commit) for ending, (commit, _) in remembered.items())
            touched.now.update((ending, texts) for ending, (_, texts) in remembered.items())
            unknown = [ending for ending in unknown if ending not in remembered]
        touched.seen.update(dict.fromkeys(unknown, False))
        touched.now.update(dict.fromkeys(unknown))
        if not whole:
            there = load(self._server, table, unknown)
            touched.last |= there.last
            touched.empty = touched.empty or there.sizes == {0}
            touched.seen.update(zip(unknown, there.commits, strict=True))
            touched.now.update(zip(compress(unknown, there.commits), there.rows, strict=True))

    def _known(self, schema: TableSchema[Any]) -> tuple[RedisTable, Touched]:
        table = self._table(schema)
        return table, self._touched.setdefault(table, Touched())


def changes(table: RedisTable, touched: Touched) -> dict[str, object]:
    """What the script is told of one table."""
    seen, written = touched.seen, touched.written
    saved, gone = touched.saved()
    columns = list(zip(*saved.values(), strict=True))
    looked_at = seen.keys() - written.keys() | seen.keys() & gone
    return {
        "table": table.name,
        "last": next(iter(touched.last)) if len(touched.last) == 1 and not touched.remembered else False,
        "fields": table.columns.names,
        "seen": list(looked_at),
        "commits": [seen[ending] for ending in looked_at],
        "saved": list(saved),
        "before": list(map(seen.get, saved, repeat(True))),
        "columns": columns,
        "whole": not any(False in column for column in columns),
        "gone": gone,
    }
