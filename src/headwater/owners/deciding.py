"""What becomes of one command: a pure step from (entry, command) to (events, reply, changed entry).

The order of the checks is part of the contract: **duplicate, then expected version, then decide**. A command
that was answered before gets that answer again, whatever version the entity has reached since.

If any part of a command fails, the entry is put back to the bytes it had, so one command's failure changes
nothing and does not touch its neighbours in the batch.
"""

from __future__ import annotations

import traceback
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from headwater.entities.behaviour import Behaviour, Broken
from headwater.entities.folding import Fold
from headwater.errors import BadData
from headwater.log.port import Record
from headwater.log.topology import commands_topic
from headwater.messages.builtin import Append, Get
from headwater.messages.declare import Command, Event
from headwater.messages.json_codec import JsonCodec, Unreadable
from headwater.messages.rejection import Rejected, rejection_to_wire
from headwater.messages.upcasting import parts_of
from headwater.owners.arriving import Arrived, source_text
from headwater.owners.envelopes import Envelope, Moment, milliseconds
from headwater.owners.limits import EVENT_BYTES, REFUSAL_BYTES, STATE_BYTES, TEXT_CHARACTERS, fits
from headwater.owners.replies import Outcome, Reply
from headwater.owners.state_record import Entry, Remembered, StateRecord
from headwater.owners.steps import NewEvent, Step

ANY_CONTENT = -1
"""The fingerprint of a command that is only known by the events it left."""

NULL = msgspec.Raw(b"null")


class Done(NamedTuple):
    """What a command left in the log. Arguments: version: the entity's after it; events: how many."""

    version: int
    events: int


class DoneBefore(Protocol):
    """Asks the log what an entity's events say of a command: for repetitions older than what is remembered."""

    def begin(self, work: Sequence[Arrived]) -> None:
        """What is asked next is of these commands."""
        ...

    def __call__(self, arrived: Arrived, end: int) -> Done | None:
        """What the events say of the command. Arguments: end: the position after the entity's last event, which was
        committed, but need not be visible yet."""
        ...


