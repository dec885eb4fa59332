"""Brings the rows of a view to its sink: a reading loop that reads the outbox in place of a log.

    outbox ─► rows, with the position that they belong to ─► `Store.apply` under a name of its own ─► outbox

The store moves rows and positions together, as for read models. What is sent is whole rows as they are now, so to do it
again changes nothing; therefore no step has to be undone after a crash. Positions in the sink never go back: nothing is
sent while the view is not as far as the sink, which happens when its file was lost or restored.

The sink is filled anew, from the whole view, when it is new, when it or the view's file has lost what it had, and when
the version of the view that queries find is another one. It has no position then, until it is full.

The loop is that of all readers, so a store that is away is waited for as a log is, and told of in the same way. The
view does not wait for it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence

from headwater.environment import Environment
from headwater.errors import HeadwaterError, Misuse
from headwater.log.port import Batch, Fence, Log, Positions, TopicPartition
from headwater.projections.waiting import Progress, reached
from headwater.readers.loop import ReadingLoop
from headwater.stores.opening import open_store
from headwater.stores.port import Loading, Store
from headwater.views.file import ViewFile
from headwater.views.outbox import Outbox, Sent, Taken
from headwater.views.plan import View
from headwater.views.sinks import SCHEMES, SinkPlan

logger = logging.getLogger("headwater.views")

VARIABLE = re.compile(r"\$\{(\w+)\}")

LOOK_S = 5.0
"""So often the store is asked whether it still has what was sent, and the log is told how far it is."""


def sink_runner(app: str, view: str) -> str:
    """The name under which a view's rows are in its sink, and its positions in the log."""
    return f"{app}-{view}-sink"


