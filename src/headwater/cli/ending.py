"""How a verb ends: which exit code an error has, the line it is told in, and the command to type next.

Errors come out of verbs as they were raised. A verb that knows what its user should type next says so with
`then`; the rest follows from the kind of error. A traceback is only for `--debug`.
"""

from __future__ import annotations

import shlex
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import click

from headwater.cli.streams import NobodyReads, OutputLost, drop_output
from headwater.errors import (
    BadData,
    Conflict,
    Failed,
    HeadwaterError,
    Misuse,
    NotFound,
    NotYet,
    Unavailable,
    Unknown,
)

X = TypeVar("X", bound=BaseException)

OK, REFUSED, USAGE, WAITING, BAD, FAULT, INTERRUPTED = 0, 1, 2, 3, 4, 70, 130

CODES = {
    OK: "done",
    REFUSED: "refused: rejected by the app, no such entity, or another version than expected; of doctor: a fault; of "
    "schema check: not compatible or not registered",
    USAGE: "usage: what was typed, or what the program declares, can never work",
    WAITING: "unavailable: something does not run, does not answer or is late; trying again may help",
    BAD: "bad data, or a handler that failed; of an import: rows were rejected",
    FAULT: "a fault of headwater itself; --debug shows where",
    INTERRUPTED: "interrupted",
}

NEXT = "next: "
ALSO = "also: "
"""How a note on an error begins that belongs into its line."""

TYPED = "headwater.typed"

CODE = "    "
"""How a line of code begins in a message."""

_CODES: tuple[tuple[tuple[type[BaseException], ...], int], ...] = (
    ((Conflict, NotFound), REFUSED),
    ((Misuse, click.UsageError), USAGE),
    ((Unavailable, Unknown, NotYet, OutputLost), WAITING),
    ((BadData, Failed), BAD),
    ((KeyboardInterrupt, click.Abort), INTERRUPTED),
)


def advised(error: X, command: str) -> X:
    """The error, with the command to type next (unless it has one already)."""
    if next_of(error) is None:
        error.add_note(NEXT + command)
    return error


def next_of(error: BaseException) -> str | None:
    """The command that was noted on an error."""
    for note in getattr(error, "__notes__", ()):
        if note.startswith(NEXT):
            return str(note).removeprefix(NEXT)
    return None


@contextmanager
def then(kind: type[BaseException] | tuple[type[BaseException], ...], command: str) -> Iterator[None]:
    """Notes the command to type next on errors of a kind that pass; the innermost note counts."""
    try:
        yield
    except kind as error:
        advised(error, command)
        raise


class Remembered(click.Command):
    """Knows what was typed, for `again`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[TYPED] = list(args)
        return super().parse_args(ctx, args)


def again() -> str:
    """The command line of a `Remembered` command, to be typed again with something added."""
    ctx = click.get_current_context()
    return f"{ctx.command_path} {shlex.join(ctx.meta[TYPED])}"


def ended_by(error: BaseException, verb: str | None, *, debug: bool) -> int:
    """Tells an error on standard error and returns its exit code. Arguments: verb: the one that was typed."""
    if isinstance(error, NobodyReads | OutputLost):
        drop_output()
    if isinstance(error, NobodyReads):
        return OK
    if debug:
        told("".join(traceback.format_exception(error)).rstrip())
    code = code_of(error)
    told(f"error: {line_of(error, code)}")
    command = next_of(error) or _usual_next(error, verb, code)
    if command is not None:
        told(f"{NEXT}{command}")
    return code


def told(line: str) -> None:
    """Writes a line to standard error. Where nobody reads that either, there is nobody to tell."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def code_of(error: BaseException) -> int:
    for kinds, code in _CODES:
        if isinstance(error, kinds):
            return code
    if isinstance(error, HeadwaterError):
        from headwater.messages.rejection import Rejected  # only now: it brings the library with it

        return REFUSED if isinstance(error, Rejected) else WAITING
    return FAULT


def line_of(error: BaseException, code: int) -> str:
    """What happened, on one line; lines of code to write (indented by four spaces) stay lines."""
    if isinstance(error, click.ClickException):
        text = error.format_message()
    elif code == INTERRUPTED:
        text = "interrupted"
    elif code == FAULT:
        text = f"{type(error).__name__}: {error}; this is a fault of headwater, --debug shows where"
    else:
        text = str(error).partition("; start one with: ")[0]  # `next:` says the same, ready to be typed
        name = getattr(error, "name", None)
        if code == REFUSED and isinstance(name, str):
            text = f"{name}: {text}"
    also = [note.removeprefix(ALSO) for note in getattr(error, "__notes__", ()) if note.startswith(ALSO)]
    lines = "; ".join([text, *also]).splitlines()
    code_lines = "\n".join(line.rstrip() for line in lines if line.startswith(CODE))
    plain = " ".join(" ".join(line for line in lines if not line.startswith(CODE)).split())
    return f"{plain}\n{code_lines}" if code_lines else plain


def _usual_next(error: BaseException, verb: str | None, code: int) -> str | None:
    if code == INTERRUPTED or isinstance(error, OutputLost):
        return None
    if isinstance(error, NotYet):
        return "hw lag"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.ctx.command_path} --help"  # also of a verb's own verbs
    return "hw --help" if verb is None else f"hw {verb} --help"
