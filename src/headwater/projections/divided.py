"""Read models that are divided over stores: processes of one group that each keep the rows of their own partitions
somewhere else. Each store is right as far as it goes, and none has all rows.

    members of the group in the log ──────────────┐
    partitions that workers note in the store ────┴─► what members read that nobody here says to have

It is compared and not declared, since one store may have several addresses.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from headwater.environment import Environment
from headwater.errors import HeadwaterError, counted
from headwater.log.port import GroupDescription, Log, TopicPartition
from headwater.projections.read_model import ReadModel
from headwater.projections.waiting import HEARTBEAT_S, runs_here
from headwater.stores.port import RunnerNote, Store

logger = logging.getLogger("headwater.projections")

LOOK_S = 5.0
SILENT_S = 3 * HEARTBEAT_S

LASTS_S = 12.0
"""For how long members must read what no worker here has: one that was just given a partition says so soon."""

ALERT = "headwater_read_model_divided"

REMEDY = "Start all processes of the app with one store (--store); it is filled from where its rows are"

Elsewhere = Mapping[str, Sequence[TopicPartition]]
"""What each member reads whose rows are not in the store."""


def elsewhere(group: GroupDescription, notes: Sequence[RunnerNote], environment: Environment) -> Elsewhere:
    """Members without a note for what they read. None, while a worker of this store is silent: it may be at a long
    batch, with partitions of which it has not said yet that it was given them; or its clock is another one."""
    here = [note for note in notes if runs_here(note) is not False]
    if any((environment.now() - note.heartbeat).total_seconds() > SILENT_S for note in here):
        return {}
    noted = {tp for note in here for tp in note.partitions}
    rest = {member: sorted(set(partitions) - noted) for member, partitions in group.members.items()}
    return {member: partitions for member, partitions in rest.items() if partitions}


def words(model: ReadModel, members: Elsewhere) -> str:
    """What an operator reads."""
    names = ", ".join(sorted(members))
    partitions = counted(sum(map(len, members.values())), "partition")
    return (
        f"read model {model.title} is divided: {partitions} of its topics are read by {names}, which keeps their rows "
        "in another store, so that none has all rows"
    )


class Divided:
    """Looks every few seconds until it is stopped, and tells it by an alert. Arguments: models: that this process
    maintains, in this store."""

    def __init__(self, log: Log, store: Store, models: Sequence[ReadModel], environment: Environment) -> None:
        self._log, self._store, self._models, self._environment = log, store, models, environment
        self._since_s: dict[str, float] = {}
        self._told: dict[str, str | None] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="divided", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Idempotent. What was told of this process is over with it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._tell({})

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.look()
            except HeadwaterError as error:
                # A log or a store that is away is told by everybody who needs it.
                logger.debug("divided read models cannot be looked for: %s", error)

    def look(self) -> None:
        """Looks once, and tells. Raises: Unavailable."""
        self._tell(self.found())

    def found(self) -> dict[str, Elsewhere]:
        """What others keep of the read models now, by runner. Raises: Unavailable."""
        groups = self._log.groups([model.runner for model in self._models])
        found = {group.name: elsewhere(group, self._store.notes(group.name), self._environment) for group in groups}
        return {runner: members for runner, members in found.items() if members}

    def _tell(self, found: Mapping[str, Elsewhere]) -> None:
        now_s = self._environment.monotonic_s()
        self._since_s = {runner: self._since_s.get(runner, now_s) for runner in found}
        for model in self._models:
            members = found.get(model.runner)
            late = members is not None and now_s - self._since_s[model.runner] >= LASTS_S
            text = f"{words(model, members)}. {REMEDY}" if members is not None and late else None
            if text != self._told.get(model.runner):
                self._environment.telemetry.alert(ALERT, {"group": model.runner}, text)
            self._told[model.runner] = text
