"""What a process has of the partitions of a view that is not shared: with some of them, it cannot answer for the view.

A group shares the partitions out among all who read, also where each has a file of its own and so does not wait for the
other: two processes in different directories, or with different stores. Each would see its own part only.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from headwater.errors import Unavailable
from headwater.log.port import TopicPartition

logger = logging.getLogger("headwater.views")


class Portion:
    """Belongs to the reader's thread; `notices` and `refuse` are for any. Arguments: view: its name."""

    def __init__(self, view: str) -> None:
        self._view = view
        self._all: frozenset[TopicPartition] = frozenset()
        self._told: frozenset[TopicPartition] = frozenset()
        """The partitions that others had when it was told last; none: nothing is amiss."""
        self.notices: list[str] = []
        """How it is, once it was amiss."""

    def opened(self, partitions: Collection[TopicPartition]) -> None:
        """Arguments: partitions: all that the view is made from."""
        self._all = frozenset(partitions)

    def look(self, owned: Collection[TopicPartition]) -> None:
        """Tells what has changed. Arguments: owned: what this process has; nothing: it is between two assignments, or
        there are more processes than partitions."""
        elsewhere = self._all.difference(owned)
        if not owned or elsewhere == self._told:
            return
        self._told = elsewhere
        if elsewhere:
            text = (
                f"view {self._view} is made here from {shown(self._all - elsewhere)} only, since another process has "
                f"{shown(elsewhere)}, and questions to it fail: stop the other process, or let them share the view, "
                "WITH (shared = true)"
            )
            logger.warning("%s", text)
        else:
            text = f"view {self._view} is made here from all of its {len(self._all)} partitions again"
            logger.info("%s", text)
        self.notices = [text]

    def refuse(self, owned: Collection[TopicPartition]) -> None:
        """Raises: Unavailable: another process maintains the view from a part of the partitions, in its own file."""
        if 0 < len(owned) < len(self._all):
            raise Unavailable(
                f"view {self._view} is maintained here from {len(owned)} of {len(self._all)} partitions, and "
                "elsewhere from the others: run the views of an app in one process, or let processes share it, "
                "WITH (shared = true)"
            )


def shown(partitions: Collection[TopicPartition]) -> str:
    return " ".join(map(str, sorted(partitions)))
