"""Clocks that differ: seen in records that carry two of them, so nothing is written to find out.

A record of `<entity>-state` is stamped by the log when it is appended, and says by its owner's clock when the last
command was answered, a moment before. So the owner is ahead of the log by the one minus the other, and a little more:
the time until the record was appended, which looks like being behind. The newest of these stamps cannot be later
than now either, by the clock of the machine that asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from headwater.environment import Environment
from headwater.log.findings import Finding
from headwater.log.port import Log, Record, TopicDescription, TopicPartition
from headwater.log.topology import events_topic, state_topic
from headwater.messages.envelope import record_time, time_text

WRONG_S = 5.0
"""More than the commit of a large batch takes."""

_COMPARED = 3
_LOOKED_AT = 20
"""Positions, of which each transaction takes one for its marker."""

_READ_S = 2.0


class _Answered(msgspec.Struct):
    """The parts of a state record that matter here. `recent`: ends with (id, fingerprint, time in ms, …)."""

    events: int
    recent: list[tuple[msgspec.Raw, ...]] = []


class Stamps(NamedTuple):
    """A state record's two times, in ms since 1970. Arguments: next_event: the offset after its last event."""

    partition: TopicPartition
    owner_ms: int
    log_ms: int
    next_event: int

    @property
    def ahead_s(self) -> float:
        return (self.owner_ms - self.log_ms) / 1000


def clocks(
    log: Log, entities: Iterable[str], there: Mapping[str, TopicDescription], environment: Environment
) -> Iterator[Finding]:
    """What is wrong by the newest state records of each partition. Raises: Unavailable.

    Arguments: entities: the recorded types; there: the topics that the log has now, which may be fewer.
    """
    topics = [state_topic(entity) for entity in entities]
    stamps = [one for topic in topics for one in _newest(log, _partitions_of(topic, there))]
    if stamps:
        yield from _owners(log, stamps, there)
        yield from _here(max(stamps, key=lambda one: one.log_ms), environment)
    else:
        gone = [topic for topic in topics if topic not in there]
        why = (
            f"without {', '.join(gone)} nothing tells"
            if gone
            else "no command was carried out yet, so no two clocks met"
        )
        yield Finding("unknown", "clocks", "owners", why)


def _owners(log: Log, stamps: list[Stamps], there: Mapping[str, TopicDescription]) -> Iterator[Finding]:
    for one in stamps:
        if abs(one.ahead_s) > WRONG_S:
            way = "ahead of" if one.ahead_s > 0 else "behind"
            when = time_text(record_time(one.log_ms))
            owner = _owner_of(log, one, there) or "its owner"
            found = f"{owner} was {abs(one.ahead_s):,.1f} s {way} the broker at {when}: known_at and times are wrong"
            todo = "set the clocks of the owner's machine and the broker's by NTP: chronyc tracking"
            yield Finding("fault", "clocks", f"partition {one.partition}", found, todo)


def _here(newest: Stamps, environment: Environment) -> Iterator[Finding]:
    ahead_s = newest.log_ms / 1000 - environment.now().timestamp()
    if ahead_s > WRONG_S:
        found = f"this machine is at least {ahead_s:,.1f} s behind the broker of {newest.partition}"
        yield Finding("fault", "clocks", "this machine", found, "set its clock by NTP: chronyc tracking")


def _newest(log: Log, partitions: list[TopicPartition]) -> Iterator[Stamps]:
    """The last state records of each partition: of these the one that waited least to be appended."""
    last: dict[TopicPartition, list[Stamps]] = {}
    for record in _tails(log, partitions):
        stamps = _stamps(record)
        if stamps is not None:
            last.setdefault(stamps.partition, []).append(stamps)
    for found in last.values():
        yield max(found[-_COMPARED:], key=lambda one: one.ahead_s)


def _partitions_of(topic: str, there: Mapping[str, TopicDescription]) -> list[TopicPartition]:
    """As many as it has now; none of a topic that is gone."""
    return [TopicPartition(topic, p) for p in range(there[topic].partitions)] if topic in there else []


def _tails(log: Log, partitions: list[TopicPartition]) -> Iterator[Record]:
    begins, ends = log.begins(partitions), log.ends(partitions)
    left = {tp for tp in partitions if begins[tp] < ends[tp]}
    reader = log.reader()
    try:
        reader.assign({tp: max(begins[tp], ends[tp] - _LOOKED_AT) for tp in left})
        while left:
            batch = reader.read(_LOOKED_AT * len(partitions), _READ_S)
            if not batch.reached:
                return
            yield from batch.records
            left -= {tp for tp, at in batch.reached.items() if tp in left and at >= ends[tp]}
    finally:
        reader.close()


def _stamps(record: Record) -> Stamps | None:
    """None: it is no answer to a command."""
    try:
        answered = msgspec.json.decode(record.value or b"", type=_Answered)
        if not answered.recent:
            return None
        owner_ms = msgspec.json.decode(answered.recent[-1][2], type=int)
    except (msgspec.DecodeError, IndexError):
        return None
    return Stamps(TopicPartition(record.topic, record.partition), owner_ms, record.timestamp_ms, answered.events)


def _owner_of(log: Log, stamps: Stamps, there: Mapping[str, TopicDescription]) -> str | None:
    """The name of the owner, as its last event carries it; None: the record goes with no event, or that is gone."""
    entity = stamps.partition.topic.removesuffix(state_topic(""))
    tp = TopicPartition(events_topic(entity), stamps.partition.partition)
    if stamps.next_event < 1 or tp not in _partitions_of(tp.topic, there):
        return None
    reader = log.reader()
    try:
        reader.assign({tp: stamps.next_event - 1})
        for record in reader.read(1, _READ_S).records:
            for name, value in record.headers:
                if name == "hw_txn":
                    return value.decode().partition(";")[0]
    finally:
        reader.close()
    return None
