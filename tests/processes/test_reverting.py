"""A process learns that an entity was reverted as it learns of any event of it."""

from __future__ import annotations

from decimal import Decimal

import pytest

import headwater as hw
from headwater.errors import Misuse
from headwater.testing.waiting import eventually
from tests.orders import Order, OrderPlaced, Payment, PaymentRecorded, PlaceOrder, RecordPayment, RequestPayment


class Collecting(hw.Process):
    order_id: hw.Key[str]
    wanted: Decimal = Decimal(0)

    @hw.on(OrderPlaced)
    def placed(self, event: OrderPlaced) -> RequestPayment:
        self.wanted += event.total
        return RequestPayment(self.order_id, event.total)

    @hw.on(PaymentRecorded, key=lambda event, meta: event.payment_id)
    def recorded(self, event: PaymentRecorded) -> None: ...

    @hw.on(hw.Reverted)
    def reverted(self, event: hw.Reverted, meta: hw.Meta) -> RecordPayment:
        too_much = self.wanted - event.state_as(Order).total
        self.wanted -= too_much
        return RecordPayment(meta.entity_id, too_much)


def test_it_makes_good_what_it_had_caused() -> None:
    app = hw.App("orders", aggregates=[Order, Payment], processes=[Collecting], partitions=1)
    with app.run("memory://") as shop:
        shop.send(PlaceOrder("1", Decimal(5)))
        shop.send(PlaceOrder("1", Decimal(3)))
        shop.revert(Order, "1", to_version=1)
        eventually(lambda: len(shop.history(Payment, "1")) == 3)
        events = [recorded.event for recorded in shop.history(Payment, "1")]
        assert events[-1] == PaymentRecorded("1", Decimal(3))


def test_it_hears_of_reverts_of_entities_whose_own_key_names_it() -> None:
    [shape] = hw.App("orders", aggregates=[Order, Payment], processes=[Collecting]).processes
    assert shape.families == ["order", "payment"]
    assert shape.events_of("order") == [OrderPlaced, hw.Reverted]
    assert shape.events_of("payment") == [PaymentRecorded]


def test_a_revert_of_nobody_is_refused() -> None:
    class Alone(hw.Process):
        order_id: hw.Key[str]

        @hw.on(hw.Reverted)
        def reverted(self, event: hw.Reverted) -> None: ...

    with pytest.raises(Misuse, match=r"Alone\.reverted: a revert .* say the events of which entity it reacts to"):
        hw.App("orders", aggregates=[Order], processes=[Alone])


def test_two_reactions_to_a_revert_are_refused() -> None:
    class Twice(hw.Process):
        order_id: hw.Key[str]

        @hw.on(OrderPlaced)
        def placed(self, event: OrderPlaced) -> None: ...

        @hw.on(hw.Reverted)
        def reverted(self, event: hw.Reverted) -> None: ...

        @hw.on(hw.Reverted)
        def again(self, event: hw.Reverted) -> None: ...

    with pytest.raises(Misuse, match="Twice has two reactions to Reverted"):
        hw.App("orders", aggregates=[Order], processes=[Twice])
