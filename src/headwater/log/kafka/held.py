"""Which partitions a transaction holds back: their last stable offset against their high watermark."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.log.kafka.administration import Administration
from headwater.log.kafka.connection import Connection
from headwater.log.kafka.offsets import Offsets
from headwater.log.port import Held, TopicPartition


class Watch:
    """Asks through clients of its own: a question to a leader that is away keeps whoever asks next waiting, and owners
    ask while they take over. Thread-safe.

    Arguments: connection; administration: knows which partitions there are.
    """

    def __init__(self, connection: Connection, administration: Administration) -> None:
        self._administration, self._offsets = administration, Offsets(connection)

    def held(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Held]:
        """See `Log.held`. Raises: Misuse, Unavailable."""
        self._administration.check(partitions)
        # What can be seen is asked for last: a transaction that ends in between holds nothing.
        written = self._offsets.ends(partitions, committed=False)
        seen = self._offsets.ends(partitions, committed=True)
        return {tp: Held(seen[tp], end) for tp, end in written.items() if seen[tp] < end}

    def close(self) -> None:
        self._offsets.close()
