"""A log with an archive keeps the contract of logs, where it has nothing itself and all is read from the archive."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from headwater.environment import SYSTEM
from headwater.log.archive import ArchivedLog
from headwater.log.memory import MemoryLog
from headwater.log.port import Log, Member, Reader, Record, TopicPartition
from headwater.operations.archiving import archive_topic
from headwater.testing.conformance.log import LogConformance
from headwater.testing.conformance.log.waiting import MakeLog
from tests.archive.trail import archive_at


class AllInTheArchive(ArchivedLog):
    """Whenever somebody is about to read, what is visible is archived, and deleted from the log."""

    moving = threading.Lock()

    def _move(self) -> None:
        with self.moving:
            if any(group.members for group in self.live.groups()):
                return  # a member that is overtaken has to join again, which is for whoever reads it
            assert isinstance(self.live, MemoryLog)
            log = self.live.again()  # what is read here does not count
            for name, topic in log.topics().items():
                if not topic.compacted:
                    for done in archive_topic(log, self.archive, name, SYSTEM):
                        log.delete_before({TopicPartition(name, done.partition): done.end})

    def reader(self, **how: Any) -> Reader:
        self._move()
        return super().reader(**how)

    def member(self, group: str, topics: Sequence[str], **how: Any) -> Member:
        self._move()
        return super().member(group, topics, **how)

    def keyed(self, partition: TopicPartition, key: bytes) -> list[Record]:
        self._move()
        return super().keyed(partition, key)

    def positions_at(self, partitions: Sequence[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        self._move()
        return super().positions_at(partitions, timestamp_ms)


class TestWithEverythingInIt(LogConformance):
    session_timeout_s: ClassVar[float] = 0.6
    patience_s: ClassVar[float] = 60.0
    compacts_at_once: ClassVar[bool] = True

    @pytest.fixture
    def make_log(self, tmp_path: Path) -> Iterator[MakeLog]:
        with closing(MemoryLog(gaps=True, late=True, session_timeout_s=self.session_timeout_s)) as first:
            print("seed", first.seed)

            def make() -> Log:
                return AllInTheArchive(first.again(), archive_at(tmp_path / "archive"))

            yield make

    def test_what_is_deleted_is_gone_and_the_rest_stays(self, make_log: MakeLog) -> None:
        """Not here: what is deleted from the log stays in the archive."""
