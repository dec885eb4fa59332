"""What an answer says of how far a reader must have come, where several commands of an entity are one transaction."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.messages.builtin import Get
from headwater.messages.declare import Command
from headwater.messages.json_codec import JsonCodec
from headwater.owners.arriving import Arrived
from headwater.owners.replies import Reply
from tests.bank import Account, Deposit, Rename, Withdraw

app = hw.App("bank", aggregates=[Account], partitions=1)
TEN = Decimal(10)


def arrived(id: str, command: Command, answer: Callable[[Reply | hw.HeadwaterError], None]) -> Arrived:
    codec = JsonCodec([type(command)], type_field="commandType", version_field="commandVersion")
    return Arrived(id, b"a", codec.encode(command, None), 0, answer=answer)


@pytest.mark.parametrize(
    ("id", "command"),
    [
        pytest.param("deposit", Deposit("a", TEN), id="the same again"),
        pytest.param("rename", Rename("a", "ann"), id="accepted, nothing happened"),
        pytest.param("withdraw", Withdraw("a", 2 * TEN), id="refused"),
        pytest.param("get", Get(), id="a question"),
    ],
)
def test_it_includes_the_events_before_it_in_the_same_transaction(id: str, command: Command) -> None:
    running = app.run(MemoryLog(gaps=True), only=["commands"])
    with running:
        assert running.services is not None
        owner = running.services.owners["account"]
        answers: list[Reply | hw.HeadwaterError] = []
        with owner._door:
            owner._take([arrived("deposit", Deposit("a", TEN), answers.append), arrived(id, command, answers.append)])
        first, second = answers
        assert isinstance(first, Reply)
        assert isinstance(second, Reply)
        assert second.version == first.version == 1
        assert second.next_offset == first.next_offset > 0
