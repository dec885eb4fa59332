"""The floor of `commands`: the write path by hand, with confluent-kafka and msgspec and nothing else.

    caller ──► commands ──► owner ──► events, states, replies + consumed offsets (one transaction) ──► caller

Two transactional producers take turns. In a transaction the events go first; their delivery reports
tell their offsets; states and replies that carry these follow, then the consumed offsets
with the group's metadata, then the commit. States are kept in a dict. What the floor leaves out is everything
for the day when something goes wrong: it remembers no command ids, restores nothing, and checks nothing. As in the
library, the garbage collector waits while a batch is worked on, which is a seventh of the floor's CPU time.

Its linger is not the library's, which is 0 everywhere, since this one is faster: 1 ms for the commands and 1,000 ms in
transactions, where flush and commit send at once. In ten rounds in turn on a busy machine the medians were 6,600 to
7,800 commands/s beside 4,700 to 6,300 with 0 and 0, and the times of one command alone were not longer (14.8 and 12.0
ms beside 19.1 and 12.1). With 5 or 20 ms for the commands there was no further gain.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks import bare
from benchmarks.bare import (
    PARTITIONS,
    Account,
    AccountState,
    Deposit,
    Deposited,
    Header,
    Ids,
    Reply,
    Withdraw,
    Withdrawn,
)
from headwater.log.partitioning import partition_of

BATCH = 2000
READY_S = 30.0


class KafkaFloor:
    """The hand-written owner and its caller in one process, as `App.run` is.

    Arguments: bootstrap: host:port of the broker; name: of the entity type, in the topics' names; headers:
    whether records carry the envelope that headwater's do, or only what the floor itself reads.
    """

    def __init__(self, bootstrap: str, name: str, *, headers: bool = True) -> None:
        self.states: dict[bytes, Account] = {}
        self._settings = {"bootstrap.servers": bootstrap}
        self._topics = {kind: f"{name}-{kind}" for kind in ("commands", "events", "state", "replies")}
        self._headers = headers
        self._client: Header = ("hw_client", uuid4().hex.encode())
        self._ids = Ids()
        self._waiting: set[str] = set()
        self._answers: list[Reply] = []
        self._answered = threading.Condition()
        self._closed = threading.Event()
        self._ready = threading.Barrier(3, timeout=READY_S)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> KafkaFloor:
        admin = AdminClient(self._settings)
        for created in admin.create_topics(
            [NewTopic(topic, PARTITIONS, 1) for topic in self._topics.values()]
        ).values():
            created.result()
        self._sender = Producer(self._settings | {"enable.idempotence": True, "linger.ms": 1})
        owner = _Owner(self._settings, self._topics, self._headers, self.states)
        self._threads = [
            threading.Thread(target=owner.run, args=(self._closed, self._ready), daemon=True),
            threading.Thread(target=self._listen, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def send(self, command: Deposit | Withdraw) -> Reply:
        """One command, and its answer."""
        self._produce(command)
        self._sender.flush()
        self._wait_until(0)
        return self._answers.pop()

    def send_many(self, commands: Iterable[Deposit | Withdraw], in_flight: int) -> list[Reply]:
        """The answers of commands of which at most `in_flight` are under way."""
        group = in_flight // 4
        for index, command in enumerate(commands):
            self._produce(command)
            if index % group == 0:
                self._sender.poll(0)
                self._wait_until(in_flight - group)
        self._sender.flush()
        self._wait_until(0)
        answers, self._answers = self._answers, []
        return answers

    def _written(self, error: KafkaError | None, message: Message) -> None:
        """A command that cannot be written would be waited for in vain."""
        if error is not None:
            raise KafkaException(error)

    def _produce(self, command: Deposit | Withdraw) -> None:
        key, command_id = command.account_id.encode(), self._ids.new()
        self._waiting.add(command_id)
        headers = bare.command_headers(command_id.encode(), type(command), key, self._client)
        if not self._headers:
            headers = [headers[1], self._client]
        self._sender.produce(
            self._topics["commands"],
            bare.encode(command),
            key,
            partition_of(key, PARTITIONS),
            self._written,
            headers=headers,
        )

    def _wait_until(self, under_way: int) -> None:
        with self._answered:
            while len(self._waiting) > under_way:
                if not self._answered.wait(READY_S):
                    raise RuntimeError("the floor gives no answers")

    def _listen(self) -> None:
        """Reads the replies and takes those that are for this client."""
        consumer = Consumer(
            self._settings | {"group.id": "none", "enable.auto.commit": False, "fetch.queue.backoff.ms": 1}
        )
        consumer.assign([TopicPartition(self._topics["replies"], p, 0) for p in range(PARTITIONS)])
        self._ready.wait()
        mine = self._client
        while not self._closed.is_set():
            replies = [bare.decode_reply(m.value()) for m in _read(consumer) if mine in m.headers()]
            if replies:
                with self._answered:
                    self._waiting.difference_update([reply.command_id for reply in replies])
                    self._answers += replies
                    self._answered.notify()
        consumer.close()


@dataclass
class _Batch:
    """What a batch of commands leads to. Each of `events` and `replies` is ready to be produced but for offsets."""

    consumed: dict[int, int] = field(default_factory=dict)
    events: list[tuple[bytes, bytes, int, list[Header]]] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    changed: dict[bytes, tuple[Account, int]] = field(default_factory=dict)
    replies: list[tuple[Reply, bytes, Header, Account, int]] = field(default_factory=list)


class _Owner:
    def __init__(
        self, settings: dict[str, Any], topics: dict[str, str], headers: bool, states: dict[bytes, Account]
    ) -> None:
        self._settings, self._topics, self._headers, self._states = settings, topics, headers, states
        self._ids = Ids()

    def run(self, closed: threading.Event, ready: threading.Barrier) -> None:
        group = self._topics["commands"]
        consumer = Consumer(
            self._settings
            | {
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": "cooperative-sticky",
                "fetch.queue.backoff.ms": 1,
            }
        )
        owned = threading.Event()
        consumer.subscribe([group], on_assign=lambda *_: owned.set())
        producers = [self._transactional(f"{group}-{slot}") for slot in "ab"]
        while not owned.is_set():
            consumer.poll(0.1)
        ready.wait()
        turn = 0
        while not closed.is_set():
            messages = _read(consumer)
            if messages:
                metadata = consumer.consumer_group_metadata()
                gc.disable()
                self._commit(producers[turn % 2], self._decide(messages, turn), metadata)
                messages.clear()
                gc.enable()
                turn += 1
        consumer.close()

    def _transactional(self, name: str) -> Producer:
        producer = Producer(
            self._settings
            | {
                "transactional.id": name,
                "transaction.timeout.ms": 12_000,
                "retry.backoff.ms": 1,
                # Nothing leaves in small pieces: flush and commit send at once what is queued.
                "linger.ms": 1000,
            }
        )
        producer.init_transactions()
        return producer

    def _decide(self, messages: list[Message], turn: int) -> _Batch:
        batch, states, new_id = _Batch(), self._states, self._ids.new
        consumed, counts, events, replies = batch.consumed, batch.counts, batch.events, batch.replies
        time = bare.now_text()
        time_header, mark = time.encode(), ("hw_txn", b"floor;%d" % turn)
        for message in messages:
            key, partition, headers = message.key(), message.partition(), dict(message.headers())
            consumed[partition] = message.offset() + 1
            command_id = headers["ce_id"]
            command = bare.decode_command(message.value())
            account = states.get(key)
            if account is None:
                account = states[key] = Account(command.account_id)
            batch.changed[key] = account, partition
            event: Deposited | Withdrawn | None = None
            if type(command) is Deposit:
                event = Deposited(1, command.account_id, command.cents, time)
                account.cents += command.cents
            elif command.cents <= account.cents:
                event = Withdrawn(1, command.account_id, command.cents, time)
                account.cents -= command.cents
            reply = Reply(command_id.decode(), "accepted", "account", account.id, account.version, 0, partition)
            replies.append((reply, key, ("hw_client", headers["hw_client"]), account, counts.get(partition, 0)))
            if event is None:
                reply.outcome, reply.body = "rejected", bare.refusal(account.cents)
                continue
            account.version += 1
            reply.version, reply.events = account.version, 1
            counts[partition] = counts.get(partition, 0) + 1
            envelope = (
                bare.event_headers(new_id(), type(event), time_header, key, account.version, command_id, mark)
                if self._headers
                else []
            )
            events.append((bare.encode(event), key, partition, envelope))
        return batch

    def _commit(self, producer: Producer, batch: _Batch, metadata: Any) -> None:
        produce = producer.produce
        producer.begin_transaction()
        # In each partition reports come in the order of writing. (Counting on from one of them would be wrong: the
        # marker of the transaction before may still land between two records of this one.)
        offsets: dict[int, list[int]] = {partition: [] for partition in batch.counts}

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                raise KafkaException(error)
            offsets[message.partition()].append(message.offset())

        topic = self._topics["events"]
        for value, key, partition, headers in batch.events:
            produce(topic, value, key, partition, delivered, headers=headers)
        producer.flush()
        topic = self._topics["replies"]
        for reply, key, client, account, index in batch.replies:
            if reply.events:
                account.next_event = offsets[reply.partition][index] + 1
            reply.next_offset = account.next_event
            produce(topic, bare.encode(reply), key, reply.partition, headers=[client])
        topic = self._topics["state"]
        for key, (account, partition) in batch.changed.items():
            state = AccountState(
                account.id, account.version, account.cents, account.next_event, batch.consumed[partition]
            )
            produce(topic, bare.encode(state), key, partition)
        consumed = [TopicPartition(self._topics["commands"], p, offset) for p, offset in batch.consumed.items()]
        producer.send_offsets_to_transaction(consumed, metadata)
        producer.commit_transaction()


def _read(consumer: Consumer) -> list[Message]:
    """What is there, or the first that comes within a moment and what came with it."""
    messages = consumer.consume(BATCH, 0)
    if not messages:
        first = consumer.poll(0.05)
        if first is not None:
            messages = [first, *consumer.consume(BATCH - 1, 0)]
    for message in messages:
        if message.error() is not None:
            raise KafkaException(message.error())
    return messages
