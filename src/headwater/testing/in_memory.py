"""An app at work in the test's own thread: the owners, forwarders and runners of `App.run`, on a log in memory,
turned by hand instead of by threads. Nothing waits, so a scenario takes milliseconds.

Commands are decided from their bytes, as if they had travelled; events and states are bytes in a log, rows are
in a store.
"""

from __future__ import annotations

from types import TracebackType

from headwater.app import App
from headwater.client.desk import Desk
from headwater.client.read_models import ReadModels
from headwater.client.shop import Shop
from headwater.client.travelling import Post
from headwater.environment import Environment
from headwater.errors import HeadwaterError
from headwater.log.memory import MemoryLog
from headwater.log.topology import Topology
from headwater.messages.declare import Command
from headwater.services import Part, make_services
from headwater.testing.stage import Stopped, dead_letter_in

CLIENT = "scenario"


class InMemory:
    """See `stage.Performance`. A context manager."""

    def __init__(self, app: App, part: Part, environment: Environment) -> None:
        log = self.log = MemoryLog(seed=0)
        self._reads = part == "projections"
        topology = self.topology = Topology.read(log)
        if part == "processes":
            topology.ensure(command_families(), partitions=app.partitions)
        self._models = ReadModels.open(
            app.name, app.projections, [], log, topology, "memory://", environment, app.codecs
        )
        self._services = make_services(app, log, topology, self._models, [part], CLIENT, environment)
        post = Post(log, topology, client=CLIENT, url="memory://", environment=environment)
        owners = self._services.owners
        self._desk = Desk(log, topology, app.behaviours, owners, post, source=app.name, environment=environment)
        self.shop = self.sender = Shop(self._desk, self._models)
        self._members = [(loop, loop.join()) for loop in self._services.loops]
        self.catch_up()

    def __enter__(self) -> InMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, member in self._members:
            member.close()
        self._services.stop()
        self._desk.close()
        self._models.close()

    def catch_up(self) -> None:
        """See `stage.Performance`."""
        busy = True
        while busy:
            busy = False
            for loop, member in self._members:
                try:
                    while loop.turn(member, 0):
                        busy = True
                except HeadwaterError as error:
                    raise Stopped(f"{type(error).__name__}: {error}") from error
        for owner in self._services.owners.values():
            for why in owner.failures.values():
                raise Stopped(why)
        letter = dead_letter_in(self._services, self._models if self._reads else None)
        if letter is not None:
            raise Stopped(letter)


def command_families() -> list[str]:
    """The entity types that take commands of any class that is imported: a process may send to each of them."""
    families = [cls.__hw__ for cls in Command.__subclasses__() if cls.__hw__.family]
    return sorted({str(info.entity) for info in families if info.entity})
