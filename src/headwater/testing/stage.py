"""Where the scenarios of one test are played, and what is left of them when it ends.

A scenario runs in memory and in the test's own thread (`in_memory`), or from end to end on a real log
(`on_a_log`); what it does there is the same (`playing`). The stage has the test's clock, closes what its
scenarios opened, and knows which of their questions nobody looked at the answer of. The pytest plug-in sets
it; without one, a scenario makes its own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from contextvars import ContextVar
from typing import Protocol, TypeVar

from headwater.app import App
from headwater.client.read_models import ReadModels
from headwater.client.shop import Shop
from headwater.errors import HeadwaterError
from headwater.failures.held import tables_of
from headwater.log.port import Log
from headwater.log.topology import Topology
from headwater.services import Part, Services
from headwater.testing.clock import VirtualEnvironment

T = TypeVar("T")


class Stopped(HeadwaterError):
    """A part of the app stopped at something that it cannot do; the text says at what and why."""


class Performance(Protocol):
    """An app at work for one scenario: in this thread, or in threads of its own on a log."""

    @property
    def log(self) -> Log: ...
    @property
    def topology(self) -> Topology: ...
    @property
    def sender(self) -> Shop:
        """Its commands reach their owner as bytes."""
        ...

    @property
    def shop(self) -> Shop:
        """Reads the rows that the app makes."""
        ...

    def catch_up(self) -> None:
        """Has the app work until it has done everything that is in the log. Raises: Stopped."""
        ...


class Place(Protocol):
    """Where fresh logs come from, and stores for read models that nobody has used."""

    def fresh_log(self) -> Log:
        """Nobody has seen anything of it. Its user closes it."""
        ...

    def fresh_store(self) -> str:
        """Its address."""
        ...


class Stage:
    """Where the scenarios of one test are played.

    Arguments: place: for scenarios from end to end (None: in memory, in the test's thread); clock.
    """

    def __init__(self, place: Place | None = None, clock: VirtualEnvironment | None = None) -> None:
        self.place, self.clock = place, clock or VirtualEnvironment()
        self._open = ExitStack()
        self._unseen: dict[int, Callable[[], str]] = {}

    def perform(self, app: App, part: Part) -> Performance:
        """Has a part of an app work until the test ends."""
        if self.place is None:
            from headwater.testing.in_memory import InMemory

            return self.keep(InMemory(app, part, self.clock))
        from headwater.testing.on_a_log import OnALog

        log = self.keep(closing(self.place.fresh_log()))
        return self.keep(OnALog(app, part, log, self.place.fresh_store(), self.clock))

    def keep(self, opened: AbstractContextManager[T]) -> T:
        """Enters it now and leaves it when the test ends."""
        return self._open.enter_context(opened)

    def asked(self, scenario: object, words: Callable[[], str]) -> None:
        """Notes a `when` of whose outcome nothing was said yet."""
        self._unseen[id(scenario)] = words

    def answered(self, scenario: object) -> None:
        self._unseen.pop(id(scenario), None)

    def refuse_unanswered(self) -> None:
        """Raises: AssertionError: the test asked what happens and then did not say what should."""
        for words in self._unseen.values():
            raise AssertionError(
                f"{words()}\nbut what then? End with .then(…), .rejects(…), .nothing() or the like: a scenario without "
                "an end tests nothing"
            )

    def close(self) -> None:
        self._open.close()


_stage: ContextVar[Stage | None] = ContextVar("headwater_stage", default=None)


def current() -> Stage:
    """The stage of the test that runs; one of its own for a scenario outside of pytest."""
    return _stage.get() or Stage()


def enter(stage: Stage | None) -> None:
    """Makes it the current one."""
    _stage.set(stage)


def dead_letter_in(services: Services, models: ReadModels | None) -> str | None:
    """Why a record was set aside, if one was: whatever the policy is, a scenario has gone wrong then.

    Arguments: models: that are maintained (None: none are)."""
    rows = list(services.dead_letters)
    for model in [] if models is None else models.models:
        rows += models.store.rows(tables_of(model.runner).held, {"failed": True})  # type: ignore[union-attr] # there is
    for row in rows:
        kind = dict(row.headers).get("ce_type", b"a record").decode()
        return f"Failed: {row.handler} failed on {kind} ({row.tp}, offset {row.record_offset}): {row.message}"
    return None
