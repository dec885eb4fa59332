"""States of other code than this: folded anew, or left to newer code. `entities.schema` says which.

A partition is rebuilt as a whole before anything is decided in it, beside the records of the old code, which stay in
the log. The new states are in memory then, and go to the log in portions between the owner's transactions, each in
place of an old one (`Rewriting`). Whoever takes over in the midst of that finds states of both, and goes on with it.

What was answered (`recent`, `sources`) is of no code, and stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from headwater.entities.schema import parts_that_differ, version_of
from headwater.environment import Environment
from headwater.errors import BadData, Failed
from headwater.log.port import Aborted, Fence, Fenced, Log, NewRecord, TopicPartition, Transaction, Writer
from headwater.log.topology import commands_topic, events_topic, owners_group, state_topic
from headwater.owners.partition import PartitionMemory
from headwater.owners.state_record import decode_covered, decode_value, with_state
from headwater.owners.steps import Refold, StepMaker
from headwater.readers.spans import batches_between

logger = logging.getLogger("headwater.owners")

ENTITIES_AT_ONCE = 200_000
"""How many states are folded in one pass over the events: they are decoded meanwhile, and must fit in memory."""

PORTION_RECORDS, PORTION_BYTES = 1000, 4_000_000
TELL_S = 5.0


def bring_up_to_date(
    log: Log, maker: StepMaker, memories: Mapping[int, PartitionMemory], environment: Environment
) -> None:
    """Folds the states of other code anew. A partition where that cannot be is stopped, with the reason.

    Arguments: memories: as restored. Raises: Unavailable. Misuse: nothing can make these states anew.
    """
    for partition, memory in memories.items():
        others = memory.schemas - {maker.schema}
        newest = max(others, key=version_of, default="")
        if memory.stopped is not None or not others:
            continue
        if version_of(newest) > version_of(maker.schema):
            memory.newer, memory.stopped = True, _of_newer_code(maker, partition, version_of(newest))
            continue
        _say_why(maker, partition, others)
        try:
            _rebuild(log, maker, partition, memory, environment)
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


def _rebuild(log: Log, maker: StepMaker, partition: int, memory: PartitionMemory, environment: Environment) -> None:
    """Raises: BadData, Failed, Unavailable, Misuse; the memory is as it was then."""
    covers: dict[bytes, int] = {}
    for key, value in memory.records.items():
        covered = decode_covered(value)
        if covered.schema != maker.schema:
            covers[key] = covered.events
    keys, made = list(covers), dict[bytes, bytes]()
    for first in range(0, len(keys), ENTITIES_AT_ONCE):
        part = {key: covers[key] for key in keys[first : first + ENTITIES_AT_ONCE]}
        fold = maker.refold()
        end = min(max(part.values()), memory.verified)
        _fold_events(log, TopicPartition(events_topic(maker.entity), partition), end, part, fold, environment)
        for key in part:
            made[key] = _remade(maker, partition, key, memory.records[key], fold)
    memory.records.update(made)
    memory.rebuilt = dict.fromkeys(made)
    logger.info("%s/%d: %d states are folded anew", state_topic(maker.entity), partition, len(made))


def _fold_events(
    log: Log, events: TopicPartition, end: int, covers: Mapping[bytes, int], fold: Refold, environment: Environment
) -> None:
    """The events that the states of these entities cover; later ones are absorbed as for any state."""
    begin = log.begins([events])[events]
    begun_s = told_s = environment.monotonic_s()
    what = f"folding the events of {events} anew"
    batches = batches_between(log, {events: begin}, {events: end}, what, environment, envelopes=fold.wants_meta)
    for batch in batches:
        fold.add([one for one in batch.records if one.offset < covers.get(one.key or b"", 0)])
        now_s, reached = environment.monotonic_s(), batch.reached.get(events, begin)
        if now_s - told_s > TELL_S:
            told_s, left_s = now_s, (now_s - begun_s) * (end - reached) / max(1, reached - begin)
            logger.info("%s: at %d of %d, %.0f s left", what, reached, end, left_s)


def _remade(maker: StepMaker, partition: int, key: bytes, value: bytes, fold: Refold) -> bytes:
    events = TopicPartition(events_topic(maker.entity), partition)
    try:
        record = decode_value(value)
    except msgspec.DecodeError as error:
        raise Failed("reading its state record", f"{maker.entity} {key!r}", str(error)) from error
    state = fold.encoded(record.id, record.version)
    if state is None:
        why = f"{maker.entity} {record.id!r} has version {record.version}, and not as many of its events are there"
        raise BadData(why, topic=events.topic, partition=partition, offset=record.events - 1)
    return with_state(record, maker.schema, state)


class Rewriting:
    """Writes states that were folded anew to the log. Arguments: entity; writer: the owner's."""

    def __init__(self, entity: str, writer: Writer) -> None:
        self._topic, self._commands, self._group = state_topic(entity), commands_topic(entity), owners_group(entity)
        self._writer = writer

    def go_on(self, memories: Mapping[int, PartitionMemory], fence: Fence) -> None:
        """Writes a portion, if there is something left. Raises: Unavailable: nothing was written, or perhaps all."""
        for partition, memory in memories.items():
            if memory.rebuilt and memory.stopped is None:
                try:
                    self._write(partition, memory, fence)
                except (Aborted, Fenced) as error:  # the next round will do, or the next owner
                    logger.debug("%s/%d: states folded anew are not written yet: %s", self._topic, partition, error)
                return

    def _write(self, partition: int, memory: PartitionMemory, fence: Fence) -> None:
        records: list[NewRecord] = []
        size = 0
        for key in memory.rebuilt:
            value = memory.records[key]
            size += len(value)
            records.append(NewRecord(self._topic, partition, key, value))
            if len(records) >= PORTION_RECORDS or size >= PORTION_BYTES:
                break
        position = {TopicPartition(self._commands, partition): memory.next_command}

        def fill(tx: Transaction) -> None:
            tx.write(records)
            tx.positions(self._group, position, fence)

        self._writer.transact(fill)
        for record in records:
            del memory.rebuilt[record.key or b""]
