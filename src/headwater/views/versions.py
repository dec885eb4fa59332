"""Which versions of views a file holds, and which of them queries find.

    (new statement) ─► beside ─► shown ─► before ─► (dropped)
                          ^─────────┴───────^

A version is what a statement comes to over the events as the code knows them; its name is a fingerprint of that. Each
has its own reader, tables, positions and dead letters, named after it, so versions are maintained beside each other,
and to let queries find another one is to change what a name means: at one moment, while nobody commits, and never to
rows of an earlier position than the name has shown.

A version that is made by itself, because a process declares it, is shown as soon as it is as far as the one that is
shown; one that an operator asked for waits for a word. The one before is kept until it is dropped, or until the next
one takes its place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Sequence
from typing import Literal, TypeVar

import duckdb
import msgspec

from headwater.failures.held import tables_of
from headwater.log.port import Positions, TopicPartition
from headwater.stores.port import Key, RunnerNote, TableSchema
from headwater.stores.switching import Behind
from headwater.views.file import ViewFile
from headwater.views.file_tables import BookkeepingTable, stored_positions
from headwater.views.letters import Letters
from headwater.views.types import quoted

logger = logging.getLogger("headwater.views")

R = TypeVar("R")
State = Literal["shown", "beside", "before"]


class Version(msgspec.Struct, frozen=True):
    """A version of a view.

    Arguments: view: its name; runner: of its reader, which names all that it keeps; code: the fingerprint; sources: the
    texts that it was planned from, its own statement among them; rows: SELECT of its rows; state; at_word: whether it
    waits for an operator's word to be shown.
    """

    view: str
    runner: str
    code: str
    sources: tuple[str, ...]
    rows: str
    state: State = "beside"
    at_word: bool = False


class Versions:
    """Of the process that has the file. Thread-safe. `switches`: how many there were in this process."""

    def __init__(self, file: ViewFile) -> None:
        self.switches = 0
        self._file, self._lock = file.beside(), threading.RLock()
        self._all, self._read_here = dict[str, Version](), set[str]()
        self._read()
        self._file.on_reading_anew(self._read)
        with self._file.writing() as connection:
            connection.execute("DELETE FROM hw.workers")  # the file had no process until now: what they said is past

    def _read(self) -> None:
        with self._file.aside() as connection:
            self._all = {one.runner: one for one in stored_versions(connection)}

    def of(self, view: str) -> list[Version]:
        """The versions of a view, those that came into their state longest ago first."""
        return [one for one in list(self._all.values()) if one.view == view]

    def read_for(self, runner: str) -> bool:
        """Whether a version has had a reader in this process."""
        return runner in self._read_here

    def in_state(self, view: str, state: State) -> Version | None:
        """The version of a view that is shown, is beside, or was shown before; None: there is none."""
        return next((one for one in reversed(self.of(view)) if one.state == state), None)

    def declare(self, version: Version) -> None:
        """Makes a version known that is read for from now on: as one beside, or shown if the view has no other."""
        with self._lock:
            self._read_here.add(version.runner)
            if version.runner in self._all:
                return
            shown = self.in_state(version.view, "shown")
            if shown is not None:
                logger.info("view %s has changed: it is made anew beside the rows of before", version.view)
            self._write([msgspec.structs.replace(version, state="beside" if shown else "shown")])

    def made(self, runner: str) -> None:
        """Lets queries find a version by its view's name, if that shows it. Called when its tables are there."""
        with self._lock, self._file.writing() as connection:
            version = self._all[runner]
            if version.state == "shown":
                show(connection, version.view, version.rows)

    def look(self, runner: str) -> None:
        """Shows a version that waits for nothing but to be as far as the one that is shown."""
        version = self._all.get(runner)
        if version is None or version.state != "beside" or version.at_word:
            return
        shown = self.in_state(version.view, "shown")
        if shown is None or not behind(self._file.positions(shown.runner), self._file.positions(runner)):
            try:
                self.switch(runner)
            except Behind:  # the other one has moved on since
                return
            logger.info("queries find the new rows of view %s", version.view)

    def switch(self, runner: str) -> None:
        """Lets queries find another version of a view. The one that they found is kept.

        Raises: Behind: it is not as far.
        """
        with self._lock, self._file.gate.closed():
            version = self._all[runner]
            shown = self.in_state(version.view, "shown")
            back = version.state == "before"
            changed = [msgspec.structs.replace(version, state="shown", at_word=False)]
            if shown is not None:  # after a way back it is shown again at a word only
                changed.append(msgspec.structs.replace(shown, state="beside" if back else "before", at_word=back))
            with self._file.writing() as connection:
                if shown is not None:
                    before, after = (stored_positions(connection, one) for one in (shown.runner, runner))
                    refuse_behind(version.view, before, after)
                write(connection, changed)
                show(connection, version.view, version.rows)
            self._keep(changed)
            self.switches += 1

    def superseded(self, view: str) -> list[Version]:
        """What is kept of a view, but for the version that was shown last before this one."""
        return [one for one in self.of(view) if one.state == "before"][:-1]

    def unfinished(self, view: str) -> list[Version]:
        """What was begun of a view because a process declared it, and was never shown."""
        return [one for one in self.of(view) if one.state == "beside" and not one.at_word]

    def drop(self, runner: str) -> None:
        """Forgets a version that is not shown, with all that it keeps. Its reader has ended."""
        with self._lock:
            with self._file.writing() as connection:
                connection.execute("DELETE FROM hw.versions WHERE runner = ?", [runner])
            self._all.pop(runner)
            self._read_here.discard(runner)
            self._file.forget(runner)

    def keep(self, runners: Collection[str]) -> None:
        """Forgets all versions but those of these readers."""
        for runner in [one for one in self._all if one not in runners]:
            self.drop(runner)

    def _write(self, changed: Sequence[Version]) -> None:
        with self._file.writing() as connection:
            write(connection, changed)
        self._keep(changed)

    def _keep(self, changed: Sequence[Version]) -> None:
        for one in changed:
            self._all.pop(one.runner, None)
            self._all[one.runner] = one


