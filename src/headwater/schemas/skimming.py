"""Looking over Avro bytes before they are decoded, for schemas by which a few bytes can do harm.

fastavro follows the bytes wherever they lead, in C. By a schema that contains itself, a few thousand bytes describe a
value nested so deeply that the stack ends and the process with it; by an array of nothing, nine bytes describe more
elements than there is memory for. Neither is an exception that could be caught, so values of such schemas are walked
through first, here, with bounds. Other schemas cannot do it, and are not walked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

DEEPEST: Final = 200
"""Levels of values inside values; JSON is read to about as many."""

MOST_EMPTY: Final = 100_000
"""Elements that take no bytes, in one value."""

MOST_STEPS: Final = 100_000
"""Parts of the smallest value of a schema: named types can stand for each other many times over."""

FIXED: Final = {"null": 0, "boolean": 1, "float": 4, "double": 8}
VARIABLE: Final = ("int", "long", "enum")
WHOLE_NUMBER_BYTES: Final = 10


class Garbled(ValueError):
    """The bytes are not of the schema; the text says why."""


class NoSchema(ValueError):
    """A text is no Avro schema; the text says why."""


def is_dangerous(schema: Any, named: Mapping[str, Any]) -> bool:
    """Whether a value of a parsed schema has to be walked through. Arguments: named: its named types.
    Raises: NoSchema: reading even its smallest value would take for ever."""
    if contains_itself(schema, named):
        return True
    known: dict[int, Least] = {}
    if least(schema, named, known).steps > MOST_STEPS:
        raise NoSchema(f"the smallest value of its schema has over {MOST_STEPS:,} parts")
    return any(
        one["type"] == "array" and least(one["items"], named, known).size == 0 for one in types_in(schema, named)
    )


def types_in(schema: Any, named: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All compound types of a schema, once each."""
    seen: set[int] = set()
    todo = [schema]
    while todo:
        one = resolved(todo.pop(), named)
        if isinstance(one, list):
            todo += one
        elif isinstance(one, dict) and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += parts_of(one)


def parts_of(schema: dict[str, Any]) -> list[Any]:
    if schema["type"] in ("record", "error"):
        return [field["type"] for field in schema["fields"]]
    return [schema[word] for word in ("items", "values") if word in schema]


def resolved(schema: Any, named: Mapping[str, Any]) -> Any:
    """A schema where it may be the name of one, or one inside `{"type": …}`."""
    while True:
        if isinstance(schema, str) and schema in named:
            schema = named[schema]
        elif isinstance(schema, dict) and not isinstance(schema["type"], str):
            schema = schema["type"]
        elif isinstance(schema, dict) and schema["type"] in named:
            schema = named[schema["type"]]
        else:
            return schema


def contains_itself(schema: Any, named: Mapping[str, Any]) -> bool:
    done: set[int] = set()

    def meets(part: Any, outer: frozenset[int]) -> bool:
        one = resolved(part, named)
        if isinstance(one, list):
            return any(meets(branch, outer) for branch in one)
        if not isinstance(one, dict) or id(one) in done:
            return False
        if id(one) in outer or any(meets(inner, outer | {id(one)}) for inner in parts_of(one)):
            return True
        done.add(id(one))
        return False

    return meets(schema, frozenset())


class Least(NamedTuple):
    """The smallest value of a schema. Arguments: size: in bytes; steps: how many parts it has."""

    size: int
    steps: int


def least(schema: Any, named: Mapping[str, Any], known: dict[int, Least]) -> Least:
    """Arguments: schema: does not contain itself; known: of the records so far."""
    one = resolved(schema, named)
    if isinstance(one, list):
        return Least(1, 1)  # the number of the branch
    word = one if isinstance(one, str) else one["type"]
    if word not in ("record", "error"):
        return Least(one["size"] if word == "fixed" else FIXED.get(word, 1), 1)
    if id(one) not in known:
        parts = [least(field["type"], named, known) for field in one["fields"]]
        known[id(one)] = Least(sum(part.size for part in parts), 1 + sum(part.steps for part in parts))
    return known[id(one)]


def skim(schema: Any, named: Mapping[str, Any], body: bytes) -> None:
    """Walks through a value. Raises: Garbled."""
    Walk(named, body).step(schema, 0)


class Walk:
    """The place in the bytes."""

    def __init__(self, named: Mapping[str, Any], body: bytes) -> None:
        self._named, self._body, self._at = named, body, 0
        self._empty = MOST_EMPTY

    def step(self, schema: Any, depth: int) -> None:
        if depth > DEEPEST:
            raise Garbled(f"values are nested over {DEEPEST} levels deep")
        one = resolved(schema, self._named)
        if isinstance(one, list):
            branch = self._number()
            if not 0 <= branch < len(one):
                raise Garbled(f"a union has {len(one)} branches, and branch {branch} is given")
            self.step(one[branch], depth + 1)
            return
        word = one if isinstance(one, str) else one["type"]
        if word in VARIABLE:
            self._number()
        elif word in ("string", "bytes"):
            self._skip(self._number())
        elif word in ("record", "error"):
            for field in one["fields"]:
                self.step(field["type"], depth + 1)
        elif word in ("array", "map"):
            self._blocks(one, word, depth)
        else:
            self._skip(one["size"] if word == "fixed" else FIXED[word])

    def _blocks(self, schema: Any, word: str, depth: int) -> None:
        while count := self._number():
            if count < 0:  # then the size of the block follows, for those who skip it
                count = -count
                self._number()
            if count > len(self._body) - self._at:  # so many only where they take no bytes
                self._empty -= count
                if self._empty < 0:
                    raise Garbled(f"an {word} is said to have {count} elements, more than bytes are left")
            for _ in range(count):
                if word == "map":
                    self._skip(self._number())
                self.step(schema["items" if word == "array" else "values"], depth + 1)

    def _skip(self, size: int) -> None:
        if not 0 <= size <= len(self._body) - self._at:
            raise Garbled(f"{size} bytes are announced, and {len(self._body) - self._at} are left")
        self._at += size

    def _number(self) -> int:
        found, self._at = whole_number(self._body, self._at)
        return found


def whole_number(body: bytes, at: int) -> tuple[int, int]:
    """The whole number that begins at a place, and where it ends. Raises: Garbled."""
    found = 0
    for place, byte in enumerate(body[at : at + WHOLE_NUMBER_BYTES]):
        found |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return (found >> 1) ^ -(found & 1), at + place + 1
    raise Garbled("a number has no end")
