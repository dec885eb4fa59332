"""Waiting until a read model has come as far as a caller asks (`after=receipt`), or saying why it has not.

A runner in this process wakes its readers; one elsewhere is looked at, less and less often. A read model whose
runner is dead, held or failed answers at once.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import NamedTuple, Protocol, TypeVar

from headwater.environment import SYSTEM, Environment
from headwater.errors import NotYet
from headwater.failures.held import tables_of
from headwater.log.port import Log, Positions, Reader, Record, TopicPartition
from headwater.readers.ages import written_at
from headwater.readers.loop import Status
from headwater.stores.port import Key, RunnerNote, TableSchema

R = TypeVar("R")

HEARTBEAT_S = 1.0
DEAD_S = 10.0
"""A worker that has said nothing for so long is taken for dead, if its process cannot be asked."""

BUSY_S = 600.0
"""How long the process of a silent worker is believed: a batch may take long, but its number may be another's now."""

MOST_COUNTED = 5000
"""So many events are counted for an error; of more it says that there are at least so many."""

READ_S = 0.2
FIRST_LOOK_S = 0.002
LAST_LOOK_S = 0.1
AWAKE_S = 0.5


class Watched(Protocol):
    """What is looked at while somebody waits: a store, or one that another process has."""

    def positions(self, runner: str) -> dict[TopicPartition, int]:
        """See `Store.positions`."""
        ...

    def notes(self, runner: str) -> list[RunnerNote]:
        """See `Store.notes`."""
        ...

    def row(self, table: TableSchema[R], key: Key) -> R | None:
        """See `Store.row`."""
        ...


