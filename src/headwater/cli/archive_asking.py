"""What the verbs of `hw archive` share: which archive and which of its topics are meant, and what is said of losses."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headwater.cli.ending import advised, then, told
from headwater.cli.project import Project
from headwater.errors import Misuse, Unavailable

if TYPE_CHECKING:
    from headwater.log.archive.archive import Archive, Topic
    from headwater.log.port import Log

TELL_S = 5.0

F = TypeVar("F", bound=Callable[..., Any])


class Telling:
    """Says at a terminal how far it is, every few seconds."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + TELL_S

    def __call__(self, topic: str, partition: int, records: int) -> None:
        if sys.stderr.isatty() and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + TELL_S
            told(f"{topic}/{partition}: {records:,} records")


def archive_option(function: F) -> F:
    text = "file:///directory or s3://bucket/prefix. Default: the one in the log's address, behind ?archive=."
    return click.option("--archive", "url", metavar="URL", help=text)(function)


def topic_option(function: F) -> F:
    return click.option("--topic", "topics", multiple=True, metavar="NAME", help="Only this; may be repeated.")(
        function
    )


def archive_of(project: Project, url: str | None) -> Archive:
    """The archive that is meant. Raises: Misuse: none is named. Unavailable: it does not answer."""
    if url is None and project.knows_log:
        from headwater.log.opening import split_archive

        url = split_archive(project.on)[1]
    if url is None:
        text = "no archive is named: pass --archive URL (file:///directory or s3://bucket/prefix), or write it behind "
        raise advised(Misuse(f"{text}?archive= in the log's address"), "hw archive --archive file:///mnt/archive")

    from headwater.log.archive import open_archive

    with then((Misuse, Unavailable), "hw archive --help"):
        return open_archive(url)


def live(project: Project) -> Log:
    """The log without an archive in front of it."""
    from headwater.log.opening import open_log, split_archive

    project.check_reachable_from_here()
    with project.reaching():
        return open_log(split_archive(project.on)[0])


def nothing_text(archive: Archive) -> str:
    return (
        f"the archive {archive.url} is not there, or nothing is archived in it: mount or put back what was there, or "
        "name another one"
    )


def chosen(archive: Archive, names: tuple[str, ...], there: list[Topic]) -> list[Topic]:
    """Arguments: there: what may be chosen; all, where nothing is named. Raises: Misuse: a name that is not there."""
    for name in names:
        if name not in {topic.name for topic in there}:
            known = ", ".join(sorted({topic.name for topic in there})) or "none"
            raise advised(
                Misuse(f"the archive {archive.url} has no topic {name!r}; topics: {known}"),
                f"hw archive status --archive {shlex.quote(archive.url)}",
            )
    return [topic for topic in there if not names or topic.name in names]


def only_one_each(topics: list[Topic], archive: Archive) -> list[Topic]:
    """Raises: Misuse: a topic was made anew between two runs, and the archive has both."""
    names = [topic.name for topic in topics]
    for name in names:
        if names.count(name) > 1:
            ids = ", ".join(topic.id for topic in topics if topic.name == name)
            raise advised(
                Misuse(f"the archive has {name} more than once, since it was deleted and made again (ids: {ids})"),
                f"hw archive status --archive {shlex.quote(archive.url)}",
            )
    return topics


def flags(project: Project, url: str | None) -> str:
    return f"{'' if url is None else f' --archive {shlex.quote(url)}'}{project.log_flags}"


def lost_text(topic: str, partition: int, begin: int, end: int) -> str:
    return (
        f"offsets {begin} to {end - 1} of {topic}/{partition} are not in the archive: they were deleted from the log "
        "before they were archived"
    )
