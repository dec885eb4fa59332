"""A shop that kills itself at a step: `run_mortal URL PREFIX WRITER STEP COUNT EARLY ORDERS`.

ORDERS is how many those before it placed, which were `NEW` each.

Places again what was placed before it, and then more, one after the other: each goes through all writers before the
next. Early: death may come while it does again what an earlier one left; else only with the orders that are new.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from decimal import Decimal

import headwater as hw
from headwater.log.opening import open_log
from headwater.log.port import Log, TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.testing import PrefixedLog
from tests.clocks import Ahead
from tests.processes.mortal import WRITERS, Death, MortalLog
from tests.processes.shop import PARTITIONS, PARTS, PlaceOrder, app

NEW = 3
"""How many orders each process adds."""

SESSION_S = 60.0
"""In a file, where the clock of each process is further ahead than that of the one before."""
SESSION_ON_KAFKA_S = 1.0
"""The broker has one clock for all."""


def open_shop(url: str, prefix: str, orders: int) -> Log:
    """The log; what a member that was killed owned is taken over in a second at most. Arguments: orders: as above."""
    if url.startswith("sqlite:///"):
        path, clock = url.removeprefix("sqlite:///"), Ahead(2 * SESSION_S * (orders // NEW))
        return SqliteLog(path, session_timeout_s=SESSION_S, environment=clock)
    return PrefixedLog(open_log(f"{url}&session_timeout_s={SESSION_ON_KAFKA_S:g}"), prefix)


class Payments:
    """Reads along and counts the payments that are recorded."""

    def __init__(self, log: Log) -> None:
        self._reader, self.recorded = log.reader(), 0
        self._reader.assign({TopicPartition("payment-events", p): 0 for p in range(PARTITIONS)})

    def wait_for(self, count: int, timeout_s: float = 60.0) -> None:
        pause = threading.Event()
        waited_s = 0.0
        while self.recorded < count:
            assert waited_s < timeout_s, f"{self.recorded} payments are recorded, not {count}"
            records = self._reader.read(1000, 0.05).records
            if not records:
                waited_s += 0.05
                pause.wait(0.002)
            self.recorded += sum(("ce_type", b"PaymentRecorded") in record.headers for record in records)


def main(url: str, prefix: str, writer: str, step: str, count: int, early: bool, orders: int) -> None:
    death = Death(step, count)
    log: Log = MortalLog(open_shop(url, prefix, orders), {WRITERS[writer]: death})
    death.armed = early
    with app().run(log, only=PARTS) as shop:
        payments = Payments(log)
        send_all(shop, map(place, range(orders)))
        payments.wait_for(orders)
        death.armed = True
        for n in range(orders, orders + NEW):
            send_all(shop, [place(n)])
            payments.wait_for(n + 1)
    print("done", flush=True)


def place(n: int) -> hw.Sending:
    return hw.Sending(PlaceOrder(f"o{n}", Decimal(n)), command_id=f"place-{n}")


def send_all(shop: hw.Shop, commands: Iterable[hw.Command | hw.Sending]) -> None:
    """Sends commands, and again those without a receipt: an answer may be late, or no owner seen for a moment."""
    left = list(commands)
    while left:
        outcomes = shop.send_many(left)
        left = [one for one, outcome in zip(left, outcomes, strict=True) if not isinstance(outcome, hw.Receipt)]


if __name__ == "__main__":
    url, prefix, writer, step, *numbers = sys.argv[1:]
    count, early, orders = map(int, numbers)
    main(url, prefix, writer, step, count, bool(early), orders)
