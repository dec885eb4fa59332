"""Following a question of another process: for each step that is asked for, one message there and one back."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import cast

import msgspec

from headwater.errors import HeadwaterError, Unavailable
from headwater.views.changes import Step, Weighted, packable
from headwater.views.following import Steps
from headwater.views.wire import Follow, Next, Readable, Told, Writable, answered, read, refused, write

SPARE_S = 10.0
"""How much longer than its own limit an answer may take to come."""


def tell_steps(
    request: Follow,
    follow: Callable[[str, Sequence[object], float | None], Steps],
    incoming: Readable,
    outgoing: Writable,
) -> None:
    """Tells a step whenever one is asked for, until the other side goes, or there is an error."""
    try:
        with closing(follow(request.sql, request.arguments, request.timeout_s)) as steps:
            while (asked := read(incoming)) is not None:
                step = steps.next(msgspec.msgpack.decode(asked, type=Next).wait_s)
                if step is not None:
                    step.changes = [Weighted(one.weight, tuple(packable(one.row))) for one in step.changes]
                write(outgoing, msgspec.msgpack.encode(Told(step)))
    except HeadwaterError as error:
        write(outgoing, refused(error))


class RemoteSteps:
    """`Steps` of another process. Arguments: connection: to it; request: what begins it."""

    def __init__(self, connection: socket.socket, request: Follow) -> None:
        self._connection, self._timeout_s = connection, request.timeout_s
        self._stream = connection.makefile("rwb")
        write(self._stream, msgspec.msgpack.encode(request))

    def next(self, wait_s: float) -> Step | None:
        """See `Steps.next`."""
        timeout_s = None if self._timeout_s is None else self._timeout_s + wait_s + SPARE_S
        try:
            self._connection.settimeout(timeout_s)
            write(self._stream, msgspec.msgpack.encode(Next(wait_s)))
            self._stream.flush()
            found = read(self._stream)
        except OSError as error:
            raise Unavailable(f"the process that has the views does not answer: {error}") from error
        return cast("Step | None", answered(found, Step | None))

    def close(self) -> None:
        with suppress(OSError):  # what was not sent is of no use now
            self._stream.close()
        self._connection.close()
