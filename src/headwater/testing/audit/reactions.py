"""Processes: the event that one consumed, its state after it, and the commands that it sent are one transaction."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import msgspec

from headwater.errors import BadData
from headwater.log.topology import commands_topic, owners_group, state_topic
from headwater.owners.arriving import Source, parse_source
from headwater.owners.state_record import StateRecord, decode_value
from headwater.testing.audit.contents import Contents, KeptRecord
from headwater.testing.audit.violations import Invariant, Violation, at_record

Input = tuple[str, int]
"""An event that a process reacts to: "process|topic|partition", and its offset there."""


def check_reactions(contents: Contents) -> Iterator[Violation]:
    """REACTIONS. The versions of a process send the same commands, each once."""
    topics = {partition.topic for partition in contents.partitions}
    processes = [topic for topic in contents.entities("-state") if f"{topic}-events" not in topics]
    forwarded: defaultdict[Input, set[str]] = defaultdict(set)
    covered: set[Input] = set()
    for process in processes:
        states = _states(contents, process)
        for record, source, consumed in _inputs(contents, process):
            forwarded[source.stream, source.offset].add(process)
            if _covers(states.get(record.key), source):
                covered.add((source.stream, source.offset))
            elif consumed:
                sentence = f"process {process} consumed an event, and its state does not know it"
                yield at_record(Invariant.REACTIONS, sentence, record, entity=process, id=(record.key or b"").decode())
    for entity in contents.entities():
        yield from _sent(contents, entity, forwarded, covered)


def _sent(
    contents: Contents, entity: str, forwarded: dict[Input, set[str]], covered: set[Input]
) -> Iterator[Violation]:
    """What processes sent to an entity type; other streams of commands (imported files) have no forwarded events."""
    sent: Counter[tuple[str, int, int]] = Counter()
    for record in contents.records(commands_topic(entity)):
        source = _source(record)
        if source is None or (source.stream, source.offset) not in forwarded:
            continue
        input, place = (source.stream, source.offset), (source.stream, source.offset, source.index)
        sent[place] += 1
        where = f"for the event at offset {source.offset} of {source.stream}"
        if input not in covered:
            sentence = f"a command was sent {where}, and the state of its process does not know that event"
        elif sent[place] > len(forwarded[input]):
            sentence = f"a command was sent {sent[place]} times {where}"
        else:
            continue
        yield at_record(Invariant.REACTIONS, sentence, record, entity=entity, id=(record.key or b"").decode())


def _states(contents: Contents, process: str) -> dict[bytes | None, StateRecord]:
    """The newest of each key."""
    try:
        return {record.key: decode_value(record.value or b"") for record in contents.records(state_topic(process))}
    except msgspec.DecodeError as error:
        raise BadData(f"not a state record: {error}", topic=state_topic(process), partition=-1, offset=-1) from error


def _inputs(contents: Contents, process: str) -> Iterator[tuple[KeptRecord, Source, bool]]:
    """The forwarded events of a process, and whether it has consumed them."""
    for partition in contents.of(commands_topic(process)):
        position = contents.position(owners_group(process), partition.name)
        for record in partition.records:
            source = _source(record)
            if source is not None:
                yield record, source, record.offset < position


def _source(record: KeptRecord) -> Source | None:
    text = dict(record.headers).get("hw_source")
    return None if text is None else parse_source(text.decode())


def _covers(state: StateRecord | None, source: Source) -> bool:
    last = state.sources.get(source.stream) if state is not None else None
    return last is not None and last >= (source.offset, source.index)
