"""Views that processes share, as a client sees them: every process on this machine tells the partitions that it reads.

    files beside each other ─► their sockets ─► for each partition, who tells most of it ─► partials ─► rows

An answer is made of every partition, or there is none: while one is on its way from a process to another, who asks
waits. No answer here is of an earlier position of a partition than an answer, or a wait, before it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from glob import escape, glob
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.failures.held import Asked, Audit, HeldRecord, tables_of
from headwater.log.port import Log, Positions, TopicPartition
from headwater.readers.held_records import Looking
from headwater.stores.port import Key, RunnerNote, TableSchema
from headwater.views import wire
from headwater.views.file import MOST_FILES, ViewFile
from headwater.views.letters import FarLetters
from headwater.views.plan import View
from headwater.views.repartitioning import origin_of
from headwater.views.runner import ViewRunner
from headwater.views.serving import Silent, ask_now
from headwater.views.shares import Told, put_rows
from headwater.views.sharing import parted, tagged
from headwater.views.state import compile_view
from headwater.views.versions import show
from headwater.views.wire import Held, Notes, OfLetters, Part

R = TypeVar("R")

WAIT_S = 10.0
"""How long who asks waits until every partition is told, where the question has no time limit."""

ANSWER_S = 5.0
"""How long is waited for one of the processes; one that was stopped does not hold up the others for longer."""

AGAIN_S = 0.02


class Taken(NamedTuple):
    """What is taken from one process. Arguments: path: of its file; told; partitions: with their positions."""

    path: str
    told: Told
    partitions: Mapping[TopicPartition, int]


def files_beside(path: str) -> list[str]:
    """The files that processes may have for what they share. Arguments: path: of the one for what they do not."""
    stem = path.removesuffix(".duckdb")
    return [f"{stem}.{number}.duckdb" for number in range(1, MOST_FILES + 1)]


class SharedViews:
    """Arguments: path: of the file of views that are not shared; log; environment; advice: what to do where nobody
    has a partition. `positions`, `notes`, `row`: as of `Watched`."""

    def __init__(
        self, path: str, runners: Sequence[ViewRunner], log: Log, environment: Environment, advice: str
    ) -> None:
        self._path, self._log, self._environment, self._advice = path, log, environment, advice
        self._views = {runner.runner: runner.view for runner in runners}
        self._topics = {runner.runner: runner.loop.topics for runner in runners}
        self._routed = {runner.runner: runner.repartition for runner in runners if runner.repartition is not None}
        self._setting_aside = {runner: Looking(log, topic, environment) for runner, topic in self._routed.items()}
        self._lock = threading.Lock()
        self._least: dict[tuple[str, TopicPartition], int] = {}
        """What was told of a partition: nothing earlier is told later."""

    def positions(self, runner: str) -> dict[TopicPartition, int]:
        taken = self._taken(runner, ANSWER_S, rows=False)
        found = {tp: position for one in taken for tp, position in one.partitions.items()}
        self._remember(runner, found)
        return found if runner not in self._routed else self._sources(runner, taken)

    def notes(self, runner: str) -> list[RunnerNote]:
        request, found = Notes(self._views[runner].name), list[RunnerNote]()
        for path in self._paths():
            try:
                found += ask_now(path, request, list[RunnerNote], ANSWER_S)
            except Silent:  # it is there: how long it is waited for is for who waits to say
                found.append(RunnerNote(path, "running", None, self._environment.now(), frozenset()))
            except Unavailable:
                continue  # that process has none, or is gone
        return found

    def row(self, table: TableSchema[R], key: Key) -> R | None:
        """Only of the records that a view's reader has set aside."""
        runner = next(one for one in self._views if tables_of(one).held.name == table.name)
        tp = TopicPartition(str(key[0]), int(str(key[1])))
        if runner in self._routed:
            return cast("R | None", self._held_of_source(runner, (tp.topic, tp.partition, int(str(key[2])))))
        request = Held(self._views[runner].name, (tp.topic, tp.partition, int(str(key[2]))))
        for one in self._taken(runner, ANSWER_S, rows=False):
            if tp in one.partitions:
                rows = ask_now(one.path, request, list[Any], ANSWER_S)
                return msgspec.convert(rows[0], table.row) if rows else None
        return None

    def _held_of_source(self, runner: str, place: tuple[str, int, int]) -> HeldRecord | None:
        """Of a record of a source, which was set aside before it came into the view's own topic, or after that."""
        with self._lock:
            found = self._setting_aside[runner].contents().held.get(place)
        if found is None:
            name = self._views[runner].name
            for one in self._taken(runner, ANSWER_S, rows=False):
                rows = ask_now(one.path, OfLetters(name, "held"), list[HeldRecord], ANSWER_S)
                found = found or next((row for row in rows if origin_of(row.record()) == place), None)
        return found

    def letters(self, runner: str) -> SharedLetters:
        """What its readers have set aside. Raises: Unavailable: nobody has a part of it."""
        name = self._views[runner].name
        found = [
            (FarLetters(partial(_asked, one.path), name), frozenset(one.partitions))
            for one in self._taken(runner, ANSWER_S, rows=False)
        ]
        if not found:
            raise Unavailable(f"no process on this machine has a part of {self._views[runner].name}; {self._advice}")
        return SharedLetters(found)

    def stands(self, runner: str) -> frozenset[tuple[str, int, frozenset[tuple[str, int, int]]]]:
        """How far each process is: where it is the same, so are its rows."""
        taken = self._taken(runner, ANSWER_S, rows=False)
        return frozenset((one.path, one.told.commits, frozenset(one.told.positions)) for one in taken)

    def put(self, file: ViewFile, runner: str, timeout_s: float | None) -> dict[TopicPartition, int]:
        """Makes a view in a file, as it is now over all partitions. Returns: how far it is in each of them. Raises:
        Unavailable: some are not told in time."""
        view = self._views[runner]
        names = [one.name for one in parted(compile_view(tagged(view), runner).tables)]
        taken = self._whole(view, runner, WAIT_S if timeout_s is None else timeout_s)
        with file.writing() as connection:
            for name in names:
                put_rows(connection, name, [(one.told.tables[name], list(one.partitions)) for one in taken])
            show(connection, view.name, compile_view(view, runner).rows)
        return {tp: position for one in taken for tp, position in one.partitions.items()}

    def _whole(self, view: View, runner: str, timeout_s: float) -> list[Taken]:
        """What is told of all partitions, each once."""
        wanted = self._wanted(runner)
        deadline_s, pause = self._environment.monotonic_s() + timeout_s, threading.Event()
        while True:
            left_s = deadline_s - self._environment.monotonic_s()
            taken = self._taken(runner, max(AGAIN_S, min(left_s, ANSWER_S)), rows=True)
            found = {tp: position for one in taken for tp, position in one.partitions.items()}
            with self._lock:
                least = {tp: self._least.get((runner, tp), 0) for tp in wanted}
            late = sorted(tp for tp in wanted if tp not in found or found[tp] < least[tp])
            if wanted and not late:
                self._remember(runner, found)
                return taken
            if left_s <= 0:
                what = ", ".join(map(str, late)) or "its topic"
                raise Unavailable(
                    f"view {view.name}: nobody on this machine tells {what}, or not yet: who was given a partition "
                    f"reads it first; {self._advice}"
                )
            pause.wait(AGAIN_S)

    def _wanted(self, runner: str) -> set[TopicPartition]:
        """All partitions of the topics that a view is read from."""
        topics = self._log.topics(self._topics[runner])
        return {TopicPartition(one.name, p) for one in topics.values() for p in range(one.partitions)}

    def _sources(self, runner: str, taken: Sequence[Taken]) -> dict[TopicPartition, int]:
        """How far the sources of a view with a topic of its own were read, as every partition of that says."""
        said: dict[TopicPartition, dict[int, int]] = {}
        for one in taken:
            mine = {tp.partition for tp in one.partitions}
            for at, topic, partition, position in one.told.marks:
                if at in mine:
                    said.setdefault(TopicPartition(topic, partition), {})[at] = position
        wanted = {tp.partition for tp in self._wanted(runner)}
        return {tp: min(by.values()) for tp, by in said.items() if by.keys() == wanted}

    def _taken(self, runner: str, timeout_s: float, *, rows: bool) -> list[Taken]:
        """For each partition that is told, what tells most of it."""
        request, told = Part(self._views[runner].name, runner, rows), list[tuple[str, Told]]()
        for path in self._paths():
            try:
                told.append((path, ask_now(path, request, Told, timeout_s)))
            except Unavailable:
                continue  # whoever it is has nothing to tell yet, or no more
        best: dict[TopicPartition, tuple[int, int]] = {}
        for i, (_, one) in enumerate(told):
            for topic, partition, position in one.positions:
                tp = TopicPartition(topic, partition)
                best[tp] = max(best.get(tp, (-1, -1)), (position, i))
        return [
            Taken(path, one, {tp: position for tp, (position, owner) in best.items() if owner == i})
            for i, (path, one) in enumerate(told)
        ]

    def _paths(self) -> list[str]:
        """The files of processes that there are, or have been."""
        stem = Path(self._path.removesuffix(".duckdb"))
        there = set(glob(f"{escape(str(stem))}.*.duckdb"))
        return [path for path in files_beside(self._path) if path in there]

    def _remember(self, runner: str, found: Positions) -> None:
        with self._lock:
            for tp, position in found.items():
                self._least[runner, tp] = max(position, self._least.get((runner, tp), 0))


