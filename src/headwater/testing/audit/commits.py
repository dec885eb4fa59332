"""All or nothing, as far as events tell it themselves: the marks `hw_commit` and `hw_txn` count what there must be."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from headwater.testing.audit.contents import Contents
from headwater.testing.audit.events import EventLog, LoggedEvent
from headwater.testing.audit.violations import Invariant, Violation, at_record


def check_commands(events: EventLog) -> Iterator[Violation]:
    """WHOLE_COMMAND, and of ONE_EFFECT what the log alone tells."""
    for (entity, id, command_id), found in events.of_command.items():
        marked = [one for one in found if one.commit is not None]
        if not marked:
            continue
        where = {"entity": entity, "id": id, "command_id": command_id}
        last = marked[-1].record
        indices = Counter(one.commit.index for one in marked if one.commit is not None)
        counts = {one.commit.count for one in marked if one.commit is not None}
        count = max(counts)
        if max(indices.values()) > 1:
            sentence = f"command {command_id} of {entity} {id!r} was carried out {max(indices.values())} times"
            yield at_record(Invariant.ONE_EFFECT, sentence, last, **where)
            continue
        if sorted(indices) != list(range(count)) or len(counts) > 1:
            sentence = f"of the {count} events of command {command_id} of {entity} {id!r} {len(marked)} are in the log"
            yield at_record(Invariant.WHOLE_COMMAND, sentence, last, **where)
        elif (entity, id) not in events.unsound and not _together(marked):
            sentence = f"other events stand among those of command {command_id} of {entity} {id!r}"
            yield at_record(Invariant.WHOLE_COMMAND, sentence, last, **where)


def _together(marked: Sequence[LoggedEvent]) -> bool:
    """In the order of the command, nothing of the entity between them."""
    numbers = [one.number for one in marked]
    order = [one.commit.index for one in marked if one.commit is not None]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers))) and order == sorted(order)


def check_transactions(events: EventLog, contents: Contents) -> Iterator[Violation]:
    """WHOLE_TRANSACTION: as many events in each partition as the transaction says."""
    cut = {one.name for one in contents.partitions if one.begin > 0}  # of these the head is gone
    found: defaultdict[tuple[str, str, int], list[LoggedEvent]] = defaultdict(list)
    for name, ones in events.of_partition.items():
        for one in ones:
            if one.transaction is not None and name not in cut:
                found[one.entity, one.transaction.owner, one.transaction.sequence].append(one)
    for (_, owner, sequence), ones in found.items():
        mark = ones[0].transaction
        assert mark is not None, "only events with a mark were taken"
        there = Counter(one.record.partition for one in ones)
        said = {
            partition: n for partition, n in mark.shares if ones[0].partition._replace(partition=partition) not in cut
        }
        for partition in sorted(said.keys() | there.keys()):
            if said.get(partition, 0) != there[partition]:
                sentence = (
                    f"transaction {sequence} of {owner} says that it wrote {said.get(partition, 0)} events to "
                    f"partition {partition}, and there are {there[partition]}"
                )
                at = next((one for one in reversed(ones) if one.record.partition == partition), ones[-1])
                yield at_record(Invariant.WHOLE_TRANSACTION, sentence, at.record, entity=at.entity)
                break
