"""A process that keeps the seed's view and its sink until it is killed: `send LOG FILE SINK [STEP TIMES]`.

It says "all sent" on its standard output when the sink is as far as the log. With a step, it kills itself there, when
it gets there the given time: "taken" (rows are read, nothing is written), "part" (some of them are in the sink),
"written" (all of them are, and are still in the outbox), or "done".
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

from headwater.environment import SYSTEM
from headwater.log.port import TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.stores.opening import open_store
from headwater.testing.waiting import eventually
from headwater.views import outbox
from headwater.views.outbox import Outbox
from headwater.views.runner import Shared, ViewRunner
from headwater.views.sending import Sending, sink_runner
from tests.views.orders import TOPIC, seed_plan

RUNNER = sink_runner("test", "order_summary")


class Mortal:
    """Makes the process die at a step."""

    def __init__(self, step: str, times: str) -> None:
        self._step, self._left = step, int(times)
        self._after(Outbox, "take", lambda _: "taken")
        self._after(Sending, "_write", lambda last: "written" if last else "part")
        self._after(Outbox, "done", lambda _: "done")

    def _after(self, owner: Any, name: str, step: Callable[[Any], str]) -> None:
        function = getattr(owner, name)

        def then_dead(it: Any, *arguments: Any, **named: Any) -> Any:
            found = function(it, *arguments, **named)
            if step(found) == self._step:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return found

        setattr(owner, name, then_dead)


def main(log_path: str, path: str, sink: str, step: str = "", times: str = "0") -> None:
    Mortal(step, times)
    outbox.ROWS_AT_ONCE = 3  # many parts
    log = SqliteLog(log_path)
    shared = Shared(path, log.id, lambda versions: None)
    runner = ViewRunner("test", replace(seed_plan(), sink=sink), log, shared, SYSTEM)
    loops = runner.begin("child")
    loops[0]._batch_records = 7  # many commits
    for loop in loops:
        loop.start()
    partitions = [TopicPartition(TOPIC, p) for p in range(log.topics([TOPIC])[TOPIC].partitions)]
    with closing(open_store(sink)) as store:
        eventually(lambda: store.positions(RUNNER) == log.ends(partitions), 120)
    print("all sent", flush=True)
    sys.stdin.read()
    runner.stop()
    shared.close()
    log.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
