"""Whether a rebuild gets on: seen from a thread of its own, since the one that builds may be kept by what it waits for.

the builder ─► tell(progress) ─┐
every second ──────────────────┴─► show(progress, since when it stands, what it waits for) ─► 20 s: an alert
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import NamedTuple

from headwater.environment import Environment
from headwater.operations.rebuild_building import Progress
from headwater.readers.progress import STALLED_S
from headwater.readers.whereabouts import at_work_on

LOOK_S = 1.0

STANDS_S = 2.0
"""A batch may take so long without a word about it."""

ALERT = "headwater_rebuild_stuck"


class Look(NamedTuple):
    """A rebuild at a moment. Arguments: progress: None: it has not begun to read; since: when it came so far (UTC), and
    waits_for: what its thread is at, in words; both None: it gets on."""

    progress: Progress | None
    since: datetime | None = None
    waits_for: str | None = None


class Watching:
    """Looks at the thread that made it, as a context manager, and tells every second what it sees.

    Arguments: title: of the read model; places: by the beginning of a module's name what is waited for in it; show: is
    told, by one thread at a time; environment: the clock, and where the alert goes.
    """

    def __init__(
        self, title: str, places: Mapping[str, str], show: Callable[[Look], None], environment: Environment
    ) -> None:
        self._title, self._places, self._show, self._environment = title, places, show, environment
        self._thread = threading.get_ident()
        self._progress: Progress | None = None
        self._since, self._since_s = environment.now(), environment.monotonic_s()
        self._stuck = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._looking = threading.Thread(target=self._look_on, name="rebuild-progress", daemon=True)

    @property
    def waits_for(self) -> str:
        """What the thread is at, in words."""
        return at_work_on(self._thread, self._places)

    def __enter__(self) -> Watching:
        self._looking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._looking.join()
        self._alert(None)

    def tell(self, progress: Progress) -> None:
        """The builder has come so far."""
        with self._lock:
            if self._progress is None or progress.done != self._progress.done:
                self._since, self._since_s = self._environment.now(), self._environment.monotonic_s()
            self._progress = progress
            self._show(Look(progress))

    def look(self) -> None:
        """Looks once."""
        with self._lock:
            stands_s = self._environment.monotonic_s() - self._since_s
            if stands_s < STANDS_S:
                self._show(Look(self._progress))
            else:
                self._show(Look(self._progress, self._since, self.waits_for))
            if stands_s <= STALLED_S:
                self._alert(None)
            elif not self._stuck:
                text = f"the rebuild of {self._title} has not got on for more than {STALLED_S:g} s; it waits for "
                self._alert(text + self.waits_for)

    def _look_on(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.look()

    def _alert(self, text: str | None) -> None:
        self._stuck = text is not None
        self._environment.telemetry.alert(ALERT, {"read_model": self._title}, text)
