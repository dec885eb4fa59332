"""Reading archive and log as one sequence.

    position below where the log begins ──► tape ──at the end of what is archived──► the log, from there on

A partition is read from the archive to the archive's end, also where the log still has the last part of it: the log may
lose that meanwhile. Between the two nothing may be missing: a hole is `Unavailable`, with its range, and never skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from headwater.errors import Unavailable
from headwater.log.archive.archive import Archive, Tape, Topic
from headwater.log.port import Batch, Fence, Log, Member, Positions, Reader, TopicPartition


class Tapes:
    """The partitions that one reader reads from the archive now.

    Arguments: live: the log; archive; topic: finds the topic of a name in the archive; count: told of records that are
    handed out; envelopes: as of `Log.reader`.
    """

    def __init__(
        self,
        live: Log,
        archive: Archive,
        topic: Callable[[str], Topic],
        count: Callable[[int], None],
        *,
        envelopes: bool = True,
    ) -> None:
        self._live, self._archive, self._topic, self._count, self._envelopes = live, archive, topic, count, envelopes
        self._tapes: dict[TopicPartition, Tape] = {}
        self._ended: set[TopicPartition] = set()

    def __bool__(self) -> bool:
        return bool(self._tapes)

    @property
    def partitions(self) -> set[TopicPartition]:
        return set(self._tapes)

    def start(self, positions: Positions) -> dict[TopicPartition, int]:
        """Begins to read those whose records the log has no more. Returns the others, which are read from the log.

        Raises: Misuse: an unknown partition. Unavailable.
        """
        self.drop(positions)
        begins = self._live.begins(list(positions)) if positions else {}
        others = {}
        for tp, position in positions.items():
            if position < begins[tp] and self._has(tp, position):
                self._tapes[tp] = Tape(self._archive, self._topic(tp.topic), tp.partition, position, self._envelopes)
            else:
                others[tp] = position
        return others

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Reads these no longer."""
        for partition in partitions:
            self._ended.discard(partition)
            if (tape := self._tapes.pop(partition, None)) is not None:
                tape.close()

    def take(self, max_records: int) -> Batch:
        """The next records of one of them, in turn. Empty where all have come to the end of the archive."""
        batch = Batch()
        for tp, tape in list(self._tapes.items()):
            if tp in self._ended:
                continue
            found = tape.fetch(max_records)
            if not tape.loaded:  # the next one's turn: at most one of them has records in memory
                self._tapes[tp] = self._tapes.pop(tp)
            if found.ended:
                self._ended.add(tp)
                continue
            batch.records = list(found.records)
            batch.reached[tp] = found.reached
            self._count(len(batch.records))
            break
        return batch

    def through(self) -> dict[TopicPartition, int]:
        """Those that are to be read from the log from now on, and from where.

        Raises: Unavailable: what comes next is neither in the archive nor in the log.
        """
        if not self._ended:
            return {}
        begins = self._live.begins(list(self._ended))
        done = {}
        for tp in list(self._ended):
            position = self._tapes[tp].position
            if position < begins[tp]:
                if not self._has(tp, position):
                    raise missing(tp, position, begins[tp], self._archive)
                self._ended.discard(tp)  # more was archived meanwhile
                continue
            done[tp] = position
        self.drop(done)
        return done

    def _has(self, tp: TopicPartition, position: int) -> bool:
        """Whether the archive has what comes at a position."""
        files = self._archive.files(self._topic(tp.topic), tp.partition, position + 1)
        return any(file.begin <= position < file.next for file in files)


