"""What a process has of the partitions of a view that is not shared: without all of them it cannot answer for it.

A group shares the partitions out among all who read, also where each has a file of its own and so does not wait for the
other: two processes in different directories, or with different stores. Each would see its own part only, and one that
is given none would go on telling what it had before.

No member is told that it was given nothing, which is also how it is between two assignments. So the group is asked who
has what, for as long as nothing is owned and nothing is known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from headwater.errors import Unavailable
from headwater.log.port import GroupDescription, TopicPartition

logger = logging.getLogger("headwater.views")

ASKED_EVERY_S = 1.0
SURE_S = 8.0
"""So long others must have had all partitions: longer than a member's session, if nobody has set another one. So it is
nobody who was killed and is still believed to live, such as this process before it was started again."""


class EmptyHanded:
    """Whether others have all partitions, so that none is left for this process. Belongs to the reader's thread.

    Arguments: ask: for the group; now_s: a clock that never goes back.
    """

    def __init__(self, ask: Callable[[], GroupDescription], now_s: Callable[[], float]) -> None:
        self._ask, self._now_s = ask, now_s
        self._next_s: float | None = None
        self._since_s: float | None = None
        self.sure = False

    def look(self, owned: Collection[TopicPartition], wanted: Collection[TopicPartition]) -> None:
        """Arguments: owned: what this process has; wanted: all partitions."""
        if owned:
            self.sure, self._since_s, self._next_s = False, None, None
            return
        now_s = self._now_s()
        if self._next_s is None:
            self._next_s = now_s + ASKED_EVERY_S  # mostly it is given some by then
        if self.sure or now_s < self._next_s:
            return
        self._next_s = now_s + ASKED_EVERY_S
        try:
            members = self._ask().members.values()
        except Unavailable:
            self._since_s = None
            return  # who reads a log that is away says so by itself; it is asked again
        taken = {tp for partitions in members for tp in partitions}
        if not taken.issuperset(wanted) or all(members):  # this process is no member yet, or partitions are under way
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now_s
        self.sure = self._since_s is not None and now_s - self._since_s >= SURE_S


class Portion:
    """Belongs to the reader's thread; `notices` and `refuse` are for any.

    Arguments: view: its name; ask: for the group that reads it; now_s: a clock that never goes back.
    """

    def __init__(self, view: str, ask: Callable[[], GroupDescription], now_s: Callable[[], float]) -> None:
        self._view = view
        self._none = EmptyHanded(ask, now_s)
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
        self._none.look(owned, self._all)
        elsewhere = self._all.difference(owned)
        if not (owned or self._none.sure) or elsewhere == self._told:
            return
        self._told = elsewhere
        if not owned:
            text = (
                f"view {self._view} is not made here, since another process has {shown(elsewhere)}, and questions to "
                "it fail: ask that process, or stop it, or let them share the view, WITH (shared = true)"
            )
            logger.warning("%s", text)
        elif elsewhere:
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
        """Raises: Unavailable: another process maintains the view from all the partitions, or from a part of them, in
        its own file."""
        if not owned and self._none.sure:
            raise Unavailable(
                f"view {self._view} is maintained by another process, which has {shown(self._all)}, and what is kept "
                "here goes on no more: ask that process, or stop it, or let processes share the view, "
                "WITH (shared = true)"
            )
        if 0 < len(owned) < len(self._all):
            raise Unavailable(
                f"view {self._view} is maintained here from {len(owned)} of {len(self._all)} partitions, and "
                "elsewhere from the others: run the views of an app in one process, or let processes share it, "
                "WITH (shared = true)"
            )


def shown(partitions: Collection[TopicPartition]) -> str:
    return " ".join(map(str, sorted(partitions)))
