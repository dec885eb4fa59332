"""What the verbs share that talk to an app's entities: the shop, and what to type when something is in the way."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headwater.cli.ending import then
from headwater.cli.project import Project
from headwater.errors import Conflict, Misuse, NotFound, Unavailable, Unknown

if TYPE_CHECKING:
    from headwater.app import App, Running
    from headwater.client.shop import Shop
    from headwater.operations.vocabulary import Vocabulary


@contextmanager
def connected(project: Project, app: App) -> Iterator[tuple[Shop, Running]]:
    """A client of the app on the project's log. Raises: Unavailable: there is no such log, or it does not answer."""
    project.check_reachable_from_here()
    running = app.connect(project.on, store=project.store)
    with project.reaching():
        shop = running.__enter__()
    try:
        with then(Unavailable, project.run_command):
            yield shop, running
    finally:
        running.close()


def vocabulary_of(app: App) -> Vocabulary:
    from headwater.operations.vocabulary import Vocabulary

    return Vocabulary(app.behaviours.values())


@contextmanager
def about(project: Project, entity: str, entity_id: str) -> Iterator[None]:
    """What to type next about one entity."""
    one = f"{shlex.quote(entity)} {shlex.quote(entity_id)}{project.flags}"
    from headwater.messages.rejection import Rejected

    log_only = "".join(f" --on {shlex.quote(project.on)}" for _ in [0] if "--on" in project.flags)
    with (
        then(Conflict, f"hw get {one}"),
        then(Rejected, f"hw history {one}"),
        then(NotFound, f"hw tail {shlex.quote(entity)}{log_only}"),
        then(Unknown, f"hw history {one}"),
    ):
        yield


@contextmanager
def naming_entity() -> Iterator[None]:
    """An entity type that the app does not have."""
    with then(Misuse, "hw topics"):
        yield