class Shown:
    """How far a view is: the version of it that queries find, whichever that is. As `Watched`.

    Arguments: file, versions; view; runner: of its version that is declared here.
    """

    def __init__(self, file: ViewFile, versions: Versions, view: str, runner: str) -> None:
        self._file, self._versions, self._view, self._runner = file, versions, view, runner

    def _shown(self) -> str:
        shown = self._versions.in_state(self._view, "shown")
        return self._runner if shown is None else shown.runner

    @property
    def letters(self) -> Letters:
        """What its reader has set aside."""
        shown = self._shown()
        if shown == self._runner or self._versions.read_for(shown):
            return Letters(self._file, shown)
        return Letters(
            self._file,
            shown,
            f"nobody works on the rows that queries find of {self._view} any more: they were made of another statement "
            "or by other classes, and are made anew, with all their events; wait until queries find the new rows (hw "
            f"rebuild {self._view} --status), and then look which dead letters these have",
        )

    def positions(self, runner: str) -> dict[TopicPartition, int]:
        return self._file.positions(self._shown())

    def notes(self, runner: str) -> list[RunnerNote]:
        """Of who maintains the rows that are shown; where nobody can, of who makes those that will be."""
        return self._file.notes(self._shown()) or self._file.notes(self._runner)

    def row(self, table: TableSchema[R], key: Key) -> R | None:
        """Of a record that was set aside."""
        held = BookkeepingTable(tables_of(self._shown()).held)
        with self._file.aside() as connection:
            return held.load(connection, [key]).get(key)


def stored_versions(connection: duckdb.DuckDBPyConnection) -> list[Version]:
    """The versions that a file holds, those that were shown longest ago first."""
    rows = connection.execute(
        "SELECT view, runner, code, sources, rows, state, at_word FROM hw.versions ORDER BY nth"
    ).fetchall()
    return [
        Version(view, runner, code, tuple(msgspec.json.decode(sources)), select, state, at_word)
        for view, runner, code, sources, select, state, at_word in rows
    ]


def write(connection: duckdb.DuckDBPyConnection, changed: Sequence[Version]) -> None:
    for one in changed:
        connection.execute("DELETE FROM hw.versions WHERE runner = ?", [one.runner])
        sources = msgspec.json.encode(one.sources).decode()
        connection.execute(
            "INSERT INTO hw.versions SELECT ?, ?, ?, ?, ?, ?, ?, coalesce(max(nth), 0) + 1 FROM hw.versions",
            [one.view, one.runner, one.code, sources, one.rows, one.state, one.at_word],
        )


def show(connection: duckdb.DuckDBPyConnection, view: str, rows: str) -> None:
    """Lets queries find these rows by a view's name."""
    connection.execute(f"CREATE OR REPLACE VIEW {quoted(view)} AS {rows}")


def behind(shown: Positions, other: Positions) -> TopicPartition | None:
    """A partition in which one version is not as far as another; None: there is none."""
    return next((tp for tp, position in shown.items() if other.get(tp, 0) < position), None)


def refuse_behind(view: str, shown: Positions, other: Positions) -> None:
    """Raises: Behind."""
    tp = behind(shown, other)
    if tp is not None:
        raise Behind(
            f"{view} shows the rows of position {shown[tp]} of {tp}, and those that are to be shown have come to "
            f"{other.get(tp, 0)}"
        )
