"""The state of views in PostgreSQL: another machine goes on with it when this one is lost.

Its owner has a session lock of the server, which goes with the connection, and its name stands beside the count of
commits. Who was away for a while and finds its lock free and its name there goes on; where another name stands, another
process has taken over, and what the former owner still sends comes to nothing. Commits wait for the server's disk.
"""

from __future__ import annotations

import hashlib
import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import uuid4

import psycopg

from headwater.errors import Misuse, Unavailable
from headwater.stores.postgres_connections import Connection, Connections, translated
from headwater.views.elsewhere_port import FORMAT, Changes, Lost, Piece

OPENING = 0x68775654
"""The number of the lock under which tables are made."""

SENT_BYTES = 32 << 20
"""So many bytes are sent in one statement, about."""

RELEASE_S = 10.0
"""How long is waited at the end until the server has let go of the lock."""

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS hw_view_states"
    " (name text PRIMARY KEY, format integer NOT NULL, owner text NOT NULL, commits bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS hw_view_objects"
    " (state text, name text, definition text NOT NULL, PRIMARY KEY (state, name))",
    "CREATE TABLE IF NOT EXISTS hw_view_pieces"
    " (state text NOT NULL, object text NOT NULL, weight smallint NOT NULL, content bytea NOT NULL)",
    "ALTER TABLE hw_view_pieces ALTER COLUMN content SET STORAGE EXTERNAL",  # it is compressed already
    "CREATE INDEX IF NOT EXISTS hw_view_pieces_object ON hw_view_pieces (state, object)",
)


class PostgresState:
    """A `StateStore`. Arguments: url; name: of the app, whose state it is."""

    def __init__(self, url: str, name: str) -> None:
        self._connections = Connections(url)
        self.place, self._name, self._owner = self._connections.place, name, str(uuid4())
        self._lock = threading.RLock()
        self._connection: Connection | None = None

    def claim(self) -> int:
        with self._lock, translated(self.place):
            connection = self._connections.take()
            try:
                connection.execute("SET synchronous_commit = on")
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock($1)", [OPENING])
                    if connection.execute("SELECT to_regclass('hw_view_pieces_object')").fetchone() == (None,):
                        for statement in SCHEMA:
                            connection.execute(statement)
                if not self._take_lock(connection):
                    raise Unavailable(f"another process maintains the views of {self._name} in {self.place}")
                [(version, commits)] = connection.execute(
                    "INSERT INTO hw_view_states VALUES ($1, $2, $3, 0) ON CONFLICT (name)"
                    " DO UPDATE SET owner = excluded.owner RETURNING format, commits",
                    [self._name, FORMAT, self._owner],
                ).fetchall()
                if version != FORMAT:
                    raise Misuse(
                        f"the state of views in {self.place} was written by another version of headwater (format "
                        f"{version}, this one reads {FORMAT}): drop its tables, it is made again from the log"
                    )
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            return int(commits)

    def commits(self) -> int:
        with self._lock, translated(self.place):
            return self._owned(self._reached())

    def definitions(self) -> dict[str, str]:
        with self._reading() as connection:
            sql = "SELECT name, definition FROM hw_view_objects WHERE state = $1"
            return dict(connection.execute(sql, [self._name]).fetchall())

    def pieces(self, table: str) -> Iterator[Piece]:
        with self._reading() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT weight, content FROM hw_view_pieces WHERE state = $1 AND object = $2", [self._name, table]
            )
            for weight, content in cursor:
                yield Piece(table, weight, content)

    def commit(self, number: int, changes: Changes) -> None:
        with self._lock, translated(self.place):
            connection = self._reached()
            with connection.transaction():
                moved = connection.execute(
                    "UPDATE hw_view_states SET commits = $1 WHERE name = $2 AND owner = $3 AND commits = $4",
                    [number + 1, self._name, self._owner, number],
                ).rowcount
                if moved == 0:
                    raise Lost(self._why_lost(connection))
                self._write(connection, changes)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                release(self._connection)
                self._connection.close()
                self._connection = None
            self._connections.close()

    def _write(self, connection: Connection, changes: Changes) -> None:
        if changes.gone:
            sql = "DELETE FROM hw_view_objects WHERE state = $1 AND name = ANY($2::text[])"
            connection.execute(sql, [self._name, list(changes.gone)])
        if changes.gone or changes.emptied:
            sql = "DELETE FROM hw_view_pieces WHERE state = $1 AND object = ANY($2::text[])"
            connection.execute(sql, [self._name, [*changes.gone, *changes.emptied]])
        if changes.defined:
            connection.execute(
                "INSERT INTO hw_view_objects SELECT $1, * FROM unnest($2::text[], $3::text[])"
                " ON CONFLICT (state, name) DO UPDATE SET definition = excluded.definition",
                [self._name, list(changes.defined), list(changes.defined.values())],
            )
        for some in portions(changes.pieces):
            connection.execute(
                "INSERT INTO hw_view_pieces SELECT $1, * FROM unnest($2::text[], $3::smallint[], $4::bytea[])",
                [self._name, *map(list, zip(*some, strict=True))],
            )

    def _take_lock(self, connection: Connection) -> bool:
        [(schema,)] = connection.execute("SELECT current_schema()").fetchall()
        digest = hashlib.blake2b(f"{schema}.{self._name}".encode(), digest_size=8).digest()
        number = int.from_bytes(digest, "big", signed=True)
        return bool(connection.execute("SELECT pg_try_advisory_lock($1::bigint)", [number]).fetchall()[0][0])

    def _reached(self) -> Connection:
        """The connection with the lock; another one if it has ended. Raises: Unavailable, Lost."""
        if self._connection is not None and not self._connection.closed:
            return self._connection
        connection = self._connections.take()
        try:
            connection.execute("SET synchronous_commit = on")
            locked = self._take_lock(connection)
            self._owned(connection)
            if not locked:
                raise Unavailable(f"the former connection of this process to {self.place} has not ended yet")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _owned(self, connection: Connection) -> int:
        """How many commits there are. Raises: Lost: the state is another process's."""
        found = connection.execute(
            "SELECT commits FROM hw_view_states WHERE name = $1 AND owner = $2", [self._name, self._owner]
        ).fetchone()
        if found is None:
            raise Lost(self._why_lost(connection))
        return int(found[0])

    def _why_lost(self, connection: Connection) -> str:
        found = connection.execute("SELECT owner FROM hw_view_states WHERE name = $1", [self._name]).fetchone()
        if found is not None and found[0] != self._owner:
            why = "another process has taken over"
        else:
            why = "it was dropped or restored"
        return (
            f"the state of the views of {self._name} in {self.place} is not what this process has written: {why}; "
            "start this process again, it goes on from what is there"
        )

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._lock, translated(self.place):
            yield self._reached()


def release(connection: Connection) -> None:
    """Lets go of its lock, and waits until the server has: it would notice the end of the connection only some time
    later, and who comes next would be refused. A server that does not answer is not waited for."""
    with suppress(psycopg.Error):
        connection.pgconn.send_query(b"SELECT pg_advisory_unlock_all()")
        connection.pgconn.flush()
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        poll.poll(RELEASE_S * 1000)


def portions(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces in their order, as many at a time as are sent at once."""
    some, size_bytes = list[Piece](), 0
    for piece in pieces:
        if some and size_bytes + len(piece.content) > SENT_BYTES:
            yield some
            some, size_bytes = [], 0
        some.append(piece)
        size_bytes += len(piece.content)
    if some:
        yield some
