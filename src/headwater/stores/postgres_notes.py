"""What the workers of a runner say about themselves, in PostgreSQL."""

from __future__ import annotations

from msgspec import json

from headwater.log.port import TopicPartition
from headwater.stores.port import RunnerNote
from headwater.stores.postgres_cells import with_nul, without_nul
from headwater.stores.postgres_connections import Connection


def write_note(connection: Connection, runner: str, note: RunnerNote) -> None:
    """See `Store.note`."""
    if note.state == "stopped" and note.failure is None:
        connection.execute("DELETE FROM hw_workers WHERE runner = $1 AND worker = $2", [runner, note.worker])
        return
    failure = None if note.failure is None else without_nul(note.failure)
    partitions = json.encode(sorted(note.partitions)).decode()
    connection.execute(
        "INSERT INTO hw_workers VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (runner, worker) DO UPDATE SET"
        " state = excluded.state, failure = excluded.failure, heartbeat = excluded.heartbeat,"
        " partitions = excluded.partitions",
        [runner, note.worker, note.state, failure, note.heartbeat, partitions],
    )


def read_notes(connection: Connection, runner: str) -> list[RunnerNote]:
    """See `Store.notes`."""
    rows = connection.execute(
        "SELECT worker, state, failure, heartbeat, partitions FROM hw_workers WHERE runner = $1"
        " ORDER BY heartbeat DESC",
        [runner],
    ).fetchall()
    return [
        RunnerNote(
            worker,
            state,
            None if failure is None else with_nul(failure),
            heartbeat,
            frozenset(json.decode(partitions, type=list[TopicPartition])),
        )
        for worker, state, failure, heartbeat, partitions in rows
    ]
