"""`hw rebuild`: makes the rows of a read model anew beside the old ones, compares, switches, goes back, cleans up."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click

from headwater.cli.ending import NEXT, REFUSED, advised, then, told
from headwater.cli.output import Form, note, output_option, show_one, show_rows
from headwater.cli.project import Project, app_option, on_option, store_option
from headwater.cli.rebuild_showing import compared_row, holders_told, progress_shown, status_row
from headwater.cli.stopping import stop_signal
from headwater.cli.telling import Tellings, metrics_option, telling
from headwater.errors import BadData, Failed, Misuse, Unavailable, counted

if TYPE_CHECKING:
    from headwater.operations.rebuild import Rebuilding
    from headwater.operations.rebuild_comparing import Comparison
    from headwater.operations.rebuild_views import ViewRebuilding
    from headwater.operations.rebuild_watching import Look, Watching

    Watch = Callable[[str, Callable[[Look], None]], Watching]
    """What looks whether a rebuild gets on, from the name of the read model and who is shown it."""

STOP_S = 5.0
"""How long it may take to end after the batch under way. A handler, or a store, that has not answered by then may never
do so."""

STATUS_COLUMNS = [
    "readModel",
    "version",
    "shown",
    "code",
    "beside",
    "done",
    "total",
    "holder",
    "deadLetters",
    "failure",
]
COMPARED_COLUMNS = ["table", "oldRows", "newRows", "changed", "onlyOld", "onlyNew", "oldHash", "newHash"]
EXAMPLE_COLUMNS = ["table", "key", "old", "new"]


@click.command("rebuild")
@click.argument("name", required=False)
@click.option("--status", is_flag=True, help="Show how it is, and change nothing. Without NAME: all read models.")
@click.option("--pause", is_flag=True, help="Ask whoever builds, here or elsewhere, to stop after its batch.")
@click.option("--compare", is_flag=True, help="Compare old and new rows. Exit code 1 if they differ.")
@click.option("--switch", is_flag=True, help="Let queries find the new rows.")
@click.option("--rollback", is_flag=True, help="Let queries find again what they found before the switch.")
@click.option("--drop", is_flag=True, help="Remove what queries do not find: new rows, or old ones after a switch.")
@click.option("--throttle", type=click.IntRange(min=1), metavar="N", help="Read no more than N events per second.")
@metrics_option
@click.option("--yes", is_flag=True, help="Do it without asking; needed without a terminal.")
@app_option
@on_option
@store_option
@output_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    name: str | None,
    throttle: int | None,
    metrics_port: str | None,
    yes: bool,
    app: str | None,
    on: str | None,
    store: str | None,
    form: Form,
    **actions: bool,
) -> None:
    """Make the rows of a read model anew, beside those that queries find. Nobody who reads notices.

    With NAME alone it reads the log from its beginning with the code as it is here, and compares at the end. It goes on
    where it was, however it ended; Ctrl-C pauses it. Queries find the new rows after --switch. Only the read model is
    made: no process and no effect runs.

    \b
      hw rebuild                       what there is
      hw rebuild revenue               build, or go on building
      hw rebuild revenue --switch      and if it was a mistake: --rollback
      hw rebuild revenue --drop        clean up
    """
    project = Project(app, on, store, verb="rebuild")
    action = _action(actions, name, project)
    with _rebuildings(project, metrics_port, name) as (rebuildings, watching):
        if name is None:
            rows = [status_row(one.status()) for one in dict.fromkeys(rebuildings.values())]
            show_rows(form, STATUS_COLUMNS, rows, empty="no read models")
            return
        if name not in rebuildings:
            text = f"the app has no read model {name!r}; it has {', '.join(rebuildings) or 'none'}"
            raise advised(Misuse(text), f"hw rebuild{project.flags}")
        verb = Verb(rebuildings[name], name, project, form, yes, watching)
        with verb.advice():
            code = verb.build(throttle) if action == "build" else getattr(verb, action)()
    ctx.exit(code)


def _action(actions: dict[str, bool], name: str | None, project: Project) -> str:
    """What is to be done. Raises: Misuse: two things at once, or something without a name."""
    chosen = [action for action, wanted in actions.items() if wanted]
    if len(chosen) > 1:
        raise Misuse(f"--{chosen[0]} or --{chosen[1]}: one at a time")
    action = chosen[0] if chosen else "status" if name is None else "build"
    if name is None and action != "status":
        raise advised(Misuse(f"--{action} of which read model? Give its name"), f"hw rebuild{project.flags}")
    return action


@contextmanager
def _rebuildings(
    project: Project, metrics: str | None, asked: str | None
) -> Iterator[tuple[dict[str, Rebuilding | ViewRebuilding], Watch]]:
    """By the names of read models and of their tables, and what looks whether one gets on.

    Arguments: metrics: where their progress is served; asked: the only one that is wanted, if it is one.
    Raises: Misuse: that cannot be rebuilt.
    """
    from headwater.cli.asking import store_of
    from headwater.operations.rebuild import Rebuilding
    from headwater.operations.rebuild_state import this_process
    from headwater.operations.rebuild_watching import Watching
    from headwater.projections.entity_table import aggregate_tables
    from headwater.projections.read_model import read_models_of
    from headwater.stores.opening import open_store
    from headwater.stores.port import PlacedStore

    app = project.load()
    models = read_models_of(app.name, app.projections, app.codecs)
    models += aggregate_tables(app.name, list(app.behaviours.values()), models)
    with (
        telling(Tellings(metrics), app.name) as environment,
        project.whole_log() as log,
        ExitStack() as opened,
    ):
        who = this_process(_account(), environment)
        found: dict[str, Rebuilding | ViewRebuilding] = {}
        places = {"headwater.log.": f"the log at {log.url}", "headwater.views.": "the process that makes the view"}
        if models:
            address = store_of(project, app)
            with holders_told(address, models):
                store = opened.enter_context(closing(open_store(address)))
                there = f" at {store.place}" if isinstance(store, PlacedStore) else ""
                places["headwater.stores."] = f"the store{there}"
                for model in models:
                    rebuilding = Rebuilding(model, store, log, who, environment)
                    found.update(dict.fromkeys([model.title, *(table.name for table in model.tables)], rebuilding))
        if (statements := app.statements()) is not None:
            from headwater.cli.views_file import file_of_views
            from headwater.operations.rebuild_views import ViewRebuilding

            file = opened.enter_context(closing(file_of_views(project, app, statements, log, environment)))
            for view in [view for view in statements.kept if not view.shared or view.name == asked]:
                found[view.name] = ViewRebuilding(app.name, view, statements, file, environment)

        def watching(title: str, show: Callable[[Look], None]) -> Watching:
            return Watching(title, places, show, environment)

        yield found, watching


def _account() -> str:
    """The name of the person's account, for others who want to begin."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return f"user {os.getuid()}"


