"""What the reader of a view has set aside, for operators: in the file of views, or asked of the process that has it.

What they ask for is a row beside the view's. Its reader carries it out between two batches, and a line of the audit
says what came of it (see `projections.retrying`). They deal with the version of the view that queries find.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headwater.errors import Unavailable
from headwater.failures.held import Asked, Audit, HeldRecord, tables_of
from headwater.stores.port import RunnerNote
from headwater.views import wire
from headwater.views.file import ViewFile, translated
from headwater.views.file_tables import BookkeepingTable


class Letters:
    """Arguments: file; group: of the reader; nobody: why there is no such reader ("": there is one)."""

    def __init__(self, file: ViewFile, group: str, nobody: str = "") -> None:
        self._file, self.group, self._nobody = file, group, nobody
        tables = tables_of(group)
        self._held, self._asked = BookkeepingTable(tables.held), BookkeepingTable(tables.asked)
        self._audit = BookkeepingTable(tables.audit)

    def held(self) -> list[HeldRecord]:
        """In order of topic, partition and offset."""
        with self._file.aside() as connection:
            return self._held.select(connection, {}, (), None)

    def audit(self) -> list[Audit]:
        """What was done, in order."""
        with self._file.aside() as connection:
            return self._audit.select(connection, {}, (), None)

    def outcome(self, id: str) -> Audit | None:
        """What came of something that was asked for; None: nothing yet."""
        with self._file.aside() as connection:
            return self._audit.load(connection, [(id,)]).get((id,))

    def ask(self, wanted: Asked) -> None:
        """Puts there what is wanted. Raises: Unavailable: nobody would ever do it."""
        if self._nobody:
            raise Unavailable(self._nobody)
        with self._file.writing() as connection, translated(self._file.path):
            self._asked.save(connection, [wanted])

    def notes(self) -> list[RunnerNote]:
        """What the reader says of itself."""
        return self._file.notes(self.group)

    def told(self, found: wire.OfLetters) -> Any:
        """What another process is answered."""
        if found.part == "group":
            return self.group
        if found.part == "held":
            return self.held()
        if found.part == "audit":
            return self.audit()
        return self.outcome(found.id)


class FarLetters:
    """As `Letters`, of another process. Arguments: ask: has a request answered, as a type; view: its name.

    Raises: Unavailable: nobody has the file. So do all methods.
    """

    def __init__(self, ask: Callable[[wire.Asked, Any], Any], view: str) -> None:
        self._ask, self._view = ask, view
        self.group: str = self._of("group", str)

    def held(self) -> list[HeldRecord]:
        found: list[HeldRecord] = self._of("held", list[HeldRecord])
        return found

    def audit(self) -> list[Audit]:
        found: list[Audit] = self._of("audit", list[Audit])
        return found

    def outcome(self, id: str) -> Audit | None:
        found: Audit | None = self._ask(wire.OfLetters(self._view, "outcome", id), Audit | None)
        return found

    def ask(self, wanted: Asked) -> None:
        self._ask(wire.Operate(self._view, wanted), None)

    def notes(self) -> list[RunnerNote]:
        found: list[RunnerNote] = self._ask(wire.Notes(self._view), list[RunnerNote])
        return found

    def _of(self, part: Any, kind: Any) -> Any:
        return self._ask(wire.OfLetters(self._view, part), kind)
