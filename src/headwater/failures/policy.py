"""What a reader does at a record that it cannot apply.

    class Revenue(hw.Projection): ...                                       # dead letters, the default
    class Revenue(hw.Projection, on_failure=hw.dead_letter(held_records=100)): ...
    class Ledger(hw.Projection, on_failure=hw.stop()): ...                  # nothing may be skipped

What may pass by itself (a store or a log that is down) is no failure of a record: it is waited out, whatever the policy
(see `readers.loop`). A policy is about what will fail again: bytes that nobody can read, a bug in a handler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from headwater.errors import Misuse

HELD_RECORDS = 10_000
HELD_MB = 64

Answer = Literal["dead_letter", "stop"]
Newer = Literal["hold", "skip", "stop"]


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """Made by `dead_letter` and `stop`. Arguments: at_failure, at_newer: what happens; held_records, held_bytes: per
    partition."""

    at_failure: Answer
    at_newer: Newer
    held_records: int = HELD_RECORDS
    held_bytes: int = HELD_MB << 20

    @property
    def stops(self) -> bool:
        return self.at_failure == "stop"


def dead_letter(*, newer: Newer = "hold", held_records: int = HELD_RECORDS, held_mb: int = HELD_MB) -> FailurePolicy:
    """A record that fails becomes a dead letter. Later records of its key are held behind it, in order; all others go
    on.

    Arguments: newer: what happens at a record of a newer version than the code here knows, where processes of several
    versions run side by side: "hold": a dead letter as any other; "skip": a dead letter that holds nothing back, so
    later records of its key are applied without it; "stop" leaves its partition until newer code takes it;
    held_records, held_mb: how much may be set aside in one partition, dead letters included. At a limit the partition
    pauses and an alert says so.
    Raises: Misuse: a limit that lets nothing be set aside.
    """
    if held_records < 1 or held_mb < 1:
        raise Misuse("held_records and held_mb are at least 1; hw.stop() sets nothing aside")
    if newer not in get_args(Newer):
        raise Misuse(f'newer={newer!r}: write "hold", "skip" or "stop"')
    return FailurePolicy("dead_letter", newer, held_records, held_mb << 20)


def stop() -> FailurePolicy:
    """The reader stops at a record that fails, after what came before it: for what must not be skipped."""
    return FailurePolicy("stop", "stop")


DEFAULT = dead_letter()
