"""`hw revert`: brings an entity back to an earlier version, after a look at the difference."""

from __future__ import annotations

import shlex
import sys

import click

from headwater.cli.asking import about, connected, vocabulary_of
from headwater.cli.ending import REFUSED, advised, then
from headwater.cli.output import Form, note, output_option, show_one, show_rows
from headwater.cli.project import Project, app_option, on_option
from headwater.cli.times import Seconds
from headwater.errors import Misuse


@click.command("revert")
@click.argument("entity")
@click.argument("entity_id", metavar="ID")
@click.option("--to-version", type=click.IntRange(min=1), required=True, metavar="N", help="The version to restore.")
@click.option("--actor", metavar="WHO", help="Who asks for it, such as user:ann.")
@click.option("--yes", is_flag=True, help="Do it without asking; needed without a terminal.")
@click.option("--timeout", type=Seconds(), default=10.0, show_default=True, metavar="SECONDS")
@app_option
@on_option
@output_option
@click.pass_context
def command(
    ctx: click.Context,
    entity: str,
    entity_id: str,
    to_version: int,
    actor: str | None,
    yes: bool,
    timeout: float,
    app: str | None,
    on: str | None,
    form: Form,
) -> None:
    """Bring an entity back to an earlier version. Shows what changes, asks, then appends one event.

    The history stays complete; the revert is an event of it, hw.Reverted, and can itself be reverted. The entity's own
    table follows; a read model does if it reacts to hw.Reverted, and a note names those that do not.

    \b
      hw revert order 123 --to-version 3
    """
    project = Project(app, on, verb="revert")
    found = project.load()
    behaviour = vocabulary_of(found).entity(entity)
    one = f"{shlex.quote(entity)} {shlex.quote(entity_id)}"

    from headwater.operations.reverting import carry_out, not_following, plan_reversion

    with about(project, entity, entity_id), connected(project, found) as (shop, _):
        with then(Misuse, f"hw history {one}{project.flags}"):
            plan = plan_reversion(shop, behaviour, entity_id, to_version)
        if not plan.changes:
            note(f"{entity} {entity_id!r} is the same at versions {plan.version} and {to_version}: nothing to do")
            return
        changes = [change._asdict() for change in plan.changes]
        if form == "table" or not yes:  # for people: programs get the changes with the answer
            show_rows("table", ["field", "now", "then"], changes, beside=form != "table")
        _tell_who_stays(entity, not_following(entity, found.projections, found.plans()))
        if not yes and not _agreed(one, plan.version, to_version, project.flags):
            note("nothing was changed")
            ctx.exit(REFUSED)
        receipt = carry_out(shop, plan, actor=actor, timeout_s=timeout)
    done = {"entity": entity, "id": entity_id, "version": receipt.version, "restored": to_version}
    rest = {} if form == "table" else {"changes": changes}
    show_one(form, {**done, **rest, "commandId": receipt.command_id, "token": receipt.token})


def _tell_who_stays(entity: str, names: list[str]) -> None:
    if names:
        do, stay = ("does", "stays") if len(names) == 1 else ("do", "stay")
        note(
            f"a revert is an event, hw.Reverted; {', '.join(names)} {do} not react to it and {stay} as before: "
            f"a projection follows with @hw.on(hw.Reverted), a view FROM {entity}-state"
        )


def _agreed(one: str, version: int, to_version: int, flags: str) -> bool:
    """Asks at the terminal. Raises: Misuse: there is none."""
    if not sys.stdin.isatty():
        with_yes = f"hw revert {one} --to-version {to_version}{flags} --yes"
        raise advised(Misuse("nobody is there to be asked; nothing was changed"), with_yes)
    return click.confirm(f"Restore version {to_version} as version {version + 1}?", err=True)
