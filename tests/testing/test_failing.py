"""A statement that does not hold says what was given, asked, expected and what came, field by field."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

import headwater as hw
from headwater.testing import given
from tests.bank import Account, Break, Deposited, Open, Opened, Overdrawn, Rename, Withdraw, Withdrawn
from tests.orders import Billing, OrderPlaced, RequestPayment
from tests.testing.test_scenarios import Balance, Brittle, Worried

NOON = datetime(2024, 4, 10, 12, tzinfo=UTC)


class Basket(hw.Value):
    sku: str
    quantity: int


class BasketEvent(hw.Event, entity="basket"):
    basket_id: hw.Key[str]


class Filled(BasketEvent):
    lines: list[Basket]


class BasketCommand(hw.Command, entity="basket"):
    basket_id: hw.Key[str]


class Fill(BasketCommand):
    lines: list[Basket]


class Baskets(hw.Aggregate[BasketEvent]):
    lines: list[Basket] = []

    @hw.decides
    def fill(self, command: Fill) -> Filled:
        return Filled(command.basket_id, command.lines)

    @hw.evolves
    def filled(self, event: Filled) -> None:
        self.lines = event.lines


class TicketEvent(hw.Event, entity="ticket"):
    ticket_id: hw.Key[str]


class Drawn(TicketEvent):
    pass


class TicketCommand(hw.Command, entity="ticket"):
    ticket_id: hw.Key[str]


class Draw(TicketCommand):
    pass


NUMBERS = iter(range(1000))


class Ticket(hw.Aggregate[TicketEvent]):
    """Wrong: the number is not in the event."""

    number: int = 0

    @hw.decides
    def draw(self, command: Draw) -> Drawn:
        return Drawn(command.ticket_id)

    @hw.evolves
    def drawn(self, event: Drawn) -> None:
        self.number = next(NUMBERS)


def told(statement: Callable[[], object]) -> str:
    with pytest.raises(AssertionError) as failure:
        statement()
    return str(failure.value)


def test_another_value_in_a_field() -> None:
    scenario = given(Account, Opened("a", "ann"), (Deposited("a", Decimal(3)), NOON))
    text = told(lambda: scenario.when(Withdraw("a", Decimal(2)), actor="ann").then(Withdrawn("a", Decimal(3))))
    assert text == (
        "given Account:\n"
        "    Opened(account_id='a', owner='ann')\n"
        "    Deposited(account_id='a', amount=Decimal('3')) at 2024-04-10T12:00:00+00:00\n"
        "when\n"
        "    Withdraw(account_id='a', amount=Decimal('2')), as ann\n"
        "expected 1 event:\n"
        "    Withdrawn(account_id='a', amount=Decimal('3'))\n"
        "but came 1 event:\n"
        "    Withdrawn(account_id='a', amount=Decimal('2'))\n"
        "difference\n"
        "    event 1, Withdrawn.amount: expected Decimal('3'), came Decimal('2')"
    )


def test_another_value_deep_inside() -> None:
    came, expected = [Basket("CD-1", 1), Basket("CD-2", 2)], [Basket("CD-1", 1), Basket("CD-2", 3), Basket("X", 1)]
    text = told(lambda: given(Baskets).when(Fill("b", came)).then(Filled("b", expected)))
    assert "event 1, Filled.lines[1].quantity: expected 3, came 2\n" in text
    assert "event 1, Filled.lines[2]: expected Basket(sku='X', quantity=1), came nothing" in text


def test_another_event_and_one_too_many() -> None:
    text = told(lambda: given(Account).when(Open("a", "ann")).then(Withdrawn, Deposited("a", Decimal(1))))
    assert "expected 2 events:\n    any Withdrawn\n    Deposited(account_id='a', amount=Decimal('1'))\n" in text
    assert "event 1, expected Withdrawn, came Opened(account_id='a', owner='ann')\n" in text
    assert text.endswith("event 2: Deposited(account_id='a', amount=Decimal('1')) is missing")


def test_an_event_where_nothing_was_expected() -> None:
    text = told(lambda: given(Account).when(Open("a", "ann")).nothing())
    assert "expected no event\nbut came 1 event:" in text
    assert "event 1: Opened(account_id='a', owner='ann') was not expected" in text


def test_a_refusal_where_an_event_was_expected() -> None:
    text = told(lambda: given(Account).when(Withdraw("a", Decimal(2))).then(Withdrawn("a", Decimal(2))))
    assert text.startswith("given Account, to which nothing happened\nwhen\n")
    assert text.endswith("but came Overdrawn(balance=Decimal('0'))")


def test_an_event_where_a_refusal_was_expected() -> None:
    text = told(lambda: given(Account).when(Open("a", "ann")).rejects(Overdrawn))
    assert "expected a rejection, any Overdrawn\nbut came 1 event:\n    Opened(" in text


def test_another_refusal() -> None:
    scenario = given(Account).when(Withdraw("a", Decimal(2)))
    text = told(lambda: scenario.rejects(Overdrawn(balance=Decimal(1))))
    assert "expected a rejection, Overdrawn(balance=Decimal('1'))\nbut came Overdrawn(balance=Decimal('0'))" in text
    assert text.endswith("balance: expected Decimal('1'), came Decimal('0')")


def test_a_handler_that_fails_names_its_line() -> None:
    text = told(lambda: given(Account).when(Break("a", "raise")).nothing())
    assert "but came Failed: Account on Break failed on account 'a'" in text
    assert "ZeroDivisionError: broken on purpose (bank.py, line " in text


def test_a_failure_for_another_reason() -> None:
    text = told(lambda: given(Account).when(Break("a", "raise")).fails(saying="no money"))
    assert "expected Failed saying 'no money'\nbut came Failed: " in text


def test_another_state() -> None:
    scenario = given(Account, Opened("a", "ann")).when(Rename("a", "bob"))
    text = told(lambda: scenario.state(owner="bob", size=3))
    assert "but came Account(id='a', version=1, owner='ann', balance=Decimal('0'))" in text
    assert "owner: expected 'bob', came 'ann'\n" in text
    assert text.endswith("size: there is no such field (there are: id, version, owner, balance)")


def test_a_refusal_that_the_test_does_not_speak_of() -> None:
    refused = given(Account).when(Withdraw("a", Decimal(2)))
    assert "expected a state\nbut came Overdrawn" in told(lambda: refused.state(owner=""))
    refused = given(Account).when(Withdraw("a", Decimal(2)))
    assert "expected an accepted command\nbut came Overdrawn" in told(lambda: refused.when(Open("a", "ann")))


def test_events_that_cannot_have_happened() -> None:
    text = told(lambda: given(Account, Deposited("a", Decimal(-1))))
    assert "expected events that can have happened\nbut came Failed: " in text
    assert "negative deposits cannot be folded" in text


def test_a_state_that_is_not_made_of_events_alone() -> None:
    text = told(lambda: given(Ticket).when(Draw("t")))
    assert "Ticket 't' is in another state when its events are read back:" in text
    assert "an @evolves method uses something that does not travel in the events" in text


def test_another_command() -> None:
    scenario = given(Billing).when((OrderPlaced("1", Decimal(3)), NOON))
    text = told(lambda: scenario.sends(RequestPayment("p-1", Decimal(4))))
    assert "when\n    OrderPlaced(order_id='1', total=Decimal('3')) at 2024-04-10T12:00:00+00:00\n" in text
    assert text.endswith("command 1, RequestPayment.amount: expected Decimal('4'), came Decimal('3')")


def test_a_process_that_stopped() -> None:
    text = told(lambda: given(Worried).when(OrderPlaced("1", Decimal(3))).nothing())
    assert "but came none: it stopped: Failed: Worried.placed failed on OrderPlaced" in text
    assert "no orders, please" in text


def test_other_rows() -> None:
    scenario = given(Balance, Deposited("a", Decimal(3)), Deposited("c", Decimal(4)))
    text = told(lambda: scenario.rows(Balance("a", Decimal(8)), Balance("b")))
    assert "row 'a', balance: expected Decimal('8'), came Decimal('3')\n" in text
    assert "Balance(account_id='b', balance=Decimal('0')) is missing\n" in text
    assert text.endswith("Balance(account_id='c', balance=Decimal('4')) was not expected")
    assert "expected a row 'b' with balance=1" in told(lambda: scenario.row("b", balance=1))
    assert "expected no row 'a'\nbut came Balance(" in told(lambda: scenario.no_row("a"))


def test_a_projection_that_stopped() -> None:
    text = told(lambda: given(Brittle, OrderPlaced("1", Decimal(3))).rows())
    assert "but came none: it stopped: Failed: Brittle.placed failed on OrderPlaced" in text


def test_one_event_that_is_left_out_is_one_event() -> None:
    text = told(lambda: given(Account, *[Deposited("a", Decimal(1))] * 13).when(Open("a", "ann")).nothing())
    assert "    … 1 event\n" in text


def test_many_events_are_told_in_short() -> None:
    text = told(lambda: given(Account, *[Deposited("a", Decimal(1))] * 30).when(Open("a", "ann")).nothing())
    assert text.startswith("given Account:\n    … 18 events\n")
    assert text.count("Deposited(") == 12


untyped: Any = given


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: untyped(Account, Open("a", "ann")), "did not happen: give events"),
        (lambda: untyped(Account, OrderPlaced("1", Decimal(1))), "OrderPlaced is no message of 'account'"),
        (lambda: untyped(Account, (Opened("a", "ann"), datetime(2024, 4, 10))), "must be aware"),
        (lambda: untyped(Account).then(Opened("a", "ann")), "nothing was asked: write .when(a command)"),
        (lambda: untyped(Account).when(Opened("a", "ann")), "an aggregate is given a command"),
        (lambda: untyped(Account).state(owner=""), "whose state? Name the entity"),
        (lambda: untyped(Billing).sends(), "nothing happened yet: write .when(an event)"),
        (
            lambda: untyped(Balance, hw.Reverted(msgspec.Raw(b"{}"), 1)).rows(),
            "does not say of which entity it is: it is of the one that the event before it is of, so give one first",
        ),
        (lambda: untyped(Opened), "begin with an aggregate, a process or a projection"),
    ],
)
def test_a_scenario_that_is_written_wrongly(wrong: Callable[[], object], sentence: str) -> None:
    with pytest.raises(hw.Misuse) as error:
        wrong()
    assert sentence in str(error.value)
