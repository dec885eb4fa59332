"""Who reads what in a group: members with heartbeats, leases with epochs, and the statements that change them.

A member's row says when it was last seen reading, and its id whose process it is in (see `alive`). A lease's row says
who owns a partition; its epoch grows each time that somebody takes it, so a fence made before is worth nothing
afterwards, even when the owner is the same again. Leases change hands only in the reads of their old and new owner, or
when the old one is gone or was not seen for its session time-out: then whoever notices removes it.
`headwater.log.sharing` decides who should own what.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headwater.errors import Misuse
from headwater.log.port import Positions, TopicPartition
from headwater.log.sharing import share
from headwater.log.sqlite.alive import remove, token_of
from headwater.log.sqlite.catalog import Catalog

SILENT = "SELECT 1 FROM members WHERE name = ? AND (abs(? - heartbeat_ms) > session_ms OR gone(id)) LIMIT 1"
"""Asks, with a group and the time, whether a member was not seen for its session time-out, or is gone."""

LIVING = "SELECT name, id FROM members WHERE abs(? - heartbeat_ms) <= session_ms AND NOT gone(id) ORDER BY id"
"""Asks, with the time, for group and id of every member that was seen within its session time-out, and is not gone."""


@dataclass(slots=True)
class Presence:
    """A member, as this process knows it.

    Arguments: seen_ms: when it last read; written_ms: when the file was last told so.
    """

    id: str
    group: str
    topics: Sequence[str]
    session_ms: int
    seen_ms: int = 0
    written_ms: int = 0

    def is_due(self, now_ms: int) -> bool:
        """Whether the file should hear of this member again. A clock that was set back counts as well."""
        return not 0 <= now_ms - self.written_ms < self.session_ms / 3


@dataclass(frozen=True, slots=True)
class Ownership:
    """The proof that a member shows: the epoch at which it took each of its partitions."""

    group: str
    presence: Presence
    epochs: Mapping[TopicPartition, int]


class Leases:
    """Who owns what, as of now: remembered until another process writes, or this one changes a membership.

    Arguments: connection: the one that writes, inside a transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, int], tuple[str | None, int]] = {}

    def owner(self, group: str, slot: int) -> tuple[str | None, int]:
        """The owner of a partition, if any, and the epoch."""
        known = self._known.get((group, slot))
        if known is None:
            row = self._connection.execute(
                "SELECT owner, epoch FROM leases WHERE name = ? AND slot = ?", (group, slot)
            ).fetchone()
            known = self._known[group, slot] = (None, 0) if row is None else (row[0], row[1])
        return known

    def forget(self) -> None:
        self._known.clear()


def join(connection: sqlite3.Connection, member: Presence, now_ms: int) -> int:
    """Adds a member. Returns the number of the change."""
    connection.execute(
        "INSERT INTO members VALUES (?, ?, ?, ?, ?)",
        (member.id, member.group, "\n".join(member.topics), now_ms, member.session_ms),
    )
    member.seen_ms = member.written_ms = now_ms
    return _change(connection)


def leave(connection: sqlite3.Connection, member: str) -> int:
    """Removes a member, and frees what it owned. Returns the number of the change."""
    connection.execute("DELETE FROM members WHERE id = ?", (member,))
    connection.execute("UPDATE leases SET owner = NULL WHERE owner = ?", (member,))
    return _change(connection)


def bury(connection: sqlite3.Connection, path: str) -> int | None:
    """Removes the members of processes that are gone, of all groups, and their signs of life. Arguments: path: of the
    log's file. Returns the number of the change, None if there was none."""
    change = None
    gone = [member for (member,) in connection.execute("SELECT id FROM members WHERE gone(id)").fetchall()]
    for member in gone:
        change = leave(connection, member)
    for token in {token for member in gone if (token := token_of(member)) is not None}:
        remove(path, token)
    return change


def beat(connection: sqlite3.Connection, members: Iterable[Presence]) -> None:
    """Writes when these members were last seen."""
    for member in members:
        connection.execute("UPDATE members SET heartbeat_ms = ? WHERE id = ?", (member.seen_ms, member.id))
        member.written_ms = member.seen_ms


def attend(
    connection: sqlite3.Connection, catalog: Catalog, member: Presence, now_ms: int
) -> tuple[dict[TopicPartition, int], int | None]:
    """Gives up the member's surplus and takes what is free and its share, inside a write transaction.

    Members that were not seen for their session time-out are removed; the member itself comes back if somebody
    removed it. Returns: what it owns now with epochs; the number of the change, None if there was none.
    """
    members, change = _attendance(connection, member, now_ms)
    leases = {
        catalog.partition(slot): (slot, owner, epoch)
        for slot, owner, epoch in connection.execute(
            "SELECT slot, owner, epoch FROM leases WHERE name = ?", (member.group,)
        ).fetchall()
    }
    counts = {topic: catalog.find(topic).partitions for topics in members.values() for topic in topics}
    owners = {partition: owner for partition, (_, owner, _) in leases.items() if owner is not None}
    wanted = share(members, counts, owners)
    owned = {p: epoch for p, (_, owner, epoch) in leases.items() if owner == member.id == wanted.get(p)}
    surplus = [slot for p, (slot, owner, _) in leases.items() if owner == member.id and p not in owned]
    free = [p for p, owner in wanted.items() if owner == member.id and p not in owners]
    connection.executemany(
        "UPDATE leases SET owner = NULL WHERE name = ? AND slot = ?", [(member.group, slot) for slot in surplus]
    )
    owned |= {partition: _take(connection, catalog.slot(partition), member) for partition in free}
    if surplus or free:
        change = _change(connection)
    return owned, change


def _attendance(
    connection: sqlite3.Connection, member: Presence, now_ms: int
) -> tuple[dict[str, Sequence[str]], int | None]:
    """The living members of the group with their topics, this one among them."""
    change = None
    members: dict[str, Sequence[str]] = {}
    for other, topics, heartbeat_ms, session_ms in connection.execute(
        "SELECT id, topics, heartbeat_ms, session_ms FROM members WHERE name = ?", (member.group,)
    ).fetchall():
        if other != member.id and abs(now_ms - heartbeat_ms) > session_ms:
            change = leave(connection, other)
        else:
            members[other] = topics.split("\n")
    if member.id not in members:
        change = join(connection, member, now_ms)
        members[member.id] = member.topics
    return members, change


def _take(connection: sqlite3.Connection, slot: int, member: Presence) -> int:
    ((epoch,),) = connection.execute(
        "INSERT INTO leases VALUES (?, ?, ?, 1)"
        " ON CONFLICT DO UPDATE SET owner = excluded.owner, epoch = epoch + 1 RETURNING epoch",
        (member.group, slot, member.id),
    ).fetchall()
    return int(epoch)


def reset(
    connection: sqlite3.Connection, group: str, positions: Positions, slots: Mapping[TopicPartition, int], now_ms: int
) -> None:
    """Sets positions of a group that nobody reads, inside a write transaction."""
    readers = [member for name, member in connection.execute(LIVING, (now_ms,)).fetchall() if name == group]
    if readers:
        raise Misuse(f"group {group} is being read by {', '.join(readers)}: stop them, then reset it")
    connection.executemany(
        "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET position = excluded.position",
        [(group, slots[partition], position) for partition, position in positions.items()],
    )


def _change(connection: sqlite3.Connection) -> int:
    ((number,),) = connection.execute(
        "UPDATE log SET group_changes = group_changes + 1 RETURNING group_changes"
    ).fetchall()
    return int(number)
