"""How a verb that goes on until it is told to stop is told, and ends for certain.

    first SIGINT or SIGTERM ─► `stop` is set, the work ends in order ─► not within `within_s`: why is told, exit code 3
    second                  ─► exit code 130, at once

Python runs a signal's handler in the main thread, between two of its steps: never while that thread is in a handler of
a user's, or waits for a store, that does not come back. So the interpreter also writes the number of each signal to a
socket (`signal.set_wakeup_fd`), and a thread of its own attends to it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from headwater.cli.ending import INTERRUPTED, WAITING, told

SIGNALS = (signal.SIGINT, signal.SIGTERM)

CURSOR_SHOWN = "\x1b[?25h"


@contextmanager
def stop_signal(within_s: float, late: Callable[[], None]) -> Iterator[threading.Event]:
    """Set by Ctrl-C and SIGTERM, which do nothing else meanwhile. What is in the context has to end after that.

    Arguments: within_s: how long it may take; late: tells why it has not ended, from another thread, before the process
    is ended. It must not wait.
    """
    stop = threading.Event()
    written, read = socket.socketpair()
    written.setblocking(False)  # as the interpreter wants it
    # What they do is done by the thread below; but only of signals that have a handler is anything written.
    before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    others = signal.set_wakeup_fd(written.fileno())
    attending = threading.Thread(target=_attend, args=(read, stop, within_s, late), name="signals", daemon=True)
    attending.start()
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(others)
        for number, handler in before.items():
            signal.signal(number, handler)
        written.close()
        attending.join()
        read.close()


def _attend(signals: socket.socket, stop: threading.Event, within_s: float, late: Callable[[], None]) -> None:
    """Until the other end is closed."""
    until_s: float | None = None
    while True:
        signals.settimeout(None if until_s is None else max(0.001, until_s - time.monotonic()))
        try:
            number = signals.recv(1)
        except TimeoutError:
            late()
            _end(WAITING)
        if not number:
            return
        if number[0] not in SIGNALS:
            continue
        if until_s is not None:
            told("error: interrupted before it had ended")
            _end(INTERRUPTED)
        until_s = time.monotonic() + within_s
        stop.set()


def _end(code: int) -> NoReturn:
    """Ends the process where some thread does not end, perhaps the main one. There is no orderly way: no exception can
    be raised in a thread that is in a call, and `sys.exit` here would end this thread only. As by `kill -9` nothing is
    lost: positions are committed with what they stand for."""
    terminal = sys.__stderr__  # what has taken its place while there is a bar lets no codes through
    if terminal is not None and terminal.isatty():
        print(CURSOR_SHOWN, end="", file=terminal, flush=True)  # a bar hides it
    os._exit(code)
