"""`hw archive`: copies topics to long-term storage, checks them there, and brings them back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import click

from headwater.cli.archive_asking import (
    Telling,
    archive_of,
    archive_option,
    chosen,
    flags,
    live,
    lost_text,
    only_one_each,
    topic_option,
)
from headwater.cli.ending import BAD, NEXT, then, told
from headwater.cli.output import Form, note, output_option, show_rows
from headwater.cli.project import Project, on_option
from headwater.cli.times import Duration
from headwater.errors import Misuse, Unavailable


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
    from headwater.operations.archiving import Archived, archive_topic, archived_by_default

    again, telling = f"hw archive{flags(project, url)}", Telling()

    def tell(so_far: Archived) -> None:
        telling(so_far.topic, so_far.partition, so_far.records)

    try:
        with then(Misuse, f"hw topics{project.log_flags}"):
            names = topics or archived_by_default(log)
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
    archive = archive_of(Project(None, on, verb="archive status"), url)
    from headwater.log.archive.manifest import lost

    rows = []
    for topic in chosen(archive, topics):
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
    show_rows(
        form, ["topic", "partition", "from", "to", "records", "files", "bytes"], rows, empty="nothing is archived"
    )


@command.command("verify")
@topic_option
@archive_option
@on_option
@output_option
@click.pass_context
def verify(ctx: click.Context, topics: tuple[str, ...], url: str | None, on: str | None, form: Form) -> None:
    """Read all of an archive: hashes, offsets, and whether the log has the same records where it still has them.

    Without a log (no --on, HEADWATER_URL or headwater.toml) nothing is compared. Exit code 4: something is wrong.
    """
    project = Project(None, on, verb="archive verify")
    archive = archive_of(project, url)
    log = live(project) if project.knows_log else None
    from headwater.environment import SYSTEM
    from headwater.operations.archive_checking import check_archive, left_over

    faults = 0
    wanted = chosen(archive, topics)

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal faults
        for found in check_archive(archive, wanted, log, SYSTEM):
            faults += len(found.faults)
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
        show_rows(form, columns, rows(), empty="nothing is archived")
    finally:
        if log is not None:
            log.close()
    for topic in wanted:
        if left := left_over(archive, topic):
            note(
                f"{len(left)} files of topic {topic.name} are in no manifest, left by a run that was ended; nobody "
                f"reads them, and they may be deleted: {', '.join(left[:3])}{' …' if len(left) > 3 else ''}"
            )
    if faults:
        told(f"{NEXT}hw archive status{flags(project, url)}")
        ctx.exit(BAD)


@command.command("restore")
@topic_option
@archive_option
@on_option
@output_option
def restore(topics: tuple[str, ...], url: str | None, on: str | None, form: Form) -> None:
    """Write archived topics into a log that does not have them: --on names it, a file may be new.

    Keys, values, headers, times and partitions stay, so entities keep their ids and versions; offsets are new. Run it
    again after it was stopped: it goes on. A topic that has other records is left alone.
    """
    project = Project(None, on, verb="archive restore")
    archive = archive_of(project, url)
    from headwater.environment import SYSTEM
    from headwater.log.opening import open_log, split_archive
    from headwater.operations.archive_restoring import Restored, restore_topic

    wanted = only_one_each(chosen(archive, topics), archive)
    with project.reaching():
        log = open_log(split_archive(project.on)[0])
    telling = Telling()

    def tell(so_far: Restored) -> None:
        telling(so_far.topic, so_far.partition, so_far.written)

    def rows() -> Iterator[dict[str, Any]]:
        for topic in wanted:
            for done in restore_topic(archive, topic, log, SYSTEM, progress=tell):
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
            show_rows(form, ["topic", "partition", "found", "written"], rows(), empty="nothing is archived")
    finally:
        log.close()


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
