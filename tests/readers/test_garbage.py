"""The garbage collector waits while a batch is worked on, and only then."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from headwater.readers.garbage import collection_waits


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.enable()


def test_no_collection_begins_within_and_afterwards_they_go_on() -> None:
    with collection_waits():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_they_go_on_after_an_error() -> None:
    with pytest.raises(ArithmeticError), collection_waits():
        raise ArithmeticError
    assert gc.isenabled()


def test_a_program_that_has_none_still_has_none() -> None:
    gc.disable()
    with collection_waits():
        pass
    assert not gc.isenabled()
