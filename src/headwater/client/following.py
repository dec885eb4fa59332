"""Following a question to views: its steps, whoever has the views at the time, from a position on.

    position ─► the answer then (see `past_views`) ─┐
    the first answer of whoever has the views ──────┴─► the difference is the first step ─► each later step as told

What the follower was told so far is kept here, so that it goes on where it was when the process that has the views is
gone and another one has them: what that one answers first is compared with it, once it is as far as the last step was.
So positions only go forward. Nothing is read ahead: a step is asked for when the one before it was taken.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

from headwater.errors import Unavailable
from headwater.log.port import TopicPartition
from headwater.projections.waiting import reached
from headwater.stores.port import Answer
from headwater.stores.typed import rows_as
from headwater.views.changes import Change, Changes, Known, Step, position_text

if TYPE_CHECKING:
    from headwater.client.views import Views
    from headwater.views.following import Steps

T = TypeVar("T")

WAIT_S = 0.5
"""How long one look waits for a change; so soon a follower that is told to end does so."""

AGAIN_S = 0.1


class Following(Generic[T]):
    """Arguments: views; sql, arguments; into: what a row becomes; since: the
    text of a position, None: all of the first answer is new; timeout_s: for each answer, and how long nobody may have
    the views; most: records to read again for `since`."""

    def __init__(
        self,
        views: Views,
        sql: str,
        arguments: Sequence[object],
        into: type[T],
        since: str | None,
        timeout_s: float,
        most: int,
    ) -> None:
        self._views, self._log, self._environment = views, views.log, views.environment
        self._sql, self._arguments, self._into, self._timeout_s = sql, arguments, into, timeout_s
        self._known, self._first = Known(), since is None
        self._behind: Known | None = Known()
        self._told: dict[str, dict[TopicPartition, int]] = {}
        self._steps: Steps | None = None
        if since is not None:
            self._known = Known(views.past.answer(sql, arguments, since, timeout_s, most))
            self._told = views.past.positions(sql, since)
        self._away_s: float | None = None

    def look(self) -> Changes[T] | None:
        """The next step; None: there is none yet. Blocks for half a second, or as long as an answer takes.

        Raises: Misuse: it cannot be followed. Unavailable: nobody has had the views for `timeout_s`.
        """
        begun_s = self._environment.monotonic_s()
        try:
            if self._steps is None:
                self._steps = self._views.follow(self._sql, self._arguments, self._timeout_s)
            step = self._steps.next(WAIT_S)
        except Unavailable:
            self.close()
            if self._away_s is None:  # how long it was not asked for does not count
                self._away_s = begun_s
            if self._environment.monotonic_s() - self._away_s >= self._timeout_s:
                raise
            threading.Event().wait(AGAIN_S)
            return None
        self._away_s = None
        return None if step is None else self._taken(step)

    def close(self) -> None:
        """What is told next, if it goes on, is a whole answer again."""
        self._behind = Known()
        if self._steps is not None:
            self._steps.close()
            self._steps = None

    def _taken(self, step: Step) -> Changes[T] | None:
        positions = step.by_view()
        if self._behind is None:
            changes = self._known.add(step.changes)
        else:
            self._behind.add(step.changes)
            if not all(reached(positions.get(view, {}), told) for view, told in self._told.items()):
                return None
            changes = self._known.become(self._behind)
            self._behind = None
        self._told = positions
        first, self._first = self._first, False
        if not changes and not first:
            return None
        rows = rows_as(Answer(step.columns, (one.row for one in changes)), self._into)
        told = [Change(row, one.weight) for row, one in zip(rows, changes, strict=True)]
        whole = {view: self._log_positions(view) | found for view, found in positions.items()}
        return Changes(told, position_text(whole, self._log.id))

    def _log_positions(self, view: str) -> dict[TopicPartition, int]:
        """A view has no position where it has read nothing yet."""
        names = [topic.name for topic in self._views.model_of(view).topics]
        topics = self._log.topics(names)
        return {TopicPartition(one.name, p): 0 for one in topics.values() for p in range(one.partitions)}


def steps_of(following: Following[T]) -> Iterator[Changes[T]]:
    """Each step as it comes, for ever."""
    try:
        while True:
            found = following.look()
            if found is not None:
                yield found
    finally:
        following.close()


async def steps_awaited(begin: Callable[[], Following[T]]) -> AsyncIterator[Changes[T]]:
    """As `steps_of`. All that blocks is done by one thread of its own."""
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1, thread_name_prefix="views-following")
    try:
        following = await loop.run_in_executor(thread, begin)
        try:
            while True:
                found = await loop.run_in_executor(thread, following.look)
                if found is not None:
                    yield found
        finally:
            thread.submit(following.close)
    finally:
        thread.shutdown(wait=False)  # it comes to its end by itself, and the event loop does not wait for it
