"""`hw import`: loads a file of commands or events, at most once each."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headwater.cli.asking import connected, stops_told, vocabulary_of
from headwater.cli.disk import looked_at
from headwater.cli.ending import BAD, NEXT, then, told
from headwater.cli.output import Form, note, output_option, show_one
from headwater.cli.project import Project, app_option, on_option
from headwater.cli.times import Seconds
from headwater.errors import Misuse, Unknown

if TYPE_CHECKING:
    from headwater.operations.importing import Tally
    from headwater.operations.importing_lines import BadLine, ImportFile, Kind, LineReader
    from headwater.operations.setting_aside import RejectedFile

TOLD = 10
"""How many rejected lines are told one by one; the file has them all."""


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "--as", "kind", type=click.Choice(["commands", "events"]), help="Default: as the field of each line says."
)
@click.option("--in-flight", type=click.IntRange(min=1), default=1000, show_default=True, metavar="N")
@click.option("--actor", metavar="WHO", help="Who asks for it, where a line does not say.")
@click.option("--ignore-unknown-fields", is_flag=True, help="Import lines whose fields the app does not know all.")
@click.option(
    "--on-failure",
    type=click.Choice(["set-aside", "stop"]),
    default="set-aside",
    show_default=True,
    help="With a line that cannot be imported, later ones of its entity are set aside, or all later ones.",
)
@click.option("--timeout", type=Seconds(), default=60.0, show_default=True, metavar="SECONDS")
@app_option
@on_option
@output_option
@click.pass_context
def command(
    ctx: click.Context,
    file: Path,
    kind: Kind | None,
    in_flight: int,
    actor: str | None,
    ignore_unknown_fields: bool,
    on_failure: str,
    timeout: float,
    app: str | None,
    on: str | None,
    form: Form,
) -> None:
    """Load a file of commands or events: a JSON object per line, also gzipped (.gz). FILE `-` is standard input.

    A line has a commandType (its owner decides) or an eventType (appended as it is), and may have `id`,
    `timestamp` and `actor`. Importing the same file again, also after it was stopped anywhere, doubles nothing. A file
    that was changed is new to the log, with all its lines that have no `id`.
    Lines that cannot be imported go to FILE.rejected.ndjson with the reason, and with them the later lines of their
    entity, in order; correct and import that file, and not FILE. Then the exit code is 4. An import that is under way
    waits for the app to come back, up to --timeout. What comes through a pipe is copied into a temporary file first.
    """
    project = Project(app, on, verb="import")
    found = project.load()

    from headwater.operations.importing import Import
    from headwater.operations.importing_lines import ImportFile, LineReader
    from headwater.operations.importing_streams import STDIN, called
    from headwater.operations.setting_aside import RejectedFile

    with then(Misuse, "hw import --help"):
        content = ImportFile.look_at(file, sys.stdin.buffer if file == STDIN and sys.stdin is not None else None)
    reader = LineReader(vocabulary_of(found), content.digest, kind, actor, ignore_unknown_fields)
    options = [word for flag, value in (("--as", kind), ("--actor", actor)) if value for word in (flag, value)]
    options += ["--on-failure", "stop"] if on_failure == "stop" else []
    options += ["--ignore-unknown-fields"] if ignore_unknown_fields else []
    typed = "-" if content.copy is not None else str(file)
    again = f"{shlex.join(['hw', 'import', typed, *options])}{project.flags}"
    name = called(file)
    with (
        closing(content),
        RejectedFile(content.place, content.digest) as rejected,
        connected(project, found) as (shop, _),
        _progress(content.count) as progress,
    ):
        correct = f"hw import {shlex.quote(str(rejected.path))}{project.flags}"
        with then(Misuse, correct):
            _refuse_changed(content, reader, rejected)

        def set_aside(bad: BadLine) -> None:
            _tell(name, bad, rejected.count)
            rejected.add(bad)

        with then(Unknown, again), stops_told(project), looked_at(project.file, again):
            tally = Import(
                shop,
                content,
                reader,
                in_flight=in_flight,
                timeout_s=timeout,
                stops=on_failure == "stop",
                set_aside=set_aside,
                progress=progress,
            ).run()
    if not content.count:
        note(f"{name} is empty")
    where = {"rejectedFile": str(rejected.path)} if tally.rejected else {}
    counts = {"imported": tally.imported, "repeated": tally.repeated, "rejected": tally.rejected}
    show_one(form, {"file": str(file), **counts, **where})
    if tally.rejected:
        note(f"correct {rejected.path} and import that; {name}, corrected, would be new to the log with all its lines")
        told(f"{NEXT}{correct}")
        ctx.exit(BAD)


def _refuse_changed(content: ImportFile, reader: LineReader, rejected: RejectedFile) -> None:
    """Raises: Misuse: the file was changed since lines of it were set aside, and has lines without ids of their own:
    they would be new to the log, also those that were imported."""
    if rejected.of_other_content and not all(map(reader.has_id, content.lines())):
        raise Misuse(
            f"{content.path} was imported with other content, and {rejected.path} has the lines that could not be. "
            f"Changed, it is new to the log with all its lines, also those that were: correct {rejected.path} and "
            f"import that. If {content.path} has other lines than then, move {rejected.path} away and import it"
        )


def _tell(name: str, bad: BadLine, before: int) -> None:
    if before < TOLD:
        told(f"rejected: {name}, line {bad.line.number}: {bad.kind}: {bad.reason}")
    elif before == TOLD:
        told("rejected: more lines, see the file")


@contextmanager
def _progress(lines: int) -> Iterator[Callable[[Tally], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda tally: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [BarColumn(), MofNCompleteColumn(), TextColumn("lines"), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=lines)
        yield lambda tally: progress.update(bar, completed=tally.lines)
