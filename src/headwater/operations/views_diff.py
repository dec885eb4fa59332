"""What a changed statement of a view would change, over the whole history: nothing is changed by looking.

    the statement that queries find ─┐
                                     ├─► both replayed up to the same end, in a file that goes away ─► compared
    the statement at hand ───────────┘

Both are read with the classes at hand, so what differs comes of the statement.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from headwater.environment import Environment
from headwater.errors import Misuse
from headwater.failures.held import tables_of
from headwater.log.port import Log
from headwater.schemas.topics import Codecs
from headwater.views.comparing import Difference, Rows, difference
from headwater.views.errors import BadStatement
from headwater.views.explaining import Line, explained
from headwater.views.file import ViewFile, translated
from headwater.views.moments import Moment
from headwater.views.plan import View
from headwater.views.reading import Statements
from headwater.views.replaying import count_of, ends_of, replay
from headwater.views.types import quoted


class Change(NamedTuple):
    """What a statement changes.

    Arguments: view; records: so many were read for each side; gone, came: lines of the plan that only the old, only the
    new statement has, as of `hw views explain` without the statements of DuckDB; set_aside: how many records could not
    be applied, before and after; difference: of columns and rows.
    """

    view: str
    records: int
    gone: list[Line]
    came: list[Line]
    set_aside: tuple[int, int]
    difference: Difference

    @property
    def equal(self) -> bool:
        one = self.difference
        rows = one.only_old or one.only_new or one.changed
        return not (rows or one.gone or one.added or one.retyped or self.gone or self.came)


def old_view(statements: Statements, sources: tuple[str, ...], name: str) -> View:
    """The view that earlier statements describe. Raises: Misuse: they cannot be read any more."""
    try:
        found = statements.of(sources).find(name)
    except BadStatement as error:
        raise Misuse(f"the statement that queries find of {name} cannot be read with your classes: {error}") from error
    assert found is not None, "the file keeps it with the texts that it was planned from"
    return found


def changed_by(old: View, new: View, log: Log, codecs: Codecs, environment: Environment) -> Change:
    """What the rows of two statements differ by, both up to the same end. Reads each one's topics once.

    Raises: Misuse: the first records are gone, or a statement does not go with a record. Unavailable.
    """
    everything = Moment(positions={})
    ends = ends_of(new, log, Moment())
    records = count_of(log, ends)
    with tempfile.TemporaryDirectory(prefix="headwater-") as directory:
        file = ViewFile(str(Path(directory) / "diff.duckdb"))
        try:
            set_aside, rows = [], []
            for view, side in ((old, "old"), (new, "new")):
                own = {tp: ends.get(tp, end) for tp, end in ends_of(view, log, Moment()).items()}
                name = f"{view.name}~{side}"
                replay(replace(view, name=name), log, file, everything, own, codecs, environment)
                set_aside.append(len(file.rows(tables_of(f"{name}-past").held, {"failed": True})))
                rows.append(Rows(f"SELECT * FROM {quoted(name)}", view.key))
            with file.aside() as connection, translated(file.path):
                found = difference(connection, *rows)
        finally:
            file.close()
    before, after = (
        [line for line in explained(view) if line.part not in ("changes", "gives", "key")] for view in (old, new)
    )
    return Change(
        new.name,
        records,
        [line for line in before if line not in after],
        [line for line in after if line not in before],
        (set_aside[0], set_aside[1]),
        found,
    )
