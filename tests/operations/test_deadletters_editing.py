"""Which values may take the place of a dead letter's own: of topics whose events the app knows, and of others."""

from __future__ import annotations

import pytest

from headwater.errors import Misuse
from headwater.failures.held import HeldRecord
from headwater.operations.deadletters_editing import refuse_unreadable
from headwater.schemas.topics import PLAIN
from tests.bank import AccountEvent

OWN = b'{"eventType":"Opened","eventVersion":1,"accountId":"1","owner":"ann"}'


def letter(topic: str, value: bytes | None, source: bytes | None = None) -> HeldRecord:
    headers = [] if source is None else [("hw_source", source)]
    return HeldRecord(topic, 0, 7, b"1", value, headers, 0, failed=True)


def may_be(row: HeldRecord, value: bytes) -> bool:
    try:
        refuse_unreadable(row, value, [AccountEvent], PLAIN)
    except Misuse:
        return False
    return True


@pytest.mark.parametrize("source", [None, b"billing|account-events|0;3;0"])
def test_an_event_of_the_topic_whoever_was_told_of_it(source: bytes | None) -> None:
    row = letter("account-events" if source is None else "billing-commands", OWN, source)
    assert may_be(row, OWN)
    assert may_be(row, b'{"accountId":"1","amount":"3","eventType":"Deposited"}'), "of another type"
    assert not may_be(row, b"")
    assert not may_be(row, OWN[:-1])
    assert not may_be(row, b'{"eventType":"Closed","accountId":"1"}')
    assert not may_be(row, b'{"eventType":"Opened","eventVersion":2,"accountId":"1","owner":"ann"}')


@pytest.mark.parametrize("source", [None, b"somebody else's", b"\xff"])
def test_of_a_topic_that_the_app_does_not_know_json_takes_the_place_of_json(source: bytes | None) -> None:
    assert may_be(letter("late-readings", b'{"a":1}', source), b'{"a":2}')
    assert not may_be(letter("late-readings", b'{"a":1}', source), b'{"a":2')
    assert not may_be(letter("late-readings", None, source), b'{"a":2')
    assert may_be(letter("late-readings", b"\x00avro", source), b"\x00better"), "nobody here can tell"


def test_a_revert_is_an_event_of_every_topic() -> None:
    assert may_be(letter("account-events", OWN), b'{"eventType":"hw.Reverted","state":{},"toVersion":1}')
