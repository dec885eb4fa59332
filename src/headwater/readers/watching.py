"""Partitions that a transaction holds back: noticed by the process that reads them, for an alert.

A transaction that is left open in a partition hides all that was written behind it from every reader of committed
records, whoever wrote it, while the lag of each of them looks like nothing: they are at the end of what can be seen.
A log ends what its writer left open after the transaction time-out; what is held for longer is not going to end soon,
or never (a transaction of another program with a longer time-out, or one that no coordinator knows).

    look: {partition: (stable, written)}, now ──► Holding: since when at that offset ──► gauge, alert

It looks in a thread of its own, not in the loops: these may be waiting for that very transaction.
"""

from __future__ import annotations

import logging
import shlex
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from headwater.environment import Environment
from headwater.errors import HeadwaterError
from headwater.log.port import Held, Log, TopicPartition

logger = logging.getLogger("headwater.readers")

LOOK_S = 3.0
"""Two requests to each broker that leads something, each time."""

GAUGE = "headwater_last_stable_offset_held_seconds"
BEHIND = "headwater_last_stable_offset_behind"
ALERT = "headwater_last_stable_offset_held"


@dataclass(frozen=True, slots=True)
class Holding:
    """A partition that stays where it is. Arguments: since_s: on the clock of `Environment.monotonic_s`."""

    held: Held
    since_s: float


def held_since(
    before: Mapping[TopicPartition, Holding], seen: Mapping[TopicPartition, Held], now_s: float
) -> dict[TopicPartition, Holding]:
    """What is held now, and since when at its offset: one that moved on is held by another transaction."""
    found = {}
    for tp, held in seen.items():
        known = before.get(tp)
        same = known is not None and known.held.stable == held.stable
        found[tp] = Holding(held, known.since_s if known is not None and same else now_s)
    return found


class Watch:
    """Looks at topics every few seconds until it is stopped.

    Arguments: log; topics: what is read; timeout_s: the log's transaction time-out; environment: the clock, and where
    gauge and alert go.
    """

    def __init__(self, log: Log, topics: Collection[str], timeout_s: float, environment: Environment) -> None:
        self._log, self._topics, self._timeout_s, self._environment = log, sorted(topics), timeout_s, environment
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._partitions: list[TopicPartition] = []
        self._holdings: dict[TopicPartition, Holding] = {}
        self._alerts: dict[TopicPartition, str] = {}

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="open-transactions", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.look()
            except HeadwaterError as error:
                # A log that is away is told by everybody who reads it.
                logger.debug("open transactions cannot be looked for: %s", error)

    def look(self) -> None:
        """Looks once. Raises: Unavailable."""
        if not self._partitions:
            there = self._log.topics(self._topics).values()
            self._partitions = [TopicPartition(topic.name, p) for topic in there for p in range(topic.partitions)]
        now_s = self._environment.monotonic_s()
        before, self._holdings = self._holdings, held_since(self._holdings, self._log.held(self._partitions), now_s)
        for tp in before.keys() | self._holdings.keys():
            self._tell(tp, self._holdings.get(tp), now_s)

    def _tell(self, tp: TopicPartition, holding: Holding | None, now_s: float) -> None:
        telemetry = self._environment.telemetry
        labels = {"log": self._log.id, "topic": tp.topic, "partition": str(tp.partition)}
        seconds = 0.0 if holding is None else now_s - holding.since_s
        telemetry.gauge(GAUGE, labels, seconds)
        telemetry.gauge(BEHIND, labels, 0 if holding is None else holding.held.written - holding.held.stable)
        late = holding is not None and seconds > self._timeout_s
        text = self._text(tp, holding.held) if late and holding is not None else None
        if text == self._alerts.get(tp):
            return
        telemetry.alert(ALERT, labels, text)
        if text is None:
            del self._alerts[tp]
        else:
            self._alerts[tp] = text

    def _text(self, tp: TopicPartition, held: Held) -> str:
        """What an operator reads: the same words for as long as it lasts."""
        return (
            f"{tp.topic}, partition {tp.partition}: a transaction has been open for more than {self._timeout_s:g} s, "
            f"so nothing from offset {held.stable} on can be read; `hw doctor --on {shlex.quote(self._log.url)}` says "
            "whose it is and how to end it"
        )
