"""The life of a partition at its owner: the table, what can never happen by it, and that an owner follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.port import Aborted, Fenced, TopicPartition, Torn, Transaction, Undecided, Writer
from headwater.messages.json_codec import JsonCodec
from headwater.owners.arriving import Arrived
from headwater.owners.life import TRANSITIONS, IllegalSignal, Lives, Signal, State
from headwater.owners.owner import Owner
from headwater.owners.replies import Reply
from headwater.testing import eventually
from tests.bank import Account, Deposit, amount_of

ROWS = {
    (State.AWAY, Signal.ASSIGNED): State.RESTORING,
    (State.AWAY, Signal.REVOKED): State.AWAY,
    (State.RESTORING, Signal.RESTORED): State.ACTIVE,
    (State.RESTORING, Signal.ASSIGNED): State.RESTORING,
    (State.RESTORING, Signal.REVOKED): State.AWAY,
    (State.ACTIVE, Signal.TAKEN): State.COMMITTING,
    (State.ACTIVE, Signal.BAD_DATA): State.STOPPED,
    (State.ACTIVE, Signal.IN_DOUBT): State.DOUBTFUL,
    (State.ACTIVE, Signal.ASSIGNED): State.RESTORING,
    (State.ACTIVE, Signal.REVOKED): State.AWAY,
    (State.COMMITTING, Signal.COMMITTED): State.ACTIVE,
    (State.COMMITTING, Signal.NOT_WRITTEN): State.ACTIVE,
    (State.COMMITTING, Signal.IN_DOUBT): State.DOUBTFUL,
    (State.DOUBTFUL, Signal.ASSIGNED): State.RESTORING,
    (State.DOUBTFUL, Signal.REVOKED): State.AWAY,
    (State.STOPPED, Signal.BAD_DATA): State.STOPPED,
    (State.STOPPED, Signal.ASSIGNED): State.RESTORING,
    (State.STOPPED, Signal.REVOKED): State.AWAY,
}
CHOICES = st.lists(st.integers(0, 99), max_size=20)
"""Which of the signals that are possible comes next, time after time."""


def lives_in(state: State) -> Lives:
    lives = Lives("order")
    lives._states[3] = state
    return lives


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("signal", Signal)
def test_every_signal_in_every_state_leads_where_it_should_or_is_refused(state: State, signal: Signal) -> None:
    lives, expected = lives_in(state), ROWS.get((state, signal))
    if expected is None:
        words = f"partition 3 of 'order' cannot take {signal.name} while it is {state.name}"
        with pytest.raises(IllegalSignal, match=words):
            lives.on(3, signal)
        assert lives.of(3) is state
    else:
        assert lives.on(3, signal) is lives.of(3) is expected
    assert lives.of(4) is State.AWAY, "each partition has its own"


def signals(choices: list[int]) -> list[Signal]:
    """Of a life."""
    lives, taken = Lives("order"), []
    for choice in choices:
        possible = list(TRANSITIONS[lives.of(0)])
        taken.append(possible[choice % len(possible)])
        lives.on(0, taken[-1])
    return taken


@given(CHOICES)
def test_an_answer_leaves_only_straight_after_the_commit_of_what_was_taken(choices: list[int]) -> None:
    taken = signals(choices)
    for before, signal in zip([None, *taken], taken, strict=False):
        assert signal is not Signal.COMMITTED or before is Signal.TAKEN


@given(CHOICES)
def test_after_a_doubt_nothing_is_taken_before_all_was_read_back(choices: list[int]) -> None:
    doubtful = False
    for signal in signals(choices):
        doubtful = (doubtful or signal is Signal.IN_DOUBT) and signal is not Signal.RESTORED
        assert not doubtful or signal is not Signal.TAKEN


@given(CHOICES)
def test_what_was_revoked_takes_nothing_before_it_is_assigned_and_read_back(choices: list[int]) -> None:
    missing = {Signal.ASSIGNED, Signal.RESTORED}
    for signal in signals(choices):
        if signal is Signal.REVOKED:
            missing = {Signal.ASSIGNED, Signal.RESTORED}
        elif signal is Signal.RESTORED:
            assert Signal.ASSIGNED not in missing
        elif signal is Signal.TAKEN:
            assert not missing
        missing.discard(signal)


class Failing:
    """A log whose writers raise `error` instead of their next commit, or after it."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.error: BaseException | None = None
        self.after_commit = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def writer(self, name: str) -> Writer:
        return _Failing(self, self._log.writer(name))


