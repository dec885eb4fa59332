"""Waiting until a read model has come as far as a caller asks (`after=receipt`), or saying why it has not.

A runner in this process wakes its readers; one elsewhere is looked at, less and less often. A read model whose
runner is dead, held or failed answers at once.
"""

from __future__ import annotations

import os
import socket
import threading
from datetime import datetime

from headwater.environment import SYSTEM, Environment
from headwater.errors import NotYet
from headwater.log.port import Log, Positions, Record, TopicPartition
from headwater.messages.envelope import parse_time, record_time
from headwater.readers.loop import Status
from headwater.stores.port import RunnerNote, Store

HEARTBEAT_S = 1.0
DEAD_S = 10.0
"""A worker that has said nothing for so long is taken for dead, if its process cannot be asked."""

BUSY_S = 600.0
"""How long the process of a silent worker is believed: a batch may take long, but its number may be another's now."""

FIRST_LOOK_S = 0.002
LAST_LOOK_S = 0.1
AWAKE_S = 0.5


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
    store: Store,
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
    Raises: NotYet: it is not there in time, or no runner is alive that could bring it there.
    """
    deadline_s = environment.monotonic_s() + timeout_s
    pause_s = FIRST_LOOK_S
    pause = threading.Event()
    while True:
        rounds = progress.rounds if progress is not None else 0
        state, failure = health(store.notes(runner), status, environment)
        positions = store.positions(runner)  # after the health: what a dying runner still wrote is seen
        if reached(positions, wanted):
            return
        left_s = deadline_s - environment.monotonic_s()
        if state != "running" or left_s <= 0:
            raise not_yet(title or runner, wanted, positions, log, state, failure, environment)
        if progress is not None and status is not None and status.alive:
            progress.wait(rounds, min(left_s, AWAKE_S))
        else:
            pause.wait(min(left_s, pause_s))
            pause_s = min(2 * pause_s, LAST_LOOK_S)


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
    host, _, rest = note.worker.partition("/")
    pid = rest.partition("/")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return silent_s <= DEAD_S
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return silent_s <= BUSY_S
    return silent_s <= BUSY_S


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
    records = sum(max(0, min(ends[tp], wanted[tp]) - position) for tp, position in behind.items())
    return NotYet(
        title,
        {str(tp): position for tp, position in wanted.items()},
        {str(tp): positions.get(tp, 0) for tp in wanted},
        lag_events=records,
        lag_s=age_s(log, {tp: position for tp, position in behind.items() if position < ends[tp]}, environment),
        runner=state,
        last_failure=failure,
    )


def age_s(log: Log, positions: dict[TopicPartition, int], environment: Environment) -> float | None:
    """Seconds since the oldest record after these positions was written; None where there is none to see."""
    oldest = None
    for partition, position in positions.items():
        reader = log.reader()
        try:
            reader.assign({partition: position})
            found = reader.read(1, 0.2).records
        finally:
            reader.close()
        if found:
            written = (environment.now() - written_at(found[0])).total_seconds()
            oldest = written if oldest is None else max(oldest, written)
    return oldest


def written_at(record: Record) -> datetime:
    """When it was accepted: the record's own time is that of the business, which may lie years back."""
    said = dict(record.headers).get("hw_recorded")
    if said is not None:
        try:
            return parse_time(said.decode())
        except ValueError:
            return record_time(record.timestamp_ms)
    return record_time(record.timestamp_ms)
