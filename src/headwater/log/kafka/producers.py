"""The producers of transactions: two in turn per writer, each replaced when there is a doubt about it.

Why two: Kafka writes the markers of a committed transaction after it has said OK, and the same producer's next
transaction would wait for them. The second begins only after the first one's commit returned OK, so that order
and positions stay right.

Why replace: librdkafka repeats a lost EndTxn by itself and reports success; the first one, late, would then
commit half of the next transaction of the same producer epoch. A new producer of the same transactional id has
a new epoch. Only the client's log lines tell of such a repetition, so any line between begin and the end of
commit is a doubt, and a doubtful producer is replaced before the next begin, of either of the two: where all requests
of a transaction were repeated, the first ones, late, would carry it out again and move positions back behind those
that the other one has committed since.
"""

from __future__ import annotations

import contextlib
import time

from confluent_kafka import KafkaException, Producer

from headwater.errors import Unavailable
from headwater.log.kafka.answers import RAISED
from headwater.log.kafka.connection import ClientLog, Connection
from headwater.log.limits import MAX_RECORD_BYTES

LINGER_MS = 100
"""So long a transaction's records may wait for more of their partition. What needs them gone flushes, so this is no
delay: without it they left in many small requests, which cost a broker a sixth of its time for a command."""

_ANY_TOPIC = "headwater-meta"
"""Asked about only for the answer's sake; whether it exists does not matter."""


class Turn:
    """One of the two producers of a writer, replaced when in doubt.

    Arguments: connection; id: its transactional id.
    """

    def __init__(self, connection: Connection, id: str) -> None:
        self.id = id
        self._connection = connection
        self._log = ClientLog()
        self._producer: Producer | None = None
        self._lines_at_begin = self._lines_at_end = 0
        self._doubtful = False

    def settle(self) -> None:
        """Replaces it if its last transaction is in doubt; before the other one begins. Raises: Unavailable."""
        if self._producer is not None and self._has_late_lines(self._producer):
            self._doubt()
        if self._doubtful:
            self.replace()

    def begin(self) -> Producer:
        """A producer without doubts. Raises: Unavailable."""
        if self._producer is not None and self._has_late_lines(self._producer):
            self.close()
        if self._producer is not None:
            try:
                self._producer.begin_transaction()
            except KafkaException:
                self.close()  # it failed for good while nothing was under way
        producer = self._producer
        if producer is None:
            producer = self.replace()
            try:
                producer.begin_transaction()
            except KafkaException as error:
                self.close()
                raise self._connection.translated(error.args[0], "beginning a transaction") from error
        self._lines_at_begin = self._log.lines
        return producer

    def ended(self) -> None:
        """Commit or abort said OK. Any line that the client logged meanwhile casts a doubt."""
        assert self._producer is not None
        whole = self._polled(self._producer)
        self._lines_at_end = self._log.lines
        if not whole or self._lines_at_end != self._lines_at_begin:
            self._doubt()

    def replace(self) -> Producer:
        """A new producer with the same id: from now on nothing that the old one sent, however late, counts,
        and what it left open is aborted or completed. Raises: Unavailable."""
        self.close()
        self._log = ClientLog()
        producer = Producer(
            {
                **transactional_settings(self._connection, self.id),
                "linger.ms": LINGER_MS,
                "queue.buffering.max.messages": 500_000,
            },
            logger=self._log,
        )
        initialise(producer, self._connection, self._connection.options.answer_timeout_s)
        self._producer, self._lines_at_end, self._doubtful = producer, self._log.lines, False
        return producer

    def discard(self) -> None:
        """Replaces it if the cluster can be reached: that aborts what is open. Else its time-out does, or the next
        begin."""
        self._doubt()
        if self._connection.answers(1.0):
            with contextlib.suppress(Unavailable):
                self.replace()

    def _doubt(self) -> None:
        self.close()
        self._doubtful = True

    def _has_late_lines(self, producer: Producer) -> bool:
        """Whether a line came since the last transaction ended: it may speak of that."""
        return not self._polled(producer) or self._log.lines != self._lines_at_end

    def _polled(self, producer: Producer) -> bool:
        """Lets its log lines in. Returns whether it can go on: what is fatal to it comes out here, too."""
        try:
            producer.poll(0)
        except RAISED:
            return False
        return True

    def close(self) -> None:
        # The client ends with its last reference, without waiting for what is under way.
        self._producer = None


def transactional_settings(connection: Connection, id: str) -> dict[str, object]:
    """Settings of every producer with a transactional id."""
    options = connection.options
    return {
        **connection.settings(),
        # The client refuses to wait longer for one answer than a transaction may take.
        "socket.timeout.ms": round(min(options.answer_timeout_s, options.transaction_timeout_s) * 1000),
        "transactional.id": id,
        "client.id": id,
        "transaction.timeout.ms": round(options.transaction_timeout_s * 1000),
        "acks": "all",
        "message.max.bytes": MAX_RECORD_BYTES,
        # Kafka answers "the last transaction is still being ended" at times; asking again soon halves the
        # time of a small transaction.
        "retry.backoff.ms": 1,
        "retry.backoff.max.ms": 50,
    }


def initialise(producer: Producer, connection: Connection, patience_s: float) -> None:
    """`init_transactions`, repeated while it may be. Raises: Unavailable."""
    deadline = time.monotonic() + patience_s
    try:
        # A question at once makes it connect at once; otherwise it may look for its coordinator half a second late.
        producer.list_topics(_ANY_TOPIC, timeout=patience_s)
    except KafkaException as error:
        raise connection.translated(error.args[0], "preparing transactions") from error
    while True:
        try:
            producer.init_transactions(max(0.1, deadline - time.monotonic()))
            return
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() > deadline:
                raise connection.translated(error.args[0], "preparing transactions") from error
