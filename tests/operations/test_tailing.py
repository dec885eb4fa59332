"""The last records of a topic are found although positions have gaps."""

from __future__ import annotations

import random
from pathlib import Path

from headwater.log.opening import open_log
from headwater.log.port import NewRecord, TopicPartition, TopicSpec, Transaction
from headwater.operations.tailing import last_records, records_from, starting_at


def test_the_last_records_are_found_over_gaps_and_partitions(tmp_path: Path) -> None:
    """On SQLite each transaction leaves a gap of one position in each partition that it wrote to."""
    seed = random.randrange(1 << 32)
    print("seed:", seed)
    dice = random.Random(seed)
    log = open_log(f"sqlite:///{tmp_path / 'log.db'}")
    log.create_topics([TopicSpec("t", 3)])
    writer = log.writer("w")
    for number in range(60):
        record = NewRecord("t", dice.choice((0, 0, 1)), None, b"%d" % number, timestamp_ms=1000 + number)

        def fill(transaction: Transaction, record: NewRecord = record) -> None:
            transaction.write([record])

        writer.transact(fill)
    partitions = [TopicPartition("t", p) for p in range(3)]
    ends = log.ends(partitions)
    found = [int(record.value or b"") for record in last_records(log, ends, 10)]
    assert found == list(range(50, 60))
    everything = records_from(log, starting_at(log, partitions, "earliest"), follow=False)
    assert sorted(int(record.value or b"") for record in everything) == list(range(60))
    assert list(records_from(log, starting_at(log, partitions, 10**9), follow=False)) == []
    writer.close()
    log.close()
