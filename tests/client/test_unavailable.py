"""Nobody there, too late, gone meanwhile: the caller is told soon, and by whom it has to be put right."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from decimal import Decimal

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.port import Log, NewRecord, OnDone, Undecided
from headwater.testing import eventually
from tests.bank import Account, Deposit, Deposited, Open
from tests.logs import OpenAgain, end_of, owned_by
from tests.timing import in_time

app = hw.App("bank", aggregates=[Account], partitions=2)


@pytest.fixture
def deserted(log: Log) -> Log:
    """A log on which the app ran once, and does not any more."""
    with app.run(log, only=["commands"]) as bank:
        bank.send(Open("a", "ann"))
    eventually(lambda: not owned_by(log, "account-owners"))
    return log


def test_without_a_live_owner_a_command_is_refused_within_two_seconds(deserted: Log) -> None:
    with app.connect(deserted) as bank:
        before = end_of(deserted, "account-commands")

        def refused() -> None:
            with pytest.raises(
                hw.Unavailable, match=r"no live owner of 'account' on .*; start one with: hw run MODULE:APP"
            ):
                bank.send(Deposit("a", Decimal(1)))

        in_time(2, refused)
        assert end_of(deserted, "account-commands") == before


def test_without_a_live_owner_the_state_is_unavailable_and_the_past_is_not(deserted: Log) -> None:
    with app.connect(deserted) as bank:

        def refused() -> None:
            with pytest.raises(hw.Unavailable, match="no live owner"):
                bank.get(Account, "a")

        in_time(2, refused)
        assert [one.meta.version for one in eventually(lambda: bank.history(Account, "a"))] == [1]
        assert bank.get(Account, "a", at_version=1).owner == "ann"


def test_a_log_on_which_no_app_ever_ran(log: Log) -> None:
    with app.connect(log) as bank, pytest.raises(hw.Unavailable, match="no app has made the topics of 'account'"):
        bank.send(Deposit("a", Decimal(1)))


def test_a_client_that_came_first_finds_the_owner_that_came_later(open_again: OpenAgain) -> None:
    with app.connect(open_again()) as client:
        with pytest.raises(hw.Unavailable):
            client.send(Open("a", "ann"))
        with app.run(open_again(), only=["commands"]):
            assert client.send(Open("a", "ann")).version == 1


class Turnstile:
    """Holds a handler up until a test lets it go on."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()


turnstile = Turnstile()


class SlowEvent(hw.Event, entity="slow"):
    slow_id: hw.Key[str]


class Went(SlowEvent):
    pass


class SlowCommand(hw.Command, entity="slow"):
    slow_id: hw.Key[str]


class Go(SlowCommand):
    pass


class Slow(hw.Aggregate[SlowEvent]):
    @hw.decides
    def go(self, command: Go) -> Went:
        turnstile.entered.set()
        assert turnstile.open.wait(60)
        return Went(command.slow_id)


def test_a_command_that_is_not_answered_in_time_is_unknown_and_can_be_sent_again() -> None:
    turnstile.open.clear()
    turnstile.entered.clear()
    log = MemoryLog()
    slow = hw.App("slow", aggregates=[Slow], partitions=1)
    with slow.run(log, only=["commands"]), slow.connect(log) as client:
        with pytest.raises(hw.Unknown, match=r"no answer to command g within 0.2 s.*same command_id") as unknown:
            client.send(Go("s"), command_id="g", timeout_s=0.2)
        assert unknown.value.command_id == "g"
        assert turnstile.entered.wait(60)
        turnstile.open.set()
        assert client.send(Go("s"), command_id="g").version == 1
        assert client.send(Go("s"), command_id="g").duplicate
        found = client.outcome(Slow, "s", "g")
        assert found is not None
        assert found.version == 1


def test_what_a_caller_asked_who_was_cancelled_is_not_waited_for() -> None:
    turnstile.open.clear()
    turnstile.entered.clear()
    log = MemoryLog()
    slow = hw.App("slow", aggregates=[Slow], partitions=1)

    async def story() -> None:
        async with slow.connect(log) as client:
            waiting = client._desk._post._waiting
            asking = asyncio.create_task(client.send(Go("s"), timeout_s=120))
            assert await asyncio.to_thread(turnstile.entered.wait, 60)
            assert len(waiting._pendings) == 1
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert waiting._pendings == {}
            turnstile.open.set()
            assert (await client.send(Go("s"))).version == 2

    with slow.run(log, only=["commands"]):
        asyncio.run(story())


def test_what_was_under_way_when_the_client_closes_is_told() -> None:
    turnstile.open.clear()
    log = MemoryLog()
    slow = hw.App("slow", aggregates=[Slow], partitions=1)
    came: list[BaseException] = []

    def send(shop: hw.Shop) -> None:
        try:
            shop.send(Go("s"), timeout_s=120)
        except hw.HeadwaterError as error:
            came.append(error)

    with slow.run(log, only=["commands"]):
        with slow.connect(log) as client:
            sender = threading.Thread(target=send, args=(client,))
            turnstile.entered.clear()
            sender.start()
            assert turnstile.entered.wait(60)
        sender.join(60)
        turnstile.open.set()
    assert [type(one) for one in came] == [hw.Unknown]
    assert "closed before an answer came" in str(came[0])


class Silent(MemoryLog):
    """Writes what it is given and cannot say so: as a cluster that goes away at that moment."""

    def append_nowait(self, records: Sequence[NewRecord], on_done: OnDone) -> None:
        for index, _ in enumerate(self.append(records)):
            on_done(index, None, Undecided("nobody confirmed it; it may have been written"))


def test_what_may_have_been_written_is_unknown() -> None:
    log = Silent()
    with app.run(log, only=["commands"]) as bank, app.connect(log) as client:
        with pytest.raises(hw.Unknown, match=r"no answer to command d.*same command_id; nobody confirmed it"):
            client.send(Deposit("a", Decimal(1)), command_id="d")
        (told,) = client.send_many([hw.Sending(Deposit("a", Decimal(1)), "e")])
        assert isinstance(told, hw.Unknown)
        eventually(lambda: bank.version(Account, "a") == 2, saying="both are carried out")
        assert bank.send(Deposit("a", Decimal(1)), command_id="d").duplicate


def test_an_app_is_entered_once_at_a_time() -> None:
    running = app.run(MemoryLog())
    with running, pytest.raises(hw.Misuse, match="entered already"), running:
        pass


def test_after_its_end_a_log_that_was_given_is_still_open() -> None:
    log = MemoryLog()
    for turn in range(3):
        with app.run(log) as bank:
            bank.send(Deposit("a", Decimal(1)))
            assert bank.version(Account, "a") == turn + 1
    with app.connect(log) as bank:
        assert [type(one.event) for one in bank.history(Account, "a")] == [Deposited] * 3


def test_parts_that_there_are_not() -> None:
    with pytest.raises(hw.Misuse, match=r"only=\['orders'\]: the parts are commands, projections, views, processes"):
        app.run("memory://", only=["commands", "orders"])  # type: ignore[list-item] # on purpose


def test_a_shop_that_has_ended_says_so() -> None:
    with app.run(MemoryLog()) as bank:
        bank.send(Open("a", "ann"))
    with pytest.raises(hw.Unavailable, match="the client was closed"):
        bank.send(Deposit("a", Decimal(1)))
    assert [type(one) for one in bank.send_many([Deposit("a", Decimal(1))])] == [hw.Unavailable]
