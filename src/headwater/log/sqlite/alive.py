"""Whether the process of a member is still there: the system knows it at once, without waiting for a heartbeat.

    <log's file>-alive-<token>   made by a handle with its first member, and locked by it as long as it is there
    member's id                  <name>-<token>.<number>

The system takes the lock away with the process, however that ends. So who can lock the file knows that its members are
gone, and need not wait for their session time-out, which is for processes that stand still. Where nothing can be
found out (the file is not there, or belongs to another user), the session decides alone.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from contextlib import suppress
from typing import IO

from headwater.environment import Environment
from headwater.errors import Unavailable


class Alive:
    """The sign of life of one handle, with its first member. Thread-safe.

    Arguments: path: of the log's file; environment: makes the token.
    """

    def __init__(self, path: str, environment: Environment) -> None:
        self._path, self._environment = path, environment
        self._lock = threading.Lock()
        self._token = ""
        self._file: IO[bytes] | None = None
        self._closed = False
        self._members = 0

    def member_id(self, name: str) -> str:
        """The id of a new member. Raises: Unavailable: the file cannot be made."""
        with self._lock:
            if self._file is None and not self._closed:
                self._file = self._made()
            self._members += 1
            return f"{name}-{self._token}.{self._members}"

    def _made(self) -> IO[bytes]:
        self._token = self._environment.new_id()
        place = _place(self._path, self._token)
        try:
            made = open(place, "xb")  # noqa: SIM115 -- it stays open as long as the handle
            fcntl.flock(made, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unavailable(f"{place} cannot be made or locked, beside the log: {error}") from error
        return made

    def close(self) -> None:
        """Once its members have left."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                remove(self._path, self._token)
                self._file.close()
                self._file = None


def teach(connection: sqlite3.Connection, path: str) -> None:
    """Gives a connection to a log the function `gone(member)`: 1 where its process is known to be gone."""
    connection.create_function("gone", 1, lambda member: is_gone(path, member))


def is_gone(path: str, member: str) -> bool:
    """Whether the process that had this member is known to be gone."""
    token = token_of(member)
    if token is None:
        return False
    try:
        file = os.open(_place(path, token), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def token_of(member: str) -> str | None:
    """What the members of one handle have in common; None: the id says none."""
    handle, dot, number = member.rpartition(".")
    return handle[-36:] if dot and number.isdecimal() and len(handle) > 36 else None


def remove(path: str, token: str) -> None:
    """Takes the file of a handle away that has no members any more; one that may not be taken away stays there: it says
    nothing about anybody."""
    with suppress(OSError):
        os.unlink(_place(path, token))


def _place(path: str, token: str) -> str:
    return f"{path}-alive-{token}"
