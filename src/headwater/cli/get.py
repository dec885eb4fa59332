"""`hw get`: an entity's state, now or at a moment of the past."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from headwater.cli.asking import about, connected, vocabulary_of
from headwater.cli.ending import then
from headwater.cli.output import Form, note, output_option, show_one
from headwater.cli.project import Project, app_option, on_option
from headwater.cli.times import Moment
from headwater.errors import Misuse, NotFound, Unavailable

if TYPE_CHECKING:
    from headwater.client.shop import Shop
    from headwater.entities.behaviour import Behaviour


class NotThen(NotFound):
    """There is one, but there was none at that moment. Arguments: first: ": when it was", or nothing."""

    def __init__(self, entity: str, entity_id: str, first: str) -> None:
        super().__init__(entity, entity_id)
        self.args = (f"{entity} {entity_id!r} had no events by then{first}",)


@click.command("get")
@click.argument("entity")
@click.argument("entity_id", metavar="ID")
@click.option("--as-of", type=Moment(), metavar="TIME", help="What was true then: the events that had happened.")
@click.option("--known-at", type=Moment(), metavar="TIME", help="What was known then: the events that were recorded.")
@click.option("--at-version", type=click.IntRange(min=1), metavar="N", help="After so many events.")
@app_option
@on_option
@output_option
def command(
    entity: str,
    entity_id: str,
    as_of: datetime | None,
    known_at: datetime | None,
    at_version: int | None,
    app: str | None,
    on: str | None,
    form: Form,
) -> None:
    """Show an entity. A TIME is 2024-04-10T10:30:00Z, or 2024-04-10 for the end of that day (UTC).

    Versions count in the order of recording. Where events happened in another order, what was true at a time may be no
    version of the entity: its version is null then.

    \b
      hw get order 123
      hw get order 123 --as-of 1997-12-31
    """
    project = Project(app, on, verb="get")
    found = project.load()
    behaviour = vocabulary_of(found).entity(entity)
    with about(project, entity, entity_id), connected(project, found) as (shop, _):
        if (as_of, known_at, at_version) == (None, None, None):
            state = _now(shop, behaviour, entity_id)
        else:
            with then((Misuse, NotThen), f"hw history {shlex.quote(entity)} {shlex.quote(entity_id)}{project.flags}"):
                state = _past(shop, behaviour, entity_id, as_of=as_of, known_at=known_at, at_version=at_version)
    import msgspec

    shown: dict[str, Any] = msgspec.json.decode(behaviour.encode_state(state), type=dict[str, msgspec.Raw])
    if not state.version:
        shown["version"] = None
        order = "its events were recorded in another order than they happened"
        note(f"no version of {entity} {entity_id!r} has this state, since {order}")
    show_one(form, shown)


def _past(shop: Shop, behaviour: Behaviour[Any], entity_id: str, **moment: Any) -> Any:
    """Arguments: moment: as of `Shop.get`. Raises: NotFound, NotThen."""
    try:
        return shop.get(behaviour.aggregate, entity_id, **moment)
    except NotFound as error:
        metas = [recorded.meta for recorded in shop.history(behaviour.aggregate, entity_id)]
        if not metas:
            raise
        first = ""
        if moment["known_at"] is None:
            first = f": the first happened at {_told(min(meta.time for meta in metas))}"
        elif moment["as_of"] is None:
            first = f": the first was recorded at {_told(min(meta.recorded or meta.time for meta in metas))}"
        raise NotThen(behaviour.entity, entity_id, first) from error


def _told(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _now(shop: Shop, behaviour: Behaviour[Any], entity_id: str) -> Any:
    """The state as its owner knows it; while there is no owner nothing is written, so then the log says as much."""
    try:
        return shop.get(behaviour.aggregate, entity_id)
    except Unavailable as error:
        history = shop.history(behaviour.aggregate, entity_id)
        if not history:
            raise NotFound(behaviour.entity, entity_id) from error
        note(f"{str(error).partition(';')[0]}: this is what the log says")
        return behaviour.fold(entity_id, history)
