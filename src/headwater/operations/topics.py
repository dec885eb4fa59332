"""What topics a log has, and how full they are."""

from __future__ import annotations

from typing import NamedTuple

from headwater.log.port import Log, TopicPartition


class TopicReport(NamedTuple):
    """A topic as it is.

    Arguments: records: how many positions are kept, over all partitions; at most so many records, since
    positions have gaps; begins, ends: per partition, the first kept position and the one after the last;
    retention_ms: None keeps for ever.
    """

    name: str
    partitions: int
    records: int
    retention_ms: int | None
    compacted: bool
    begins: list[int]
    ends: list[int]


def topic_reports(log: Log) -> list[TopicReport]:
    """All topics, by name. Raises: Unavailable."""
    there = log.topics()
    everything = [TopicPartition(name, p) for name, topic in there.items() for p in range(topic.partitions)]
    begins, ends = log.begins(everything), log.ends(everything)  # asked once: a cluster has many topics
    reports = []
    for name, topic in sorted(there.items()):
        partitions = [TopicPartition(name, p) for p in range(topic.partitions)]
        first, last = [begins[p] for p in partitions], [ends[p] for p in partitions]
        kept = sum(last) - sum(first)
        reports.append(TopicReport(name, topic.partitions, kept, topic.retention_ms, topic.compacted, first, last))
    return reports
