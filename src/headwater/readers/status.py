"""What a reader says of itself while it works: the loop writes it, anybody may read it at any time."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from headwater.log.port import Positions, Record, TopicPartition

State = Literal["starting", "running", "retrying", "failed", "stopped"]

Step = Literal[
    "starts", "joins its group", "is given partitions", "reads", "is at a batch", "is between batches", "pauses"
]
"""What a loop is at, in words that follow its name."""


class Done(NamedTuple):
    """A batch that is committed. Arguments: reached; records: how many; newest: the last one; took_s: seconds."""

    reached: Positions
    records: int
    newest: Record | None
    took_s: float


@dataclass(slots=True)
class Status:
    """What a reader is doing, for whoever asks why something is late. Written by the loop, read by anybody.

    `stopped` has the partitions that the handler left while it goes on with the others, and why (see `BatchHandler`);
    `paused` has those of them which an alert of its own tells already (see `setting_aside`).
    `reached` has where it stands in what it owns, or owned last. `failed_at` is the last failure without words of data
    or users' code. `step` is what it is at, and `step_s` since when (on the clock of `monotonic_s`). `failures`,
    `batches`, `records` and `busy_s` count what there was so far, and `rounds` those that came to their end; `newest`
    is the last record that was handled. `thread` is the one that it runs on; None: it was not started, or somebody else
    takes its turns.
    """

    name: str
    state: State = "starting"
    last_failure: str | None = None
    failed_at: str | None = None
    owned: frozenset[TopicPartition] = frozenset()
    reached: dict[TopicPartition, int] = field(default_factory=dict)
    stopped: dict[int, str] = field(default_factory=dict)
    paused: frozenset[int] = frozenset()
    step: Step = "starts"
    step_s: float = 0.0
    failures: int = 0
    rounds: int = 0
    batches: int = 0
    records: int = 0
    busy_s: float = 0.0
    newest: Record | None = None
    thread: threading.Thread | None = None

    def add(self, done: Done) -> None:
        """Counts a batch."""
        self.reached.update(done.reached)
        self.batches += 1
        self.records += done.records
        self.newest = done.newest or self.newest
        self.busy_s += done.took_s

    @property
    def alive(self) -> bool:
        if self.thread is not None and not self.thread.is_alive():
            return False
        return self.state in ("starting", "running", "retrying")
