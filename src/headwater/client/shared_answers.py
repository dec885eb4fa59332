"""Questions to views that processes share: answered over all partitions, and followed.

    how far each process is, asked often ─► something is new ─► the question over all of them ─► the difference

Each answer is made of every partition, and none is of an earlier position of one than the answer before (see
`shared_views`): so steps only lead forward, also while partitions go from one process to another. An answer costs what
the views hold; so long as it took, who follows rests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from headwater.client.shared_views import SharedViews
from headwater.environment import Environment
from headwater.errors import Misuse, Unavailable
from headwater.stores.port import Answer
from headwater.views.asking import answer
from headwater.views.changes import Known, Step
from headwater.views.file import MEMORY, ViewFile
from headwater.views.following import FOLLOWED_ROWS, Steps, too_many_rows

if TYPE_CHECKING:
    from headwater.client.views import Views
    from headwater.views.runner import ViewRunner

LOOK_S = 0.1
"""How often the processes are asked how far they are."""

At = list[tuple[str, str, int, int]]
"""Of which positions an answer is: view, topic, partition, next offset."""


class SharedAnswers:
    """Arguments: views: those of the app; sharing: those that are shared; closed: is set when the app ends."""

    def __init__(self, views: Views, sharing: SharedViews, closed: threading.Event, environment: Environment) -> None:
        self._views, self._sharing, self._closed, self._environment = views, sharing, closed, environment

    def answer(self, sql: str, arguments: Sequence[object], timeout_s: float | None) -> Answer:
        """Carries out a question, in memory. Raises: as `Views.answer`; Misuse: not all of its views are shared."""
        return self._answer_at(sql, arguments, timeout_s)[0]

    def follow(self, sql: str, arguments: Sequence[object], timeout_s: float | None) -> Steps:
        """Begins to follow a question. Raises: as `answer`; Misuse: one of its views joins."""
        needed = self._needed(sql)
        for runner in needed.values():
            if runner.repartition is not None:
                raise Misuse(
                    f"view {runner.view.name} is shared and joins: its rows are of no one position of its topics, so "
                    "it is asked as it is now, and not followed"
                )
        return SharedSteps(
            lambda: tuple(self._sharing.stands(runner.runner) for runner in needed.values()),
            lambda: self._answer_at(sql, arguments, timeout_s),
            self._closed,
            self._environment,
        )

    def _answer_at(self, sql: str, arguments: Sequence[object], timeout_s: float | None) -> tuple[Answer, At]:
        with closing(ViewFile(MEMORY)) as file:
            positions: At = []
            for name, runner in self._needed(sql).items():
                found = self._sharing.put(file, runner.runner, timeout_s)
                positions += [(name, *tp, position) for tp, position in found.items()]
            with file.aside() as connection:
                self._views.prepare(connection, sql)
                rows = answer(connection, sql, arguments, timeout_s)
                return Answer(rows.columns, iter(list(rows))), positions

    def _needed(self, sql: str) -> dict[str, ViewRunner]:
        needed = self._views.needed(sql)
        for runner in needed.values():
            if not runner.view.shared:
                raise Misuse(
                    f"view {runner.view.name} is not shared and another one here is: ask them one after the other, or "
                    "share both"
                )
        return needed


class SharedSteps:
    """See `headwater.views.following.Steps`. Belongs to one thread at a time.

    Arguments: stands: how far all processes are, other whenever an answer may be; answer: that of now; closed: is set
    when the app ends.
    """

    def __init__(
        self,
        stands: Callable[[], Hashable],
        answer: Callable[[], tuple[Answer, At]],
        closed: threading.Event,
        environment: Environment,
    ) -> None:
        self._stands, self._answer, self._closed, self._environment = stands, answer, closed, environment
        self._known, self._rested_s = Known(), 0.0
        self._stood: Hashable | None = None

    def next(self, wait_s: float) -> Step | None:
        stands = self._wait(wait_s)
        if stands is None:
            return None
        begun_s = self._environment.monotonic_s()
        found, positions = self._answer()
        rows = list(found)
        if len(rows) > FOLLOWED_ROWS:
            raise too_many_rows()
        ended_s = self._environment.monotonic_s()
        self._rested_s = ended_s + (ended_s - begun_s)
        self._stood = stands
        return Step(tuple(found.columns), positions, self._known.become(Known(rows)))

    def close(self) -> None:
        """Nothing is kept for it elsewhere."""

    def _wait(self, wait_s: float) -> Hashable | None:
        """How far all are, once that is other than before the last step; None: it is not, by then."""
        until_s = self._environment.monotonic_s() + wait_s
        while True:
            if self._closed.is_set():
                raise Unavailable("the app has ended, and with it what followed its views")
            now_s = self._environment.monotonic_s()
            if now_s >= self._rested_s and (stands := self._stands()) != self._stood:
                return stands
            if now_s >= until_s:
                return None
            self._closed.wait(min(LOOK_S, until_s - now_s))
