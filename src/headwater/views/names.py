"""Names with hyphens in SQL: `order-events` is a topic where a table's name stands, and a subtraction elsewhere.

DuckDB's grammar as sqlglot has it reads everything, with two rules added:

- where the grammar expects the name of a table, touching words, numbers and hyphens are one name. It is the parser's
  own rule for tables that is extended, so a subtraction after another FROM (`EXTRACT(year FROM ts-interval 1 day)`)
  stays one;
- anywhere else they are one name only where they spell a known topic and a dot follows: `order-events.orderId`.

`"order-events"` in quotes means the same. What sqlglot does not understand it would pass on as an opaque command, with
a line in the log; here that is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, TypeVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokens import Token, TokenType

PARTS: Final = frozenset({TokenType.DASH, TokenType.DOT})
WITHIN: Final = "WITHIN"
Node = TypeVar("Node", bound=exp.Expr | None)


class ViewParser(DuckDBParser):
    """DuckDB's grammar with hyphens in the names of tables, `WITHIN` after a joined table, and `SESSION(…)`."""

    FUNC_TOKENS = DuckDBParser.FUNC_TOKENS | {TokenType.SESSION}

    def _parse_table_parts(
        self, schema: bool = False, is_db_reference: bool = False, wildcard: bool = False, fast: bool = False
    ) -> exp.Table | exp.Dot | None:
        if fast:  # the short cut knows nothing of hyphens
            return None
        name = self._parse_touching()
        if name is not None:
            return exp.Table(this=name)
        return super()._parse_table_parts(schema, is_db_reference, wildcard)

    def _parse_touching(self) -> exp.Identifier | None:
        """One name of touching words, numbers, hyphens and dots, if there is at least one hyphen or dot in it."""
        tokens = list(touching(self._tokens, self._index))
        if len(tokens) < 2:
            return None
        for _ in tokens:
            self._advance()
        return identifier(self.sql, tokens)

    def _parse_table_alias(self, alias_tokens: Collection[TokenType] | None = None) -> exp.TableAlias | None:
        if self._curr and self._curr.token_type == TokenType.VAR and self._curr.text.upper() == WITHIN:
            return None
        return super()._parse_table_alias(alias_tokens)

    def _parse_table(self, *args: Any, **kwargs: Any) -> exp.Expr | None:
        start = self._index
        table = super()._parse_table(*args, **kwargs)
        if isinstance(table, exp.Table) and self._match_text_seq(WITHIN):
            first = self._tokens[self._index - 1]
            if self._match(TokenType.L_PAREN):
                spans = self._parse_csv(self._parse_lambda)
                self._match_r_paren()
            else:
                spans = self._parse_csv(self._parse_bitwise)
            table.set("within", spans)
            table.meta["within"] = (first.start, self._tokens[self._index - 1].end)
        if table is not None and start < self._index:
            table.meta["start"] = self._tokens[start].start
        return table

    def _parse_group(self, *args: Any, **kwargs: Any) -> exp.Group | None:
        return self._placed(self._index, super()._parse_group(*args, **kwargs))

    def _parse_having(self, *args: Any, **kwargs: Any) -> exp.Having | None:
        return self._placed(self._index, super()._parse_having(*args, **kwargs))

    def _parse_limit(self, *args: Any, **kwargs: Any) -> exp.Expr | None:
        return self._placed(self._index, super()._parse_limit(*args, **kwargs))

    def _parse_order(self, *args: Any, **kwargs: Any) -> exp.Expr | None:
        return self._placed(self._index, super()._parse_order(*args, **kwargs))

    def _parse_qualify(self) -> exp.Qualify | None:
        return self._placed(self._index, super()._parse_qualify())

    def _parse_with(self, *args: Any, **kwargs: Any) -> exp.With | None:
        return self._placed(self._index, super()._parse_with(*args, **kwargs))

    def _parse_interval(self, *args: Any, **kwargs: Any) -> exp.Add | exp.Interval | None:
        return self._placed(self._index, super()._parse_interval(*args, **kwargs))

    def _parse_placeholder(self) -> exp.Expr | None:
        return self._placed(self._index, super()._parse_placeholder())

    def _parse_function(self, *args: Any, **kwargs: Any) -> exp.Expr | None:
        start, found = self._index, super()._parse_function(*args, **kwargs)
        return self._placed(start, found) if self._index == start + 1 else found

    def _parse_select(self, *args: Any, **kwargs: Any) -> exp.Expr | None:
        start, found = self._index, super()._parse_select(*args, **kwargs)
        for token in self._tokens[start + 1 : start + 2]:  # none, where the text ends with SELECT
            if isinstance(found, exp.Select) and token.token_type == TokenType.DISTINCT:
                found.args["distinct"].meta["start"] = token.start
        return self._placed(start, found)

    def _placed(self, start: int, found: Node) -> Node:
        """A part of the tree with where it begins, which sqlglot does not tell. Arguments: start: its first token."""
        if found is not None and start < self._index:
            found.meta.setdefault("start", self._tokens[start].start)
        return found

    def _parse_version(self) -> exp.Version | None:
        first = self._curr
        version = super()._parse_version()
        if version is not None:
            version.meta["span"] = (first.start, self._tokens[self._index - 1].end)
        return version

    def _parse_as_command(self, start: Token) -> exp.Command:
        self.raise_error("this is no statement of a view", start)
        raise AssertionError("raise_error raises at once")


