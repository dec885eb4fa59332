"""The newest state record of each entity of a partition, as bytes: in memory, or in a checkpoint.

        topic -state ──take──► checkpoint ◄──get── owner
                                                     │
        what was committed and not taken yet ◄─keep──┘

Whoever reads `-state` gives committed records in their order; the owner keeps what it has just committed until it comes
back that way. So the checkpoint is a copy of what everybody can read, whatever became of an owner; and the owner,
which looks at what it kept first, never sees anything older than its own work.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from headwater.errors import BadData
from headwater.log.port import Record
from headwater.owners.checkpoint import Checkpoint, Marks
from headwater.owners.state_record import checked_covered

LOOKS = 1000
"""How many kept records are looked up in the checkpoint at a time, in case they came back before they were kept."""


class States(Protocol):
    """`position`: every committed state record before it is here; `marks`: what they say of their partition; `bad`:
    why nothing was taken from there on."""

    position: int
    marks: Marks
    bad: str | None

    def get(self, key: bytes) -> bytes | None:
        """The value of an entity's newest record; None: it has none. Raises: Unavailable: it cannot be read."""
        ...

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """All of them, as `get` gives them. Raises: Unavailable, also while they are gone through."""
        ...

    def keep(self, key: bytes, value: bytes) -> None:
        """A record that this owner committed."""
        ...

    def take(self, records: Sequence[Record], position: int) -> None:
        """The next committed records of the topic, up to a position; one that is no state record is where taking ends.
        Raises: Unavailable: nothing was taken."""
        ...


class StatesInMemory:
    """All of them, in memory: where the log is a file or memory itself."""

    def __init__(self) -> None:
        self.position, self.marks, self.bad = 0, Marks(), None
        self.records: dict[bytes, bytes] = {}

    bad: str | None

    def get(self, key: bytes) -> bytes | None:
        return self.records.get(key)

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        return self.records.items()

    def keep(self, key: bytes, value: bytes) -> None:
        self.records[key] = value

    def take(self, records: Sequence[Record], position: int) -> None:
        if self.bad is None:
            rows, self.position, self.marks, self.bad = _read(records, position, self.marks)
            self.records.update(rows)


class StatesOnDisk:
    """A checkpoint, and in memory what is not in it yet. `take` may be called from another thread than `get` and
    `keep`. `kept_bytes`: how much that is."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self.position, self.marks, self.bad = checkpoint.position, checkpoint.marks, None
        self.kept_bytes = 0
        self._kept: dict[bytes, bytes] = {}
        self._older: list[bytes] = []
        self._lock = threading.Lock()

    bad: str | None

    def get(self, key: bytes) -> bytes | None:
        value = self._kept.get(key)
        return self._checkpoint.get(key) if value is None else value

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        kept = dict(self._kept)
        yield from kept.items()
        yield from (pair for pair in self._checkpoint.items() if pair[0] not in kept)

    def keep(self, key: bytes, value: bytes) -> None:
        with self._lock:
            self.kept_bytes += len(value) - len(self._kept.get(key, b""))
            self._kept[key] = value

    def take(self, records: Sequence[Record], position: int) -> None:
        if self.bad is not None:
            return
        rows, position, marks, bad = _read(records, position, self.marks)
        self._checkpoint.take(rows, position, marks)
        self.position, self.marks, self.bad = position, marks, bad
        if self._kept:
            self._let_go(rows)
            # A record may come back before the owner, whose commit returns just then, keeps it.
            self._let_go({key: self._checkpoint.get(key) for key in self._older[:LOOKS] if key in self._kept})
        with self._lock:
            self._older = list(self._kept)

    def _let_go(self, there: Mapping[bytes, bytes | None]) -> None:
        """Of what was kept, that which is in the checkpoint just so."""
        kept = self._kept
        with self._lock:
            for key, value in there.items():
                if value is not None and kept.get(key) == value:
                    del kept[key]
                    self.kept_bytes -= len(value)

    def forget(self) -> None:
        """What was kept: for one who is the owner no longer."""
        with self._lock:
            self._kept, self._older, self.kept_bytes = {}, [], 0

    def wipe(self, why: str) -> None:
        """Begins anew."""
        self.forget()
        self._checkpoint.wipe(why)
        self.position, self.marks, self.bad = 0, Marks(), None

    def close(self) -> None:
        self._checkpoint.close()


def _read(records: Sequence[Record], position: int, before: Marks) -> tuple[dict[bytes, bytes], int, Marks, str | None]:
    """Keys and values, how far they reach, the marks after them, and why they reach no further."""
    rows: dict[bytes, bytes] = {}
    commands, folded, begun, schemas = before.commands, before.folded, before.begun, set(before.schemas)
    bad = None
    for record in records:
        try:
            covered = checked_covered(record)
        except BadData as error:
            position, bad = record.offset, str(error)  # what it hides may be needed
            break
        rows[record.key or b""] = record.value or b""
        commands = max(commands, covered.commands)
        folded = max(folded, covered.folded)
        begun = max(begun, covered.begun)
        schemas.add(covered.schema)
    return rows, position, Marks(commands, folded, begun, schemas), bad
