"""The command line, `headwater` or `hw`: a thin face, a file per verb.

What is typed comes in here; what a verb finds out goes to standard output as a table or JSON; what goes wrong
goes to standard error as one line, with the command to type next. Nothing of the library is imported before a
verb needs it, so `hw --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

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
        code = hw.main(list(words) or ["--help"], prog_name="hw", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 -- the outermost: nothing goes unsaid, as a line
        verb = next((word for word in words if word in VERBS), None)
        return ended_by(error, verb, debug="--debug" in words)
    if not words:
        return USAGE
    return code if isinstance(code, int) else 0
