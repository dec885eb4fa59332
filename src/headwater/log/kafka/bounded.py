"""Calls of the client that may never come back, with a time limit of our own.

librdkafka sends a transaction's positions through the group's coordinator as it remembers it. When that broker dies and
leaves the cluster's metadata at the wrong moment, the client waits for it for ever and looks at no limit that it
was given (librdkafka #5456 and #5511, seen with 2.16.0). Such a call cannot be interrupted, only left behind: in a
thread of its own, with a producer that nobody uses any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class _Call:
    """One call and what came of it."""

    __slots__ = ("done", "error", "what")

    def __init__(self, what: Callable[[], None]) -> None:
        self.what = what
        self.done = threading.Event()
        self.error: BaseException | None = None


class Bounded:
    """Makes calls one after the other in a thread, which is left behind with a call that does not end.

    Arguments: name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[_Call | None] | None = None

    def call(
        self,
        what: Callable[[], None],
        gives_up: Callable[[float], bool],
        look_s: float = 1.0,
        meanwhile: Callable[[], None] | None = None,
    ) -> bool:
        """Makes a call. Returns whether it ended; raises what it raised.

        Arguments: gives_up: asked every `look_s` seconds, with the seconds since it is waited for; meanwhile: what the
        calling thread does before it waits; it must not raise.
        """
        if self._calls is None:
            self._calls = SimpleQueue()
            threading.Thread(target=_serve, args=(self._calls,), name=self._name, daemon=True).start()
        call = _Call(what)
        self._calls.put(call)
        if meanwhile is not None:
            meanwhile()
        looked = 0
        while not call.done.wait(look_s):
            looked += 1
            if gives_up(looked * look_s):
                self.close()
                return False
        if call.error is not None:
            raise call.error
        return True

    def ask(
        self,
        what: Callable[[], None],
        others_are_answered: Callable[[], bool],
        timeout_s: float,
        meanwhile: Callable[[], None],
    ) -> bool:
        """Makes a call to a coordinator. Returns whether it ended; raises what it raised.

        It is left behind when its time is over, and before that when the coordinator twice answers somebody else
        meanwhile. Arguments: meanwhile: as of `call`.
        """
        answered = 0

        def gives_up(waited_s: float) -> bool:
            nonlocal answered
            answered += others_are_answered()
            return answered >= 2 or waited_s >= timeout_s

        return self.call(what, gives_up, meanwhile=meanwhile)

    def close(self) -> None:
        """Lets the thread end, as soon as it can."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None


def _serve(calls: SimpleQueue[_Call | None]) -> None:
    while (call := calls.get()) is not None:
        try:
            call.what()
        except BaseException as error:  # noqa: BLE001 -- raised again where the call was asked for
            call.error = error
        call.done.set()
        del call  # it refers to the producer, which ends with its last reference
