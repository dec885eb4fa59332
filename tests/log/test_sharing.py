"""How a group's partitions are shared: completely, evenly, index by index, and without needless moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.log.port import TopicPartition
from headwater.log.sharing import share

MEMBERS = [f"member-{n}" for n in range(5)]
TOPICS = ["commands", "events", "states"]

counts = st.fixed_dictionaries({topic: st.integers(1, 9) for topic in TOPICS})
alike = st.sets(st.sampled_from(MEMBERS), min_size=1).map(lambda ms: dict.fromkeys(sorted(ms), TOPICS))
mixed = st.dictionaries(st.sampled_from(MEMBERS), st.sets(st.sampled_from(TOPICS), min_size=1).map(sorted), min_size=1)
owners = st.dictionaries(
    st.builds(TopicPartition, st.sampled_from(TOPICS), st.integers(0, 8)), st.sampled_from([*MEMBERS, "gone"])
)


@given(mixed, counts, owners)
def test_every_partition_has_one_member_that_subscribed(
    subscriptions: dict[str, list[str]], partitions: dict[str, int], now: dict[TopicPartition, str]
) -> None:
    shared = share(subscriptions, partitions, now)
    subscribed = {topic for topics in subscriptions.values() for topic in topics}
    assert set(shared) == {TopicPartition(t, p) for t in subscribed for p in range(partitions[t])}
    assert all(partition.topic in subscriptions[member] for partition, member in shared.items())


@given(alike, counts, owners)
def test_one_index_of_all_topics_has_one_member_and_shares_differ_by_one(
    subscriptions: dict[str, list[str]], partitions: dict[str, int], now: dict[TopicPartition, str]
) -> None:
    shared = share(subscriptions, partitions, now)
    of_index: dict[int, set[str]] = {}
    for partition, member in shared.items():
        of_index.setdefault(partition.partition, set()).add(member)
    assert all(len(members) == 1 for members in of_index.values())
    sizes = [sum(members == {member} for members in of_index.values()) for member in subscriptions]
    assert max(sizes) - min(sizes) <= 1


@given(mixed, counts, owners)
def test_what_is_shared_well_stays(
    subscriptions: dict[str, list[str]], partitions: dict[str, int], now: dict[TopicPartition, str]
) -> None:
    shared = share(subscriptions, partitions, now)
    assert share(subscriptions, partitions, shared) == shared


@given(alike, counts, owners, st.sampled_from(MEMBERS))
def test_who_stays_keeps_what_it_had_when_another_leaves(
    subscriptions: dict[str, list[str]],
    partitions: dict[str, int],
    now: dict[TopicPartition, str],
    leaving: str,
) -> None:
    before = share(subscriptions, partitions, now)
    staying = {member: topics for member, topics in subscriptions.items() if member != leaving}
    if not staying:
        return
    after = share(staying, partitions, before)
    assert all(after[partition] == member for partition, member in before.items() if member != leaving)
