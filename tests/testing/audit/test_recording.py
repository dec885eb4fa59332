"""What is written down of a call: never more than its answer says."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

import headwater as hw
from headwater.errors import NotYet, Unavailable
from headwater.log.memory import MemoryLog
from headwater.log.port import Aborted, Fenced, Undecided
from headwater.testing.audit import Journal, RecordedAsyncShop, RecordedShop, collect_topics
from headwater.testing.audit.history import Outcome, outcome_of
from headwater.testing.audit.journal import Asked
from tests.bank import Account, Deposit, Overdrawn
from tests.testing.audit.runs import ONE, TEN, app

NOT_YET = NotYet("m", {}, {}, lag_events=0, lag_counted=True, lag_s=None, runner="none", last_failure=None)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Overdrawn(balance=ONE), "rejected"),
        (hw.Conflict("account", "a", 1, 2), "conflict"),
        (hw.Failed("handler", "where", "why"), "failed"),
        (hw.Misuse("no"), "misuse"),
        *[(error, "unknown") for error in (hw.Unknown("id", 1), Unavailable("gone"), Undecided("perhaps"), NOT_YET)],
        *[(error, "unknown") for error in (Aborted("torn?"), Fenced("other"), KeyboardInterrupt(), OSError("disk"))],
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_an_error_says_of_its_command(error: BaseException, outcome: Outcome) -> None:
    assert outcome_of(error) == outcome


def test_a_command_under_way_is_unknown() -> None:
    journal = Journal()
    note = journal.begin(Asked("client", "account", "a", "one", "content"))
    assert [one.outcome for one in journal.history().commands] == ["unknown"]
    note.answer(hw.Conflict("account", "a", 1, 2))
    note.answer(hw.Unknown("one", 1))
    assert [(one.outcome, one.actual) for one in journal.history().commands] == [("conflict", 2)], (
        "the first end counts"
    )
    assert journal.unknown() == []


def test_calls_of_many_threads_are_all_there() -> None:
    journal = Journal()

    def work(name: int) -> None:
        for number in range(200):
            asked = Asked(str(name), "account", "a", f"{name} {number}", "content")
            journal.begin(asked).answer(hw.Misuse("no"))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    calls = journal.history().commands
    assert len({one.command_id for one in calls}) == len(calls) == 800
    assert all(one.started_s <= one.ended_s for one in calls)


def test_a_stream_that_is_left() -> None:
    log, journal = MemoryLog(), Journal()
    with app.run(log, only=["commands"]) as shop:
        client = RecordedShop(shop, app, journal, "client")
        stream = client.send_many([Deposit("a", ONE), Deposit("a", TEN)], in_flight=2)
        assert isinstance(next(stream), hw.Receipt)
        stream.close()  # type: ignore[attr-defined] # it is a generator
        first, *others = journal.history().commands
        assert (first.outcome, first.version) == ("accepted", 1)
        assert all(one.outcome == "unknown" for one in others)
        for one in others:
            client.outcome(Account, "a", one.command_id)


def test_a_stream_with_an_item_that_cannot_be_sent() -> None:
    log, journal = MemoryLog(), Journal()
    with app.run(log, only=["commands"]) as shop:
        client = RecordedShop(shop, app, journal, "client")
        with pytest.raises(hw.Misuse):
            list(client.send_many([Deposit("a", ONE), hw.Sending(Deposit("a", TEN), command_id="x" * 300)]))
    assert [one.outcome for one in journal.history().commands] == ["accepted", "misuse"]


def test_an_asynchronous_caller_that_is_cancelled() -> None:
    journal = Journal()

    class Never:
        async def send(self, command: hw.Command, **rest: object) -> hw.Receipt:
            await asyncio.Event().wait()
            raise AssertionError

    async def work() -> None:
        client = RecordedAsyncShop(Never(), app, journal, "client")  # type: ignore[arg-type] # all that is used of it
        sending = asyncio.create_task(client.send(Deposit("a", ONE)))
        await asyncio.wait([sending], timeout=0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    asyncio.run(work())
    assert [one.outcome for one in journal.history().commands] == ["unknown"]


def test_the_past_is_no_read_of_now() -> None:
    log, journal = MemoryLog(), Journal()
    with app.run(log, only=["commands"]) as shop:
        client = RecordedShop(shop, app, journal, "client")
        for _ in range(2):
            client.send(Deposit("a", ONE))
        assert client.get(Account, "a", at_version=1).version == 1
        assert client.find(Account, "nobody", known_at=datetime.now(UTC)) is None
    assert journal.history().reads == ()


def test_topics_that_are_not_there_are_left_out() -> None:
    assert collect_topics(MemoryLog(), ["account-events"], ["account-owners"]).partitions == ()
