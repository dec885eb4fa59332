"""`hw query`: SQL over the read models, read-only, while an app runs and when none does."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from headwater.cli.asking import connected, store_of
from headwater.cli.ending import advised, then
from headwater.cli.output import Form, Text, cell, distinct, note, output_option, show_rows
from headwater.cli.project import Project, app_option, on_option, store_option
from headwater.cli.times import Moment, Seconds
from headwater.errors import Misuse, NotYet, Unavailable

if TYPE_CHECKING:
    from headwater.app import App
    from headwater.client.following import Following
    from headwater.client.read_models import ReadModels

SECONDS = "Seconds to wait for what --after says, and then for the answer."
TOKEN = ("1.", "v1.")
"""What the text of a position begins with."""


class Past(Moment):
    """A time, or a position as `--follow` tells it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.startswith(TOKEN):
            return value
        return super().convert(value, param, ctx)


TABLES = "SELECT name FROM hw_tables"
SEARCH_SERVERS = ("opensearch", "elasticsearch")


@click.command("query")
@click.argument("sql")
@click.argument("arguments", nargs=-1, metavar="[VALUE]...")
@click.option("--after", metavar="TOKEN", help="Wait until the answer includes what a receipt's token speaks of.")
@click.option("--timeout", type=Seconds(0), default=10.0, show_default=True, metavar="SECONDS", help=SECONDS)
@click.option("--as-of", type=Past(), metavar="TIME|POSITION", help="What the answer was at a time, or a position.")
@click.option("--known-at", type=Moment(), metavar="TIME", help="What the answer was by all that was recorded then.")
@click.option("--follow", "-f", is_flag=True, help="Tell what changes in the answer, until Ctrl-C. Of views only.")
@click.option(
    "--since",
    metavar="POSITION",
    type=Text(),
    help="With --follow: go on from a position that was told, not from nothing.",
)
@click.option(
    "--most-replayed",
    type=click.IntRange(0),
    metavar="N",
    help="How many records of the log may be read again to tell what was.  [default: 1,000,000]",
)
@app_option
@on_option
@store_option
@output_option
def command(
    sql: str,
    arguments: tuple[str, ...],
    after: str | None,
    timeout: float,
    as_of: datetime | str | None,
    known_at: datetime | None,
    follow: bool,
    since: str | None,
    most_replayed: int | None,
    app: str | None,
    on: str | None,
    store: str | None,
    form: Form,
) -> None:
    """Ask the read models in SQL. Each VALUE stands for a `?`, in order.

    \b
      hw query "SELECT * FROM revenue ORDER BY day"
      hw query "SELECT * FROM open_order WHERE order_id = ?" 123
      hw query --follow "SELECT * FROM order_summary"
      hw query --as-of 2024-04-10 "SELECT * FROM order_summary"

    The second of two columns of one name, as in SELECT a.n, b.n, is told as n_1.

    With --follow, each line is a row that came (weight above 0) or went (below). All that changed at once ends with the
    line that has a position, with which --since goes on.
    """
    from headwater.stores.places import WrongPlaces
    from headwater.views.changes import MOST_REPLAYED
    from headwater.views.moments import moment_of

    most = MOST_REPLAYED if most_replayed is None else most_replayed
    try:
        moment = moment_of(as_of, known_at, after)
    except Misuse as error:
        raise click.UsageError(str(error)) from error
    if moment is not None and follow:
        raise click.UsageError("what was does not change: --follow is for what is")
    if since is not None and not follow:
        raise click.UsageError("--since is for --follow")
    project = Project(app, on, store, verb="query")
    found = project.load()
    with connected(project, found, read_models=True) as (_, running):
        assert running.models is not None
        asked = f"hw query {shlex.join([sql, *arguments])}{project.flags}"
        past = past_flags(as_of, known_at, after, since)
        with (
            then(Misuse, what_there_is(project, found, running.models, sql)),
            allowing_more(f"{asked}{past}"),
            then(NotYet, f"hw lag{project.flags}"),
        ):
            running.models.wait(running.models.wanted(sql, after), timeout)
            if follow:
                tell(form, running.models.follow(sql, arguments, dict[str, Any], since, timeout, most))
                return
            with then(Unavailable, f"{asked} --timeout {max(1, 10 * timeout):g}"):
                if moment is None:
                    with then(WrongPlaces, "hw query --help"):
                        answer = running.models.answer(sql, arguments, timeout_s=timeout)
                else:
                    cost = running.models.estimate(sql, moment)
                    if cost.views:
                        note(f"{cost.records:,} records at most are read again for {', '.join(cost.views)}")
                    answer = running.models.past(sql, arguments, moment, timeout, most)
                columns = distinct(answer.columns)
                rows = [dict(zip(columns, map(_shown, row), strict=True)) for row in answer]
        show_rows(form, columns, rows, empty="no rows")


