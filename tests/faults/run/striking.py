"""A round: faults one after the other on one cluster, and after each until everybody is served again."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import cast

from headwater.environment import SYSTEM
from headwater.errors import HeadwaterError
from headwater.log.partitioning import partition_of
from headwater.stores.opening import open_store
from headwater.testing.audit import Journal, RecordedShop, models_of
from tests.faults.run import broker_faults, network_faults, owner_faults
from tests.faults.run.bank import PARTITIONS, PayIn, make_app
from tests.faults.run.clients import Clients, one_in_each_partition
from tests.faults.run.ending import check, keep, read_at_last, resolve, wait_until_done
from tests.faults.run.kinds import Kind
from tests.faults.run.scene import Missed, Scene, a_scene
from tests.faults.run.watching import Watcher

KINDS: list[Kind] = [*broker_faults.KINDS, *network_faults.KINDS, *owner_faults.KINDS]
CLIENTS = 5
SERVED_S = 120.0
"""How long after a fault it may take until every partition serves again."""


@dataclass
class Findings:
    """What rounds came to. Arguments: runs, missed: by kind of fault; back_s: the longest time that it took after one
    of a kind until everybody was served; left_out: why a kind was not tried; violations: with the round's directory."""

    runs: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    back_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    left_out: dict[str, str] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    events: int = 0
    rounds: int = 0


class Round:
    """Arguments: scene; seed: with the number of the round; findings: are added to."""

    def __init__(self, scene: Scene, seed: str, findings: Findings) -> None:
        self._scene, self._seed, self._findings = scene, seed, findings
        self._chance = random.Random(seed)
        self._app = make_app()
        self._journal = Journal(partitions_return=True)
        self._clients = Clients(self._app, self._journal)
        self._prober = cast(RecordedShop, None)

    def run(self, kinds: Iterator[Kind], deadline_s: float) -> None:
        """Strikes these kinds in turn, until there are no more or the time is over, and ends the round."""
        scene = self._scene
        with ExitStack() as stack:
            store = stack.enter_context(closing(open_store(scene.store)))
            shops = [
                stack.enter_context(
                    self._app.connect(stack.enter_context(closing(scene.open_log())), store=scene.store)
                )
                for _ in range(2)
            ]
            models = models_of(self._app)
            watcher = Watcher(scene.open_log, self._journal, store, [model.runner for model in models])
            self._prober = self._clients.recorded("prober", shops[0])
            if not self._served("the beginning"):
                return
            watcher.start()
            for number in range(CLIENTS):
                self._clients.start(f"client {number}", shops[number % 2], self._seed)
            self._strike_all(kinds, deadline_s)
            scene.note("the clients stop")
            self._clients.stop()
            askers = [self._clients.recorded(f"asker {number}", shop) for number, shop in enumerate(shops)]
            resolve(self._journal, askers)
            read_at_last(askers, self._journal)
            with closing(scene.open_log()) as log:
                if left := wait_until_done(log, store, models):
                    self._violation(f"work is left: {left}")
            seen = watcher.stop()
            scene.note("the owners end")
            scene.owners.end()
        scene.note("audit")
        keep(scene.directory, self._journal)
        ended = check(self._app, self._journal, scene.open_log, scene.store, seen)
        for violation in [*self._clients.crashes, *scene.owners.findings, *ended.violations]:
            self._violation(violation)
        self._findings.events += ended.events
        self._findings.outcomes += ended.outcomes

    def _strike_all(self, kinds: Iterator[Kind], deadline_s: float) -> None:
        """As long as everybody is served after each."""
        while time.monotonic() < deadline_s:
            kind = next(kinds, None)
            if kind is None:
                return
            if kind.disk and self._scene.disk is None:
                self._findings.left_out[kind.name] = "no small disk can be mounted here"
            elif not self._strike(kind):
                return

    def _strike(self, kind: Kind) -> bool:
        scene, findings = self._scene, self._findings
        lasts_s = round(self._chance.uniform(kind.shortest_s, kind.longest_s), 2)
        chance = random.Random(self._chance.getrandbits(64))  # what one draws does not move the others
        scene.note(f"strikes: {kind.name}")
        try:
            with kind.strike(scene, chance) as target:
                scene.note(f"struck: {kind.name}: {target}, for {lasts_s:g} s")
                threading.Event().wait(lasts_s)
        except Missed as error:
            findings.missed[kind.name] += 1
            scene.note(f"missed: {kind.name}: {error}")
        else:
            findings.runs[kind.name] += 1
        scene.proxy.heal()
        healed_s = time.monotonic()
        served = self._served(kind.name)
        findings.back_s[kind.name] = max(findings.back_s[kind.name], time.monotonic() - healed_s)
        return served

    def _served(self, after: str) -> bool:
        """Waits until a command is carried out in every partition, and all owners run."""
        deadline = time.monotonic() + SERVED_S
        scene = self._scene
        for account in one_in_each_partition(lambda key: partition_of(key, PARTITIONS)):
            command_id = SYSTEM.new_id()
            while True:
                scene.owners.tend()
                try:
                    self._prober.send(PayIn(account, Decimal(1)), command_id=command_id, timeout_s=2.0)
                    break
                except HeadwaterError as error:
                    if time.monotonic() > deadline:
                        partition = partition_of(account.encode(), PARTITIONS)
                        self._violation(
                            f"after {after}, partition {partition} was not served within {SERVED_S:g} s: {error}"
                        )
                        return False
                    threading.Event().wait(0.1)
        try:
            scene.owners.wait_ready()
        except AssertionError as error:
            self._violation(f"after {after}: {error}")
            return False
        scene.note(f"served again after {after}")
        return True

    def _violation(self, what: str) -> None:
        self._scene.note(f"VIOLATION: {what}")
        self._findings.violations.append(f"{what} (seed {self._seed}, {self._scene.directory})")


def one_round(
    directory: Path, cache: Path, seed: str, kinds: Iterator[Kind], deadline_s: float, findings: Findings
) -> None:
    """A round on a cluster of its own. Arguments: directory: is made; deadline_s: on the monotonic clock. Raises:
    Unavailable: there are no brokers."""
    with a_scene(directory, cache) as scene:
        scene.note(f"seed {seed}")
        Round(scene, seed, findings).run(kinds, deadline_s)
    findings.rounds += 1


def shuffled(seed: str) -> Iterator[Kind]:
    """All kinds, in an order of the seed's, again and again."""
    chance = random.Random(seed)
    while True:
        yield from chance.sample(KINDS, len(KINDS))
