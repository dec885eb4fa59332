"""`hw groups`: who reads a log."""

from __future__ import annotations

import click

from headwater.cli.output import Form, output_option, show_rows
from headwater.cli.project import Project, on_option


@click.command("groups")
@on_option
@output_option
def command(on: str | None, form: Form) -> None:
    """List the groups that read a log, and what each of their members has."""
    from headwater.operations.groups import groups, partitions_text

    with Project(None, on, verb="groups").log() as log:
        found = groups(log)
    rows: list[dict[str, str | None]] = []
    for group in found:
        for member, owned in sorted(group.members.items()):
            rows.append({"group": group.name, "member": member, "partitions": partitions_text(owned)})
        if not group.members:
            rows.append({"group": group.name, "member": None, "partitions": ""})
    show_rows(form, ["group", "member", "partitions"], rows, empty="no groups")
