"""The standard streams, as whoever called us left them: closed, a pipe that nobody reads any more, a full disk.

What goes wrong with standard output is told apart from what goes wrong with files here, at the one place where it
is written. Otherwise click and rich would end the program on their own when a pipe breaks.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any, TextIO, cast

ESCAPED = "headwater.escaped"
"""The name under which Python knows `_escaped`."""


class NobodyReads(Exception):
    """Whoever read our output has seen enough."""


class OutputLost(Exception):
    """Standard output takes nothing; what was asked for may have been done."""

    def __init__(self, error: OSError) -> None:
        why = error.strerror or str(error)
        super().__init__(f"standard output cannot be written: {why}; what was asked for may have been done")


class Output:
    """Standard output. Raises: NobodyReads, OutputLost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise _in_our_words(error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise _in_our_words(error) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def take_streams() -> None:
    """Makes the standard streams fit to be used, in a process of our own."""
    _open_what_is_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error(ESCAPED, _escaped)
        sys.stdout.reconfigure(errors=ESCAPED)
    sys.stdout = cast(TextIO, Output(sys.stdout))


def drop_output() -> None:
    """What is still to be written must not fail when the program ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_what_is_closed() -> None:
    """A stream that our caller closed goes nowhere. Else the next file that is opened, such as the log's, would
    stand in its place, and Python would have None there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 -- open as long as the program
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 -- as above
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 -- as above


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""What standard output has no character for, as JSON writes it: `\u00fc`. Python's own `\xfc` would be no JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


def _in_our_words(error: OSError) -> Exception:
    return NobodyReads() if isinstance(error, BrokenPipeError) else OutputLost(error)
