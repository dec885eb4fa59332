"""What is new in the file, and whom to wake: by commits of this process at once, by others' within milliseconds.

Commits of this process are published by whoever made them. Commits of other processes show in SQLite's
`data_version`, which costs a few microseconds to ask for and no lock; while somebody waits, it is asked for every
2 ms, and up to every 20 ms when nothing came for a while. There is no thread for it: the readers that wait do it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping

from headwater.log.sqlite.faults import explain
from headwater.log.sqlite.schema import File

_SHORTEST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.02
_LOOK_AGAIN_S = 0.005


class News:
    """The ends of all partitions, as far as this process knows. Thread-safe.

    Arguments: file: a connection of its own to it is for reading.
    """

    def __init__(self, file: File) -> None:
        self._path, self._connection = file.path, file.connect()
        self._asking, self._listening = threading.Lock(), threading.Lock()
        self._version = -1
        self._asked_s = self._heard_s = time.monotonic()
        self._listeners: dict[int, set[threading.Event]] = {}
        self._members: set[threading.Event] = set()
        self._closed = False
        self.firsts: dict[int, int] = {}
        self.nexts: dict[int, int] = {}
        self.group_changes = 0
        self.look(0)

    def listen(self, event: threading.Event, slots: Iterable[int], *, member: bool = False) -> None:
        """Sets this event at news of these slots (and of no others any more), and of groups for a member."""
        with self._listening:
            self._forget(event)
            for slot in slots:
                self._listeners.setdefault(slot, set()).add(event)
            if member:
                self._members.add(event)

    def ignore(self, event: threading.Event) -> None:
        """Never sets this event again."""
        with self._listening:
            self._forget(event)

    def _forget(self, event: threading.Event) -> None:
        self._members.discard(event)
        for events in self._listeners.values():
            events.discard(event)

    def publish(self, nexts: Mapping[int, int], firsts: Mapping[int, int] | None = None) -> None:
        """Makes known where partitions end (and begin) now, and wakes who reads them."""
        with self._listening:
            self.firsts.update(firsts or {})
            for slot, end in nexts.items():
                # Another thread may have published a later commit already.
                if end > self.nexts.get(slot, -1):
                    self.nexts[slot] = end
                    for event in self._listeners.get(slot, ()):
                        event.set()

    def publish_groups(self, changes: int) -> None:
        """Makes known that memberships or leases changed, and wakes the members."""
        with self._listening:
            if changes > self.group_changes:
                self.group_changes = changes
                for event in self._members:
                    event.set()

    def look(self, at_most_old_s: float = _LOOK_AGAIN_S) -> None:
        """Asks the file whether other processes committed, unless that was asked so short a time ago."""
        if time.monotonic() - self._asked_s < at_most_old_s:
            return
        if not self._asking.acquire(blocking=at_most_old_s == 0):
            return  # somebody else is asking
        try:
            if not self._closed:
                self._look()
        except sqlite3.Error as error:
            raise explain(error, self._path) from error
        finally:
            self._asking.release()

    def _look(self) -> None:
        self._asked_s = time.monotonic()
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        self._version = version
        rows = self._connection.execute("SELECT slot, first, next FROM counters").fetchall()
        (changes,) = self._connection.execute("SELECT group_changes FROM log").fetchone()
        if changes > self.group_changes or any(row[2] > self.nexts.get(row[0], -1) for row in rows):
            self._heard_s = self._asked_s  # commits of this process are known already, and no reason to ask often
        self.publish({row[0]: row[2] for row in rows}, {row[0]: row[1] for row in rows})
        self.publish_groups(changes)

    def wait(self, event: threading.Event, at_most_s: float) -> None:
        """Waits for the event, but no longer than until the file should be asked again; asks it then."""
        pause_s = (time.monotonic() - self._heard_s) / 20
        pause_s = min(max(pause_s, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
        if not event.wait(min(pause_s, at_most_s)):
            self.look(pause_s / 2)

    def close(self) -> None:
        with self._asking:
            self._closed = True
            self._connection.close()
