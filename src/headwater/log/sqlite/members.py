"""A member of a group: reads what it owns, and looks after its ownership while it reads."""

from __future__ import annotations

import sqlite3
import time

from headwater.errors import Misuse
from headwater.log.port import Batch, Fence, Positions, TopicPartition
from headwater.log.sqlite import membership
from headwater.log.sqlite.alive import Alive
from headwater.log.sqlite.commits import Commits
from headwater.log.sqlite.membership import Ownership, Presence
from headwater.log.sqlite.reading import Reading, Source


class House:
    """The members of one handle: a heartbeat of one is a heartbeat of all that read, in one commit.

    Arguments: alive: their sign of life, which is there as long as one of them.
    """

    def __init__(self, alive: Alive) -> None:
        self.presences: dict[str, Presence] = {}
        self.alive = alive


class SqliteMember:
    """See `headwater.log.port.Member`.

    Arguments: source, commits, house: of its log; presence: who it is and what it reads; lean: see `Log.member`.
    """

    def __init__(
        self, source: Source, commits: Commits, house: House, presence: Presence, *, lean: bool = False
    ) -> None:
        self._source, self._commits, self._house, self._presence = source, commits, house, presence
        self._owned: dict[TopicPartition, int] = {}
        self._changes_seen = -1
        self._next_look_s = 0.0
        self._publish(commits.alone(lambda c: membership.join(c, presence, commits.alive_ms())))
        self._reading = Reading(source, member=True, lean=lean)
        house.presences[presence.id] = presence

    @property
    def id(self) -> str:
        return self._presence.id

    def read(self, max_records: int, timeout_s: float) -> Batch:
        deadline = time.monotonic() + timeout_s
        reading, news = self._reading, self._source.news
        while not reading.closed:
            reading.woken.clear()
            news.look()
            assigned, revoked = self._attend()
            batch = reading.take(max_records)
            batch.assigned, batch.revoked = assigned, revoked
            if batch.reached or batch.ended or assigned or revoked:
                return batch
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return batch
            reading.wait(remaining_s)
        return Batch()

    def _attend(self) -> tuple[list[TopicPartition], list[TopicPartition]]:
        """Keeps the membership alive and its share of partitions right. Returns what was gained and lost."""
        now_s = time.monotonic()
        changes = self._source.news.group_changes
        if changes == self._changes_seen and now_s < self._next_look_s:
            return [], []
        self._next_look_s = now_s + self._presence.session_ms / 6000
        now_ms = self._presence.seen_ms = self._commits.alive_ms()
        due = self._presence.is_due(now_ms)
        if changes == self._changes_seen and not due and not self._anybody_silent(now_ms):
            return [], []
        before = self._owned
        self._owned, change = owned, _ = self._commits.alone(lambda c: self._look_after(c, now_ms, due=due))
        self._changes_seen = changes if change is None else change
        self._publish(change)
        # Lost and taken again in between is both: what was known of the partition is no longer true.
        revoked = [p for p, epoch in before.items() if owned.get(p) != epoch]
        assigned = [p for p, epoch in owned.items() if before.get(p) != epoch]
        if revoked:
            self._reading.stop(revoked)
        return assigned, revoked

    def _look_after(
        self, connection: sqlite3.Connection, now_ms: int, *, due: bool
    ) -> tuple[dict[TopicPartition, int], int | None]:
        buried = membership.bury(connection, self._source.file.place)
        owned, change = membership.attend(connection, self._source.catalog, self._presence, now_ms)
        if due:
            alive = [p for p in self._house.presences.values() if p.seen_ms != p.written_ms]
            membership.beat(connection, alive)
        return owned, buried if change is None else change

    def _anybody_silent(self, now_ms: int) -> bool:
        return bool(self._reading.ask(membership.SILENT, (self._presence.group, now_ms)))

    def _publish(self, change: int | None) -> None:
        if change is not None:
            self._source.news.publish_groups(change)

    def start(self, positions: Positions) -> None:
        for partition in positions:
            if partition not in self._owned:
                raise Misuse(f"{self.id} cannot start {partition}: it is not assigned to it")
        self._reading.start(positions)

    def fence(self) -> Fence:
        return Ownership(self._presence.group, self._presence, dict(self._owned))

    def commit(self, positions: Positions) -> None:
        fence = self.fence()
        self._commits.share(lambda draft: draft.positions(self._presence.group, positions, fence), marker=False)

    def close(self) -> None:
        if self._house.presences.pop(self.id, None) is not None:
            self._reading.close()
            self._publish(self._commits.alone(lambda c: membership.leave(c, self.id)))
