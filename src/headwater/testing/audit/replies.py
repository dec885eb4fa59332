"""Commands that travel: a consumed command, its reply and the position behind it are written together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from headwater.log.port import TopicPartition
from headwater.log.topology import commands_topic, owners_group, replies_topic
from headwater.owners.replies import Reply, decode_reply
from headwater.testing.audit.contents import Contents, KeptRecord
from headwater.testing.audit.effects import Acknowledgement, check_acknowledged
from headwater.testing.audit.events import EventLog
from headwater.testing.audit.history import CommandKey
from headwater.testing.audit.states import States
from headwater.testing.audit.violations import Invariant, Violation, at_record

Question = tuple[str, bytes, bytes]
"""Whose answer a reply is: command id (or the id of who asked for it), entity key, client."""


def check_replies(contents: Contents, events: EventLog) -> Iterator[Violation]:
    """REPLY_BESIDE and POSITION_BESIDE: every consumed command that waits for a reply has one, and no other has."""
    for entity in contents.entities():
        replies = [(record, decode_reply(record.value or b"")) for record in contents.records(replies_topic(entity))]
        consumed, waiting = _commands(contents, entity)
        answered = Counter(_question_of(record, reply) for record, reply in replies)
        if all(partition.begin == 0 for partition in contents.of(replies_topic(entity))):
            yield from _unanswered(entity, consumed, answered)
        if all(partition.begin == 0 for partition in contents.of(commands_topic(entity))):
            yield from _too_early(entity, consumed, waiting, answered)
        told = [_acknowledgement(entity, reply) for _, reply in replies if reply.outcome == "accepted" and reply.events]
        yield from check_acknowledged(told, events, Invariant.REPLY_BESIDE)


Asked = dict[Question, list[KeptRecord]]


def _commands(contents: Contents, entity: str) -> tuple[Asked, Asked]:
    """The command records that want a reply: those before the owners' position, and those behind it."""
    consumed: Asked = defaultdict(list)
    waiting: Asked = defaultdict(list)
    for partition in contents.of(commands_topic(entity)):
        position = contents.position(owners_group(entity), partition.name)
        for record in partition.records:
            headers = dict(record.headers)
            if "hw_client" in headers and "ce_id" in headers:
                question = headers["ce_id"].decode(), record.key or b"", headers["hw_client"]
                (consumed if record.offset < position else waiting)[question].append(record)
    return consumed, waiting


def _question_of(record: KeptRecord, reply: Reply) -> Question:
    return reply.asked_by or reply.command_id, record.key or b"", dict(record.headers).get("hw_client", b"")


def _unanswered(entity: str, consumed: Asked, answered: Counter[Question]) -> Iterator[Violation]:
    for question, records in consumed.items():
        if answered[question] < len(records):
            where = {"entity": entity, "id": question[1].decode(), "command_id": question[0]}
            sentence = (
                f"command {question[0]} was consumed {len(records)} times and answered {answered[question]} times"
            )
            yield at_record(Invariant.REPLY_BESIDE, sentence, records[-1], **where)


def _too_early(entity: str, consumed: Asked, waiting: Asked, answered: Counter[Question]) -> Iterator[Violation]:
    for question, records in waiting.items():
        if answered[question] > len(consumed.get(question, ())):
            where = {"entity": entity, "id": question[1].decode(), "command_id": question[0]}
            sentence = f"command {question[0]} was answered, and the owners' position is not behind it"
            yield at_record(Invariant.POSITION_BESIDE, sentence, records[0], **where)


def _acknowledgement(entity: str, reply: Reply) -> Acknowledgement:
    key = entity, reply.id, reply.command_id
    place = reply.partition, reply.next_offset
    return Acknowledgement(key, reply.version, reply.events, reply.duplicate, *place, "the sender")


def check_covered(contents: Contents, states: States) -> Iterator[Violation]:
    """POSITION_BESIDE: no state covers commands behind the owners' position."""
    for (entity, id), known in states.items():
        record, state = known[-1]
        partition = TopicPartition(commands_topic(entity), record.partition)
        position = contents.position(owners_group(entity), partition)
        if state.commands > position:
            sentence = (
                f"the state of {entity} {id!r} covers the commands before {state.commands} of {partition}, and the "
                f"owners' position is {position}"
            )
            yield at_record(Invariant.POSITION_BESIDE, sentence, record, entity=entity, id=id)


def keys_of_commands(contents: Contents) -> set[CommandKey]:
    """The commands that travelled through topics."""
    found: set[CommandKey] = set()
    for entity in contents.entities():
        for record in contents.records(commands_topic(entity)):
            command_id = dict(record.headers).get("ce_id")
            if command_id is not None and record.key is not None:
                found.add((entity, record.key.decode(), command_id.decode()))
    return found
