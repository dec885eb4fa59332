"""`hw lag`: how far behind groups and read models are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from headwater.cli.asking import connected, models_of
from headwater.cli.output import Form, note, output_option, show_rows
from headwater.cli.project import Project, app_option, on_option, store_option
from headwater.errors import Unavailable

if TYPE_CHECKING:
    from headwater.operations.groups import GroupLag
    from headwater.operations.lag import ReadModelLag
    from headwater.operations.stopped import FirstInLine

GROUP_COLUMNS = ["group", "topic", "partition", "current", "end", "lag", "member"]
MODEL_COLUMNS = ["readModel", "lag", "runner", "lastFailure"]
COPIES_COLUMNS = ["duplicates", "missing"]


@click.command("lag")
@app_option
@on_option
@store_option
@output_option
def command(app: str | None, on: str | None, store: str | None, form: Form) -> None:
    """Show how far each group is in each partition and, if the app is named, how each read model is.

    Tells partitions in which no command is carried out though somebody owns them, and those in which a transaction
    hides what was written. A lag counts positions, of which
    some may be gaps. `runner` is running, held, failed or none. `duplicates` and `missing` count records that others
    wrote twice, and numbers that did not come, of a read model with `dedupe`.
    """
    project = Project(app, on, store, verb="lag")

    from headwater.log.topology import Topology, owners_group
    from headwater.operations.groups import foreign_texts, group_lags
    from headwater.operations.held import held_texts
    from headwater.operations.lag import read_model_lags
    from headwater.operations.stopped import waiting

    with project.log() as log:
        groups = group_lags(log)
        ours = {owners_group(entity) for entity in Topology.read(log).entities()}
        stopped = waiting(log, groups)
        held = held_texts(log, groups)
    models: list[ReadModelLag] = []
    if project.knows_app:
        found = project.load()
        ours |= {model.runner for model in models_of(found)} | {shape.entity for shape in found.processes}
        for view in found.plans():
            from headwater.views.groups import groups_in_log

            ours |= set(groups_in_log(found.name, view).values())
        try:
            with connected(project, found, read_models=True) as (_, running):
                assert running.models is not None
                models = read_model_lags(running.models)
        except Unavailable as error:
            note(str(error))  # the groups are worth showing all the same
    foreign = foreign_texts(groups, ours)
    _show(form, groups, foreign, {(one.group, one.topic, one.partition): one for one in stopped}, held, models)


def _show(
    form: Form,
    groups: list[GroupLag],
    foreign: list[str],
    stopped: dict[tuple[str, str, int], FirstInLine],
    held: dict[tuple[str, int], str],
    models: list[ReadModelLag],
) -> None:
    group_rows: list[dict[str, Any]] = []
    for lag in groups:
        one = stopped.get((lag.group, lag.topic, lag.partition))
        more = {"stopped": None if one is None else one.text, "held": held.get((lag.topic, lag.partition))}
        group_rows.append({**lag._asdict(), **more})
    model_rows: list[dict[str, Any]] = [
        {
            "readModel": lag.name,
            "lag": lag.events,
            "runner": lag.runner,
            "lastFailure": lag.last_failure,
            **({} if lag.duplicates is None else {"duplicates": lag.duplicates, "missing": lag.missing}),
        }
        for lag in models
    ]
    if form != "table":
        show_rows(form, [], [*group_rows, *model_rows])
        return
    show_rows(form, GROUP_COLUMNS, group_rows, empty="no groups")
    for text in [*(one.text for one in stopped.values()), *held.values()]:
        note(text)
    for text in foreign:
        note(text)
    if model_rows:
        sys.stdout.write("\n")
        found = COPIES_COLUMNS if any("duplicates" in row for row in model_rows) else []
        show_rows(form, [*MODEL_COLUMNS, *found], model_rows)
