"""What SQLite's errors mean to the caller. Every message names the file and what to do."""

from __future__ import annotations

import sqlite3

from headwater.errors import HeadwaterError, Misuse, Unavailable

_PRIMARY = 0xFF

_ADVICE = {
    sqlite3.SQLITE_BUSY: "another process held its write lock for too long: look for one that is stopped or hangs",
    sqlite3.SQLITE_PROTOCOL: "too many processes read and write it at once: try again",
    sqlite3.SQLITE_FULL: "the disk is full and nothing of this was written: make room, then try again",
    sqlite3.SQLITE_IOERR: "the disk failed and nothing of this was written: look into the system's journal",
    sqlite3.SQLITE_READONLY: "it cannot be written: look at the permissions of the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: look at the path and the permissions of its directory",
    sqlite3.SQLITE_PERM: "it cannot be opened: look at the permissions of the file and its directory",
    sqlite3.SQLITE_CORRUPT: "it is damaged: put back a copy; `sqlite3 FILE .recover` saves what can be read",
}


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection stands in the way, for now."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def explain(error: sqlite3.Error, path: str, waited_s: float | None = None) -> HeadwaterError:
    """The error that a caller of the log gets instead of this one.

    Arguments: waited_s: how long the write lock was waited for, where nothing is done before it is held.
    """
    code = _code(error)
    if isinstance(error, sqlite3.ProgrammingError):
        return Misuse(f"the log {path} was closed by this program, or given what cannot be stored ({error})")
    if code == sqlite3.SQLITE_NOTADB:
        return Misuse(f"{path} is not an SQLite database: give the path of a log, or of a file that is not there")
    if code == sqlite3.SQLITE_BUSY and waited_s is not None:
        return Unavailable(
            f"the log {path} cannot be written, another process held its write lock for {waited_s:g} s and nothing of "
            f"this was written: look for one that is stopped or hangs (SQLite says: {error})"
        )
    advice = _ADVICE.get(code)
    if advice is None:
        return Unavailable(f"the log {path} cannot be used: SQLite says {error}")
    return Unavailable(f"the log {path} cannot be used, {advice} (SQLite says: {error})")


def _code(error: sqlite3.Error) -> int:
    # Errors that the Python module itself raises carry no code.
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY
