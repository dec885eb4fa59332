"""Reading what topics held at a moment: from where one stands to an end that is known, in batches; and waiting until an
end that is known can be read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.log.port import Batch, Log, Positions, TopicPartition

BATCH_RECORDS = 10_000
STALLED_S = 30.0
VISIBLE_S = 10.0


def batches_between(
    log: Log,
    start: Positions,
    ends: Positions,
    what: str,
    environment: Environment,
    *,
    envelopes: bool = True,
    batch_records: int = BATCH_RECORDS,
) -> Iterator[Batch]:
    """Committed records from `start` on and before `ends`, until each partition has reached its end.

    Arguments: what: is being done, for the error; envelopes: as of `Log.reader`; batch_records: upper bound of a batch.
    Raises: Unavailable: the log brings nothing for half a minute though it has more.
    """
    missing = {tp for tp, position in start.items() if position < ends[tp]}
    if not missing:
        return
    with closing(log.reader(envelopes=envelopes)) as reader:
        reader.assign({tp: start[tp] for tp in missing})
        deadline_s = environment.monotonic_s() + STALLED_S
        while missing:
            batch = reader.read(batch_records, 1.0)
            if any(reached > ends[tp] for tp, reached in batch.reached.items()):
                batch.records = [
                    one for one in batch.records if one.offset < ends[TopicPartition(one.topic, one.partition)]
                ]
            yield batch
            missing -= {tp for tp, reached in batch.reached.items() if tp in missing and reached >= ends[tp]}
            if batch.reached:
                deadline_s = environment.monotonic_s() + STALLED_S
            elif missing and environment.monotonic_s() > deadline_s:
                waiting = ", ".join(map(str, sorted(missing)))
                raise Unavailable(f"{what}: nothing came of {waiting} for {STALLED_S:g} s")


def wait_visible(log: Log, partition: TopicPartition, end: int, environment: Environment) -> None:
    """Waits until readers of committed records can read up to a position, which is known to be committed.

    Raises: Unavailable: not within 10 s.
    """
    deadline_s = environment.monotonic_s() + VISIBLE_S
    pause = threading.Event()
    while log.ends([partition])[partition] < end:
        if environment.monotonic_s() > deadline_s:
            raise Unavailable(
                f"{partition} does not show offset {end - 1}, which was committed, within {VISIBLE_S:g} s"
            )
        pause.wait(0.002)
