"""Folding an entity type's events anew, all of them: topic in, states by id out, with no owner involved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from headwater.entities.aggregate import Aggregate
from headwater.entities.behaviour import Behaviour
from headwater.entities.folding import Fold
from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.log.port import Log, TopicPartition

A = TypeVar("A", bound=Aggregate[Any])

BATCH_RECORDS = 10_000
STALLED_S = 30.0


def replay(
    log: Log, behaviour: Behaviour[A], partitions: Sequence[TopicPartition], environment: Environment
) -> dict[str, A]:
    """The states after all events that the partitions held when it began.

    Raises: BadData: a record that cannot be read. Unavailable: the log brings nothing for half a minute.
    """
    fold = Fold(behaviour)
    ends = log.ends(partitions)
    begins = log.begins(partitions)
    missing = {tp for tp in partitions if begins[tp] < ends[tp]}
    reader = log.reader(envelopes=fold.wants_meta)
    try:
        reader.assign({tp: begins[tp] for tp in missing})
        deadline_s = environment.monotonic_s() + STALLED_S
        while missing:
            batch = reader.read(BATCH_RECORDS, 1.0)
            if batch.reached:
                deadline_s = environment.monotonic_s() + STALLED_S
            elif environment.monotonic_s() > deadline_s:
                raise Unavailable(f"replaying: nothing came of {', '.join(map(str, sorted(missing)))} for 30 s")
            fold.add(batch.records)
            missing -= {tp for tp, reached in batch.reached.items() if tp in missing and reached >= ends[tp]}
    finally:
        reader.close()
    return fold.states
