"""Which views a question is for, and which tables it reads: told by DuckDB's own parser, remembered by its text.

Not every question is for views. Those to read models are in the language of their store, which DuckDB's parser may not
understand. So what is no one SELECT to it is for views where it names one after FROM, or as DROP TABLE and the like
do, and none of the store's tables there: then nothing else can be meant, and the error is that of views.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

import duckdb

from headwater.errors import Misuse
from headwater.views.allowed import functions_of, refuse
from headwater.views.parsed import statement_of, tables_of

MOST_KNOWN = 200
"""So many questions are remembered: to parse one takes longer than many an answer."""

WORDS = re.compile(
    r"""--[^\n]* | /\*.*?(?:\*/|\Z)       # comments
    | '[^']*'? | "((?:[^"]|"")*)"?        # a text; a name in quotes
    | (\w+(?:-\w+)*) | \S                 # a name, also a view's with hyphens that lacks its quotes; anything else
    """,
    re.VERBOSE | re.DOTALL,
)
BEFORE_TABLE = frozenset({"from", "join", "into", "update", "table", "view"})


@dataclass(frozen=True, slots=True)
class Read:
    """What is known of a question.

    Arguments: tables: that it reads, in lower case; if it is not parsed, those that it seems to name; parsed: whether
    it is one SELECT, and not too long; refused: why it is no question to views, None: it is one.
    """

    tables: frozenset[str]
    parsed: bool
    refused: str | None


def no_table(name: str) -> bool:
    """Where there is no store beside the views."""
    return False


class Questions:
    """Arguments: views: their names, in lower case. Thread-safe."""

    def __init__(self, views: Collection[str]) -> None:
        self._views = frozenset(views)
        self._spelled = [without_quotes(view) for view in self._views]
        self._lock = threading.Lock()
        self._parser: duckdb.DuckDBPyConnection | None = None
        self._functions: frozenset[str] = frozenset()
        self._known: dict[str, Read] = {}

    def views_in(self, sql: str, is_stored: Callable[[str], bool] = no_table) -> set[str]:
        """The views that a question reads, in lower case; none: it is not for views.

        Arguments: is_stored: whether the store beside the views has a table of a name, in lower case.
        """
        if sql not in self._known:
            text = without_quotes(sql.lower())
            if not any(view in text for view in self._spelled):
                return set()
        found = self._read(sql)
        if not found.parsed and any(is_stored(name) for name in found.tables - self._views):
            return set()
        return set(found.tables & self._views)

    def tables_in(self, sql: str) -> set[str]:
        """The tables that a question to views reads, in lower case. Raises: Misuse: it is none, or not allowed."""
        found = self._read(sql)
        if found.refused is not None:
            raise Misuse(found.refused)
        return set(found.tables)

    def close(self) -> None:
        with self._lock:
            if self._parser is not None:
                self._parser.close()
            self._parser = None

    def _read(self, sql: str) -> Read:
        found = self._known.get(sql)
        if found is None:
            with self._lock:
                found = self._parsed(sql)
                if len(self._known) >= MOST_KNOWN:
                    self._known.clear()
                self._known[sql] = found
        return found

    def _parsed(self, sql: str) -> Read:
        if self._parser is None:
            self._parser = duckdb.connect(":memory:", config={"threads": "1"})
            self._parser.execute("LOAD json")
            self._functions = functions_of(self._parser)
        try:
            statement = statement_of(self._parser, sql)
        except Misuse as error:
            named = frozenset(named_in(sql))
            bare = [view for view in named & self._views if "-" in view and f'"{view}"' not in sql.lower()]
            advice = f'; write "{bare[0]}" in quotes' if bare else ""
            return Read(named, parsed=False, refused=f"{error}{advice}")
        try:
            refuse(statement, self._functions)
            refused = None
        except Misuse as error:
            refused = str(error)
        return Read(frozenset(tables_of(statement)), parsed=True, refused=refused)


def without_quotes(text: str) -> str:
    """A name in quotes has those that are a part of it twice."""
    return text.replace('"', "").replace("'", "")


def named_in(sql: str) -> set[str]:
    """The tables that a text seems to name that cannot be parsed, in lower case."""
    if sql.lstrip().startswith("{"):
        return set()  # a search server's
    found, expected = set(), False
    for word in WORDS.finditer(sql.lower()):
        quoted, plain = word.groups()
        if word[0].startswith(("--", "/*")) or (expected and word[0] == "("):
            continue
        if expected and (quoted or plain):
            found.add(quoted.replace('""', '"') if quoted else plain)
        expected = plain in BEFORE_TABLE
    return found
