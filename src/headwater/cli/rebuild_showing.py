"""What `hw rebuild` shows: how a rebuild is and goes on, and how old and new rows compare."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from headwater.cli.ending import ALSO
from headwater.cli.output import Form, show_one
from headwater.errors import HeadwaterError, Unavailable

if TYPE_CHECKING:
    from headwater.operations.rebuild import Status
    from headwater.operations.rebuild_comparing import Comparison
    from headwater.operations.rebuild_watching import Look
    from headwater.projections.read_model import ReadModel

TOLD_EVERY_S = 1.0


def status_row(status: Status) -> dict[str, Any]:
    """What there is, for a table and for programs."""
    shown = set(status.shown.values())
    return {
        "readModel": status.name,
        "version": status.version,
        "shown": next(iter(shown)) if len(shown) == 1 else status.shown,
        "code": "same" if status.same_code else "other",
        "beside": status.state or None,
        "done": status.done if status.state else None,
        "total": status.total,
        "holder": None if status.holder is None else status.holder.text,
        "deadLetters": status.dead_letters if status.state else None,
        "failure": status.failure,
    }


def compared_row(one: Comparison) -> dict[str, Any]:
    """How a table compares, for a table and for programs."""
    return {
        "table": one.table,
        "oldVersion": None if one.old is None else one.old.version,
        "newVersion": one.new.version,
        "oldRows": 0 if one.old is None else one.old.rows,
        "newRows": one.new.rows,
        "changed": one.changed,
        "onlyOld": one.only_old,
        "onlyNew": one.only_new,
        "oldHash": None if one.old is None else one.old.hash,
        "newHash": one.new.hash,
        "columnsGone": one.columns_gone,
        "columnsNew": one.columns_new,
        "sameEvents": one.same_place,
        "examples": [example._asdict() for example in one.examples],
    }


@contextmanager
def holders_told(address: str, models: Sequence[ReadModel]) -> Iterator[None]:
    """Notes on `Unavailable` that passes which of the models are being rebuilt there, by whom and since when.

    Arguments: address: of the store; of another one than SQLite nothing is noted.
    """
    try:
        yield
    except Unavailable as error:
        if address.startswith("sqlite://"):
            from headwater.log.opening import sqlite_path
            from headwater.operations.rebuild_locked import holders_in

            with suppress(HeadwaterError):  # the first error is the one to be told
                for title, holder in holders_in(sqlite_path(address), models):
                    heard = f"last heard of {holder.heartbeat:%H:%M:%S} UTC; end it there with Ctrl-C or SIGTERM"
                    error.add_note(f"{ALSO}{title} is being rebuilt by {holder.text}, {heard}")
        raise


@contextmanager
def progress_shown(name: str, form: Form) -> Iterator[Callable[[Look], None]]:
    """A bar on a terminal, and for programs a line per second."""
    if form != "table":
        yield Lines(name).show
        return
    if not sys.stderr.isatty():
        yield lambda look: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = [
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[how]}"),
        TimeRemainingColumn(),
    ]
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None, how="")

        def show(look: Look) -> None:
            if look.progress is not None:
                how = f"events, {look.progress.rate:,.0f}/s"
                bar.update(task, completed=look.progress.done, total=look.progress.total, how=how)
            if look.since is not None:
                bar.update(task, how=f"stands since {look.since:%H:%M:%S} UTC")

        yield show


class Lines:
    """Progress for programs: a line per second, and the first and last."""

    def __init__(self, name: str) -> None:
        self._name, self._told_s = name, 0.0

    def show(self, look: Look) -> None:
        progress, now_s = look.progress, time.monotonic()
        ended = progress is not None and progress.done >= progress.total and look.since is None
        if now_s - self._told_s < TOLD_EVERY_S and not ended:
            return
        self._told_s = now_s
        counts: dict[str, object] = {"done": None, "total": None, "eventsPerS": None, "leftS": None}
        if progress is not None:
            left_s = None if progress.left_s is None else round(progress.left_s, 1)
            counts = {"done": progress.done, "total": progress.total, "eventsPerS": round(progress.rate)}
            counts["leftS"] = left_s if look.since is None else None
        waits = {"standsSince": look.since, "waitsFor": look.waits_for}
        show_one("ndjson", {"readModel": self._name, "state": "building", **counts, **waits})
