"""Previewing against stored states: older ones that the log still has narrow down the first differing event."""

from __future__ import annotations

from typing import Any

import headwater as hw
from headwater.entities.behaviour import Behaviour
from headwater.environment import SYSTEM
from headwater.log.memory import MemoryLog
from headwater.log.port import TopicSpec
from headwater.operations.preview import EntityPreview, preview_entity
from headwater.operations.preview_sides import LocalSide, StoredSide
from tests.owners.test_changed_state import LoudBasket
from tests.owners.test_torn_commands import Added, Basket, BasketEvent, Fill, app


class BasketWithoutFigs(hw.Aggregate[BasketEvent]):
    content: list[str] = []

    @hw.evolves
    def added(self, event: Added) -> None:
        if event.what != "fig":
            self.content.append(event.what)


def before_compaction() -> MemoryLog:
    """A log that has every state record still, as Kafka has of the newest segments."""
    log = MemoryLog()
    log.create_topics([TopicSpec("basket-state", 2, log_time=True)])
    return log


def preview(log: MemoryLog, aggregate: type[hw.Aggregate[Any]]) -> EntityPreview:
    behaviour: Behaviour[Any] = Behaviour(aggregate)
    known = {"basket": behaviour}
    return preview_entity(
        behaviour, LocalSide(known, [], log, SYSTEM), StoredSide(known, [], log, None, SYSTEM), log, SYSTEM
    )


def test_a_state_for_each_event_names_the_event() -> None:
    log = before_compaction()
    with app.run(log, store="memory://", only=["commands"]) as baskets:
        for what in ("apple", "fig", "plum"):
            baskets.send(Fill("b", [what]))
        baskets.send(Fill("c", ["apple"]))
    [found] = preview(log, BasketWithoutFigs).differences
    assert (found.id, found.versions, found.first and found.first.type) == ("b", (2, 2), "Added")
    assert found.fields["content"] == (["apple", "fig"], ["apple"])
    assert found.now["content"] == (["apple", "fig", "plum"], ["apple", "plum"])


def test_a_state_for_several_events_names_their_versions() -> None:
    log = before_compaction()
    with app.run(log, store="memory://", only=["commands"]) as baskets:
        baskets.send(Fill("b", ["apple"]))
        baskets.send(Fill("b", ["cherry", "fig"]))
    [found] = preview(log, BasketWithoutFigs).differences
    assert (found.versions, found.first) == ((2, 3), None)


def test_states_of_two_codes_say_that_they_differ_by_their_schema() -> None:
    log = before_compaction()
    with app.run(log, store="memory://", only=["commands"]) as baskets:
        baskets.send(Fill("b", ["apple"]))
    same, other = preview(log, Basket), preview(log, LoudBasket)
    assert (same.clean, same.stored) == (True, {same.schema})
    assert (other.clean, other.stored) == (False, {same.schema})