class Decider:
    """Carries out the commands of one aggregate.

    Arguments: behaviour; source: the ce_source of its events (the app's name); new_id: makes event ids;
    done_before: None: there is no log, and what is not remembered is new.
    """

    def __init__(
        self,
        behaviour: Behaviour[Any],
        source: str,
        new_id: Callable[[], str],
        done_before: DoneBefore | None,
    ) -> None:
        self.behaviour, self.entity, self.schema = behaviour, behaviour.entity, behaviour.schema
        self._source, self._new_id, self._done_before = source, new_id, done_before
        self._commands: JsonCodec[Command] = JsonCodec(
            [*behaviour.commands, Append, Get], type_field="commandType", version_field="commandVersion"
        )

    def new_entry(self, entity_id: str) -> Entry:
        state = self.behaviour.new(entity_id)
        return Entry.new(entity_id, state, self.behaviour.encode_state(state))

    def entry_from(self, record: StateRecord) -> Entry:
        """As `StepMaker` says."""
        return Entry.of_record(record, self.behaviour.decode_state(record.state), bytes(record.state))

    def refold(self) -> Fold[Any]:
        """As `StepMaker` says."""
        return Fold(self.behaviour)

    def absorb(self, entry: Entry, tail: Sequence[Record]) -> None:
        """As `StepMaker` says. Raises: BadData: an unreadable event."""
        new = [
            (recorded, record)
            for recorded, record in zip(self.behaviour.read_records(tail, after=entry.version), tail, strict=True)
            if (recorded.meta.version or 0) > entry.version
        ]
        present = torn_part(new[-1][1]) if new else 0
        if present:
            entry.torn = (str(new[-1][0].meta.command_id), present)
            new = new[:-present]
        counts: dict[str, int] = {}
        for recorded, record in new:
            meta = recorded.meta
            entry.state = self.behaviour.evolve(entry.state, recorded.event, lambda meta=meta: meta)  # type: ignore[misc] # called at once
            entry.version, entry.events = meta.version or entry.version + 1, record.offset + 1
            id = meta.command_id
            if id is not None and (id in counts or id not in entry.recent):
                counts[id] = counts.get(id, 0) + 1
                # By the time of its acceptance: an imported event happened long ago.
                accepted_ms = milliseconds(meta.recorded or meta.time)
                entry.remember(Remembered(id, ANY_CONTENT, accepted_ms, "accepted", entry.version, counts[id]))
        entry.raw = self.behaviour.encode_state(entry.state)

    def read(self, work: Sequence[Arrived]) -> None:
        """As `StepMaker` says. Always from their bytes, and anew for each attempt: an object of the caller's, or one
        that was decided upon before, would live on in the state, and change with it."""
        if self._done_before is not None:
            self._done_before.begin(work)
        for arrived, message in zip(work, self._commands.decode_many([one.value for one in work]), strict=True):
            arrived.message = message

    def carry_out(self, entry: Entry, arrived: Arrived, now: Moment) -> Step:
        """One command, on the entry as it is after the commands before it. Raises nothing of a handler's."""
        fingerprint = zlib.crc32(arrived.value)
        if arrived.id in entry.recent:
            known = entry.remembered(arrived.id)
            assert known is not None
            return self._again(entry, arrived, known, fingerprint)
        if entry.torn is not None and entry.torn[0] != arrived.id:
            raise BadData(
                f"only the first {entry.torn[1]} events of command {entry.torn[0]} of {self.entity} {entry.id!r} "
                "are in the log, and another command comes before it is completed",
                topic=commands_topic(self.entity),
                partition=arrived.partition,
                offset=arrived.offset,
            )
        source = arrived.source
        if source is not None:
            last = entry.sources.get(source.stream)
            if last is not None and (source.offset, source.index) <= last and self._before(arrived, entry.events):
                return Step(arrived, entry, self._reply(entry, arrived, duplicate=True), (), False)
        message, arrived.message = arrived.message, None
        if message is None:
            message = self._commands.decode(arrived.value)
        if isinstance(message, Unreadable):
            return self._unreadable(entry, arrived, message)
        if type(message) is Get:
            return Step(arrived, entry, self._got(entry, arrived, message), (), False)
        if arrived.expected is not None and arrived.expected != entry.version:
            reply = self._reply(entry, arrived, outcome="conflict", expected=arrived.expected)
            return Step(arrived, entry, reply, (), False)
        return self._decide(entry, arrived, message, fingerprint, now)

    def _decide(self, entry: Entry, arrived: Arrived, message: Command, fingerprint: int, now: Moment) -> Step:
        try:
            envelope = Envelope(self.entity, self._source, arrived, entry.id, now)
            events = self._events_of(entry, message, envelope)
            staged = self._apply(entry, events, envelope)
        except Rejected as refusal:
            self._restore(entry)
            body = msgspec.Raw(rejection_to_wire(refusal))
            if len(bytes(body)) > REFUSAL_BYTES:
                handler = type(message).__hw__.wire_name
                text = f"{handler}\n{type(refusal).__name__} has over {REFUSAL_BYTES:,} bytes; refusals are remembered"
                return Step(arrived, entry, self._reply(entry, arrived, outcome="failed", text=text), (), False)
            self._remember(entry, arrived, fingerprint, now, "rejected", 0, body)
            _note_source(entry, arrived)
            return Step(arrived, entry, self._reply(entry, arrived, outcome="rejected", body=body), (), True)
        except Exception as error:  # noqa: BLE001 -- the author's function may raise anything; the caller hears of it
            self._restore(entry)
            cause = (str(error) if isinstance(error, Broken) else _cause(error))[:TEXT_CHARACTERS]
            handler = type(message).__hw__.wire_name
            where = f"{self.behaviour.aggregate.__name__} on {handler}\n{cause}"
            self._must_be_answered(arrived, where)
            return Step(arrived, entry, self._reply(entry, arrived, outcome="failed", text=where), (), False)
        self._remember(entry, arrived, fingerprint, now, "accepted", len(staged), NULL)
        if entry.torn is not None:
            staged, entry.torn = staged[entry.torn[1] :], None
        _note_source(entry, arrived)
        return Step(arrived, entry, self._reply(entry, arrived, events=len(staged)), staged, True)

    def _events_of(self, entry: Entry, message: Command, envelope: Envelope) -> Sequence[Event]:
        if type(message) is Append:
            return self._appended(entry, message)
        decide = self.behaviour.decide
        return decide(entry.state, entry.raw, message, lambda: envelope.of_command(type(message), entry.version))

    def _appended(self, entry: Entry, message: Append) -> Sequence[Event]:
        events = []
        for raw in message.events:
            event = self.behaviour.json.decode(bytes(raw))
            if isinstance(event, Unreadable):
                raise Broken(f"the event cannot be read: {event.reason}")
            for _, one in parts_of(event):
                self.behaviour.check(one, entry.id)
                events.append(one)
        return events

    def _apply(self, entry: Entry, events: Sequence[Event], envelope: Envelope) -> list[NewEvent]:
        """Folds the events into the entry and makes their records."""
        if not events:
            return []
        behaviour, count = self.behaviour, len(events)
        happened, happened_ms = envelope.happened, envelope.happened_ms
        state, version, made = entry.state, entry.version, []
        for index, event in enumerate(events):
            version += 1
            kind, event_id = type(event), self._new_id()

            # Before it is folded: a state may take the event's lists and change them.
            value = behaviour.events.encode(event, happened)
            if len(value) > EVENT_BYTES:
                fits(value, EVENT_BYTES, f"{kind.__name__} has")  # says it in words
            state = behaviour.evolve(state, event, partial(envelope.of_event, kind, event_id, version))
            headers = envelope.headers(kind, event_id, version, index, count, behaviour.events.headers(kind))
            made.append(NewEvent(value, headers, happened_ms))
        raw = behaviour.encode_state(state)
        if len(raw) > STATE_BYTES:
            fits(raw, STATE_BYTES, f"the state of {behaviour.aggregate.__name__} would have")
        entry.state, entry.raw, entry.version = state, raw, version
        return made

    def _before(self, arrived: Arrived, end: int) -> Done | None:
        return None if self._done_before is None else self._done_before(arrived, end)

    def _restore(self, entry: Entry) -> None:
        entry.state = self.behaviour.decode_state(entry.raw)

    def _remember(
        self, entry: Entry, arrived: Arrived, fingerprint: int, now: Moment, kind: Any, events: int, body: msgspec.Raw
    ) -> None:
        entry.remember(Remembered(arrived.id, fingerprint, now.ms, kind, entry.version, events, body))

    def _again(self, entry: Entry, arrived: Arrived, known: Remembered, fingerprint: int) -> Step:
        if known.fingerprint not in (fingerprint, ANY_CONTENT):
            text = (
                f"command id {arrived.id} was used before for {self.behaviour.entity} {entry.id!r} with another "
                "content; take a new id for a new command"
            )
            return Step(arrived, entry, self._reply(entry, arrived, outcome="misuse", text=text), (), False)
        reply = self._reply(entry, arrived, outcome=known.kind, events=known.events, duplicate=True)
        reply.version = known.version
        if known.kind == "rejected":
            reply.body = known.body
        return Step(arrived, entry, reply, (), _note_source(entry, arrived))

    def _unreadable(self, entry: Entry, arrived: Arrived, what: Unreadable) -> Step:
        if what.kind in ("unknown_type", "unknown_version"):
            text = (
                f"no running owner of {self.behaviour.entity!r} knows the command {what.wire_name} (version "
                f"{what.version}); start a process whose code has it, then send it again"
            )
            self._must_be_answered(arrived, text)
            return Step(arrived, entry, self._reply(entry, arrived, outcome="unavailable", text=text), (), False)
        text = f"the command cannot be read: {what.reason[:TEXT_CHARACTERS]}"
        self._must_be_answered(arrived, text)
        return Step(arrived, entry, self._reply(entry, arrived, outcome="misuse", text=text), (), False)

    def _must_be_answered(self, arrived: Arrived, why: str) -> None:
        """Nobody waits for the answer to what a process sends: if it cannot be carried out, it must not be passed over.

        Raises: BadData.
        """
        if arrived.source is not None and arrived.client is None and arrived.answer is None:
            raise BadData(
                f"command {arrived.id} of a process ({source_text(arrived.source)}) cannot be carried out: {why}",
                topic=commands_topic(self.entity),
                partition=arrived.partition,
                offset=arrived.offset,
            )

    def _got(self, entry: Entry, arrived: Arrived, message: Get) -> Reply:
        if message.outcome_of is not None:
            # Answered under the id that was asked about; any other id in the answer means: never carried out.
            asked = Arrived(message.outcome_of, arrived.key, b"", arrived.partition)
            known = entry.remembered(asked.id)
            if known is not None:
                return replace(self._again(entry, asked, known, known.fingerprint).reply, asked_by=arrived.id)
            if (done := self._before(asked, entry.events)) is not None:
                reply = self._reply(entry, asked, events=done.events, duplicate=True, asked_by=arrived.id)
                reply.version = done.version
                return reply
        return self._reply(entry, arrived, body=msgspec.Raw(entry.raw))

    def _reply(
        self, entry: Entry, arrived: Arrived, outcome: Outcome = "accepted", events: int = 0, **rest: Any
    ) -> Reply:
        version, partition, next_offset = entry.version, arrived.partition, entry.events
        if not rest:  # the usual answer
            return Reply(arrived.id, outcome, self.entity, entry.id, version, events, partition, next_offset)
        return Reply(arrived.id, outcome, self.entity, entry.id, version, events, partition, next_offset, **rest)


def _note_source(entry: Entry, arrived: Arrived) -> bool:
    """Keeps how far a process's commands have been applied. Returns whether that is news."""
    source = arrived.source
    if source is None:
        return False
    at, last = (source.offset, source.index), entry.sources.get(source.stream)
    if last is not None and at <= last:
        return False
    entry.sources[source.stream] = at
    return True


def torn_part(last: Record) -> int:
    """How many events of an entity's last command are there, if these are not all (its `hw_commit` says how
    many there were to be); 0 if they are."""
    commit = dict(last.headers).get("hw_commit")
    if commit is None:
        return 0
    _, index, count = commit.rsplit(b";", 2)
    return 0 if int(index) + 1 == int(count) else int(index) + 1


def _cause(error: Exception) -> str:
    """The exception with the handler's own line: what its author needs first."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    name = last.filename.rsplit("/", 1)[-1]
    return f"{type(error).__name__}: {error} ({name}, line {last.lineno})"
