"""A writer that leaves out a rule: it begins a transaction while the one before it is still being committed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from headwater.log.kafka import KafkaLog
from headwater.log.kafka.outcome import Outcome
from headwater.log.kafka.producers import Turn
from headwater.log.kafka.transactions import KafkaTransaction, KafkaWriter, _Broken
from headwater.log.port import Transaction


class HastyWriter(KafkaWriter):
    """`begin` fills a transaction and returns; its commit goes on in another thread."""

    def __init__(self, log: KafkaLog, name: str) -> None:
        outcome = Outcome(log._connection, log._administration)
        super().__init__(log._connection, log._administration, outcome, name)
        self._committing = ThreadPoolExecutor(2)

    def begin(self, fill: Callable[[Transaction], None]) -> Future[None]:
        turn = self._turns[0]
        self._turns.reverse()
        transaction = self._transaction(turn)
        try:
            fill(transaction)
        except _Broken as broken:
            self._recover(turn, transaction, broken)
            raise
        return self._committing.submit(self._end, turn, transaction)

    def _end(self, turn: Turn, transaction: KafkaTransaction) -> None:
        try:
            transaction.commit()
        except _Broken as broken:
            self._recover(turn, transaction, broken)
        else:
            turn.ended()
