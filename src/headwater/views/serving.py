"""Questions from other processes: the process that has the file of views answers them at a socket on this machine.

    other process ─► socket ─► positions, notes, a held record, or a question (see `asking`) ─► answer or error

The socket's name follows from the file's, so nobody has to be told it; only the same user can reach it. The owner of
the file is the only one who listens there, so a socket that a dead process has left is replaced.
"""

from __future__ import annotations

import hashlib
import os
import socket
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.failures.held import tables_of
from headwater.log.port import TopicPartition
from headwater.stores.port import Answer, Key, RunnerNote, TableSchema
from headwater.views.changes import packable
from headwater.views.following import Steps
from headwater.views.following_far import SPARE_S, RemoteSteps, tell_steps
from headwater.views.letters import FarLetters
from headwater.views.moments import Moment
from headwater.views.places import is_store
from headwater.views.shares import Told as Parted
from headwater.views.values_sent import sendable
from headwater.views.versions import Shown
from headwater.views.wire import (
    Asked,
    Change,
    Follow,
    Held,
    Notes,
    OfLetters,
    Operate,
    Part,
    PastQuestion,
    Positions,
    Question,
    Request,
    Told,
    answered,
    read,
    refused,
    understood,
    write,
)
from headwater.views.wishes import Copy, Outcome, Wish

R = TypeVar("R")
T = TypeVar("T")
CONNECT_S, AGAIN_S = 2.0, 0.02