class _Failing:
    def __init__(self, log: Failing, writer: Writer) -> None:
        self._log, self._writer = log, writer

    def transact(
        self, fill: Callable[[Transaction], None], meanwhile: Callable[[], None] | None = None
    ) -> dict[TopicPartition, int]:
        error, self._log.error = self._log.error, None
        if error is not None and not self._log.after_commit:
            raise error
        firsts = self._writer.transact(fill, meanwhile)
        if error is not None:
            raise error
        return firsts

    def close(self) -> None:
        self._writer.close()


class Bank:
    """An owner with one partition and nothing else that works on it."""

    def __init__(self, log: Failing, owner: Owner, shop: hw.Shop) -> None:
        self.log, self.owner, self.shop = log, owner, shop
        self.answers: list[Reply | hw.HeadwaterError] = []

    @property
    def state(self) -> State:
        return self.owner._known.lives.of(0)

    def deposit(self, id: str) -> None:
        """Carries out a command of a caller in this process."""
        codec = JsonCodec([Deposit], type_field="commandType", version_field="commandVersion")
        arrived = Arrived(id, b"a", codec.encode(Deposit("a", Decimal(1))), 0, answer=self.answers.append)
        with self.owner._door:
            position = self.owner._known.memories[0].next_command
            positions = {TopicPartition("account-commands", 0): position}
            self.owner._transacting.carry_out([arrived], positions, self.owner._fence, {})


@pytest.fixture
def bank() -> Iterator[Bank]:
    app, log = hw.App("bank", aggregates=[Account], partitions=1), Failing(MemoryLog())
    running = app.run(log, only=["commands"])  # it passes everything on
    with running as shop:
        shop.send(Deposit("a", Decimal(1)))
        assert running.services is not None
        yield Bank(log, running.services.owners["account"], shop)


def test_what_was_committed_is_answered(bank: Bank) -> None:
    bank.deposit("one")
    assert (bank.state, len(bank.answers)) == (State.ACTIVE, 1)


@pytest.mark.parametrize("error", [Aborted("a"), Fenced("f"), hw.Unavailable("u"), hw.Misuse("m")])
def test_where_nothing_was_written_nothing_is_answered_and_it_goes_on(bank: Bank, error: hw.HeadwaterError) -> None:
    bank.log.error = error
    with pytest.raises(type(error)):
        bank.deposit("one")
    assert (bank.state, bank.answers) == (State.ACTIVE, [])
    bank.deposit("two")
    (reply,) = bank.answers
    assert isinstance(reply, Reply)
    assert reply.version == 2, "the one that was not written left nothing behind"


def test_what_waits_behind_a_command_that_was_turned_away_does_not_overtake_it(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group has moved on when the owner carries out the first, which then travels; the second is carried out when
    the owner knows of it."""
    submit, handed = bank.owner.submit, list[list[Arrived]]()
    monkeypatch.setattr(bank.owner, "submit", lambda commands: handed.append(list(commands)))
    with ThreadPoolExecutor() as callers:
        outcomes = []
        for amount in (2, 3):
            outcomes.append(callers.submit(bank.shop.send, Deposit("a", Decimal(amount)), timeout_s=60))
            eventually(lambda: len(handed) == len(outcomes))
        monkeypatch.undo()
        bank.log.error = Fenced("another generation")
        for commands in handed:
            submit(commands)
        assert [one.result().version for one in outcomes] == [2, 3]
    assert [int(amount_of(one.event)) for one in bank.shop.history(Account, "a")] == [1, 2, 3]


@pytest.mark.parametrize("error", [Torn("t"), Undecided("u"), KeyboardInterrupt(), RuntimeError("a fault of ours")])
def test_where_something_may_have_been_written_nothing_is_answered_or_taken_until_it_is_read_back(
    bank: Bank, error: BaseException
) -> None:
    bank.log.error, bank.log.after_commit = error, True
    with pytest.raises(type(error)):
        bank.deposit("one")
    assert (bank.state, bank.answers) == (State.DOUBTFUL, [])
    assert not bank.owner.owns(0)
    partition = TopicPartition("account-commands", 0)
    bank.owner.revoked([partition])
    away = bank.state
    assert away is State.AWAY
    bank.owner.assigned([partition])
    assert bank.state is State.ACTIVE
    bank.deposit("two")
    (reply,) = bank.answers
    assert isinstance(reply, Reply)
    assert reply.version == 3, "the one that was written after all counts"


def test_commands_are_never_taken_twice_at_a_time(bank: Bank) -> None:
    bank.owner._known.begin([0])
    with pytest.raises(IllegalSignal, match="partition 0 of 'account' cannot take TAKEN while it is COMMITTING"):
        bank.owner._known.begin([0])
    with pytest.raises(IllegalSignal, match="partition 0 of 'account' cannot take REVOKED while it is COMMITTING"):
        bank.owner.revoked([TopicPartition("account-commands", 0)])
    bank.owner._known.undo([], [0])
