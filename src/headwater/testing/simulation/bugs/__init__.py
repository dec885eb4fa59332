"""Bugs of the kinds that a protocol like this one invites, each a rule of headwater's own code that is left out."""

from __future__ import annotations

from headwater.testing.simulation.bugs import owning, reading, renewing, transactions
from headwater.testing.simulation.bugs.planting import Bug

BUGS: dict[str, Bug] = {one.name: one for one in (*transactions.BUGS, *owning.BUGS, *reading.BUGS, *renewing.BUGS)}
"""By name."""
