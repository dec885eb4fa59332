"""Reading entities: their state now and at any moment of the past, their history, and ways back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

import headwater as hw
from headwater.log.port import Log
from headwater.messages import Reverted
from headwater.testing import VirtualEnvironment
from tests.bank import Account, Deposit, Deposited, Open, Opened, Withdraw, Withdrawn
from tests.orders import Order

app = hw.App("bank", aggregates=[Account], partitions=3)


def at(day: int) -> datetime:
    return datetime.combine(date(2024, 1, day), time(12), UTC)


@pytest.fixture
def clock() -> VirtualEnvironment:
    """When events are recorded: begins on the 1st of January 2024."""
    return VirtualEnvironment(at(1))


@pytest.fixture
def bank(log: Log, clock: VirtualEnvironment) -> Iterator[hw.Shop]:
    with app.run(log, only=["commands"], environment=clock) as shop:
        yield shop


@pytest.fixture
def late_entry(bank: hw.Shop, clock: VirtualEnvironment) -> None:
    """Ann's account: opened on the 1st, 10 on the 2nd, 5 on the 4th; and what happened on the 3rd (a withdrawal of 1)
    was only recorded on the 5th."""
    bank.send(Open("a", "ann"))
    clock.advance(timedelta(days=1))
    bank.send(Deposit("a", Decimal(10)))
    clock.advance(timedelta(days=2))
    bank.send(Deposit("a", Decimal(5)))
    clock.advance(timedelta(days=1))
    bank.send(Withdraw("a", Decimal(1)), time=at(3))


def test_a_state_carries_its_id_and_version(bank: hw.Shop) -> None:
    bank.send(Open("a", "ann"))
    bank.send(Deposit("a", Decimal("0.10")))
    account = bank.get(Account, "a")
    assert (account.id, account.version, account.owner, account.balance) == ("a", 2, "ann", Decimal("0.10"))
    assert bank.version(Account, "a") == 2


def test_what_was_never_there(bank: hw.Shop) -> None:
    with pytest.raises(hw.NotFound, match="there is no account 'nobody'"):
        bank.get(Account, "nobody")
    assert bank.find(Account, "nobody") is None
    assert bank.version(Account, "nobody") == 0
    assert bank.history(Account, "nobody") == []


def test_what_is_read_is_a_copy(bank: hw.Shop) -> None:
    bank.send(Open("a", "ann"))
    bank.get(Account, "a").balance = Decimal(1_000_000)
    assert bank.get(Account, "a").balance == 0


def test_a_history_is_complete_in_order_and_says_when(bank: hw.Shop, late_entry: None) -> None:
    history = bank.history(Account, "a")
    assert [one.event for one in history] == [
        Opened("a", "ann"),
        Deposited("a", Decimal(10)),
        Deposited("a", Decimal(5)),
        Withdrawn("a", Decimal(1)),
    ]
    assert [one.meta.version for one in history] == [1, 2, 3, 4]
    assert [one.meta.time.day for one in history] == [1, 2, 4, 3]
    assert [one.meta.recorded.day for one in history if one.meta.recorded] == [1, 2, 4, 5]


@pytest.mark.parametrize(("day", "balance"), [(1, 0), (2, 10), (3, 9), (4, 14), (5, 14)])
def test_what_was_true_at_a_time(bank: hw.Shop, late_entry: None, day: int, balance: int) -> None:
    assert bank.get(Account, "a", as_of=at(day)).balance == balance


@pytest.mark.parametrize(("day", "balance"), [(1, 0), (2, 10), (3, 10), (4, 15), (5, 14)])
def test_what_was_known_at_a_time(bank: hw.Shop, late_entry: None, day: int, balance: int) -> None:
    assert bank.get(Account, "a", known_at=at(day)).balance == balance


def test_what_was_known_on_the_4th_about_the_3rd(bank: hw.Shop, late_entry: None) -> None:
    assert bank.get(Account, "a", as_of=at(3), known_at=at(4)).balance == 10


@pytest.mark.parametrize(("version", "balance"), [(1, 0), (2, 10), (3, 15), (4, 14)])
def test_the_state_at_a_version(bank: hw.Shop, late_entry: None, version: int, balance: int) -> None:
    account = bank.get(Account, "a", at_version=version)
    assert (int(account.balance), account.version) == (balance, version)


@pytest.mark.parametrize(
    ("moment", "version"),
    [
        ({"as_of": at(2)}, 2),
        ({"as_of": at(3)}, 0),  # the events 1, 2 and 4
        ({"as_of": at(4)}, 4),
        ({"known_at": at(4)}, 3),
        ({"as_of": at(3), "known_at": at(4)}, 2),
    ],
)
def test_a_past_state_has_a_version_only_where_that_version_has_the_state(
    bank: hw.Shop, late_entry: None, moment: dict[str, Any], version: int
) -> None:
    then = bank.get(Account, "a", **moment)
    assert then.version == version
    if version:
        assert then == bank.get(Account, "a", at_version=version)


def test_before_it_was_there(bank: hw.Shop, late_entry: None) -> None:
    before = at(1) - timedelta(microseconds=1)
    with pytest.raises(hw.NotFound):
        bank.get(Account, "a", as_of=before)
    assert bank.find(Account, "a", known_at=before) is None
    assert bank.find(Account, "a", at_version=0) is None


def test_a_version_that_it_never_had(bank: hw.Shop, late_entry: None) -> None:
    with pytest.raises(hw.Misuse, match="version 5 does not exist; the entity has versions 0 to 4"):
        bank.get(Account, "a", at_version=5)


def test_a_time_without_a_zone(bank: hw.Shop, late_entry: None) -> None:
    with pytest.raises(hw.Misuse, match="must be aware"):
        bank.get(Account, "a", as_of=datetime(2024, 1, 3))


def test_going_back_appends_one_event_and_keeps_the_history(bank: hw.Shop, late_entry: None) -> None:
    receipt = bank.revert(Account, "a", to_version=2, actor="user:bob", command_id="back")
    assert (receipt.version, receipt.events) == (5, 1)
    account = bank.get(Account, "a")
    assert (int(account.balance), account.owner, account.version, account.id) == (10, "ann", 5, "a")
    history = bank.history(Account, "a")
    assert len(history) == 5
    last = history[-1]
    assert isinstance(last.event, Reverted)
    assert (last.event.to_version, last.meta.actor, last.meta.type) == (2, "user:bob", "hw.Reverted")
    assert bank.send(Deposit("a", Decimal(1))).version == 6
    assert bank.get(Account, "a").balance == 11
    assert bank.get(Account, "a", at_version=4).balance == 14


def test_going_back_to_the_future(bank: hw.Shop, late_entry: None) -> None:
    bank.revert(Account, "a", to_version=1)
    bank.revert(Account, "a", to_version=4)
    assert bank.get(Account, "a").balance == 14


def test_going_back_where_there_is_nothing(bank: hw.Shop, late_entry: None) -> None:
    with pytest.raises(hw.Misuse, match="version 9 does not exist"):
        bank.revert(Account, "a", to_version=9)
    with pytest.raises(hw.Misuse, match="no state before its first event"):
        bank.revert(Account, "a", to_version=0)
    with pytest.raises(hw.NotFound):
        bank.revert(Account, "nobody", to_version=1)


def test_events_are_appended_as_they_are(bank: hw.Shop) -> None:
    events = [Opened("a", "ann"), Deposited("a", Decimal(3))]
    receipt = bank.append(Account, "a", events, expected_version=0, actor="system:import", time=at(1), command_id="i")
    assert (receipt.version, receipt.events) == (2, 2)
    assert bank.get(Account, "a").balance == 3
    assert {(one.meta.actor, one.meta.time) for one in bank.history(Account, "a")} == {("system:import", at(1))}
    assert bank.append(Account, "a", events, expected_version=0, command_id="i").duplicate
    with pytest.raises(hw.Conflict):
        bank.append(Account, "a", events, expected_version=0)
    with pytest.raises(hw.Misuse, match="another content"):
        bank.append(Account, "a", events[:1], command_id="i")


def test_no_event_is_appended_that_does_not_belong(bank: hw.Shop) -> None:
    with pytest.raises(hw.Misuse, match="Opened carries the key 'b', not 'a'"):
        bank.append(Account, "a", [Opened("b", "bob")])
    with pytest.raises(hw.Failed, match="negative deposits cannot be folded"):
        bank.append(Account, "a", [Opened("a", "ann"), Deposited("a", Decimal(-1))])
    assert bank.version(Account, "a") == 0


def test_an_aggregate_that_the_app_does_not_have(bank: hw.Shop) -> None:
    with pytest.raises(hw.Misuse, match="Order is not among the app's aggregates"):
        bank.get(Order, "1")


def test_everything_that_can_be_a_key(bank: hw.Shop) -> None:
    for key in ("ä ö/ü", "🙂", "a|b;c,d", "x" * 200, " ", "%2F", "-"):
        bank.send(Open(key, "ann"))
        assert bank.get(Account, key).id == key
        assert [one.meta.entity_id for one in bank.history(Account, key)] == [key]


TOO_EARLY = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))


@pytest.mark.parametrize(
    ("ask", "wanted"),
    [
        (lambda shop: shop.get(Account, 5), r"the id of an entity is a text, such as '5', not 5 \(int\)"),
        (lambda shop: shop.find(Account, None), r"the id of an entity is a text, .* not None \(NoneType\)"),
        (lambda shop: shop.history(Account, 5), "the id of an entity is a text"),
        (lambda shop: shop.version(Account, b"a"), "the id of an entity is a text"),
        (lambda shop: shop.outcome(Account, 5, "c"), "the id of an entity is a text"),
        (lambda shop: shop.append(Account, 5, []), "the id of an entity is a text"),
        (lambda shop: shop.append(Account, "a", ["x"]), "append takes events, not str"),
        (
            lambda shop: shop.revert(Account, "a", to_version="1"),
            r"to_version is a number of events, .* '1' \(str\)",
        ),
        (lambda shop: shop.get(Account, "a", as_of=date(2024, 4, 10)), r"as_of must be a time, .* \(date\)"),
        (lambda shop: shop.get(Account, "a", known_at="2024"), r"known_at must be a time, .* not '2024' \(str\)"),
        (
            lambda shop: shop.get(Account, "a", at_version=True),
            r"at_version is a number of events, .* not True \(bool\)",
        ),
        (lambda shop: shop.get("account", "a"), r"is named by its class, .* not by 'account' \(str\)"),
        (lambda shop: shop.replay(["account"]), "is named by its class"),
        (lambda shop: shop.send(Open("a", "ann"), command_id=5), r"command_id is a text, not 5 \(int\)"),
        (lambda shop: shop.send(Open("a", "ann"), actor=5), r"actor is a text, not 5 \(int\)"),
        (lambda shop: shop.send(Open("a", "ann"), expected_version="1"), "expected_version is a number of events"),
        (lambda shop: shop.send(Open("a", "ann"), time=date(2024, 4, 10)), r"time must be a time, .* \(date\)"),
        (lambda shop: shop.send(Open("a", "ann"), time=TOO_EARLY), "^time is outside of the years 1 to 9999 in UTC"),
        (lambda shop: shop.rows(Account, after=5), r"after= takes a receipt, .* not 5 \(int\)"),
        (lambda shop: shop.row(Account, "a", after=[None]), r"after= takes a receipt, .* not \[None\] \(list\)"),
    ],
)
def test_arguments_of_a_wrong_type_are_refused(bank: hw.Shop, ask: Callable[[Any], object], wanted: str) -> None:
    bank.send(Open("a", "ann"))
    with pytest.raises(hw.Misuse, match=wanted):
        ask(bank)
