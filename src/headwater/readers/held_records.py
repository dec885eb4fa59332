"""What a reader without a store has set aside, as records of `<group>-held`, a compacted topic.

    key: held/<topic>/<partition>/<offset>   a record that is set aside; no value: not any more
    key: asked/<id>                          what an operator wants (the only records that somebody else writes)
    key: audit/<id>                          what came of it, for ever
    key: more/<one of these>/<n>             the n-th part, from 1 on, of what is too large for one record

The partition is that of the source (modulo their number), so it moves with it. Values are JSON. Further parts come
before the record that they belong to, whose header `hw_parts` says how many there are with it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, TypeVar

import msgspec

from headwater.environment import Environment
from headwater.failures.held import Asked, Audit, HeldRecord
from headwater.failures.parking import Place
from headwater.log.port import Log, NewRecord, Record, TopicPartition
from headwater.readers.spans import batches_between

HELD, ASKED, AUDIT, MORE = b"held/", b"asked/", b"audit/", b"more/"

K = TypeVar("K")
V = TypeVar("V")

PART_BYTES = 900_000
"""Of a value, per record: with its key it stays below what a log takes."""


class Line(NamedTuple):
    """What a held topic is to say. Arguments: key; partition; value: None: nothing any more."""

    key: bytes
    partition: int
    value: bytes | None


def held_topic(group: str) -> str:
    return f"{group}-held"


def held_line(row: HeldRecord, there: bool = True) -> Line:
    """Arguments: there: whether it is set aside, or not any more."""
    key = HELD + f"{row.topic}/{row.partition}/{row.record_offset}".encode()
    return Line(key, row.partition, msgspec.json.encode(row) if there else None)


def asked_line(asked: Asked, there: bool = True) -> Line:
    """Arguments: there: whether it is asked for, or not any more."""
    return Line(ASKED + asked.id.encode(), asked.partition, msgspec.json.encode(asked) if there else None)


def audit_line(line: Audit) -> Line:
    return Line(AUDIT + line.id.encode(), line.partition, msgspec.json.encode(line))


class Contents:
    """What a held topic says, record by record. `held`, `asked`, `audit`: by place or id."""

    def __init__(self) -> None:
        self.held: dict[Place, HeldRecord] = {}
        self.asked: dict[str, Asked] = {}
        self.audit: dict[str, Audit] = {}
        self._more: dict[bytes, dict[int, bytes]] = {}
        self._parts: dict[bytes, int] = {}

    def records(self, topic: str, line: Line) -> list[NewRecord]:
        """What is written of a line, in one transaction."""
        key, partition, value = line
        if value is None:
            gone = [NewRecord(topic, partition, more_key(key, n), None) for n in range(1, self._parts.get(key, 1))]
            return [*gone, NewRecord(topic, partition, key, None)]
        first, *rest = [value[at : at + PART_BYTES] for at in range(0, len(value), PART_BYTES)]
        if not rest:
            return [NewRecord(topic, partition, key, first)]
        self._count(key, 1 + len(rest))
        more = [NewRecord(topic, partition, more_key(key, n), part) for n, part in enumerate(rest, start=1)]
        return [*more, NewRecord(topic, partition, key, first, [("hw_parts", str(1 + len(rest)).encode())])]

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Of sources that are read from the beginning: what is gone may leave no trace in a compacted topic."""
        self.held = {place: row for place, row in self.held.items() if row.tp not in partitions}
        self.asked = {
            id: one for id, one in self.asked.items() if TopicPartition(one.topic, one.partition) not in partitions
        }

    def take(self, record: Record) -> None:
        """Takes a record in that was read."""
        kind, _, rest = (record.key or b"").partition(b"/")
        name = rest.decode()
        match kind + b"/":
            case b"held/":
                topic, partition, offset = name.rsplit("/", 2)
                self._put(self.held, (topic, int(partition), int(offset)), HeldRecord, record)
            case b"asked/":
                self._put(self.asked, name, Asked, record)
            case b"audit/":
                self._put(self.audit, name, Audit, record)
            case b"more/":
                self._take_part(rest, record.value)

    def _put(self, lines: dict[K, V], name: K, type: type[V], record: Record) -> None:
        lines.pop(name, None)
        value = self._whole(record)
        if value is not None:
            lines[name] = msgspec.json.decode(value, type=type)

    def _take_part(self, rest: bytes, value: bytes | None) -> None:
        key, _, number = rest.rpartition(b"/")
        if value is not None:
            self._more.setdefault(key, {})[int(number)] = value
            self._count(key, 1 + int(number))

    def _whole(self, record: Record) -> bytes | None:
        """None: it is gone, or a later one follows: a log that was compacted so far has not all parts of this one."""
        key, value = record.key or b"", record.value
        more = self._more.pop(key, {})
        if value is None:
            self._parts.pop(key, None)
            return None
        numbers = range(1, int(dict(record.headers).get("hw_parts", b"1")))
        return b"".join([value, *(more[n] for n in numbers)]) if all(n in more for n in numbers) else None

    def _count(self, key: bytes, parts: int) -> None:
        self._parts[key] = max(parts, self._parts.get(key, 1))


def more_key(key: bytes, number: int) -> bytes:
    return MORE + key + f"/{number}".encode()


class Looking:
    """At what a held topic says, for who does not own it: each look goes on from the one before.

    Arguments: log; group: whose it is.
    """

    def __init__(self, log: Log, group: str, environment: Environment) -> None:
        self._log, self._topic, self._environment = log, held_topic(group), environment
        self._contents = Contents()
        self._positions: dict[TopicPartition, int] = {}

    def asking(self, asked: Asked) -> list[NewRecord]:
        """What an operator writes, after a look."""
        line = asked_line(asked)
        home = line.partition % len(self._positions)
        return self._contents.records(self._topic, line._replace(partition=home))

    def contents(self) -> Contents:
        """All that it says now. Raises: Unavailable."""
        if not self._positions:
            there = self._log.topics([self._topic]).get(self._topic)
            if there is None:
                return self._contents
            self._positions = self._log.begins([TopicPartition(self._topic, p) for p in range(there.partitions)])
        ends = self._log.ends(list(self._positions))
        for batch in batches_between(self._log, self._positions, ends, f"reading {self._topic}", self._environment):
            for record in batch.records:
                self._contents.take(record)
        self._positions = ends
        return self._contents
