"""A rolling deployment on Kafka: two processes of old code are replaced by newer code, one after the other, while
commands come all the time. The newer code has one more command, event and field of the state."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

import headwater as hw
from headwater.log.opening import open_log
from headwater.log.port import Log
from headwater.testing import PrefixedLog, eventually
from headwater.testing.audit import Journal, RecordedShop, audit, collect, report, state_folds
from headwater.testing.conformance.log.waiting import fresh
from headwater.testing.places import forget_on_kafka
from tests.logs import owned_by
from tests.owners.rolling.new import Add, Counter, Reset, app

ROOT = Path(__file__).resolve().parents[2]
RATE, COUNTERS = 500, 100
LONGEST_GAP_S = 15.0
"""A partition that moves waits for the group to agree twice, and for its new owner to read it back: 2.3 to 4.8 s were
measured, on a machine with several times more to do than it can."""


class Deployment:
    """The processes. Arguments: url, prefix: of the log; log: the same; program: what they run."""

    def __init__(
        self, url: str, prefix: str, log: Log, opened: ExitStack, program: str = "tests.owners.rolling.run"
    ) -> None:
        self._url, self._prefix, self._log, self._opened, self._program = url, prefix, log, opened, program

    def start(self, version: str) -> subprocess.Popen[str]:
        """Starts a process and waits until it runs. Returns it; its first line is read."""
        process = subprocess.Popen(
            [sys.executable, "-m", self._program, version, self._url, self._prefix],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._opened.enter_context(ended(process))
        return process

    def started(self, version: str) -> subprocess.Popen[str]:
        process = self.start(version)
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        return process

    def replace(self, process: subprocess.Popen[str], version: str = "new") -> subprocess.Popen[str]:
        """Starts newer code beside it, waits until that has its share, and ends the older process."""
        before = len(owned_by(self._log, "counter-owners"))
        newer = self.started(version)
        eventually(lambda: len(owned_by(self._log, "counter-owners")) == before + 1)
        eventually(lambda: all(owned_by(self._log, "counter-owners")))
        stop(process)
        eventually(lambda: len(owned_by(self._log, "counter-owners")) == before)
        return newer


def stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        assert process.wait(60) == 0
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)  # it tells where its threads are
        raise


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(60)


class Load:
    """Commands at a steady rate from a thread of its own. Arguments: shop; command: the one of a number; rate: per
    second. `answered_s`: when answers came."""

    def __init__(self, shop: RecordedShop | hw.Shop, command: Callable[[int], hw.Command], rate: int = RATE) -> None:
        self._shop, self._command, self._rate, self._enough = shop, command, rate, threading.Event()
        self.answered_s: list[float] = []
        self.wrong: list[object] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for outcome in self._shop.send_many(self._commands(), in_flight=20_000, timeout_s=30):
            self.answered_s.append(time.monotonic())
            if not isinstance(outcome, hw.Receipt):
                self.wrong.append(outcome)

    def _commands(self) -> Iterator[hw.Command]:
        begun_s = time.monotonic()
        number = 0
        while not self._enough.wait(max(0.0, begun_s + number / self._rate - time.monotonic())):
            yield self._command(number)
            number += 1

    def end(self) -> None:
        self._enough.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    @property
    def longest_gap_s(self) -> float:
        return max(later - one for one, later in zip(self.answered_s, self.answered_s[1:], strict=False))


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(240)
def test_nothing_is_refused_or_lost_while_the_code_is_replaced(kafka_broker: str, tmp_path: Path) -> None:
    prefix, journal = fresh("") + "-", Journal()
    url = f"{kafka_broker}?index_directory={tmp_path / 'index'}"
    with ExitStack() as opened:
        opened.callback(forget_on_kafka, kafka_broker, prefix)
        log = PrefixedLog(opened.enter_context(closing(open_log(url))), prefix)
        deployment = Deployment(url, prefix, log, opened)
        old = [deployment.started("old"), deployment.started("old")]
        client = RecordedShop(opened.enter_context(app.connect(log)), app, journal, "client")
        load = Load(client, lambda number: Add(f"c{number % COUNTERS}", 1))
        eventually(lambda: len(load.answered_s) > RATE)

        new = [deployment.replace(old[0])]
        early = list(client.send_many(Reset(f"c{number}") for number in range(COUNTERS)))
        new.append(deployment.replace(old[1]))
        for outcome in client.send_many(Reset(f"c{number}") for number in range(COUNTERS)):
            assert isinstance(outcome, hw.Receipt), outcome

        late = deployment.start("old")
        assert late.stdout is not None
        assert late.stdout.readline().startswith("unavailable: ")
        assert late.wait(60) == 0
        assert len(owned_by(log, "counter-owners")) == 2

        load.end()
        assert load.wrong == []
        of_old = [str(outcome) for outcome in early if not isinstance(outcome, hw.Receipt)]
        assert 0 < len(of_old) < COUNTERS, "some counters had owners of either code"
        assert all("knows the command Reset" in text for text in of_old)
        for asked in journal.unknown():
            assert client.outcome(Counter, asked.id, asked.command_id) is None
        for number in range(10):
            assert client.get(Counter, f"c{number}").largest > 0
        for process in new:
            stop(process)
        found = audit(journal.history(), collect(log, app), states=state_folds(app))
        assert not found, report(found)
    seconds = load.answered_s[-1] - load.answered_s[0]
    print(f"{len(load.answered_s)} commands in {seconds:.1f} s, longest gap {load.longest_gap_s:.2f} s")
    assert load.longest_gap_s < LONGEST_GAP_S
