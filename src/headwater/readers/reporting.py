"""How the readers of this process are, for metrics and alerts: looked at every few seconds.

    ask (a thread): ends of what is read ──┐
    statuses, written by the loops ────────┴─► look (another thread) ──► gauges, counts, alerts

The log is asked in a thread of its own: one that does not answer must not keep anybody from saying so. Readers
themselves only count; nothing of this happens on their threads.
"""

from __future__ import annotations

import logging
import shlex
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from headwater.environment import Environment, Labels, Series, series
from headwater.errors import HeadwaterError, without_payload
from headwater.log.port import Log, Positions, TopicPartition
from headwater.log.topology import owners_group
from headwater.readers.ages import Arrivals, written_at
from headwater.readers.loop import ReadingLoop
from headwater.readers.progress import STALLED_S, Mark, Standing, Stuck, at_the_end, mark, place_of, standing, stuck
from headwater.readers.setting_aside import unsaid
from headwater.readers.whereabouts import waited_for

logger = logging.getLogger("headwater.readers")

LOOK_S = 3.0

UP = "headwater_reader_up"
LAG_EVENTS, LAG_S = "headwater_lag_events", "headwater_lag_seconds"
STALLED_SECONDS = "headwater_partition_stalled_seconds"
RECORDS, BATCHES = "headwater_records_total", "headwater_batches_total"
BUSY_SECONDS, READER_FAILURES = "headwater_busy_seconds_total", "headwater_reader_failures_total"
COMMANDS, EVENTS = "headwater_commands_total", "headwater_events_total"
SILENT_SECONDS = "headwater_log_silent_seconds"

READER_STUCK, PARTITION_STALLED = "headwater_reader_stuck", "headwater_partition_stalled"
OWNER_STUCK, LOG_SILENT = "headwater_owner_stuck", "headwater_log_silent"


