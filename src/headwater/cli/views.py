"""`hw views`: what the views of an app are made of."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headwater.cli.ending import then
from headwater.cli.output import Form, output_option, show_rows
from headwater.cli.project import Project, app_option, on_option, store_option
from headwater.errors import Misuse, Unavailable

if TYPE_CHECKING:
    from headwater.app import App
    from headwater.views.plan import View

COLUMNS = ["view", "part", "name", "type", "detail"]


@click.group("views")
def command() -> None:
    """Look at the views that an app has in SQL."""


@command.command("explain")
@click.argument("names", nargs=-1, metavar="[VIEW]...")
@app_option
@output_option
def explain(names: tuple[str, ...], app: str | None, form: Form) -> None:
    """Tell what a view reads, how changes go through it, and what is kept. Reads no log and changes nothing.

    The parts: what is read, with the types of fields; the plan; the state, and what a row adds to it; the statements of
    DuckDB that a batch is added by; the columns that tell rows apart; the view's own columns. VIEW: none means all.

    \b
      hw views explain order_summary --app shop.app:app
    """
    project = Project(app, None, verb="views")
    with then(Misuse, "hw views explain --help"):
        plans = {view.name: view for view in _plans(project.load())}
        for name in names:
            if name not in plans:
                raise Misuse(f"there is no view {name!r}; there are: {', '.join(plans) or 'none'}")
    from headwater.views.explaining import explained

    lines = [(name, line) for name in names or plans for line in explained(plans[name])]
    show_rows(form, COLUMNS, [{"view": name, **line._asdict()} for name, line in lines], empty="no views")


@command.command("flink")
@click.argument("names", nargs=-1, metavar="[VIEW]...")
@app_option
@on_option
def flink(names: tuple[str, ...], app: str | None, on: str | None) -> None:
    """Write the program of Flink SQL that keeps views in topics of Kafka, for where one machine is too small.

    It defines sources, views and sinks and fills them. The topics that rows go to have the views' names; make those of
    grouped views compacted before it runs. Nothing is read or changed. What does not mean the same in Flink is refused:
    docs/flink.md has the table. VIEW: none means all.

    \b
      hw views flink order_summary --app shop.app:app --on kafka://localhost:9092 > order_summary.sql
    """
    project = Project(app, on, verb="views flink")
    with then(Misuse, "hw views flink --help"):
        loaded = project.load()
        plans = _plans(loaded)
        there = [view.name for view in plans]
        for name in names:
            if name not in there:
                raise Misuse(f"there is no view {name!r}; there are: {', '.join(there) or 'none'}")
        if not project.on.startswith("kafka://"):
            raise Misuse(f"Flink reads topics of Kafka: --on kafka://host:9092, not {project.on}")
        from headwater.views.flink.script import script

        bootstrap = project.on.removeprefix("kafka://").partition("?")[0].partition("/")[0]
        text = script(plans, names or there, bootstrap, loaded.codecs)
    click.echo(text, nl=False)


@command.command("diff")
@click.argument("names", nargs=-1, metavar="[VIEW]...")
@app_option
@on_option
@store_option
@output_option
@click.pass_context
def diff(
    ctx: click.Context, names: tuple[str, ...], app: str | None, on: str | None, store: str | None, form: Form
) -> None:
    """Tell what changed statements would change, over the whole history. Changes nothing.

    The statement that queries find now is compared with the one in your files: both are carried out over all events up
    to now, in a file that goes away, with your classes. Shown are columns, plan, counts of rows, and rows that differ.
    VIEW: none means all whose statements have changed. Exit code 1 if something differs.

    \b
      hw views diff order_summary --app shop.app:app --on sqlite:///shop.db
    """
    project = Project(app, on, store, verb="views diff")
    loaded = project.load()
    with then(Misuse, "hw views --help"):
        _plans(loaded)
        statements = loaded.statements()
        assert statements is not None, "it has views"
    from headwater.cli.views_diff import Diffing

    with then(Unavailable, project.run_command), project.whole_log() as log:
        ctx.exit(Diffing(project, loaded, statements, log, form).show(names))


@command.command("snapshot")
@click.argument("target", metavar="FILE")
@app_option
@on_option
@store_option
def snapshot(target: str, app: str | None, on: str | None, store: str | None) -> None:
    """Copy the file of views, while the app runs or not. FILE must not be there yet.

    Batches wait while it is copied. To restore, put FILE in the place of the lost file and start the app, which goes on
    from the copy's positions.

    \b
      hw views snapshot shop.views.snapshot --app shop.app:app --on sqlite:///shop.db
    """
    project = Project(app, on, store, verb="views snapshot")
    loaded = project.load()
    _plans(loaded)
    statements = loaded.statements()
    assert statements is not None, "it has views"
    from headwater.cli.views_file import file_of_views
    from headwater.environment import SYSTEM
    from headwater.views.wishes import Copy

    with (
        then(Unavailable, project.run_command),
        project.whole_log() as log,
        closing(file_of_views(project, loaded, statements, log, SYSTEM)) as file,
    ):
        file.carry_out(Copy(str(Path(target).resolve())))
    click.echo(f"the views are copied to {target}")


def _plans(app: App) -> list[View]:
    """The views of an app, as far as its code and files say. Raises: Misuse."""
    if app.views is None:
        raise Misuse(f'app {app.name!r} has no views: hw.App("{app.name}", views="views/*.sql", …)')
    return app.plans()
