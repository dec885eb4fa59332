"""A process that maintains the seed's view until it is killed: `maintain LOG FILE [STEP BATCH]`.

It says "all read" on its standard output when it is at the end of the log and its dead letters are in their topic. With
a step, it kills itself there, in the given batch:
"decoded" (before the transaction), "added" (inside it), "positions written" (before its commit), "written down" (in a
store, before DuckDB's own commit) or "committed"; or, from that batch on, "published" (dead letters are in their topic
and not marked in the file).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from headwater.environment import SYSTEM
from headwater.failures.held import tables_of
from headwater.log.port import TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.projections.shelving import Shelving
from headwater.testing.waiting import eventually
from headwater.views import file
from headwater.views.elsewhere import Elsewhere
from headwater.views.file import ViewFile
from headwater.views.maintaining import ViewWork
from headwater.views.runner import Shared, ViewRunner, name_of
from tests.views.orders import TOPIC, seed_plan

RUNNER, _ = name_of("test", seed_plan())


class Mortal:
    """Makes the process die at a step."""

    def __init__(self, step: str = "", batch: str = "0") -> None:
        self._step, self._left = step, int(batch)
        self._batches(ViewWork._gathered)
        self._after(ViewWork, "_add", "added")
        self._after(file, "move_positions", "positions written")
        self._after(Elsewhere, "write_down", "written down")
        self._after(ViewFile, "apply", "committed")
        self._after(Shelving, "_write", "published")

    def _batches(self, gathered: Callable[..., Any]) -> None:
        def counted(work: ViewWork, records: Sequence[Any], *rest: Any) -> Any:
            found = gathered(work, records, *rest)
            self._left -= bool(records)
            self._die("decoded")
            return found

        self._put(ViewWork, "_gathered", counted)

    def _after(self, owner: Any, name: str, step: str) -> None:
        function = getattr(owner, name)

        def then_dead(*arguments: Any) -> Any:
            found = function(*arguments)
            self._die(step)
            return found

        self._put(owner, name, then_dead)

    @staticmethod
    def _put(owner: Any, name: str, function: Callable[..., Any]) -> None:
        setattr(owner, name, function)

    def _die(self, step: str) -> None:
        if step == self._step and self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(log_path: str, path: str, *step: str) -> None:
    Mortal(*step)
    log = SqliteLog(log_path)
    shared = Shared(path, log.id, lambda versions: None)
    runner = ViewRunner("test", seed_plan(), log, shared, SYSTEM)
    [loop] = runner.begin("child")
    loop._batch_records = 7  # many commits
    loop.start()
    partitions = [TopicPartition(TOPIC, p) for p in range(log.topics([TOPIC])[TOPIC].partitions)]
    eventually(lambda: runner.file is not None and runner.file.positions(RUNNER) == log.ends(partitions), 120)
    assert runner.file is not None
    held = runner.file.rows
    eventually(lambda: all(row.published for row in held(tables_of(RUNNER).held) if row.failed), 120)
    print("all read", flush=True)
    sys.stdin.read()
    loop.stop()
    runner.close()
    shared.close()
    log.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
