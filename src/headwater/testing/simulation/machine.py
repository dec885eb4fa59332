"""What a simulated machine offers: clocks, ids, its name, and a port that answers or not."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from headwater.environment import KeptTelemetry, Telemetry, Tracing, uuid7
from headwater.testing.clock import START
from headwater.testing.simulation.scheduler import Scheduler

START_NS = int(START.timestamp()) * 1_000_000_000
PID = 1


class SimulatedTime:
    """Stands for the module `time`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def monotonic(self) -> float:
        return self._scheduler.now_s

    perf_counter = monotonic

    def time_ns(self) -> int:
        return START_NS + int(self._scheduler.now_s * 1e9)

    def time(self) -> float:
        return self.time_ns() / 1e9

    def sleep(self, seconds: float) -> None:
        self._scheduler.sleep(seconds)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{time.__name__}.{name} has no double in the simulation")


class SimulatedEnvironment:
    """An `Environment` in virtual time, with ids that the seed draws."""

    def __init__(self, scheduler: Scheduler, clock: SimulatedTime) -> None:
        self._scheduler, self._clock = scheduler, clock
        self.telemetry: Telemetry = KeptTelemetry()
        self.tracing: Tracing | None = None

    def now(self) -> datetime:
        return datetime.fromtimestamp(START_NS // 1_000_000_000, UTC) + timedelta(seconds=self._scheduler.now_s)

    def monotonic_s(self) -> float:
        return self._scheduler.now_s

    def new_id(self) -> str:
        return uuid7(self._clock.time_ns() // 1_000_000, self._scheduler.random.randbytes(10))


class SimulatedUuid:
    """Stands for the module `uuid`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(bytes=self._scheduler.random.randbytes(16), version=4)

    def __getattr__(self, name: str) -> Any:
        return getattr(uuid, name)


class SimulatedOs:
    """Stands for the module `os`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def getpid(self) -> int:
        return PID

    def urandom(self, size: int) -> bytes:
        return self._scheduler.random.randbytes(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


class SimulatedSocket:
    """Stands for the module `socket`. Arguments: dead: whether nobody listens."""

    def __init__(self, scheduler: Scheduler, dead: Callable[[], bool]) -> None:
        self._scheduler, self._dead = scheduler, dead

    def gethostname(self) -> str:
        return self._scheduler.current.process.machine

    def create_connection(self, address: tuple[str, int], timeout_s: float) -> Opened:
        if self._dead():
            raise ConnectionRefusedError(111, "Connection refused")
        return Opened()


class Opened:
    def close(self) -> None:
        """Nothing is behind it."""
