"""The file of an app's views, as verbs find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.cli.project import Project

if TYPE_CHECKING:
    from headwater.app import App
    from headwater.environment import Environment
    from headwater.log.port import Log
    from headwater.operations.rebuild_views import FileOfViews
    from headwater.views.reading import Statements


def place_of_views(project: Project, app: App) -> str:
    """Where it lives."""
    from headwater.settings import views_place_for

    return views_place_for(project.on, app.name, project.store, project.views_store)


def file_of_views(
    project: Project, app: App, statements: Statements, log: Log, environment: Environment
) -> FileOfViews:
    """Who carries out wishes about views; to be closed."""
    from headwater.operations.rebuild_views import FileOfViews

    return FileOfViews(app.name, statements, log, place_of_views(project, app), environment, app.codecs)
