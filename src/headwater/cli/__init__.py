"""The command line, `headwater` or `hw`: a thin face, a file per verb.

What is typed comes in here; what a verb finds out goes to standard output as a table or JSON; what goes wrong
goes to standard error as one line, with the command to type next. Nothing of the library is imported before a
verb needs it, so `hw --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from headwater.cli.ending import USAGE, ended_by
from headwater.cli.streams import take_streams
from headwater.cli.verbs import VERBS, hw


def main() -> None:
    """The entry point of `headwater` and `hw`."""
    take_streams()
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Runs a command line and returns its exit code; prints what went wrong. Arguments: words: after `hw`."""
    try:
        _check_texts(words)
        code = hw.main(list(words) or ["--help"], prog_name="hw", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 -- the outermost: nothing goes unsaid, as a line
        verb = next((word for word in words if word in VERBS), None)
        return ended_by(error, verb, debug="--debug" in words)
    if not words:
        return USAGE
    return code if isinstance(code, int) else 0


def _check_texts(words: Sequence[str]) -> None:
    """Raises: click.UsageError: one is no text. Bytes that are none come in as lone surrogates, and are no id."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raw = word.encode(errors="surrogateescape")
            raise click.UsageError(f"{raw!r} is no text: these bytes are no UTF-8") from error
