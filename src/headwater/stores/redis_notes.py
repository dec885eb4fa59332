"""What the workers of a runner say about themselves, in Redis."""

from __future__ import annotations

from msgspec import json

from headwater.stores.port import RunnerNote
from headwater.stores.redis_connections import Server


def write_note(server: Server, runner: str, note: RunnerNote) -> None:
    """See `Store.note`."""
    if note.state == "stopped" and note.failure is None:
        server.call("HDEL", _key(server, runner), note.worker)
    else:
        server.call("HSET", _key(server, runner), note.worker, json.encode(note))


def read_notes(server: Server, runner: str) -> list[RunnerNote]:
    """See `Store.notes`."""
    found = server.call("HGETALL", _key(server, runner))
    notes = [json.decode(note, type=RunnerNote) for note in found.values()]
    return sorted(notes, key=lambda note: note.heartbeat, reverse=True)


def _key(server: Server, runner: str) -> str:
    return f"{server.prefix}hw_workers:{runner}"
