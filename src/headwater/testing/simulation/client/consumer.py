"""The consumer: reads what it was assigned, and keeps a membership if it has subscribed.

What it reads ahead and the events at a partition's end come in fetches, each a request of its own; so an end that it
tells is where the broker's stable end was a moment ago.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, OFFSET_INVALID, KafkaError, Message, TopicPartition

from headwater.testing.simulation.client.client import Client, Logger, OutOfTime, Shared, failure
from headwater.testing.simulation.client.membership import Membership, OnRebalance
from headwater.testing.simulation.client.producer import GroupMetadata
from headwater.testing.simulation.cluster.partition import Entry, Refused
from headwater.testing.simulation.cluster.transactions import Where

FETCHED = 1000
NEVER = -1


class Fetched:
    """A partition that is read. Arguments: position: of the next fetch."""

    __slots__ = ("delivered", "ended", "failed", "paused", "position")

    def __init__(self, position: int) -> None:
        self.position = position
        self.delivered = OFFSET_INVALID
        self.ended = NEVER  # the end that was told last
        self.paused = self.failed = False


Answer = tuple[Where, Fetched, list[Entry] | None, int, bool]
"""To the fetch of one partition: records (None: the position is out of range), the next position, whether that is the
end."""


class Consumer(Client):
    def __init__(self, shared: Shared, settings: Mapping[str, Any], logger: Logger | None = None, **rest: Any) -> None:
        super().__init__(shared, {**settings, **rest}, logger)
        self._committed = settings.get("isolation.level", "read_committed") == "read_committed"
        self._tells_ends = bool(settings.get("enable.partition.eof"))
        self._read: dict[Where, Fetched] = {}
        self._messages: deque[tuple[Message, Where | None, Fetched | None]] = deque()
        self._fetching: set[int] = set()
        self._news = False  # whether there may be something that was not fetched yet
        self._membership: Membership | None = None

    def see_all(self) -> None:
        """As with isolation.level=read_uncommitted from now on; for bugs that are planted."""
        self._committed = False

    # --- what is read

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self._drop(list(self._read))
        self.incremental_assign(partitions)

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        self.scheduler.check_alive()
        for at in partitions:
            where = at.topic, at.partition
            self._read[where] = Fetched(max(0, at.offset))
            self.cluster.log(where).listeners[self] = self._notice
        self._notice()

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        self.scheduler.check_alive()
        self._drop((at.topic, at.partition) for at in partitions)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        for at in partitions:
            self._read[at.topic, at.partition].paused = True

    def position(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        found = []
        for at in partitions:
            one = self._read.get((at.topic, at.partition))
            found.append(TopicPartition(at.topic, at.partition, OFFSET_INVALID if one is None else one.delivered))
        return found

    def poll(self, timeout: float = -1) -> Message | None:
        found = self.consume(1, timeout)
        return found[0] if found else None

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        deadline_s = self.deadline(timeout)
        while True:
            self.serve()
            if self._membership is not None:
                self._membership.polled()
            if found := self._take(num_messages):
                return found
            self._look()
            left_s = None if deadline_s is None else deadline_s - self.scheduler.now_s
            if left_s is not None and left_s <= 0:
                return []
            self.waiters.wait(left_s)

    def close(self) -> None:
        self.scheduler.check_alive()
        self.unsubscribe()

    def _take(self, most: int) -> list[Message]:
        found: list[Message] = []
        while self._messages and len(found) < most:
            message, where, fetched = self._messages.popleft()
            if where is not None and self._read.get(where) is not fetched:
                continue
            if fetched is not None and message.error() is None:
                fetched.delivered = (message.offset() or 0) + 1
            found.append(message)
        return found

    def _drop(self, partitions: Iterable[Where]) -> None:
        for where in partitions:
            if self._read.pop(where, None) is not None:
                self.cluster.log(where).listeners.pop(self, None)

    def say(self, code: int) -> None:
        """A failure of the client itself, delivered as a message."""
        self._messages.append((Message(error=KafkaError(code)), None, None))
        self.waiters.wake()

    # --- fetching

    def _notice(self) -> None:
        self._news = True
        self._look()

    def _look(self) -> None:
        """Fetches where there is something that was not fetched yet."""
        if not self._news:
            return
        self._news = False
        wanted: dict[int, list[tuple[Where, Fetched]]] = {}
        for where, one in self._read.items():
            if not one.paused and not one.failed and self._has_news(where, one):
                node = self.cluster.leader(where)
                if node not in self._fetching:
                    wanted.setdefault(node, []).append((where, one))
        for node, partitions in wanted.items():
            self._fetching.add(node)
            self._fetch(node, partitions)

    def _has_news(self, where: Where, one: Fetched) -> bool:
        log = self.cluster.log(where)
        end = log.stable if self._committed else log.end
        return one.position < end or not log.begin <= one.position <= log.end or one.ended != end

    def _fetch(self, node: int, partitions: list[tuple[Where, Fetched]]) -> None:
        def ask() -> list[Answer]:
            found: list[Answer] = []
            for where, one in partitions:
                log = self.cluster.log(where)
                if log.begin <= one.position <= log.end:
                    entries, following = log.read(one.position, FETCHED, committed=self._committed)
                    at_end = following >= (log.stable if self._committed else log.end)
                    found.append((where, one, entries, following, at_end))
                else:
                    found.append((where, one, None, 0, False))
            return found

        def answered(found: list[Answer], error: Exception | None) -> None:
            self._fetching.discard(node)
            if error is not None:
                self.later(0.02, self._notice)
                return
            self._down = False
            for where, one, entries, following, at_end in found:
                if self._read.get(where) is one:
                    self._take_in(where, one, entries, following, at_end)
            if self._messages:
                self.waiters.wake()
            self._notice()

        self.shared.network.send(self, "Fetch", node, ask, answered)

    def _take_in(self, where: Where, one: Fetched, entries: list[Entry] | None, following: int, at_end: bool) -> None:
        topic, partition = where
        if entries is None:
            one.failed = True
            error = KafkaError(KafkaError._AUTO_OFFSET_RESET, "the position is out of range")
            message = Message(topic=topic, partition=partition, offset=one.position, error=error)
            self._messages.append((message, where, one))
            return
        log_time = 2 if self.cluster.log(where).log_time else 1
        for entry in entries:
            message = Message(
                topic=topic,
                partition=partition,
                offset=entry.offset,
                key=entry.key,
                value=entry.value,
                headers=entry.headers,  # type: ignore[arg-type]  # lists are invariant
                timestamp=(log_time, entry.time_ms),
            )
            self._messages.append((message, where, one))
        one.position = following
        if at_end and one.ended != following:
            one.ended = following
            if self._tells_ends:
                end = KafkaError(KafkaError._PARTITION_EOF)
                self._messages.append(
                    (Message(topic=topic, partition=partition, offset=following, error=end), where, one)
                )

    # --- questions

    def offsets_for_times(self, partitions: Sequence[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        deadline_s, found = self.deadline(timeout), dict[Where, TopicPartition]()
        by_node: dict[int, list[TopicPartition]] = {}
        for at in partitions:
            by_node.setdefault(self.cluster.leader((at.topic, at.partition)), []).append(at)
        for node, some in by_node.items():
            try:
                ask = partial(self._offsets, some)
                answers = self.repeated("ListOffsets", node, ask, deadline_s)
            except OutOfTime:
                raise failure(KafkaError._TIMED_OUT, "offsets_for_times") from None
            except Refused as refused:
                raise failure(refused.code, "offsets_for_times") from None
            found.update({(at.topic, at.partition): at for at in answers})
        return [found[at.topic, at.partition] for at in partitions]

    def _offsets(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        return [self._offset(at) for at in partitions]

    def _offset(self, at: TopicPartition) -> TopicPartition:
        log = self.cluster.log((at.topic, at.partition))
        match at.offset:
            case x if x == OFFSET_BEGINNING:
                offset: int | None = log.begin
            case x if x == OFFSET_END:
                offset = log.stable if self._committed else log.end
            case time_ms:
                offset = log.at_time(time_ms)
        return TopicPartition(at.topic, at.partition, OFFSET_END if offset is None else offset)

    def committed(self, partitions: Sequence[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        name, cluster, stable = str(self.settings["group.id"]), self.cluster, self._committed
        wanted = [(at.topic, at.partition) for at in partitions]

        def ask() -> list[TopicPartition]:
            positions = cluster.group(name).positions
            if stable and any(map(positions.unstable, wanted)):
                raise Refused(KafkaError.UNSTABLE_OFFSET_COMMIT)
            stands, nothing = positions.all(), (OFFSET_INVALID, "")
            return [TopicPartition(*where, *stands.get(where, nothing)) for where in wanted]

        again = frozenset((KafkaError.UNSTABLE_OFFSET_COMMIT,))
        try:
            return self.repeated("OffsetFetch", cluster.coordinator(name), ask, self.deadline(timeout), again)
        except OutOfTime:
            raise failure(KafkaError._TIMED_OUT, "committed") from None

    # --- the group

    def subscribe(
        self, topics: Sequence[str], on_assign: OnRebalance, on_revoke: OnRebalance, on_lost: OnRebalance
    ) -> None:
        self._membership = Membership(self, self.settings, tuple(topics), on_assign, on_revoke, on_lost)

    def unsubscribe(self) -> None:
        """Tells what waits to be told, then gives everything back and leaves."""
        self.serve()
        if self._membership is not None:
            self._membership.close()
        self._drop(list(self._read))

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for topic, partition in self._read]

    def memberid(self) -> str:
        self.scheduler.check_alive()
        return "" if self._membership is None else self._membership.id

    def consumer_group_metadata(self) -> GroupMetadata:
        self.scheduler.check_alive()
        membership = self._membership
        if membership is None:
            return GroupMetadata(str(self.settings["group.id"]), "", -1)
        return GroupMetadata(membership.group, membership.id, membership.generation)

    def commit(self, *, offsets: Sequence[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        metadata, cluster = self.consumer_group_metadata(), self.cluster
        at = {(one.topic, one.partition): (one.offset, one.metadata or "") for one in offsets}
        try:
            self.repeated(
                "OffsetCommit",
                cluster.coordinator(metadata.group),
                lambda: cluster.group(metadata.group).commit(metadata.member, metadata.generation, at),
                self.deadline(self.answer_s),
            )
        except OutOfTime:
            raise failure(KafkaError._TIMED_OUT, "commit") from None
        except Refused as refused:
            raise failure(refused.code, "commit") from None
        return [TopicPartition(one.topic, one.partition, one.offset) for one in offsets]
