"""The log on Kafka keeps the port's contract, and what Kafka makes necessary beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from headwater.log.kafka import KafkaLog, reading
from headwater.log.port import Log
from headwater.testing.conformance.log import LogConformance
from headwater.testing.conformance.log.groups import GroupConformance
from headwater.testing.conformance.log.reading import ReadingConformance
from headwater.testing.conformance.log.waiting import MakeLog

pytestmark = pytest.mark.kafka


@pytest.fixture
def make_log(request: pytest.FixtureRequest, kafka_broker: str, tmp_path: Path) -> Iterator[MakeLog]:
    """Opens the broker's log again, as another process would."""
    opened: list[KafkaLog] = []

    def make() -> Log:
        opened.append(
            KafkaLog(
                kafka_broker.removeprefix("kafka://"),
                session_timeout_s=3,
                poll_timeout_s=3,
                index_directory=tmp_path / "keys",
                group_protocol=getattr(request.cls, "group_protocol", "classic"),
            )
        )
        return opened[-1]

    yield make
    for log in opened:
        log.close()


class TestKafkaLog(LogConformance):
    session_timeout_s: ClassVar[float] = 3.0
    # The assignors balance partitions without regard to their numbers.
    shares_by_index: ClassVar[bool] = False


class TestKafkaLogWithTheNewGroupProtocol(GroupConformance):
    session_timeout_s: ClassVar[float] = 3.0
    shares_by_index: ClassVar[bool] = False
    group_protocol: ClassVar[str] = "consumer"


class TestReadingFromKafkaInSmallParts(ReadingConformance):
    """What one call of the client gives is a part of what is read at once."""

    @pytest.fixture(autouse=True)
    def _in_small_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "_AT_ONCE", 2)
