"""Scenarios of what reads events: processes, which answer with commands, and projections, which keep rows. Made by
`given`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from headwater.errors import Misuse
from headwater.messages.declare import Command, Event
from headwater.processes.declare import Process
from headwater.projections.declare import Projection
from headwater.testing.comparing import differences, field_differences, listed, shown
from headwater.testing.playing import PlayedProcess, PlayedProjection
from headwater.testing.stage import Stage, Stopped
from headwater.testing.telling import Story, told
from headwater.testing.writing import Happened, happened_of

P = TypeVar("P", bound=Projection)


class ProcessScenario:
    """What a process sends when it hears of events."""

    def __init__(self, process: type[Process], given: Sequence[Happened], stage: Stage) -> None:
        __tracebackhide__ = True
        self._story, self._stage = Story(process.__name__, given), stage
        self._played = PlayedProcess(process, stage)
        self._sent: list[Command] | None = None
        self._stopped: Stopped | None = None
        try:
            self._played.tell(given)
        except Stopped as stopped:
            self._story.fail("events that it can react to", str(stopped))

    def when(self, *events: Event | tuple[Event, datetime]) -> Self:
        """These happen. Say next what it must send.

        Raises: AssertionError: it stopped at an earlier event and the test did not say so.
        """
        __tracebackhide__ = True
        self._running("a process that goes on")
        happened = [happened_of(event) for event in events]
        self._story.when(", then ".join(told(one) for one in happened))
        try:
            self._sent = self._played.tell(happened)
        except Stopped as stopped:
            self._stopped, self._sent = stopped, []
        self._stage.asked(self, self._story.text)
        return self

    def sends(self, *expected: Command | type[Command]) -> Self:
        """It answered with exactly these commands, in order; a class stands for any command of it."""
        __tracebackhide__ = True
        wanted = listed("command", expected)
        came = self._answered()
        self._running(wanted)
        found = differences("command", expected, came)
        if found:
            self._story.fail(wanted, listed("command", came), found)
        return self

    def nothing(self) -> Self:
        """It sent nothing."""
        __tracebackhide__ = True
        return self.sends()

    def fails(self, *, saying: str = "") -> Self:
        """It stopped at an event, for a reason whose text contains `saying`."""
        __tracebackhide__ = True
        came = self._answered()
        if self._stopped is None or saying not in str(self._stopped):
            wanted = "a reaction that fails" + (f", saying {saying!r}" if saying else "")
            self._story.fail(wanted, str(self._stopped or listed("command", came)))
        return self

    def state(self, key: str | None = None, /, **fields: object) -> Self:
        """The state of one run now has these values in these fields. Arguments: key: which run, as text (None: the
        one that changed last)."""
        __tracebackhide__ = True
        self._stage.answered(self)
        wanted = "a state with " + ", ".join(f"{name}={value!r}" for name, value in fields.items())
        self._running(wanted)
        found = self._played.state(key)
        if found is None:
            self._story.fail(wanted, "no state")
        lines = field_differences(fields, found)
        if lines:
            self._story.fail(wanted, shown(found), lines)
        return self

    def _answered(self) -> list[Command]:
        if self._sent is None:
            raise Misuse("nothing happened yet: write .when(an event) before this")
        self._stage.answered(self)
        return self._sent

    def _running(self, wanted: str) -> None:
        __tracebackhide__ = True
        if self._stopped is not None:
            self._story.fail(wanted, f"none: it stopped: {self._stopped}")


class ProjectionScenario(Generic[P]):
    """Which rows events lead to."""

    def __init__(
        self, projection: type[P], given: Sequence[Happened], beside: Sequence[type[Projection]], stage: Stage
    ) -> None:
        self._story, self._stage, self._projection = Story(projection.__name__, given), stage, projection
        self._played: PlayedProjection[P] = PlayedProjection(projection, beside, stage)
        self._stopped: Stopped | None = None
        self._apply(given)

    def when(self, *events: Event | tuple[Event, datetime]) -> Self:
        """These happen next, in a batch of their own."""
        __tracebackhide__ = True
        self._running("a projection that goes on")
        happened = [happened_of(event) for event in events]
        self._story.when(", then ".join(told(one) for one in happened))
        self._apply(happened)
        return self

    def rows(self, *expected: P) -> Self:
        """These are all rows, in any order."""
        __tracebackhide__ = True
        wanted = listed("row", expected)
        came = {self._key(row): row for row in self._rows(wanted)}
        lines: list[str] = []
        for row in expected:
            found = came.pop(self._key(row), None)
            if found is None:
                lines.append(f"{shown(row)} is missing")
            elif found != row:
                values = {name: getattr(row, name) for name in row.__struct_fields__}
                lines += [f"row {self._named(self._key(row))}, {line}" for line in field_differences(values, found)]
        lines += [f"{shown(row)} was not expected" for row in came.values()]
        if lines:
            self._story.fail(wanted, listed("row", self._rows(wanted)), lines)
        return self

    def row(self, *key: Any, **fields: object) -> Self:
        """The row with this key has these values in these columns."""
        __tracebackhide__ = True
        wanted = f"a row {self._named(key)} with " + ", ".join(f"{name}={value!r}" for name, value in fields.items())
        rows = self._rows(wanted)
        found = next((row for row in rows if self._key(row) == key), None)
        if found is None:
            self._story.fail(wanted, listed("row", rows))
        lines = field_differences(fields, found)
        if lines:
            self._story.fail(wanted, shown(found), lines)
        return self

    def no_row(self, *key: Any) -> Self:
        """There is no row with this key."""
        __tracebackhide__ = True
        wanted = f"no row {self._named(key)}"
        found = next((row for row in self._rows(wanted) if self._key(row) == key), None)
        if found is not None:
            self._story.fail(wanted, shown(found))
        return self

    def fails(self, *, saying: str = "") -> Self:
        """It stopped at an event, for a reason whose text contains `saying`."""
        __tracebackhide__ = True
        self._stage.answered(self)
        if self._stopped is None or saying not in str(self._stopped):
            wanted = "a reaction that fails" + (f", saying {saying!r}" if saying else "")
            self._story.fail(wanted, str(self._stopped or listed("row", self._played.rows())))
        return self

    def _apply(self, happened: Sequence[Happened]) -> None:
        try:
            self._played.apply(happened)
        except Stopped as stopped:
            self._stopped = stopped
        self._stage.asked(self, self._story.text)

    def _rows(self, wanted: str) -> list[P]:
        __tracebackhide__ = True
        self._stage.answered(self)
        self._running(wanted)
        return self._played.rows()

    def _running(self, wanted: str) -> None:
        __tracebackhide__ = True
        if self._stopped is not None:
            self._story.fail(wanted, f"none: it stopped: {self._stopped}")

    def _key(self, row: P) -> tuple[Any, ...]:
        return tuple(getattr(row, name) for name in self._projection.__hw__.key_fields)

    def _named(self, key: tuple[Any, ...]) -> str:
        return ", ".join(map(repr, key))
