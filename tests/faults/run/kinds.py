"""A kind of fault: what strikes and what heals it, in one."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from tests.faults.run.scene import Scene

Strike = Callable[[Scene, random.Random], AbstractContextManager[str]]
"""Entered it strikes, and says whom or what (Missed: what it waits for did not come); left it heals, except for owners
that are dead: who looks after them starts them again. All that it chooses it draws from the random generator."""


class Kind(NamedTuple):
    """Arguments: name: in logs and tables; strike; shortest_s, longest_s: how long it lasts once it has struck; disk:
    whether it needs the small disk."""

    name: str
    strike: Strike
    shortest_s: float = 0.0
    longest_s: float = 0.0
    disk: bool = False
