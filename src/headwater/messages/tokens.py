"""Tokens: positions as text, the same in receipts, HTTP headers and command-line flags.

`1.` names the form; base64url of JSON follows, so that a token needs no quoting in a URL.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple

import msgspec

from headwater.errors import Misuse

FORM: Final = "1."


class Token(NamedTuple):
    """What a token says.

    Arguments: positions: next offset per (topic, partition); log_id: the log that the offsets are of.
    """

    positions: dict[tuple[str, int], int]
    log_id: str


class Content(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON inside: `at` is topic -> partition -> next offset."""

    log: str
    at: dict[str, dict[Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(ge=0)]]]


def encode_token(positions: Mapping[tuple[str, int], int], log_id: str) -> str:
    """The text of a position map; equal maps give equal texts.

    Arguments: positions: next offset per (topic, partition); log_id: the log that they are of.
    """
    at: dict[str, dict[int, int]] = {}
    for (topic, partition), offset in sorted(positions.items()):
        at.setdefault(topic, {})[partition] = offset
    return FORM + urlsafe_b64encode(msgspec.json.encode(Content(log_id, at))).decode().rstrip("=")


def decode_token(text: str) -> Token:
    """The positions in a token. Raises Misuse for a text that is none, or of a later form."""
    if not text.startswith(FORM):
        raise Misuse(f"{shown(text)} is no token: one begins with {FORM!r}; pass a receipt's token as it is")
    body = text[len(FORM) :]
    try:
        raw = b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        content = msgspec.json.decode(raw, type=Content)
    except (binascii.Error, ValueError, RecursionError) as reason:  # msgspec's errors are ValueErrors
        raise Misuse(f"{shown(text)} is a damaged token, or a part of one: pass it whole ({reason})") from None
    positions = {(topic, partition): offset for topic, at in content.at.items() for partition, offset in at.items()}
    return Token(positions, content.log)


def shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
