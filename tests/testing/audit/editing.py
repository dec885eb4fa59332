"""Edits a run: each function gives the run back with one thing changed, and everything else as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from headwater.testing.audit.contents import Contents, KeptRecord
from headwater.testing.audit.history import CommandCall, QuestionCall, ReadCall
from tests.testing.audit.runs import Run

Change = Callable[[KeptRecord], KeptRecord | None]
"""A record as it is to be; None takes it away."""


def records(run: Run, topic: str, change: Change, *, key: str | None = None) -> Run:
    """Changes the records of a topic, or of one key in it. Read models and other readers follow the log."""
    contents = changed(run.contents, topic, change, key)
    scans = [changed(one, topic, change, key) for one in run.scans]
    return replace(run, contents=contents, scans=scans).refolded()


def changed(contents: Contents, topic: str, change: Change, key: str | None) -> Contents:
    partitions = []
    for partition in contents.partitions:
        if partition.topic == topic:
            wanted = [change(one) if key in (None, (one.key or b"").decode()) else one for one in partition.records]
            partition = replace(partition, records=tuple(one for one in wanted if one is not None))
        partitions.append(partition)
    return replace(contents, partitions=tuple(partitions))


def header(record: KeptRecord, name: str) -> str:
    return dict(record.headers).get(name, b"").decode()


def with_header(record: KeptRecord, name: str, value: str) -> KeptRecord:
    assert header(record, name) != value, "it would change nothing"
    return record._replace(headers=tuple((n, value.encode() if n == name else v) for n, v in record.headers))


def events_of(run: Run, key: str) -> list[KeptRecord]:
    return [one for one in run.contents.records("account-events") if one.key == key.encode()]


@dataclass
class At:
    """Changes only the event at this number, counted among those of its key from 1."""

    number: int
    change: Change

    def __post_init__(self) -> None:
        self._offsets: list[int] = []

    def __call__(self, record: KeptRecord) -> KeptRecord | None:
        if record.offset not in self._offsets:
            self._offsets.append(record.offset)
        return self.change(record) if self._offsets.index(record.offset) + 1 == self.number else record


def call(run: Run, command_id: str, *, repetition: bool = False, **fields: Any) -> Run:
    """Changes what was recorded of a command: its first call, or its second."""
    index = index_of(run, command_id, int(repetition))
    return with_commands(run, lambda calls: [replace(c, **fields) if i == index else c for i, c in enumerate(calls)])


def without_calls(run: Run, command_id: str) -> Run:
    index_of(run, command_id, 0)
    return with_commands(run, lambda calls: [one for one in calls if one.command_id != command_id])


def index_of(run: Run, command_id: str, number: int) -> int:
    return [index for index, one in enumerate(run.history.commands) if one.command_id == command_id][number]


def with_commands(run: Run, change: Callable[[list[CommandCall]], list[CommandCall]]) -> Run:
    return replace(run, history=replace(run.history, commands=tuple(change(list(run.history.commands)))))


def with_questions(run: Run, change: Callable[[list[QuestionCall]], list[QuestionCall]]) -> Run:
    return replace(run, history=replace(run.history, questions=tuple(change(list(run.history.questions)))))


def read(run: Run, wanted: Callable[[ReadCall], bool], **fields: Any) -> Run:
    """Changes the first read of that kind."""
    reads = list(run.history.reads)
    index = next(index for index, one in enumerate(reads) if wanted(one))
    reads[index] = replace(reads[index], **fields)
    return replace(run, history=replace(run.history, reads=tuple(reads)))
