"""A process that maintains a view until it is killed: `maintain_case URL PREFIX FILE CASE [STEP BATCH]` (see `cases`).

The steps are those of `maintain`, and "merged": in the transaction, when tables were merged and what has closed or
expired is gone. It ends by itself when it is at the end of the log and its dead letters are in their topic.
"""

from __future__ import annotations

import sys

from headwater.environment import SYSTEM
from headwater.failures.held import tables_of
from headwater.log.opening import open_log
from headwater.log.port import Log, TopicPartition
from headwater.testing import PrefixedLog
from headwater.testing.waiting import eventually
from headwater.views import merging
from headwater.views.merging import Merging, MergingAndClosing
from headwater.views.runner import Shared, ViewRunner
from tests.views.cases import CASES
from tests.views.maintain import Mortal


def main(url: str, prefix: str, path: str, name: str, *step: str) -> None:
    death = Mortal(*step)
    for of_tables in (Merging, MergingAndClosing):
        death._after(of_tables, "look", "merged")
    case, opened = CASES[name](), open_log(url)
    log: Log = PrefixedLog(opened, prefix) if prefix else opened
    merging.MERGE_ROWS = 6  # with many commits
    shared = Shared(path, log.id, lambda versions: None)
    runner = ViewRunner("test", case.view, log, shared, SYSTEM)
    [loop] = runner.begin("child")
    loop._batch_records = 7  # many commits
    loop.start()
    partitions = [TopicPartition(topic, p) for topic, count in case.partitions.items() for p in range(count)]
    ends = {tp: end for tp, end in log.ends(partitions).items() if end}  # of an empty one nothing is kept
    eventually(lambda: runner.file is not None and runner.file.positions(runner.runner) == ends, 120)
    assert runner.file is not None
    held = runner.file.rows
    eventually(lambda: all(row.published for row in held(tables_of(runner.runner).held) if row.failed), 120)
    print("all read", flush=True)
    loop.stop()
    runner.close()
    shared.close()
    opened.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
