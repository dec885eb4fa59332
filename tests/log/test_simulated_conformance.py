"""The model of Kafka keeps the port's contract through headwater's own log, as brokers do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from headwater.log.kafka import KafkaLog
from headwater.log.port import Log
from headwater.testing.conformance.log import LogConformance
from headwater.testing.conformance.log.waiting import MakeLog
from headwater.testing.simulation.simulation import Simulation


class TestSimulatedKafka(LogConformance):
    session_timeout_s: ClassVar[float] = 3.0
    # The assignor balances partitions without regard to their numbers.
    shares_by_index: ClassVar[bool] = False

    @pytest.fixture
    def make_log(self, tmp_path: Path) -> Iterator[MakeLog]:
        """Opens the log of the model again, as another process would."""
        simulation = Simulation(1)
        with simulation.running():
            opened: list[KafkaLog] = []

            def make() -> Log:
                opened.append(
                    KafkaLog(
                        "simulated:9092",
                        session_timeout_s=self.session_timeout_s,
                        poll_timeout_s=self.session_timeout_s,
                        index_directory=tmp_path / "keys",
                    )
                )
                return opened[-1]

            yield make
            for log in opened:
                log.close()
