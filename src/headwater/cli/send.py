"""`hw send`: has a command carried out and shows its receipt."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime

import click

from headwater.cli.asking import about, about_nothing, connected, vocabulary_of
from headwater.cli.disk import looked_at
from headwater.cli.ending import then
from headwater.cli.output import Form, Text, output_option, show_one
from headwater.cli.project import Project, app_option, on_option
from headwater.cli.times import Instant, Seconds
from headwater.errors import Unknown

SHOWN_CHARACTERS = 1000
"""A longer payload from standard input is not repeated in a command to type next."""


@click.command("send")
@click.argument("name", metavar="COMMAND")
@click.argument("payload", metavar="JSON")
@click.option(
    "--id",
    "command_id",
    type=Text(),
    metavar="ID",
    help="Sending the same id again repeats the answer, not the command.",
)
@click.option("--expected-version", type=click.IntRange(min=0), metavar="N", help="Refuse unless the entity is there.")
@click.option("--time", type=Instant(), metavar="TIME", help="When it happened, such as 2024-04-10T10:30:00Z.")
@click.option("--actor", metavar="WHO", help="Who asks for it, such as user:ann.")
@click.option("--timeout", type=Seconds(), default=10.0, show_default=True, metavar="SECONDS")
@app_option
@on_option
@output_option
def command(
    name: str,
    payload: str,
    command_id: str | None,
    expected_version: int | None,
    time: datetime | None,
    actor: str | None,
    timeout: float,
    app: str | None,
    on: str | None,
    form: Form,
) -> None:
    """Send a command and wait for its outcome. JSON `-` reads it from standard input.

    \b
      hw send PlaceOrder '{"orderId":"123","customerId":"456","total":"11.77"}'
    """
    project = Project(app, on, verb="send")
    found = project.load()

    from headwater.environment import SYSTEM
    from headwater.messages.declare import key_of
    from headwater.operations.vocabulary import check_type, read_message

    word = vocabulary_of(found).command(name)
    text = sys.stdin.read() if payload == "-" else payload
    check_type(word, text)
    message = read_message(word, text, ignore={"commandType"})
    sent_as = command_id or SYSTEM.new_id()
    typed = payload if len(text) > SHOWN_CHARACTERS else text.strip()
    again = f"hw send {shlex.quote(name)} {shlex.quote(typed)} --id {shlex.quote(sent_as)}{project.flags}"
    with (
        about(project, word.behaviour.entity, key_of(message)),
        then(Unknown, again),
        connected(project, found) as (shop, _),
        looked_at(project.file, again),
        about_nothing(project, shop, word.behaviour, key_of(message)),
    ):
        receipt = shop.send(
            message,
            command_id=sent_as,
            expected_version=expected_version,
            time=time,
            actor=actor,
            timeout_s=timeout,
        )
    show_one(
        form,
        {
            "entity": receipt.entity,
            "id": receipt.id,
            "version": receipt.version,
            "events": receipt.events,
            "duplicate": receipt.duplicate,
            "commandId": receipt.command_id,
            "token": receipt.token,
        },
    )