def what_there_is(project: Project, app: App, models: ReadModels, sql: str) -> str:
    """The command that lists what a question can be asked of: views, where it names one or nobody wrote projections.
    Where the store has no list of tables, one that it can answer: a search of a table, or how far each is."""
    names = [] if models.views is None else [name.lower() for name in models.views.names]
    words = {word.lower() for word in re.findall(r"\w+", sql)}
    if names and (not app.projections or not words.isdisjoint(names)):
        return f"hw views explain --app {shlex.quote(project.app_name)}"
    kind = store_of(project, app).partition("://")[0]
    tables = [table.name for model in models.models for table in model.tables]
    if kind in SEARCH_SERVERS and tables:
        table = next((name for name in tables if name in words), tables[0])
        search = f'{{"index": "{table}", "query": {{"match_all": {{}}}}}}'
        return f"hw query {shlex.quote(search)}{project.flags}"
    if kind in ("redis", "rediss", *SEARCH_SERVERS):
        return f"hw lag{project.flags}"
    return f'hw query "{TABLES}"{project.flags}'


def past_flags(as_of: datetime | str | None, known_at: datetime | None, after: str | None, since: str | None) -> str:
    """What was typed of a moment, to be repeated."""
    typed = {"--as-of": as_of, "--known-at": known_at, "--after": after}
    texts = {flag: one.isoformat() if isinstance(one, datetime) else one for flag, one in typed.items()}
    follow = "" if since is None else f" --follow --since {shlex.quote(since)}"
    return "".join(f" {flag} {shlex.quote(one)}" for flag, one in texts.items() if one is not None) + follow


@contextmanager
def allowing_more(asked: str) -> Iterator[None]:
    """Tells the option with which more records may be read again. Arguments: asked: the command without it."""
    from headwater.views.changes import TooMuchToReplay

    try:
        yield
    except TooMuchToReplay as error:
        option = f"--most-replayed {error.records}"
        raise advised(Misuse(f"{error.text}: {option} allows it"), f"{asked} {option}") from error


def tell(form: Form, following: Following[dict[str, Any]]) -> None:
    """Each change on a line, as it comes; the last one of a step has its position."""
    from headwater.client.following import steps_of

    with suppress(KeyboardInterrupt):
        for step in steps_of(following):
            for i, change in enumerate(step.changes):
                row = {name: _shown(value) for name, value in change.row.items()}
                last = i + 1 == len(step.changes)
                told = {"weight": change.weight, "row": row, "position": step.position if last else None}
                if form == "table":
                    print("  ".join([f"{change.weight:+}", *map(cell, row.values())]), flush=True)
                else:
                    show_rows("ndjson", list(told), [told])


def _shown(value: Any) -> Any:
    """A number that was too large for SQLite, as text: JSON has none that is not finite, and null is no number."""
    from headwater.stores.integers import without_mark

    return str(value) if isinstance(value, float) and not math.isfinite(value) else without_mark(value)
