"""Whether `from_json` may have made another row of a record than its text says.

    by the text:  `suspicious`, a pattern that finds whatever it reads otherwise than the codec would
    by the row:   `incomplete`, SQL that finds what is missing in what it made
    by itself:    `from_json_strict` fails where a field that is read is there twice

What neither finds was read exactly. The patterns have no anchors, so what is not found in the texts of a batch, one
after the other, is in none of them; the end of one and the beginning of the next may be suspected for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from struct import pack

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from headwater.views.fitting import DECIMALS
from headwater.views.narrowing import nullable, undeclared
from headwater.views.plan import EventType, Field
from headwater.views.types import BIGINT, ListOf, MapOf, Scalar, SqlType, StructOf, literal, quoted
from headwater.views.usual import UNUSUAL

FIRST: Mapping[str, str] = {"VARCHAR": '"n', "BOOLEAN": "tfn", "BIGINT": r"0-9\-n", "DOUBLE": r"0-9\-n"}
"""What a value of a type begins with in the text of a record (n: null)."""

WHOLE = r":-?[0-9]+[^0-9,}\]]"
"""After a name: a number that is not whole, or something else behind it."""

OF_ALL = (r",\s*[}\]]", r"[:\[,]\s*-?(?i:nan|inf|infinity)\s*[,}\]]")
"""What is no JSON and is read all the same: a comma behind the last, a number that is none or has no end."""

OF_FIELDS = (r"\\u", '" :')
"""A character that is written as a number, and a space before a colon, which the patterns of fields do not expect."""

OF_EXPONENTS = r'[:"\[,] ?-?[0-9.]+[eE]-[0-9]+["\s,}\]]'
"""An exponent, which may give more digits after the point than a view reads."""


def suspicious(kinds: Sequence[EventType]) -> str:
    """A pattern (of RE2) that finds the texts of these types of which a row may say something else."""
    return "|".join(dict.fromkeys(pattern for kind in kinds for pattern in _patterns(kind)))


def incomplete(kind: EventType) -> str:
    """SQL on the row `x` of a record of the type: whether something that is used is missing, is none that its class may
    have, or cannot be told from its text."""
    if not kind.fields:
        return "x IS NULL"
    if any(_nameless(field.type) for field in kind.fields):
        return "true"
    missing = [_unless_null(field, optional) for field, optional in zip(kind.fields, nullable(kind), strict=True)]
    return f"coalesce({' OR '.join([*missing, *undeclared(kind)])}, false)"


def found_in(pattern: str) -> str:
    """SQL: whether a pattern is in the text `v`."""
    return f"regexp_matches(v, {literal(pattern)})" if pattern else "false"


def is_in_any(pattern: str, texts: pa.Array) -> bool:
    """Whether a pattern is in one of some texts. They are looked through as one: that takes a third of the time."""
    _, offsets, content = texts.buffers()
    if not pattern or content is None:
        return False
    end = memoryview(offsets).cast("i")[len(texts)]
    joined = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(pack("=2i", 0, end)), content])
    return bool(pc.match_substring_regex(joined, pattern)[0].as_py())


def _patterns(kind: EventType) -> Iterator[str]:
    yield from OF_ALL
    if kind.fields:
        yield from OF_FIELDS
    if any("DECIMAL" in field.type.sql for field in kind.fields):
        yield OF_EXPONENTS
    for name, leaf in (leaf for field in kind.fields for leaf in _leaves(field.wire, field.type)):
        text = re.escape(msgspec.json.encode(name).decode())
        if leaf == BIGINT:
            yield text + WHOLE
        if leaf.sql in UNUSUAL:
            yield f'{text}:(?:[^"n]|"{UNUSUAL[leaf.sql]})'
            continue
        if (decimal := DECIMALS.fullmatch(leaf.sql)) is not None:
            yield f'{text}:"?[^",}}\\]]*\\.[0-9_]{{{int(decimal[2]) + 1}}}'
        first = '"0-9\\-n' if "DECIMAL" in leaf.sql else FIRST.get(leaf.sql, '"n')
        yield f"{text}:[^{first}]"


def _leaves(name: str, kind: SqlType) -> Iterator[tuple[str, Scalar]]:
    """The values in a field that are not made of others, by the name that stands before each in the text."""
    if isinstance(kind, StructOf):
        for member in kind.members:
            yield from _leaves(member.wire, member.type)
    elif isinstance(kind, ListOf):
        yield from _leaves(name, kind.of)
    elif isinstance(kind, Scalar):
        yield name, kind


def _nameless(kind: SqlType) -> bool:
    """Whether it has values before which no name stands in the text, as a list of numbers has."""
    if isinstance(kind, StructOf):
        return any(_nameless(member.type) for member in kind.members)
    return isinstance(kind, MapOf) or (isinstance(kind, ListOf) and (_nameless(kind.of) or isinstance(kind.of, Scalar)))


def _unless_null(field: Field, optional: bool) -> str:
    """As `_missing`, unless the field may be null and the text says that it is: then nothing is missing. What is not
    there at all the strict function finds, and it finds a value that makes no other one."""
    text = f"x.{quoted(field.wire)}"
    missing = _missing(text, field.type, 0)
    said = literal(f"{msgspec.json.encode(field.wire).decode()}:null")
    return f"({missing} AND NOT ({text} IS NULL AND contains(v, {said})))" if optional else missing


def _missing(text: str, kind: SqlType, depth: int) -> str:
    """Whether a part that is used is NULL: it was left out, or it is null, or it does not fit."""
    if isinstance(kind, StructOf):
        members = [_missing(f"{text}.{quoted(member.wire)}", member.type, depth) for member in kind.members]
        return f"({' OR '.join([f'{text} IS NULL', *members])})"
    if isinstance(kind, ListOf):
        one = f"e{depth}"
        inner = _missing(one, kind.of, depth + 1)
        return f"({text} IS NULL OR len(list_filter({text}, lambda {one}: {inner})) > 0)"
    return f"{text} IS NULL"
