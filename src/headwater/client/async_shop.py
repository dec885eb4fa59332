"""`AsyncShop`: the asynchronous face. Commands wait without a thread; what reads the log or a store runs in one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from headwater.client.desk import Desk
from headwater.client.dispatching import Parcel
from headwater.client.following import steps_awaited
from headwater.client.read_models import After, ReadModels, Wanted
from headwater.client.receipts import Appending, Pending, Receipt, Sending, receipt_of
from headwater.client.requests import OWNER_CHECK_S, Patience, reverting, sending_many, state_of
from headwater.client.shop import TIMEOUT_S
from headwater.entities.aggregate import Aggregate
from headwater.entities.travel import Moment
from headwater.errors import HeadwaterError, NotFound
from headwater.messages.declare import Command, Event, State
from headwater.messages.envelope import Recorded
from headwater.owners.replies import Reply
from headwater.projections.waiting import FIRST_LOOK_S, LAST_LOOK_S
from headwater.stores.typed import rows_as
from headwater.views.changes import MOST_REPLAYED, Changes
from headwater.views.moments import Estimate, moment_of, some_moment

A = TypeVar("A", bound=Aggregate[Any])
E = TypeVar("E", bound=Event)
R = TypeVar("R", bound=State)
T = TypeVar("T")


class AsyncShop:
    """As `Shop`, for `async with`. Belongs to one event loop. Arguments and errors are those of `Shop`."""

    def __init__(self, desk: Desk, models: ReadModels) -> None:
        self._desk, self._models = desk, models

    async def send(
        self,
        command: Command,
        *,
        command_id: str | None = None,
        expected_version: int | None = None,
        time: datetime | None = None,
        actor: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Receipt:
        """See `Shop.send`."""
        desk = self._desk
        parcel = desk.pack(Sending(command, command_id, expected_version, time, actor))
        return receipt_of(await self._ask(parcel, timeout_s), desk.log.id)

    async def send_many(
        self, commands: Iterable[Command | Sending | Appending], *, in_flight: int = 1000, timeout_s: float = TIMEOUT_S
    ) -> AsyncIterator[Receipt | HeadwaterError]:
        """See `Shop.send_many`. `commands` is asked in the event loop, and must not make it wait."""
        desk, patience = self._desk, Patience(self._desk, timeout_s)
        for parcel in sending_many(desk, commands, in_flight):
            outcome: Receipt | HeadwaterError
            try:
                outcome = receipt_of(await self._answer(parcel, patience.left_s(parcel)), desk.log.id)
            except HeadwaterError as error:
                outcome = error
            patience.ended(outcome)
            yield outcome

    async def append(
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
        """See `Shop.append`."""
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
        return receipt_of(await self._ask(parcel, timeout_s), desk.log.id)

    async def outcome(
        self, aggregate: type[Aggregate[Any]], entity_id: str, command_id: str, *, timeout_s: float = TIMEOUT_S
    ) -> Receipt | None:
        """See `Shop.outcome`."""
        desk = self._desk
        reply = await self._ask(desk.get(desk.behaviour(aggregate), entity_id, command_id), timeout_s)
        return receipt_of(reply, desk.log.id) if reply.command_id == command_id else None

    async def get(
        self,
        aggregate: type[A],
        entity_id: str,
        *,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        at_version: int | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> A:
        """See `Shop.get`."""
        desk, behaviour = self._desk, self._desk.behaviour(aggregate)
        moment = Moment(as_of, known_at, at_version)
        if moment.past:
            return await asyncio.to_thread(desk.past, behaviour, entity_id, moment)
        return state_of(behaviour, await self._ask(desk.get(behaviour, entity_id), timeout_s))

    async def find(self, aggregate: type[A], entity_id: str, **moment: Any) -> A | None:
        """See `Shop.find`."""
        try:
            return await self.get(aggregate, entity_id, **moment)
        except NotFound:
            return None

    async def version(self, aggregate: type[Aggregate[Any]], entity_id: str, *, timeout_s: float = TIMEOUT_S) -> int:
        """See `Shop.version`."""
        desk = self._desk
        return (await self._ask(desk.get(desk.behaviour(aggregate), entity_id), timeout_s)).version

    async def history(self, aggregate: type[Aggregate[E]], entity_id: str) -> list[Recorded[E]]:
        """See `Shop.history`."""
        return await asyncio.to_thread(self._desk.history, self._desk.behaviour(aggregate), entity_id)

    async def replay(self, aggregate: type[A]) -> dict[str, A]:
        """See `Shop.replay`."""
        return await asyncio.to_thread(self._desk.replay, self._desk.behaviour(aggregate))

    async def revert(
        self,
        aggregate: type[A],
        entity_id: str,
        *,
        to_version: int,
        actor: str | None = None,
        command_id: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Receipt:
        """See `Shop.revert`."""
        desk, behaviour = self._desk, self._desk.behaviour(aggregate)
        parcel = await asyncio.to_thread(reverting, desk, behaviour, entity_id, to_version, actor, command_id)
        return receipt_of(await self._ask(parcel, timeout_s), desk.log.id)

    async def row(self, model: type[R], *key: Any, after: After = None, timeout_s: float = TIMEOUT_S) -> R | None:
        """See `Shop.row`."""
        await self._reached(self._models.wanted(model, after), timeout_s)
        return await asyncio.to_thread(self._models.row, model, key)

    async def rows(self, model: type[R], *, after: After = None, timeout_s: float = TIMEOUT_S, **equal: Any) -> list[R]:
        """See `Shop.rows`."""
        await self._reached(self._models.wanted(model, after), timeout_s)
        return await asyncio.to_thread(self._models.rows, model, equal)

    async def query(
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
        """See `Shop.query`."""
        moment = moment_of(as_of, known_at, after)
        if moment is not None:
            answer = await asyncio.to_thread(self._models.past, sql, arguments, moment, timeout_s, most_replayed)
            return list(rows_as(answer, into))
        await self._reached(self._models.wanted(sql, after), timeout_s)
        return await asyncio.to_thread(self._models.query, sql, arguments, into, timeout_s)

    async def estimate(
        self, sql: str, *, as_of: datetime | str | None = None, known_at: datetime | None = None
    ) -> Estimate:
        """See `Shop.estimate`."""
        return await asyncio.to_thread(self._models.estimate, sql, some_moment(as_of, known_at))

    def follow(
        self,
        sql: str,
        *arguments: Any,
        into: type[T],
        since: str | None = None,
        timeout_s: float = TIMEOUT_S,
        most_replayed: int = MOST_REPLAYED,
    ) -> AsyncIterator[Changes[T]]:
        """See `Shop.follow`. All that waits for it is one thread for each query."""
        return steps_awaited(partial(self._models.follow, sql, arguments, into, since, timeout_s, most_replayed))

    async def lag(self) -> Mapping[str, int]:
        """See `Shop.lag`."""
        return await asyncio.to_thread(self._models.lag)

    # --- waiting without a thread

    async def _reached(self, wanted: Wanted, timeout_s: float) -> None:
        """Looks less and less often: a thread is needed for each look only, however many wait."""
        models, clock_s = self._models, self._desk.environment.monotonic_s
        deadline_s, pause_s = clock_s() + timeout_s, FIRST_LOOK_S
        while wanted and not await asyncio.to_thread(models.look, wanted):
            left_s = deadline_s - clock_s()
            if left_s <= 0:
                await asyncio.to_thread(models.wait, wanted, 0)  # says how far they are
                return
            await asyncio.sleep(min(left_s, pause_s))
            pause_s = min(2 * pause_s, LAST_LOOK_S)

    async def _ask(self, parcel: Parcel, timeout_s: float) -> Reply:
        self._desk.hand_over(parcel)
        return await self._answer(parcel, timeout_s)

    async def _answer(self, parcel: Parcel, timeout_s: float) -> Reply:
        pending, waited = parcel.pending, 0.0
        settled = wakened_by(pending)
        try:
            while not settled.done() and waited < timeout_s:
                share = min(OWNER_CHECK_S, timeout_s - waited)
                await asyncio.wait((settled,), timeout=share)
                waited += share
                if not settled.done() and waited < timeout_s:
                    await asyncio.to_thread(self._desk.look_after, parcel, waited)
        finally:
            self._desk.give_up(pending, timeout_s)  # whoever was cancelled waits no longer either
        return self._desk.finish(pending, timeout_s)


def wakened_by(pending: Pending) -> asyncio.Future[None]:
    """Done soon after the pending is settled, by whatever thread."""
    loop = asyncio.get_running_loop()
    settled: asyncio.Future[None] = loop.create_future()

    def done() -> None:
        if not settled.done():
            settled.set_result(None)

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it who waited
            loop.call_soon_threadsafe(done)

    pending.wake_by(wake)
    return settled
