"""Rows that a search store remembers: bounded, and distrusted where somebody else was."""

from __future__ import annotations

import pytest

from headwater.stores import opensearch_remembered
from headwater.stores.opensearch_documents import Known
from headwater.stores.opensearch_remembered import PAUSE, Remembered
from headwater.stores.opensearch_state import Version


def known(kept: bytes | None) -> Known:
    return Known(Version(1, 1), None, kept)


def test_those_that_were_written_longest_ago_are_dropped_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch_remembered, "MOST_BYTES", 30)
    remembered = Remembered()
    remembered.put("i", [(f"a{n}", known(b"x" * 10)) for n in range(3)])
    remembered.put("i", [("a0", known(b"y" * 10))])
    remembered.put("i", [("a3", known(b"z" * 10))])
    assert set(remembered.look("i", ["a0", "a1", "a2", "a3"])) == {"a0", "a2", "a3"}
    assert remembered.look("i", ["a0"])["a0"].kept == b"y" * 10
    remembered.put("i", [("a2", known(None)), ("a4", known(b"x" * 10))])
    assert set(remembered.look("i", ["a0", "a2", "a3", "a4"])) == {"a0", "a3", "a4"}, "a deleted row has left room"
    assert remembered.look("other", ["a0"]) == {}


def test_where_somebody_else_was_nothing_is_remembered_for_a_while() -> None:
    remembered = Remembered()
    remembered.put("i", [("a", known(b"1"))])
    remembered.put("other", [("a", known(b"1"))])
    remembered.distrust(["i"])
    assert (remembered.look("i", ["a"]), len(remembered.look("other", ["a"]))) == ({}, 1)
    for _ in range(PAUSE):
        remembered.put("i", [("a", known(b"1"))])
    assert remembered.look("i", ["a"]) == {}
    remembered.put("i", [("a", known(b"2"))])
    assert remembered.look("i", ["a"])["a"].kept == b"2"
