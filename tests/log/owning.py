"""A member that owns a topic, for tests of what it reads."""

from __future__ import annotations

from headwater.log.port import Log, Member
from headwater.testing.conformance.log.waiting import attempts, fresh


def owner_of(log: Log, topic: str, *, lean: bool = False) -> Member:
    """The only member of a group, once it owns the whole topic."""
    member = log.member(fresh("group"), [topic], name="reader", lean=lean)
    for _ in attempts(60, "it owns the topic"):
        if member.read(1, 0.1).assigned:
            return member
    raise AssertionError  # `attempts` has said so
