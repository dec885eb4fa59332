"""Envelopes are opened ahead of their batch, and each record is opened once, whatever its list has become by then."""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

import pytest

from headwater.errors import BadData
from headwater.log.port import Headers, Record, StoredRecord
from headwater.messages.envelope import first_command_headers
from headwater.owners import accepting, arriving
from headwater.owners.accepting import Opening
from headwater.owners.arriving import Arrived


def command(offset: int) -> Record:
    headers: Headers = first_command_headers(f"id-{offset}", "test", "Deposit", b"a")
    return StoredRecord("account-commands", 0, offset, b"a", b"{}", headers, 0)


def offsets(opened: Sequence[Arrived | BadData]) -> list[int]:
    return [one.offset for one in opened]


@pytest.mark.parametrize("later", [0, 3])
def test_a_list_that_was_opened_ahead_is_not_opened_again(later: int) -> None:
    opening, records = Opening(), [command(offset) for offset in range(5)]
    opening.ahead(records)
    records += [command(offset) for offset in range(5, 5 + later)]
    with mock.patch.object(accepting, "from_record", wraps=arriving.from_record) as opens:
        assert offsets(opening.all_of(records)) == list(range(5 + later))
        assert opens.call_count == later
        assert offsets(opening.all_of(records)) == list(range(5 + later)), "and it is given once: it may be changed"
        assert opens.call_count == later + 5 + later


def test_another_list_is_opened_anew() -> None:
    opening, records = Opening(), [command(offset) for offset in range(5)]
    opening.ahead(records)
    assert offsets(opening.all_of([command(7), command(8)])) == [7, 8]
    assert offsets(opening.all_of(records)) == list(range(5))


def test_what_cannot_be_opened_is_told_in_its_place() -> None:
    opening = Opening()
    foreign = StoredRecord("account-commands", 0, 1, b"a", b"{}", (), 0)
    records = [command(0), foreign, command(2)]
    opening.ahead(records)
    first, bad, last = opening.all_of(records)
    assert isinstance(first, Arrived)
    assert isinstance(last, Arrived)
    assert isinstance(bad, BadData)
    assert (bad.topic, bad.partition, bad.offset) == ("account-commands", 0, 1)
