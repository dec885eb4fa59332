"""What `hw run` tells of its parts: each trouble when it comes, and that it is over.

A part that could not reach the log runs again with its next attempt, and that says nothing yet: a client of Kafka waits
in silence for a broker that is still away. It is over once the part is given partitions, for that takes a broker. A
part that is given none, since other processes have them all, is believed after a while without a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.readers.status import Status

CALM_S = 30.0
"""Longer than any client waits in silence for a log that does not answer."""


class Troubles:
    """Arguments: tell: takes a line; clock: seconds, monotonic."""

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._tell, self._clock = tell, clock
        self._told: dict[str, tuple[str, str, Status]] = {}
        self._calm_since: dict[str, float] = {}

    def look(self, statuses: Sequence[Status]) -> None:
        """Tells what is new."""
        paused = {f"{status.name}, partition {p}" for status in statuses for p in status.paused}  # an alert tells it
        now = {part: trouble for part, trouble in troubles(statuses).items() if part not in paused}
        for part, trouble in now.items():
            self._calm_since.pop(part, None)
            if self._told.get(part) != trouble:
                state, text, _ = self._told[part] = trouble
                self._tell(f"{state}: {part}: {text}")
        for part in self._told.keys() - now.keys():
            if self._is_over(part):
                del self._told[part]
                self._tell(f"running: {part}: again")

    def _is_over(self, part: str) -> bool:
        *_, status = self._told[part]
        if status.state != "running":
            self._calm_since.pop(part, None)
            return False
        since = self._calm_since.setdefault(part, self._clock())
        over = bool(status.owned) or self._clock() - since >= CALM_S
        if over:
            del self._calm_since[part]
        return over


def troubles(statuses: Sequence[Status]) -> dict[str, tuple[str, str, Status]]:
    """Part -> (state, failure, its reader), of each part that does not run, and each partition that it has left."""
    found: dict[str, tuple[str, str, Status]] = {
        status.name: (status.state, " ".join(status.last_failure.split()), status)
        for status in statuses
        if status.last_failure is not None and status.state in ("retrying", "failed")
    }
    for status in statuses:
        for partition, text in sorted(status.stopped.items()):
            found[f"{status.name}, partition {partition}"] = ("stopped", " ".join(text.split()), status)
    return found
