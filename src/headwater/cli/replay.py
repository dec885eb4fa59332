"""`hw replay`: what happened to entities, told again somewhere else."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headwater.cli.asking import about, connected, vocabulary_of
from headwater.cli.ending import then
from headwater.cli.output import Form, Text, note, output_option, show_one
from headwater.cli.project import Project, app_option, on_option
from headwater.errors import Misuse, NotFound

if TYPE_CHECKING:
    from headwater.client.shop import Shop
    from headwater.entities.behaviour import Behaviour
    from headwater.messages.envelope import Recorded

    History = tuple[Behaviour[Any], str, list[Recorded[Any]]]

TOPIC = "topic:"


@click.command("replay")
@click.option(
    "--entity", "entities", nargs=2, multiple=True, required=True, metavar="TYPE ID", help="May be given often."
)
@click.option(
    "--to", "to", type=Text(), required=True, metavar="WHERE", help="FILE.ndjson, - , topic:NAME or FILE.py (a test)."
)
@click.option("--at-version", type=click.IntRange(min=1), metavar="N", help="Only the first N events of each.")
@app_option
@on_option
@output_option
def command(
    entities: tuple[tuple[str, str], ...],
    to: str,
    at_version: int | None,
    app: str | None,
    on: str | None,
    form: Form,
) -> None:
    """Take the events of entities somewhere else. Nothing changes where they are.

    A file has a line for each event, as hw import takes them (into another log). A topic gets copies of the records. A
    .py file becomes a test: given(…) all events, the state that they led to.

    \b
      hw replay --entity order 123 --to order-123.ndjson
      hw replay --entity order 123 --entity payment p-1 --to topic:debugging
      hw replay --entity order 123 --at-version 7 --to tests/test_order_123.py
    """
    project = Project(app, on, verb="replay")
    found = project.load()
    vocabulary = vocabulary_of(found)
    wanted = [(vocabulary.entity(entity), entity_id) for entity, entity_id in entities]
    if to.endswith(".py") and len(wanted) > 1:
        raise Misuse("a test is of one entity: name one, or write to a file of lines")
    path = None if to == "-" or to.startswith(TOPIC) else Path(to)
    if path is not None:
        _refuse_file(path)
    with connected(project, found) as (shop, _):
        histories = [(one, id, _history(project, shop, one, id, at_version)) for one, id in wanted]
    if to.startswith(TOPIC):
        with then(Misuse, "hw replay --help"):
            count = _copy(project, histories, to.removeprefix(TOPIC))
    else:
        count = _write(path, histories)
    if to != "-":
        show_one(form, {"to": to, "entities": len(wanted), "events": count})


def _refuse_file(path: Path) -> None:
    if path.exists():
        raise Misuse(f"{path} exists already: name another file")
    if path.suffix not in (".py", ".ndjson", ".jsonl"):
        raise Misuse(f"{str(path)!r}: write FILE.ndjson, - (standard output), topic:NAME, or FILE.py for a test")


def _history(
    project: Project, shop: Shop, behaviour: Behaviour[Any], entity_id: str, version: int | None
) -> list[Recorded[Any]]:
    from headwater.entities.travel import at_version

    one = f"{shlex.quote(behaviour.entity)} {shlex.quote(entity_id)}{project.flags}"
    with about(project, behaviour.entity, entity_id), then(Misuse, f"hw history {one}"):
        history = shop.history(behaviour.aggregate, entity_id)
        if not history:
            raise NotFound(behaviour.entity, entity_id)
        return list(history) if version is None else at_version(history, version)


def _write(path: Path | None, histories: list[History]) -> int:
    from headwater.operations.replaying import lines_of, reverts_in

    if path is not None and path.suffix == ".py":
        from headwater.operations.scenario_text import scenario_text

        [(behaviour, entity_id, history)] = histories
        _put(path, scenario_text(behaviour, entity_id, history).encode())
        note(f"pytest {path} runs it")
        return len(history)
    lines = [line for behaviour, _, history in histories for line in lines_of(behaviour, history)]
    if path is None:
        sys.stdout.write(b"".join(lines).decode())
    else:
        _put(path, b"".join(lines))
    reverts = sum(reverts_in(history) for _, _, history in histories)
    if reverts:
        note(f"{reverts} of the events are reverts, which hw import does not take: it ends at another state")
    return len(lines)


def _put(path: Path, content: bytes) -> None:
    """Raises: Misuse: the file cannot be written."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Misuse(f"{path} cannot be written: {error.strerror or error}") from error


def _copy(project: Project, histories: list[History], topic: str) -> int:
    from headwater.entities.travel import newest_version
    from headwater.log.topology import Topology
    from headwater.operations.replaying import copy_to, records_of

    if not topic:
        raise Misuse("topic: names no topic; write topic:NAME")
    with project.whole_log() as log:
        topology = Topology.read(log)
        records = [
            record
            for one, id, history in histories
            for record in records_of(log, topology, one, id)[: newest_version(history)]
        ]
        return copy_to(log, topology, records, topic)
