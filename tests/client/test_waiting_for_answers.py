"""One question may be under way several times: it is answered as often, in order, and each may give up."""

from __future__ import annotations

import gc
import weakref
from itertools import permutations

import pytest

from headwater.client.receipts import Pending
from headwater.client.travelling import Waiting
from headwater.errors import Unavailable, Unknown
from headwater.log.port import NewRecord
from headwater.owners.replies import Reply

RECORD = NewRecord("order-commands", 0, b"1", b"{}")


def reply(version: int) -> Reply:
    return Reply("x", "accepted", "order", "1", version=version)


def waiting(count: int) -> tuple[Waiting, list[Pending]]:
    all_of_them = Waiting()
    pendings = [Pending("x") for _ in range(count)]
    all_of_them.add("order", [RECORD] * count, pendings)
    return all_of_them, pendings


def version_of(pending: Pending) -> int | None:
    return pending.result.version if isinstance(pending.result, Reply) else None


def test_answers_go_to_those_who_asked_in_their_order() -> None:
    who, pendings = waiting(3)
    who.answer([(reply(1), 0), (reply(2), 0)])
    who.answer([(reply(3), 0), (reply(4), 0)])
    assert [version_of(pending) for pending in pendings] == [1, 2, 3]


@pytest.mark.parametrize("leaving", [order for n in range(1, 5) for order in permutations(range(4), n)])
def test_who_gives_up_gets_none_and_the_others_move_up(leaving: tuple[int, ...]) -> None:
    who, pendings = waiting(4)
    for index in leaving:
        who.forget(pendings[index])
    staying = [pending for index, pending in enumerate(pendings) if index not in leaving]
    who.answer([(reply(version), 0) for version in range(1, 5)])
    assert [version_of(pending) for pending in staying] == list(range(1, len(staying) + 1))
    assert all(pendings[index].result is None for index in leaving)


def test_at_the_end_all_are_told() -> None:
    who, pendings = waiting(3)
    who.end("closed")
    assert [type(pending.result) for pending in pendings] == [Unknown] * 3


def test_what_was_answered_with_an_error_is_let_go_of() -> None:
    def ask() -> weakref.ref[Unavailable]:
        pending = Pending("x")
        pending.settle(Unavailable("nobody there"))
        outcome = pending.outcome()
        assert isinstance(outcome, Unavailable)
        try:
            raise outcome
        except Unavailable as error:
            return weakref.ref(error)
        raise AssertionError

    error = ask()
    gc.collect()
    assert error() is None
