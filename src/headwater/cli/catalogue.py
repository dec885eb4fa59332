"""`hw catalogue`: what an app says and hears, from its code."""

from __future__ import annotations

import json
from pathlib import Path

import click

from headwater.cli.output import Form, output_option, show_one
from headwater.cli.project import Project, app_option
from headwater.errors import Misuse

PAGE, DOCUMENT = "events.md", "asyncapi.json"


@click.command("catalogue")
@click.argument("directory", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--asyncapi", is_flag=True, help="Print the AsyncAPI document instead of the page.")
@app_option
@output_option
def command(directory: Path | None, asyncapi: bool, app: str | None, form: Form) -> None:
    """Write a page of every entity, event, version and field, who emits it and who listens, and the same as an AsyncAPI
    3 document. Needs no log.

    DIRECTORY gets both files, events.md and asyncapi.json; without it the page is printed.

    \b
      hw catalogue docs/events
      hw catalogue --asyncapi
    """
    from headwater.operations.asyncapi import asyncapi_of
    from headwater.operations.catalogue import catalogue_of
    from headwater.operations.catalogue_text import page_of

    found = Project(app, None, verb="catalogue").load()
    catalogue = catalogue_of(
        found.name, list(found.behaviours.values()), found.projections, found.processes, found.plans()
    )
    page, document = page_of(catalogue), json.dumps(asyncapi_of(catalogue), indent=2, ensure_ascii=False) + "\n"
    if directory is None:
        click.echo(document if asyncapi else page, nl=False)
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in ((PAGE, page), (DOCUMENT, document)):
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Misuse(f"{directory} cannot be written: {error.strerror or error}") from error
    events = sum(len(entity.events) for entity in catalogue.entities)
    show_one(form, {"directory": str(directory), "entities": len(catalogue.entities), "events": events})
