"""From a text to statements: what is declared under which name, with which options, and the tree of its query.

    CREATE TABLE name [WITH (history = true, …)] AS SELECT …    also VIEW and MATERIALIZED VIEW: the same thing
    CREATE STREAM name [WITH (topic = 'x', key = 'c')] AS SELECT …
    CREATE STREAM|TABLE name (column TYPE [PRIMARY KEY], …) [WITH (topic = 'x')]     what others write, described

The words up to the query are read here; the query is read by `names.ViewParser`, and then by DuckDB itself
(`second_reading`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, Literal

from sqlglot import exp
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokens import Token, TokenType

from headwater.views.binding import Binder
from headwater.views.errors import BadStatement
from headwater.views.names import ViewDialect, tokens_of, touching
from headwater.views.second_reading import calls_of
from headwater.views.texts import Text

BRACKETS: Final = {TokenType.L_PAREN: 1, TokenType.L_BRACKET: 1, TokenType.R_PAREN: -1, TokenType.R_BRACKET: -1}
TOO_DEEP: Final = "this is nested too deeply to be read: make a view of a part of it, and read that"
UNENDED: Final = re.compile(r"Missing (.*) from \d+:(\d+)", re.DOTALL)
"""What sqlglot says of a text, a name or a comment without an end: what is missing, and where the token begins."""

Kind = Literal["table", "stream"]
Value = str | bool | int

OPTIONS: Final[Mapping[str, tuple[type, str]]] = {
    "history": (bool, "history = true keeps past states"),
    "topic": (str, "topic = 'name' is where a stream's rows go, or where those of others come from"),
    "key": (str, "key = 'column' is the key of a stream's records"),
    "late": (str, "late = 'drop' leaves out what comes too late for a window; 'dead_letter' is the default"),
    "shared": (bool, "shared = true lets the processes of an app share the partitions of the view"),
    "sink": (str, "sink = 'redis://host:6379/0' is a store that gets the rows"),
}


@dataclass(frozen=True, slots=True)
class Declared:
    """A column of a topic that others write. Arguments: name; type: as sqlglot read it; key; start: where it stands."""

    name: str
    type: exp.DataType
    key: bool
    start: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.

    Arguments: kind; name; options; query: None where columns are declared; columns: none where there is a query; text:
    all that it stands in; start, end: where in it; functions: those that it calls, and where; places: where the name
    stands, as "", and each option.
    """

    kind: Kind
    name: str
    options: Mapping[str, Value]
    query: exp.Query | None
    columns: tuple[Declared, ...]
    text: Text
    start: int
    end: int
    functions: tuple[tuple[str, int], ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        """The statement as it was written."""
        return self.text.sql[self.start : self.end + 1]

    def error(self, reason: str, node: exp.Expr | None = None) -> BadStatement:
        """What is wrong with a part of it; None: with all of it."""
        start = None if node is None else start_of(node)
        return self.text.error(reason, self.start if start is None else start)

    def error_at(self, place: str, reason: str) -> BadStatement:
        """What is wrong with one of its options, or with its name: ""."""
        return self.text.error(reason, self.places.get(place, self.start))


def start_of(node: exp.Expr) -> int | None:
    """Where the first word of a part of a tree stands, as far as sqlglot knows."""
    places = [one.meta[key] for one in node.walk() for key in ("start",) if key in one.meta]
    return min(places, default=None)


def read_statements(text: Text, topics: Collection[str], binder: Binder) -> list[Statement]:
    """The statements of a text, in order.

    Arguments: topics: the names that may stand before a dot without quotes. Raises: BadStatement.
    """
    return [Header(text, part).statement(binder) for part in split(read_tokens(text, topics))]


def names_in(text: Text) -> list[str]:
    """The names that the statements of a text have. Raises: BadStatement."""
    return [Header(text, part).begin()[1] for part in split(read_tokens(text, ()))]


def read_tokens(text: Text, topics: Collection[str]) -> list[Token]:
    try:
        return tokens_of(text.sql, topics)
    except TokenError as reason:
        missing = UNENDED.fullmatch(str(reason.__cause__))
        if missing is not None:
            raise text.error(f"what begins here never ends: {missing[1]} is missing", int(missing[2])) from None
        if text.sql.rfind("/*") > text.sql.rfind("*/"):
            raise text.error("what begins here never ends: */ is missing", text.sql.rfind("/*")) from None
        raise text.error(f"this cannot be read: {reason}", 0) from None


def split(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens of each statement; empty ones are left out."""
    part: list[Token] = []
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            if part:
                yield part
            part = []
        else:
            part.append(token)
    if part:
        yield part


@dataclass(slots=True)
class Header:
    """Reads the words of one statement up to its query. Arguments: text; tokens: of the statement; place: the next;
    places: as of `Statement`."""

    text: Text
    tokens: list[Token]
    place: int = field(default=0)
    places: dict[str, int] = field(default_factory=dict)

    def statement(self, binder: Binder) -> Statement:
        """The statement. Raises: BadStatement."""
        kind = self.kind()
        self.places[""] = self.tokens[min(self.place, len(self.tokens) - 1)].start
        name = self.name()
        columns = self.columns() if self.peek() == "(" else ()
        options = self.options() if self.take("WITH") else {}
        query: exp.Query | None = None
        functions: tuple[tuple[str, int], ...] = ()
        if columns:
            if self.place < len(self.tokens):
                raise self.error(
                    "a statement either declares the columns of what others write or has a query, not both"
                )
        else:
            if not self.take("AS"):
                raise self.error(f"here AS SELECT … is expected: CREATE {kind.upper()} {name} AS SELECT …")
            query, functions = read_query(self.text, self.tokens[self.place :], binder)
        start, end = self.tokens[0].start, self.tokens[-1].end
        return Statement(kind, name, options, query, columns, self.text, start, end, functions, self.places)

    def begin(self) -> tuple[Kind, str]:
        """What the statement makes, and its name."""
        return self.kind(), self.name()

    def kind(self) -> Kind:
        if not self.take("CREATE"):
            raise self.error("a view begins with CREATE TABLE name AS SELECT …, or CREATE STREAM name AS SELECT …")
        if self.peek() == "OR":
            raise self.error("leave out OR REPLACE: a changed statement is a new version of its view")
        self.take("MATERIALIZED")
        for word in ("TABLE", "VIEW", "STREAM"):
            if self.take(word):
                break
        else:
            raise self.error("here TABLE, VIEW or STREAM is expected")
        if self.peek() == "IF":
            raise self.error("leave out IF NOT EXISTS: a statement says what there is, not what to do")
        return "stream" if word == "STREAM" else "table"

    def name(self) -> str:
        parts = list(touching(self.tokens, self.place))
        if not parts and self.place < len(self.tokens) and self.tokens[self.place].token_type == TokenType.IDENTIFIER:
            parts = [self.tokens[self.place]]
            self.place += 1
            return parts[0].text
        if not parts:
            raise self.error("here the view's name is expected")
        self.place += len(parts)
        return self.text.sql[parts[0].start : parts[-1].end + 1]

    def columns(self) -> tuple[Declared, ...]:
        first, end = self.place, self.closing()
        self.place = end + 1
        words = "CREATE TABLE x"
        head = ViewDialect().tokenize(words)
        tree = parse(self.text, [*head, *self.tokens[first : end + 1]])
        schema = tree.find(exp.Schema)
        found = [] if schema is None else [one for one in schema.expressions if isinstance(one, exp.ColumnDef)]
        if schema is None or len(found) != len(schema.expressions) or not found:
            raise self.text.error("here columns are expected: name TYPE, …", self.tokens[first].start)
        return tuple(map(self.column, found))

    def column(self, definition: exp.ColumnDef) -> Declared:
        start = start_of(definition) or self.tokens[0].start
        if definition.kind is None:
            raise self.text.error(f"{definition.name} has no type", start)
        kinds = [one.kind for one in definition.args.get("constraints") or ()]
        others = [one for one in kinds if not isinstance(one, exp.PrimaryKeyColumnConstraint)]
        if others:
            raise self.text.error(f"{definition.name}: of the constraints there is PRIMARY KEY only", start)
        return Declared(definition.name, definition.kind, bool(kinds), start)

    def options(self) -> dict[str, Value]:
        found: dict[str, Value] = {}
        if self.peek() != "(":
            raise self.error("here ( is expected: WITH (option = value, …)")
        end = self.closing()
        self.place += 1
        while self.place < end:
            token = self.tokens[self.place]
            name = token.text.lower()
            if name not in OPTIONS:
                raise self.error(f"there is no option {name}: {'; '.join(text for _, text in OPTIONS.values())}")
            self.places[name] = token.start
            self.place += 1
            if not self.take("="):
                raise self.error(f"here = is expected: {name} = value")
            found[name] = self.value(name)
            if self.place < end and not self.take(","):
                raise self.error("here , or ) is expected")
        self.place = end + 1
        return found

    def value(self, name: str) -> Value:
        token = self.tokens[self.place]
        wanted, text = OPTIONS[name]
        value: Value = token.text
        if token.token_type in (TokenType.TRUE, TokenType.FALSE):
            value = token.token_type == TokenType.TRUE
        if not isinstance(value, wanted) or (wanted is str and token.token_type != TokenType.STRING):
            raise self.error(f"{name} cannot be {token.text}: {text}")
        self.place += 1
        return value

    def closing(self) -> int:
        """Where the bracket that opens at the next token is closed."""
        depth = 0
        for place in range(self.place, len(self.tokens)):
            depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(self.tokens[place].token_type, 0)
            if depth == 0:
                return place
        raise self.error("this bracket is never closed")

    def peek(self) -> str:
        return self.tokens[self.place].text.upper() if self.place < len(self.tokens) else ""

    def take(self, word: str) -> bool:
        """Goes past the next token, if it is this word."""
        if self.peek() != word or self.tokens[self.place].token_type == TokenType.IDENTIFIER:
            return False
        self.place += 1
        return True

    def error(self, reason: str) -> BadStatement:
        here = self.tokens[min(self.place, len(self.tokens) - 1)]
        return self.text.error(reason, here.start if self.place < len(self.tokens) else here.end + 1)


def read_query(text: Text, tokens: Sequence[Token], binder: Binder) -> tuple[exp.Query, tuple[tuple[str, int], ...]]:
    """The tree of a query, and the functions that it calls. Raises: BadStatement."""
    if not tokens:
        raise text.error("here SELECT … is expected", len(text.sql.rstrip().rstrip(";")))
    try:
        tree = parse(text, tokens)
        if not isinstance(tree, exp.Query):
            raise text.error("here SELECT … is expected", tokens[0].start)
        return tree, tuple(calls_of(text, tokens, tree, binder))
    except RecursionError:
        raise text.error(TOO_DEEP, deepest(tokens).start) from None


def deepest(tokens: Sequence[Token]) -> Token:
    """The first token in the most brackets, the last of which it is."""
    depths = list(accumulate(BRACKETS.get(token.token_type, 0) for token in tokens))
    return tokens[depths.index(max(depths))]


def parse(text: Text, tokens: Sequence[Token]) -> exp.Expr:
    """The tree of tokens. Raises: BadStatement."""
    try:
        trees = ViewDialect().parser().parse(list(tokens), text.sql)
    except ParseError as reason:
        first = reason.errors[0]
        what = "something is missing" if "missing for" in first["description"] else first["description"]
        raise text.error(f"this cannot be read: {what}", place_in(text.sql, first, tokens)) from None
    tree = trees[0] if len(trees) == 1 else None
    if tree is None:
        raise text.error("here SELECT … is expected", tokens[0].start)
    return tree


def place_in(sql: str, error: Mapping[str, Any], tokens: Sequence[Token]) -> int:
    """Where sqlglot found an error: it says the line, and the column of the last character of a token."""
    for token in tokens:
        if (token.line, token.col) == (error["line"], error["col"]):
            return token.start
    return tokens[-1].start
