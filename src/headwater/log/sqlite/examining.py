"""The health of the file: whether it can be read, is written safely, has room, and who left without a word."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
from collections.abc import Iterator, Sequence

from headwater.log.findings import Finding, Level, or_fine
from headwater.log.port import TopicSpec
from headwater.log.sqlite import membership

ROOM_BYTES = 100_000_000
"""The write-ahead log alone may need two thirds of it (see `wal`)."""

_SYNCHRONOUS = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
_DAY_MS = 86_400_000


def examine(
    connection: sqlite3.Connection, path: str, specs: Sequence[TopicSpec], groups: Sequence[str], now_ms: int
) -> list[Finding]:
    """Arguments: connection: as the log opens it; now_ms: as heartbeats tell it. Raises: sqlite3.Error."""
    return [
        *or_fine(_damages(connection, path), "file", path, "every page and index is whole"),
        *or_fine(_unsafe(connection, path), "durability", path, "a commit is on the disk before it is confirmed"),
        *_room(path),
        *or_fine(_settings(connection, path, specs), "retention", path, f"right for {len(specs)} topics"),
        *or_fine(_left(connection, groups, now_ms), "leases", path, "no partition belongs to an owner that is gone"),
    ]


def _damages(connection: sqlite3.Connection, path: str) -> Iterator[Finding]:
    for (line,) in connection.execute("PRAGMA quick_check(10)"):
        if line != "ok":
            todo = f'a copy from before, or: sqlite3 {shlex.quote(path)} ".recover" | sqlite3 recovered.db'
            yield Finding("fault", "file", path, f"damaged: {' '.join(line.split())}", todo)


def _unsafe(connection: sqlite3.Connection, path: str) -> Iterator[Finding]:
    ((mode,),) = connection.execute("PRAGMA journal_mode").fetchall()
    ((level,),) = connection.execute("PRAGMA synchronous").fetchall()
    if mode != "wal":
        found = f"journal mode is {mode}, not wal: readers and writers of several processes stop each other"
        todo = "put the file on a disk of this machine (a network file system has no shared memory for WAL)"
        yield Finding("fault", "durability", path, found, todo)
    if level < 2:
        found = f"synchronous is {_SYNCHRONOUS[level]}: what was confirmed may be gone after a power cut"
        yield Finding("fault", "durability", path, found, "PRAGMA synchronous = FULL")


def _room(path: str) -> list[Finding]:
    directory = os.path.dirname(os.path.abspath(path))
    free = shutil.disk_usage(directory).free
    text = f"{free / 1e6:,.0f} MB are free"
    if free < ROOM_BYTES:
        found = f"{text}, fewer than {ROOM_BYTES / 1e6:,.0f}: soon nothing can be written"
        return [Finding("fault", "room", directory, found, f"make room on the disk of {directory}")]
    return [Finding("ok", "room", directory, text)]


def _settings(connection: sqlite3.Connection, path: str, specs: Sequence[TopicSpec]) -> Iterator[Finding]:
    """Topics that do not keep what they should."""
    # A process that has the file open knows the old settings until it ends.
    alter = f"stop what uses the file, then: sqlite3 {shlex.quote(path)}"
    question = "SELECT retention_ms, compacted, log_time FROM topics WHERE name = ?"
    for spec in specs:
        for kept_ms, compacted, log_time in connection.execute(question, [spec.name]).fetchall():
            where = f"topic {spec.name}"
            if bool(compacted) != spec.compacted:
                found = "only the latest record of each key is kept" if compacted else "old states are never removed"
                todo = "records lie elsewhere in the file: copy the topic into a new one that is made by `hw run`"
                yield Finding("fault", "retention", where, found, todo)
            elif kept_ms is not None and (spec.retention_ms is None or kept_ms < spec.retention_ms):
                wanted = "for ever" if spec.retention_ms is None else f"for {spec.retention_ms / _DAY_MS:g} d"
                found = f"records are deleted after {kept_ms / _DAY_MS:g} d; they must be kept {wanted}"
                level: Level = "fault" if spec.retention_ms is None else "warning"
                value = "NULL" if spec.retention_ms is None else spec.retention_ms
                change = f"UPDATE topics SET retention_ms = {value} WHERE name = '{spec.name}'"
                yield Finding(level, "retention", where, found, f'{alter} "{change}"')
            elif bool(log_time) != spec.log_time:
                found = f"record times are the {'log' if log_time else 'writer'}'s clock, and should not be"
                change = f"UPDATE topics SET log_time = {int(spec.log_time)} WHERE name = '{spec.name}'"
                yield Finding("warning", "retention", where, found, f'{alter} "{change}"')


def _left(connection: sqlite3.Connection, groups: Sequence[str], now_ms: int) -> Iterator[Finding]:
    """Groups whose partitions belong to members that nobody heard of for their session time-out. Whoever reads
    takes them over by itself, so this lasts only where nobody reads."""
    living = set(connection.execute(membership.LIVING, (now_ms,)).fetchall())
    for group in groups:
        rows = connection.execute("SELECT slot, owner FROM leases WHERE name = ? AND owner IS NOT NULL", (group,))
        gone = [owner for _, owner in rows.fetchall() if (group, owner) not in living]
        if gone:
            found = f"{len(gone)} partition(s) belong to {', '.join(sorted(set(gone)))}, which ended without leaving"
            yield Finding("warning", "leases", f"group {group}", found, "hw run MODULE:APP takes them over")
