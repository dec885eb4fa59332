"""How many of the auditor's planted bugs it finds now: what a run without violations is worth."""

from __future__ import annotations

from headwater.log.memory import MemoryLog
from tests.testing.audit.runs import a_run
from tests.testing.audit.test_planted_bugs import BUGS


def planted_bugs() -> tuple[int, int]:
    """How many are reported as exactly the invariant that they break, and how many there are."""
    run = a_run(MemoryLog().again)
    found = sum({one.invariant for one in bug(run).audited()} == {invariant} for invariant, bug in BUGS)
    return found, len(BUGS)
