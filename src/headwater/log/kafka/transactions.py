"""Transactions: two producers in turn behind one writer, and the truth after a doubt.

    begin ─► append: delivery reports give offsets ─► write ─► offsets with the fence ─► commit
      any failure before commit: not committed; the producer is replaced, which aborts what it left open
      any failure of commit:     the producer is replaced, then what was written is looked for

Why two, and why replace: see `producers`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka._types import HeadersType

from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.log.kafka.administration import Administration
from headwater.log.kafka.appending import check
from headwater.log.kafka.bounded import Bounded
from headwater.log.kafka.connection import REFUSED, Connection, KafkaOptions
from headwater.log.kafka.membership import LOST, KafkaFence
from headwater.log.kafka.outcome import Outcome, Written
from headwater.log.kafka.producers import Turn
from headwater.log.port import Aborted, Fence, Fenced, NewRecord, Positions, Torn, Transaction, Undecided

_FENCED_PRODUCER = frozenset((KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH))


class _Broken(Exception):
    """The client refused a step of the transaction."""

    def __init__(self, error: KafkaError, step: str) -> None:
        super().__init__(f"{step}: {error.str()} ({error.name()})")
        self.error, self.step = error, step


class KafkaTransaction:
    """See `headwater.log.port.Transaction`. Begins with its first record or position.

    Arguments: begin: gives the producer; id: its transactional id; administration; bounded: makes calls that may
    never end; options: how long the commit may take, and any other step.
    """

    def __init__(
        self,
        begin: Callable[[], Producer],
        id: str,
        administration: Administration,
        bounded: Bounded,
        options: KafkaOptions,
    ) -> None:
        self._begin, self._id, self._administration, self._bounded = begin, id, administration, bounded
        self._answer_s = options.answer_timeout_s
        self._commit_s = options.transaction_timeout_s + options.answer_timeout_s
        self._producer: Producer | None = None
        self._failed: KafkaError | None = None
        self.written = Written(id)
        self.fence: KafkaFence | None = None

    @property
    def empty(self) -> bool:
        return self._producer is None

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        if not records:
            return []
        check(records, self._administration)
        reported: dict[tuple[str, int], list[int]] = {}

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failed = self._failed or error
            else:
                offset = message.offset()
                assert offset is not None
                reported[message.topic(), message.partition()].append(offset)  # type: ignore[index]

        for record in records:
            # Within a partition reports come in the order of writing.
            reported.setdefault((record.topic, record.partition), [])
        self._produce(records, on_delivery)
        self._flush()
        self.written.records(reported)
        next_of = {partition: iter(offsets) for partition, offsets in reported.items()}
        return [next(next_of[record.topic, record.partition]) for record in records]

    def write(self, records: Sequence[NewRecord]) -> None:
        if records:
            check(records, self._administration)
            self._produce(records, None)

    def positions(self, group: str, positions: Positions, fence: Fence) -> None:
        if not positions:
            return
        if not isinstance(fence, KafkaFence):
            raise Misuse("positions need the fence that the member of this log gave")
        fence.check(group, positions)
        producer = self._started()
        self.fence = fence
        self.written.positions(group, positions)
        # The committer's id travels with the position: who finds it pending later knows whom to end.
        wanted = [KafkaPartition(topic, partition, at, self._id) for (topic, partition), at in positions.items()]
        call = partial(producer.send_offsets_to_transaction, wanted, fence.metadata, self._answer_s)
        self._repeat(lambda: self._within_time(group, call), "positions")

    def commit(self) -> None:
        """Raises: _Broken."""
        if self._failed is not None:
            raise _Broken(self._failed, "writing")
        producer = self._started()
        self.written.complete = True
        # With -1 the client would wait for ever for a coordinator that takes requests and never answers. A time-out may
        # leave client and cluster apart, so this producer is used no more after one.
        self._repeat(lambda: producer.commit_transaction(self._commit_s), "commit")

    def aborts(self) -> bool:
        """Aborts, and says whether that was without any doubt."""
        try:
            # An abort that overtakes the first record is an error to the cluster: all is written first.
            if self._started().flush(self._answer_s) or self._failed is not None:
                return False
            self._started().abort_transaction(self._answer_s)
        except KafkaException:
            return False
        return True

    def _started(self) -> Producer:
        if self._producer is None:
            self._producer = self._begin()
        return self._producer

    def _produce(
        self, records: Sequence[NewRecord], on_delivery: Callable[[KafkaError | None, Message], None] | None
    ) -> None:
        produce, witness = self._started().produce, self.written.witness
        for record in records:
            topic, partition, key, value = record.topic, record.partition, record.key, record.value
            given, timestamp_ms = record.headers, record.timestamp_ms
            # The client takes lists only; what is one already is not copied.
            headers: HeadersType | None = given if type(given) is list else list(given) if given else None
            report = on_delivery or witness(topic, partition)
            try:
                produce(topic, value, key, partition, report, timestamp=timestamp_ms or 0, headers=headers)
            except BufferError:
                self._flush()
                produce(topic, value, key, partition, report, timestamp=timestamp_ms or 0, headers=headers)
            except KafkaException as error:
                raise _Broken(error.args[0], f"writing to {topic}/{partition}") from error

    def _flush(self) -> None:
        left = self._started().flush(self._answer_s)
        if self._failed is not None or left:
            raise _Broken(self._failed or KafkaError(KafkaError._MSG_TIMED_OUT), "writing")

    def _within_time(self, group: str, call: Callable[[], None]) -> None:
        """Makes a call to a group's coordinator. Left behind when its time is over, and before that when the
        coordinator twice answers somebody else meanwhile. Raises: _Broken, KafkaException."""
        answered = 0

        def gives_up(waited_s: float) -> bool:
            nonlocal answered
            answered += self._administration.group_answers(group)
            return answered >= 2 or waited_s >= self._answer_s

        if not self._bounded.call(call, gives_up):
            raise _Broken(KafkaError(KafkaError._TIMED_OUT), "positions")

    def _repeat(self, call: Callable[[], None], step: str) -> None:
        """The same call again while the client says that this may help. Raises: _Broken."""
        deadline = time.monotonic() + self._answer_s
        while True:
            try:
                return call()
            except KafkaException as error:
                reason = error.args[0]
                if reason.txn_requires_abort() or not reason.retriable() or time.monotonic() > deadline:
                    raise _Broken(reason, step) from error


class KafkaWriter:
    """See `headwater.log.port.Writer`.

    Arguments: connection; administration; outcome: finds out what became of a transaction; name: with the
    process's id and a letter it makes the two transactional ids.
    """

    def __init__(self, connection: Connection, administration: Administration, outcome: Outcome, name: str) -> None:
        self._connection, self._administration, self._outcome = connection, administration, outcome
        self._turns = [Turn(connection, f"{name}-{connection.process}-{letter}") for letter in "ab"]
        self._bounded = Bounded(f"{name}-positions")

    def transact(self, fill: Callable[[Transaction], None]) -> None:
        turn = self._turns[0]
        transaction = self._transaction(turn)
        try:
            fill(transaction)
            if transaction.empty:
                return
            transaction.commit()
        except _Broken as broken:
            self._recover(turn, transaction, broken)
        except BaseException:
            if not transaction.empty:
                self._abandon(turn, transaction)
            raise
        else:
            turn.ended()
        self._turns.reverse()

    def close(self) -> None:
        self._bounded.close()
        for turn in self._turns:
            turn.close()

    def _transaction(self, turn: Turn) -> KafkaTransaction:
        return KafkaTransaction(turn.begin, turn.id, self._administration, self._bounded, self._connection.options)

    def _abandon(self, turn: Turn, transaction: KafkaTransaction) -> None:
        """Aborts what is open. Where that does not go smoothly the producer is replaced, which aborts it too."""
        if transaction.aborts():
            turn.ended()
            return
        turn.close()
        if self._connection.answers(1.0):
            # Where this fails, the cluster's time-out aborts it, or the next begin.
            with contextlib.suppress(Unavailable):
                turn.replace()

    def _recover(self, turn: Turn, transaction: KafkaTransaction, broken: _Broken) -> None:
        """Finds out what became of a transaction that a step of failed. Returns when it was committed after
        all; raises what is true otherwise."""
        written = transaction.written
        try:
            turn.replace()
            # Also of one that was never to be committed: an EndTxn of an earlier one, late, would have done it.
            shown = self._outcome.of(written)
        except HeadwaterError as error:
            turn.close()
            if not written.nothing:
                raise Undecided(f"{error}; the transaction ({broken}) may have been carried out") from error
            raise
        if shown == 1.0 and written.complete:
            return
        if shown > 0.0:
            raise Torn(f"only a part of a transaction is visible ({broken}): {written}")
        raise self._verdict(turn, transaction, broken) from broken

    def _verdict(self, turn: Turn, transaction: KafkaTransaction, broken: _Broken) -> HeadwaterError:
        """Nothing was written: why, in the port's words."""
        code = broken.error.code()
        if code in REFUSED or code == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return self._connection.translated(broken.error, broken.step)
        if code in LOST:
            return Fenced(f"{broken}; nothing was written")
        fence = transaction.fence
        if fence is not None and code in _FENCED_PRODUCER and not self._holds(turn, transaction):
            return Fenced(f"{broken}; the partitions belong to another member now, nothing was written")
        return Aborted(f"{broken}; nothing was written")

    def _holds(self, turn: Turn, transaction: KafkaTransaction) -> bool:
        """Whether the group still accepts the fence: asked in a transaction that is aborted in any case. A
        producer alone may be out because its time ran out, and then the member still owns its partitions."""
        trial = self._transaction(turn)
        try:
            assert transaction.fence is not None
            for group, positions in transaction.written.moved.items():
                trial.positions(group, positions, transaction.fence)
        except (Fenced, _Broken):
            return False
        finally:
            if not trial.empty:
                self._abandon(turn, trial)
        return True
