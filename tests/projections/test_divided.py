"""Processes of one group that keep a read model in different stores: each tells it. Those with one store do not."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

import headwater as hw
from headwater.app import Running
from headwater.environment import KeptTelemetry, System
from headwater.log.memory import MemoryLog
from headwater.log.port import GroupDescription, Log, TopicPartition
from headwater.projections import divided
from headwater.projections.divided import ALERT, Divided, elsewhere
from headwater.stores.port import RunnerNote
from headwater.testing.waiting import eventually
from tests.bank import Account

APP = hw.App("bank", aggregates=[Account], partitions=4)
HERE, CLOCK = socket.gethostname(), System()
ALL = [TopicPartition("order-events", p) for p in range(4)]
GONE = 1 << 22
"""No process has this number: Linux gives less."""


def group(**members: Sequence[int]) -> GroupDescription:
    return GroupDescription("g", {name: [ALL[p] for p in owned] for name, owned in members.items()}, {})


def note(*partitions: int, silent_s: float = 0.0, host: str = HERE, pid: int = os.getpid()) -> RunnerNote:
    heartbeat = CLOCK.now() - timedelta(seconds=silent_s)
    return RunnerNote(f"{host}/{pid}/x", "running", None, heartbeat, frozenset(ALL[p] for p in partitions))


def test_what_is_read_and_noted_by_nobody_here_is_kept_elsewhere() -> None:
    both = group(a=[0, 1], b=[2, 3])
    assert elsewhere(both, [note(0, 1), note(2, 3)], CLOCK) == {}, "they share the store"
    assert elsewhere(both, [note(0, 1)], CLOCK) == {"b": ALL[2:]}
    assert elsewhere(both, [], CLOCK) == {"a": ALL[:2], "b": ALL[2:]}
    assert elsewhere(group(a=[], b=[]), [], CLOCK) == {}, "they read nothing"
    assert elsewhere(both, [note(0, 1), note(2, 3, pid=GONE)], CLOCK) == {"b": ALL[2:]}, "who noted that is gone"


@pytest.mark.parametrize("host", [HERE, "elsewhere"])
def test_a_silent_worker_may_be_the_one_that_was_given_them(host: str) -> None:
    assert elsewhere(group(a=[0, 1], b=[2, 3]), [note(0, 1), note(2, silent_s=20, host=host)], CLOCK) == {}


@pytest.fixture
def log() -> Log:
    return MemoryLog()


class Clock(System):
    """Moved by hand."""

    s = 0.0

    def monotonic_s(self) -> float:
        return self.s


def of(log: Log, running: Running, environment: System = CLOCK) -> Divided:
    models = running.models
    assert models is not None
    return Divided(log, models.store, models.models, environment)


def test_it_is_told_when_it_lasts_and_is_over_when_one_is_left(log: Log) -> None:
    telemetry = KeptTelemetry()
    clock = Clock(telemetry)
    with (first := APP.run(log, store="memory://")):
        watch = of(log, first, clock)
        with (second := APP.run(log, store="memory://")):
            eventually(lambda: watch.found() and of(log, second).found(), saying="each has its share")
            watch.look()
            assert telemetry.alerts == {}, "the other may be about to say so"
            clock.s = divided.LASTS_S
            watch.look()
            [alert] = telemetry.alerts.values()
            assert "another store, so that none has all rows. Start all processes of the app with one" in alert.text
        eventually(lambda: not watch.found(), saying="the first has all again")
        watch.look()
        assert telemetry.alerts == {}


def test_processes_with_one_store_are_never_divided_for_long(log: Log, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/models.db"
    with (first := APP.run(log, store=store)), (second := APP.run(log, store=store)):
        eventually(lambda: all(shared(log)), saying="each has its share")
        eventually(lambda: not of(log, first).found() and not of(log, second).found())


def test_a_process_looks_for_it_by_itself(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divided, "LOOK_S", 0.01)
    monkeypatch.setattr(divided, "LASTS_S", 0.0)
    telemetry = KeptTelemetry()
    with APP.run(log, store="memory://", environment=System(telemetry)), APP.run(log, store="memory://"):
        eventually(lambda: [name for name, _ in telemetry.alerts] == [ALERT])
    assert telemetry.alerts == {}, "what was told of a process is over with it"


def shared(log: Log) -> list[int]:
    """How many partitions each member of the read model's group has; none, while there is one member."""
    [group] = log.groups(["bank-account-table"])
    counts = [len(owned) for owned in group.members.values()]
    return counts if len(counts) == 2 else [0]
