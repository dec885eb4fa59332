"""Loading a file of commands or events, a JSON object per line, each at most once.

Lines have ids (see `importing_lines`), so a file that is imported again, or whose import was killed, doubles nothing,
whatever happened to its entities since. One that was changed is another file.

    a line                              becomes                                  where the import stops
    cannot be read; its handler fails   set aside, and later ones of its entity  set aside, and all later ones
    is refused                          set aside, the others go on              set aside, and all later ones
    has nobody who carries it out       tried again, in pauses                   the same

What is set aside is in a file, in order, so nothing is skipped: corrected, it is imported as any other. Lines that were
sent when an earlier one failed are carried out (`in_flight`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from headwater.client.receipts import Appending, Receipt, Sending
from headwater.client.shop import Shop
from headwater.environment import SYSTEM, Environment
from headwater.errors import BadData, Conflict, Failed, HeadwaterError, Misuse, NotFound, Unavailable, Unknown
from headwater.messages.rejection import Rejected
from headwater.operations.importing_lines import BadLine, ImportFile, Line, LineReader, Place
from headwater.readers.loop import FIRST_PAUSE_S, LAST_PAUSE_S, with_jitter

SetAside = Callable[[BadLine], None]


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the lines. `repeated`: imported before; `blank`: nothing in them."""

    imported: int = 0
    repeated: int = 0
    rejected: int = 0
    blank: int = 0

    @property
    def lines(self) -> int:
        return self.imported + self.repeated + self.rejected + self.blank


class Import:
    """One import. Order is kept per entity.

    Arguments: in_flight: how many lines may be without an answer; timeout_s: to wait for each, and for somebody who
    carries them out to come back; stops: whether it stops at the first line that cannot be
    imported; set_aside: is given
    the lines that could not be imported; progress: is told how far it is.
    """

    def __init__(
        self,
        shop: Shop,
        file: ImportFile,
        reader: LineReader,
        *,
        in_flight: int,
        timeout_s: float,
        set_aside: SetAside,
        stops: bool = False,
        progress: Callable[[Tally], None] = lambda tally: None,
        environment: Environment = SYSTEM,
    ) -> None:
        self._shop, self._file, self._reader = shop, file, reader
        self._in_flight, self._timeout_s, self._stops = in_flight, timeout_s, stops
        self._set_aside, self._progress, self._environment = set_aside, progress, environment
        self._held: dict[Place | None, int] = {}
        self._first: int | None = None
        self._lines = file.lines()
        self._unanswered: deque[Line] = deque()
        self.tally = Tally()

    def run(self) -> Tally:
        """Raises: Unavailable, Unknown: the import came to a stop; doing it again goes on where it stopped."""
        pause_s, pause = FIRST_PAUSE_S, threading.Event()
        moved_s = self._environment.monotonic_s()
        while True:
            before = self.tally
            try:
                self._run()
                return self.tally
            except (Unavailable, Unknown):
                now_s = self._environment.monotonic_s()
                if self.tally != before:
                    moved_s, pause_s = now_s, FIRST_PAUSE_S
                if not self.tally.lines or now_s - moved_s > self._timeout_s:  # nobody was there, or comes back
                    raise
            pause.wait(with_jitter(pause_s, self._environment))
            pause_s = min(2 * pause_s, LAST_PAUSE_S)

    def _run(self) -> None:
        """Goes on. What was sent before without an answer is sent again, and recognised if it was carried out."""
        again, self._unanswered = self._unanswered, deque()
        items = self._items(again)
        for outcome in self._shop.send_many(items, in_flight=self._in_flight, timeout_s=self._timeout_s):
            line = self._unanswered[0]
            if isinstance(outcome, Receipt):
                self._count("repeated" if outcome.duplicate else "imported")
            elif isinstance(outcome, Rejected | Conflict | NotFound):
                self._reject(line, outcome, holds=False)
            elif isinstance(outcome, Misuse | Failed | BadData):
                self._reject(line, outcome)
            else:
                self._unanswered.extend(again)
                raise outcome
            self._unanswered.popleft()

    def _items(self, again: deque[Line]) -> Iterator[Sending | Appending]:
        while again:
            self._unanswered.append(again.popleft())
            yield self._reader.read(self._unanswered[-1])
        for line in self._lines:
            item = self._item(line)
            if item is not None:
                yield item

    def _item(self, line: Line) -> Sending | Appending | None:
        if not line.raw:
            self._count("blank")
            return None
        first = self._waits_for(line)
        if first is not None:
            self._reject(line, Misuse(f"it waits for line {first}, which could not be imported"), holds=False)
            return None
        try:
            item = self._reader.read(line)
        except Misuse as error:
            self._reject(line, error)
            return None
        self._unanswered.append(line)
        return item

    def _waits_for(self, line: Line) -> int | None:
        """The number of a line that was set aside and comes first."""
        if self._first is not None and self._stops:
            return self._first
        return self._held.get(self._reader.place(line)) if self._held else None

    def _reject(self, line: Line, error: HeadwaterError, holds: bool = True) -> None:
        """Arguments: holds: whether later lines of its entity wait for it."""
        kind = error.name if isinstance(error, Rejected) else type(error).__name__
        self._set_aside(BadLine(line, kind, str(error)))
        self._first = self._first or line.number
        place = self._reader.place(line) if holds else None
        if place is not None:
            self._held.setdefault(place, line.number)
        self._count("rejected")

    def _count(self, what: str) -> None:
        self.tally = replace(self.tally, **{what: getattr(self.tally, what) + 1})
        self._progress(self.tally)
