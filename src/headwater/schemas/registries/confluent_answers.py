"""What a registry's REST interface says when it says no, in our words. The codes are those of Confluent's server, which
Karapace and Apicurio give too.

Incompatible is HTTP status 409; the code in the body was 409 until 2025 and is 40901 since, so the status counts.
"""

from __future__ import annotations

from typing import Final

from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.schemas.port import UnknownSchema
from headwater.schemas.registries.port import Incompatible

CONFLICT: Final = 409
NOT_PERMITTED: Final = 42205
UNKNOWN: Final = frozenset({40401, 40402, 40403, 40404, 40406})
"""Subject, version, schema; and a subject or version that was deleted, but not for good."""


class NoSuchRequest(Unavailable):
    """What answers does not know the request: an older registry, or none at all."""


def refusal(status: int, code: int, words: str, place: str, subject: str | None = None) -> HeadwaterError:
    """The error that an answer stands for.

    Arguments: status: of HTTP; code: in the body (0: it has none); words: the server's; place: the registry; subject:
    what was asked about.
    """
    about = f"{place}, {subject}" if subject else place
    if status == CONFLICT and subject:
        return Incompatible(subject, (), words)
    if status == 404 and code in UNKNOWN:
        return UnknownSchema(f"{about}: {words}")
    if status in (401, 403):
        return Unavailable(f"{place} does not accept the user, the password or the token: {words}")
    if code == NOT_PERMITTED:
        return Unavailable(f"{about}: registering is not permitted now, as the registry's mode says: {words}")
    if status == 422:
        return Misuse(f"{about}: {words}")
    if status == 404:
        return NoSuchRequest(f"{place} is no schema registry, or its address lacks a path: {words}")
    return Unavailable(f"{about}: {words or f'HTTP status {status}'}")
