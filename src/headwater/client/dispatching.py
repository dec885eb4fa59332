"""Which way commands go, and their order on the way.

To the owner in this process if the log is embedded and the partition is its own; they travel otherwise. A
partition may be lost while its commands wait at the owner's door, and come back while they travel, so one way
is closed while there are commands on the other:

    direct ──(turned away, and none is direct any more)──► travelling ──(all are answered)──► direct

What comes while the way is being changed waits behind those that were turned away. What is on its way to the owner then
is turned away, too, even where the owner could take it again by the time that it gets there.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from headwater.client.receipts import Pending, Sending
from headwater.client.travelling import CLOSED, Post
from headwater.errors import HeadwaterError, Unavailable
from headwater.log.port import Fenced, Log, NewRecord
from headwater.log.topology import commands_topic
from headwater.messages.envelope import command_headers, first_command_headers
from headwater.owners.arriving import Arrived, NotMine, source_text
from headwater.owners.door import Signal
from headwater.owners.owner import Owner
from headwater.owners.replies import Reply


class Parcel(msgspec.Struct, eq=False):
    """A command ready to go: encoded once, whichever way it takes. `sent_s`: when one of many was handed over, on a
    monotonic clock."""

    entity: str
    arrived: Arrived
    pending: Pending
    sending: Sending
    sent_s: float = 0.0


class Lane:
    """The commands of one partition of an entity type that has its owner in this process.

    `direct`: how many are with the owner; `turned_away`: by the owner, in order; `behind`: what came after them;
    `travelling`: who waits for those that travel.
    """

    __slots__ = ("behind", "direct", "travelling", "turned_away")

    def __init__(self) -> None:
        self.direct = 0
        self.turned_away: list[Parcel] = []
        self.behind: list[Parcel] = []
        self.travelling: set[Pending] = set()

    @property
    def straight(self) -> bool:
        return not (self.turned_away or self.behind or self.travelling)


class Dispatcher:
    """Sends parcels on their way; those for one entity go in the order in which a caller gives them. Thread-safe.

    Arguments: owners: those of this process, by entity type; post: for what travels; source: the app's name.
    """

    def __init__(self, log: Log, owners: Mapping[str, Owner], post: Post, source: str) -> None:
        self._owners = owners if log.embedded else {}
        self._post, self._source, self._mine = post, source, ("hw_client", post.client)
        self._lock = threading.Lock()
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._given: deque[Parcel] = deque()
        self._leaving: deque[Parcel] = deque()
        self._wanted = Signal()
        self._thread: threading.Thread | None = None
        self._closed = False

    def dispatch(self, parcels: Sequence[Parcel]) -> None:
        """Sends parcels from the calling thread, which may do the owner's work. Their pendings are settled later,
        or already."""
        if self._closed:
            refuse(parcels)
            return
        if not self._owners:
            self._send(parcels)
            return
        direct: dict[str, list[Arrived]] = {}
        travelling: list[Parcel] = []
        with self._lock:
            for parcel in parcels:
                owner = self._owners.get(parcel.entity)
                if owner is None:
                    travelling.append(parcel)
                    continue
                partition = parcel.arrived.partition
                lane = self._lanes.get((parcel.entity, partition))
                if lane is None:
                    lane = self._lanes[parcel.entity, partition] = Lane()
                if lane.straight and owner.owns(partition):
                    lane.direct += 1
                    parcel.arrived.answer = self._answer_of(parcel, lane)
                    parcel.arrived.turned_away = lane.turned_away
                    direct.setdefault(parcel.entity, []).append(parcel.arrived)
                else:
                    lane.behind.append(parcel)
                    self._change_way(lane)
        for entity, commands in direct.items():
            self._owners[entity].submit(commands)
        self._send(travelling)

    def hand_over(self, parcel: Parcel) -> None:
        """Has a parcel sent by a thread of the dispatcher's own, together with all that are there by then: for
        streams, and for callers that must not wait."""
        self._given.append(parcel)
        if self._thread is None:
            with self._lock:
                self._start()
        self._wanted.give()
        if self._closed:
            refuse(taken(self._given))

    def close(self) -> None:
        """Ends the thread. What was not sent yet is answered with Unavailable."""
        self._closed = True
        self._wanted.give()
        if self._thread is not None:
            self._thread.join()
        refuse(taken(self._leaving) + taken(self._given))

    # --- changing ways

    def _answer_of(self, parcel: Parcel, lane: Lane) -> Callable[[Reply | HeadwaterError], None]:
        def answer(result: Reply | HeadwaterError) -> None:
            # An owner that lost the partition has written nothing: the command travels to the new one.
            away = isinstance(result, Fenced) or (isinstance(result, NotMine) and result.stopped is None)
            parcel.arrived.answer = None  # it refers to this function: without this, both would live on
            parcel.arrived.turned_away = ()
            with self._lock:
                lane.direct -= 1
                if away:
                    lane.turned_away.append(parcel)
                if lane.turned_away or lane.behind:
                    self._change_way(lane)
            if not away:
                parcel.pending.settle(Unavailable(str(result)) if isinstance(result, NotMine) else result)

        return answer

    def _change_way(self, lane: Lane) -> None:
        """What waits in a lane travels, once nothing of it is with the owner any more. The lock is held."""
        if lane.direct:
            return

        def landed(pending: Pending) -> None:
            with self._lock:
                lane.travelling.discard(pending)

        for parcel in lane.turned_away + lane.behind:
            lane.travelling.add(parcel.pending)
            parcel.pending.landed = landed
            self._leaving.append(parcel)
        lane.turned_away, lane.behind = [], []
        self._start()
        self._wanted.give()

    def _send(self, parcels: Sequence[Parcel]) -> None:
        """Has parcels travel."""
        groups: dict[str, list[Parcel]] = {}
        for parcel in parcels:
            groups.setdefault(parcel.entity, []).append(parcel)
        for entity, group in groups.items():
            try:
                self._post.send(entity, [self._record(one) for one in group], [one.pending for one in group])
            except HeadwaterError as error:
                for one in group:
                    one.pending.settle(error)

    def _record(self, parcel: Parcel) -> NewRecord:
        arrived, sending = parcel.arrived, parcel.sending
        kind = type(sending.command).__hw__.wire_name
        if arrived.traceparent is None and sending.plain:
            headers = first_command_headers(arrived.id, self._source, kind, arrived.key)
            headers.append(self._mine)
        else:
            headers = command_headers(
                id=arrived.id,
                source=self._source,
                type=kind,
                subject=arrived.key.decode(),
                time=sending.time,
                actor=sending.actor,
                hw_client=self._post.client,
                hw_expected=sending.expected_version,
                hw_source=None if sending.source is None else source_text(sending.source),
                extra=() if arrived.traceparent is None else [("traceparent", arrived.traceparent)],
            )
        return NewRecord(commands_topic(parcel.entity), arrived.partition, arrived.key, arrived.value, headers)

    # --- the thread

    def _start(self) -> None:
        """Starts the thread where there is none. The lock is held."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="headwater-dispatcher", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            self._wanted.wait()
            while (self._leaving or self._given) and not self._closed:
                self._send([parcel for parcel in taken(self._leaving) if self._waited_for(parcel)])
                self.dispatch(taken(self._given))

    def _waited_for(self, parcel: Parcel) -> bool:
        """Whether its caller has not given up before it was sent."""
        pending = parcel.pending
        if pending.result is None:
            return True
        if pending.landed is not None:
            pending.landed(pending)  # it may have been settled before anybody was to be told
        return False


def refuse(parcels: Sequence[Parcel]) -> None:
    for parcel in parcels:
        parcel.pending.settle(Unavailable(CLOSED))


def taken(queue: deque[Parcel]) -> list[Parcel]:
    """What lies in a queue now."""
    found: list[Parcel] = []
    with suppress(IndexError):
        while True:
            found.append(queue.popleft())
    return found
