"""A table of a view in parts, so that it is merged a little at a time: each commit does a bounded piece of a merge.

    batch ─► delta (the one that is written)                    base: buckets, by a hash of what tells rows apart
             delta (the one that is being merged) ─ bucket by bucket ─► folded with it, into a new bucket

What is kept is all of this together, and a view of the table's name shows it as one, so whoever reads it knows nothing
of parts. All rows of a key are in one bucket and its share of the deltas. When the delta that is written has grown by
much, the two change places, and the other one is merged: each piece folds one bucket of the base with its share of the
delta into a new one, in the transaction of a batch. A bucket that has become large is split when it is merged. What
the parts are is read from the file again after each change: a batch that comes to nothing leaves them as they were.
Another version of DuckDB may compute other hashes, so it folds all of it into one bucket when it opens the file.
"""

from __future__ import annotations

from typing import NamedTuple

import duckdb

from headwater.views.kept import KeptTable
from headwater.views.types import quoted

BUCKET_ROWS = 16_384
"""So many rows a bucket has, about: so many groups a piece of a merge makes anew."""

SPLIT = 8
"""Into so many buckets one is split at most, in one piece."""

HASHES = 65_536

TEXTS = frozenset({"VARCHAR", "JSON", "BLOB"})

ALL_PARTS = (
    "CREATE TABLE IF NOT EXISTS hw.parts (name VARCHAR, generation INTEGER, buckets INTEGER, following INTEGER,"
    " merged INTEGER, active INTEGER, hashed_by VARCHAR)"
)
"""What the parts of tables are."""


class Layout(NamedTuple):
    """Which parts there are.

    Arguments: generation: of the base; buckets: how many it has, a power of two; following: how many it will have;
    merged: how many buckets of the base have been merged into those of the next generation (-1: nothing is merged);
    active: the delta that is written, 0 or 1.
    """

    generation: int = 0
    buckets: int = 1
    following: int = 1
    merged: int = -1
    active: int = 0


