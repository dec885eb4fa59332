"""The network between clients and brokers: what becomes of each request.

A request that is lost is never executed; one whose answer is lost, or that is late, is, and its client cannot tell one
from the other. A connection that breaks is something that the client logs. A late request arrives although its
connection is gone and its client has asked again meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from headwater.testing.simulation.cluster.partition import Refused
from headwater.testing.simulation.faults import Faults
from headwater.testing.simulation.scheduler import Process, Scheduler

RECONNECT_S = 0.002

QUESTIONS = frozenset(("Fetch", "Metadata", "ListOffsets", "DescribeTopics", "DescribeConfigs", "DescribeGroups"))
"""What changes nothing is not in a trace."""


class Lost(Exception):
    """The connection broke, or nothing was answered: nobody knows whether it was done."""


Answered = Callable[[Any, Exception | None], None]
"""Called with what was answered, or with Refused or Lost."""


class Sender(Protocol):
    """A client, as far as the network knows it."""

    process: Process
    name: str
    answer_s: float

    def lost(self, what: str) -> None:
        """A connection broke."""
        ...


class Network:
    """Arguments: scheduler; faults: what goes wrong. `late`: how many late requests have not arrived yet."""

    def __init__(self, scheduler: Scheduler, faults: Faults) -> None:
        self._scheduler, self._faults = scheduler, faults
        self.requests = self.late = 0

    def send(self, sender: Sender, api: str, node: int, ask: Callable[[], Any], answered: Answered) -> None:
        """Sends a request. `answered` is called once, unless the process is dead by then."""
        self.requests += 1
        scheduler, faults = self._scheduler, self._faults
        out_s, back_s = faults.latency_s(), faults.latency_s()
        fate = "cut" if faults.unreachable(sender.process, node) else faults.fate(sender.name, api)
        if fate != "fine":
            scheduler.note(f"{api} of {sender.name} to broker {node}: {fate}", sender.process)
        told = False

        def tell(value: Any, error: Exception | None) -> None:
            nonlocal told
            if told:
                return
            told = True
            if isinstance(error, Lost):
                sender.lost(f"broker {node}: {api}: {error}")
            answered(value, error)

        def arrive() -> None:
            value, error = None, None
            self.late -= fate == "late"
            try:
                value = ask()
            except Refused as refused:
                error = refused
            if scheduler.traced and (error is not None or api not in QUESTIONS):
                answer = "done" if error is None else f"refused: {error}"
                scheduler.note(f"{api} of {sender.name}: {answer}", sender.process)
            if fate == "fine":
                self.in_background(sender.process, back_s, lambda: tell(value, error))

        if fate in ("fine", "answer lost", "silent"):
            scheduler.call_later(out_s, arrive)
        elif fate == "late":
            self.late += 1
            scheduler.call_later(faults.lateness_s(), arrive)
        if fate != "fine":
            delay_s = sender.answer_s if fate in ("silent", "unheard") else out_s + back_s + RECONNECT_S
            why = "timed out" if fate in ("silent", "unheard") else "disconnected"
            self.in_background(sender.process, delay_s, lambda: tell(None, Lost(why)))

    def in_background(self, process: Process, delay_s: float, what: Callable[[], None]) -> None:
        """Has something done by a thread of the client library: not while its process is stopped, nor after its end."""

        def do() -> None:
            if not process.alive:
                return
            if process.stopped:
                self._scheduler.call_later(0.01, do)
                return
            what()

        self._scheduler.call_later(delay_s, do)
