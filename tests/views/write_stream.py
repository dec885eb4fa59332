"""A process that writes a stream until it is killed: `write_stream URL PREFIX [STEP COUNT]`.

It says "all read" on its standard output when it has read all orders. With a step (see `tests.processes.mortal`), it
kills itself there, in the given transaction.
"""

from __future__ import annotations

import sys
from contextlib import closing
from typing import cast

from headwater.environment import SYSTEM
from headwater.log.opening import open_log
from headwater.log.port import Log, TopicPartition
from headwater.schemas.topics import PLAIN
from headwater.testing import PrefixedLog
from headwater.testing.waiting import eventually
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.streaming import StreamRunner
from headwater.views.texts import Text
from tests.processes.mortal import Death, MortalLog
from tests.views.orders import TOPIC, OrderEvent

SOLD = (
    "CREATE STREAM sold WITH (key = 'sku') AS SELECT orderId, i.sku, i.item_price AS price "
    "FROM order-events, UNNEST(items) AS i"
)


def main(url: str, prefix: str, step: str = "", count: str = "1") -> None:
    death = Death(step, int(count))
    death.armed = bool(step)
    [view] = plan_views([Text(SOLD)], catalogue_of([OrderEvent], []))
    with closing(open_log(url)) as opened:
        inner: Log = PrefixedLog(opened, prefix) if prefix else opened
        log = cast(Log, MortalLog(inner, {"shop-sold-stream-": death}))
        stream = StreamRunner("shop", view, log, SYSTEM, PLAIN)
        relaying, loop = stream.begin("child")
        loop._batch_records = 7  # many transactions
        loop.start()
        partitions = [TopicPartition(TOPIC, p) for p in range(log.topics([TOPIC])[TOPIC].partitions)]
        eventually(lambda: log.committed(stream.group, partitions) == log.ends(partitions), 120)
        print("all read", flush=True)
        loop.stop()
        relaying.close()
        stream.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
