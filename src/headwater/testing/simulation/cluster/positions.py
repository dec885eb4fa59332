"""The committed positions of groups, with those that are pending in open transactions."""

from __future__ import annotations

from collections.abc import Mapping

Where = tuple[str, int]
At = tuple[int, str]
"""A position and the text that was committed with it."""


class Positions:
    """The positions of one group. Each commit has a number; a later one counts, whenever its mark is written."""

    def __init__(self) -> None:
        self._numbers = 0
        self._stands: dict[Where, tuple[int, At]] = {}
        self._pending: dict[int, dict[Where, tuple[int, At]]] = {}

    def commit(self, positions: Mapping[Where, At]) -> None:
        """Outside of a transaction."""
        self._numbers += 1
        for partition, at in positions.items():
            self._stands[partition] = self._numbers, at

    def commit_in(self, pid: int, positions: Mapping[Where, At]) -> None:
        """In a producer's transaction."""
        self._numbers += 1
        pending = self._pending.setdefault(pid, {})
        for partition, at in positions.items():
            pending[partition] = self._numbers, at

    def mark(self, pid: int, commit: bool) -> None:
        """The producer's transaction is ended here."""
        for partition, (number, at) in self._pending.pop(pid, {}).items():
            if commit and self._stands.get(partition, (0, at))[0] < number:
                self._stands[partition] = number, at

    def is_open(self, pid: int) -> bool:
        return pid in self._pending

    def unstable(self, partition: Where) -> bool:
        return any(partition in pending for pending in self._pending.values())

    def all(self) -> dict[Where, At]:
        return {partition: at for partition, (_, at) in sorted(self._stands.items())}
