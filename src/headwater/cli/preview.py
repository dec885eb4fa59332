"""`hw preview`: what changed code would do with the history that there is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import click

from headwater.cli.ending import REFUSED, then
from headwater.cli.output import Form, note, output_option, show_rows
from headwater.cli.preview_rows import entity_rows, for_people, table_rows
from headwater.cli.project import Project, app_option, on_option, store_option
from headwater.errors import Misuse, Unavailable

if TYPE_CHECKING:
    from headwater.app import App
    from headwater.log.port import Log
    from headwater.operations.preview import EntityPreview, TablePreview
    from headwater.operations.preview_sides import LocalSide, Side, StoredSide
    from headwater.projections.read_model import ReadModel
    from headwater.stores.port import Store

COLUMNS = ["what", "name", "id", "event", "detail"]


@click.command("preview")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--against",
    metavar="WHERE",
    help="The code that runs now: a revision of git (HEAD, v1.4) or a folder. It folds the same events in a process of "
    "its own, so every difference is exact. Without it, stored states and rows are compared.",
)
@app_option
@on_option
@store_option
@output_option
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    against: str | None,
    app: str | None,
    on: str | None,
    store: str | None,
    form: Form,
) -> None:
    """Run the code as it is now over all events, in memory, and compare. Changes nothing.

    Tells each entity whose state would be another one, with the first event that makes the difference; each row that
    would be another one; what cannot be read or folded; and how long it takes to make all states anew. NAME is an
    entity type or a projection's table; none: all. Exit code 1 if anything would be different, or fail.

    \b
      hw preview --against HEAD
      hw preview account --against ../shop-1.4 --output json
    """
    project = Project(app, on, store, verb="preview")
    sys.dont_write_bytecode = True  # also beside the app's own modules nothing is written
    found = project.load()

    from headwater.environment import SYSTEM
    from headwater.operations.preview import preview_entity, preview_tables
    from headwater.operations.preview_sides import LocalSide
    from headwater.projections.read_model import read_models_of

    behaviours = {one.entity: one for one in found.behaviours.values()}
    models = read_models_of(found.name, found.projections, found.codecs)
    _refuse_unknown(names, [*behaviours, *(table.name for model in models for table in model.tables)])
    entities: list[EntityPreview] = []
    tables: list[TablePreview] = []
    with project.whole_log() as log:
        new = LocalSide(behaviours, models, log, SYSTEM)
        with _store(project, found) as there, _old(project, against, new, found, models, log, there) as old:
            for entity, behaviour in behaviours.items():
                if not names or entity in names:
                    entities.append(preview_entity(behaviour, new, old, log, SYSTEM))
            for model in models:
                if not names or any(table.name in names for table in model.tables):
                    ends = there.positions(model.runner) if there is not None and against is None else None
                    tables += preview_tables(model, new, old, log, SYSTEM, ends)
    rows = [row for one in entities for row in entity_rows(one)] + [row for one in tables for row in table_rows(one)]
    show_rows(form, COLUMNS, rows if form != "table" else map(for_people, rows))
    _advise(entities, against)
    if not (all(one.clean for one in entities) and all(one.clean for one in tables)):
        ctx.exit(REFUSED)


def _refuse_unknown(names: tuple[str, ...], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise Misuse(f"the app has no entity type or table {name!r}; it has {', '.join(known) or 'none'}")


@contextmanager
def _store(project: Project, app: App) -> Iterator[Store | None]:
    """The read models' store; None: nobody has made them yet."""
    from headwater.cli.asking import store_of
    from headwater.stores.opening import open_store

    try:
        url = store_of(project, app)
    except Unavailable:
        yield None
        return
    with closing(open_store(url)) as store:
        yield store


@contextmanager
def _old(
    project: Project,
    against: str | None,
    new: LocalSide,
    app: App,
    models: list[ReadModel],
    log: Log,
    store: Store | None,
) -> Iterator[Side]:
    from headwater.cli.other_code import OtherCode, folder_of
    from headwater.environment import SYSTEM
    from headwater.operations.preview_sides import StoredSide

    behaviours = {one.entity: one for one in app.behaviours.values()}
    stored = StoredSide(behaviours, models, log, store, SYSTEM)
    if against is None:
        yield stored
        return
    with (
        then(Misuse, "hw preview --help"),
        folder_of(against) as folder,
        closing(OtherCode(folder, project.app_name, project.on)) as other,
    ):
        for entity in behaviours:
            _tell_other(entity, other, stored, against)
        yield other


def _tell_other(entity: str, other: Side, stored: StoredSide, against: str) -> None:
    """Says so where the states that are stored were made by another code than the one that is compared with."""
    said, there = other.schemas(entity), stored.schemas(entity)
    if said and there and not said & there:
        note(f"the states of {entity!r} were stored by other code ({', '.join(sorted(there))}) than {against}'s")


def _advise(entities: list[EntityPreview], against: str | None) -> None:
    from headwater.entities.schema import version_of

    for one in entities:
        newest = max(map(version_of, one.stored), default=0)
        if one.stored and one.schema not in one.stored and version_of(one.schema) <= newest:
            note(f"the code or fields of {one.entity!r} changed: declare its aggregate with version={newest + 1}")
        if against is None and any(wrong.first is None for wrong in one.differences):
            note("the log does not keep every state: --against HEAD (or the revision that runs) names each first event")
