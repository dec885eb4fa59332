"""Which methods of a class react to which messages."""

from __future__ import annotations

import headwater as hw
from headwater.messages.reactions import reactions_of
from tests.projections.trade import Cancelled, Paid, Placed, TradeEvent


class Late(hw.Timeout):
    trade_id: hw.Key[str]


class First:
    @hw.on(Placed)
    @hw.on(Paid, key=lambda event, meta: event.amount)
    def either(self, event: Placed | Paid, meta: hw.Meta) -> None: ...

    @hw.on(Late)
    def late(self, timeout: Late) -> None: ...

    @hw.on(Cancelled)
    def cancelled(self, event: Cancelled, rows: hw.Rows) -> None: ...


def test_reactions_come_in_order_of_definition() -> None:
    found = reactions_of(First)
    assert [(one.message_type, one.wants_meta, one.wants_rows) for one in found] == [
        (Placed, True, False),
        (Paid, True, False),
        (Late, False, False),
        (Cancelled, False, True),
    ]
    assert [one.key is not None for one in found] == [False, True, False, False]
    assert found[0].function is First.either


def test_a_subclass_adds_replaces_and_drops_reactions() -> None:
    class Second(First):
        @hw.on(Cancelled)
        def late(self, event: Cancelled) -> None: ...

        def cancelled(self, event: Cancelled, rows: hw.Rows) -> None:
            """Not marked: no reaction any more."""

    assert [one.message_type for one in reactions_of(Second)] == [Placed, Paid, Cancelled]


def test_a_family_is_all_its_members() -> None:
    class Any:
        @hw.on(TradeEvent)
        def any(self, event: TradeEvent) -> None: ...

    assert {one.message_type.__name__ for one in reactions_of(Any)} == {"Placed", "Paid", "Cancelled", "Audited"}


def test_annotations_of_classes_inside_functions_are_no_obstacle() -> None:
    class Inner(hw.Event, entity="inner"):
        id: hw.Key[str]

    class Happened(Inner):
        pass

    class Reacts:
        @hw.on(Happened)
        def happened(self, event: Happened, meta: hw.Meta) -> None: ...

    assert [one.wants_meta for one in reactions_of(Reacts)] == [True]
