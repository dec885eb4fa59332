"""One run: a seed draws the faults, processes work and die under them, all comes to rest, and the auditor looks.

calm start ─► senders and faults together ─► no more faults ─► all is settled ─► questions ─► audit
"""

from __future__ import annotations

import random
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from headwater.errors import Unavailable, Unknown
from headwater.log.port import TopicPartition
from headwater.log.topology import commands_topic, events_topic
from headwater.messages.rejection import Rejected
from headwater.testing.audit import Journal, RecordedShop
from headwater.testing.simulation.bank import ACCOUNTS, Account, Renewed, app, renewed
from headwater.testing.simulation.chaos import Chaos
from headwater.testing.simulation.faults import Mix, drawn
from headwater.testing.simulation.oracle import GROUPS, MODELS, judged, positions_of, states_of_code_before
from headwater.testing.simulation.scheduler import Stuck
from headwater.testing.simulation.simulation import Simulation
from headwater.testing.simulation.workload import STORE, Sender, opened

ASKING = ("asking 1", "asking 2")
"""The clients that ask in the end."""

SETTLED_S = 40.0
"""In virtual time; a run that is not at rest then has something that does not come back by itself."""


@dataclass
class Finding:
    """What a run came to. Arguments: seed; wrong: empty: all is well; virtual_s, requests: how much happened."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    virtual_s: float = 0.0
    requests: int = 0


def run(seed: int, *, trace: Callable[[str], None] | None = None, given: Mapping[str, object] | None = None) -> Finding:
    """Carries one run out. Arguments: trace: called with a line for whatever happens; given: parts of the mix of faults
    that the seed does not draw."""

    def mix(chance: random.Random) -> Mix:
        mix = msgspec.structs.replace(drawn(chance), **(given or {}))
        return msgspec.structs.replace(mix, renews=mix.renews and not mix.projects)

    with tempfile.TemporaryDirectory(prefix="headwater-simulation-") as directory:
        return _Run(seed, Simulation(seed, mix, trace), Path(directory), trace).carry_out()


class _Run:
    def __init__(self, seed: int, simulation: Simulation, directory: Path, trace: Callable[[str], None] | None) -> None:
        self._simulation, self._trace = simulation, trace
        self._directory = directory
        self._finding = Finding(seed)
        self._scheduler = self._simulation.scheduler
        self._journal = Journal(partitions_return=True, clock_s=lambda: self._scheduler.now_s)

    def carry_out(self) -> Finding:
        finding, simulation = self._finding, self._simulation
        with simulation.running():
            journal = self._journal
            chaos = Chaos(simulation, self._directory)
            chance = self._scheduler.random
            try:
                chaos.begin()
                senders = [
                    Sender(simulation, self._directory, journal, f"client{n}", 4 + chance.randrange(10))
                    for n in range(1 + chance.randrange(3))
                ]
                while not all(sender.done for sender in senders):
                    chaos.turn()
                    self._sample()
                    self._scheduler.sleep(0.05)
                chaos.end()
                if self._settles(chaos):
                    journal.settled()
                    self._ask(chaos)
                store = simulation.store(STORE) if chaos.projects else None
                finding.wrong += judged(
                    journal.history(), simulation.cluster, store, chaos.statuses(), ASKING if chaos.renews else ()
                )
            except Stuck as stuck:
                finding.wrong.append(f"stuck: {stuck}")
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is a finding
                finding.wrong.append(f"{type(error).__name__}: {error}")
                if self._trace is not None:
                    self._trace(traceback.format_exc())
            finding.virtual_s, finding.requests = self._scheduler.now_s, simulation.network.requests
        return finding

    def _sample(self) -> None:
        for group in GROUPS:
            self._journal.sample(group, partial(positions_of, self._simulation.cluster, group))

    def _settles(self, chaos: Chaos) -> bool:
        """Whether all comes to rest; where it does not, nobody needs to be asked."""
        deadline_s = self._scheduler.now_s + SETTLED_S
        while why := self._unsettled(chaos):
            if self._scheduler.now_s > deadline_s:
                self._finding.wrong.append(f"not at rest after {SETTLED_S:g} s: {why}; {chaos.states()}")
                return False
            self._scheduler.sleep(0.05)
        self._sample()
        return True

    def _unsettled(self, chaos: Chaos) -> str:
        """What is still to come; empty: nothing."""
        cluster, projects = self._simulation.cluster, chaos.projects
        if chaos.leaving:
            return f"{chaos.leaving} has not left"
        if self._simulation.network.late:
            return "a request is on its way whose client has gone on without it"
        if not cluster.transactions.quiet:
            return "a transaction is open"
        for entity in (behaviour.entity for behaviour in app.behaviours.values()):
            done = positions_of(cluster, f"{entity}-owners")
            for where in map(TopicPartition._make, cluster.partitions(commands_topic(entity))):
                log = cluster.log(where)
                if log.entries and done.get(where, 0) <= log.entries[-1].offset:
                    return f"{where} is carried out up to {done.get(where)}, and ends at {log.end}"
            store = self._simulation.store(STORE)
            for model in MODELS if projects else ():
                read = store.positions(model.runner) if store is not None else {}
                for where in map(TopicPartition._make, cluster.partitions(events_topic(entity))):
                    if read.get(where, 0) < cluster.log(where).end:
                        return f"{model.title} has read {where} up to {read.get(where)}"
        if chaos.renews and (old := states_of_code_before(cluster)):
            return f"{old} states are still those of the code before"
        return ""

    def _ask(self, chaos: Chaos) -> None:
        """What everybody is told in the end."""
        code, aggregate = (renewed, Renewed) if chaos.renews else (app, Account)
        environment = self._simulation.environment()
        with (
            opened(self._simulation, self._directory, "asking") as log,
            code.connect(log, store=STORE, environment=environment) as shop,
        ):
            for name in ASKING:
                recorded = RecordedShop(shop, code, self._journal, name)
                for call in self._journal.unknown():
                    self._insist(partial(recorded.outcome, aggregate, call.id, call.command_id))
            for account in ACCOUNTS:
                self._insist(partial(recorded.find, aggregate, account))
                if chaos.projects:
                    recorded.row(Account, account)

    def _insist(self, ask: Callable[[], object]) -> None:
        """Asks until there is an answer: now there must be one."""
        deadline_s = self._scheduler.now_s + SETTLED_S
        while True:
            try:
                ask()
                return
            except (Unavailable, Unknown) as error:
                if self._scheduler.now_s > deadline_s:
                    self._finding.wrong.append(f"no answer after {SETTLED_S:g} s: {error}")
                    return
                self._scheduler.sleep(0.1)
            except Rejected:
                return
