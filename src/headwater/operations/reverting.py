"""Reverting an entity with a look at the difference first: what is shown is what is done, or nothing is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from headwater.client.receipts import Receipt
from headwater.client.shop import Shop
from headwater.entities.behaviour import Behaviour
from headwater.entities.travel import at_version, newest_version
from headwater.errors import NotFound
from headwater.messages.builtin import Reverted
from headwater.messages.reactions import reactions_of
from headwater.projections.declare import Projection, table_of

if TYPE_CHECKING:
    from headwater.views.plan import View


class Change(NamedTuple):
    """A field of the state: what it is now, and what it would be."""

    field: str
    now: Any
    then: Any


class Reversion(NamedTuple):
    """What reverting would do.

    Arguments: version: the entity's now; to_version; changes: the fields that differ; state: JSON to restore.
    """

    behaviour: Behaviour[Any]
    id: str
    version: int
    to_version: int
    changes: list[Change]
    state: bytes


def plan_reversion(shop: Shop, behaviour: Behaviour[Any], entity_id: str, to_version: int) -> Reversion:
    """The difference between an entity now and after `to_version` events.

    Raises: NotFound; Misuse: it never had that version.
    """
    history = shop.history(behaviour.aggregate, entity_id)
    if not history:
        raise NotFound(behaviour.entity, entity_id)
    then = behaviour.encode_state(behaviour.fold(entity_id, at_version(history, to_version)))
    now = msgspec.json.decode(behaviour.encode_state(behaviour.fold(entity_id, history)))
    fields = msgspec.json.decode(then)
    changes = [
        Change(name, now.get(name), fields.get(name))
        for name in {**now, **fields}
        if name != "version" and now.get(name) != fields.get(name)
    ]
    return Reversion(behaviour, entity_id, newest_version(history), to_version, changes, then)


def carry_out(shop: Shop, plan: Reversion, *, actor: str | None, timeout_s: float) -> Receipt:
    """Appends the one event that restores the state. Raises: Conflict: the entity changed since the look."""
    event = Reverted(state=msgspec.Raw(plan.state), to_version=plan.to_version)
    return shop.append(
        plan.behaviour.aggregate,
        plan.id,
        [event],
        expected_version=plan.version,
        actor=actor,
        timeout_s=timeout_s,
    )


def not_following(entity: str, projections: Iterable[type[Projection]], views: Sequence[View]) -> list[str]:
    """The read models, by name, that are made from an entity type's events and stay as before when one is reverted."""
    found = []
    for projection in projections:
        heard = [one.message_type for one in reactions_of(projection) if one.entity == entity]
        if heard and Reverted not in heard:
            found.append(table_of(projection).name)
    return found + [view.name for view in views if _reads_events(view, entity)]


def _reads_events(view: View, entity: str) -> bool:
    """Whether it is made from the events and not from the states: those follow."""
    from headwater.views.nesting import leaves
    from headwater.views.topics import topic_of

    return any(one.origin == "events" and topic_of(one)[1] == entity for one in leaves(view))
