"""Where readers have what they set aside, for who does not own it: beside the rows of a read model or a view, or on the
log."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.failures.held import Asked, Audit, HeldRecord, tables_of
from headwater.log.port import Log
from headwater.projections.waiting import health
from headwater.readers.held_records import Looking
from headwater.stores.port import RunnerNote, Store, TableSchema
from headwater.stores.switching import SwitchingStore

if TYPE_CHECKING:
    from headwater.client.shared_views import SharedLetters
    from headwater.client.views import Views
    from headwater.views.letters import FarLetters, Letters

R = TypeVar("R")


class Place(Protocol):
    """Of one reader. `group`: its consumer group. All methods may raise Unavailable."""

    @property
    def group(self) -> str: ...

    def held(self) -> list[HeldRecord]:
        """In order of topic, partition and offset."""
        ...

    def audit(self) -> list[Audit]: ...

    def line(self, asked: Asked) -> Audit | None:
        """What came of something that was asked for; None: nothing yet."""
        ...

    def ask(self, asked: Asked) -> None: ...

    def alive(self) -> str:
        """What is known of who reads for the group, in words."""
        ...


class InStore:
    """Of a read model. One that no process has run yet has none. Arguments: store; group: of its runner."""

    def __init__(self, store: Store, group: str, environment: Environment) -> None:
        self._store, self.group, self._environment, self._tables = store, group, environment, tables_of(group)

    def held(self) -> list[HeldRecord]:
        return self._rows(self._tables.held)

    def audit(self) -> list[Audit]:
        return self._rows(self._tables.audit)

    def line(self, asked: Asked) -> Audit | None:
        return self._store.row(self._tables.audit, (asked.id,))

    def ask(self, asked: Asked) -> None:
        table = self._tables.asked
        self._store.apply(f"{self.group}-operators", {}, {}, lambda loading: loading.save(table, [asked]))

    def alive(self) -> str:
        return alive(self._store.notes(self.group), self._environment)

    def _rows(self, table: TableSchema[R]) -> list[R]:
        store = self._store
        if isinstance(store, SwitchingStore) and store.shown(table.name) is None:
            return []
        return store.rows(table)


class OfView:
    """Of a view, in the file that belongs to one process. Arguments: letters: finds them there, those of the version
    of the view that queries find."""

    def __init__(self, letters: Callable[[], Letters | FarLetters | SharedLetters], environment: Environment) -> None:
        self._find, self._letters, self._environment = letters, letters(), environment
        self.group = self._letters.group

    def held(self) -> list[HeldRecord]:
        return self._letters.held()

    def audit(self) -> list[Audit]:
        return self._letters.audit()

    def line(self, asked: Asked) -> Audit | None:
        """Raises: Unavailable: queries find other rows by now."""
        found = self._letters.outcome(asked.id)
        if found is None and self._find().group != self.group:
            raise Unavailable(
                "queries find rows that were made anew since this was asked for: look which dead letters these have"
            )
        return found

    def ask(self, asked: Asked) -> None:
        self._letters.ask(asked)

    def alive(self) -> str:
        return alive(self._letters.notes(), self._environment)


def places_of_views(views: Views, environment: Environment) -> dict[str, Place]:
    """By the name of a view. Raises: Unavailable: no process has the file."""
    return {model.title: OfView(partial(views.letters, model), environment) for model in views.models}


def alive(notes: list[RunnerNote], environment: Environment) -> str:
    state, failure = health(notes, None, environment)
    return f"runner: {state}" if failure is None else f"runner: {state}; last failure: {failure}"


class InLog:
    """Of a process. Arguments: log; group: of its owners, or of its forwarders."""

    def __init__(self, log: Log, group: str, environment: Environment) -> None:
        self._log, self.group, self._looking = log, group, Looking(log, group, environment)

    def held(self) -> list[HeldRecord]:
        held = self._looking.contents().held
        return [held[place] for place in sorted(held)]

    def audit(self) -> list[Audit]:
        return list(self._looking.contents().audit.values())

    def line(self, asked: Asked) -> Audit | None:
        return self._looking.contents().audit.get(asked.id)

    def ask(self, asked: Asked) -> None:
        self._looking.contents()
        self._log.append(self._looking.asking(asked))

    def alive(self) -> str:
        members = sum(len(one.members) for one in self._log.groups([self.group]))
        return f"members of {self.group}: {members or 'none'}"