class Progress:
    """Wakes the threads of this process that wait for a runner of this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rounds = 0

    @property
    def rounds(self) -> int:
        return self._rounds

    def wake(self) -> None:
        with self._changed:
            self._rounds += 1
            self._changed.notify_all()

    def wait(self, rounds: int, timeout_s: float) -> None:
        """Returns when a round has ended since there were `rounds` of them."""
        with self._changed:
            self._changed.wait_for(lambda: self._rounds != rounds, timeout_s)


def wait_until(
    store: Watched,
    runner: str,
    wanted: Positions,
    timeout_s: float,
    *,
    log: Log,
    title: str = "",
    progress: Progress | None = None,
    status: Status | None = None,
    environment: Environment = SYSTEM,
) -> None:
    """Returns when the runner's stored positions are at or past `wanted`.

    Arguments: timeout_s: 0 asks once; title: what the read model is called in an error; progress, status: of
    the runner in this process, if it runs here.
    Raises: NotYet: it is not there in time, or no runner is alive that could bring it there, or it is held.
    """
    deadline_s = environment.monotonic_s() + timeout_s
    pause_s = FIRST_LOOK_S
    pause = threading.Event()
    while True:
        rounds = progress.rounds if progress is not None else 0
        state, failure = health(store.notes(runner), status, environment)
        positions = store.positions(runner)  # after the health: what a dying runner still wrote is seen
        if reached(positions, wanted):
            refuse_held(store, runner, wanted, positions, title or runner)
            return
        left_s = deadline_s - environment.monotonic_s()
        if state != "running" or left_s <= 0:
            raise not_yet(title or runner, wanted, positions, log, state, failure, environment)
        if progress is not None and status is not None and status.alive:
            progress.wait(rounds, min(left_s, AWAKE_S))
        else:
            pause.wait(min(left_s, pause_s))
            pause_s = min(2 * pause_s, LAST_LOOK_S)


def refuse_held(store: Watched, runner: str, wanted: Positions, positions: Positions, title: str) -> None:
    """What somebody waits for may have been read and be set aside: then it is not in the rows, for whatever reason.

    The last record before a wanted position is the one that its receipt speaks of; what was before it in its entity is
    not applied later than it. Raises: NotYet.
    """
    held = tables_of(runner).held
    for tp, position in wanted.items():
        row = store.row(held, (*tp, position - 1)) if position else None
        if row is None:
            continue
        if row.failed:
            what = f"it is a dead letter: {row.handler or row.stage} failed: {row.error}: {row.message}"
        else:
            what = f"it is held behind a dead letter of its key {(row.key or b'').decode(errors='backslashreplace')!r}"
        raise NotYet(
            title,
            {str(tp): position for tp, position in wanted.items()},
            {str(tp): positions.get(tp, 0) for tp in wanted},
            lag_events=0,
            lag_counted=True,
            lag_s=None,
            runner="held",
            last_failure=f"{tp}, offset {position - 1} is not applied: {what}; hw deadletters list",
        )


def reached(positions: Positions, wanted: Positions) -> bool:
    return all(positions.get(partition, 0) >= position for partition, position in wanted.items())


def health(notes: list[RunnerNote], status: Status | None, environment: Environment) -> tuple[str, str | None]:
    """What is known of the runner ("running", "held", "failed", "none"), and its last failure."""
    failures = [note.failure for note in notes if note.failure]
    if status is not None and status.last_failure:
        failures.insert(0, status.last_failure)
    failure = failures[0] if failures else None
    if status is not None and status.alive:
        return "running", failure
    states = [note.state for note in notes if note.state in ("held", "failed") or lives(note, environment)]
    if status is not None and status.state == "failed":
        states.append("failed")
    for state in ("running", "held", "failed"):
        if state in states:
            return state, failure
    return "none", failure


def lives(note: RunnerNote, environment: Environment) -> bool:
    """Whether a worker that said it runs still does. On the same machine its process is asked for: one that is at a
    long batch says nothing meanwhile."""
    silent_s = (environment.now() - note.heartbeat).total_seconds()
    runs = runs_here(note)
    return silent_s <= DEAD_S if runs is None else runs and silent_s <= BUSY_S


def runs_here(note: RunnerNote) -> bool | None:
    """Whether the process of a worker is there. None: it is of another machine, where nobody can be asked."""
    host, _, rest = note.worker.partition("/")
    pid = rest.partition("/")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return None
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def not_yet(
    title: str,
    wanted: Positions,
    positions: Positions,
    log: Log,
    state: str,
    failure: str | None,
    environment: Environment,
) -> NotYet:
    """The error, with how far behind the read model is."""
    behind = {tp: positions.get(tp, 0) for tp, position in wanted.items() if positions.get(tp, 0) < position}
    ends = log.ends(list(behind))
    lag = lag_of(log, behind, {tp: min(ends[tp], wanted[tp]) for tp in behind}, environment)
    return NotYet(
        title,
        {str(tp): position for tp, position in wanted.items()},
        {str(tp): positions.get(tp, 0) for tp in wanted},
        lag_events=lag.events,
        lag_counted=lag.counted,
        lag_s=lag.s,
        runner=state,
        last_failure=failure,
    )


class Lag(NamedTuple):
    """Arguments: events: that are still to come; counted: whether these are all; s: age of the oldest, in seconds,
    None where there is none to see."""

    events: int
    counted: bool
    s: float | None


def lag_of(log: Log, positions: Positions, ends: Positions, environment: Environment) -> Lag:
    """What lies between positions and ends. It is read, as positions have gaps, but not much more than MOST_COUNTED."""
    events, counted, oldest_s = 0, True, None
    reader = log.reader()
    try:
        for partition, position in positions.items():
            if position >= ends[partition]:
                continue
            count, first, to = count_between(reader, partition, position, ends[partition], MOST_COUNTED - events)
            events, counted = events + count, counted and to >= ends[partition]
            if first is not None:
                age_s = (environment.now() - written_at(first)).total_seconds()
                oldest_s = age_s if oldest_s is None else max(oldest_s, age_s)
    finally:
        reader.close()
    return Lag(events, counted, oldest_s)


def count_between(
    reader: Reader, partition: TopicPartition, position: int, end: int, most: int
) -> tuple[int, Record | None, int]:
    """How many records lie there, the first of them, and up to which position this is known."""
    count, first = 0, None
    reader.assign({partition: position})
    while position < end and (count < most or first is None):
        batch = reader.read(max(1, most - count), READ_S)
        if partition not in batch.reached:
            break
        found = [record for record in batch.records if record.offset < end]
        count, first = count + len(found), first or next(iter(found), None)
        position = batch.reached[partition]
    return count, first, position
