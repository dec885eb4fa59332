"""Transactions: two producers in turn behind one writer, and the truth after a doubt.

    begin ─► append: delivery reports give offsets ─► write ─► offsets with the fence ─► commit

What every answer leads to stands in two tables: `life` (is the call made again, is the producer replaced, what does
the log say of it then) and `answers` (what is told when nothing was written). Here are the calls that they decide
about. Why two producers, and why one is replaced: see `producers`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka._types import HeadersType

from headwater.errors import HeadwaterError, Misuse
from headwater.log.kafka.administration import Administration
from headwater.log.kafka.answers import AFTER_NOTHING, RAISED, Tells, error_behind, kind_of
from headwater.log.kafka.appending import check
from headwater.log.kafka.bounded import Bounded
from headwater.log.kafka.connection import Connection, KafkaOptions
from headwater.log.kafka.life import Life, Signal, State, signal_of, signal_of_share
from headwater.log.kafka.membership import KafkaFence
from headwater.log.kafka.outcome import Outcome, Report, Written
from headwater.log.kafka.producers import Turn
from headwater.log.port import (
    Aborted,
    Fence,
    Fenced,
    NewRecord,
    Positions,
    TopicPartition,
    Torn,
    Transaction,
    Undecided,
)

_HURRY_S = 0.05
"""So long records are waited for at most while the positions are sent: what is left leaves with the commit."""


class _Broken(Exception):
    """A step of the transaction failed for good."""

    def __init__(self, error: KafkaError, step: str) -> None:
        super().__init__(f"{step}: {error.str()} ({error.name()})")
        self.error, self.step = error, step


class KafkaTransaction:
    """See `headwater.log.port.Transaction`. Begins with its first record or position.

    Arguments: begin: gives the producer; written: notes what is written; administration; bounded: makes calls that may
    never end; options: how long the commit may take, and any other step; meanwhile: see `Writer.transact`.
    """

    def __init__(
        self,
        begin: Callable[[], Producer],
        written: Written,
        administration: Administration,
        bounded: Bounded,
        options: KafkaOptions,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        self._meanwhile = meanwhile
        self._begin, self._administration, self._bounded = begin, administration, bounded
        self._answer_s = options.answer_timeout_s
        self._commit_s = options.transaction_timeout_s + options.answer_timeout_s
        self._producer: Producer | None = None
        self._failed: KafkaError | None = None
        self._interrupted: BaseException | None = None
        self.life = Life(written.mark)
        self.written = written
        self.fence: KafkaFence | None = None

    @property
    def empty(self) -> bool:
        return self.life.state is State.NEW

    def append(self, records: Sequence[NewRecord]) -> list[int]:
        if not records:
            return []
        check(records, self._administration)
        reported: dict[tuple[str, int], list[int]] = {}

        def report_to(topic: str, partition: int) -> tuple[Report, Report]:
            """Within a partition reports come in the order of writing."""
            offsets = reported[topic, partition] = []
            report = self._noting(offsets)
            return report, report

        try:
            self._produce(records, report_to)
            self._flush()
        finally:
            self.written.records(reported)  # also what came before it failed: it is looked for then
        next_of = {partition: iter(offsets) for partition, offsets in reported.items()}
        return [next(next_of[record.topic, record.partition]) for record in records]

    def write(self, records: Sequence[NewRecord]) -> None:
        if records:
            check(records, self._administration)
            self._produce(records, lambda topic, partition: (self.written.witness(topic, partition), None))

    def positions(self, group: str, positions: Positions, fence: Fence) -> None:
        if not positions:
            return
        if not isinstance(fence, KafkaFence):
            raise Misuse("positions need the fence that the member of this log gave")
        fence.check(group, positions)
        producer = self._sending()
        self.fence = fence
        self.written.positions(group, positions)
        # The committer's mark travels with the position: who finds it pending later knows whom to end.
        mark = self.written.mark
        wanted = [KafkaPartition(topic, partition, at, mark) for (topic, partition), at in positions.items()]
        send = partial(producer.send_offsets_to_transaction, wanted, fence.metadata, self._answer_s)
        answers = partial(self._administration.group_answers, group)

        def call() -> None:
            if not self._bounded.ask(send, answers, self._answer_s, meanwhile=self._go_on):
                raise self._broken(KafkaError(KafkaError._TIMED_OUT, retriable=True), "positions")

        self._repeat(call, "positions")
        if self._interrupted is not None:
            raise self._interrupted

    def commit(self) -> None:
        """Raises: _Broken."""
        if self._failed is not None:
            raise self._broken(self._cause(self._failed), "writing")
        self.life.on(Signal.COMMIT)
        producer = self._started()
        # With -1 the client would wait for ever for a coordinator that takes requests and never answers. A time-out may
        # leave client and cluster apart, so this producer is used no more after one.
        self._repeat(lambda: producer.commit_transaction(self._commit_s), "commit")

    def give_up(self) -> State:
        """Aborts what is open, and says what came of it."""
        state = self.life.on(Signal.GIVE_UP)
        if state is not State.ABORTING:
            return state
        try:
            # An abort that overtakes the first record is an error to the cluster: all is written first.
            if self._started().flush(self._answer_s) or self._failed is not None:
                return self.life.on(Signal.OUT_OF_TIME)
            self._started().abort_transaction(self._answer_s)
        except RAISED as error:
            return self.life.on(signal_of(error_behind(error), in_time=False))
        return self.life.on(Signal.OK)

    def _sending(self) -> Producer:
        """The producer, for a step before commit. Takes it, and begins, at the first."""
        if self.life.state is State.NEW:
            self._producer = self._begin()
        self.life.on(Signal.SEND)
        return self._started()

    def _started(self) -> Producer:
        assert self._producer is not None
        return self._producer

    def _noting(self, offsets: list[int]) -> Report:
        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failed = self._failed or error
            else:
                offset = message.offset()
                assert offset is not None
                offsets.append(offset)

        return on_delivery

    def _produce(
        self, records: Sequence[NewRecord], reports_of: Callable[[str, int], tuple[Report | None, Report | None]]
    ) -> None:
        """Arguments: reports_of: asked once for each partition: who is told of the first record there, and who of each
        of the others."""
        produce = self._sending().produce
        known: dict[str, dict[int, Report | None]] = {}
        topic, of_topic = None, dict[int, Report | None]()
        for record in records:
            if record.topic is not topic:
                topic = record.topic
                of_topic = known.setdefault(topic, {})
            partition, key, value = record.partition, record.key, record.value
            given, timestamp_ms = record.headers, record.timestamp_ms
            # The client takes lists only; what is one already is not copied.
            headers: HeadersType | None = given if type(given) is list else list(given) if given else None
            if partition in of_topic:
                report = of_topic[partition]
            else:
                report, of_topic[partition] = reports_of(topic, partition)
            try:
                produce(topic, value, key, partition, report, timestamp=timestamp_ms or 0, headers=headers)
            except BufferError:
                self._flush()
                produce(topic, value, key, partition, report, timestamp=timestamp_ms or 0, headers=headers)
            except RAISED as error:
                raise self._broken(error_behind(error), f"writing to {topic}/{partition}") from error

    def _flush(self) -> None:
        try:
            left = self._started().flush(self._answer_s)
        except RAISED as error:
            raise self._broken(error_behind(error), "writing") from error
        if self._failed is not None:
            raise self._broken(self._cause(self._failed), "writing")
        if left:
            raise self._broken(KafkaError(KafkaError._MSG_TIMED_OUT, retriable=True), "writing")

    def _go_on(self) -> None:
        """What is done beside the positions: records leave, and the caller does what else it has to do."""
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is None:
            self._hurry()
            return
        hurrying = threading.Thread(target=self._hurry, name="headwater-hurry", daemon=True)
        hurrying.start()
        try:
            meanwhile()
        except BaseException as error:  # noqa: BLE001 -- raised again when the positions, which are on their way, are there
            self._interrupted = error
        hurrying.join()

    def _hurry(self) -> None:
        """Has what was written leave beside the positions, not behind them. Where it cannot, the commit says so."""
        with contextlib.suppress(*RAISED):
            self._started().flush(_HURRY_S)

    def _cause(self, error: KafkaError) -> KafkaError:
        """Of a record that was only thrown out of a transaction that had failed: what that failed with."""
        if error.code() == KafkaError._PURGE_QUEUE:
            try:
                self._started().begin_transaction()  # refused, and the refusal says why
            except RAISED as failed:
                return error_behind(failed)
        return error

    def _repeat(self, call: Callable[[], None], step: str) -> None:
        """The same call again while the client says that this may help. Raises: _Broken."""
        deadline = time.monotonic() + self._answer_s
        repeated = self.life.state
        while True:
            try:
                call()
            except RAISED as raised:
                error = error_behind(raised)
                if self.life.on(signal_of(error, time.monotonic() <= deadline)) is not repeated:
                    raise _Broken(error, step) from raised
            else:
                self.life.on(Signal.OK)
                return

    def _broken(self, error: KafkaError, step: str) -> _Broken:
        """Of a step that is not made again, whatever the client says."""
        self.life.on(signal_of(error, in_time=False))
        return _Broken(error, step)


class KafkaWriter:
    """See `headwater.log.port.Writer`.

    Arguments: connection; administration; outcome: finds out what became of a transaction; name: with the
    process's id and a letter it makes the two transactional ids.
    """

    def __init__(self, connection: Connection, administration: Administration, outcome: Outcome, name: str) -> None:
        self._connection, self._administration, self._outcome = connection, administration, outcome
        self._turns = [Turn(connection, f"{name}-{connection.process}-{letter}") for letter in "ab"]
        self._bounded = Bounded(f"{name}-positions")
        self._begun = 0

    def transact(
        self, fill: Callable[[Transaction], None], meanwhile: Callable[[], None] | None = None
    ) -> dict[TopicPartition, int]:
        turn, before = self._turns
        before.settle()
        transaction = self._transaction(turn, meanwhile)
        try:
            fill(transaction)
            if transaction.empty:
                return {}
            transaction.commit()
        except _Broken as broken:
            self._recover(turn, transaction, broken)
        except BaseException:
            self._give_up(turn, transaction)
            raise
        else:
            turn.ended()
        self._turns.reverse()
        return transaction.written.first

    def close(self) -> None:
        self._bounded.close()
        for turn in self._turns:
            turn.close()

    def _transaction(self, turn: Turn, meanwhile: Callable[[], None] | None = None) -> KafkaTransaction:
        self._begun += 1
        written, options = Written(turn.id, self._begun), self._connection.options
        return KafkaTransaction(turn.begin, written, self._administration, self._bounded, options, meanwhile)

    def _give_up(self, turn: Turn, transaction: KafkaTransaction) -> None:
        """Aborts what is open. Where that does not go smoothly the producer is replaced, which aborts it too."""
        state = transaction.give_up()
        if state is State.ABORTED:
            turn.ended()
        elif state is not State.NEW:
            turn.discard()

    def _recover(self, turn: Turn, transaction: KafkaTransaction, broken: _Broken) -> None:
        """Finds out what became of it. Returns when it was committed after all; raises what is true otherwise."""
        life, written = transaction.life, transaction.written
        try:
            turn.replace()
            life.on(Signal.REPLACED)
            # Also of one that was never to be committed: an EndTxn of an earlier one, late, would have done it.
            state = life.on(signal_of_share(self._outcome.of(written)))
        except HeadwaterError as error:
            life.on(Signal.UNREACHABLE)
            turn.close()
            if not written.nothing:
                raise Undecided(f"{error}; the transaction ({broken}) may have been carried out") from error
            raise
        if state is State.COMMITTED:
            return
        if state is State.TORN:
            raise Torn(f"only a part of a transaction is visible ({broken}): {written}")
        raise self._nothing_written(turn, transaction, broken) from broken

    def _nothing_written(self, turn: Turn, transaction: KafkaTransaction, broken: _Broken) -> HeadwaterError:
        """Why, in the port's words."""
        tells = AFTER_NOTHING[kind_of(broken.error)]
        if tells is Tells.FENCED_IF_NOT_HELD:
            held = transaction.fence is None or self._holds(turn, transaction)
            tells = Tells.ABORTED if held else Tells.FENCED
        if tells is Tells.ABORTED:
            return Aborted(f"{broken}; nothing was written")
        if tells is Tells.FENCED:
            return Fenced(f"{broken}; the partitions belong to another member now, nothing was written")
        return self._connection.translated(broken.error, broken.step)

    def _holds(self, turn: Turn, transaction: KafkaTransaction) -> bool:
        """Whether the group still knows the member of the fence: asked in a transaction that is aborted in any
        case. A producer alone may be out because its time ran out, and then the member still owns its partitions."""
        trial = self._transaction(turn)
        try:
            assert transaction.fence is not None
            for group, positions in transaction.written.moved.items():
                trial.positions(group, positions, transaction.fence)
        except Fenced:
            return False
        except _Broken as broken:
            # A group that only moved on, or does not answer now, leaves the member its partitions: if it were told
            # otherwise it would wait for ever for an assignment that nobody has a reason to make. Nor does a producer
            # that is out again say anything of the member: a late request of its own predecessor may have done it.
            return AFTER_NOTHING[kind_of(broken.error)] is not Tells.FENCED
        finally:
            self._give_up(turn, trial)
        return True
