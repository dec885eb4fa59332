"""Several readers of one log: an offset has one record, for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headwater.testing.audit.contents import Contents, KeptRecord, Partition
from headwater.testing.audit.violations import Invariant, Violation, at_record


def check_scans(contents: Contents, others: Sequence[Contents]) -> Iterator[Violation]:
    """SCANS, the first breach of each partition, in what two readers have both seen. Of a compacted topic they may
    have seen different records, but at one offset the same."""
    for other in others:
        theirs = {partition.name: partition for partition in other.partitions}
        for ours in contents.partitions:
            if ours.name in theirs:
                yield from _compared(ours, theirs[ours.name])


def _compared(ours: Partition, theirs: Partition) -> Iterator[Violation]:
    begin, end = max(ours.begin, theirs.begin), min(ours.end, theirs.end)
    first, second = _between(ours, begin, end), _between(theirs, begin, end)
    compacted = ours.topic.endswith("-state")
    for offset in sorted(first.keys() | second.keys()):
        one, other = first.get(offset), second.get(offset)
        if one == other or (compacted and (one is None or other is None)):
            continue
        there = one or other
        assert there is not None, "one of them has it"
        what = "two readers saw different records" if one and other else "one reader saw a record, another did not"
        yield at_record(Invariant.SCANS, what, there)
        return


def _between(partition: Partition, begin: int, end: int) -> dict[int, KeptRecord]:
    return {record.offset: record for record in partition.records if begin <= record.offset < end}
