"""A fingerprint of code changes with what the code may do, and with nothing else."""

from __future__ import annotations

import linecache
from typing import Any

import pytest

from headwater.entities.schema import parts_that_differ, schema_of, version_of

CODE = '''
import headwater as hw

FEE = 2

def rounded(amount):
    return round(amount, 2)

class TillEvent(hw.Event, entity="till"):
    till_id: hw.Key[str]

class Paid(TillEvent):
    amount: int

class Till(hw.Aggregate[TillEvent], version=1):
    """A till."""
    balance: int = 0

    def fee(self):
        return FEE

    @property
    def rich(self):
        return self.balance > 100

    @hw.evolves
    def paid(self, event: Paid):
        """Adds it."""
        self.balance += rounded(event.amount) - self.fee()
'''


def schema(code: str) -> str:
    """Of the aggregate `Till` in a file of its own."""
    linecache.cache["<till>"] = (len(code), None, code.splitlines(keepends=True), "<till>")
    names: dict[str, Any] = {"__name__": "till"}
    exec(compile(code, "<till>", "exec", dont_inherit=True), names)
    return schema_of(names["Till"])


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        ("self.balance += rounded", "self.balance -= rounded", ["code"]),
        ("FEE = 2", "FEE = 3", ["code"]),
        ("return FEE", "return FEE + 1", ["code"]),
        ("round(amount, 2)", "round(amount, 1)", ["code"]),
        ("balance: int = 0", "balance: int = 1", ["fields"]),
        ("balance: int = 0", "balance: int = 0\n    limit: int = 0", ["fields"]),
        ("version=1", "version=2", ["version"]),
        ('"""A till."""', '"""Another till."""', []),
        ('"""Adds it."""', '"""Adds it, really."""', []),
        ('        """Adds it."""\n', "", []),
        ("self.fee()", "(self\n             .fee())  # less", []),
        ("> 100", "> 200", []),
    ],
)
def test_a_schema_says_what_changed(before: str, after: str, differs: list[str]) -> None:
    assert before in CODE
    assert parts_that_differ(schema(CODE), schema(CODE.replace(before, after))) == differs


def test_a_schema_is_the_same_on_every_machine_and_python() -> None:
    """Else a new Python would fold all states anew: the text is what this code has had since it was written."""
    assert schema(CODE) == "1-d128d67a-c8aed008"


def test_the_version_is_the_authors_and_of_foreign_text_there_is_none() -> None:
    assert [version_of(text) for text in ("12-a-b", "", "0f3c", "x-y")] == [12, 0, 0, 0]
