"""What a log says is only in an archive: `hw archive trim` writes it down in `headwater-meta`, and deletes then.

An archive whose disk is not mounted looks like one that was never written. The log knows better.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from headwater.errors import Unavailable
from headwater.log.archive.archive import Archive, Topic
from headwater.log.archive.manifest import Lost
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import Topology, events_topic


class Needed(NamedTuple):
    """A topic that has no beginning without an archive.

    Arguments: archive: the address of the one that had it when the log deleted it; gone: by partition, what the log
    has no more.
    """

    topic: Topic
    archive: str
    gone: dict[int, Lost]


def only_archived(log: Log) -> list[Needed]:
    """The topics of events of which the log has deleted what was archived.

    Arguments: log: without the archive in front of it. Raises: Unavailable.
    """
    found = []
    for record in Topology.read(log).records:
        name = events_topic(record.entity)
        if record.beginning is None or name not in record.topics:
            continue
        topic, there = Topic(name, record.topics[name]), log.topics([name]).get(name)
        gone: dict[int, Lost] = {}
        if there is not None and there.id == topic.id:
            begins = log.begins([TopicPartition(name, partition) for partition in range(there.partitions)])
            for partition, begin in enumerate(record.beginning.begins):
                if (end := begins[TopicPartition(name, partition)]) > begin:
                    gone[partition] = Lost(partition, begin, end)
            if not gone:  # trimming was ended before it deleted anything
                continue
        found.append(Needed(topic, record.beginning.archive, gone))
    return found


def check_beginnings(log: Log, archive: Archive, names: Collection[str]) -> None:
    """Nothing is archived behind a gap that the archive itself cannot tell.

    Raises: Unavailable: the archive has nothing of a topic whose first events the log deleted since they were archived.
    """
    for needed in only_archived(log):
        if needed.topic.name in names and archive.manifest(needed.topic) is None:
            raise Unavailable(
                f"the archive {archive.url} has no manifest of {needed.topic.name}, and the log does not have its "
                f"first events: they were deleted there because {needed.archive} had them. What is written now would "
                "begin with a gap; mount or put back what was there, or name the archive that has them"
            )
