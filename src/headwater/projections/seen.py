"""What a read model has seen of topics that others write, so that no record counts twice.

    batch ─► sift: without the copies ─► gather, fold … ─► save, in the transaction of rows and positions ─► keep

Ids and hashes are digests, kept for the last WINDOW positions of a partition: a copy that comes later than that counts
again. They stand in rows of BUCKET positions each, so a batch writes few of them and old ones go as a whole. Numbers
are kept per stream, for ever: the last one, and the gaps below it (see `sequences`).

In memory is what the store holds at the runner's positions. Nothing of a batch is kept before it is committed, and what
another runner commits makes the positions stale, so both change together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from headwater.environment import Environment
from headwater.errors import BadData
from headwater.log.port import Positions, Record, TopicPartition
from headwater.projections.dedupe import DIGEST_BYTES, AsJson, Counted, Dedupe, identity_of
from headwater.projections.folding import Call
from headwater.projections.read_model import ReadModel
from headwater.projections.seen_rows import SeenRow, StreamRow, Tables, TallyRow, tables_of
from headwater.projections.sequences import Came, Verdict, take
from headwater.stores.port import Loading, Store

WINDOW, BUCKET = 100_000, 1_000

MOST_STREAMS = 100_000
"""So many streams stay in memory; the others are looked up."""

DUPLICATES, MISSING = "headwater_duplicate_records", "headwater_missing_records"
"""Gauges, per group, topic and partition."""


class AllNew:
    """What is done where no copies are expected: nothing. Arguments: store."""

    tables = ()

    def __init__(self, store: Store) -> None:
        self.apply = store.apply

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing is known."""

    def sift(self, start: Positions, records: Sequence[Record]) -> Sequence[Record]:
        return records

    def refused(self, calls: Iterable[Call]) -> list[BadData]:
        return []


class Finding(NamedTuple):
    """A record that was looked at. Arguments: identity: None: it has none."""

    offset: int
    identity: bytes | Counted | None
    verdict: Verdict


class Memory:
    """What is known of one partition, as of a position."""

    def __init__(self, tally: TallyRow, buckets: Iterable[SeenRow]) -> None:
        self.tally = tally
        self.buckets: dict[int, bytes] = {row.bucket: row.digests for row in buckets}
        self.digests = {one for digests in self.buckets.values() for one in split(digests)}
        self.streams: dict[str, Came | None] = {}

    def expired(self, position: int) -> list[int]:
        """The buckets that are of no more use at a position."""
        return [bucket for bucket in self.buckets if (bucket + 1) * BUCKET <= position - WINDOW]


