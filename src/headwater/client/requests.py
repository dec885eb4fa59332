"""Steps that the synchronous and the asynchronous face share: waiting aside, this is what they do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from headwater.client.arguments import refuse_version
from headwater.client.desk import Desk
from headwater.client.dispatching import Parcel
from headwater.client.receipts import Appending, Receipt, Sending
from headwater.entities.aggregate import Aggregate
from headwater.entities.behaviour import Behaviour
from headwater.entities.travel import Moment, newest_version
from headwater.errors import HeadwaterError, Misuse, NotFound, Unknown
from headwater.messages.builtin import Reverted
from headwater.messages.declare import Command
from headwater.owners.replies import Reply

A = TypeVar("A", bound=Aggregate[Any])

OWNER_CHECK_S = 1.5
"""How long an answer may take before the owner is looked for again: a lost owner is told within two seconds."""


def ask(desk: Desk, parcel: Parcel, timeout_s: float) -> Reply:
    """Dispatches a parcel and waits for its answer. Raises: as `Shop.send`."""
    desk.dispatch((parcel,))
    return finish(desk, parcel, timeout_s)


def finish(desk: Desk, parcel: Parcel, timeout_s: float) -> Reply:
    """Waits for the answer of a parcel that is under way. Raises: as `Shop.send`."""
    wait(desk, parcel, timeout_s)
    return desk.finish(parcel.pending, timeout_s)


def wait(desk: Desk, parcel: Parcel, timeout_s: float) -> None:
    """Until a parcel that is under way is answered or the time is up, or nobody owns the entity type any more."""
    waited = 0.0
    pending = parcel.pending
    while pending.result is None and waited < timeout_s:
        share = min(OWNER_CHECK_S, timeout_s - waited)
        pending.wait(share)
        waited += share
        if pending.result is None and waited < timeout_s:
            desk.look_after(parcel, waited)


class Patience:
    """How long each of many is waited for that are under way at once: one after the other, so that without an owner the
    last would be told hours after the first. When nothing was answered for twice `timeout_s` since one was sent, it is
    not waited for any longer: a new owner is there sooner.
    """

    def __init__(self, desk: Desk, timeout_s: float) -> None:
        self._clock_s, self._timeout_s, self._answered_s = desk.environment.monotonic_s, timeout_s, float("-inf")

    def left_s(self, parcel: Parcel) -> float:
        """For so long this one is waited for, from now on."""
        if parcel.pending.result is None:
            silent_s = self._clock_s() - max(parcel.sent_s, self._answered_s)
            return 0 if silent_s >= 2 * self._timeout_s else self._timeout_s
        return self._timeout_s

    def ended(self, outcome: Receipt | HeadwaterError) -> None:
        if not isinstance(outcome, Unknown):
            self._answered_s = self._clock_s()


def sending_many(desk: Desk, commands: Iterable[Command | Sending | Appending], in_flight: int) -> Iterator[Parcel]:
    """Sends commands and gives their parcels back in order: each is to be waited for before the next is asked for.

    Each command is handed over as soon as it is given, so a slow iterable holds none of them back; of a quick one
    those are sent together that came while the ones before were being sent. What the iterable raises, and
    the Misuse of an item that cannot be sent, is raised after the parcels that are under way.
    """
    under_way: deque[Parcel] = deque()
    clock_s = desk.environment.monotonic_s
    failure: Exception | None = None
    try:
        for command in commands:
            parcel = desk.parcel(command)
            parcel.sent_s = clock_s()
            desk.hand_over(parcel)
            under_way.append(parcel)
            while under_way and (len(under_way) >= in_flight or under_way[0].pending.result is not None):
                yield under_way.popleft()
    except Exception as error:  # noqa: BLE001 # raised again below
        failure = error
    yield from under_way
    if failure is not None:
        raise failure


def state_of(behaviour: Behaviour[A], reply: Reply) -> A:
    """The state in the answer to `Get`. Raises: NotFound."""
    if reply.version == 0:
        raise NotFound(reply.entity, reply.id)
    return behaviour.decode_state(bytes(reply.body))


def reverting(
    desk: Desk, behaviour: Behaviour[Any], entity_id: str, to_version: int, actor: str | None, command_id: str | None
) -> Parcel:
    """The parcel that reverts an entity: its state at `to_version`, expected to be unchanged since it was read."""
    refuse_version("to_version", to_version)
    history = desk.history(behaviour, entity_id)
    if not history:
        raise NotFound(behaviour.entity, entity_id)
    if to_version == 0:
        raise Misuse("to_version=0: an entity has no state before its first event, which makes version 1")
    state = desk.past(behaviour, entity_id, Moment(at_version=to_version))
    event = Reverted(state=msgspec.Raw(behaviour.encode_state(state)), to_version=to_version)
    expected = newest_version(history)
    return desk.append(behaviour, entity_id, [event], expected_version=expected, actor=actor, command_id=command_id)
