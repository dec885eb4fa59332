"""Folding an entity type's events anew, all of them: topic in, states by id out, with no owner involved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from headwater.entities.aggregate import Aggregate
from headwater.entities.behaviour import Behaviour
from headwater.entities.folding import Fold
from headwater.environment import Environment
from headwater.log.port import Log, TopicPartition
from headwater.readers.spans import batches_between

A = TypeVar("A", bound=Aggregate[Any])


def replay(
    log: Log, behaviour: Behaviour[A], partitions: Sequence[TopicPartition], environment: Environment
) -> dict[str, A]:
    """The states after all events that the partitions held when it began.

    Raises: BadData: a record that cannot be read. Failed: an @evolves method raised. Unavailable: the log brings
    nothing for half a minute.
    """
    fold = Fold(behaviour)
    begins, ends = log.begins(partitions), log.ends(partitions)
    for batch in batches_between(log, begins, ends, "replaying", environment, envelopes=fold.wants_meta):
        fold.add(batch.records)
    return fold.states
