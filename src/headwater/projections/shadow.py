"""The positions of a read model's group: a shadow of those in its store, for the tools that show lag.

The store's count, since they are one with the rows. So where a runner takes partitions over, what the group says only
tells of something that happened in between: a reset that was killed after its store transaction, or one made with
another program, which cannot have changed the rows. Either way the group follows the store again.
"""

from __future__ import annotations

from headwater.log.port import GroupDescription, Positions, TopicPartition
from headwater.readers.foreign import notices


def straightened(group: GroupDescription, start: Positions, title: str) -> tuple[dict[TopicPartition, int], list[str]]:
    """The positions that the group must be given, and what another program has done, in words.

    Arguments: start: where the store stands, of the partitions that are taken over; title: of the read model.
    """
    wrong = {
        tp: position
        for tp, position in start.items()
        if tp in group.positions and (tp in group.foreign or group.positions[tp] > position)
    }

    def goes_on(tp: TopicPartition, position: int) -> str:
        return (
            f"the rows of {title} in the store stand at {start[tp]}, and go on there; to make them anew, stop the app: "
            f"hw reset --group {group.name} --all-topics --to-earliest --execute"
        )

    moved = [tp for tp in wrong if group.positions[tp] != start[tp]]
    return wrong, notices(group, moved, goes_on)
