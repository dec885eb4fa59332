"""A projection with a bug: what it sets aside, and what its rows are then."""

from __future__ import annotations

import os

import headwater as hw
from headwater.log.port import Log, TopicPartition
from tests.projections.trade import TOPIC, Placed, append, placed


class Fragile(hw.Projection):
    """The totals of a trade, in order. It fails at customer "bug", until the environment says that it was mended."""

    trade_id: hw.Key[str]
    totals: list[str] = []

    @hw.on(Placed)
    def placed(self, event: Placed) -> None:
        self.totals.append(str(event.total))
        if event.customer == "bug" and "MENDED" not in os.environ:
            raise ValueError(f"at {event.total}")


def write(log: Log, count: int, every: int) -> list[tuple[str, str, str]]:
    """Appends trades to one partition, of which some are poison. Returns (trade, customer, total) in order."""
    written = []
    for n in range(count):
        trade, customer = f"t{n * 7 % 11}", "bug" if n % every == 3 else "ann"
        append(log, [placed(trade, customer, f"{n}.00")], first=n)
        written.append((trade, customer, f"{n}.00"))
    return written


def folded(written: list[tuple[str, str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The totals that are applied, and those that are held, by trade."""
    rows: dict[str, list[str]] = {}
    held: dict[str, list[str]] = {}
    for trade, customer, total in written:
        if customer == "bug" or trade in held:
            held.setdefault(trade, []).append(total)
        else:
            rows.setdefault(trade, []).append(total)
    return rows, held


P0 = TopicPartition(TOPIC, 0)
