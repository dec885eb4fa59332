"""Refusals travel by their wire names and are raised again as the same class."""

from __future__ import annotations

import copy
import pickle
import re
from decimal import Decimal

import pytest

import headwater.messages as hw
from headwater.errors import HeadwaterError, Misuse


class AlreadyPlaced(hw.Rejected):
    """The order was already placed.

    Nothing else of this text travels.
    """


class Overdrawn(hw.Rejected, name="AccountOverdrawn"):
    """The balance is {balance} only, {wanted:.1f} was asked for."""

    balance: Decimal
    wanted: Decimal = Decimal(0)


class Wordless(hw.Rejected):
    pass


def raised_again(rejection: hw.Rejected) -> hw.Rejected:
    return hw.rejection_from_wire(hw.rejection_to_wire(rejection))


def test_a_refusal_may_be_raised_bare_and_says_its_docstrings_first_line() -> None:
    with pytest.raises(AlreadyPlaced, match=re.escape("The order was already placed.")) as refusal:
        raise AlreadyPlaced
    assert str(refusal.value) == "The order was already placed."
    assert isinstance(refusal.value, HeadwaterError)
    assert str(Wordless()) == "Wordless"


def test_a_refusal_comes_back_with_its_class_and_fields() -> None:
    again = raised_again(Overdrawn(balance=Decimal("3.00"), wanted=Decimal(5)))
    assert isinstance(again, Overdrawn)
    assert (again.balance, again.wanted, again.name) == (Decimal("3.00"), Decimal(5), "AccountOverdrawn")
    assert str(again) == "The balance is 3.00 only, 5.0 was asked for."
    assert type(raised_again(AlreadyPlaced())) is AlreadyPlaced


def test_a_class_that_is_made_in_its_own_way_is_made_so_again() -> None:
    class Late(hw.Rejected):
        """It is {hours} hours too late."""

        hours: int

        def __init__(self, hours: int) -> None:
            super().__init__(hours)
            self.days = hours // 24

    again = raised_again(Late(50))
    assert isinstance(again, Late)
    assert (again.hours, again.days, again.args) == (50, 2, (50,))


def test_on_the_wire_it_is_readable() -> None:
    assert hw.rejection_to_wire(Overdrawn(Decimal(3))) == (
        b'{"rejected":"AccountOverdrawn","text":"The balance is 3 only, 0.0 was asked for.",'
        b'"fields":{"balance":"3","wanted":"0"}}'
    )


def test_fields_are_checked_as_a_values() -> None:
    with pytest.raises(Misuse, match=re.escape("Overdrawn.balance is 3 (int), not a finite Decimal")):
        Overdrawn(balance=3)  # type: ignore[arg-type] # on purpose
    with pytest.raises(TypeError):
        Overdrawn()  # type: ignore[call-arg] # on purpose


def test_an_unknown_refusal_keeps_its_name_and_text() -> None:
    plain = hw.rejection_from_wire(b'{"rejected":"TooYoung","text":"Eighteen is the least.","fields":{"age":7}}')
    assert type(plain) is hw.Rejected
    assert (plain.name, str(plain)) == ("TooYoung", "Eighteen is the least.")
    assert raised_again(plain).name == "TooYoung"


def test_a_refusal_of_another_version_keeps_its_name_and_text() -> None:
    plain = hw.rejection_from_wire(b'{"rejected":"AccountOverdrawn","text":"No.","fields":{"limit":7}}')
    assert type(plain) is hw.Rejected
    assert (plain.name, str(plain)) == ("AccountOverdrawn", "No.")


def test_of_two_classes_of_one_name_the_one_raised_last_is_meant() -> None:
    class One(hw.Rejected, name="SameName"):
        pass

    class Two(hw.Rejected, name="SameName"):
        pass

    assert type(raised_again(One())) is One
    assert type(raised_again(Two())) is Two
    assert type(raised_again(One())) is One


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b"\xff", b"[" * 10_000])
def test_what_is_no_refusal_is_refused(value: bytes) -> None:
    with pytest.raises(Misuse, match="this is no rejection"):
        hw.rejection_from_wire(value)


def test_copies_and_pickles_stay_the_same() -> None:
    refusal = Overdrawn(balance=Decimal(3))
    for twin in (copy.copy(refusal), pickle.loads(pickle.dumps(refusal))):
        assert type(twin) is Overdrawn
        assert (str(twin), twin.balance) == (str(refusal), Decimal(3))


def test_a_docstring_that_names_no_field_is_refused_at_once() -> None:
    with pytest.raises(Misuse, match=re.escape("the docstring of Wrong names {amount}, which is no field of it")):

        class Wrong(hw.Rejected):
            """It is {amount}."""

            balance: Decimal
