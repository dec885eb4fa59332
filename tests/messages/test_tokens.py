"""Tokens say positions in URL-safe text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headwater.messages as hw
from headwater.errors import Misuse

positions = st.dictionaries(st.tuples(st.text(max_size=8), st.integers(0, 999)), st.integers(0, 2**62), max_size=5)


@given(positions, st.text(max_size=10))
def test_a_token_is_read_as_it_was_written(at: dict[tuple[str, int], int], log_id: str) -> None:
    token = hw.encode_token(at, log_id)
    assert re.fullmatch(r"1\.[A-Za-z0-9_-]+", token)
    assert hw.decode_token(token) == (at, log_id)


def test_equal_positions_have_equal_tokens() -> None:
    one = hw.encode_token({("a", 0): 1, ("b", 1): 2}, "log")
    assert hw.encode_token({("b", 1): 2, ("a", 0): 1}, "log") == one
    assert one == "1.eyJsb2ciOiJsb2ciLCJhdCI6eyJhIjp7IjAiOjF9LCJiIjp7IjEiOjJ9fX0"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no token"),
        ("2.eyJ9", "is no token"),
        ("1.", "is a damaged token"),
        ("1.!!", "is a damaged token"),
        ("1.é", "is a damaged token"),
        ("1.eyJsb2ciOiJsb2ciLCJhdCI6eyJhIjp7I", "is a damaged token"),
        ("1.W10", "is a damaged token"),
        ("1." + "W1tb" * 5000, "is a damaged token"),
    ],
)
def test_garbage_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Misuse, match=reason):
        hw.decode_token(text)
