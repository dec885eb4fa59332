"""One file of scenarios, as users write them. The suite runs it in memory; `test_on_each_log` runs it from end to
end on the logs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

import headwater as hw
from headwater.testing import VirtualEnvironment, eventually, given
from tests.bank import (
    Account,
    AlreadyOpen,
    Break,
    Deposit,
    Deposited,
    Open,
    Opened,
    Overdrawn,
    Rename,
    Withdraw,
    Withdrawn,
)
from tests.orders import (
    Billing,
    Order,
    OrderPlaced,
    Payment,
    PaymentRecorded,
    PaymentRequested,
    PlaceOrder,
    RecordPayment,
    RequestPayment,
    app,
)

MONDAY = datetime(2024, 4, 8, 9, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(days=1)


class Balance(hw.Projection):
    account_id: hw.Key[str]
    balance: Decimal = Decimal(0)

    @hw.on(Deposited)
    def deposited(self, event: Deposited) -> None:
        self.balance += event.amount

    @hw.on(Withdrawn)
    def withdrawn(self, event: Withdrawn) -> hw.Deleted | None:
        self.balance -= event.amount
        return hw.DELETED if self.balance == 0 else None


class Turnover(hw.Projection):
    day: hw.Key[date]
    turnover: Decimal = Decimal(0)
    orders: int = 0

    @hw.on(OrderPlaced, key=lambda event, meta: meta.time.date())
    def placed(self, event: OrderPlaced) -> None:
        self.turnover += event.total
        self.orders += 1

    @hw.on(PaymentRecorded, key=lambda event, meta: meta.time.date())
    def paid(self, event: PaymentRecorded) -> None:
        self.turnover -= event.amount


class Brittle(hw.Projection):
    order_id: hw.Key[str]

    @hw.on(OrderPlaced)
    def placed(self, event: OrderPlaced) -> None:
        raise ZeroDivisionError("no orders, please")


class Worried(hw.Process):
    order_id: hw.Key[str]

    @hw.on(OrderPlaced)
    def placed(self, event: OrderPlaced) -> None:
        raise ZeroDivisionError("no orders, please")


# --- aggregates


def test_an_account_is_opened() -> None:
    given(Account).when(Open("a", "ann")).then(Opened("a", "ann")).state(owner="ann", version=1)


def test_it_is_opened_once() -> None:
    given(Account, Opened("a", "ann")).when(Open("a", "bob")).rejects(AlreadyOpen).state(owner="ann")


def test_another_account_is_another_one() -> None:
    given(Account, Opened("a", "ann")).when(Open("b", "bob")).then(Opened("b", "bob")).state("a", owner="ann")


def test_no_overdraft() -> None:
    scenario = given(Account, Opened("a", "ann"), Deposited("a", Decimal(10)))
    scenario.when(Withdraw("a", Decimal(11))).rejects(Overdrawn(balance=Decimal(10)))
    scenario.when(Withdraw("a", Decimal(10))).then(Withdrawn("a", Decimal(10))).state(balance=Decimal(0))


def test_accepted_and_nothing_happened() -> None:
    given(Account, Opened("a", "ann")).when(Rename("a", "anne")).nothing().state(owner="ann")


def test_a_class_stands_for_any_event_of_it() -> None:
    given(Account).when(Open("a", "ann")).then(Opened)


def test_an_account_that_never_was() -> None:
    given(Account).when(Withdraw("a", Decimal(1))).rejects(hw.Rejected).absent()


def test_a_handler_that_raises() -> None:
    given(Account, Opened("a", "ann")).when(Break("a", "raise")).fails(saying="broken on purpose").state(version=1)


def test_a_handler_that_changes_the_state() -> None:
    given(Account, Opened("a", "ann")).when(Break("a", "mutate")).fails(hw.Failed, saying="@evolves")


def test_an_event_that_cannot_be_folded() -> None:
    given(Account, Opened("a", "ann")).when(Break("a", "fold")).fails(saying="negative").state(balance=Decimal(0))


def test_an_expected_version() -> None:
    scenario = given(Account, Opened("a", "ann"))
    scenario.when(Deposit("a", Decimal(1)), expected_version=0).fails(hw.Conflict)
    scenario.when(Deposit("a", Decimal(1)), expected_version=1).then(Deposited)


def test_the_same_command_twice() -> None:
    scenario = given(Account)
    scenario.when(Deposit("a", Decimal(1)), command_id="one").then(Deposited)
    scenario.when(Deposit("a", Decimal(1)), command_id="one").repeated().nothing().state(balance=Decimal(1))
    scenario.when(Deposit("a", Decimal(2)), command_id="one").fails(hw.Misuse, saying="another content")


def test_who_and_when() -> None:
    scenario = given(Account, (Opened("a", "ann"), MONDAY))
    recorded = scenario.when(Deposit("a", Decimal(1)), actor="user:ann", time=TUESDAY).events[0]
    assert (recorded.meta.actor, recorded.meta.time, recorded.meta.version) == ("user:ann", TUESDAY, 2)


def test_the_clock_is_virtual(hw_clock: VirtualEnvironment) -> None:
    scenario = given(Account, Opened("a", "ann"))
    hw_clock.advance(timedelta(days=3))
    recorded = scenario.when(Deposit("a", Decimal(1))).events[0]
    assert recorded.meta.time == recorded.meta.recorded == hw_clock.now()
    assert hw_clock.now() == datetime(2024, 4, 13, 10, 30, tzinfo=UTC)


# --- processes


def test_an_order_asks_for_its_payment() -> None:
    given(Billing).when(OrderPlaced("1", Decimal(3))).sends(RequestPayment("p-1", Decimal(3))).state(asked=True)


def test_a_payment_is_recorded_with_its_order() -> None:
    scenario = given(Billing, OrderPlaced("1", Decimal(3)), OrderPlaced("2", Decimal(4)))
    scenario.when(PaymentRequested("p-1", Decimal(3))).sends(RecordPayment("p-1", Decimal(3)))
    scenario.state("1", asked=True, paid=True).state("2", asked=True, paid=False)


def test_it_says_nothing_to_what_it_does_not_know() -> None:
    given(Billing).when(PaymentRecorded("p-1", Decimal(3))).nothing()


def test_a_reaction_that_raises_stops_the_process() -> None:
    given(Worried).when(OrderPlaced("1", Decimal(3))).fails(saying="no orders, please")


# --- projections


def test_rows_are_folded_from_events() -> None:
    events = [Deposited("a", Decimal(3)), Deposited("b", Decimal(5)), Deposited("a", Decimal(4))]
    given(Balance, *events).rows(Balance("b", Decimal(5)), Balance("a", Decimal(7)))


def test_a_row_is_removed() -> None:
    scenario = given(Balance, Deposited("a", Decimal(3))).row("a", balance=Decimal(3))
    scenario.when(Withdrawn("a", Decimal(3))).rows().no_row("a")


def test_rows_by_day_from_two_entities() -> None:
    given(
        Turnover,
        (OrderPlaced("1", Decimal(30)), MONDAY),
        (OrderPlaced("2", Decimal(4)), TUESDAY),
        (PaymentRecorded("p-1", Decimal(30)), TUESDAY),
        (OrderPlaced("3", Decimal(5)), TUESDAY),
    ).rows(Turnover(MONDAY.date(), Decimal(30), 1), Turnover(TUESDAY.date(), Decimal(-21), 2))


class Due(hw.Projection):
    order_id: hw.Key[str]
    total: Decimal = Decimal(0)
    version: int | None = None

    @hw.on(OrderPlaced)
    def placed(self, event: OrderPlaced, meta: hw.Meta) -> None:
        self.total, self.version = event.total, meta.version

    @hw.on(hw.Reverted)
    def reverted(self, event: hw.Reverted, meta: hw.Meta) -> None:
        self.total, self.version = Decimal(event.state_as(dict)["total"]), meta.version


def test_a_revert_is_of_the_entity_of_the_event_before_it() -> None:
    back = hw.Reverted(msgspec.Raw(b'{"total":"2"}'), to_version=1)
    scenario = given(Due, OrderPlaced("1", Decimal(3)), OrderPlaced("2", Decimal(4)), (back, TUESDAY))
    scenario.rows(Due("1", Decimal(3), 1), Due("2", Decimal(2), 2))
    scenario.when(OrderPlaced("1", Decimal(9)), back).row("1", total=Decimal(2), version=3)
    scenario.when(back).row("1", version=4)


class Refunding(hw.Process):
    order_id: hw.Key[str]

    @hw.on(OrderPlaced)
    def placed(self, event: OrderPlaced) -> None: ...

    @hw.on(hw.Reverted)
    def reverted(self, event: hw.Reverted) -> RequestPayment:
        return RequestPayment("back", Decimal(event.state_as(dict)["total"]))


def test_a_process_hears_of_a_revert() -> None:
    back = hw.Reverted(msgspec.Raw(b'{"total":"2"}'), to_version=1)
    given(Refunding, OrderPlaced("1", Decimal(3))).when(back).sends(RequestPayment("back", Decimal(2)))


def test_no_events_no_rows() -> None:
    given(Balance).rows()


def test_a_projection_that_raises_stops() -> None:
    given(Brittle, OrderPlaced("1", Decimal(3))).fails(saying="no orders, please")


class Owner(hw.Projection, group="people"):
    account_id: hw.Key[str]
    owner: str = ""

    @hw.on(Opened)
    def opened(self, event: Opened) -> None:
        self.owner = event.owner


class Generosity(hw.Projection, group="people"):
    owner: hw.Key[str]
    given: Decimal = Decimal(0)

    @hw.on(Deposited, key=lambda event, meta: "all")
    def deposited(self, event: Deposited, rows: hw.Rows) -> None:
        giver = rows.get(Owner, event.account_id)
        self.given += event.amount if giver and giver.owner == "ann" else 0


def test_a_projection_that_looks_up_rows_beside_it() -> None:
    events = [Opened("a", "ann"), Opened("b", "bob"), Deposited("a", Decimal(3)), Deposited("b", Decimal(4))]
    given(Generosity, *events, beside=[Owner]).rows(Generosity("all", Decimal(3)))


# --- the fixtures


def test_an_app_at_work(hw_run: Callable[..., hw.Shop], hw_clock: VirtualEnvironment) -> None:
    shop = hw_run(app)
    shop.send(PlaceOrder("1", Decimal(3)))
    payment = eventually(lambda: shop.find(Payment, "p-1"), saying="the order was asked to be paid")
    assert payment.requested == 1
    assert [r.meta.recorded for r in shop.history(Order, "1")] == [hw_clock.now()]


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_begins_on_an_empty_log(hw_run: Callable[..., hw.Shop], turn: int) -> None:
    shop = hw_run(app, only=["commands"])
    assert shop.find(Order, "1") is None
    shop.send(PlaceOrder("1", Decimal(3)))
