"""What the floors share: plain msgspec structs in the wire format of headwater's records, ids, headers.

Nothing here or in the floors uses headwater. Floors write records with the same fields and the same headers as
the library, so both sides move the same bytes.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import msgspec

PARTITIONS = 8
SOURCE = b"bench"

Header = tuple[str, bytes]


class Deposit(msgspec.Struct, rename="camel", tag_field="commandType", tag="Deposit", frozen=True):
    account_id: str
    cents: int


class Withdraw(msgspec.Struct, rename="camel", tag_field="commandType", tag="Withdraw", frozen=True):
    account_id: str
    cents: int


class Deposited(msgspec.Struct, rename="camel", tag_field="eventType", tag="Deposited", frozen=True):
    event_version: int
    account_id: str
    cents: int
    timestamp: str


class Withdrawn(msgspec.Struct, rename="camel", tag_field="eventType", tag="Withdrawn", frozen=True):
    event_version: int
    account_id: str
    cents: int
    timestamp: str


class Account:
    """The state of an account in the owner's dict: the fold, and which events it covers."""

    __slots__ = ("cents", "id", "next_event", "version")

    def __init__(self, account_id: str) -> None:
        self.id, self.version, self.cents, self.next_event = account_id, 0, 0, 0


class AccountState(msgspec.Struct):
    """A record of the state topic."""

    id: str
    version: int
    cents: int
    events: int
    commands: int


class Reply(msgspec.Struct, rename="camel", omit_defaults=True):
    """A record of the replies topic."""

    command_id: str
    outcome: str
    entity: str
    id: str
    version: int
    events: int = 0
    partition: int = 0
    next_offset: int = 0
    body: msgspec.Raw = msgspec.Raw()


decode_command = msgspec.json.Decoder(Deposit | Withdraw).decode
decode_event = msgspec.json.Decoder(Deposited | Withdrawn).decode
decode_reply = msgspec.json.Decoder(Reply).decode
encode = msgspec.json.Encoder().encode

# A UUID's variant digit, by any hexadecimal digit: the upper two bits are 10.
_VARIANT = dict(zip("0123456789abcdef", "89ab89ab89ab89ab", strict=True))


class Ids:
    """UUIDv7 texts; randomness is drawn for many at once. Not thread-safe."""

    def __init__(self) -> None:
        self._random, self._at = "", 0

    def new(self) -> str:
        at = self._at
        if at >= len(self._random):
            self._random, at = os.urandom(10 * 1024).hex(), 0
        self._at = at + 20
        r = self._random
        ms = f"{time.time_ns() // 1_000_000:012x}"
        return f"{ms[:8]}-{ms[8:]}-7{r[at : at + 3]}-{_VARIANT[r[at + 3]]}{r[at + 4 : at + 7]}-{r[at + 7 : at + 19]}"


def now_text() -> str:
    """The time as it stands in records: RFC 3339 in UTC, with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_VERSION: Header = ("ce_specversion", b"1.0")
_SOURCE: Header = ("ce_source", SOURCE)
_JSON: Header = ("content-type", b"application/json")
_TYPES: dict[type, Header] = {
    kind: ("ce_type", kind.__name__.encode()) for kind in (Deposit, Withdraw, Deposited, Withdrawn)
}


def command_headers(command_id: bytes, kind: type, subject: bytes, client: Header) -> list[Header]:
    return [_VERSION, ("ce_id", command_id), _SOURCE, _TYPES[kind], ("ce_subject", subject), _JSON, client]


def event_headers(
    event_id: str, kind: type, time: bytes, subject: bytes, version: int, command_id: bytes, transaction: Header
) -> list[Header]:
    return [
        _VERSION,
        ("ce_id", event_id.encode()),
        _SOURCE,
        _TYPES[kind],
        ("ce_time", time),
        ("ce_subject", subject),
        _JSON,
        ("ce_entityversion", b"%d" % version),
        ("ce_causationid", command_id),
        ("ce_correlationid", command_id),
        ("ce_commandid", command_id),
        ("hw_recorded", time),
        ("hw_commit", b"%b;0;1" % command_id),
        transaction,
    ]


class _Refusal(msgspec.Struct):
    rejected: str
    text: str
    fields: dict[str, int]


def refusal(cents: int) -> msgspec.Raw:
    """The body of the answer to a withdrawal that is not covered."""
    return msgspec.Raw(encode(_Refusal("Overdrawn", f"The account has only {cents} cents.", {"cents": cents})))


def command(account_id: str, cents: int) -> Deposit | Withdraw:
    """The command of an order: negative cents withdraw."""
    return Withdraw(account_id, -cents) if cents < 0 else Deposit(account_id, cents)
