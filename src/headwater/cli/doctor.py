"""`hw doctor`: what is unsafe about a log, and what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from headwater.cli.ending import REFUSED
from headwater.cli.output import Form, output_option, show_rows
from headwater.cli.project import Project, on_option

if TYPE_CHECKING:
    from headwater.log.findings import Finding

COLUMNS = ["level", "check", "where", "found"]


@click.command("doctor")
@on_option
@output_option
@click.pass_context
def command(ctx: click.Context, on: str | None, form: Form) -> None:
    """Look for what is unsafe about a log: settings, copies, clocks, transactions that hang.

    Changes nothing. Ends with 1 if there is a fault; a warning is safe until something else fails, and `unknown` could
    not be looked at.
    """
    from headwater.operations.doctor import examine

    with Project(None, on, verb="doctor").log() as log:
        findings = examine(log)
    rows = [
        {"level": one.level, "check": one.check, "where": one.where, "found": one.found, "todo": one.todo}
        for one in findings
    ]
    show_rows(form, COLUMNS, rows)
    if form == "table":
        _show_todos(findings)
    if any(one.level == "fault" for one in findings):
        ctx.exit(REFUSED)


def _show_todos(findings: list[Finding]) -> None:
    """What to do, in lines that can be copied as they are."""
    for one in findings:
        if one.todo is not None:
            sys.stdout.write(f"{one.check}, {one.where}:\n  {one.todo}\n")
