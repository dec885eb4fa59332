"""What became of a transaction whose commit was not answered: read, never guessed.

Asked after `init_transactions` with the same id, which ends whatever was open. Then, per partition, the first
record that was written there is either to be read (committed) or was passed over (aborted), and each position is
the one that was sent, with the transaction's mark, or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import KafkaError, Message

from headwater.log.kafka.administration import Administration
from headwater.log.kafka.connection import Connection
from headwater.log.kafka.marks import mark_of
from headwater.log.kafka.reading import KafkaReader
from headwater.log.kafka.records import Counter
from headwater.log.port import Positions, TopicPartition

Report = Callable[[KafkaError | None, Message], None]


class Written:
    """What a transaction wrote, as far as it is needed to look for it.

    Arguments: id: transactional id of the writer; number: of the transaction among the writer's. `mark`: travels with
    the positions.
    """

    def __init__(self, id: str, number: int) -> None:
        self.mark = mark_of(id, number)
        self.first: dict[TopicPartition, int] = {}
        self.moved: dict[str, dict[TopicPartition, int]] = {}
        self._witnessed: set[tuple[str, int]] = set()

    @property
    def nothing(self) -> bool:
        """Whether no record is known to have arrived, and no position was sent."""
        return not self.first and not self.moved

    def __str__(self) -> str:
        records = ", ".join(f"{partition} from offset {offset}" for partition, offset in self.first.items())
        positions = ", ".join(f"{group} at {dict(at)}" for group, at in self.moved.items())
        return f"records in {records or 'no partition'}; positions of {positions or 'no group'}"

    def records(self, offsets: Mapping[tuple[str, int], Sequence[int]]) -> None:
        """These offsets were told for records of this transaction."""
        for partition, told in offsets.items():
            self._witnessed.add(partition)
            if told:
                self.first.setdefault(TopicPartition(*partition), told[0])

    def positions(self, group: str, positions: Positions) -> None:
        """These positions were sent with this transaction."""
        self.moved.setdefault(group, {}).update(positions)

    def witness(self, topic: str, partition: int) -> Report | None:
        """A delivery report for the first record of each partition, and none for the others."""
        if (topic, partition) in self._witnessed:
            return None
        self._witnessed.add((topic, partition))
        return self._report

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            return
        offset, topic, partition = message.offset(), message.topic(), message.partition()
        if offset is not None and topic is not None and partition is not None:
            self.first.setdefault(TopicPartition(topic, partition), offset)


class Outcome:
    """Arguments: connection; administration."""

    def __init__(self, connection: Connection, administration: Administration) -> None:
        self._connection, self._administration = connection, administration

    def of(self, written: Written) -> float:
        """The share of the transaction that is visible: 1.0 committed, 0.0 aborted, between them torn.

        Raises: Unavailable: the cluster does not tell in time.
        """
        votes = self._records(written) + self._positions(written)
        return sum(votes) / len(votes) if votes else 0.0

    def _records(self, written: Written) -> list[bool]:
        reader = KafkaReader(self._connection, self._administration, Counter(), name="outcome")
        votes: dict[TopicPartition, bool] = {}
        try:
            reader.assign(written.first)
            options = self._connection.options
            deadline = time.monotonic() + options.answer_timeout_s + options.transaction_timeout_s
            while len(votes) < len(written.first):
                batch = reader.read(1000, 0.1)
                for record in batch.records:
                    at = TopicPartition(record.topic, record.partition)
                    votes.setdefault(at, record.offset == written.first[at])
                for at, reached in batch.reached.items():
                    if reached > written.first[at]:
                        votes.setdefault(at, False)
                if time.monotonic() > deadline:
                    raise self._connection.unavailable("what became of a transaction cannot be read yet")
        finally:
            reader.close()
        return list(votes.values())

    def _positions(self, written: Written) -> list[bool]:
        votes = []
        for group, sent in written.moved.items():
            stands = self._administration.committed(group, list(sent))
            for partition, position in sent.items():
                at, mark = stands.get(partition, (-1, ""))
                if mark == written.mark or at < position:
                    votes.append(at == position)
                # Else another member has moved it further since, and its word says nothing about ours.
        return votes
