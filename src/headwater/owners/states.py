"""The newest state record of each entity of a partition, as bytes: in memory, or in a checkpoint.

        topic -state ──take──► checkpoint ◄──get── owner
                                    ▲                │
                                   save ◄── kept ◄──keep

Whoever reads `-state` gives committed records in their order. The owner, who alone writes there once it has read all,
reads no more: it keeps what it has committed, says from where on more of it may be in the topic, and that goes into
the checkpoint now and then, the newest of each entity only. So the checkpoint holds nothing that was not committed,
and everything before its position.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from headwater.errors import BadData
from headwater.log.port import Record
from headwater.owners.checkpoint import Checkpoint, Marks
from headwater.owners.state_record import checked_covered

ROW_BYTES = 200
"""What a row in memory takes beside its bytes."""


class States(Protocol):
    """`position`: every committed state record before it is here; `marks`: what they say of their partition; `bad`:
    why nothing was taken from there on."""

    position: int
    marks: Marks
    bad: str | None

    def get(self, key: bytes) -> bytes | None:
        """The value of an entity's newest record; None: it has none. Raises: Unavailable: it cannot be read."""
        ...

    def get_all(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """As `get`, for many keys; without those that have none. Raises: Unavailable."""
        ...

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """All of them, as `get` gives them. Raises: Unavailable, also while they are gone through."""
        ...

    def keep(self, records: Mapping[bytes, bytes]) -> None:
        """Records that this owner committed, by entity key."""
        ...

    def kept_before(self, position: int, marks: Marks) -> None:
        """All that is before this position is here, and says so much of the partition: what this owner wrote there was
        kept."""
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

    def get_all(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        records = self.records
        return {key: records[key] for key in keys if key in records}

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        return self.records.items()

    def keep(self, records: Mapping[bytes, bytes]) -> None:
        self.records.update(records)

    def kept_before(self, position: int, marks: Marks) -> None: ...

    def take(self, records: Sequence[Record], position: int) -> None:
        if self.bad is None:
            rows, self.position, self.marks, self.bad = _read(records, position, self.marks)
            self.records.update(rows)


class StatesOnDisk:
    """A checkpoint, and in memory what is not in it yet. `save` may be called from another thread than the rest.
    `kept_bytes`: how much is in memory that is not saved.

    Of a small checkpoint the whole is in memory while its partition is owned (`hold`). A question to a file gives
    Python's lock away, and where other threads are at work it takes 5 ms to have it back: for a batch of 1,700 commands
    that was an eighth of its time.

    Arguments: checkpoint; small_bytes: up to so much it is small.
    """

    def __init__(self, checkpoint: Checkpoint, small_bytes: int) -> None:
        self._checkpoint, self._small_bytes = checkpoint, small_bytes
        self.position, self.marks, self.bad = checkpoint.position, checkpoint.marks, None
        self.kept_bytes = 0
        self._kept: dict[bytes, bytes] = {}
        self._saving: dict[bytes, bytes] = {}
        self._held: _Held | None = None
        self._lock = threading.Lock()

    bad: str | None

    def get(self, key: bytes) -> bytes | None:
        with self._lock:
            value = self._kept.get(key) or self._saving.get(key)
            if value is None and self._held is not None:
                return self._held.values.get(key)
        return self._checkpoint.get(key) if value is None else value

    def get_all(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        with self._lock:
            held = {} if self._held is None else self._held.values
            for key in keys:
                value = self._kept.get(key) or self._saving.get(key) or held.get(key)
                if value is not None:
                    found[key] = value
            if self._held is not None:
                return found
        # What is saved meanwhile is among those already.
        return self._checkpoint.get_all([key for key in keys if key not in found]) | found

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        with self._lock:
            kept = self._saving | self._kept
        yield from kept.items()
        yield from (pair for pair in self._checkpoint.items() if pair[0] not in kept)

    def keep(self, records: Mapping[bytes, bytes]) -> None:
        with self._lock:
            kept = self._kept
            before_bytes = sum(len(kept[key]) for key in records if key in kept)
            self.kept_bytes += sum(map(len, records.values())) - before_bytes
            kept.update(records)

    def kept_before(self, position: int, marks: Marks) -> None:
        with self._lock:
            self.position, self.marks = max(self.position, position), self.marks.with_(marks)

    def take(self, records: Sequence[Record], position: int) -> None:
        if self.bad is None:
            rows, position, marks, bad = _read(records, position, self.marks)
            self._checkpoint.take(rows, position, marks)
            self.position, self.marks, self.bad = position, marks, bad
            with self._lock:
                self._hold(rows)

    def save(self) -> None:
        """Puts what was kept into the checkpoint. Raises: Unavailable. Whatever is raised, it is kept on: the next one
        that is saved would say that all before it is there."""
        with self._lock:
            if not self._kept:
                return
            saving, position, marks = self._kept, self.position, self.marks
            self._kept, self._saving = {}, saving
        try:
            self._checkpoint.take(saving, position, marks)
        except BaseException:
            with self._lock:
                self._kept = saving | self._kept
                self._saving, self.kept_bytes = {}, _size(self._kept)
            raise
        with self._lock:
            self._hold(saving)
            self._saving, self.kept_bytes = {}, _size(self._kept)

    def hold(self) -> None:
        """Has the checkpoint in memory, if it is small. Raises: Unavailable: it cannot be read."""
        rows = self._checkpoint.all_within(self._small_bytes)
        with self._lock:
            self._held = None
            if rows is not None:
                self._held = _Held()
                self._hold(rows)

    def _hold(self, rows: Mapping[bytes, bytes]) -> None:
        """What was put into the checkpoint. The lock is held."""
        if self._held is not None:
            self._held.add(rows)
            if self._held.taken_bytes > self._small_bytes:
                self._held = None

    def forget(self) -> None:
        """What was kept and not saved: for a new owner, who reads it all."""
        with self._lock:
            self._kept, self._saving, self.kept_bytes = {}, {}, 0
            self.position, self.marks = self._checkpoint.position, self._checkpoint.marks

    def wipe(self, why: str) -> None:
        """Begins anew."""
        self._checkpoint.wipe(why)
        self._held = None
        self.forget()
        self.bad = None

    def close(self) -> None:
        self._checkpoint.close()


class _Held:
    """What a checkpoint holds. `taken_bytes`: how much memory that takes, about."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.taken_bytes = 0

    def add(self, rows: Mapping[bytes, bytes]) -> None:
        values, taken_bytes = self.values, self.taken_bytes
        for key, value in rows.items():
            before = values.get(key)
            taken_bytes += ROW_BYTES + len(key) + len(value) if before is None else len(value) - len(before)
            values[key] = value
        self.taken_bytes = taken_bytes


def _size(records: dict[bytes, bytes]) -> int:
    return sum(map(len, records.values()))


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
