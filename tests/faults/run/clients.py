"""Clients that never stop asking, each a thread, everything noted: new commands, the same again, two at one expected
version, streams, reads that must include what was answered."""

from __future__ import annotations

import random
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from decimal import Decimal

import headwater as hw
from headwater.environment import SYSTEM
from headwater.errors import HeadwaterError, Unavailable, Unknown
from headwater.testing.audit import Journal, RecordedShop
from tests.faults.run.bank import ACCOUNTS, Account, AccountCommand, PaidIn, PayIn, PayOut, SendMoney

TIMEOUT_S = 8.0
ATTEMPTS = 12
"""How often a command without an answer is sent again, under its id."""
PAUSE_S = 0.2
"""Before it is."""
BETWEEN_S = 0.04
"""Between two things that a client does: the machine has other work, too."""
STREAM = 20


class Client:
    """Arguments: shop: noted; chance: what it does is drawn from it; over: set when it is to stop."""

    def __init__(self, shop: RecordedShop, chance: random.Random, over: threading.Event) -> None:
        self._shop, self._chance, self._over = shop, chance, over
        self._last: tuple[AccountCommand, str] | None = None
        self._receipts: dict[str, hw.Receipt] = {}
        self._deeds: list[tuple[Callable[[], None], int]] = [
            (self.new_command, 60),
            (self.same_again, 8),
            (self.two_at_one_version, 8),
            (self.stream, 4),
            (self.append, 4),
            (self.read, 16),
        ]

    def run(self) -> None:
        deeds, weights = zip(*self._deeds, strict=True)
        while not self._over.wait(BETWEEN_S):
            (deed,) = self._chance.choices(deeds, weights)
            with suppress(HeadwaterError):  # a refusal, or no answer in all attempts: it is noted
                deed()

    def new_command(self) -> None:
        self.send(self.any_command(), SYSTEM.new_id())

    def same_again(self) -> None:
        """The last command once more, whatever its answer was."""
        if self._last is not None:
            self.send(*self._last)

    def two_at_one_version(self) -> None:
        """One of them wins."""
        account = self.any_account()
        version = self._shop.version(Account, account, timeout_s=TIMEOUT_S)
        rivals = [hw.Sending(PayIn(account, Decimal(2)), expected_version=version) for _ in range(2)]
        for _ in self._shop.send_many(rivals, timeout_s=TIMEOUT_S):
            """Noted."""

    def stream(self) -> None:
        for _ in self._shop.send_many([self.any_command() for _ in range(STREAM)], timeout_s=TIMEOUT_S):
            """Noted."""

    def append(self) -> None:
        account, id = self.any_account(), SYSTEM.new_id()
        events = [PaidIn(account, Decimal(3)), PaidIn(account, Decimal(4))]
        self._again(lambda: self._shop.append(Account, account, events, command_id=id, timeout_s=TIMEOUT_S))

    def read(self) -> None:
        account = self.any_account()
        how = self._chance.randrange(4)
        if how == 0:
            self._shop.find(Account, account, timeout_s=TIMEOUT_S)
        elif how == 1:
            self._shop.history(Account, account)
        elif self._receipts:
            account = self._chance.choice(list(self._receipts))
            self._shop.row(Account, account, after=self._receipts[account], timeout_s=TIMEOUT_S)

    def send(self, command: AccountCommand, id: str) -> None:
        """A command, and again under its id while there is no answer."""
        self._last = command, id
        receipt = self._again(lambda: self._shop.send(command, command_id=id, timeout_s=TIMEOUT_S))
        self._receipts[receipt.id] = receipt

    def any_command(self) -> AccountCommand:
        account, kind = self.any_account(), self._chance.random()
        if kind < 0.5:
            return PayIn(account, Decimal(self._chance.randint(1, 9)))
        if kind < 0.65:
            return PayOut(account, self._chance.randint(1, 3))
        return SendMoney(account, SYSTEM.new_id(), self.any_account(), Decimal(self._chance.randint(1, 9)))

    def any_account(self) -> str:
        return self._chance.choice(ACCOUNTS)

    def _again(self, ask: Callable[[], hw.Receipt]) -> hw.Receipt:
        for _ in range(ATTEMPTS):
            try:
                return ask()
            except (Unknown, Unavailable) as error:
                failure = error
            if self._over.wait(PAUSE_S):
                break
        raise failure


class Clients:
    """Arguments: app; journal. `crashes`: what clients were raised that is no answer."""

    def __init__(self, app: hw.App, journal: Journal) -> None:
        self._app, self._journal, self._over = app, journal, threading.Event()
        self._running: dict[str, Future[None]] = {}
        self.crashes: list[str] = []

    def start(self, name: str, shop: hw.Shop, seed: str) -> None:
        """One more, with a thread of its own."""
        client = Client(self.recorded(name, shop), random.Random(f"{seed}/{name}"), self._over)
        self._running[name] = ThreadPoolExecutor(1, name).submit(client.run)

    def recorded(self, name: str, shop: hw.Shop) -> RecordedShop:
        return RecordedShop(shop, self._app, self._journal, name)

    def stop(self) -> None:
        """Waits until each has ended what it is at."""
        self._over.set()
        _, late = wait(self._running.values(), ATTEMPTS * TIMEOUT_S)
        for name, one in self._running.items():
            if one in late:
                self.crashes.append(f"client {name} did not come back")
            elif error := one.exception():
                self.crashes.append(f"client {name} was raised:\n{''.join(traceback.format_exception(error))}")


def one_in_each_partition(partition_of: Callable[[bytes], int]) -> Iterator[str]:
    """An account in each partition."""
    seen: set[int] = set()
    for account in ACCOUNTS:
        partition = partition_of(account.encode())
        if partition not in seen:
            seen.add(partition)
            yield account
