"""A query read once more, by DuckDB itself.

sqlglot takes some things that are no SQL, such as a comma after the last condition. DuckDB is given the text as it was
written, with what is ours blanked out or put in letters of the same number, so that its complaint has the right place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlglot import exp
from sqlglot.tokens import Token, TokenType

from headwater.views.binding import Binder
from headwater.views.texts import Text


def calls_of(text: Text, tokens: Sequence[Token], tree: exp.Query, binder: Binder) -> Iterator[tuple[str, int]]:
    """The functions that a query calls, and where. Raises: BadStatement: DuckDB does not take it."""
    characters = [" " if one != "\n" else one for one in text.sql]
    start, end = tokens[0].start, tokens[-1].end + 1
    characters[start:end] = text.sql[start:end]
    for node in tree.walk():
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier) and "start" in node.this.meta:
            mask_name(characters, node.this.meta["start"], node.this.meta["end"])
        for span in (node.meta.get("within"), node.meta.get("span")):
            if span is not None:
                characters[span[0] : span[1] + 1] = " " * (span[1] + 1 - span[0])
    for token in tokens:  # a topic before a dot
        if token.token_type == TokenType.IDENTIFIER:
            mask_name(characters, token.start, token.end)
    masked = "".join(characters)
    answer = binder.tree(masked)
    if answer["error"]:
        at = int(answer.get("position") or start)
        raise text.error(f"this cannot be read: {answer['error_message']}", characters_of(masked, at))
    for name, at in calls_in(answer):
        yield name, characters_of(masked, at)


def characters_of(text: str, size_bytes: int) -> int:
    """DuckDB counts places in bytes."""
    return len(text.encode()[:size_bytes].decode(errors="ignore"))


def calls_in(node: Any) -> Iterator[tuple[str, int]]:
    """The functions in what `json_serialize_sql` gives, and where they stand."""
    if isinstance(node, dict):
        if node.get("class") == "FUNCTION":
            yield str(node["function_name"]), int(node["query_location"])
        for part in node.values():
            yield from calls_in(part)
    elif isinstance(node, list):
        for part in node:
            yield from calls_in(part)


def mask_name(characters: list[str], start: int, end: int) -> None:
    """Makes a name of the same length that needs no quotes of one that does, unless it has them."""
    if characters[start] == '"':
        return
    for place in range(start, end + 1):
        if not characters[place].isalnum():
            characters[place] = "_"
    if characters[start].isdigit():
        characters[start] = "_"
