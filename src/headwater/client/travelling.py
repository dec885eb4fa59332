"""Commands that travel: written to `<entity>-commands`, answered in `<entity>-replies` by whoever owns them.

One thread reads the replies of the entity types that were asked for, from the end that the topics had before
the first question. A reply of another client is recognised by its `hw_client` header and not decoded.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Sequence

from msgspec import structs

from headwater.client.receipts import Pending, Question
from headwater.environment import Environment
from headwater.errors import HeadwaterError, Unavailable, Unknown
from headwater.log.port import Log, NewRecord, Record, TopicPartition, Undecided
from headwater.log.topology import Topology, owners_group, replies_topic
from headwater.owners.replies import Reply, decode_reply
from headwater.readers.garbage import collection_waits

OWNER_SEEN_S = 1.0
"""How long a look at a group's members, or an answer from one of them, is believed."""


REMEMBERED = 10_000
"""How many commands that were given up are remembered, each as long as later ones are fewer."""

CLOSED = "the client was closed before an answer came"


class Waiting:
    """Who waits for which answer. Thread-safe.

    A command that its caller gave up may be sent again under the same id, and the answer to the first attempt may still
    come: it is not the answer to the second. So attempts after the first have numbers, which answers carry back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pendings: dict[Question, Pending] = {}
        self._given_up: dict[Question, None] = {}
        self._attempts = itertools.count(1)

    def add(self, entity: str, records: Sequence[NewRecord], pendings: Sequence[Pending]) -> list[int]:
        """The pendings of command records, in their order. Returns the number of each attempt; 0: the first."""
        attempts = []
        with self._lock:
            for record, pending in zip(records, pendings, strict=True):
                question = entity, (record.key or b"").decode(), pending.command_id, 0
                if self._given_up and question in self._given_up:
                    question = (*question[:3], next(self._attempts))
                pending.question = question
                attempts.append(question[3])
                first = self._pendings.setdefault(question, pending)
                if first is not pending:
                    while first.behind is not None:
                        first = first.behind
                    first.behind = pending
        return attempts

    def answer(self, replies: Iterable[tuple[Reply, int]]) -> None:
        """Settles whoever waits for these, each with the number of its attempt."""
        settled: list[tuple[Pending, Reply]] = []
        with self._lock:
            for reply, attempt in replies:
                question = reply.entity, reply.id, reply.asked_by or reply.command_id, attempt
                pending = self._pendings.pop(question, None)
                if pending is not None:
                    settled.append((pending, reply))
                    self._follow(question, pending)
        for pending, reply in settled:
            pending.settle(reply)

    def forget(self, pending: Pending) -> None:
        """Does not wait for this one any more."""
        with self._lock:
            if pending.question is None:
                return
            self._given_up[(*pending.question[:3], 0)] = None
            if len(self._given_up) > REMEMBERED:
                del self._given_up[next(iter(self._given_up))]
            first = self._pendings.get(pending.question)
            if first is pending:
                del self._pendings[pending.question]
                self._follow(pending.question, pending)
            while first is not None and first is not pending:
                if first.behind is pending:
                    first.behind, pending.behind = pending.behind, None
                first = first.behind

    def end(self, reason: str) -> None:
        """Settles all: there will be no answer to what was sent, for this reason."""
        with self._lock:
            waiting, self._pendings = self._pendings, {}
        for pending in waiting.values():
            this: Pending | None = pending
            while this is not None:
                this.settle(Unknown(this.command_id, 0, reason))
                this = this.behind

    def _follow(self, question: Question, pending: Pending) -> None:
        """The one behind it waits for the next answer. The lock is held."""
        if pending.behind is not None:
            self._pendings[question], pending.behind = pending.behind, None


class Post:
    """Sends command records and brings their replies back.

    Arguments: log, topology; client: names this client, unique; url: for errors.
    """

    def __init__(self, log: Log, topology: Topology, *, client: str, url: str, environment: Environment) -> None:
        self._log, self._topology, self._url, self._environment = log, topology, url, environment
        self.client = client.encode()
        self._waiting = Waiting()
        self._lock = threading.Lock()
        self._positions: dict[TopicPartition, int] = {}
        self._new: dict[TopicPartition, int] = {}
        self._listening: set[str] = set()
        self._owner_seen: dict[str, float] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: HeadwaterError | None = None

    def send(self, entity: str, records: Sequence[NewRecord], pendings: Sequence[Pending]) -> None:
        """Writes the commands; each pending is settled by its reply, or by the failure to write it: with Unknown where
        nobody knows whether it was written.

        Raises: Unavailable: nobody owns the entity type; nothing was written.
        """
        self.check_owner(entity)
        self._listen(entity)
        began_s = self._environment.monotonic_s()
        attempts = self._waiting.add(entity, records, pendings)
        if any(attempts):
            records = list(map(self._numbered, records, attempts))

        def written(index: int, offset: int | None, error: Exception | None) -> None:
            if error is not None:
                pending = pendings[index]
                self.forget(pending)
                if isinstance(error, Undecided):
                    waited_s = self._environment.monotonic_s() - began_s
                    error = Unknown(pending.command_id, round(waited_s, 1), str(error))
                pending.settle(error if isinstance(error, HeadwaterError) else Unavailable(str(error)))

        try:
            self._log.append_nowait(records, written)
        except HeadwaterError:
            for pending in pendings:
                self.forget(pending)
            raise

    def _numbered(self, record: NewRecord, attempt: int) -> NewRecord:
        """A command record whose reply will say to which attempt it belongs."""
        if not attempt:
            return record
        others = [header for header in record.headers if header[0] != "hw_client"]
        return structs.replace(record, headers=[*others, ("hw_client", self.client + b"#%d" % attempt)])

    def forget(self, pending: Pending) -> None:
        """Stops waiting for a reply that did not come in time."""
        self._waiting.forget(pending)

    def check_owner(self, entity: str) -> None:
        """Raises: Unavailable: the group that owns the entity type has no live member."""
        now = self._environment.monotonic_s()
        if now - self._owner_seen.get(entity, -10.0) < OWNER_SEEN_S:
            return
        if not any(group.members for group in self._log.groups([owners_group(entity)])):
            raise Unavailable(
                f"no live owner of {entity!r} on {self._url}; start one with: hw run MODULE:APP --on {self._url}"
            )
        self._owner_seen[entity] = now

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        self._waiting.end(CLOSED)

    def _listen(self, entity: str) -> None:
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if entity in self._listening:
                return
            self._new.update(self._log.ends(self._topology.all_of(replies_topic(entity), entity)))
            self._listening.add(entity)
            if self._thread is None:
                self._thread = threading.Thread(target=self._read_on, name="headwater-replies", daemon=True)
                self._thread.start()

    def _read_on(self) -> None:
        reader = self._log.reader()
        try:
            while not self._closed.is_set():
                with self._lock:
                    new, self._new = self._new, {}
                if new:
                    self._positions.update(new)
                    reader.assign(self._positions)
                try:
                    batch = reader.read(5000, 0.05)
                except Unavailable:
                    # The senders' own time-outs tell them; the replies are still there when the log is back.
                    self._closed.wait(0.2)
                    continue
                self._positions.update(batch.reached)
                if batch.records:
                    self._take(batch.records)
        except HeadwaterError as error:
            self._failure = error
            self._waiting.end(str(error))
        finally:
            reader.close()

    @collection_waits()
    def _take(self, records: Sequence[Record]) -> None:
        """Hands the replies to this client to whoever waits for them."""
        mine, mine_again = ("hw_client", self.client), self.client + b"#"
        replies: list[tuple[Reply, int]] = []
        for record in records:
            headers = record.headers
            if mine in headers:
                replies.append((decode_reply(record.value or b""), 0))
            elif (client := dict(headers).get("hw_client", b"")).startswith(mine_again):
                replies.append((decode_reply(record.value or b""), int(client[len(mine_again) :])))
        now = self._environment.monotonic_s()
        for entity in {reply.entity for reply, _ in replies}:
            self._owner_seen[entity] = now
        self._waiting.answer(replies)