class Serving:
    """Answers other processes. Arguments: path: of the file of views; store: how far a view is, by its name; ask:
    carries out a question; follow: begins to follow one; change: does what operators ask of versions, and of the
    file; part: what it has of a view that is shared."""

    def __init__(
        self,
        path: str,
        store: Callable[[str], Shown],
        ask: Callable[[str, Sequence[object], float | None, Moment | None], Answer],
        follow: Callable[[str, Sequence[object], float | None], Steps],
        change: Callable[[Wish | Copy], Outcome],
        part: Callable[[Part], Parted],
    ) -> None:
        self._path = socket_of(path)
        self._path.unlink(missing_ok=True)

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                request = read(self.rfile)
                if request is None:
                    return
                found = understood(request)
                if isinstance(found, Follow):
                    with suppress(OSError):  # the other side has gone: nobody is there to be told
                        tell_steps(found, follow, self.rfile, self.wfile)
                else:
                    write(self.wfile, told(found, store, ask, change, part))

        self._server = socketserver.ThreadingUnixStreamServer(str(self._path), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="views-serving", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server.shutdown()
        self._server.server_close()


def told(
    found: Request | Misuse,
    store: Callable[[str], Shown],
    ask: Callable[[str, Sequence[object], float | None, Moment | None], Answer],
    change: Callable[[Wish | Copy], Outcome],
    part: Callable[[Part], Parted],
) -> bytes:
    """What is answered to a request."""
    try:
        value: Any
        if isinstance(found, Misuse):
            raise found
        if isinstance(found, Question):
            moment = found.moment if isinstance(found, PastQuestion) else None
            answer = ask(found.sql, found.arguments, found.timeout_s, moment)
            value = [answer.columns, [[sendable(one) for one in row] for row in answer]]
        elif isinstance(found, Part):
            value = part(found)
        elif isinstance(found, Change):
            value = change(found.wish)
        elif isinstance(found, Positions):
            value = [(*tp, position) for tp, position in store(found.view).positions(found.view).items()]
        elif isinstance(found, Notes):
            value = store(found.view).notes(found.view)
        elif isinstance(found, OfLetters):
            value = store(found.view).letters.told(found)
        elif isinstance(found, Operate):
            store(found.view).letters.ask(found.wanted)
            value = None
        else:
            row = store(found.view).row(tables_of(found.view).held, found.key)
            value = [] if row is None else [row]
        return msgspec.msgpack.encode(Told(value))
    except HeadwaterError as error:
        return refused(error)


class RemoteViews:
    """The views' file as another process sees it: how far readers are, and answers to questions.

    Arguments: path: of the file; runners: of the views, as they are declared here -> view; advice: what to do where
    nobody answers.
    """

    def __init__(self, path: str, runners: Mapping[str, str], advice: str) -> None:
        self._path, self._advice, self._views = path, advice, dict(runners)
        self._held = {tables_of(runner).held.name: view for runner, view in runners.items()}

    def positions(self, runner: str) -> dict[TopicPartition, int]:
        """See `Store.positions`. Raises: Unavailable: nobody has the file."""
        rows = self._ask(Positions(self._views[runner]), list[tuple[str, int, int]])
        return {TopicPartition(topic, partition): position for topic, partition, position in rows}

    def notes(self, runner: str) -> list[RunnerNote]:
        """See `Store.notes`."""
        return self._ask(Notes(self._views[runner]), list[RunnerNote])

    def row(self, table: TableSchema[R], key: Key) -> R | None:
        """Only of the records that a view's reader has set aside."""
        rows = self._ask(Held(self._held[table.name], (key[0], key[1], key[2])), list[Any])
        return msgspec.convert(rows[0], table.row) if rows else None

    def letters(self, runner: str) -> FarLetters:
        """What the reader of a view has set aside. Raises: Unavailable: nobody has the file."""
        return FarLetters(self._ask, self._views[runner])

    def answer(self, sql: str, arguments: Sequence[object], timeout_s: float | None) -> Answer:
        """Has a question answered. Raises: Misuse, Unavailable."""
        question = Question(sql, list(packable(arguments)), timeout_s)
        columns, rows = self._ask(question, tuple[tuple[str, ...], list[tuple[Any, ...]]], timeout_s)
        return Answer(columns, iter(rows))

    def past_answer(self, sql: str, arguments: Sequence[object], timeout_s: float | None, moment: Moment) -> Answer:
        """As `answer`, from the history that views keep."""
        positions = None
        if moment.positions is not None:
            positions = [(view, *tp, at) for view, each in moment.positions.items() for tp, at in each.items()]
        times = moment.as_of, moment.known_at
        question = PastQuestion(sql, list(packable(arguments)), timeout_s, *times, positions)
        columns, rows = self._ask(question, tuple[tuple[str, ...], list[tuple[Any, ...]]], timeout_s)
        return Answer(columns, iter(rows))

    def follow(self, sql: str, arguments: Sequence[object], timeout_s: float | None) -> RemoteSteps:
        """Begins to follow a question. Raises: Unavailable: nobody has the file."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect(connection)
        except OSError as error:
            connection.close()
            raise self._nobody() from error
        return RemoteSteps(connection, Follow(sql, packable(arguments), timeout_s))

    def change(self, wish: Wish | Copy) -> Outcome:
        """Has something done with the versions of a view. Raises: Misuse. Unavailable: also where nobody has the
        file."""
        return self._ask(Change(wish), Outcome, None)

    def _nobody(self) -> Unavailable:
        return Unavailable(f"no process on this machine has the views in {self._path}; {self._advice}")

    def _connect(self, connection: socket.socket) -> None:
        """Raises: OSError: nobody has listened for two seconds: who is about to begin needs a moment."""
        connection.settimeout(CONNECT_S)
        name, deadline_s, pause = str(socket_of(self._path)), time.monotonic() + CONNECT_S, threading.Event()
        while True:
            try:
                connection.connect(name)
                return
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline_s:
                    raise
            pause.wait(AGAIN_S)

    def _ask(self, request: Asked, kind: type[T], timeout_s: float | None = 0.0) -> T:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                self._connect(connection)
                found = exchanged(connection, request, None if timeout_s is None else timeout_s + SPARE_S)
            except TimeoutError as error:
                raise Unavailable(
                    f"the process that has the views in {self._path} is there and does not answer"
                ) from error
            except OSError as error:
                raise self._nobody() from error
        return cast(T, answered(found, kind))


class Absent(Unavailable):
    """Nobody listens, or who listens does not answer in time."""


class Silent(Absent):
    """Who listens does not answer in time."""


def ask_now(path: str, request: Asked, kind: type[T], timeout_s: float) -> T:
    """Asks the process that has a file, if there is one. Raises: Absent: there is none, or it does not answer in
    `timeout_s`, in seconds (Silent). Misuse, Unavailable: what it has raised."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(timeout_s)
            connection.connect(str(socket_of(path)))
            found = exchanged(connection, request, timeout_s)
        except TimeoutError as error:
            raise Silent(f"the process that has {path} does not answer: {error}") from error
        except OSError as error:
            raise Absent(f"no process on this machine has {path}, or it does not answer: {error}") from error
    if found is None:
        raise Absent(f"the process that had {path} has ended")
    return cast(T, answered(found, kind))


def exchanged(connection: socket.socket, request: Asked, timeout_s: float | None) -> bytes | None:
    """The answer to a request; None: the other side has gone. Raises: OSError."""
    connection.settimeout(timeout_s)
    with connection.makefile("rwb") as stream:
        write(stream, msgspec.msgpack.encode(request))
        stream.flush()
        return read(stream)


def socket_of(path: str) -> Path:
    """The name of the socket that belongs to a file, in a directory that only this user can enter."""
    directory = Path(tempfile.gettempdir()) / f"headwater-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Unavailable(f"{directory} can be entered by others: remove it, it is made again")
    known_as = path if is_store(path) else str(Path(path).resolve())
    name = hashlib.blake2b(known_as.encode(), digest_size=12).hexdigest()
    return directory / f"{name}.views"
