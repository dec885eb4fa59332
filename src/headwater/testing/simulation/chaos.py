"""What happens to processes and brokers during a run: they die, stop, leave, come anew and cannot be reached."""

from __future__ import annotations

from pathlib import Path

from headwater.readers.loop import Status
from headwater.services import Part
from headwater.testing.simulation.bank import app, renewed
from headwater.testing.simulation.cluster.cluster import NODES
from headwater.testing.simulation.scheduler import Stuck
from headwater.testing.simulation.simulation import Simulation
from headwater.testing.simulation.workload import Server

TURN_S = 0.05
READY_S = 20.0
RENEWALS = 1.0
"""How many a second, until it has happened, in runs in which the code is renewed."""


class Chaos:
    """Starts the servers of a run, and makes the faults that are not of a single request. Arguments: directory: for
    files that each process has for itself."""

    def __init__(self, simulation: Simulation, directory: Path) -> None:
        self._simulation, self._directory = simulation, directory
        self._chance, self._faults = simulation.scheduler.random, simulation.faults
        self._parts: list[Part] = ["commands", "projections"] if self._faults.mix.projects else ["commands"]
        self._started = 0
        self._code = app
        self._servers: list[Server] = []

    def begin(self) -> None:
        """Starts the first servers, and waits until one of them is at work. Raises: Stuck: none ever is."""
        calm, self._faults.active = self._faults.active, False
        for _ in range(1 + self._chance.randrange(2)):
            self._start()
        while not any(server.ready for server in self._servers):
            if self._simulation.scheduler.now_s > READY_S:
                raise Stuck(f"no server is at work after {READY_S:g} s, and nothing has gone wrong yet")
            self._simulation.scheduler.sleep(0.02)
        self._faults.active = calm

    def turn(self) -> None:
        """Called every `TURN_S`."""
        faults = self._faults.mix
        if self._happens(faults.kills):
            self._kill()
        if self._happens(faults.pauses):
            self._pause()
        if self._happens(faults.restarts):
            self._replace()
        if self._happens(faults.outages):
            self._outage()
        if self._happens(faults.compactions):
            self._compact()
        if faults.renews and self._code is app and self._happens(RENEWALS):
            self._renew()

    def end(self) -> None:
        """No more faults; somebody is there to do the work, and nobody with code of before."""
        self._faults.calm_down()
        if self._faults.mix.renews and self._code is app:
            self._renew()
        for server in self._servers:
            self._simulation.scheduler.resume(server.process)
            if server.app is not self._code and server.process.alive and not server.leaving:
                server.leave()
        if not any(server.process.alive and not server.leaving for server in self._servers):
            self._start()

    @property
    def leaving(self) -> str:
        """Who is asked to leave, and is still there."""
        return ", ".join(one.name for one in self._servers if one.leaving and one.process.alive and not one.left)

    def statuses(self) -> list[Status]:
        """Of all readers that are alive."""
        return [status for server in self._alive() for status in server.statuses]

    @property
    def renews(self) -> bool:
        """Whether the code becomes another one in this run."""
        return self._faults.mix.renews

    @property
    def projects(self) -> bool:
        """Whether somebody keeps the read models in this run."""
        return "projections" in self._parts

    def states(self) -> str:
        return "; ".join(f"{one.name} {one.state} ({one.last_failure})" for one in self.statuses())

    # --- inside

    def _happens(self, a_second: float) -> bool:
        return a_second > 0 and self._chance.random() < a_second * TURN_S

    def _start(self) -> None:
        self._started += 1
        self._servers.append(
            Server(self._simulation, self._directory, f"server{self._started}", self._parts, self._code)
        )

    def _renew(self) -> None:
        """Whoever starts from now on has the next version of the code."""
        self._simulation.note("the code is another one from now on")
        self._code = renewed
        self._start()

    def _alive(self) -> list[Server]:
        return [server for server in self._servers if server.process.alive and not server.left]

    def _some_time(self) -> float:
        """Seconds: around the time limits of sessions and transactions."""
        return self._chance.choice((0.1, 0.5, 1.2, 2.5)) * (0.5 + self._chance.random())

    def _kill(self) -> None:
        alive = self._alive()
        if not alive:
            return
        server = self._chance.choice(alive)
        self._simulation.scheduler.kill(server.process)
        self._simulation.later(self._some_time(), self._start)

    def _pause(self) -> None:
        alive = [server for server in self._alive() if not server.process.stopped]
        if alive:
            process = self._chance.choice(alive).process
            self._simulation.scheduler.stop(process)
            self._simulation.later(self._some_time(), lambda: self._simulation.scheduler.resume(process))

    def _replace(self) -> None:
        """A rolling deployment: one more comes, and an old one leaves."""
        alive = self._alive()
        if len(alive) < 3:
            self._start()
        if alive and self._chance.random() < 0.7:
            self._chance.choice(alive).leave()

    def _outage(self) -> None:
        alive = self._alive()
        if alive and self._chance.random() < 0.5:
            process = self._chance.choice(alive).process
            self._simulation.scheduler.note("is cut off", process)
            self._faults.isolate(process)
            self._simulation.later(self._some_time(), lambda: self._faults.join_again(process))
        else:
            node = self._chance.randrange(NODES)
            self._simulation.note(f"broker {node} is down")
            self._faults.take_down(node)
            self._simulation.later(self._some_time(), lambda: self._faults.bring_back(node))

    def _compact(self) -> None:
        for topic in self._simulation.cluster.topics.values():
            for log in topic.partitions:
                if log.compacted:
                    log.compact(self._chance.randrange(3))
