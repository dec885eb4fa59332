"""Reading on while a batch is worked on: the records with which the next batch begins, on a thread of their own.

Whoever works on ten thousand records waits for its store half of the time, or runs in C: meanwhile SQLite can read.
What lies below the end of a partition does not change, so what was read early is what would be read later. Where the
next question turns out to be another one, the answer is dropped.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from headwater.log.port import Record, TopicPartition

FULL = 1_000
"""Of so many records on, a batch is worked on for longer than it takes to begin with the next one."""


class Question(NamedTuple):
    """Arguments: slot: of the partition in the file; position, end: the records between them; limit: the most."""

    partition: TopicPartition
    slot: int
    position: int
    end: int
    limit: int


class Answer(NamedTuple):
    """Arguments: cut: there are more, and they were too large for the batch."""

    records: Sequence[Record]
    cut: bool


class Ahead:
    """One question that is answered before it is asked. Arguments: question; answer: reads; runs in another thread."""

    def __init__(self, question: Question, answer: Callable[[Question], Answer | None]) -> None:
        self._question, self._read = question, answer
        self._answer: Answer | None = None
        self._thread = threading.Thread(target=self._run, name="headwater-ahead", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until it is read."""
        self._thread.join()

    def answer_to(self, question: Question) -> tuple[Answer, int] | None:
        """What was read and up to which end; None: it was another question. It is given out once. After `wait`."""
        answer, self._answer = self._answer, None
        # Since it was read, the end may lie further away.
        same = self._question._replace(end=question.end) == question
        return (answer, self._question.end) if same and answer is not None and answer.records else None

    def _run(self) -> None:
        try:
            self._answer = self._read(self._question)
        except sqlite3.Error:
            return  # it is read when its turn comes, and its reader is told then
