"""Clocks for processes that come one after the other: nobody waits until a dead one is taken for dead."""

from __future__ import annotations

from headwater.environment import System


class Ahead(System):
    """The machine's clock, and how far it is ahead of it, in seconds. A member of a log that was last seen by a clock
    behind this one has been silent for that long, so its session may be as long as no machine stands still."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        super().__init__()
        self.ahead_s = ahead_s

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s