class Parts:
    """One table in parts. Arguments: table: with keys; connection: on which it is made where it is missing, in a
    transaction."""

    def __init__(self, table: KeptTable, connection: duckdb.DuckDBPyConnection) -> None:
        assert table.fold is not None, "what has keys can be folded by them"
        self._table, self._fold = table, table.fold
        self._known: Layout | None = None
        described = connection.execute(f"DESCRIBE {table.adds}").fetchall()
        self._columns = ", ".join(quoted(row[0]) for row in described)
        self._definition = ", ".join(f"{quoted(row[0])} {row[1]}" for row in described)
        self._written_as = ", ".join(f"{quoted(row[0])} {row[1]}{as_it_is(row[1])}" for row in described)
        known = connection.execute("SELECT hashed_by FROM hw.parts WHERE name = ?", [table.name]).fetchall()
        if not known:
            connection.execute(f"CREATE TABLE {self._base(0, 0)} ({self._definition})")
            for delta in (0, 1):
                self._make_delta(connection, delta)
            self._put(connection, Layout())
        elif known != [(duckdb.__version__,)]:
            self._fold_all(connection)
        layout = self._layout(connection)
        self._written = size(connection, self._delta(layout.active))
        self._base_rows = self._size(connection, layout)

    def add(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Adds what the batch comes to. Returns how many rows."""
        name = self.written(connection)
        [(added,)] = connection.execute(
            f"INSERT INTO {name} SELECT *, (hash({self._table.keys}) % {HASHES})::USMALLINT FROM ({self._table.adds})"
        ).fetchall()
        self._written += added
        return int(added)

    def written(self, connection: duckdb.DuckDBPyConnection) -> str:
        """The name of the table that a batch is added to."""
        return self._delta(self._layout(connection).active)

    def look(self, connection: duckdb.DuckDBPyConnection, added: int, least: int) -> None:
        """Does a piece of a merge, if one is under way or due. In the transaction of the batch.

        Arguments: added: rows of the batch: the more there are, the more is merged; least: a merge begins when more
        rows than this were added, and half as many as there are.
        """
        layout, enough = self._layout(connection), max(least, self._base_rows // 2)
        if layout.merged < 0:
            if self._written <= enough:
                return
            layout = self._begin(layout)
        pieces = 1 + 2 * added * layout.buckets // (enough + 1)
        while layout.merged < layout.buckets and pieces > 0:
            layout, pieces = self._merge(connection, layout), pieces - 1
        if layout.merged == layout.buckets:
            layout = self._end(connection, layout)
        self._put(connection, layout)

    def _begin(self, layout: Layout) -> Layout:
        wanted = max(self._base_rows, self._written) // BUCKET_ROWS
        following = layout.buckets
        while following < wanted and following < layout.buckets * SPLIT and following < HASHES:
            following *= 2
        self._written = 0
        return layout._replace(following=following, merged=0, active=1 - layout.active)

    def _merge(self, connection: duckdb.DuckDBPyConnection, layout: Layout) -> Layout:
        bucket, many = layout.merged, layout.following // layout.buckets
        old = self._base(layout.generation, bucket)
        source = (
            f"(SELECT {self._columns} FROM {old} UNION ALL SELECT {self._columns}"
            f" FROM {self._delta(1 - layout.active)} WHERE hw_hash % {layout.buckets} = {bucket})"
        )
        fold = self._fold.replace(self._table.name, source)  # it names the table once, as what it reads
        made = [self._base(layout.generation + 1, bucket + i * layout.buckets) for i in range(many)]
        if many == 1:
            connection.execute(f"CREATE TABLE {made[0]} AS {fold}")
        else:
            place = f"(hash({self._table.keys}) % {HASHES} // {layout.buckets} % {many})"
            connection.execute(f"CREATE OR REPLACE TEMP TABLE hw_split AS SELECT *, {place} AS hw_place FROM ({fold})")
            for i, name in enumerate(made):
                connection.execute(f"CREATE TABLE {name} AS SELECT {self._columns} FROM hw_split WHERE hw_place = {i}")
            connection.execute("DROP TABLE hw_split")
        connection.execute(f"DROP TABLE {old}")
        return layout._replace(merged=bucket + 1)

    def _end(self, connection: duckdb.DuckDBPyConnection, layout: Layout) -> Layout:
        delta = 1 - layout.active
        connection.execute(f"DROP TABLE {self._delta(delta)}")
        self._make_delta(connection, delta)
        layout = Layout(layout.generation + 1, layout.following, layout.following, -1, layout.active)
        self._base_rows = self._size(connection, layout)
        return layout

    def _size(self, connection: duckdb.DuckDBPyConnection, layout: Layout) -> int:
        """How many rows the base has; in one statement: there may be hundreds of buckets."""
        return size(connection, f"({' UNION ALL '.join(f'SELECT 1 FROM {name}' for name in self._bases(layout))})")

    def _fold_all(self, connection: duckdb.DuckDBPyConnection) -> None:
        layout = self._layout(connection)
        generation = layout.generation + 2
        connection.execute(f"CREATE TABLE {self._base(generation, 0)} AS {self._fold}")
        for name in [*self._bases(layout), self._delta(0), self._delta(1)]:
            connection.execute(f"DROP TABLE {name}")
        for delta in (0, 1):
            self._make_delta(connection, delta)
        self._put(connection, Layout(generation))

    def _layout(self, connection: duckdb.DuckDBPyConnection) -> Layout:
        if self._known is None:
            [row] = connection.execute(
                "SELECT generation, buckets, following, merged, active FROM hw.parts WHERE name = ?", [self._table.name]
            ).fetchall()
            self._known = Layout(*row)
        return self._known

    def _put(self, connection: duckdb.DuckDBPyConnection, layout: Layout) -> None:
        """Writes down what the parts are, and lets the table's name show them."""
        self._known = None  # nobody knows yet what becomes of the transaction
        connection.execute("DELETE FROM hw.parts WHERE name = ?", [self._table.name])
        row = [self._table.name, *layout, duckdb.__version__]
        connection.execute(f"INSERT INTO hw.parts VALUES ({', '.join('?' * len(row))})", row)
        shown = [f"SELECT {self._columns} FROM {name}" for name in [*self._bases(layout), self._delta(layout.active)]]
        if layout.merged >= 0:
            rest = f"hw_hash % {layout.buckets} >= {layout.merged}"
            shown.append(f"SELECT {self._columns} FROM {self._delta(1 - layout.active)} WHERE {rest}")
        connection.execute(f"CREATE OR REPLACE VIEW {self._table.name} AS {' UNION ALL '.join(shown)}")

    def _bases(self, layout: Layout) -> list[str]:
        done = max(layout.merged, 0)
        new = [
            self._base(layout.generation + 1, place)
            for bucket in range(done)
            for place in range(bucket, layout.following, layout.buckets)
        ]
        return [*(self._base(layout.generation, bucket) for bucket in range(done, layout.buckets)), *new]

    def _make_delta(self, connection: duckdb.DuckDBPyConnection, delta: int) -> None:
        connection.execute(f"CREATE TABLE {self._delta(delta)} ({self._written_as}, hw_hash USMALLINT)")

    def _base(self, generation: int, bucket: int) -> str:
        return self._part(f"{generation}.{bucket}")

    def _delta(self, delta: int) -> str:
        return self._part(f"delta {delta}")

    def _part(self, part: str) -> str:
        return f'{self._table.name.removesuffix(chr(34))}#{part}"'


def as_it_is(kind: str) -> str:
    """How a column of a delta is kept. Each piece of a merge reads all of the delta to find its share, and each
    checkpoint writes the end of it anew: texts that are compressed took most of the time of both."""
    return " USING COMPRESSION uncompressed" if kind in TEXTS else ""


def size(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    """How many rows a table has, or a SELECT in brackets."""
    [(count,)] = connection.execute(f"SELECT count(*) FROM {name}").fetchall()
    return int(count)