class Seen:
    """Arguments: dedupe; as_json: of the read model; runner; tables: its own; store; environment: where gauges go."""

    def __init__(
        self, dedupe: Dedupe, as_json: AsJson, runner: str, tables: Tables, store: Store, environment: Environment
    ) -> None:
        self.tables = tables
        self._dedupe, self._identity = dedupe, identity_of(dedupe, as_json)
        self._runner, self._store, self._environment = runner, store, environment
        self._memories: dict[TopicPartition, Memory] = {}
        self._found: dict[TopicPartition, list[Finding]] = {}
        self._after: dict[TopicPartition, After] = {}
        self._nameless: set[tuple[str, int, int]] = set()

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Of partitions that are not owned any more, or are read from elsewhere."""
        for tp in partitions:
            if self._memories.pop(tp, None) is not None:
                self._tell(tp, None)
            self._found.pop(tp, None)
            self._after.pop(tp, None)

    def sift(self, start: Positions, records: Sequence[Record]) -> list[Record]:
        """The records without the copies of earlier ones.

        Arguments: start: where the runner stands. Raises: Unavailable: of the store.
        """
        named = [(record, self._identity(record)) for record in records]
        self._look_up(start, named)
        self._found, self._nameless = {}, set()
        new: dict[TopicPartition, set[bytes]] = {}
        streams: dict[tuple[TopicPartition, str], Came] = {}
        kept = []
        for record, identity in named:
            tp = TopicPartition(record.topic, record.partition)
            memory = self._memories[tp]
            verdict: Verdict = "new"
            if identity is None:
                self._nameless.add((*tp, record.offset))
            elif isinstance(identity, bytes):
                mine = new.setdefault(tp, set())
                if identity in memory.digests or identity in mine:
                    verdict = "duplicate"
                mine.add(identity)
            else:
                at = tp, identity.stream
                streams[at], verdict = take(streams.get(at) or memory.streams[identity.stream], identity.number)
            self._found.setdefault(tp, []).append(Finding(record.offset, identity, verdict))
            if verdict != "duplicate":
                kept.append(record)
        return kept

    def refused(self, calls: Iterable[Call]) -> list[BadData]:
        """Of the records that something is made of, those that have nothing to be recognised by; in order."""
        if not self._nameless:
            return []
        wanted = {(record.topic, record.partition, record.offset) for record, *_ in calls} & self._nameless
        reason = f"dedupe={self._dedupe.words}: the record has no {self._dedupe.wanted.removeprefix('a ')}"
        return [BadData(reason, topic=topic, partition=p, offset=offset) for topic, p, offset in sorted(wanted)]

    def apply(self, runner: str, start: Positions, to: Positions, work: Callable[[Loading], None]) -> None:
        """As `Store.apply`, with what was found in the records before `to` in the same transaction."""

        def both(loading: Loading) -> None:
            work(loading)
            self._save(loading, to)

        self._store.apply(runner, start, to, both)
        self._keep()

    def _save(self, loading: Loading, to: Positions) -> None:
        """Writes what is new, of the records before some positions. May be called again."""
        self._after = {}
        for tp, position in to.items():
            found = [finding for finding in self._found.get(tp, ()) if finding.offset < position]
            if not found:
                continue
            after = self._after[tp] = _after(tp, self._memories[tp], found, position)
            loading.save(self.tables.seen, after.buckets)
            loading.delete(self.tables.seen, [(*tp, bucket) for bucket in after.expired])
            loading.save(self.tables.streams, [_row(tp, stream, came) for stream, came in after.streams.items()])
            if after.tally != self._memories[tp].tally:
                loading.save(self.tables.tallies, [after.tally])

    def _keep(self) -> None:
        """After the commit of what was written last."""
        for tp, after in self._after.items():
            memory = self._memories[tp]
            for row in after.buckets:
                memory.buckets[row.bucket] = row.digests
                memory.digests.update(split(row.digests))
            for bucket in after.expired:
                memory.digests.difference_update(split(memory.buckets.pop(bucket)))
            memory.streams.update(after.streams)
            if len(memory.streams) > MOST_STREAMS:
                memory.streams.clear()
            if after.tally != memory.tally:
                memory.tally = after.tally
                self._tell(tp, after.tally)
        self._found, self._after = {}, {}

    def _look_up(self, start: Positions, named: Sequence[tuple[Record, bytes | Counted | None]]) -> None:
        """Loads what the store holds of partitions that are new here, and of streams that are not in memory."""
        partitions = {TopicPartition(record.topic, record.partition) for record, _ in named}
        new = partitions - self._memories.keys()
        wanted: dict[TopicPartition, dict[str, None]] = {}
        for record, identity in named:
            if isinstance(identity, Counted):
                tp = TopicPartition(record.topic, record.partition)
                if tp in new or identity.stream not in self._memories[tp].streams:
                    wanted.setdefault(tp, {})[identity.stream] = None
        if not new and not wanted:
            return
        buckets = [(*tp, bucket) for tp in new if tp in start for bucket in _buckets(start[tp])]
        streams = [(*tp, stream) for tp, names in wanted.items() for stream in names]
        tallies: dict[tuple[str, int], TallyRow] = {}
        seen: dict[tuple[str, int], list[SeenRow]] = {}
        came: dict[tuple[str, int, str], StreamRow] = {}

        def look(loading: Loading) -> None:
            tallies.update(loading.load(self.tables.tallies, list(new)))
            for row in loading.load(self.tables.seen, buckets).values():
                seen.setdefault((row.topic, row.partition), []).append(row)
            came.update(loading.load(self.tables.streams, streams))

        # It moves no position: another runner that was here since makes the positions stale, and then all of this.
        self._store.apply(self._runner, {}, {}, look)
        for tp in new:
            tally = tallies.get(tp) or TallyRow(*tp)
            self._memories[tp] = Memory(tally, seen.get(tp, []))
            self._tell(tp, tally)
        for tp, names in wanted.items():
            for stream in names:
                row = came.get((*tp, stream))
                self._memories[tp].streams[stream] = None if row is None else Came(row.last, tuple(row.gaps))

    def _tell(self, tp: TopicPartition, tally: TallyRow | None) -> None:
        """Arguments: tally: None: of a partition that is another's now."""
        labels = {"group": self._runner, "topic": tp.topic, "partition": str(tp.partition)}
        duplicates, missing = (None, None) if tally is None else (tally.duplicates, tally.skipped - tally.late)
        self._environment.telemetry.gauge(DUPLICATES, labels, duplicates)
        self._environment.telemetry.gauge(MISSING, labels, missing)


def seen_by(model: ReadModel, store: Store, environment: Environment) -> Seen | AllNew:
    """What recognises copies for a read model, as it declares it."""
    if model.dedupe is None:
        return AllNew(store)
    return Seen(model.dedupe, model.as_json, model.runner, tables_of(model.runner), store, environment)


class After(NamedTuple):
    """What a batch changes in a partition: rows, the buckets that go, streams, and the tally."""

    buckets: list[SeenRow]
    expired: list[int]
    streams: Mapping[str, Came]
    tally: TallyRow


def _after(tp: TopicPartition, memory: Memory, found: Sequence[Finding], position: int) -> After:
    buckets: dict[int, list[bytes]] = {}
    streams: dict[str, Came] = {}
    tally = msgspec.structs.replace(memory.tally)
    for offset, identity, verdict in found:
        tally.duplicates += verdict == "duplicate"
        if isinstance(identity, bytes) and verdict == "new":
            buckets.setdefault(offset // BUCKET, []).append(identity)
        elif isinstance(identity, Counted):
            before = streams.get(identity.stream) or memory.streams[identity.stream]
            came, _ = take(before, identity.number)
            if verdict == "late":
                tally.late += 1
            elif verdict == "new" and before is not None:
                tally.skipped += identity.number - before.last - 1
            streams[identity.stream] = came
    rows = [
        SeenRow(*tp, bucket, memory.buckets.get(bucket, b"") + b"".join(digests)) for bucket, digests in buckets.items()
    ]
    return After(rows, memory.expired(position), streams, tally)


def _buckets(position: int) -> range:
    """The buckets that may hold digests of the window before a position."""
    return range(max(0, position - WINDOW) // BUCKET, max(0, position - 1) // BUCKET + 1)


def _row(tp: TopicPartition, stream: str, came: Came) -> StreamRow:
    return StreamRow(*tp, stream, came.last, list(came.gaps))


def split(digests: bytes) -> list[bytes]:
    return [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
