"""Ctrl-C in the thread that carries a batch out, at the worst moment: after the commit, before anybody knows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import headwater as hw
from headwater.log.port import Log, TopicPartition, Transaction, Writer
from headwater.messages.json_codec import JsonCodec
from headwater.owners.arriving import Arrived
from headwater.owners.replies import Reply
from headwater.testing.conformance.log.waiting import attempts
from tests.bank import Account, Deposit
from tests.logs import EMBEDDED, OpenAgain

app = hw.App("bank", aggregates=[Account], partitions=1)
ONE = Decimal(1)


class Interrupting:
    """A log whose writers are interrupted right after a commit, where the thread that committed is the one for which it
    is `armed`."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.armed: threading.Thread | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def writer(self, name: str) -> Writer:
        return _Interrupted(self, self._log.writer(name))


class _Interrupted:
    def __init__(self, log: Interrupting, writer: Writer) -> None:
        self._log, self._writer = log, writer

    def transact(
        self, fill: Callable[[Transaction], None], meanwhile: Callable[[], None] | None = None
    ) -> dict[TopicPartition, int]:
        firsts = self._writer.transact(fill, meanwhile)
        if self._log.armed is threading.current_thread():
            self._log.armed = None
            raise KeyboardInterrupt
        return firsts

    def close(self) -> None:
        self._writer.close()


@pytest.mark.parametrize("open_again", EMBEDDED, indirect=True)
def test_what_was_committed_counts_and_nothing_comes_twice(open_again: OpenAgain) -> None:
    log = Interrupting(open_again())
    with app.run(log, only=["commands"]) as bank:
        sent = 0
        for _ in range(3):
            bank.send(Deposit("a", ONE))
            sent += 1
            for _ in attempts(60, "the caller's own thread commits"):  # another one does where it finds the owner busy
                log.armed = threading.current_thread()
                sent += 1
                try:
                    bank.send(Deposit("a", ONE), command_id=f"command {sent}")
                except KeyboardInterrupt:
                    break
            assert bank.send(Deposit("a", ONE), command_id=f"command {sent}").duplicate
        assert [one.meta.version for one in bank.history(Account, "a")] == list(range(1, sent + 1))
        assert bank.get(Account, "a").balance == sent


@pytest.mark.parametrize("open_again", EMBEDDED, indirect=True)
def test_all_callers_of_the_batch_are_told_that_nothing_is_known(open_again: OpenAgain) -> None:
    log = Interrupting(open_again())
    running = app.run(log, only=["commands"])
    with running as bank:
        assert running.services is not None
        owner = running.services.owners["account"]
        answers: list[Reply | hw.HeadwaterError] = []
        value = JsonCodec([Deposit], type_field="commandType", version_field="commandVersion").encode(Deposit("a", ONE))
        batch = [Arrived(id, b"a", value, 0, answer=answers.append) for id in ("mine", "another's")]
        log.armed = threading.current_thread()
        with owner._door, pytest.raises(KeyboardInterrupt):
            owner._take(batch)
        assert [type(answer) for answer in answers] == [hw.Unknown, hw.Unknown]
        assert [bank.send(Deposit("a", ONE), command_id=one.id).duplicate for one in batch] == [True, True]
        assert bank.get(Account, "a").balance == 2
