"""The garbage collector waits while a batch is worked on, and only then."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from headwater.readers import garbage
from headwater.readers.garbage import collection_waits


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads of earlier tests may still be at their last batch."""
    monkeypatch.setattr(garbage, "_WAITING", garbage._Waiting())
    monkeypatch.setattr(garbage, "LONGEST_S", 600.0)
    gc.enable()
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


def test_of_several_threads_the_last_one_lets_them_go_on() -> None:
    first, second = collection_waits(), collection_waits()
    with first:
        with second:
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_threads_that_take_turns_do_not_keep_it_waiting_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "LONGEST_S", -1.0)
    with collection_waits():
        with collection_waits():
            assert not gc.isenabled()
        assert gc.isenabled()
        with collection_waits():
            assert not gc.isenabled()
    assert gc.isenabled()
