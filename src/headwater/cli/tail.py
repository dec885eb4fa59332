"""`hw tail`: the records of a topic as they are, readable or not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from headwater.cli.ending import then
from headwater.cli.output import Form, cell, note, output_option, show_rows
from headwater.cli.project import Project, on_option
from headwater.errors import Misuse

if TYPE_CHECKING:
    from headwater.log.port import Log, Record
    from headwater.schemas.frames import Frames

COLUMNS = ["partition", "offset", "time", "key", "type", "value"]
LAST = 10
SCHEMAS = "schemas/"


class Start(click.ParamType[int | str]):
    """`earliest`, `latest` or an offset."""

    name = "start"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value in ("earliest", "latest"):
            return str(value)
        if not str(value).isdecimal():
            self.fail(f"{value!r} is no place to start; write earliest, latest or an offset", param, ctx)
        return int(value)


@click.command("tail")
@click.argument("name", metavar="TOPIC|ENTITY")
@click.option(
    "--from", "start", type=Start(), metavar="earliest|latest|N", help="N: an offset. Default: the last records."
)
@click.option(
    "--limit",
    type=click.IntRange(0, sys.maxsize, clamp=True),
    metavar="N",
    help="At most so many records.  [default: 10 without --from]",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option(
    "--schemas",
    metavar="ADDRESS",
    help="Where the schemas are that values were written with: a directory, log:// or https://….  [default: schemas/, "
    "if it is there]",
)
@on_option
@output_option
def command(
    name: str, start: int | str | None, limit: int | None, follow: bool, schemas: str | None, on: str | None, form: Form
) -> None:
    """Show the records of a topic, or the events of an entity type, as they are.

    Order is per partition. Values that are JSON are shown as JSON, those that were written with a schema as the JSON
    that they say, others as text or base64.

    \b
      hw tail order
      hw tail order-commands --from earliest --limit 5 --output json
    """
    project = Project(None, on, verb="tail")
    with project.log() as log:
        frames = _frames(schemas, log)
        with then(Misuse, f"hw topics{project.log_flags}"):
            records = _records(log, name, start, limit, follow)
        if isinstance(start, int) and not follow and (ends := _ends(log, name)) <= start:
            note(f"nothing is there yet at {start}: the last partition of {name} ends at {ends}")
        if not follow:
            show_rows(form, COLUMNS, _shown(records, frames), empty="no records")
            return
        try:
            _print_on(form, records, frames)
        except KeyboardInterrupt:
            return


def _records(log: Log, name: str, start: int | str | None, limit: int | None, follow: bool) -> Iterator[Record]:
    from headwater.operations.tailing import find_topic, last_records, records_from, starting_at

    partitions = find_topic(log, name)
    if start is not None:
        return islice(records_from(log, starting_at(log, partitions, start), follow=follow), limit)
    ends = log.ends(partitions)
    last = last_records(log, ends, LAST if limit is None else limit)
    return _then_follow(log, last, ends) if follow else iter(last)


def _ends(log: Log, name: str) -> int:
    """Behind the last record of the partition that goes furthest."""
    from headwater.operations.tailing import find_topic

    return max(log.ends(find_topic(log, name)).values())


def _then_follow(log: Log, last: list[Record], ends: Any) -> Iterator[Record]:
    from headwater.operations.tailing import records_from

    yield from last
    yield from records_from(log, ends, follow=True)


def _frames(schemas: str | None, log: Log) -> Frames | None:
    """What reads values that were written with schemas; None: nobody says where these are."""
    if schemas is None and not os.path.isdir(SCHEMAS):
        return None

    from headwater.schemas.frames import Frames
    from headwater.schemas.registries.late import LateRegistry

    registry = LateRegistry(schemas or SCHEMAS)
    registry.over(log)
    registry.opened()  # a wrong address is told at once
    return Frames(registry, {})


def _shown(records: Iterator[Record], frames: Frames | None) -> Iterator[dict[str, Any]]:
    from headwater.operations.tailing import as_shown

    return (as_shown(record, frames) for record in records)


def _print_on(form: Form, records: Iterator[Record], frames: Frames | None) -> None:
    """Each record on a line, as it comes."""
    for row in _shown(records, frames):
        if form == "table":
            print("  ".join(cell(row[name]) for name in COLUMNS), flush=True)
        else:
            show_rows("ndjson", COLUMNS, [row])
