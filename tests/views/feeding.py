"""A view that is fed batch by batch, without a group and its loop: the same file, transactions and failure policy."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headwater.environment import SYSTEM
from headwater.failures.held import HeldRecord, Shelves, tables_of
from headwater.failures.policy import DEFAULT, FailurePolicy
from headwater.log.port import Log, Record, TopicPartition
from headwater.projections.applying import Applying
from headwater.testing.conformance.log.waiting import settled_ends
from headwater.views import merging
from headwater.views.asking import answer
from headwater.views.file import MEMORY, ViewFile
from headwater.views.maintaining import ViewWork
from headwater.views.plan import View
from headwater.views.runner import model_of
from headwater.views.sinks import plan_sink, recording
from headwater.views.state import compile_view
from headwater.views.versions import show
from tests.views.orders import TOPIC
from tests.views.shopping import PARTITIONS as OF_SHOPPING

PARTITIONS = {TOPIC: 2, **OF_SHOPPING}
"""Of the topics that tests feed from."""


class Fed:
    """Arguments: view; path: of the file; on_failure: how much may be set aside."""

    def __init__(self, view: View, path: str | Path = MEMORY, on_failure: FailurePolicy = DEFAULT) -> None:
        self.view, runner = view, "test-view"
        compiled = compile_view(view, runner)
        self.file = ViewFile(str(path))
        self.sink = None if view.sink is None else plan_sink(view, runner, compiled)
        kept = compiled if self.sink is None else recording(compiled, self.sink)
        self.work = work = ViewWork(view, kept, self.file, runner)
        self.model = replace(model_of(view, runner, compiled), work=work, on_failure=on_failure)
        self.held = tables_of(runner).held
        self.file.open_tables(runner, [self.held], self.model.code)
        work.open(PARTITIONS)
        with self.file.writing() as connection:
            show(connection, view.name, compiled.rows)
        self.shelves = Shelves()
        apply = self.file.apply
        self.applying = Applying(
            self.model,
            lambda start, to, work: apply(runner, start, to, work),
            lambda start, to, work: apply(runner, start, to, work),
            self.held,
            self.shelves,
            SYSTEM,
        )

    @property
    def positions(self) -> dict[TopicPartition, int]:
        return self.file.positions(self.model.runner)

    def feed(self, records: Sequence[Record]) -> None:
        """Applies records that follow on those of before."""
        reached: dict[TopicPartition, int] = {}
        for one in records:
            reached[TopicPartition(one.topic, one.partition)] = one.offset + 1
        gather = self.model.prepare(records)
        self.model.prepare(records[::-1])  # as the loop prepares the next batch, before this one has its turn
        applied = self.applying.batch(self.positions, records, reached, gather())
        self.shelves.changed(applied.set_aside)

    def rows(self, sql: str | None = None) -> list[tuple[Any, ...]]:
        """What a question finds; None: all of the view."""
        with self.file.aside() as connection:
            return list(answer(connection, sql or f'SELECT * FROM "{self.view.name}"', (), 60.0))

    def late(self) -> int:
        """How many records have been left out of a window so far."""
        return sum((self.work.late() or {}).values())

    def dead(self) -> dict[str, str]:
        """Key -> why it is a dead letter, or that it waits behind one."""
        rows: list[HeldRecord] = self.file.rows(self.held)
        return {(row.key or b"").decode(): row.message if row.failed else "held" for row in rows}

    def close(self) -> None:
        self.file.close()


def records_of(log: Log, *topics: str) -> list[Record]:
    """All records of topics, partition by partition. Arguments: topics: their names; none: that of orders."""
    there = log.topics(topics or [TOPIC])
    partitions = [TopicPartition(name, p) for name in topics or [TOPIC] for p in range(there[name].partitions)]
    ends, found = log.ends(partitions), list[Record]()
    with closing(log.reader()) as reader:
        reader.assign(dict.fromkeys(partitions, 0))
        reached = dict.fromkeys(partitions, 0)
        while any(reached[tp] < ends[tp] for tp in partitions):
            batch = reader.read(100_000, 1.0)
            found += batch.records
            reached.update(batch.reached)
    return found


def wait_until_visible(log: Log, *topics: str) -> None:
    """Until all that was written to those of these topics that there are can be read: a commit may be seen later, in
    each partition at its time, than whoever has committed is told."""
    for topic in log.topics(topics):
        settled_ends(log, topic, 60)


def small_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tables are merged, too."""
    monkeypatch.setattr(merging, "MERGE_ROWS", 6)