class Verb:
    """What can be done with one read model. Each method returns the exit code."""

    def __init__(
        self,
        rebuilding: Rebuilding | ViewRebuilding,
        name: str,
        project: Project,
        form: Form,
        yes: bool,
        watching: Watch,
    ) -> None:
        self._rebuilding, self._name, self._project = rebuilding, name, project
        self._form, self._yes, self._watching = form, yes, watching

    def command(self, flag: str = "") -> str:
        """A command line about this read model."""
        return f"hw rebuild {shlex.quote(self._name)}{' ' + flag if flag else ''}{self._project.flags}"

    @contextmanager
    def advice(self) -> Iterator[None]:
        """What to type next where something is in the way."""
        from headwater.operations.rebuild import OtherCode
        from headwater.operations.rebuild_state import NotNow

        try:
            with (
                then(Unavailable, self.command("--status")),
                then(OtherCode, self._project.run_command),
                then((BadData, Failed), self.command()),
            ):
                yield
        except NotNow as error:
            advised(error, self.command("" if error.first == "build" else f"--{error.first}"))
            raise

    def build(self, throttle: int | None) -> int:
        with self._watched() as watching, stop_signal(STOP_S, partial(self._tell_late, watching)) as stop:
            whole = self._rebuilding.build(watching.tell, stop, throttle)
        if not whole:
            self._end("paused", self.command())
            return 0
        self._show(self._rebuilding.compare())
        status = self._rebuilding.status()
        if status.dead_letters:
            events, are = counted(status.dead_letters, "event"), "is" if status.dead_letters == 1 else "are"
            note(f"{events} could not be applied and {are} set aside; the first: {status.failure}")
        self._end("built", self.command("--switch"))
        return 0

    def status(self) -> int:
        show_one(self._form, status_row(self._rebuilding.status()))
        return 0

    def pause(self) -> int:
        holder = self._rebuilding.pause()
        if holder is None:
            note(f"nobody is building {self._name}")
        else:
            note(f"asked to stop after its batch: {holder.text}")
        return 0

    def compare(self) -> int:
        found = self._rebuilding.compare()
        self._show(found)
        return 0 if all(one.equal for one in found) else REFUSED

    def switch(self) -> int:
        status = self._rebuilding.status()
        if not status.state and any(shown != status.version for shown in status.shown.values()):
            self._ask("--switch", f"Let queries find version {status.version} of {self._name}?")
            self._rebuilding.show()
        else:
            self._show(self._rebuilding.compare())
            self._ask("--switch", f"Let queries find the new rows of {self._name}?")
            with self._watched() as watching:
                self._rebuilding.switch(watching.tell)
        before = any(version is not None for version in status.shown.values())
        self._end("switched", self.command("--rollback" if before else "--drop"))
        return 0

    def rollback(self) -> int:
        self._ask("--rollback", f"Let queries find the rows of {self._name} from before the switch?")
        with self._watched() as watching:
            self._rebuilding.roll_back(watching.tell)
        if not self._rebuilding.status().same_code:
            note(f"other code than yours has made the rows that queries find of {self._name} now: deploy it again")
        self._end("rolled back", self.command("--status"))
        return 0

    def drop(self) -> int:
        self._ask("--drop", f"Remove the rows of {self._name} that queries do not find?")
        self._rebuilding.drop()
        self._end("dropped", None)
        return 0

    @contextmanager
    def _watched(self) -> Iterator[Watching]:
        with progress_shown(self._name, self._form) as show, self._watching(self._name, show) as watching:
            yield watching

    def _tell_late(self, watching: Watching) -> None:
        told(f"still: {self._name} waits for {watching.waits_for}")
        told(f"error: not stopped within {STOP_S:g} s: ended all the same; a rebuild goes on from its last commit")
        told(f"{NEXT}{self.command()}")

    def _ask(self, flag: str, question: str) -> None:
        """Asks at the terminal. Raises: Misuse: there is none. Abort: no."""
        if self._yes:
            return
        if not sys.stdin.isatty():
            raise advised(Misuse("nobody is there to be asked; nothing was changed"), self.command(f"{flag} --yes"))
        click.confirm(question, abort=True, err=True)

    def _show(self, found: list[Comparison]) -> None:
        if self._form != "table":
            show_rows("ndjson", [], [compared_row(one) for one in found])
            return
        short = [
            {name: _short(cell) if name in ("oldHash", "newHash") else cell for name, cell in compared_row(one).items()}
            for one in found
        ]
        show_rows("table", COMPARED_COLUMNS, short)
        examples = [{"table": one.table, **example._asdict()} for one in found for example in one.examples]
        if examples:
            show_rows("table", EXAMPLE_COLUMNS, examples)
        for one in found:
            for what, columns in (("old", one.columns_gone), ("new", one.columns_new)):
                if columns:
                    note(f"{one.table}: only the {what} rows have {', '.join(columns)}; the others were compared")
            if not one.same_place:
                note(f"{one.table}: old and new rows are not of the same events: they move on, or one side waits")

    def _end(self, state: str, next: str | None) -> None:
        if self._form == "table":
            print(f"{self._name}: {state}", flush=True)
            if next is not None:
                told(f"{NEXT}{next}")
        else:
            show_one("ndjson", {"readModel": self._name, "state": state, "next": next})


def _short(cell: object) -> object:
    """A fingerprint as people compare it."""
    return f"{cell[:8]}…" if isinstance(cell, str) else cell
