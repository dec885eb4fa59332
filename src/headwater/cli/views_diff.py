"""What `hw views diff` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from headwater.cli.ending import REFUSED
from headwater.cli.output import Form, note, show_rows
from headwater.cli.project import Project
from headwater.cli.views_file import file_of_views
from headwater.environment import SYSTEM
from headwater.errors import Misuse
from headwater.operations.rebuild_views import of_shared
from headwater.operations.views_diff import Change, changed_by, old_view
from headwater.views.runner import name_of
from headwater.views.wishes import Wish

if TYPE_CHECKING:
    from headwater.app import App
    from headwater.log.port import Log
    from headwater.views.plan import View
    from headwater.views.reading import Statements

ROWS = ["view", "records", "oldRows", "newRows", "changed", "onlyOld", "onlyNew", "setAsideOld", "setAsideNew"]
COLUMNS = ["view", "column", "old", "new"]
PLAN = ["view", "only", "part", "name", "type", "detail"]
EXAMPLES = ["view", "key", "old", "new"]


class Diffing:
    """Compares the statements at hand with those that queries find."""

    def __init__(self, project: Project, app: App, statements: Statements, log: Log, form: Form) -> None:
        self._project, self._app, self._statements = project, app, statements
        self._log, self._form = log, form

    def show(self, names: Sequence[str]) -> int:
        """Returns the exit code. Arguments: names: of views, none: all. Raises: Misuse, Unavailable."""
        changes = list(self._changes(names))
        if self._form != "table":
            show_rows("ndjson", [], [whole(one) for one in changes])
        else:
            show_rows("table", ROWS, [counts(one) for one in changes], empty="no changed statements")
            for columns, lines in ((COLUMNS, columns_of), (PLAN, plan_of), (EXAMPLES, examples_of)):
                if rows := [{"view": one.view, **line} for one in changes for line in lines(one)]:
                    show_rows("table", columns, rows)
        return 0 if all(one.equal for one in changes) else REFUSED

    def _changes(self, names: Sequence[str]) -> Iterator[Change]:
        views = {view.name: view for view in self._statements.kept}
        for name in names:
            if name not in views:
                raise Misuse(f"the app has no view {name!r} that keeps something; it has {', '.join(views) or 'none'}")
        for view in [views[name] for name in names or views if views[name].shared]:
            note(of_shared(view))
        found = [name for name in names or views if not views[name].shared]
        if not found:
            return
        with closing(file_of_views(self._project, self._app, self._statements, self._log, SYSTEM)) as file:
            sources = {}
            for name in found:
                standing = file.carry_out(Wish(name, "status", "", ())).standing
                assert standing is not None, "it answers what it was asked"
                sources[name] = (standing.shown, standing.sources)
        for name, (shown, texts) in sources.items():
            if shown is None:
                note(f"{name} is new: queries find no rows of it yet")
            elif (old := self._older(views[name], shown, texts)) is not None:
                yield changed_by(old, views[name], self._log, self._app.codecs, SYSTEM)

    def _older(self, view: View, shown: str, texts: tuple[str, ...]) -> View | None:
        """The view as queries find it; None: its statement is the same."""
        code = name_of(self._app.name, view)[1]
        if shown == code:
            return None
        old = old_view(self._statements, texts, view.name)
        if name_of(self._app.name, old)[1] == code:
            note(
                f"{view.name}: the statement is the same, and your classes read its events otherwise than those that "
                "made the rows that queries find"
            )
            return None
        return old


def counts(one: Change) -> dict[str, Any]:
    found, (before, after) = one.difference, one.set_aside
    return {
        "view": one.view,
        "records": one.records,
        "oldRows": found.old_rows,
        "newRows": found.new_rows,
        "changed": found.changed,
        "onlyOld": found.only_old,
        "onlyNew": found.only_new,
        "setAsideOld": before,
        "setAsideNew": after,
    }


def columns_of(one: Change) -> list[dict[str, Any]]:
    """The columns that differ, with their types; None: there is no such column."""
    found = one.difference
    lines: list[dict[str, Any]] = [
        {"column": name, "old": before, "new": after} for name, before, after in found.retyped
    ]
    lines += [{"column": name, "old": kind, "new": None} for name, kind in found.gone]
    return lines + [{"column": name, "old": None, "new": kind} for name, kind in found.added]


def plan_of(one: Change) -> list[dict[str, Any]]:
    """The lines of the plan that one side has."""
    return [
        {"only": side, **line._asdict()} for side, lines in (("old", one.gone), ("new", one.came)) for line in lines
    ]


def examples_of(one: Change) -> list[dict[str, Any]]:
    return [{"key": each.key, "old": each.old, "new": each.new} for each in one.difference.examples]


def whole(one: Change) -> dict[str, Any]:
    """Everything, for programs."""
    return {**counts(one), "columns": columns_of(one), "plan": plan_of(one), "examples": examples_of(one)}