class SharedLetters:
    """As `FarLetters`, of several processes. Arguments: parts: of each, and the partitions that it tells."""

    def __init__(self, parts: Sequence[tuple[FarLetters, frozenset[TopicPartition]]]) -> None:
        self._parts = parts
        self.group: str = parts[0][0].group

    def held(self) -> list[HeldRecord]:
        found = [
            row
            for letters, partitions in self._parts
            for row in letters.held()
            if TopicPartition(row.topic, row.partition) in partitions
        ]
        return sorted(found, key=lambda row: (row.topic, row.partition, row.record_offset))

    def audit(self) -> list[Audit]:
        return sorted((one for letters, _ in self._parts for one in letters.audit()), key=lambda one: one.at)

    def outcome(self, id: str) -> Audit | None:
        return next((found for letters, _ in self._parts if (found := letters.outcome(id)) is not None), None)

    def ask(self, wanted: Asked) -> None:
        """Raises: Unavailable: nobody has its partition now."""
        tp = TopicPartition(wanted.topic, wanted.partition)
        for letters, partitions in self._parts:
            if tp in partitions:
                letters.ask(wanted)
                return
        raise Unavailable(f"no process on this machine has {tp} now: ask again")

    def notes(self) -> list[RunnerNote]:
        return [note for letters, _ in self._parts for note in letters.notes()]


def _asked(path: str, request: wire.Asked, kind: Any) -> Any:
    return ask_now(path, request, kind, ANSWER_S)
