"""States of other code than this: folded anew, or left to newer code. `entities.schema` says which.

A partition is rebuilt as a whole before anything is decided in it, beside the records of the old code, which stay in
the log; most of that is done before the group is joined (`ahead`). The new states are in memory then, and go to the log
in portions between the owner's transactions, each in place of an old one (`Rewriting`). Whoever takes over in the midst
of that finds states of both, and goes on with it.

What was answered (`recent`, `sources`) is of no code, and stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

import msgspec

from headwater.entities.schema import parts_that_differ, version_of
from headwater.environment import Environment
from headwater.errors import BadData, Failed, Unavailable
from headwater.log.port import (
    Aborted,
    Fence,
    Fenced,
    Log,
    NewRecord,
    Record,
    TopicPartition,
    Torn,
    Transaction,
    Writer,
)
from headwater.log.topology import commands_topic, events_topic, owners_group, state_topic
from headwater.owners.ahead import Ahead, Part
from headwater.owners.partition import PartitionMemory
from headwater.owners.state_record import StateRecord, decode_covered, decode_value, with_state
from headwater.owners.steps import Refold, StepMaker
from headwater.readers.spans import batches_between

logger = logging.getLogger("headwater.owners")

ENTITIES_AT_ONCE = 200_000
"""How many states are folded in one pass over the events: they are decoded meanwhile, and must fit in memory."""

NOTHING_NEW = (0, 0, -1)
"""They cover no more than the records before them."""

PORTION_RECORDS, PORTION_BYTES = 1000, 4_000_000


def bring_up_to_date(
    log: Log, maker: StepMaker, memories: Mapping[int, PartitionMemory], ahead: Ahead, environment: Environment
) -> None:
    """Folds the states of other code anew. A partition where that cannot be is stopped, with the reason.

    Arguments: memories: as restored; ahead: what was folded already. Raises: Unavailable. Misuse: nothing can make
    these states anew.
    """
    for partition, memory in memories.items():
        others = memory.states.marks.schemas - {maker.schema}
        newest = max(others, key=version_of, default="")
        if memory.stopped is not None or not others:
            continue
        if version_of(newest) > version_of(maker.schema):
            memory.newer, memory.stopped = True, _of_newer_code(maker, partition, version_of(newest))
            continue
        _say_why(maker, partition, others)
        try:
            _Rebuild(log, maker, partition, memory, environment).run(ahead.take(partition))
        except (BadData, Failed) as error:
            memory.stopped = f"its states cannot be made anew by this code: {error}"


def _of_newer_code(maker: StepMaker, partition: int, version: int) -> str:
    mine = version_of(maker.schema)
    return (
        f"{state_topic(maker.entity)}/{partition} holds states of version {version}, and this code has version {mine}: "
        f"end this process and run the newer code; to go back for good, declare this code with version={version + 1}"
    )


def _say_why(maker: StepMaker, partition: int, others: set[str]) -> None:
    place = TopicPartition(state_topic(maker.entity), partition)
    logger.info("%s: states of schema %s are folded anew as %s", place, ", ".join(sorted(others)), maker.schema)
    mine = version_of(maker.schema)
    same = sorted(other for other in others if version_of(other) == mine)
    if same:
        logger.warning(
            "the %s of %r changed, and its version is still %d: while processes of both codes run, each folds the "
            "other's states anew. Declare the changed one with version=%d, then older processes give way",
            " and the ".join(parts_that_differ(same[0], maker.schema)),
            maker.entity,
            mine,
            mine + 1,
        )


class _Rebuild:
    """The states of one partition."""

    def __init__(
        self, log: Log, maker: StepMaker, partition: int, memory: PartitionMemory, environment: Environment
    ) -> None:
        self._log, self._maker, self._memory, self._environment = log, maker, memory, environment
        self._events = TopicPartition(events_topic(maker.entity), partition)
        self._states = TopicPartition(state_topic(maker.entity), partition)
        self._made: dict[bytes, bytes] = {}

    def run(self, part: Part | None) -> None:
        """Raises: BadData, Failed, Unavailable, Misuse; the memory is as it was then."""
        covers: dict[bytes, int] = {}
        for key, value in self._memory.states.items():
            covered = decode_covered(value)
            if covered.schema != self._maker.schema:
                covers[key] = covered.events
        if not covers:
            self._memory.states.marks.schemas = {self._maker.schema}  # all of them were replaced meanwhile
            return
        if part is not None:
            self._go_on_from(part, covers)
        left = [key for key in covers if key not in self._made]
        for first in range(0, len(left), ENTITIES_AT_ONCE):
            self._fold_all({key: covers[key] for key in left[first : first + ENTITIES_AT_ONCE]})
        self._memory.rebuilt = self._made
        logger.info("%s: %d states are folded anew, %d in place", self._states, len(self._made), len(left))

    def _go_on_from(self, part: Part, covers: Mapping[bytes, int]) -> None:
        """States that were folded ahead, with the events since. One that has events which its record does not cover
        has another version than the record, and is left out."""
        fold, seeded = self._maker.refold(), set[bytes]()
        for records in self._read(part.position, covers, fold):
            for key in {one.key or b"" for one in records} - seeded:
                seeded.add(key)
                if key in part.states:
                    fold.seed(key, part.states[key][1])
            fold.add(records)
        for key in covers:
            record = self._record(key)
            if key in seeded:
                state = fold.encoded(record.id, record.version)
            else:
                version, raw = part.states.get(key, (-1, b""))
                state = raw if version == record.version else None
            if state is not None:
                self._made[key] = with_state(record, self._maker.schema, state)

    def _fold_all(self, covers: Mapping[bytes, int]) -> None:
        fold = self._maker.refold()
        for records in self._read(self._log.begins([self._events])[self._events], covers, fold):
            fold.add(records)
        for key in covers:
            record = self._record(key)
            state = fold.encoded(record.id, record.version)
            if state is None:
                why = f"{self._maker.entity} {record.id!r} has version {record.version}, and not as many of its events"
                at = {"partition": self._events.partition, "offset": record.events - 1}
                raise BadData(f"{why} are there", topic=self._events.topic, **at)
            self._made[key] = with_state(record, self._maker.schema, state)

    def _read(self, begin: int, covers: Mapping[bytes, int], fold: Refold) -> Iterator[list[Record]]:
        """The events that the states of these entities cover; later ones are absorbed as for any state."""
        end = min(max(covers.values(), default=0), self._memory.verified)
        place, what = self._events, f"folding the events of {self._events} anew"
        for batch in batches_between(
            self._log, {place: begin}, {place: end}, what, self._environment, envelopes=fold.wants_meta
        ):
            yield [one for one in batch.records if one.offset < covers.get(one.key or b"", 0)]

    def _record(self, key: bytes) -> StateRecord:
        try:
            return decode_value(self._memory.states.get(key) or b"")
        except msgspec.DecodeError as error:
            raise Failed("reading its state record", f"{self._maker.entity} {key!r}", str(error)) from error


class Rewriting:
    """Writes states that were folded anew to the log. Arguments: entity; schema: theirs; writer: the owner's."""

    def __init__(self, entity: str, schema: str, writer: Writer) -> None:
        self._schema = schema
        self._topic, self._commands, self._group = state_topic(entity), commands_topic(entity), owners_group(entity)
        self._writer = writer

    def go_on(self, memories: Mapping[int, PartitionMemory], fence: Fence) -> None:
        """Writes a portion, if there is something left. Raises: Unavailable: nothing was written, or perhaps all or a
        part: the partitions have to be read back."""
        for partition, memory in memories.items():
            if memory.rebuilt and memory.stopped is None:
                try:
                    self._write(partition, memory, fence)
                except Torn as error:
                    raise Unavailable(f"{error}; the partition is read back") from error
                except (Aborted, Fenced) as error:  # the next round will do, or the next owner
                    logger.debug("%s/%d: states folded anew are not written yet: %s", self._topic, partition, error)
                return

    def _write(self, partition: int, memory: PartitionMemory, fence: Fence) -> None:
        records: list[NewRecord] = []
        size = 0
        for key, value in memory.rebuilt.items():
            size += len(value)
            records.append(NewRecord(self._topic, partition, key, value))
            if len(records) >= PORTION_RECORDS or size >= PORTION_BYTES:
                break
        position = {TopicPartition(self._commands, partition): memory.next_command}

        def fill(tx: Transaction) -> None:
            tx.write(records)
            tx.positions(self._group, position, fence)

        firsts = self._writer.transact(fill)
        for record in records:
            memory.states.keep({record.key or b"": record.value or b""})
            del memory.rebuilt[record.key or b""]
        memory.wrote_states(firsts.get(TopicPartition(self._topic, partition)), NOTHING_NEW, self._schema)
