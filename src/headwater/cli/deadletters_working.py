"""`hw deadletters retry` and `discard`: which are meant, the question, and a line for each outcome."""

from __future__ import annotations

import getpass
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headwater.cli.asking import connected
from headwater.cli.deadletters_options import Choice, Manner
from headwater.cli.ending import BAD, NEXT, REFUSED, advised, again, then, told
from headwater.cli.output import Form, note, show_rows
from headwater.cli.project import Project
from headwater.errors import Misuse, Unavailable, counted

if TYPE_CHECKING:
    from headwater.failures.held import Action, Audit
    from headwater.operations.deadletters import DeadLetters, Letter, Selection

RESULT_COLUMNS = ["id", "result", "message"]


@contextmanager
def deadletters_of(project: Project) -> Iterator[DeadLetters]:
    """The dead letters of the app's read models, views, processes and streams."""
    from headwater.environment import SYSTEM
    from headwater.log.topology import owners_group
    from headwater.operations.deadletters import DeadLetters
    from headwater.operations.deadletters_places import InLog, InStore, Place, places_of_views

    found = project.load()
    with project.log() as log, connected(project, found, read_models=True) as (_, running):
        models = running.models
        assert models is not None
        readers: dict[str, Place] = {
            model.title: InStore(models.store, model.runner, SYSTEM) for model in models.models
        }
        for shape in found.processes:
            readers[shape.entity] = InLog(log, owners_group(shape.entity), SYSTEM)
            readers[f"{shape.entity}-forward"] = InLog(log, shape.entity, SYSTEM)
        if models.views is not None:
            try:
                readers |= places_of_views(models.views, SYSTEM)
            except Unavailable as error:  # the others have theirs where anybody can see them
                note(f"without those of views: {error}")
        for view in found.plans():
            from headwater.views.groups import groups_in_log

            for does, group in groups_in_log(found.name, view).items():
                readers[f"{view.name} ({does})"] = InLog(log, group, SYSTEM)
        with then(Misuse, f"hw deadletters list --each{project.flags}"):
            yield DeadLetters(readers, SYSTEM)


def selection_of(choice: Choice) -> Selection:
    from headwater.operations.deadletters import Selection

    return Selection(choice.ids, choice.readers, choice.handlers, choice.errors, choice.keys)


@dataclass(frozen=True)
class Chosen:
    """What is to be worked off. Arguments: settled: by id, those that were worked off before: the last step of each."""

    letters: list[Letter]
    settled: dict[str, Audit]


def chosen(desk: DeadLetters, choice: Choice, everything: bool, verb: str) -> Chosen:
    """Raises: Misuse: nothing was chosen, which must not mean all."""
    if choice.narrow == everything:
        raise Misuse(f"say which dead letters to {verb}: IDs, --reader, --handler, --error, --key, or --all")
    return Chosen(*desk.letters_and_settled(selection_of(choice)))


def edited(project: Project, chosen: Chosen, value: Path | None, edit: bool) -> bytes | None:
    """The value in place of a letter's own; None: there is none, or no letter any more. Raises: Misuse: of several, of
    no text, a file that cannot be read, or a value that no retry could read or is about another entity."""
    if value is None and not edit:
        return None
    if len(chosen.letters) + len(chosen.settled) != 1 or (value is not None and edit):
        raise Misuse("--value and --edit are for one dead letter, and not both")
    if chosen.settled:
        return None

    from headwater.operations.deadletters_editing import refuse_unfit

    [letter] = chosen.letters
    after = _from_editor(letter) if value is None else _from_file(value)
    app = project.load()
    with then(Misuse, f"hw deadletters show {shlex.quote(letter.id)}{project.flags}"):
        refuse_unfit(letter.row, after, app.known_events(), app.codecs)
    return after


def _from_file(value: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(value) == "-" else value.read_bytes()
    except OSError as error:
        raise Misuse(f"{value} cannot be read: {error.strerror or error}") from error


def _from_editor(letter: Letter) -> bytes:
    try:
        before = (letter.row.value or b"").decode()
    except UnicodeDecodeError as error:
        raise Misuse(f"the value is no text ({error}): write the corrected one to a file, --value FILE") from error
    after = click.edit(before, extension=".json", require_save=True)
    if after is None:
        raise Misuse("the editor saved nothing; nothing was retried")
    return after.rstrip("\n").encode()


def work(
    ctx: click.Context,
    project: Project,
    desk: DeadLetters,
    chosen: Chosen,
    action: Action,
    manner: Manner,
    form: Form,
    *,
    reason: str = "",
    value: bytes | None = None,
) -> None:
    """Counts, asks, has it done, and tells each outcome."""
    letters = chosen.letters
    if not letters and not chosen.settled:
        note("no dead letters")
        return
    if letters:
        _agreed(ctx, letters, action, manner)
    who = manner.who or f"user:{getpass.getuser()}"
    outcomes = desk.work(
        letters, action, who=who, reason=reason, per_s=manner.rate, timeout_s=manner.timeout, value=value
    )
    failed = 0

    def results() -> Iterator[dict[str, Any]]:
        from headwater.operations.deadletters import NOTHING

        nonlocal failed
        for id, line in chosen.settled.items():
            last = f"{line.step}, {line.at.isoformat(timespec='seconds')}, {line.who}"
            yield {"id": id, "result": NOTHING, "message": f"it is no dead letter any more; the last step: {last}"}
        for letter, line in outcomes:
            failed += line.step == "failed again"
            yield {"id": letter.id, "result": line.step, "message": line.message}

    show_rows(form, RESULT_COLUMNS, results())
    if failed:
        told(f"{NEXT}hw deadletters list{project.flags}")
        ctx.exit(BAD)


def _agreed(ctx: click.Context, letters: list[Letter], action: Action, manner: Manner) -> None:
    """Counts and asks. Raises: Misuse: nobody is there to be asked. Exit: it is not wanted."""
    waiting = sum(letter.waiting for letter in letters)
    count = f"{counted(len(letters), 'dead letter')}, and behind that {counted(waiting, 'record')}"
    if not manner.yes:
        if not sys.stdin.isatty():
            raise advised(Misuse(f"this would {action} {count}; nobody is there to be asked"), f"{again()} --yes")
        if not click.confirm(f"{action.capitalize()} {count}?", err=True):
            note("nothing was done")
            ctx.exit(REFUSED)
    told(f"note: {action}: {count}")
