"""`hw schema`: the working code's events beside what is registered."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headwater.cli.ending import REFUSED, then
from headwater.cli.output import Form, note, output_option, show_one, show_rows
from headwater.cli.project import Project, app_option, on_option
from headwater.errors import Misuse

if TYPE_CHECKING:
    from headwater.schemas.compatibility import Level
    from headwater.schemas.registries import Registry
    from headwater.schemas.registries.listening import Heard
    from headwater.schemas.registries.publishing import Published, Verdict

F = TypeVar("F", bound=Callable[..., Any])

CHECK_COLUMNS = ["subject", "state", "revision", "path", "reason", "advice"]
HISTORY_COLUMNS = ["subject", "revision", "id", "format", "location"]
LEVEL_COLUMNS = ["subject", "asked", "level", "mode"]
DIRECTORY = "schemas/"
"""Where schemas are if nothing says it."""


@click.group("schema")
def command() -> None:
    """Keep schemas of events, and see before deployment whether old and new code read each other.

    \b
      hw schema check        the working code beside what is registered; for CI
      hw schema register     publish what is new
      hw schema history      all revisions there are
      hw schema diff OrderPlaced
      hw schema level        what is asked of new schemas
    """


def schema_options(function: F) -> F:
    text = "Where schemas are: a directory, log:// or https://….  [default: what the app names, or schemas/]"
    function = click.option("--schemas", "address", metavar="ADDRESS", help=text)(function)
    return app_option(on_option(output_option(function)))


@command.command("check")
@schema_options
@click.pass_context
def check(ctx: click.Context, app: str | None, on: str | None, address: str | None, form: Form) -> None:
    """Compare the schemas of the working code's events with what is registered. Changes nothing.

    Events of others, that projections and processes react to, are `read`, `unread` or `unknown` to the registry.

    Ends with 1 if a schema is not compatible with the earlier ones, if events of others cannot be read, or, where
    schemas are files, if one is not registered.
    """
    from headwater.schemas.registries.listening import heard
    from headwater.schemas.registries.publishing import verdicts, way_out

    project = Project(app, on, verb="schema check")
    with _registry(project, address) as (registry, published):
        found = verdicts(registry, published)
        listened = [
            one for topic, events in project.load().listened().items() for one in heard(registry, topic, events)
        ]
        rows = [row for verdict in found for row in _rows(verdict)] + [row for one in listened for row in _heard(one)]
        show_rows(form, CHECK_COLUMNS, rows, empty="no events")
        wrong = [one for one in found if one.state == "incompatible"]
        missing = [one for one in found if one.state in ("new", "changed")]
        if wrong:
            note(f"{registry.level} is asked for. {way_out(wrong[0])}")
        elif missing:
            note(f"not registered yet: hw schema register{_flags(project, address)}")
        unread = any(one.state == "unread" for one in listened)
        if wrong or unread or (missing and registry.by_hand):
            ctx.exit(REFUSED)


@command.command("register")
@schema_options
def register(app: str | None, on: str | None, address: str | None, form: Form) -> None:
    """Publish the schemas of the working code's events: all that are new, or nothing if one is not compatible.

    What is registered stays: there may be records of it. A class that still changes is better registered when it is
    done.
    """
    from headwater.schemas.registries.publishing import register_all, verdicts

    project = Project(app, on, verb="schema register")
    with _registry(project, address) as (registry, published):
        new = {one.published.subject for one in verdicts(registry, published) if one.state in ("new", "changed")}
        with then(Misuse, f"hw schema check{_flags(project, address)}"):
            there = register_all(registry, published)
        rows = [_registered_row(registry, one) for one in there if one.subject in new]
        show_rows(form, HISTORY_COLUMNS, rows, empty="everything is registered already")


@command.command("history")
@click.argument("subject", required=False)
@schema_options
def history(subject: str | None, app: str | None, on: str | None, address: str | None, form: Form) -> None:
    """List what is registered: all subjects, or one (its whole name, or the event's)."""
    from headwater.schemas.port import UnknownSchema

    project = Project(app, on, verb="schema history")
    with _registry(project, address) as (registry, published):
        known = sorted({*registry.subjects(), *(one.subject for one in published)})
        subjects = registry.subjects() if subject is None else _matching(known, subject)
        rows = []
        for name in subjects:
            try:
                rows += [_registered_row(registry, one) for one in registry.revisions(name)]
            except UnknownSchema as error:  # a registry may have schemas of others, in formats of theirs
                note(f"{name} is left out: {error}")
        show_rows(form, HISTORY_COLUMNS, rows, empty=f"nothing is registered in {registry.place}")


@command.command("diff")
@click.argument("subject")
@click.option("--from", "old", type=click.IntRange(min=1), metavar="REVISION", help="[default: the last but --to]")
@click.option("--to", "new", type=click.IntRange(min=1), metavar="REVISION", help="[default: the working code]")
@schema_options
def diff(
    subject: str, old: int | None, new: int | None, app: str | None, on: str | None, address: str | None, form: Form
) -> None:
    """Show what differs between two revisions, or the last one and the working code, and who can read whom."""
    from headwater.schemas.registries.comparing import compared

    project = Project(app, on, verb="schema diff")
    with _registry(project, address) as (registry, published):
        known = sorted({*registry.subjects(), *(one.subject for one in published)})
        matching = _matching(known, subject)
        if len(matching) > 1:
            raise Misuse(f"{subject!r} may be {' or '.join(matching)}: write one of them")
        working = next((one.schema for one in published if one.subject == matching[0]), None)
        found = compared(matching[0], registry.revisions(matching[0]), working, old, new)
    if form == "table":
        sys.stdout.write(found.text)
        note(f"{found.newer} reads what {found.older} wrote: {_judged(found.backward)}")
        note(f"{found.older} reads what {found.newer} writes: {_judged(found.forward)}")
    else:
        show_one(form, found._asdict())


@command.command("level")
@click.argument("subject", required=False)
@click.option("--set", "wanted", metavar="LEVEL", help="Give these events this level on the registry's server.")
@schema_options
def level(
    subject: str | None, wanted: str | None, app: str | None, on: str | None, address: str | None, form: Form
) -> None:
    """Show what is asked of new schemas of the app's events, or of one event: by the address, and by the registry
    itself, with its mode. A level on a server is set for these events, never for the whole registry.
    """
    from headwater.schemas.compatibility import level_named

    project = Project(app, on, verb="schema level")
    level = None if wanted is None else level_named(wanted)
    with _registry(project, address) as (registry, published):
        known = sorted(one.subject for one in published)
        subjects = known if subject is None else _matching(known, subject)
        if level is not None:
            _set_level(registry, subjects, level)
        rows = [_level_row(registry, name) for name in subjects]
        show_rows(form, LEVEL_COLUMNS, rows, empty="no events")


def _set_level(registry: Registry, subjects: list[str], level: Level) -> None:
    if registry.rules is None:
        raise Misuse(f'the level of {registry.place} stands in the app alone: write schemas="…?compatibility={level}"')
    for name in subjects:
        registry.rules.set_level(name, level)


def _level_row(registry: Registry, subject: str) -> dict[str, Any]:
    row = {"subject": subject, "asked": registry.level}
    return row if registry.rules is None else row | registry.rules.of(subject)._asdict()


@contextmanager
def _registry(project: Project, address: str | None) -> Iterator[tuple[Registry, list[Published]]]:
    """The registry that is meant, open, and the schemas of the working code."""
    from headwater.schemas.registries import open_registry

    app = project.load()
    where = address or app.schemas or DIRECTORY
    if address is None and app.schemas is None:
        note(f'the app names no schemas, so {DIRECTORY} is looked at; hw.App(…, schemas="{DIRECTORY}") has it checked')
    with ExitStack() as opened:
        log = opened.enter_context(project.log()) if where.startswith("log://") else None
        yield opened.enter_context(closing(open_registry(where, log))), app.published()


def _rows(verdict: Verdict) -> list[dict[str, Any]]:
    row = {"subject": verdict.published.subject, "state": verdict.state, "revision": verdict.revision}
    if verdict.said:
        return [{**row, "reason": f"the registry says: {verdict.said}"}]
    if not verdict.breaks:
        return [row]
    return [
        {**row, "path": one.path, "reason": one.reason, "advice": one.advice, "direction": one.direction}
        | {"against": one.revision}
        for one in verdict.breaks
    ]


def _heard(one: Heard) -> list[dict[str, Any]]:
    row = {"subject": one.subject, "state": one.state}
    return [
        {**row, "revision": revision, "path": found.path, "reason": found.reason} for revision, found in one.wrong
    ] or [row]


def _registered_row(registry: Registry, one: Any) -> dict[str, Any]:
    return {
        "subject": one.subject,
        "revision": one.revision,
        "id": one.id,
        "format": one.schema.kind,
        "location": registry.location(one.id),
    }


def _matching(subjects: list[str], text: str) -> list[str]:
    """The subjects that a text means: one by its whole name, or those of an event. Raises: Misuse: none."""
    from headwater.schemas.subjects import is_subject, parsed_subject

    if text in subjects:
        return [text]
    ours = [one for one in subjects if is_subject(one)]
    found = [one for one in ours if parsed_subject(one).name == text or one.partition("/")[2] == text]
    if not found:
        raise Misuse(f"there is no subject {text!r}; there are {', '.join(subjects) or 'none'}")
    return found


def _judged(found: list[str]) -> str:
    return "all of it" if not found else "no: " + " | ".join(found)


def _flags(project: Project, address: str | None) -> str:
    return project.flags + ("" if address is None else f" --schemas {shlex.quote(address)}")
