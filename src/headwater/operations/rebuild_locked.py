"""Who rebuilds a read model in a file of SQLite that cannot be opened, since that very rebuild keeps it locked.

A handler runs in the transaction of its batch. One that does not come back keeps the file locked, and with it all that
`hw rebuild` does elsewhere, `--status` too; what was committed before can still be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from headwater.operations.rebuild_state import REBUILDS, Holder, is_gone
from headwater.projections.read_model import ReadModel
from headwater.stores.sqlite_files import FileReaders, translated
from headwater.stores.sqlite_switching import shown_by
from headwater.stores.sqlite_tables import SqliteTable

BUSY_S = 1.0
VARIABLES = 999


def holders_in(path: str, models: Sequence[ReadModel]) -> list[tuple[str, Holder]]:
    """Title and holder of each model that is being rebuilt in a file, by a process that may still be there, however
    long it has not been heard of. Raises: Unavailable, Misuse."""
    with closing(FileReaders(path, BUSY_S)) as readers:
        connection = readers.take()
        with closing(connection), translated(path):
            if shown_by(connection, REBUILDS.name) is None:
                return []
            found = SqliteTable(REBUILDS, VARIABLES).load(connection, [(model.runner,) for model in models])
    titles = {model.runner: model.title for model in models}
    held = [(titles[row.runner], row.holder) for row in found.values() if row.holder is not None]
    return [(title, holder) for title, holder in held if not is_gone(holder)]
