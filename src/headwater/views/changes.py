"""What changes in the answer to a question, as plain values: rows with weights, and the position that they lead to.

    answer at position P + changes of a step = answer at the step's position

A row that came has a positive weight, one that went a negative one; the weight is how often. A row that changed has
gone and come: no row stands in a step with both signs. Rows are told apart as they are on the wire, packed.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from headwater.errors import Misuse
from headwater.log.port import Positions, TopicPartition
from headwater.messages.tokens import decode_token, encode_token
from headwater.views.values_sent import LEAST, MOST

T = TypeVar("T")

SEVERAL: Final = "v1."
"""Begins the text of a position in which views that one question reads stand at different places."""

MOST_REPLAYED = 1_000_000
"""So many records are read again for one question without being told that it may be more."""

ViewPositions = Mapping[str, Positions]
"""By the name of a view in lower case, how far it is."""


class TooMuchToReplay(Misuse):
    """An answer costs more than is allowed. Arguments: records: that would be read; most: that may be."""

    def __init__(self, records: int, most: int) -> None:
        self.records = records
        self.text = f"{records:,} records would have to be read again to tell what was, which is more than {most:,}"
        super().__init__(f"{self.text}: say that it may be so many, most_replayed={records}")


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """Arguments: row; weight: how often it came (above 0), or went (below)."""

    row: T
    weight: int


@dataclass(frozen=True, slots=True)
class Changes(Generic[T]):
    """One step: all that changed from one position to another. Arguments: changes: those that went first; position:
    where a follower goes on that has dealt with all of them, see `Shop.follow`."""

    changes: Sequence[Change[T]]
    position: str


class Weighted(NamedTuple):
    """A row of a step as it travels."""

    weight: int
    row: tuple[Any, ...]


class Step(msgspec.Struct):
    """As it travels. Arguments: columns; positions: view, topic, partition, next offset; changes."""

    columns: tuple[str, ...]
    positions: list[tuple[str, str, int, int]]
    changes: list[Weighted]

    def by_view(self) -> dict[str, dict[TopicPartition, int]]:
        found: dict[str, dict[TopicPartition, int]] = {}
        for view, topic, partition, position in self.positions:
            found.setdefault(view, {})[TopicPartition(topic, partition)] = position
        return found


class Known:
    """The rows that a follower has been told of. Arguments: rows: of its first answer, if it knows one already."""

    def __init__(self, rows: Iterable[Sequence[Any]] = ()) -> None:
        self._rows = Counter(map(packed, rows))

    def add(self, changes: Iterable[Weighted]) -> list[Weighted]:
        """Takes a step in, and returns it with each row once."""
        weights: Counter[bytes] = Counter()
        for weight, row in changes:
            weights[packed(row)] += weight
        for key, weight in weights.items():
            self._rows[key] += weight
            if not self._rows[key]:
                del self._rows[key]
        return weighted(weights)

    def become(self, other: Known) -> list[Weighted]:
        """Knows what another one knows, and returns the difference."""
        difference = Counter(other._rows)
        difference.subtract(self._rows)
        self._rows = other._rows
        return weighted(difference)


def weighted(rows: Mapping[bytes, int]) -> list[Weighted]:
    """Those that went first: who keeps rows by a key takes the old one away before the new one comes."""
    changed = [Weighted(weight, unpacked(row)) for row, weight in rows.items() if weight]
    return sorted(changed, key=lambda one: one.weight > 0)


def packable(values: Sequence[Any]) -> list[Any]:
    """Values as msgpack takes them: a larger integer than it has is a text, as in other stores."""
    return [str(one) if isinstance(one, int) and not LEAST <= one <= MOST else one for one in values]


def packed(row: Sequence[Any]) -> bytes:
    return msgspec.msgpack.encode(packable(row))


def unpacked(row: bytes) -> tuple[Any, ...]:
    return tuple(msgspec.msgpack.decode(row))


def position_text(views: ViewPositions, log_id: str) -> str:
    """The text of a position: a token as receipts have them, where all views are at the same place."""
    tokens = {
        view: encode_token({(tp.topic, tp.partition): at for tp, at in positions.items()}, log_id)
        for view, positions in views.items()
    }
    if len(set(tokens.values())) == 1:
        return next(iter(tokens.values()))
    content = msgspec.json.encode(dict(sorted(tokens.items())))
    return SEVERAL + urlsafe_b64encode(content).decode().rstrip("=")


def positions_in(text: str, views: Iterable[str], log_id: str) -> dict[str, dict[TopicPartition, int]]:
    """The positions of these views in a text. Raises: Misuse: it is none, of another log, or says nothing of one."""
    found = {}
    tokens = tokens_in(text)
    for view in views:
        token = tokens.get(view) or tokens.get("")
        if token is None:
            raise Misuse(f"the position says nothing of view {view}: it was told for a question without it")
        positions, log = decode_token(token)
        if log != log_id:
            raise Misuse(f"the position is of log {log}, not of this one ({log_id})")
        found[view] = {TopicPartition(*tp): at for tp, at in positions.items()}
    return found


def tokens_in(text: str) -> dict[str, str]:
    """By view; "": of all of them."""
    if not text.startswith(SEVERAL):
        return {"": text}
    body = text[len(SEVERAL) :]
    try:
        raw = b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=dict[str, str])
    except (binascii.Error, ValueError, RecursionError) as reason:
        raise Misuse(f"the position is damaged, or a part of one: pass it whole ({reason})") from None