class ViewDialect(DuckDB):
    """The dialect in which views are written: DuckDB's, with `ViewParser`."""

    Parser = ViewParser


def tokens_of(text: str, topics: Collection[str]) -> list[Token]:
    """The tokens of a text, with a known topic before a dot made one name.

    Arguments: topics: the names that are known. Raises: sqlglot's TokenError.
    """
    return list(glued(text, ViewDialect().tokenize(text), topics))


def glued(text: str, tokens: Sequence[Token], topics: Collection[str]) -> Iterator[Token]:
    """The same tokens, with those that spell a known topic before a dot as one."""
    place = 0
    while place < len(tokens):
        end = end_of_topic(text, tokens, place, topics)
        if end is None:
            yield tokens[place]
            place += 1
            continue
        first, last = tokens[place], tokens[end]
        name = text[first.start : last.end + 1]
        yield Token(TokenType.IDENTIFIER, name, last.line, last.col, first.start, last.end, first.comments)
        place = end + 1


def end_of_topic(text: str, tokens: Sequence[Token], place: int, topics: Collection[str]) -> int | None:
    """Where the topic that begins at `place` ends: the longest one that is known, of several tokens, before a dot."""
    found = None
    for end, token in enumerate(touching(tokens, place), place):
        follows = end + 1 < len(tokens) and tokens[end + 1].token_type == TokenType.DOT
        if end > place and follows and text[tokens[place].start : token.end + 1] in topics:
            found = end
    return found


def touching(tokens: Sequence[Token], place: int) -> Iterator[Token]:
    """The tokens from `place` on that make one name: words or numbers, with a hyphen or dot between, without a gap."""
    if place >= len(tokens) or not is_word(tokens[place]):
        return
    yield tokens[place]
    while place + 2 < len(tokens):
        here, between, after = tokens[place : place + 3]
        together = here.end + 1 == between.start and between.end + 1 == after.start
        if not (together and between.token_type in PARTS and is_word(after)):
            return
        yield between
        yield after
        place += 2


def is_word(token: Token) -> bool:
    """Whether it can be a part of a name without quotes: a word, also a key word, or a number."""
    if token.token_type == TokenType.NUMBER:
        return token.text.isdigit()
    return token.token_type not in (TokenType.STRING, TokenType.IDENTIFIER) and token.text.replace("_", "a").isalnum()


def identifier(text: str, tokens: Sequence[Token]) -> exp.Identifier:
    """Tokens as one name."""
    first, last = tokens[0], tokens[-1]
    name = exp.Identifier(this=text[first.start : last.end + 1], quoted=True)
    name.meta.update(line=last.line, col=last.col, start=first.start, end=last.end)
    return name
