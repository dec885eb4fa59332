"""`App`: the parts of a service, assembled. It only wires; what happens is in the rooms that it names.

`run`: this process does the work (owns entities, maintains read models, reacts) and is a client as well.
`connect`: another process does the work. Both give the same `Shop`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal

from headwater.client.async_shop import AsyncShop
from headwater.client.desk import Desk
from headwater.client.read_models import ReadModels
from headwater.client.shop import Shop
from headwater.client.travelling import Post
from headwater.entities.aggregate import Aggregate
from headwater.entities.behaviour import Behaviour
from headwater.environment import SYSTEM, Environment
from headwater.errors import Misuse
from headwater.log.opening import open_log
from headwater.log.port import Log
from headwater.log.topology import Topology
from headwater.owners.keeping import AS_USUAL, Keeping
from headwater.processes.declare import Process, ProcessShape, shape_of
from headwater.projections.declare import Projection
from headwater.services import Part, Services, start_services
from headwater.settings import store_url_for

PARTITIONS = 8
READY_S = 60.0

PARTS: tuple[Part, ...] = ("commands", "projections", "processes")


class App:
    """The declaration of a service.

    Arguments: name: names its consumer groups and the source of its events; aggregates, projections,
    processes: the classes; partitions: of the topics that it makes, fixed for their life.
    Raises: Misuse: two aggregates of one entity type, or a class that is declared wrongly.
    """

    def __init__(
        self,
        name: str,
        *,
        aggregates: Sequence[type[Aggregate[Any]]] = (),
        projections: Sequence[type[Projection]] = (),
        processes: Sequence[type[Process]] = (),
        partitions: int = PARTITIONS,
    ) -> None:
        self.name, self.partitions = name, partitions
        self.behaviours: dict[type, Behaviour[Any]] = {one: Behaviour(one) for one in aggregates}
        self.projections = tuple(projections)
        self.processes: tuple[ProcessShape, ...] = tuple(shape_of(one) for one in processes)
        names = [b.entity for b in self.behaviours.values()] + [shape.entity for shape in self.processes]
        for entity in names:
            if names.count(entity) > 1:
                raise Misuse(f"app {name!r} has two owners of {entity!r}; an entity type has one aggregate or process")

    def run(
        self,
        url: str | Log,
        *,
        only: Sequence[Part] = PARTS,
        store: str | None = None,
        state_memory_mb: int = AS_USUAL.memory_mb,
        standby: bool = False,
        environment: Environment = SYSTEM,
    ) -> Running:
        """Does the work of the app on a log, as a context manager: `with` gives `Shop`, `async with` `AsyncShop`.

        Arguments: url: see `open_log`, or an open log, which stays open; only: which parts this process runs;
        store: where read models live (`memory://`, `sqlite:///file`; None: beside the log); state_memory_mb: how
        much memory states may take on Kafka, where a file on this machine has all of them; standby: whether
        entities that other processes own are followed on this machine, so that it takes over at once; environment:
        time and ids.
        """
        unknown = [part for part in only if part not in PARTS]
        if unknown:
            raise Misuse(f"only={unknown!r}: the parts are {', '.join(PARTS)}")
        return Running(self, url, tuple(only), store, environment, Keeping(state_memory_mb, standby))

    def connect(self, url: str | Log, *, store: str | None = None, environment: Environment = SYSTEM) -> Running:
        """A client of the app's entities and read models; another process does the work. Else as `run`."""
        return Running(self, url, (), store, environment)


class Running:
    """An app on a log, from `with` to its end. Made by `App.run` and `App.connect`."""

    def __init__(
        self,
        app: App,
        log: str | Log,
        parts: tuple[Part, ...],
        store: str | None,
        environment: Environment,
        keeping: Keeping = AS_USUAL,
    ) -> None:
        self._app, self._parts = app, parts
        self._url = log if isinstance(log, str) else log.url
        self._given = None if isinstance(log, str) else log
        self._store, self._environment, self._keeping = store, environment, keeping
        self._log: Log | None = None
        self._desk: Desk | None = None
        self.services: Services | None = None
        self.models: ReadModels | None = None

    def __enter__(self) -> Shop:
        """Raises: Unavailable: the log cannot be reached, or the parts do not get ready in a minute."""
        desk, models = self._open()
        return Shop(desk, models)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.close()
        return False

    async def __aenter__(self) -> AsyncShop:
        desk, models = await asyncio.to_thread(self._open)
        return AsyncShop(desk, models)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        await asyncio.to_thread(self.close)
        return False

    def close(self) -> None:
        """Stops the parts, leaves the groups, closes log and stores. Idempotent."""
        if self.services is not None:
            self.services.stop()
        if self._desk is not None:
            self._desk.close()
        if self.models is not None:
            self.models.close()
        if self._log is not None and self._given is None:
            self._log.close()
        self.services = self._desk = self.models = self._log = None

    def _open(self) -> tuple[Desk, ReadModels]:
        if self._log is not None:
            raise Misuse("this app is entered already; call run or connect again for another one")
        app, environment = self._app, self._environment
        process = f"{socket.gethostname()}-{os.getpid()}-{environment.new_id()[-12:]}"
        log = self._log = self._given or open_log(self._url)
        try:
            topology = Topology.read(log)
            self.models = ReadModels.open(
                app.name,
                app.projections,
                list(app.behaviours.values()),
                log,
                topology,
                store_url_for(self._url, app.name, self._store),
                environment,
            )
            if self._parts:
                self.services = start_services(
                    app, log, topology, self.models, self._parts, process, environment, self._keeping
                )
            post = Post(log, topology, client=process, url=self._url, environment=environment)
            owners = self.services.owners if self.services is not None else {}
            desk = self._desk = Desk(
                log, topology, app.behaviours, owners, post, source=app.name, environment=environment
            )
            if self.services is not None:
                self.services.wait_ready(READY_S, threading.Event())
        except BaseException:
            self.close()
            raise
        return desk, self.models
