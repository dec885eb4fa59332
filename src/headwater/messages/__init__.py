"""Messages: what travels. Declarations, keys, the envelope, the JSON codec. Pure: no I/O."""

from headwater.messages.builtin import Append, Dropped, Get, RawJson, Reverted
from headwater.messages.declare import (
    Command,
    Event,
    Message,
    State,
    Timeout,
    Value,
    check,
    family_of,
    field,
    key_of,
    members_of,
)
from headwater.messages.envelope import (
    Meta,
    Recorded,
    command_headers,
    event_headers,
    read_meta,
)
from headwater.messages.info import MessageInfo
from headwater.messages.json_codec import JsonCodec
from headwater.messages.keys import Key, key_text
from headwater.messages.rejection import Rejected, rejection_from_wire, rejection_to_wire
from headwater.messages.times import parse_time, time_text
from headwater.messages.tokens import Token, decode_token, encode_token
from headwater.messages.unreadable import Unreadable

__all__ = [
    "Append",
    "Command",
    "Dropped",
    "Event",
    "Get",
    "JsonCodec",
    "Key",
    "Message",
    "MessageInfo",
    "Meta",
    "Recorded",
    "RawJson",
    "Rejected",
    "Reverted",
    "State",
    "Timeout",
    "Token",
    "Unreadable",
    "Value",
    "check",
    "command_headers",
    "decode_token",
    "encode_token",
    "event_headers",
    "family_of",
    "field",
    "key_of",
    "key_text",
    "members_of",
    "parse_time",
    "read_meta",
    "rejection_from_wire",
    "rejection_to_wire",
    "time_text",
]
