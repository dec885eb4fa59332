"""Bugs in how transactions are written and ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError

from headwater.errors import HeadwaterError
from headwater.log.kafka import bounded
from headwater.log.kafka.connection import ClientLog
from headwater.log.kafka.producers import Turn
from headwater.log.kafka.transactions import KafkaTransaction, KafkaWriter, _Broken
from headwater.log.port import Aborted, Log, NewRecord, Positions, TopicPartition, Transaction
from headwater.log.topology import replies_topic
from headwater.owners.steps import StepMaker
from headwater.owners.transacting import Transacting
from headwater.testing.simulation.bugs.planting import bug, replaced


class _RepliesFirst:
    """A transaction whose replies are not part of it."""

    def __init__(self, tx: Transaction, log: Log, replies: str) -> None:
        self._tx, self._log, self._replies = tx, log, replies
        self.append, self.positions = tx.append, tx.positions

    def write(self, records: Sequence[NewRecord]) -> None:
        self._log.append([record for record in records if record.topic == self._replies])
        self._tx.write([record for record in records if record.topic != self._replies])


@bug("A reply is a record of the transaction that it answers for.")
def reply_before_commit() -> Iterator[None]:
    def init(self: Transacting, log: Log, maker: StepMaker, *rest: Any) -> None:
        original(self, log, maker, *rest)
        writing: Any = self._writing
        fill = writing.fill
        replies = replies_topic(maker.entity)
        writing.fill = lambda tx, *given: fill(_RepliesFirst(tx, log, replies), *given)

    with replaced(Transacting, "__init__", init) as original:
        yield


@bug("Producer B begins only after the commit of A has returned OK.", outages=1.0)
def b_begins_before_a_is_committed() -> Iterator[None]:
    committing: dict[Turn, Any] = {}

    def transact(
        self: KafkaWriter, fill: Callable[[Transaction], None], meanwhile: Callable[[], None] | None = None
    ) -> dict[TopicPartition, int]:
        turn = self._turns[0]
        if turn in committing:
            committing.pop(turn).join()
        transaction = self._transaction(turn, meanwhile)
        try:
            fill(transaction)
        except _Broken as broken:
            self._recover(turn, transaction, broken)
            return transaction.written.first
        if transaction.empty:
            return {}

        def commit() -> None:
            try:
                transaction.commit()
            except _Broken:
                turn.close()
            else:
                turn.ended()

        thread = vars(bounded)["threading"].Thread(target=commit)  # the double, while a run goes on
        committing[turn] = thread
        thread.start()
        self._turns.reverse()
        return {}

    def close(self: KafkaWriter) -> None:
        for turn in self._turns:
            if turn in committing:
                committing.pop(turn).join()
        original(self)

    with replaced(KafkaWriter, "transact", transact), replaced(KafkaWriter, "close", close) as original:
        yield


@bug(
    "A line of the client's log is a doubt, and doubt replaces the producer.",
    favourite="EndTxn",
    rates={"late": 0.25},
    late_s=0.02,
    latency_s=0.0005,
    idle_s=0.0,
)
def no_replacement_after_doubt() -> Iterator[None]:
    with replaced(ClientLog, "log", lambda self, level, form, *arguments: None):
        yield


@bug("What became of a commit without an answer is read, not guessed.", favourite="EndTxn", rates={"cut": 0.32})
def a_commit_that_timed_out_is_taken_for_done() -> Iterator[None]:
    def recover(self: KafkaWriter, turn: Turn, transaction: KafkaTransaction, broken: _Broken) -> None:
        if broken.step == "commit" and broken.error.code() == KafkaError._TIMED_OUT:
            turn.close()
            return
        original(self, turn, transaction, broken)

    with replaced(KafkaWriter, "_recover", recover) as original:
        yield


@bug(
    "After a retriable error the same call is made again, with the same arguments.",
    favourite="EndTxn",
    rates={"answer lost": 0.32},
)
def a_commit_that_timed_out_is_done_again_from_the_beginning() -> Iterator[None]:
    def transact(
        self: KafkaWriter, fill: Callable[[Transaction], None], meanwhile: Callable[[], None] | None = None
    ) -> dict[TopicPartition, int]:
        again: list[KafkaError] = []

        def recover(writer: KafkaWriter, turn: Turn, transaction: KafkaTransaction, broken: _Broken) -> None:
            if broken.step == "commit" and broken.error.retriable():
                turn.close()
                again.append(broken.error)
                return
            proper(writer, turn, transaction, broken)

        with replaced(KafkaWriter, "_recover", recover) as proper:
            firsts: dict[TopicPartition, int] = original(self, fill, meanwhile)
            while again:
                again.clear()
                firsts = original(self, fill, meanwhile)
            return firsts

    with replaced(KafkaWriter, "transact", transact) as original:
        yield


@bug("The positions are part of the transaction whose work they stand for.", kills=1.0)
def positions_outside_of_the_transaction() -> Iterator[None]:
    def positions(self: KafkaTransaction, group: str, positions: Positions, fence: Any) -> None:
        with suppress(HeadwaterError):
            fence.member.commit(positions)

    with replaced(KafkaTransaction, "positions", positions):
        yield


@bug("The offsets of events are those that the delivery reports tell.")
def offsets_are_counted_from_the_end() -> Iterator[None]:
    def append(self: KafkaTransaction, records: Sequence[NewRecord]) -> list[int]:
        wanted = list(dict.fromkeys(TopicPartition(record.topic, record.partition) for record in records))
        ends = self._administration.ends(wanted, committed=True)
        offsets = []
        for record in records:
            at = TopicPartition(record.topic, record.partition)
            offsets.append(ends[at])
            ends[at] += 1
        original(self, records)
        return offsets

    with replaced(KafkaTransaction, "append", append) as original:
        yield


@bug("A batch that was aborted is done again.")
def an_aborted_batch_is_passed_over() -> Iterator[None]:
    def transact(
        self: KafkaWriter, fill: Callable[[Transaction], None], meanwhile: Callable[[], None] | None = None
    ) -> dict[TopicPartition, int]:
        with suppress(Aborted):
            firsts: dict[TopicPartition, int] = original(self, fill, meanwhile)
            return firsts
        return {}

    with replaced(KafkaWriter, "transact", transact) as original:
        yield


BUGS = [
    reply_before_commit,
    b_begins_before_a_is_committed,
    no_replacement_after_doubt,
    a_commit_that_timed_out_is_taken_for_done,
    a_commit_that_timed_out_is_done_again_from_the_beginning,
    positions_outside_of_the_transaction,
    offsets_are_counted_from_the_end,
    an_aborted_batch_is_passed_over,
]
