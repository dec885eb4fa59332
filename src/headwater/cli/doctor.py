"""`hw doctor`: what is unsafe about a log, and what to do."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

import click

from headwater.cli.ending import REFUSED
from headwater.cli.output import Form, output_option, show_rows
from headwater.cli.project import Project, app_option, on_option, store_option
from headwater.errors import Misuse, Unavailable

if TYPE_CHECKING:
    from headwater.log.findings import Finding
    from headwater.log.port import Log

COLUMNS = ["level", "check", "where", "found"]


@click.command("doctor")
@app_option
@on_option
@store_option
@output_option
@click.pass_context
def command(ctx: click.Context, app: str | None, on: str | None, store: str | None, form: Form) -> None:
    """Look for what is unsafe about a log: settings, copies, clocks, transactions that hang.

    If the app is named, also whether its processes keep its read models in one store. Changes nothing. Ends with 1 if
    there is a fault; a warning is safe until something else fails, and `unknown` could not be looked at.
    """
    from headwater.operations.doctor import examine

    project = Project(app, on, store, verb="doctor")
    with project.log() as log:
        findings = [*examine(log), *_of_read_models(project, log)]
    rows = [
        {"level": one.level, "check": one.check, "where": one.where, "found": one.found, "todo": one.todo}
        for one in findings
    ]
    show_rows(form, COLUMNS, rows)
    if form == "table":
        _show_todos(findings)
    if any(one.level == "fault" for one in findings):
        ctx.exit(REFUSED)


def _of_read_models(project: Project, log: Log) -> list[Finding]:
    """About the read models of the app, if it is named. What is wrong with the app is no reason to tell nothing."""
    if not project.knows_app:
        return []

    from headwater.cli.asking import models_of, store_of
    from headwater.log.findings import Finding
    from headwater.operations.doctor import examine_read_models
    from headwater.stores.opening import open_store

    try:
        app = project.load()
        models = models_of(app)
        with closing(open_store(store_of(project, app))) as store:
            return examine_read_models(log, store, models)
    except (Misuse, Unavailable) as error:
        return [Finding("unknown", "one store", project.app_name, f"it could not be looked at: {error}")]


def _show_todos(findings: list[Finding]) -> None:
    """What to do, in lines that can be copied as they are."""
    for one in findings:
        if one.todo is not None:
            sys.stdout.write(f"{one.check}, {one.where}:\n  {one.todo}\n")
