"""`hw history`: an entity's events, each with what is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from headwater.cli.asking import about, connected, vocabulary_of
from headwater.cli.output import Form, output_option, show_rows
from headwater.cli.project import Project, app_option, on_option
from headwater.errors import NotFound

if TYPE_CHECKING:
    from headwater.messages.envelope import Recorded


@click.command("history")
@click.argument("entity")
@click.argument("entity_id", metavar="ID")
@app_option
@on_option
@output_option
def command(entity: str, entity_id: str, app: str | None, on: str | None, form: Form) -> None:
    """Show the events of an entity, in order. Needs nobody who runs the app.

    \b
      hw history order 123
    """
    project = Project(app, on, verb="history")
    found = project.load()
    behaviour = vocabulary_of(found).entity(entity)
    with about(project, entity, entity_id), connected(project, found) as (shop, _):
        history = shop.history(behaviour.aggregate, entity_id)
        if not history:
            raise NotFound(entity, entity_id)
    show_rows(form, ["version", "time", "type", "event", "actor"], _rows(history))


def _rows(history: list[Recorded[Any]]) -> Iterator[dict[str, Any]]:
    import msgspec

    for event, meta in ((recorded.event, recorded.meta) for recorded in history):
        fields = msgspec.to_builtins(event, builtin_types=(msgspec.Raw,))
        fields.pop("eventType", None)
        yield {
            "version": meta.version,
            "time": meta.time,
            "recorded": meta.recorded,
            "type": meta.type,
            "event": fields,
            "actor": meta.actor,
            "id": meta.id,
            "commandId": meta.command_id,
            "topic": meta.topic,
            "partition": meta.partition,
            "offset": meta.offset,
        }
