"""A process that maintains a shared view until it is killed: `share URL PREFIX DIRECTORY [STEP BATCH]`.

It says "ready" on its standard output when it owns a partition. With a step, it kills itself there, in the given batch
(see `maintain.Mortal`), or, where the step begins with "routing", in the given transaction that writes the topic of a
view's own (see `tests.processes.mortal`). Where it lives, and its statements, are in the directory.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import cast

import headwater as hw
from headwater.log.opening import open_log
from headwater.log.port import Log
from headwater.testing import PrefixedLog
from headwater.testing.waiting import eventually
from headwater.views.runner import ViewRunner
from tests.processes.mortal import Death, MortalLog
from tests.views.maintain import Mortal
from tests.views.orders import Order

STATEMENTS = (
    "CREATE TABLE by_order WITH (shared = true) AS SELECT orderId, SUM(item_price) AS total, COUNT(*) AS n "
    "FROM order-events GROUP BY orderId; "
    "CREATE TABLE by_customer WITH (shared = true) AS SELECT customerId, COUNT(*) AS n, SUM(total) AS total, "
    "COUNT(DISTINCT orderId) AS orders, MAX(total) AS most FROM order-events GROUP BY customerId; "
    "CREATE TABLE given WITH (shared = true) AS SELECT s.id AS orderId, len(s.prices) AS prices, COUNT(*) AS n "
    "FROM order-events e JOIN order-state s ON e.reason = s.id GROUP BY ALL;"
)
PARTITIONS = 4


def app_of() -> hw.App:
    return hw.App("shop", aggregates=[Order], views="views/*.sql", partitions=PARTITIONS)


def main(url: str, prefix: str, directory: str, *step: str) -> None:
    os.chdir(directory)
    death = Death()
    if step and step[0].startswith("routing "):
        death = Death(step[0].removeprefix("routing "), int(step[1]))
        death.armed = True
    else:
        Mortal(*step)
    with closing(open_log(url)) as opened:
        inner: Log = PrefixedLog(opened, prefix) if prefix else opened
        log = cast(Log, MortalLog(inner, {"shop-given-repartition-": death}))
        with app_of().run(log, only=["views"], store="sqlite:///shop.models.db") as shop:
            views = shop._models.views
            assert views is not None
            runners: list[ViewRunner] = views._runners
            for runner in runners:
                runner.loop._batch_records = 7  # many commits
            eventually(lambda: all(runner.loop.status.owned for runner in runners), 120)
            print("ready", flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
