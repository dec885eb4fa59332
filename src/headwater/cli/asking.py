"""What the verbs share that talk to an app's entities: the shop, and what to type when something is in the way."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.cli.disk import looked_at
from headwater.cli.ending import ALSO, advised, then
from headwater.cli.project import Project
from headwater.errors import Conflict, Failed, HeadwaterError, NotFound, Unavailable, Unknown

if TYPE_CHECKING:
    from headwater.app import App, Running
    from headwater.client.shop import Shop
    from headwater.entities.behaviour import Behaviour
    from headwater.operations.vocabulary import Vocabulary
    from headwater.projections.read_model import ReadModel


@contextmanager
def connected(project: Project, app: App, *, read_models: bool = False) -> Iterator[tuple[Shop, Running]]:
    """A client of the app on the project's log.

    Arguments: read_models: whether they are wanted; else their store is not touched.
    Raises: Unavailable: there is no such log or store, or it does not answer.
    """
    project.check_reachable_from_here()
    store = store_of(project, app) if read_models else "memory://"
    running = app.connect(project.on, store=store, views_store=project.views_store)
    with project.reaching():
        shop = running.__enter__()
    try:
        with then(Unavailable, project.run_command), looked_at(project.file, f"hw topics{project.log_flags}"):
            yield shop, running
    finally:
        running.close()


def store_of(project: Project, app: App) -> str:
    """The address of the app's read models. Raises: Unavailable: nobody has made them yet."""
    from headwater.log.opening import sqlite_path
    from headwater.settings import store_url_for

    url = store_url_for(project.on, app.name, project.store)
    if url.startswith("sqlite://") and not Path(sqlite_path(url)).exists():
        raise advised(Unavailable(f"there are no read models at {url}: no app has made them yet"), project.run_command)
    return url


def models_of(app: App) -> list[ReadModel]:
    """All read models of an app: its projections, and the table of each aggregate."""
    from headwater.projections.entity_table import aggregate_tables
    from headwater.projections.read_model import read_models_of

    models = read_models_of(app.name, app.projections, app.codecs)
    return models + aggregate_tables(app.name, list(app.behaviours.values()), models)


def vocabulary_of(app: App) -> Vocabulary:
    from headwater.operations.vocabulary import Vocabulary

    return Vocabulary(app.behaviours.values())


@contextmanager
def about(project: Project, entity: str, entity_id: str) -> Iterator[None]:
    """What to type next about one entity."""
    from headwater.messages.rejection import Rejected

    one = f"{shlex.quote(entity)} {shlex.quote(entity_id)}{project.flags}"
    with (
        then(Conflict, f"hw get {one}"),
        then(Rejected, f"hw history {one}"),
        then(NotFound, _tail(project, entity)),
        then((Unknown, Failed), f"hw history {one}"),
        stops_told(project, (entity, entity_id)),
    ):
        yield


@contextmanager
def stops_told(project: Project, one: tuple[str, str] | None = None) -> Iterator[None]:
    """Adds to a command without an answer what keeps partitions from going on, where the log shows that.

    Arguments: one: the entity's type and id (None: any), for a question that has no command to type next of its own.
    """
    try:
        yield
    except Unknown as error:
        from headwater.log.opening import open_log
        from headwater.operations.groups import group_lags
        from headwater.operations.stopped import in_front_of, waiting

        with suppress(HeadwaterError), closing(open_log(project.on)) as log:  # it is only for advice
            found = waiting(log, group_lags(log)) if one is None else [in_front_of(log, *one)]
            for first in found:
                if first is not None:
                    error.add_note(f"{ALSO}{first.text}")
                    if one is not None:
                        advised(error, f"hw doctor{project.log_flags}")
        raise


@contextmanager
def about_nothing(project: Project, shop: Shop, behaviour: Behaviour[Any], entity_id: str) -> Iterator[None]:
    """What to type next where an entity is not there that a command was sent to: it has no history to look at.

    Also of a command that failed: it would fail again.
    """
    from headwater.messages.rejection import Rejected

    try:
        yield
    except (Rejected, Conflict, Failed) as error:
        with suppress(HeadwaterError):  # it is only for advice
            if shop.find(behaviour.aggregate, entity_id) is None:
                advised(error, _tail(project, behaviour.entity))
        raise


def _tail(project: Project, entity: str) -> str:
    return f"hw tail {shlex.quote(entity)}{project.log_flags}"
