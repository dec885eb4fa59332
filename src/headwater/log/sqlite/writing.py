"""What drafts that were filled put into the file, in as few statements as possible."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from headwater.log.sqlite.draft import Draft
from headwater.log.sqlite.membership import beat
from headwater.log.sqlite.records import INSERT, REPLACE


def write_drafts(connection: sqlite3.Connection, drafts: Sequence[Draft]) -> dict[int, int]:
    """Writes drafts in their order, inside a transaction. Returns the new next offset per slot."""
    merged = drafts[0]
    for draft in drafts[1:]:
        merged.absorb(draft)
    if merged.rows:
        connection.executemany(INSERT, merged.rows)
    if merged.compacted:
        connection.executemany(REPLACE, [(*row, slot) for (slot, _), row in merged.compacted.items()])
    if merged.ends:
        connection.executemany(
            "UPDATE counters SET next = ? WHERE slot = ?", [(end, slot) for slot, end in merged.ends.items()]
        )
    if merged.moved:
        connection.executemany(
            "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET position = excluded.position",
            [(group, slot, position) for (group, slot), position in merged.moved.items()],
        )
    if merged.lively:
        beat(connection, merged.lively)
    return merged.ends
