"""Steps that the synchronous and the asynchronous face share: waiting aside, this is what they do."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from headwater.client.desk import Desk, Parcel
from headwater.client.receipts import Receipt, receipt_of
from headwater.entities.aggregate import Aggregate
from headwater.entities.behaviour import Behaviour
from headwater.entities.travel import Moment
from headwater.errors import HeadwaterError, NotFound
from headwater.messages.builtin import Reverted
from headwater.owners.replies import Reply

A = TypeVar("A", bound=Aggregate[Any])

OWNER_CHECK_S = 1.5
"""How long an answer may take before the owner is looked for again: a lost owner is told within two seconds."""


def finish(desk: Desk, parcel: Parcel, timeout_s: float) -> Reply:
    """Waits for the answer of a dispatched parcel. Raises: as `Shop.send`."""
    waited = 0.0
    pending = parcel.pending
    while pending.result is None and waited < timeout_s:
        share = min(OWNER_CHECK_S, timeout_s - waited)
        pending.wait(share)
        waited += share
        if pending.result is None and waited < timeout_s:
            desk.check_owner(parcel.entity)
    return desk.finish(pending, timeout_s)


def outcome_of(desk: Desk, parcel: Parcel, timeout_s: float, log_id: str) -> Receipt | HeadwaterError:
    """The outcome of one of many: refusals as values."""
    try:
        return receipt_of(finish(desk, parcel, timeout_s), log_id)
    except HeadwaterError as error:
        return error


def state_of(behaviour: Behaviour[A], reply: Reply) -> A:
    """The state in the answer to `Get`. Raises: NotFound."""
    if reply.version == 0:
        raise NotFound(reply.entity, reply.id)
    return behaviour.decode_state(bytes(reply.body))


def reverting(
    desk: Desk, behaviour: Behaviour[Any], entity_id: str, to_version: int, actor: str | None, command_id: str | None
) -> Parcel:
    """The parcel that reverts an entity: its state at `to_version`, expected to be unchanged since it was read."""
    history = desk.history(behaviour, entity_id)
    if not history:
        raise NotFound(behaviour.entity, entity_id)
    state = desk.past(behaviour, entity_id, Moment(at_version=to_version))
    event = Reverted(state=msgspec.Raw(behaviour.encode_state(state)), to_version=to_version)
    return desk.append(behaviour, entity_id, [event], expected_version=len(history), actor=actor, command_id=command_id)
