"""Messages: what travels. Declarations, keys, the envelope, the JSON codec. Pure: no I/O."""

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
    CommandHeaders,
    CommandSource,
    Meta,
    Recorded,
    command_headers,
    event_headers,
    read_command_headers,
    read_meta,
)
from headwater.messages.info import MessageInfo
from headwater.messages.json_codec import JsonCodec
from headwater.messages.keys import Key, key_text
from headwater.messages.times import parse_time, time_text
from headwater.messages.unreadable import Unreadable

__all__ = [
    "Command",
    "CommandHeaders",
    "CommandSource",
    "Event",
    "JsonCodec",
    "Key",
    "Message",
    "MessageInfo",
    "Meta",
    "Recorded",
    "State",
    "Timeout",
    "Unreadable",
    "Value",
    "check",
    "command_headers",
    "event_headers",
    "family_of",
    "field",
    "key_of",
    "key_text",
    "members_of",
    "parse_time",
    "read_command_headers",
    "read_meta",
    "time_text",
]
