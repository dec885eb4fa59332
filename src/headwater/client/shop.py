"""`Shop`: the synchronous face. Every method blocks until there is an answer or the time is up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from headwater.client.desk import Desk
from headwater.client.following import steps_of
from headwater.client.read_models import After, ReadModels
from headwater.client.receipts import Appending, Receipt, Sending, receipt_of
from headwater.client.requests import Patience, ask, reverting, sending_many, state_of, wait
from headwater.entities.aggregate import Aggregate
from headwater.entities.travel import Moment
from headwater.errors import HeadwaterError, NotFound
from headwater.messages.declare import Command, Event, State
from headwater.messages.envelope import Recorded
from headwater.stores.typed import rows_as
from headwater.views.changes import MOST_REPLAYED, Changes
from headwater.views.moments import Estimate, moment_of, some_moment

A = TypeVar("A", bound=Aggregate[Any])
E = TypeVar("E", bound=Event)
R = TypeVar("R", bound=State)
T = TypeVar("T")

TIMEOUT_S = 10.0


class Shop:
    """Sends commands, reads entities and read models. Thread-safe. Made by `App.run` and `App.connect`."""

    def __init__(self, desk: Desk, models: ReadModels) -> None:
        self._desk, self._models = desk, models

    def send(
        self,
        command: Command,
        *,
        command_id: str | None = None,
        expected_version: int | None = None,
        time: datetime | None = None,
        actor: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Receipt:
        """Has a command carried out.

        Arguments: command_id: sending the same id again repeats the answer and not the command (None: a new
        one); expected_version: refuse unless the entity is there; time: when it happened, aware (None: now);
        actor: who asks, such as "user:ann"; timeout_s: seconds to wait for the answer.
        Raises: Rejected (the subclass that the aggregate raised), Conflict, Failed, Misuse; Unknown: no answer
        in time, or its owner or the log was lost before there was one: it may still be carried out; Unavailable:
        nobody owns the entity type, or the log is not there, and nothing was written.
        """
        desk = self._desk
        parcel = desk.pack(Sending(command, command_id, expected_version, time, actor))
        return receipt_of(ask(desk, parcel, timeout_s), desk.log.id)

    def send_many(
        self, commands: Iterable[Command | Sending | Appending], *, in_flight: int = 1000, timeout_s: float = TIMEOUT_S
    ) -> Iterator[Receipt | HeadwaterError]:
        """Sends many commands and yields their outcomes in the order of the commands.

        Commands for one entity are carried out in order, and each is sent when it is given, however long the next
        one takes. A refusal is yielded, not raised, and so is every other error that answers a command: one does
        not stop the others. Arguments: in_flight: how many may be without an answer, at most; timeout_s: for each when
        its turn comes; not for those that were sent before nothing at all was answered for twice as long.
        Raises: Misuse: an item that cannot be sent, after the outcomes of all that were given before it; so is
        what `commands` raises.
        """
        desk, patience = self._desk, Patience(self._desk, timeout_s)
        for parcel in sending_many(desk, commands, in_flight):
            left_s = patience.left_s(parcel)
            wait(desk, parcel, left_s)
            reply = desk.outcome(parcel.pending, left_s)
            outcome = reply if isinstance(reply, HeadwaterError) else receipt_of(reply, desk.log.id)
            patience.ended(outcome)
            yield outcome

    def append(
        self,
        aggregate: type[Aggregate[E]],
        entity_id: str,
        events: Iterable[E],
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        time: datetime | None = None,
        actor: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Receipt:
        """Appends events as they are, without a decision; the entity's owner writes them. Else as `send`."""
        desk = self._desk
        parcel = desk.append(
            desk.behaviour(aggregate),
            entity_id,
            events,
            expected_version=expected_version,
            command_id=command_id,
            time=time,
            actor=actor,
        )
        return receipt_of(ask(desk, parcel, timeout_s), desk.log.id)

    def outcome(
        self, aggregate: type[Aggregate[Any]], entity_id: str, command_id: str, *, timeout_s: float = TIMEOUT_S
    ) -> Receipt | None:
        """What became of a command: its receipt, or None if it was not carried out up to this question. Where nobody
        confirmed that the log has it, it may still be on its way to the log.

        Raises: Rejected: it was refused, with the refusal that it got.
        """
        desk = self._desk
        parcel = desk.get(desk.behaviour(aggregate), entity_id, command_id)
        reply = ask(desk, parcel, timeout_s)
        return receipt_of(reply, desk.log.id) if reply.command_id == command_id else None

    def get(
        self,
        aggregate: type[A],
        entity_id: str,
        *,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        at_version: int | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> A:
        """An entity's state: now, as its owner knows it, or at a moment of the past.

        Arguments: as_of: what was true then; known_at: what had been recorded then; at_version: after so many
        events. `version` is 0 where no version has the state that was true then: events were recorded in another order
        than they happened. Raises: NotFound: it was never there (by then); Unavailable, Unknown: as `send`.
        """
        desk, behaviour = self._desk, self._desk.behaviour(aggregate)
        moment = Moment(as_of, known_at, at_version)
        if moment.past:
            return desk.past(behaviour, entity_id, moment)
        parcel = desk.get(behaviour, entity_id)
        return state_of(behaviour, ask(desk, parcel, timeout_s))

    def find(self, aggregate: type[A], entity_id: str, **moment: Any) -> A | None:
        """As `get`, but None where there is no such entity."""
        try:
            return self.get(aggregate, entity_id, **moment)
        except NotFound:
            return None

    def version(self, aggregate: type[Aggregate[Any]], entity_id: str, *, timeout_s: float = TIMEOUT_S) -> int:
        """How many events the entity has; 0 if it was never there."""
        desk = self._desk
        parcel = desk.get(desk.behaviour(aggregate), entity_id)
        return ask(desk, parcel, timeout_s).version

    def history(self, aggregate: type[Aggregate[E]], entity_id: str) -> list[Recorded[E]]:
        """All events of an entity with what is known of each, in order; empty if it was never there."""
        return self._desk.history(self._desk.behaviour(aggregate), entity_id)

    def replay(self, aggregate: type[A]) -> dict[str, A]:
        """Every entity of the type by its id, folded anew from all events: reads the whole topic, asks no owner.

        Raises: BadData: an event that cannot be read, with its coordinates.
        """
        return self._desk.replay(self._desk.behaviour(aggregate))

    def revert(
        self,
        aggregate: type[A],
        entity_id: str,
        *,
        to_version: int,
        actor: str | None = None,
        command_id: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Receipt:
        """Brings an entity back to the state it had after `to_version` events, by one more event.

        History stays complete. Raises: Misuse: it never had that version; NotFound; Conflict: it changed
        meanwhile.
        """
        desk = self._desk
        parcel = reverting(desk, desk.behaviour(aggregate), entity_id, to_version, actor, command_id)
        return receipt_of(ask(desk, parcel, timeout_s), desk.log.id)

    # --- read models

    def row(self, model: type[R], *key: Any, after: After = None, timeout_s: float = TIMEOUT_S) -> R | None:
        """One row of a read model, or None.

        Arguments: key: the values of its key fields, in order; after: a receipt (or several, or a token) that
        the row must include; timeout_s: how long to wait for that. Raises: NotYet.
        """
        self._models.wait(self._models.wanted(model, after), timeout_s)
        return self._models.row(model, key)

    def rows(self, model: type[R], *, after: After = None, timeout_s: float = TIMEOUT_S, **equal: Any) -> list[R]:
        """The rows whose columns equal the given values, in key order. Works for aggregates as well."""
        self._models.wait(self._models.wanted(model, after), timeout_s)
        return self._models.rows(model, equal)

    def query(
        self,
        sql: str,
        *arguments: Any,
        into: type[T],
        after: After = None,
        as_of: datetime | str | None = None,
        known_at: datetime | None = None,
        most_replayed: int = MOST_REPLAYED,
        timeout_s: float = TIMEOUT_S,
    ) -> list[T]:
        """Runs SQL over the read models' tables, read-only, each row as one `into`.

        Arguments: as_of: of views alone, what the answer was: a time, at which the events that had happened by then
        count, or a position that `follow` told; known_at: what had been recorded by a time; most_replayed: so many
        records of the log may be read again for that (see `estimate`).
        Raises: Misuse: the statement cannot run, a row does not fit, or more records would have to be read. NotYet: as
        `row`.
        """
        moment = moment_of(as_of, known_at, after)
        if moment is not None:
            return list(rows_as(self._models.past(sql, arguments, moment, timeout_s, most_replayed), into))
        self._models.wait(self._models.wanted(sql, after), timeout_s)
        return self._models.query(sql, arguments, into, timeout_s)

    def estimate(self, sql: str, *, as_of: datetime | str | None = None, known_at: datetime | None = None) -> Estimate:
        """What it costs to ask how a query was answered at a moment, see `query`. Raises: Misuse, Unavailable."""
        return self._models.estimate(sql, some_moment(as_of, known_at))

    def follow(
        self,
        sql: str,
        *arguments: Any,
        into: type[T],
        since: str | None = None,
        timeout_s: float = TIMEOUT_S,
        most_replayed: int = MOST_REPLAYED,
    ) -> Iterator[Changes[T]]:
        """The changes of a query over views, step by step, for ever: first all rows of its answer, then what each
        commit of a view changes in it. A row that changed goes (weight below 0) and comes (above 0).

        The rows of all steps so far, added up with their weights, are the answer at the position of the last one. Steps
        may be skipped: who is slow is told of several commits in one. Nothing is read ahead of who iterates.

        Arguments: since: the position of a step that was told: the first step is what has changed since. The answer at
        that position is made again from the log; timeout_s: for each answer, and for how long no process may have the
        views before it ends; most_replayed: so many records of the log may be read again for `since`.
        Raises: Misuse: it cannot be followed, or more records would have to be read. Unavailable.
        """
        return steps_of(self._models.follow(sql, arguments, into, since, timeout_s, most_replayed))

    def lag(self) -> Mapping[str, int]:
        """Events still to apply, per read model."""
        return self._models.lag()
