"""What a read model has set aside: its rows in the store, what of them is in memory, and the dead-letter topic.

    batch ─► rows in `held`, with the positions ─► dead-letter topic, under the member's fence ─► marked as published

The store has the truth; the topic is for other tools, and for ever. A dead letter is published after it was committed
in the store, if it is not in the topic yet: a process may have died between the two steps (see `told`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from headwater.environment import Environment
from headwater.failures.held import HeldRecord, Shelves, tables_of
from headwater.failures.letters import deadletters_topic, letter_of
from headwater.failures.parking import Pause
from headwater.log.port import Aborted, Fence, Log, Positions, TopicPartition, TopicSpec, Transaction, Writer
from headwater.projections.applying import Applied
from headwater.projections.read_model import ReadModel
from headwater.projections.told import Told
from headwater.readers.setting_aside import tell, tell_failed
from headwater.stores.port import Loading, Store


class Shelving:
    """Arguments: model; log; store; environment: where gauges and alerts go."""

    def __init__(self, model: ReadModel, log: Log, store: Store, environment: Environment) -> None:
        self._model, self._log, self._store, self._environment = model, log, store, environment
        self.tables = tables_of(model.runner)
        self.shelves = Shelves()
        self.pauses: dict[TopicPartition, Pause] = {}
        self._doubted: set[TopicPartition] = set()
        self._told = Told(log, model.runner, environment)
        self._unmarked: dict[TopicPartition, dict[int, HeldRecord]] = {}

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Reads what is set aside in partitions that are owned from now on. Raises: Unavailable."""
        for tp in partitions:
            self.pauses.pop(tp, None)
            self.read_again(tp)
        self._doubted.difference_update(partitions)
        self._told.forget(partitions)

    def exchanged(self, partitions: Collection[TopicPartition]) -> None:
        """Reads what is set aside now, after rows were exchanged with it. A pause may have lost its reason with them,
        and lasts until reading begins again where it paused (see `room`): what was read behind it was dropped.

        Raises: Unavailable."""
        for tp in partitions:
            self.read_again(tp)
        self._doubted.update(self.pauses.keys() & set(partitions))
        self._told.forget(partitions)

    def read_again(self, tp: TopicPartition) -> None:
        """Reads what is set aside in a partition. Raises: Unavailable."""
        rows = self._store.rows(self.tables.held, {"topic": tp.topic, "partition": tp.partition})
        self.shelves.set(tp, rows)
        self._unmarked[tp] = {row.record_offset: row for row in rows if row.failed and not row.published}
        self._tell(tp)

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """What others own is theirs to tell."""
        for tp in partitions:
            self.shelves.drop(tp)
            self._unmarked.pop(tp, None)
            self.pauses.pop(tp, None)
            self._doubted.discard(tp)
            self._tell(tp, owned=False)

    def applied(self, applied: Applied, gone: Collection[HeldRecord] = ()) -> None:
        """After a commit. Arguments: gone: rows that are set aside no more."""
        self.pauses.update(applied.pauses)
        if not applied.set_aside and not gone and not applied.pauses:
            return
        self.shelves.changed(applied.set_aside, gone)
        for row in applied.set_aside:
            if row.failed and not row.published:
                self._unmarked.setdefault(row.tp, {})[row.record_offset] = row
        tell_failed(self._environment.telemetry, self._model.runner, applied.set_aside)
        for tp in {row.tp for row in (*applied.set_aside, *gone)} | applied.pauses.keys():
            self._tell(tp)

    def room(self) -> list[TopicPartition]:
        """Paused partitions that may go on: half of what may be set aside is free again, or all of it was exchanged."""
        policy, found = self._model.on_failure, []
        for tp, pause in self.pauses.items():
            shelf = self.shelves[tp]
            fits = 2 * len(shelf) <= policy.held_records and 2 * shelf.size_bytes <= policy.held_bytes
            if tp in self._doubted or (pause.limit and fits):
                found.append(tp)
        return found

    @property
    def to_publish(self) -> bool:
        return any(self._unmarked.values())

    def publish(self, writer: Writer, positions: Positions, fence: Fence) -> None:
        """Writes what is not in the dead-letter topic yet. Arguments: positions: of the partitions, committed with it.

        Raises: Aborted, Fenced, Unavailable: nothing was written; it is tried again.
        """
        at = {tp: positions[tp] for tp, rows in self._unmarked.items() if rows and tp in positions}
        rows = [row for tp in at for row in self._unmarked[tp].values()]
        letters = self._told.missing(rows)
        if letters:
            try:
                self._write(letters, writer, at, fence)
            except Aborted:
                self._told.forget(at)  # of one that was torn, a part is there
                raise
            self._told.wrote(letters)
        self._store.apply(self._model.runner, at, at, lambda loading: self._mark(loading, rows))
        for tp in at:
            self._unmarked[tp] = {}

    def _write(self, rows: Collection[HeldRecord], writer: Writer, at: Positions, fence: Fence) -> None:
        count, runner = self._make_topic(), self._model.runner
        letters = [letter_of(row, runner, self._model.code) for row in rows]
        letters = [replace(letter, partition=letter.partition % count) for letter in letters]

        def fill(transaction: Transaction) -> None:
            transaction.write(letters)
            transaction.positions(runner, at, fence)

        writer.transact(fill)

    def _mark(self, loading: Loading, published: Collection[HeldRecord]) -> None:
        keys = [(row.topic, row.partition, row.record_offset) for row in published]
        rows = loading.load(self.tables.held, keys)
        for row in rows.values():
            row.published = True
        loading.save(self.tables.held, rows.values())

    def _make_topic(self) -> int:
        """How many partitions it has: fewer than a source, where that is listened to since."""
        topic = deadletters_topic(self._model.runner)
        there = self._log.topics([topic]).get(topic)
        if there is not None:
            return there.partitions
        sources = self._log.topics([one.name for one in self._model.topics])
        count = max(description.partitions for description in sources.values())
        self._log.create_topics([TopicSpec(topic, count, log_time=True)])
        return count

    def _tell(self, tp: TopicPartition, *, owned: bool = True) -> None:
        shelf = self.shelves[tp] if owned else None
        pause = None if self._model.on_failure.stops else self.pauses.get(tp)  # a reader that ends tells it itself
        tell(self._environment.telemetry, self._model.runner, tp, shelf, pause)
