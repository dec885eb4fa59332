"""Positions that a log has committed are told from those that other tools have set."""

from __future__ import annotations

import pytest

from headwater.log.kafka.marks import MARK, is_ours, mark_of, writer_of
from headwater.log.kafka.outcome import Written

ID = "account-owners-host-77-0a1b2c3d4e5f-a"


@pytest.mark.parametrize("text", [MARK, ID, mark_of(ID, 1), mark_of(ID, 123_456), Written(ID, 7).mark])
def test_ours(text: str) -> None:
    assert is_ours(text)


@pytest.mark.parametrize("text", ["", "headwater2", "account", f"{ID}#", f"{ID}#x", "account#1"])
def test_of_others(text: str) -> None:
    assert not is_ours(text)


@pytest.mark.parametrize("text", [ID, mark_of(ID, 12)])
def test_a_mark_names_its_writer(text: str) -> None:
    assert writer_of(text) == ID
