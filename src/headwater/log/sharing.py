"""Who reads what: how the members of a group share its partitions, as a pure function.

The embedded logs call it with what their membership says; every member that calls it with the same facts gets
the same answer. On Kafka the broker and the client's assignor decide.

- Partitions of one index belong together: owners and processes read topics that are partitioned alike, so
  partition 3 of one topic and partition 3 of another go to the same member.
- Shares differ by at most one index.
- Sticky: a member keeps what it has, up to its share; only the surplus moves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from headwater.log.port import TopicPartition


def share(
    subscriptions: Mapping[str, Collection[str]],
    partitions: Mapping[str, int],
    owners: Mapping[TopicPartition, str],
) -> dict[TopicPartition, str]:
    """Assigns every partition of every subscribed topic to one member.

    Arguments: subscriptions: per member the topics that it reads; partitions: how many each topic has;
    owners: who has what now (owners that are no members count as none).
    Returns: the member per partition.
    """
    bundles: dict[tuple[str, ...], list[str]] = {}
    for topic in sorted({topic for topics in subscriptions.values() for topic in topics}):
        readers = tuple(sorted(member for member, topics in subscriptions.items() if topic in topics))
        bundles.setdefault(readers, []).append(topic)
    assigned: dict[TopicPartition, str] = {}
    for readers, topics in bundles.items():
        for index, member in enumerate(_share_indexes(readers, topics, partitions, owners)):
            for topic in topics:
                if index < partitions[topic]:
                    assigned[TopicPartition(topic, index)] = member
    return assigned


def _share_indexes(
    readers: Sequence[str],
    topics: Sequence[str],
    partitions: Mapping[str, int],
    owners: Mapping[TopicPartition, str],
) -> list[str]:
    """The member per partition index, for topics that have the same readers."""
    count = max(partitions[topic] for topic in topics)
    held: dict[str, list[int]] = {member: [] for member in readers}
    for index in range(count):
        present = (owners.get(TopicPartition(topic, index)) for topic in topics)
        owner = next((member for member in present if member in held), None)
        if owner is not None:
            held[owner].append(index)
    each, larger_shares = divmod(count, len(readers))
    # Those who have most get the larger shares, so that nothing moves without need.
    ranked = sorted(readers, key=lambda member: (-len(held[member]), member))
    shares = {member: each + (rank < larger_shares) for rank, member in enumerate(ranked)}
    result = [""] * count
    vacancies: list[str] = []
    for member in ranked:
        kept = held[member][: shares[member]]
        for index in kept:
            result[index] = member
        vacancies += [member] * (shares[member] - len(kept))
    fill = iter(vacancies)
    return [member or next(fill) for member in result]
