"""Deleting from the beginning of partitions: by age, for topics that ask for it, a little now and then, by whoever
commits; and up to a position, when somebody says so.

As on Kafka, a partition loses records from its beginning only, up to the first that is young enough, and some may
live longer than they have to.
"""

from __future__ import annotations

import sqlite3

from headwater.environment import Environment
from headwater.log.sqlite.catalog import Catalog, Topic
from headwater.log.sqlite.records import OFFSET_MASK, place_of

_EVERY_S = 5.0
_AT_MOST = 1000
_AT_ONCE = 10_000
"""Other writers wait for as long as it takes to delete so many."""


class Retention:
    """When to look for old records, and their deletion. Used by one thread at a time."""

    def __init__(self, catalog: Catalog, environment: Environment) -> None:
        self._catalog, self._environment = catalog, environment
        self._due_s = 0.0

    def trim(self, connection: sqlite3.Connection) -> dict[int, int]:
        """Deletes some of what is too old, if it is time to, inside a write transaction.

        Returns: the first kept offset of each slot that lost records.
        """
        now_s = self._environment.monotonic_s()
        if now_s < self._due_s:
            return {}
        self._due_s = now_s + _EVERY_S
        now_ms = int(self._environment.now().timestamp() * 1000)
        firsts: dict[int, int] = {}
        for topic in self._catalog.known.values():
            if topic.retention_ms is not None:
                firsts |= self._trim(connection, topic, now_ms - topic.retention_ms)
        return firsts

    def _trim(self, connection: sqlite3.Connection, topic: Topic, before_ms: int) -> dict[int, int]:
        firsts: dict[int, int] = {}
        for slot in range(topic.first_slot, topic.first_slot + topic.partitions):
            oldest = connection.execute(
                f"SELECT place, timestamp_ms FROM {topic.table} WHERE place >= ? AND place < ? ORDER BY place LIMIT ?",
                (place_of(slot, 0), place_of(slot + 1, 0), _AT_MOST),
            ).fetchall()
            last = -1
            for place, timestamp_ms in oldest:
                if timestamp_ms >= before_ms:
                    break
                last = place
            if last < 0:
                continue
            if last == oldest[-1][0]:
                self._due_s = 0.0  # there may be more: go on with the next commit
            first = (last & OFFSET_MASK) + 1
            connection.execute(f"DELETE FROM {topic.table} WHERE place >= ? AND place <= ?", (place_of(slot, 0), last))
            connection.execute("UPDATE counters SET first = ? WHERE slot = ?", (first, slot))
            firsts[slot] = first
        return firsts


def delete_some(connection: sqlite3.Connection, slot: int, before: int) -> int:
    """Deletes the first records below an offset, inside a write transaction. Returns where the partition begins now."""
    found = connection.execute(
        "SELECT place FROM records WHERE place >= ? AND place < ? ORDER BY place LIMIT 1 OFFSET ?",
        (place_of(slot, 0), place_of(slot, before), _AT_ONCE),
    ).fetchone()
    first = before if found is None else found[0] & OFFSET_MASK
    connection.execute("DELETE FROM records WHERE place >= ? AND place < ?", (place_of(slot, 0), place_of(slot, first)))
    connection.execute("UPDATE counters SET first = max(first, ?) WHERE slot = ?", (first, slot))
    return first