class ArchivedReader:
    """See `headwater.log.port.Reader`. Arguments: live: of the log below; tapes."""

    def __init__(self, live: Reader, tapes: Tapes) -> None:
        self._live, self._tapes = live, tapes
        self._positions: dict[TopicPartition, int] = {}
        self._lives_turn = False
        self._closed = False

    def assign(self, positions: Positions) -> None:
        self._tapes.drop(self._positions.keys() | positions.keys())
        self._positions = dict(positions)
        self._live.assign(self._tapes.start(positions))

    def read(self, max_records: int, timeout_s: float) -> Batch:
        try:
            return self._read(max_records, timeout_s)
        except Unavailable:
            if not self._overtaken():
                raise
        return self._read(max_records, timeout_s)

    def _read(self, max_records: int, timeout_s: float) -> Batch:
        while self._tapes and not self._closed:
            self._hand_over()
            batch = self._turn(max_records)
            if batch.records or batch.reached or batch.ended:
                return self._noted(batch)
        return self._noted(self._live.read(max_records, timeout_s))

    def _overtaken(self) -> bool:
        """Whether records were deleted from the log before this reader came to them, and are in the archive: then it
        goes back there. (A member says that they are gone, and finds them when it joins again.)"""
        tapes = self._tapes.partitions
        lives = {tp: at for tp, at in self._positions.items() if tp not in tapes}
        others = self._tapes.start(lives)
        if len(others) == len(lives):
            return False
        self._live.assign(others)
        return True

    def close(self) -> None:
        self._closed = True
        self._live.close()

    def _turn(self, max_records: int) -> Batch:
        """What comes next, of the log and the archive in turn: neither keeps the other waiting."""
        self._lives_turn = not self._lives_turn
        if self._lives_turn and len(self._positions) > len(self._tapes.partitions):
            batch = self._live.read(max_records, 0)
            if batch.records or batch.reached or batch.ended:
                return batch
        return self._tapes.take(max_records)

    def _hand_over(self) -> None:
        through = self._tapes.through()
        if through:
            tapes = self._tapes.partitions
            self._live.assign({tp: at for tp, at in self._positions.items() if tp not in tapes} | through)

    def _noted(self, batch: Batch) -> Batch:
        self._positions.update(batch.reached)
        return batch


class ArchivedMember:
    """See `headwater.log.port.Member`. Arguments: live: of the log below; tapes."""

    def __init__(self, live: Member, tapes: Tapes) -> None:
        self._live, self._tapes = live, tapes
        self._lives_turn = False

    @property
    def id(self) -> str:
        return self._live.id

    def read(self, max_records: int, timeout_s: float) -> Batch:
        if not self._tapes or not max_records:
            return self._of_the_log(self._live.read(max_records, timeout_s))
        while self._tapes:
            # Each read of the log's member keeps the membership alive; every other one takes its records, too.
            self._lives_turn = not self._lives_turn
            batch = self._of_the_log(self._live.read(max_records if self._lives_turn else 0, 0))
            if batch.assigned or batch.revoked or batch.records or batch.reached or batch.ended:
                return batch
            # What was revoked is told above, so these are still owned.
            if through := self._tapes.through():
                self._live.start(through)
            batch = self._tapes.take(max_records)
            if batch.reached:
                return batch
        return self._of_the_log(self._live.read(max_records, timeout_s))

    def start(self, positions: Positions) -> None:
        others = self._tapes.start(positions)
        if others:
            self._live.start(others)

    def fence(self) -> Fence:
        return self._live.fence()

    def commit(self, positions: Positions) -> None:
        self._live.commit(positions)

    def close(self) -> None:
        self._tapes.drop(list(self._tapes.partitions))
        self._live.close()

    def _of_the_log(self, batch: Batch) -> Batch:
        self._tapes.drop(batch.revoked)
        self._tapes.drop(batch.assigned)  # lost and gained again in between
        if self._tapes and (batch.records or batch.reached or batch.ended):
            # One that went back into the archive is not read from the log, though the log's member goes on with it.
            tapes = self._tapes.partitions
            batch.records = [one for one in batch.records if TopicPartition(one.topic, one.partition) not in tapes]
            batch.reached = {tp: at for tp, at in batch.reached.items() if tp not in tapes}
            batch.ended -= tapes
        return batch


def missing(partition: TopicPartition, begin: int, end: int, archive: Archive) -> Unavailable:
    """What is said of offsets that nobody has any more."""
    return Unavailable(
        f"offsets {begin} to {end - 1} of {partition} are neither in the archive {archive.url} nor in the log: they "
        "were deleted before they were archived"
    )
