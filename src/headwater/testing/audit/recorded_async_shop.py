"""An `AsyncShop` whose calls are written down: the same methods, the same answers and errors."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

from headwater.app import App
from headwater.client.async_shop import AsyncShop
from headwater.client.read_models import After
from headwater.client.receipts import Receipt
from headwater.entities.aggregate import Aggregate
from headwater.errors import HeadwaterError, NotFound, Unknown
from headwater.messages.declare import Command, Event
from headwater.messages.envelope import Recorded
from headwater.testing.audit.journal import CommandNote, Journal
from headwater.testing.audit.noting import Item, Notes, at_least, close_all, is_past

A = TypeVar("A", bound=Aggregate[Any])
E = TypeVar("E", bound=Event)


class RecordedAsyncShop:
    """Arguments: shop: does the work; app: its app; journal; client: names it in the history."""

    def __init__(self, shop: AsyncShop, app: App, journal: Journal, client: str) -> None:
        self._shop, self._notes, self._clock_s = shop, Notes(app, journal, client), journal.clock_s

    async def send(
        self, command: Command, *, command_id: str | None = None, expected_version: int | None = None, **rest: Any
    ) -> Receipt:
        """As `AsyncShop.send`; so are the others."""
        id, note = self._notes.command(command, command_id, expected_version)
        with note:
            receipt = await self._shop.send(command, command_id=id, expected_version=expected_version, **rest)
            note.answer(receipt)
        return receipt

    async def send_many(self, commands: Iterable[Item], **rest: Any) -> AsyncIterator[Receipt | HeadwaterError]:
        notes: deque[CommandNote] = deque()
        try:
            async for outcome in self._shop.send_many(self._notes.each(commands, notes), **rest):
                notes.popleft().answer(outcome)
                yield outcome
        except HeadwaterError as error:
            close_all(notes, error)
            raise
        finally:
            close_all(notes, Unknown("of a stream that was left", 0))

    async def append(
        self,
        aggregate: type[Aggregate[E]],
        entity_id: str,
        events: Iterable[E],
        *,
        command_id: str | None = None,
        expected_version: int | None = None,
        **rest: Any,
    ) -> Receipt:
        made = tuple(events)
        id, note = self._notes.events(aggregate, entity_id, made, command_id, expected_version)
        with note:
            receipt = await self._shop.append(
                aggregate, entity_id, made, command_id=id, expected_version=expected_version, **rest
            )
            note.answer(receipt)
        return receipt

    async def revert(
        self, aggregate: type[A], entity_id: str, *, to_version: int, command_id: str | None = None, **rest: Any
    ) -> Receipt:
        id, note = self._notes.events(aggregate, entity_id, ("revert", to_version), command_id, None)
        with note:
            receipt = await self._shop.revert(aggregate, entity_id, to_version=to_version, command_id=id, **rest)
            note.answer(receipt)
        return receipt

    async def outcome(
        self, aggregate: type[Aggregate[Any]], entity_id: str, command_id: str, **rest: Any
    ) -> Receipt | None:
        started_s, entity = self._clock_s(), self._notes.entity(aggregate)
        try:
            receipt = await self._shop.outcome(aggregate, entity_id, command_id, **rest)
        except HeadwaterError as error:
            self._notes.question(entity, entity_id, command_id, started_s, error)
            raise
        self._notes.question(entity, entity_id, command_id, started_s, receipt)
        return receipt

    async def get(self, aggregate: type[A], entity_id: str, **rest: Any) -> A:
        started_s, entity, now = self._clock_s(), self._notes.entity(aggregate), not is_past(rest)
        try:
            state = await self._shop.get(aggregate, entity_id, **rest)
        except NotFound:
            if now:
                self._notes.read(entity, entity_id, "owner", started_s, 0)
            raise
        if now:
            self._notes.read(entity, entity_id, "owner", started_s, state)
        return state

    async def find(self, aggregate: type[A], entity_id: str, **rest: Any) -> A | None:
        try:
            return await self.get(aggregate, entity_id, **rest)
        except NotFound:
            return None

    async def version(self, aggregate: type[Aggregate[Any]], entity_id: str, **rest: Any) -> int:
        started_s = self._clock_s()
        version = await self._shop.version(aggregate, entity_id, **rest)
        self._notes.read(self._notes.entity(aggregate), entity_id, "owner", started_s, version)
        return version

    async def history(self, aggregate: type[Aggregate[E]], entity_id: str) -> list[Recorded[E]]:
        started_s = self._clock_s()
        found = await self._shop.history(aggregate, entity_id)
        self._notes.read(self._notes.entity(aggregate), entity_id, "events", started_s, len(found))
        return found

    async def row(self, model: type[A], entity_id: str, *, after: After = None, **rest: Any) -> A | None:
        """Of an aggregate's table: other rows do not say which versions they include."""
        started_s, entity = self._clock_s(), self._notes.entity(model)
        row = await self._shop.row(model, entity_id, after=after, **rest)
        self._notes.read(entity, entity_id, "row", started_s, row or 0, at_least(after, entity, entity_id))
        return row
