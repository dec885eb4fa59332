"""`hw archive`: copies topics to long-term storage, checks them there, and brings them back."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from headwater.cli.archive_asking import (
    Telling,
    archive_of,
    archive_option,
    chosen,
    flags,
    live,
    lost_text,
    nothing_text,
    only_one_each,
    topic_option,
)
from headwater.cli.ending import BAD, NEXT, advised, then, told
from headwater.cli.output import Form, note, output_option, show_rows
from headwater.cli.project import Project, on_option
from headwater.cli.times import Duration
from headwater.errors import Misuse, Unavailable

if TYPE_CHECKING:
    from headwater.log.archive.archive import Topic


@click.group("archive", invoke_without_command=True)
@topic_option
@archive_option
@on_option
@output_option
@click.pass_context
def command(ctx: click.Context, topics: tuple[str, ...], url: str | None, on: str | None, form: Form) -> None:
    """Copy topics to long-term storage: Parquet files with a manifest of hashes.

    Without --topic: the events of all entity types. Writes what is committed and not archived yet; run it as often as
    you like, also after it was stopped anywhere. A log that is opened with ?archive=URL is read from there where
    records were deleted since.

    \b
      hw archive --on "sqlite:///shop.db?archive=file:///mnt/archive"
      hw archive verify --archive file:///mnt/archive
      hw archive restore --archive file:///mnt/archive --on sqlite:///restored.db
    """
    if ctx.invoked_subcommand is not None:
        if topics or url or on:
            raise click.UsageError(f"write options behind {ctx.invoked_subcommand}", ctx)
        return
    project = Project(None, on, verb="archive")
    archive, log = archive_of(project, url), live(project)
    from headwater.environment import SYSTEM
    from headwater.operations.archive_needing import check_beginnings
    from headwater.operations.archiving import Archived, archive_topic, archived_by_default

    again, telling = f"hw archive{flags(project, url)}", Telling()

    def tell(so_far: Archived) -> None:
        telling(so_far.topic, so_far.partition, so_far.records)

    try:
        with then(Misuse, f"hw topics{project.log_flags}"):
            names = topics or archived_by_default(log)
            with then(Unavailable, f"hw archive verify{flags(project, url)}"):
                check_beginnings(log, archive, names)
            lost = 0

            def rows() -> Iterator[dict[str, Any]]:
                nonlocal lost
                for name in names:
                    for done in archive_topic(log, archive, name, SYSTEM, progress=tell):
                        if done.lost is not None:
                            lost += 1
                            note(lost_text(done.topic, *done.lost))
                        yield {
                            "topic": done.topic,
                            "partition": done.partition,
                            "from": done.begin,
                            "to": done.end,
                            "records": done.records,
                            "files": done.files,
                            "bytes": done.size_bytes,
                            "lost": None if done.lost is None else [done.lost.begin, done.lost.end],
                        }

            with then(Unavailable, again):
                show_rows(form, ["topic", "partition", "from", "to", "records", "files", "bytes"], rows())
    finally:
        log.close()
    if lost:
        told(f"{NEXT}hw archive status{flags(project, url)}")
        ctx.exit(BAD)


@command.command("status")
@topic_option
@archive_option
@on_option
@output_option
def status(topics: tuple[str, ...], url: str | None, on: str | None, form: Form) -> None:
    """List what an archive has, as its manifests say."""
    project = Project(None, on, verb="archive status")
    archive = archive_of(project, url)
    from headwater.log.archive.manifest import lost

    rows = []
    there, verify_it = archive.topics(), f"hw archive verify{flags(project, url)}"
    for topic in archive.without_manifest():
        note(f"topic {topic.name} has files and no manifest in the archive: `{verify_it}` says what that means")
    if not there:
        raise advised(Unavailable(nothing_text(archive)), verify_it)
    for topic in chosen(archive, topics, there):
        manifest = archive.manifest(topic)
        assert manifest is not None
        for partition in range(manifest.partitions):
            files = manifest.of(partition)
            holes = [[hole.begin, hole.end] for hole in lost(files)]
            for begin, end in holes:
                note(lost_text(topic.name, partition, begin, end))
            rows.append(
                {
                    "topic": topic.name,
                    "partition": partition,
                    "from": files[0].begin if files else None,
                    "to": files[-1].next if files else None,
                    "records": sum(file.records for file in files),
                    "files": len(files),
                    "bytes": sum(file.size_bytes for file in files),
                    "lost": holes,
                    "topicId": topic.id,
                    "log": manifest.log,
                    "head": manifest.head,
                }
            )
    show_rows(form, ["topic", "partition", "from", "to", "records", "files", "bytes"], rows)


@command.command("verify")
@topic_option
@archive_option
@on_option
@output_option
@click.pass_context
def verify(ctx: click.Context, topics: tuple[str, ...], url: str | None, on: str | None, form: Form) -> None:
    """Read all of an archive: hashes, offsets, and whether the log has the same records where it still has them.

    What the log says is only in an archive has to be there. Without a log (no --on, HEADWATER_URL or headwater.toml)
    nothing is compared. Exit code 4: something is wrong, or nothing is there.
    """
    project = Project(None, on, verb="archive verify")
    archive = archive_of(project, url)
    log = live(project) if project.knows_log else None
    from headwater.environment import SYSTEM
    from headwater.operations.archive_checking import check_archive, left_over, topics_to_check

    faulty: set[str] = set()
    there: list[Topic] = []
    wanted: list[Topic] = []

    def rows() -> Iterator[dict[str, Any]]:
        for found in check_archive(archive, wanted, log, SYSTEM):
            if found.faults:
                faulty.add(found.topic)
            yield {
                "topic": found.topic,
                "partition": found.partition,
                "from": found.begin,
                "to": found.end,
                "records": found.records,
                "compared": found.compared,
                "files": found.files,
                "verdict": "; ".join(found.faults) or "good",
                "faults": found.faults,
            }

    columns = ["topic", "partition", "from", "to", "records", "compared", "files", "verdict"]
    try:
        there = topics_to_check(archive, log)
        wanted = chosen(archive, topics, there) if there else []
        show_rows(form, columns, rows(), empty="nothing is archived")
    finally:
        if log is not None:
            log.close()
    if not there:
        note(nothing_text(archive))
    for topic in wanted:
        if left := left_over(archive, topic):
            why = "left by a run that was ended; nobody reads them, and they may be deleted"
            if topic.name in faulty:
                why = "so nobody reads them; keep them until what is wrong is mended"
            note(
                f"{len(left)} files of topic {topic.name} are in no manifest, {why}: "
                f"{', '.join(left[:3])}{' …' if len(left) > 3 else ''}"
            )
    if faulty or not there:
        told(f"{NEXT}hw archive status{flags(project, url)}")
        ctx.exit(BAD)


@command.command("restore")
@topic_option
@archive_option
@on_option
@output_option
@click.pass_context
def restore(ctx: click.Context, topics: tuple[str, ...], url: str | None, on: str | None, form: Form) -> None:
    """Write archived topics into a log that does not have them: --on names it, a file may be new.

    Keys, values, headers, times and partitions stay, so entities keep their ids and versions; offsets are new. Run it
    again after it was stopped: it goes on. A topic that has other records is left alone. Exit code 4: something of
    the archive could not be restored.
    """
    project = Project(None, on, verb="archive restore")
    archive = archive_of(project, url)
    from headwater.environment import SYSTEM
    from headwater.log.archive.archive import DamagedManifest
    from headwater.log.opening import open_log, split_archive
    from headwater.operations.archive_restoring import Restored, restore_topic

    verify_it = f"hw archive verify --archive {shlex.quote(archive.url)}"
    left = archive.without_manifest()
    there = archive.topics() + left
    if not there:
        raise advised(Unavailable(nothing_text(archive)), verify_it)
    wanted = chosen(archive, topics, there)
    unreadable = {topic: "it has files and no manifest in the archive" for topic in wanted if topic in left}
    for topic in wanted:
        try:
            archive.manifest(topic)
        except DamagedManifest as damage:
            unreadable[topic] = str(damage)
    wanted = only_one_each([topic for topic in wanted if topic not in unreadable], archive)
    for topic, why in unreadable.items():
        note(f"topic {topic.name} is not restored: {why}")
    with project.reaching():
        log = open_log(split_archive(project.on)[0])
    telling, lost = Telling(), 0

    def tell(so_far: Restored) -> None:
        telling(so_far.topic, so_far.partition, so_far.written)

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal lost
        for topic in wanted:
            for done in restore_topic(archive, topic, log, SYSTEM, progress=tell):
                lost += len(done.lost)
                for hole in done.lost:
                    note(lost_text(topic.name, *hole))
                yield {
                    "topic": done.topic,
                    "partition": done.partition,
                    "found": done.found,
                    "written": done.written,
                    "lost": [[hole.begin, hole.end] for hole in done.lost],
                }

    try:
        with (
            then(Misuse, f"hw topics{project.log_flags}"),
            then(Unavailable, f"hw archive restore{flags(project, url)}"),
        ):
            show_rows(form, ["topic", "partition", "found", "written"], rows(), empty="nothing is restored")
    finally:
        log.close()
    if unreadable or lost:
        told(f"{NEXT}{verify_it}")
        ctx.exit(BAD)


@command.command("trim")
@click.option(
    "--older-than",
    type=Duration(),
    required=True,
    metavar="PnDTnHnMnS",
    help="Only files all of whose records are older by their own times, such as P90D.",
)
@click.option("--execute", is_flag=True, help="Delete. Without it nothing is changed.")
@topic_option
@archive_option
@on_option
@output_option
@click.pass_context
def trim(
    ctx: click.Context,
    older_than: timedelta,
    execute: bool,
    topics: tuple[str, ...],
    url: str | None,
    on: str | None,
    form: Form,
) -> None:
    """Delete from the log what is archived: show what could be deleted, and with --execute delete it, for ever.

    Each file is read and compared with the log before. Apps have to open the log with ?archive=URL from then on, and
    are refused otherwise. Without --topic: the events of all entity types.
    """
    project = Project(None, on, verb="archive trim")
    archive, log = archive_of(project, url), live(project)
    from headwater.environment import SYSTEM
    from headwater.operations.archive_trimming import plan
    from headwater.operations.archive_trimming import trim as carry_out
    from headwater.operations.archiving import archived_by_default

    try:
        with then(Misuse, f"hw archive{flags(project, url)}"):
            before_ms = int((SYSTEM.now() - older_than).timestamp() * 1000)
            names = topics or archived_by_default(log)
            planned = [one for name in names for one in plan(log, archive, name, before_ms, SYSTEM)]
            if execute:
                carry_out(log, archive, planned)
    finally:
        log.close()
    rows = [
        {
            "topic": one.topic,
            "partition": one.partition,
            "begins": one.begin,
            "wouldBegin": one.end,
            "compared": one.compared,
            "behind": one.behind,
            "fault": one.fault,
            "deleted": execute and one.end > one.begin,
        }
        for one in planned
    ]
    show_rows(form, ["topic", "partition", "begins", "wouldBegin", "compared", "behind", "fault", "deleted"], rows)
    if any(one.fault for one in planned):
        told(f"{NEXT}hw archive verify{flags(project, url)}")
        ctx.exit(BAD)
