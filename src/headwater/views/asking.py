"""Questions to views: one SELECT over the views of an app, and nothing else, within limits.

What a question may say is looked at first (see `allowed`). The database behind it has no access to the outside, takes
no Python variables for tables, and its configuration is locked (see `file`). A question runs in a transaction that can
only read, so it sees the views as of one moment; it is interrupted at its time limit, and where it takes more memory
than may be; and it is refused where it has more rows, or larger ones, than anybody looks at.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from types import TracebackType
from typing import Any

import duckdb

from headwater.errors import Misuse, Unavailable
from headwater.stores.port import Answer
from headwater.views.failing import OF_VIEW

MOST_ROWS = 1_000_000
"""So many rows an answer may have. More are not wanted by mistake: they would fill the memory of two processes."""

ANSWER_BYTES = 256 << 20
"""So large an answer may be, about: its texts, lists and the like as they are written."""

QUESTION_BYTES = 1 << 30
"""So much more memory than before DuckDB may use while a question is carried out."""

LOOK_S = 0.02
"""How often is looked how much it is."""

CHUNK_ROWS = 1024
NOT_OF_QUESTIONS = "'BASE_TABLE', 'METADATA', 'TRANSACTION', 'EXTERNAL_FILE_CACHE', 'OBJECT_CACHE'"
FIXED = ("INT", "INTEGER", "DECIMAL", "DOUBLE", "FLOAT", "BOOLEAN", "DATE", "TIME", "STAMP", "ZONE", "UUID", "INTERVAL")
"""What the names of types end with whose values are never large."""


class Guard:
    """Interrupts what a connection carries out when it takes too long or too much memory. Enter it before.

    DuckDB tells the memory of the whole file. So what another question takes meanwhile counts too, and so does what a
    view takes for a batch; that is a few dozen MB at most.

    Arguments: connection; timeout_s: None: as long as it takes. `why`: of the interruption.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, timeout_s: float | None) -> None:
        self._connection, self._timeout_s = connection, timeout_s
        self.why = "it was interrupted"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="views-guard", daemon=True)

    def __enter__(self) -> Guard:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        begun_s, before = time.monotonic(), None
        wait_s = LOOK_S if self._timeout_s is None else min(LOOK_S, self._timeout_s)
        if self._ended.wait(wait_s):
            return  # most are answered by now
        with suppress(duckdb.Error), closing(self._connection.cursor()) as beside:  # the file may be closed meanwhile
            ended = False
            while not ended:
                if self._timeout_s is not None and time.monotonic() - begun_s >= self._timeout_s:
                    self.why = f"the query did not end within {self._timeout_s:g} s and was stopped"
                    self._connection.interrupt()
                taken = memory_bytes(beside)
                before = taken if before is None else min(before, taken)
                if taken - before > QUESTION_BYTES:
                    self.why = f"the query took more than {QUESTION_BYTES >> 20:,} MB of memory and was stopped"
                    self._connection.interrupt()
                ended = self._ended.wait(wait_s)


def memory_bytes(connection: duckdb.DuckDBPyConnection) -> int:
    """What DuckDB uses for what it carries out, without what it keeps of the file."""
    [(taken,)] = connection.execute(
        f"SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory() WHERE tag NOT IN ({NOT_OF_QUESTIONS})"
    ).fetchall()
    return int(taken)


@contextmanager
def limited(connection: duckdb.DuckDBPyConnection, timeout_s: float | None) -> Iterator[None]:
    """A transaction that can only read, interrupted at its time limit, in seconds, and at that of memory.

    Raises: Misuse: what is carried out cannot be understood. Unavailable: it took longer, or too much memory.
    """
    guard, done = Guard(connection, timeout_s), False
    try:
        with guard:
            connection.execute("BEGIN TRANSACTION READ ONLY")
            yield
            connection.execute("COMMIT")
            done = True
    except duckdb.InterruptException as error:
        raise Unavailable(guard.why) from error
    except duckdb.OutOfMemoryException as error:
        raise Unavailable(f"the query needs more memory than there is: {error}") from error
    except (duckdb.DataError, duckdb.ProgrammingError, duckdb.NotSupportedError) as error:
        what = str(error).removeprefix("Invalid Input Error: ")
        if isinstance(error, duckdb.InvalidInputException) and what.startswith(OF_VIEW):
            raise Misuse(what) from error
        raise Misuse(f"DuckDB does not understand the query: {error}") from error
    finally:
        if not done:
            with suppress(duckdb.Error):  # it has not begun, or the file was closed
                connection.rollback()


def answer(
    connection: duckdb.DuckDBPyConnection, sql: str, arguments: Sequence[object], timeout_s: float | None
) -> Answer:
    """Carries out a question that `tables_in` has let pass, on a connection of its own.

    Raises: as `limited`; Misuse: it has too many rows, or too large ones.
    """
    with limited(connection, timeout_s):
        found = connection.execute(sql, list(arguments))
        columns = tuple(str(column[0]) for column in found.description or ())
        rows = fetched(found, MOST_ROWS)
    return Answer(columns, iter(rows))


def fetched(found: duckdb.DuckDBPyConnection, most: int) -> list[tuple[Any, ...]]:
    """The rows of an answer, which is not computed further than they are taken. Raises: Misuse: it is too large."""
    large = [i for i, column in enumerate(found.description or ()) if not str(column[1]).split("(")[0].endswith(FIXED)]
    rows: list[tuple[Any, ...]] = []
    size_bytes = 0
    while chunk := found.fetchmany(CHUNK_ROWS):
        rows += chunk
        size_bytes += sum(len(str([row[i] for row in chunk])) for i in large)
        if len(rows) > most:
            raise Misuse(f"the answer has more than {most:,} rows: say which with WHERE, or add LIMIT")
        if size_bytes > ANSWER_BYTES:
            raise Misuse(f"the answer has more than {ANSWER_BYTES >> 20:,} MB: say which rows and columns you want")
    return rows
