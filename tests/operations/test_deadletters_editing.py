"""Which values may take the place of a dead letter's own: of topics whose events the app knows, and of others."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from headwater.errors import Misuse
from headwater.failures.held import HeldRecord
from headwater.operations.deadletters_editing import refuse_unfit
from headwater.schemas.topics import PLAIN
from tests.bank import AccountEvent

OWN = b'{"eventType":"Opened","eventVersion":1,"accountId":"1","owner":"ann"}'


def letter(topic: str, value: bytes | None, source: bytes | None = None, key: bytes | None = b"1") -> HeldRecord:
    headers = [] if source is None else [("hw_source", source)]
    return HeldRecord(topic, 0, 7, key, value, headers, 0, failed=True)


def told_to_a_process(value: bytes, account: bytes) -> HeldRecord:
    """Whose key is another than that of the event."""
    row = letter("billing-commands", value, b"billing|account-events|0;3;0", key=b"order-7")
    return replace(row, headers=[*row.headers, ("hw_key", account)])


def may_be(row: HeldRecord, value: bytes) -> bool:
    try:
        refuse_unfit(row, value, [AccountEvent], PLAIN)
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


def test_the_event_of_another_entity_is_refused_with_both() -> None:
    words = "the new value is an event of '2', and the dead letter is one of '1'; nothing was retried"
    other = OWN.replace(b'"1"', b'"2"')
    for row in (
        letter("account-events", OWN),
        letter("account-events", b"no JSON"),
        letter("account-events", None),
        told_to_a_process(OWN, b"1"),
    ):
        assert may_be(row, OWN.replace(b"ann", b"bob"))
        with pytest.raises(Misuse, match=words):
            refuse_unfit(row, other, [AccountEvent], PLAIN)


def test_a_key_of_others_that_is_no_entitys_id_leaves_it_to_the_value() -> None:
    other = OWN.replace(b'"1"', b'"2"')
    no_ids = (b'{"id":1}', b'"1"', b"\x00\x00\x00\x00\x01\x021", b"\xff")
    for key in (*no_ids, b"branch-3"):
        row = letter("account-events", OWN, key=key)
        assert may_be(row, OWN.replace(b"ann", b"bob"))
        assert not may_be(row, other), "it says that it is one of 1"
    for key in no_ids:
        assert may_be(letter("account-events", b"no JSON", key=key), other), "nobody here can tell"
    assert may_be(letter("account-events", OWN, key=None), other)


def test_a_value_that_spoke_of_another_entity_than_its_record_may_be_corrected() -> None:
    assert may_be(letter("account-events", OWN.replace(b'"1"', b'"2"')), OWN)
