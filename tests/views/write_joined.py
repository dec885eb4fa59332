"""A process that writes a stream that joins until it is killed: `write_joined URL PREFIX [GROUP STEP COUNT]`.

It says "all read" on its standard output when it has read all events. With a group and a step (see
`tests.processes.mortal`), it kills itself there, in the given transaction of that group: "repartition" brings the two
streams together, "stream" writes their pairs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import cast

from headwater.environment import SYSTEM
from headwater.log.opening import open_log
from headwater.log.port import Log, TopicPartition
from headwater.schemas.topics import PLAIN
from headwater.testing import PrefixedLog
from headwater.testing.waiting import eventually
from headwater.views.repartitioning import Repartitioning
from headwater.views.streaming import StreamRunner
from tests.processes.mortal import Death, MortalLog
from tests.views.test_stream_joins import SHAPES, plan

BATCH = 5
"""So many records at once, for many transactions."""


def main(url: str, prefix: str, group: str = "", step: str = "", count: str = "1") -> None:
    death = Death(step, int(count))
    death.armed = bool(step)
    view = plan(SHAPES["near, looked up"].sql)
    with closing(open_log(url)) as opened:
        inner: Log = PrefixedLog(opened, prefix) if prefix else opened
        log = cast(Log, MortalLog(inner, {f"shop-v-{group}-": death} if group else {}))
        stream = StreamRunner("shop", view, log, SYSTEM, PLAIN)
        assert stream.repartition is not None
        together = Repartitioning(view, stream.repartition, log, SYSTEM, PLAIN)
        begun = [together.begin("child"), stream.begin("child")]
        for _, loop in begun:
            loop._batch_records = BATCH
            loop.start()
        for _, loop in begun:
            eventually(partial(all_read, log, loop.group, loop.topics), 120)
        print("all read", flush=True)
        for relaying, loop in begun:
            loop.stop()
            relaying.close()
        stream.close()
        together.close()


def all_read(log: Log, group: str, topics: Sequence[str]) -> bool:
    there = log.topics(topics)
    partitions = [TopicPartition(one.name, p) for one in there.values() for p in range(one.partitions)]
    committed, ends = log.committed(group, partitions), log.ends(partitions)
    return len(there) == len(topics) and all(committed.get(tp, 0) == ends[tp] for tp in partitions)


if __name__ == "__main__":
    main(*sys.argv[1:])
