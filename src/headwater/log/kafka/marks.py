"""The text beside a committed position: who put it there.

A transaction leaves its transactional id (`producers`) with its number among its writer's, so that a position tells of
this very transaction, also where it moved nothing. Every other commit of ours leaves the mark. Tools that set positions
of their own, such as kafka-consumer-groups, leave no text.
"""

from __future__ import annotations

import re

MARK = "headwater"

_OF_A_TRANSACTION = re.compile(r".+-[0-9a-f]{12}-[ab](#[0-9]+)?")  # without a number: of a version before it had one


def mark_of(transactional_id: str, number: int) -> str:
    """That of a transaction."""
    return f"{transactional_id}#{number}"


def writer_of(text: str) -> str:
    """The transactional id in the mark of a transaction."""
    return text.partition("#")[0]


def is_ours(text: str) -> bool:
    """Whether headwater committed a position with this text."""
    return text == MARK or _OF_A_TRANSACTION.fullmatch(text) is not None
