"""`hw query`: SQL over the read models, read-only, while an app runs and when none does."""

from __future__ import annotations

import math
import shlex
from typing import Any

import click

from headwater.cli.asking import connected
from headwater.cli.ending import then
from headwater.cli.output import Form, output_option, show_rows
from headwater.cli.project import Project, app_option, on_option, store_option
from headwater.cli.times import Seconds
from headwater.errors import Misuse, NotYet, Unavailable

SECONDS = "Seconds to wait for what --after says, and then for the answer."
TABLES = "SELECT name FROM hw_tables"


@click.command("query")
@click.argument("sql")
@click.argument("arguments", nargs=-1, metavar="[VALUE]...")
@click.option("--after", metavar="TOKEN", help="Wait until the answer includes what a receipt's token speaks of.")
@click.option("--timeout", type=Seconds(0), default=10.0, show_default=True, metavar="SECONDS", help=SECONDS)
@app_option
@on_option
@store_option
@output_option
def command(
    sql: str,
    arguments: tuple[str, ...],
    after: str | None,
    timeout: float,
    app: str | None,
    on: str | None,
    store: str | None,
    form: Form,
) -> None:
    """Ask the read models in SQL. Each VALUE stands for a `?`, in order.

    \b
      hw query "SELECT * FROM revenue ORDER BY day"
      hw query "SELECT * FROM open_order WHERE order_id = ?" 123
    """
    project = Project(app, on, store, verb="query")
    found = project.load()
    with connected(project, found, read_models=True) as (_, running):
        assert running.models is not None
        with then(Misuse, f'hw query "{TABLES}"{project.flags}'), then(NotYet, f"hw lag{project.flags}"):
            running.models.wait(running.models.wanted(sql, after), timeout)
            with then(
                Unavailable,
                f"hw query {shlex.join([sql, *arguments])}{project.flags} --timeout {max(1, 10 * timeout):g}",
            ):
                answer = running.models.answer(sql, arguments, timeout_s=timeout)
                rows = [{name: _shown(value) for name, value in row.items()} for row in answer.dicts()]
        show_rows(form, answer.columns, rows, empty="no rows")


def _shown(value: Any) -> Any:
    """A number that was too large for SQLite's arithmetic, as text: JSON has none such, and null is no number."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