def with_variables(address: str, what: str) -> str:
    """An address with ${NAME} replaced by the variable of the environment. Raises: Misuse: there
    is no such one, or it makes no address."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in os.environ:
            raise Misuse(f"{what} is at {address}, but the environment has no {name}")
        return os.environ[name]

    found = VARIABLE.sub(value, address)
    if not found.startswith(SCHEMES):
        raise Misuse(f"{what} is at {address}, which does not begin with one of {', '.join(SCHEMES)}")
    return found


class Sending:
    """What the loop asks, and what it reads.

    Arguments: app: its name; view; plan; runner: the view's reader; topics: that the view reads; log; file: the view's,
    None: it is not open here; shown: whether queries find this version of the view; progress: of the view's reader;
    turn: of who writes to this view's sink in this process; environment.
    """

    def __init__(
        self,
        app: str,
        view: View,
        plan: SinkPlan,
        runner: str,
        topics: Sequence[str],
        log: Log,
        file: Callable[[], ViewFile | None],
        shown: Callable[[], bool],
        progress: Progress,
        turn: threading.Lock,
        environment: Environment,
    ) -> None:
        assert view.sink is not None, "who has no sink sends nothing"
        self._written_as, self._address = view.sink, ""
        self._plan, self._view_runner, self._topics, self._log = plan, runner, topics, log
        self._file, self._shown, self._progress, self._turn = file, shown, progress, turn
        self._environment, self._runner = environment, sink_runner(app, view.name)
        self._name = view.name
        self._store: Store | None = None
        self._outbox: Outbox | None = None
        self._taken: Taken | None = None
        self._sent = Sent("", {})
        self._began: Positions | None = None
        self._fill = self._owns = False
        self._commits = -1
        self._looked_s = self._told_s = environment.monotonic_s() - LOOK_S
        self._told: Positions = {}
        self.failures: Mapping[int, str] = {}
        self.loop = ReadingLoop(
            self, self._runner, topics, self, name=self._runner, prepare=self._prepare, environment=environment
        )

    def begin(self) -> ReadingLoop:
        """The loop, not yet started. Raises: Misuse: the address names a variable that is not set."""
        self._address = with_variables(self._written_as, f"the sink of view {self._name}")
        return self.loop

    def opened(self, positions: Positions) -> None:
        """The views' file was opened. A sink that is ahead of it then was filled from a later state of it, which is
        lost. Arguments: positions: the view's."""
        self._began = positions

    # --- what the loop reads

    def member(self, group: str, topics: Sequence[str], *, name: str, lean: bool = False) -> Sending:
        return self

    def read(self, max_records: int, timeout_s: float) -> Batch:
        """What is to be sent, as a batch without records. Waits for it."""
        rounds = self._progress.rounds
        found = self._look()
        if found is None:
            self._progress.wait(rounds, timeout_s)
            found = self._look()
        return Batch() if found is None else found

    def _look(self) -> Batch | None:
        file = self._file()
        if file is None or not self._shown():
            return Batch(revoked=self._partitions()) if self._owns else None
        if not self._owns:
            self._owns = True
            return Batch(assigned=self._partitions())
        if self._taken is not None:
            return Batch(reached=dict(self._taken.positions))
        return self._due(file)

    def _due(self, file: ViewFile) -> Batch | None:
        store, outbox = self._opened()
        now_s, commits = self._environment.monotonic_s(), file.commits
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._fill = self._fill or not reached(store.positions(self._runner), self._sent.positions)
        elif commits == self._commits:
            return None
        positions, something = outbox.waiting()
        self._commits = commits
        if not positions or not (something or self._fill or positions != self._sent.positions):
            return None
        return Batch(reached=dict(positions))

    def _partitions(self) -> list[TopicPartition]:
        topics = self._log.topics(self._topics)
        return [TopicPartition(topic.name, p) for topic in topics.values() for p in range(topic.partitions)]

    @property
    def id(self) -> str:
        return self._runner

    def start(self, positions: Positions) -> None:
        """The outbox knows by itself what is to be sent."""

    def fence(self) -> Fence:
        return None

    def commit(self, positions: Positions) -> None:
        """The positions are in the store."""

    # --- what the loop asks

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions:
        """Opens the store. Raises: Misuse: it is none, of another log, or has such a table of somebody else.
        Unavailable."""
        file = self._file()
        assert file is not None, "the view is open"
        if self._store is None:
            self._store = open_store(self._address)
            self._store.bind(self._log.id)
        self._outbox = Outbox(self._plan, self._view_runner, file)
        self._sent = self._outbox.begin(hashlib.blake2b(self._address.encode()).hexdigest(), self._environment)
        stored = self._store.positions(self._runner)
        lost = not stored or not reached(stored, self._sent.positions)
        ahead = self._began is not None and not reached(self._began, self._of_view(stored))
        self._fill, self._began = self._fill or lost or ahead or not self._is_ours(self._store), None
        self._commits = -1
        return {tp: stored.get(tp, 0) for tp in partitions}

    def _of_view(self, positions: Positions) -> Positions:
        """Those of topics that the view reads: another version of it may have read others."""
        return {tp: position for tp, position in positions.items() if tp.topic in self._topics}

    def _is_ours(self, store: Store) -> bool:
        """Whether the sink is what was filled from this version of the view in this file."""
        try:
            return store.open_tables(self._runner, [self._plan.table], self._sent.filling) == self._sent.filling
        except Misuse as error:
            logger.info("the sink of view %s is filled anew: %s", self._name, error)
            return False

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self._owns = False
        self._drop()

    def idle(self, fence: Fence) -> None:
        self._tell()

    def resumed(self) -> Positions:
        return {}

    def handle(self, batch: Batch, fence: Fence) -> None:
        """Sends rows. Raises: StaleRunner: somebody else has sent some. Misuse, Unavailable."""
        with self._turn:
            batch.reached = self._send() if self._shown() else {}
        self._tell()

    def _send(self) -> dict[TopicPartition, int]:
        """Sends what was taken, a part at a time. Returns how far the sink has come, with the last part."""
        store, outbox = self._opened()
        stored = store.positions(self._runner)
        if self._taken is None:
            if not reached(outbox.waiting()[0], self._of_view(stored)):
                return {}  # a later part of the log is in there than the view has seen
            if self._fill:
                store.forget(self._runner)
                store.open_tables(self._runner, [self._plan.table], self._sent.filling)
                stored = {}
            self._taken = outbox.take(everything=self._fill)
        taken = self._taken
        if not self._write(store, taken, stored):
            return {}
        outbox.done(taken)
        self._drop()
        self._fill, self._sent = False, self._sent._replace(positions=taken.positions)
        return dict(taken.positions)

    def _write(self, store: Store, taken: Taken, stored: Positions) -> bool:
        """Writes the next part; the last one with the new position. Returns whether it was the last."""
        last, rows = taken.last, taken.rows()
        table = self._plan.table
        there = [table.row(*row[:-1]) for row in rows if row[-1]]
        gone = [(row[0],) for row in rows if not row[-1]]

        def work(loading: Loading) -> None:
            loading.save(table, there)
            loading.delete(table, gone)

        store.apply(self._runner, stored, taken.positions if last else stored, work)
        return last

    def _opened(self) -> tuple[Store, Outbox]:
        assert self._store is not None, "it was given partitions"
        assert self._outbox is not None, "it was given partitions"
        return self._store, self._outbox

    def _tell(self) -> None:
        """Says in the log how far the sink is, for whoever asks for the lag of groups."""
        now_s = self._environment.monotonic_s()
        if self._fill or self._sent.positions == self._told or now_s - self._told_s < LOOK_S:
            return
        self._told_s = now_s
        try:
            self._log.reset(self._runner, self._sent.positions)
        except HeadwaterError as error:  # only told: the next time will do
            logger.debug("%s: the group's positions were not moved: %s", self._runner, error)
            return
        self._told = self._sent.positions

    def _prepare(self, stopped: Callable[[], bool]) -> None:
        self._drop()

    def _drop(self) -> None:
        taken, self._taken = self._taken, None
        if taken is not None:
            taken.close()

    def close(self) -> None:
        """After the loop has ended. The member's part of it is to forget what was taken."""
        self._owns = False
        self._drop()

    def end(self) -> None:
        """Closes the store."""
        if self._store is not None:
            self._store.close()
