"""`hw deadletters`: what could not be applied, and what is to become of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headwater.cli.deadletters_options import Choice, Manner, Where, choice_option, manner_option, where_option
from headwater.cli.deadletters_working import chosen, deadletters_of, edited, selection_of, work
from headwater.cli.ending import Remembered
from headwater.cli.output import Text, show_one, show_rows

if TYPE_CHECKING:
    from headwater.operations.deadletters import Letter, Trouble

TROUBLE_COLUMNS = ["reader", "handler", "error", "letters", "waiting", "firstFailed", "lastFailed", "example"]
LETTER_COLUMNS = ["id", "key", "handler", "error", "message", "attempts", "waiting", "lastFailed"]
AUDIT_COLUMNS = ["at", "id", "step", "who", "reason", "handler", "error", "message"]


@click.group("deadletters")
def command() -> None:
    """Work with dead letters: records that a read model, a view or a process could not apply, and those behind them.

    \b
      hw deadletters list                      what went wrong, how often, since when
      hw deadletters retry --error ValueError  after the handler was mended
      hw deadletters discard ID --reason "a test order"

    The process that owns the partition carries a retry or a discard out, in order: `hw run` must run somewhere.
    """


@command.command("list")
@choice_option
@click.option("--each", is_flag=True, help="A line for each, not for each kind of trouble.")
@where_option
def list_(choice: Choice, each: bool, where: Where) -> None:
    """List dead letters, grouped by handler and error, with the first and the last time."""
    with deadletters_of(where.project("list")) as desk:
        selection = selection_of(choice)
        if each or choice.ids:
            rows = [_letter_row(letter) for letter in desk.letters(selection)]
            show_rows(where.form, LETTER_COLUMNS, rows, empty="no dead letters")
        else:
            rows = [_trouble_row(trouble) for trouble in desk.troubles(selection)]
            show_rows(where.form, TROUBLE_COLUMNS, rows, empty="no dead letters")


@command.command("show")
@click.argument("id", metavar="ID")
@where_option
def show(id: str, where: Where) -> None:
    """Show a dead letter: the record as it came, and why it failed."""
    with deadletters_of(where.project("show")) as desk:
        [letter] = desk.letters(selection_of(Choice((id,))))
        row = letter.row
        headers = {name: content.decode(errors="backslashreplace") for name, content in row.headers}
        more = {
            "stage": row.stage,
            "firstFailed": row.first_failed,
            "timestampMs": row.timestamp_ms,
            "headers": headers,
            "value": _words(row.value),
        }
        show_one(where.form, {**_letter_row(letter), **more})


@command.command("audit")
@where_option
def audit(where: Where) -> None:
    """Show what was done with dead letters, by whom and why, the oldest first."""
    from headwater.failures.letters import letter_id

    with deadletters_of(where.project("audit")) as desk:
        rows = [
            {
                "at": line.at,
                "id": letter_id(desk.group(reader), line.topic, line.partition, line.record_offset),
                "step": line.step,
                "who": line.who,
                "reason": line.reason,
                "handler": line.handler,
                "error": line.error,
                "message": line.message,
                "valueBefore": _words(line.before),
            }
            for reader, line in desk.audit()
        ]
        show_rows(where.form, AUDIT_COLUMNS, rows, empty="nothing was done yet")


@command.command("retry", cls=Remembered)
@choice_option
@click.option("--value", type=click.Path(path_type=Path), metavar="FILE", help="Retry one with this value instead.")
@click.option("--edit", is_flag=True, help="Edit the value of one in your editor, then retry it.")
@manner_option
@where_option
@click.pass_context
def retry(ctx: click.Context, choice: Choice, value: Path | None, edit: bool, manner: Manner, where: Where) -> None:
    """Try dead letters again, each followed by what waits behind it. Counts them first, then asks.

    The exit code is 4 if one of them failed again.
    """
    project = where.project("retry")
    with deadletters_of(project) as desk:
        found = chosen(desk, choice, manner.everything, "retry")
        work(ctx, project, desk, found, "retry", manner, where.form, value=edited(project, found, value, edit))


@command.command("discard", cls=Remembered)
@choice_option
@click.option("--reason", type=Text(), required=True, help="Why; it stays in the audit.")
@manner_option
@where_option
@click.pass_context
def discard(ctx: click.Context, choice: Choice, reason: str, manner: Manner, where: Where) -> None:
    """Skip dead letters for good, on record. What waits behind each of them is applied."""
    project = where.project("discard")
    with deadletters_of(project) as desk:
        found = chosen(desk, choice, manner.everything, "discard")
        work(ctx, project, desk, found, "discard", manner, where.form, reason=reason)


def _trouble_row(trouble: Trouble) -> dict[str, Any]:
    return {
        "reader": trouble.reader,
        "stage": trouble.stage,
        "handler": trouble.handler,
        "error": trouble.error,
        "letters": trouble.letters,
        "waiting": trouble.waiting,
        "firstFailed": trouble.first,
        "lastFailed": trouble.last,
        "message": trouble.example.row.message,
        "example": trouble.example.id,
    }


def _letter_row(letter: Letter) -> dict[str, Any]:
    row = letter.row
    return {
        "id": letter.id,
        "reader": letter.reader,
        "key": _words(row.key),
        "handler": row.handler,
        "error": row.error,
        "message": row.message,
        "attempts": row.attempts,
        "waiting": letter.waiting,
        "lastFailed": row.last_failed,
    }


def _words(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="backslashreplace")
