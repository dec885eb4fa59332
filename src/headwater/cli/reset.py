"""`hw reset`: sets where groups go on reading."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headwater.cli.ending import Remembered, again, then
from headwater.cli.output import Form, Text, note, output_option, show_rows
from headwater.cli.project import Project, app_option, on_option, store_option
from headwater.cli.times import Duration, ToolTime
from headwater.errors import HeadwaterError, Misuse

if TYPE_CHECKING:
    from headwater.log.port import Log
    from headwater.operations.resetting.moves import Move
    from headwater.operations.resetting.planning import Plan, Readers, Scope
    from headwater.operations.resetting.scenarios import Scenario
    from headwater.operations.resetting.targets import Target
    from headwater.stores.port import Store

COLUMNS = ["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET", "CURRENT-OFFSET", "AGAIN", "SKIPPED"]


class Partitions(click.ParamType[tuple[str, tuple[int, ...] | None]]):
    """A topic, or some partitions of it: NAME:0,2."""

    name = "topic"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[int, ...] | None]:
        name, colon, numbers = str(value).partition(":")
        if not colon:
            return name, None
        if not re.fullmatch(r"\d+(,\d+)*", numbers, re.ASCII):
            self.fail(f"{value!r} names no partitions; write {name or 'NAME'}:0 or {name or 'NAME'}:0,2", param, ctx)
        return name, tuple(map(int, numbers.split(",")))


@click.command("reset", cls=Remembered)
@click.option("--group", "groups", multiple=True, type=Text(), metavar="G", help="The group; may be given often.")
@click.option(
    "--topic", "topics", multiple=True, type=Partitions(), metavar="T[:0,2]", help="Topic, or some of its partitions."
)
@click.option("--all-topics", is_flag=True, help="Whatever the group reads.")
@click.option("--to-earliest", is_flag=True, help="To the first record that is kept.")
@click.option("--to-latest", is_flag=True, help="To the end.")
@click.option("--to-current", is_flag=True, help="To where the group is; the end, where it never was.")
@click.option("--to-offset", type=int, metavar="N", help="To one offset.")
@click.option("--shift-by", type=int, metavar="N", help="So many positions on; back, if negative.")
@click.option("--to-datetime", type=ToolTime(), metavar="TIME", help="To the first record of then or later.")
@click.option("--by-duration", type=Duration(), metavar="PnDTnHnMnS", help="The same, so long before now.")
@click.option("--from-file", type=click.Path(path_type=Path), metavar="CSV", help="As the file says (see --export).")
@click.option("--execute", is_flag=True, help="Do it.")
@click.option("--dry-run", is_flag=True, help="Only show it: the default.")
@click.option("--export", is_flag=True, help="Print the new positions as CSV, for --from-file.")
@click.option("--repeat-effects", is_flag=True, help="A process may be told events again.")
@app_option
@on_option
@store_option
@output_option
def command(
    groups: tuple[str, ...],
    topics: tuple[tuple[str, tuple[int, ...] | None], ...],
    all_topics: bool,
    from_file: Path | None,
    execute: bool,
    dry_run: bool,
    export: bool,
    repeat_effects: bool,
    app: str | None,
    on: str | None,
    store: str | None,
    form: Form,
    **scenarios: Any,
) -> None:
    """Set where groups go on reading. Shows it; with --execute, does it.

    The flags and the first four columns are those of kafka-consumer-groups --reset-offsets. AGAIN and SKIPPED count
    the records between the two positions. Nothing is set while somebody reads in the group. A read model goes back to
    the beginning only, together with its rows in the store; owners only go on; a process needs --repeat-effects.

    \b
      hw reset --group billing --topic order-events --to-datetime 2024-04-10T10:30:00 --repeat-effects
      hw reset --group shop-revenue-v1 --all-topics --to-earliest --execute
      hw reset --group theirs --all-topics --to-current --export > positions.csv
    """
    project = Project(app, on, store, verb="reset")
    if execute and dry_run:
        raise Misuse("--execute and --dry-run are both there: leave one out")
    if topics and all_topics:
        raise Misuse("--topic and --all-topics are both there: leave one out")
    scenario = _scenario(from_file, groups, scenarios)

    from headwater.operations.resetting.planning import Scope, carry_out
    from headwater.operations.resetting.scenarios import Listed
    from headwater.operations.resetting.targets import NoConsent, StillRead

    if isinstance(scenario, Listed):
        groups = groups or tuple(scenario.positions)
    if not groups:
        raise Misuse("which group is meant? --group NAME")
    scope = Scope(dict(topics), all_topics)
    with ExitStack() as kept, project.whole_log() as log, then(StillRead, f"hw groups{project.log_flags}"):
        readers = _readers(project, kept)
        plans = [_planned(log, project, readers, group, scope, scenario, repeat_effects) for group in groups]
        moves = [move for one in plans for move in one.moves]
        if export:
            from headwater.operations.resetting.offset_files import as_csv

            sys.stdout.write(as_csv(moves, with_group=len(groups) > 1))
        else:
            show_rows(form, COLUMNS, map(_as_row if form != "table" else _as_table_row, moves))
        if not execute:
            _tell(log, plans)
            note("nothing was changed: --execute does it")
            return
        try:
            with then(NoConsent, f"{again()} --repeat-effects"):
                carry_out(plans)
        except HeadwaterError:
            _note(words for one in plans for words in one.words)  # it was not done, or not all of it
            raise
        _note(words for one in plans for words in one.done)


def _scenario(from_file: Path | None, groups: tuple[str, ...], given: dict[str, Any]) -> Scenario:
    """The one that was typed. Raises: Misuse: none, or several."""
    from headwater.environment import SYSTEM
    from headwater.operations.resetting import scenarios as known
    from headwater.operations.resetting.offset_files import read_csv

    found: list[Scenario] = []
    for name, value in given.items():
        match name, value:
            case _, None | False:
                continue
            case "to_earliest", _:
                found.append(known.Earliest())
            case "to_latest", _:
                found.append(known.Latest())
            case "to_current", _:
                found.append(known.Current())
            case "to_offset", offset:
                found.append(known.Offset(offset))
            case "shift_by", by:
                found.append(known.Shifted(by))
            case "to_datetime", time:
                found.append(known.At(time))
            case "by_duration", duration:
                found.append(known.At(_before(SYSTEM.now(), duration)))
    if from_file is not None:
        found.append(known.Listed(read_csv(from_file, groups)))
    if len(found) != 1:
        flags = "--to-earliest, --to-latest, --to-current, --to-offset, --shift-by, --to-datetime, --by-duration"
        what = "where to?" if not found else "where to? More than one answer is there:"
        raise Misuse(f"{what} say one of {flags} or --from-file")
    return found[0]


def _before(now: datetime, duration: timedelta) -> datetime:
    try:
        return now - duration
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _readers(project: Project, kept: ExitStack) -> Readers:
    """What the app reads, if one is named; its store is opened when a read model is met."""
    from headwater.operations.resetting.planning import Readers

    if not project.knows_app:
        return Readers()
    app = project.load()

    from headwater.cli.asking import models_of, store_of
    from headwater.stores.opening import open_store

    opened: list[Store] = []

    def store() -> Store:
        if not opened:
            opened.append(kept.enter_context(closing(open_store(store_of(project, app)))))
        return opened[0]

    return Readers(app.name, models_of(app), app.processes, store, app.codecs)


def _planned(
    log: Log,
    project: Project,
    readers: Readers,
    group: str,
    scope: Scope,
    scenario: Scenario,
    repeat_effects: bool,
) -> Plan:
    from headwater.operations.resetting.planning import Unnamed, plan, target_of

    named = f"{again()} --app MODULE:APP"
    with then(Misuse, f"hw groups{project.log_flags}"), then(Unnamed, named):
        target = target_of(log, group, readers, repeat_effects=repeat_effects)
    with _advised(target, project):
        return plan(log, target, scope, scenario)


@contextmanager
def _advised(target: Target, project: Project) -> Iterator[None]:
    """What to type instead of what cannot be."""
    from headwater.operations.resetting.targets import ReadModelGroup

    instead = f"hw topics{project.log_flags}"
    if isinstance(target, ReadModelGroup):
        instead = f"hw reset --group {shlex.quote(target.group)} --all-topics --to-earliest{project.flags}"
    with then(Misuse, instead):
        yield


def _as_row(move: Move) -> dict[str, Any]:
    topic, partition = move.partition
    return {
        "group": move.group,
        "topic": topic,
        "partition": partition,
        "newOffset": move.new,
        "currentOffset": move.current,
        "again": move.again,
        "skipped": move.skipped,
        "counted": move.counted,
    }


def _as_table_row(move: Move) -> dict[str, Any]:
    most = "" if move.counted else "up to "
    counts = [f"{most}{number}" if number else "0" for number in (move.again, move.skipped)]
    return dict(zip(COLUMNS, [move.group, *move.partition, move.new, move.current, *counts], strict=True))


def _tell(log: Log, plans: list[Plan]) -> None:
    """What comes of it, and who is in the way."""
    from headwater.readers.foreign import group_now

    for one in plans:
        _note(one.words)
        members = sorted(group_now(log, one.target.group).members)
        if members:
            note(f"group {one.target.group} is being read by {', '.join(members)}: nothing can be set until they stop")


def _note(texts: Iterable[str]) -> None:
    for text in texts:
        note(text)
