"""The log in an SQLite file keeps the contract, each handle being a process of its own as far as it can tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from headwater.log.sqlite import SqliteLog
from headwater.testing.conformance.log import LogConformance
from headwater.testing.conformance.log.waiting import MakeLog


class TestSqlite(LogConformance):
    session_timeout_s: ClassVar[float] = 0.6
    patience_s: ClassVar[float] = 60.0
    compacts_at_once: ClassVar[bool] = True

    @pytest.fixture
    def make_log(self, tmp_path: Path) -> Iterator[MakeLog]:
        handles: list[SqliteLog] = []

        def make() -> SqliteLog:
            handles.append(SqliteLog(tmp_path / "log.db", session_timeout_s=self.session_timeout_s))
            return handles[-1]

        yield make
        for handle in handles:
            handle.close()