class Deciding(Protocol):
    """An owner, as far as it is told of."""

    @property
    def entity(self) -> str: ...

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How many commands it has answered, by outcome."""
        ...

    @property
    def appended(self) -> int:
        """How many events it has written."""
        ...

    @property
    def taking(self) -> tuple[int, float] | None:
        """The thread that carries out commands of callers in this process now, and since when."""
        ...


@dataclass(slots=True)
class Watched:
    """A loop, and what was seen of it."""

    loop: ReadingLoop
    mark: Mark | None = None
    stuck: Stuck | None = None
    standing: dict[TopicPartition, Standing] = field(default_factory=dict)
    told: frozenset[TopicPartition] = frozenset()
    stalled: frozenset[TopicPartition] = frozenset()


class Reporting:
    """Looks at loops and owners every few seconds until it is stopped.

    Arguments: log; loops; owners; environment: the clock, and where it goes; store: where read models are, in words
    without a password.
    """

    def __init__(
        self,
        log: Log,
        loops: Sequence[ReadingLoop],
        owners: Sequence[Deciding],
        environment: Environment,
        *,
        store: str | None = None,
    ) -> None:
        self._places = {
            "headwater.stores.": "its store" if store is None else f"the store {store}",
            "headwater.log.": f"the log {log.url}",
        }
        self._log, self._owners, self._environment = log, owners, environment
        self._telemetry = environment.telemetry
        self._watched = [Watched(loop) for loop in loops]
        self._totals: dict[Series, float] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._arrivals = Arrivals()
        self._ends: tuple[Positions, float] = {}, environment.monotonic_s()
        self._silence: str | None = None
        self._silent = False
        self._stuck_owners: set[str] = set()

    def start(self) -> None:
        for run, name in ((self._ask_on, "log-ends"), (self._look_on, "progress")):
            self._threads.append(threading.Thread(target=run, name=name, daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """Idempotent. What was told of this process is over with it."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._forget()

    def _ask_on(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.ask()
            except HeadwaterError as error:
                self._silence = without_payload(error)

    def _look_on(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.look()

    def ask(self) -> None:
        """Asks the log once, in any case: readers lose what they own to a log that is silent, and not to have asked
        would look like its answer. Raises: Unavailable."""
        wanted = sorted({tp for one in self._watched for tp in one.loop.status.owned})
        ends: Positions = {}
        if wanted:
            ends = self._log.ends(wanted)
        else:
            self._log.topics(())
        self._ends, self._silence = (ends, self._environment.monotonic_s()), None

    def look(self) -> None:
        """Looks once, and tells what is to be seen."""
        now_s = self._environment.monotonic_s()
        ends, asked_s = self._ends
        for tp, end in ends.items():
            self._arrivals.note(tp, end, asked_s)
        self._arrivals.keep_only(ends)
        self._silent = now_s - asked_s > STALLED_S
        self._look_at_log(now_s - asked_s)
        for one in self._watched:
            self._look_at_loop(one, ends, now_s)
        for owner in self._owners:
            self._look_at_owner(owner, now_s)

    def _look_at_log(self, silent_s: float) -> None:
        labels = {"log": self._log.id}
        self._telemetry.gauge(SILENT_SECONDS, labels, silent_s)
        text = None
        if self._silent:
            why = f": {self._silence}" if self._silence is not None else ""
            url = shlex.quote(self._log.url)
            text = f"the log has not answered for more than {STALLED_S:g} s{why}; look with: hw doctor --on {url}"
        self._telemetry.alert(LOG_SILENT, labels, text)

    def _look_at_loop(self, one: Watched, ends: Positions, now_s: float) -> None:
        status, group = one.loop.status, one.loop.group
        one.mark = mark(one.mark, status, at_the_end(status, ends), now_s)
        found = stuck(status, one.mark, now_s)
        labels = {"group": group}
        if found is None or one.stuck is None or found.text != one.stuck.text:
            one.stuck = found
            self._tell_stuck(one.loop, found)
        self._telemetry.gauge(UP, labels, float(status.state == "running" and found is None and not self._silent))
        for name, value in ((BATCHES, status.batches), (READER_FAILURES, status.failures), (RECORDS, status.records)):
            self._total(name, labels, value)
        self._total(BUSY_SECONDS, labels, status.busy_s)
        self._look_at_partitions(one, ends, now_s)

    def _look_at_partitions(self, one: Watched, ends: Positions, now_s: float) -> None:
        status, group = one.loop.status, one.loop.group
        owned = status.owned
        positions = {tp: position for tp, position in dict(status.reached).items() if tp in owned and tp in ends}
        one.standing = standing(one.standing, positions, ends, now_s)
        stalled = set()
        for tp, position in positions.items():
            labels = {"group": group, "topic": tp.topic, "partition": str(tp.partition)}
            stands = one.standing.get(tp)
            seconds = 0.0 if stands is None else now_s - stands.since_s
            self._telemetry.gauge(LAG_EVENTS, labels, max(0, ends[tp] - position))
            self._telemetry.gauge(LAG_S, labels, self._age_s(one, tp, position, now_s))
            self._telemetry.gauge(STALLED_SECONDS, labels, seconds)
            told = one.stuck is not None and tp not in one.stalled  # by the reader's own alert
            if seconds > STALLED_S and not told and not self._told_by_handler(one, tp):
                stalled.add(tp)
            self._tell_stalled(one, tp, labels, position, stalled)
        for tp in one.told - positions.keys():
            self._drop(group, tp)
        one.told, one.stalled = frozenset(positions), frozenset(stalled)

    def _tell_stalled(
        self, one: Watched, tp: TopicPartition, labels: Mapping[str, str], position: int, stalled: set[TopicPartition]
    ) -> None:
        if (tp in stalled) is (tp in one.stalled):
            return
        text = details = None
        if tp in stalled:
            status = one.loop.status
            details = status.stopped.get(tp.partition)
            why = "it is left by its reader" if details is not None else f"its reader {status.step}"
            text = (
                f"{one.loop.group}: {tp} has stayed at offset {position} for more than {STALLED_S:g} s though there is "
                f"more to read; {why}; hw lag says more"
            )
        self._telemetry.alert(PARTITION_STALLED, labels, text, details)

    def _told_by_handler(self, one: Watched, tp: TopicPartition) -> bool:
        """Whether it is an alert already that a partition is left. Owners leave it to this one, but for pauses."""
        owners, status = {owners_group(owner.entity) for owner in self._owners}, one.loop.status
        return tp.partition in status.stopped and (one.loop.group not in owners or tp.partition in status.paused)

    def _age_s(self, one: Watched, tp: TopicPartition, position: int, now_s: float) -> float:
        """For how long what the reader reads next has been there."""
        age_s, seen = self._arrivals.age_s(tp, position, now_s)
        newest = one.loop.status.newest
        if seen or newest is None:
            return age_s
        # It was there before this process looked. Then the reader works through the past, in order.
        return max(age_s, (self._environment.now() - written_at(newest)).total_seconds())

    def _look_at_owner(self, owner: Deciding, now_s: float) -> None:
        entity = owner.entity
        for outcome, value in dict(owner.outcomes).items():
            self._total(COMMANDS, {"entity": entity, "outcome": outcome}, value)
        self._total(EVENTS, {"entity": entity}, owner.appended)
        taking = owner.taking
        late = taking is not None and now_s - taking[1] > STALLED_S
        if late is (entity in self._stuck_owners):
            return
        text = None
        if taking is not None and late:
            self._stuck_owners.add(entity)
            what = waited_for(taking[0], self._places)
            waits = "" if what is None else f"they wait for {what}, "
            text = (
                f"{entity}: commands have been carried out for more than {STALLED_S:g} s: {waits}{place_of(taking[0])}"
            )
        else:
            self._stuck_owners.discard(entity)
        self._telemetry.alert(OWNER_STUCK, {"entity": entity}, text)

    def _tell_stuck(self, loop: ReadingLoop, found: Stuck | None) -> None:
        text = details = None
        if found is not None:
            worker = loop.worker if found.waits else None
            at = None if worker is None else worker.ident
            what = found.text if at is None else self._waits(found.text, at)
            text = f"{loop.group}: its reader {what}; hw lag says more"
            details = unsaid(text, found.details)
        self._telemetry.alert(READER_STUCK, {"group": loop.group}, text, details)

    def _waits(self, text: str, thread: int) -> str:
        """What somebody waits for comes first, and where the thread is in the code last."""
        what = waited_for(thread, self._places)
        return f"{'' if what is None else f'waits for {what}: it '}{text}; its thread is in {place_of(thread)}"

    def _total(self, name: str, labels: Labels, value: float) -> None:
        """Tells what was added to a total of this process since the last look."""
        key = series(name, labels)
        before = self._totals.get(key)
        if before is None or value > before:
            self._totals[key] = value
            self._telemetry.count(name, labels, value - (before or 0))

    def _drop(self, group: str, tp: TopicPartition) -> None:
        """Others tell how a partition is now."""
        labels = {"group": group, "topic": tp.topic, "partition": str(tp.partition)}
        for name in (LAG_EVENTS, LAG_S, STALLED_SECONDS):
            self._telemetry.gauge(name, labels, None)
        self._telemetry.alert(PARTITION_STALLED, labels, None)

    def _forget(self) -> None:
        for one in self._watched:
            group = one.loop.group
            self._telemetry.gauge(UP, {"group": group}, None)
            self._telemetry.alert(READER_STUCK, {"group": group}, None)
            for tp in one.told:
                self._drop(group, tp)
            one.told, one.stalled, one.stuck = frozenset(), frozenset(), None
        for owner in self._owners:
            self._telemetry.alert(OWNER_STUCK, {"entity": owner.entity}, None)
        self._telemetry.gauge(SILENT_SECONDS, {"log": self._log.id}, None)
        self._telemetry.alert(LOG_SILENT, {"log": self._log.id}, None)
