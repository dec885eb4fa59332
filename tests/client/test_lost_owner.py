"""A command that is in the log when its only owner is lost may still be carried out: its caller is told so, and sends
it again with the same id."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal

import pytest

import headwater as hw
from headwater.log.port import Log
from headwater.testing import eventually
from tests.bank import Account, Deposit, Deposited, Open
from tests.logs import OpenAgain, end_of, owned_by

app = hw.App("bank", aggregates=[Account], partitions=1)
DEPOSIT = Deposit("a", Decimal(1))
LONG_S = 60.0
"""So long is waited for an answer: much longer than until a lost owner is told."""


def by_send(log: Log) -> object:
    with app.connect(log) as client:
        return client.send(DEPOSIT, command_id="d", timeout_s=LONG_S)


def by_append(log: Log) -> object:
    with app.connect(log) as client:
        return client.append(Account, "a", [Deposited("a", Decimal(1))], command_id="d", timeout_s=LONG_S)


def by_send_many(log: Log) -> object:
    with app.connect(log) as client:
        (outcome,) = client.send_many([hw.Sending(DEPOSIT, "d")], timeout_s=LONG_S)
        return outcome


def by_async_send(log: Log) -> object:
    async def story() -> object:
        async with app.connect(log) as client:
            return await client.send(DEPOSIT, command_id="d", timeout_s=LONG_S)

    return asyncio.run(story())


def by_async_send_many(log: Log) -> object:
    async def story() -> object:
        async with app.connect(log) as client:
            (outcome,) = [one async for one in client.send_many([hw.Sending(DEPOSIT, "d")], timeout_s=LONG_S)]
            return outcome

    return asyncio.run(story())


def by_get(log: Log) -> object:
    with app.connect(log) as client:
        return client.get(Account, "a", timeout_s=LONG_S)


@contextmanager
def asked_and_left(log: Log, ask: Callable[[Log], object]) -> Iterator[Future[object]]:
    """The answer to somebody whose command is in the log when the only owner goes, without having looked at it."""
    owner = log.member("account-owners", ["account-commands"], name="an owner")
    eventually(lambda: owner.read(0, 0.05) and owned_by(log, "account-owners") == [1], saying="there is an owner")
    before = end_of(log, "account-commands")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask, log)
        eventually(lambda: owner.read(0, 0.05) and end_of(log, "account-commands") > before, saying="it is in the log")
        owner.close()
        yield asking


@pytest.fixture
def opened(open_again: OpenAgain) -> Log:
    log = open_again()
    with app.run(log, only=["commands"]) as bank:
        bank.send(Open("a", "ann"))
    return log


@pytest.mark.parametrize("ask", [by_send, by_append, by_send_many, by_async_send, by_async_send_many])
def test_what_was_sent_is_unknown_and_recognised_when_it_is_sent_again(
    opened: Log, open_again: OpenAgain, ask: Callable[[Log], object]
) -> None:
    with asked_and_left(opened, ask) as asking:
        outcome = asking.exception(LONG_S) or asking.result()
    assert isinstance(outcome, hw.Unknown)
    assert outcome.command_id == "d"
    assert outcome.waited_s < LONG_S
    assert re.search("it may still be carried out: .* the same command_id; no live owner of 'account' on", str(outcome))
    with app.run(open_again(), only=["commands"]) as bank:
        found = eventually(lambda: bank.outcome(Account, "a", "d"), saying="the next owner carries it out")
        assert found.version == 2
        assert ask is by_append or bank.send(DEPOSIT, command_id="d").duplicate
        assert bank.get(Account, "a").balance == 1


def test_a_question_changes_nothing_and_is_unavailable(opened: Log) -> None:
    with asked_and_left(opened, by_get) as asking:
        error = asking.exception(LONG_S)
    assert type(error) is hw.Unavailable
    assert "no live owner of 'account' on" in str(error)


MANY, SOON_S = 100, 1.0
"""So many commands, of which each is waited for so long: if one after the other is, the test is over before."""


def by_many(log: Log) -> object:
    with app.connect(log) as client:
        return list(client.send_many([DEPOSIT] * MANY, timeout_s=SOON_S))


def by_async_many(log: Log) -> object:
    async def story() -> object:
        async with app.connect(log) as client:
            return [one async for one in client.send_many([DEPOSIT] * MANY, timeout_s=SOON_S)]

    return asyncio.run(story())


@pytest.mark.parametrize("ask", [by_many, by_async_many])
def test_of_many_the_last_is_told_soon_after_the_first(opened: Log, ask: Callable[[Log], object]) -> None:
    with asked_and_left(opened, ask) as asking:
        outcomes = asking.result(MANY * SOON_S / 2)
    assert isinstance(outcomes, list)
    assert len(outcomes) == MANY
    assert type(outcomes[0]) is hw.Unknown
    assert {type(one) for one in outcomes} <= {hw.Unknown, hw.Unavailable}, "the latter was not sent in time"
