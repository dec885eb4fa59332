"""What runs in a simulated run: processes that own accounts and keep read models, and clients that send commands."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.app import App
from headwater.client.receipts import Sending
from headwater.errors import HeadwaterError, Unavailable
from headwater.log.kafka import KafkaLog
from headwater.messages.declare import Command, key_of
from headwater.readers.loop import Status
from headwater.services import Part
from headwater.testing.audit import Journal, RecordedShop
from headwater.testing.simulation.bank import ACCOUNTS, Account, Draw, Pay, app
from headwater.testing.simulation.scheduler import Process
from headwater.testing.simulation.simulation import Simulation
from headwater.testing.simulation.threads import Event

STORE = "memory://"
LIMITS: dict[str, Any] = {
    "connect_timeout_s": 1.0,
    "answer_timeout_s": 1.0,
    "session_timeout_s": 1.0,
    "poll_timeout_s": 2.0,
    "transaction_timeout_s": 1.5,
}
PATIENCE_S = 2.0


@contextmanager
def opened(simulation: Simulation, directory: Path, name: str) -> Iterator[KafkaLog]:
    log = KafkaLog("simulated:9092", index_directory=directory / name, **LIMITS)
    try:
        yield log
    finally:
        log.close()


class Server:
    """A process that owns and projects, until it is asked to leave or dies.

    Arguments: app: its code.
    `statuses`: of its readers; `ready`: whether it has been at work; `left`: whether it has ended in order.
    """

    def __init__(self, simulation: Simulation, directory: Path, name: str, parts: Sequence[Part], app: App) -> None:
        self._simulation, self._directory, self.name, self._parts = simulation, directory, name, parts
        self.app = app
        self._leave = Event(simulation.scheduler)
        self.statuses: list[Status] = []
        self.ready = self.left = False
        self.process: Process = simulation.start(name, self._serve)

    @property
    def leaving(self) -> bool:
        return self._leave.is_set()

    def leave(self) -> None:
        """Has it end in order."""
        self._simulation.scheduler.note("is asked to leave", self.process)
        self._leave.set()

    def _serve(self) -> None:
        while not self._leave.is_set():
            try:
                self._run()
            except Unavailable as error:
                self._simulation.scheduler.note(f"begins anew: {error}")
                self._simulation.scheduler.sleep(0.2)
        self.left = True

    def _run(self) -> None:
        with opened(self._simulation, self._directory, self.name) as log:
            environment = self._simulation.environment()
            running = self.app.run(log, only=self._parts, store=STORE, environment=environment)
            with running:
                assert running.services is not None
                self.statuses, self.ready = running.services.statuses, True
                self._leave.wait()


class Sender:
    """A client: sends commands one after the other, each perhaps again, and reads now and then."""

    def __init__(self, simulation: Simulation, directory: Path, journal: Journal, name: str, commands: int) -> None:
        self._simulation, self._directory, self._journal, self.name = simulation, directory, journal, name
        self._chance, self._commands = simulation.scheduler.random, commands
        self._sent: list[Sending] = []
        self.done = False
        self.process = simulation.start(name, self._work)

    def _work(self) -> None:
        while not self.done:
            try:
                with (
                    opened(self._simulation, self._directory, self.name) as log,
                    app.connect(log, store=STORE, environment=self._simulation.environment()) as shop,
                ):
                    self._send_all(RecordedShop(shop, app, self._journal, self.name))
            except Unavailable:
                self._simulation.scheduler.sleep(0.1)

    def _send_all(self, recorded: RecordedShop) -> None:
        chance, number = self._chance, 0
        while number < self._commands:
            count = 1 if chance.random() < 0.6 else 2 + chance.randrange(3)
            some = [self._sending(number + n) for n in range(count)]
            number += count
            try:
                if count == 1:
                    self._send(recorded, some[0])
                else:
                    deque(recorded.send_many(some, timeout_s=PATIENCE_S), maxlen=0)
            except HeadwaterError as error:
                self._simulation.scheduler.note(f"is told: {type(error).__name__}: {error}")
            if chance.random() < 0.5:
                self._simulation.scheduler.sleep(chance.random() * self._simulation.faults.mix.idle_s)
        self.done = True

    def _send(self, recorded: RecordedShop, one: Sending) -> None:
        id, expected, account = one.command_id, one.expected_version, key_of(one.command)
        recorded.send(one.command, command_id=id, expected_version=expected, timeout_s=PATIENCE_S)
        if self._chance.random() < 0.2:
            recorded.find(Account, account, timeout_s=PATIENCE_S)

    def _sending(self, number: int) -> Sending:
        """A new command, or one of the last ones once more."""
        if self._sent and self._chance.random() < 0.15:
            return self._chance.choice(self._sent[-3:])
        expected = self._chance.randrange(4) if self._chance.random() < 0.1 else None
        self._sent.append(Sending(self._command(), f"{self.name}-{number}", expected))
        return self._sent[-1]

    def _command(self) -> Command:
        chance = self._chance
        account, amount = chance.choice(ACCOUNTS), 1 + chance.randrange(9)
        if chance.random() < 0.25:
            return Draw(account, amount)
        return Pay(account, amount, parts=1 + chance.randrange(3))
