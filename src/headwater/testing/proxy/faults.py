"""Which requests something happens to, and what. No sockets: `server` asks here and carries it out.

A fault waits for requests of one API or any, of clients whose id contains a certain text, to one broker or to any. It
catches the next of them, or the next few, and keeps, drops or delays the request or its answer. Each fault tells
the test what it caught, and how the broker answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from headwater.testing.proxy.answers import error_of, with_error
from headwater.testing.proxy.protocol import Request


class Act(Enum):
    """What happens to a request that was caught, in the words of the log."""

    KEEP_REQUEST = "the request is kept back"
    KEEP_ANSWER = "its answer is kept back"
    DROP_ANSWER = "its answer is dropped"
    CHANGE_ANSWER = "it is carried out, and its answer says that it failed"
    REFUSE = "it is not carried out, and its answer says why not"


@dataclass(slots=True, eq=False)
class Fault:
    """Made by `Proxy`. Thread-safe.

    Arguments: act; api: the API's key, None: any; client: what the client's id contains; port: of the broker, None:
    any; times: how many requests it catches; cut: whether the client's connection is cut then; for_s: until when
    it keeps something (None: until `release`); note: takes lines of the log; error: the code that an answer says.
    """

    act: Act
    api: int | None
    client: str
    port: int | None
    times: float
    cut: bool
    for_s: float | None
    note: Callable[[str], None]
    error: int = 0
    caught: list[Request] = field(default_factory=list)
    answered: list[Request] = field(default_factory=list)
    errors: list[int | None] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _discarded: bool = False

    def release(self) -> None:
        """Lets go what is kept, and catches no more."""
        self.times = 0
        self._over.set()

    def discard(self) -> None:
        """Throws away what is kept, with its connection, and catches no more."""
        self._discarded = True
        self.release()

    def catches(self, request: Request, port: int) -> bool:
        """Whether it happens to this request to the broker at this port. Counts it if so; one thread at a time."""
        if len(self.caught) >= self.times or self.api not in (None, request.api) or self.port not in (None, port):
            return False
        if self.client not in request.client:
            return False
        self.note(f"{request}: {self.act.value}{', the connection is cut' if self.cut else ''}")
        self.caught.append(request)
        return True

    def kept(self, request: Request) -> bool:
        """Waits as long as something is to be kept. Returns whether it goes on its way then."""
        self._over.wait(self.for_s)
        self.note(f"{request}: {'thrown away' if self._discarded else 'let go'}")
        return not self._discarded

    def answer(self, request: Request, answer: bytes) -> None:
        """Takes note of what the broker answered to a request that was caught."""
        error = error_of(request, answer)
        self.note(f"{request}: answered{'' if error is None else f' with error code {error}'}")
        self.errors.append(error)
        self.answered.append(request)

    def changed(self, request: Request, answer: bytes) -> bytes:
        """What the client gets instead."""
        return with_error(request, answer, self.error) if self.act in (Act.CHANGE_ANSWER, Act.REFUSE) else answer


class Faults:
    """Those that wait for requests, the oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def of(self, request: Request, port: int) -> Fault | None:
        """What happens to a request to the broker at this port."""
        with self._lock:
            return next((fault for fault in self._faults if fault.catches(request, port)), None)

    def clear(self) -> None:
        """Discards them all."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.discard()
