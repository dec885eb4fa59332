"""A simulated world: a cluster, a network, processes, and the names by which headwater reaches the real ones replaced.

    simulation = Simulation(seed)
    with simulation.running():
        log = KafkaLog("simulated:9092")        # the real one, on the model of a cluster
        process = simulation.start("owner", serve)

While it runs, every module of headwater that has imported `time`, `threading`, confluent_kafka's clients or another way
out of the process finds a double under that name. So the code that runs is the code that is shipped.
"""

from __future__ import annotations

import os
import queue
import random
import socket
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import confluent_kafka
from confluent_kafka import admin

from headwater.entities.code import code_of
from headwater.owners import owner
from headwater.readers import overlapping
from headwater.stores import opening
from headwater.stores.memory import MemoryStore
from headwater.stores.port import Store
from headwater.testing.simulation.client.admin import AdminClient
from headwater.testing.simulation.client.consumer import Consumer
from headwater.testing.simulation.client.producer import Producer
from headwater.testing.simulation.cluster.cluster import NODES, Cluster
from headwater.testing.simulation.faults import Faults, Mix
from headwater.testing.simulation.machine import (
    SimulatedEnvironment,
    SimulatedOs,
    SimulatedSocket,
    SimulatedTime,
    SimulatedUuid,
)
from headwater.testing.simulation.network import Network
from headwater.testing.simulation.scheduler import Killed, Process, Scheduler
from headwater.testing.simulation.threads import OneByOne, SimpleQueue, SimulatedThreading, wait_for_first

HERE = "headwater.testing.simulation"


class Simulation:
    """Arguments: seed; mix: what goes wrong, from the seed's random numbers (None: nothing); trace: called with a line
    for whatever happens."""

    def __init__(
        self,
        seed: object,
        mix: Callable[[random.Random], Mix] | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.scheduler = Scheduler(seed, trace)
        chance = self.scheduler.random
        self.faults = Faults(chance, mix(chance) if mix is not None else None)
        self.network = Network(self.scheduler, self.faults)
        self.cluster = Cluster(self, f"simulated-{seed}")
        self.time = SimulatedTime(self.scheduler)
        self._stores: dict[str, Store] = {}

    @contextmanager
    def running(self) -> Iterator[Process]:
        """The calling thread takes part; all others end with it."""
        with self._doubles(), self.scheduler.running() as process:
            try:
                yield process
            finally:
                for store in self._stores.values():
                    store.close()

    def start(self, name: str, what: Callable[[], None]) -> Process:
        """Starts a process."""
        process = Process(name)
        self.scheduler.spawn(what, "main", process)
        return process

    def environment(self) -> SimulatedEnvironment:
        """Time and ids of a process."""
        return SimulatedEnvironment(self.scheduler, self.time)

    def store(self, url: str) -> Store | None:
        """The store at an address; None: nobody has opened it yet."""
        return self._stores.get(url)

    # --- what the cluster needs

    def now_ms(self) -> int:
        return self.time.time_ns() // 1_000_000

    def later(self, delay_s: float, what: Callable[[], None]) -> None:
        self.scheduler.call_later(delay_s, what)

    def mark_delay_s(self, node: int) -> float:
        return self.faults.mark_delay_s(node)

    def note(self, what: str) -> None:
        if self.scheduler.traced:
            self.scheduler.note(what, _CLUSTER)

    # --- doubles

    @contextmanager
    def _doubles(self) -> Iterator[None]:
        """Replaces names in headwater's modules, and puts them back."""
        scheduler, files = self.scheduler, _InMemory()
        doubles: dict[int, Any] = {
            id(time): self.time,
            id(threading): SimulatedThreading(scheduler),
            id(uuid): SimulatedUuid(scheduler),
            id(os): SimulatedOs(scheduler),
            id(socket): SimulatedSocket(scheduler, lambda: self.faults.all_down(scheduler.current.process, NODES)),
            id(queue.SimpleQueue): partial(SimpleQueue, scheduler),
            id(ThreadPoolExecutor): lambda workers: OneByOne(),
            id(wait): partial(wait_for_first, scheduler),
            id(confluent_kafka.Producer): partial(Producer, self),
            id(confluent_kafka.Consumer): partial(Consumer, self),
            id(admin.AdminClient): partial(AdminClient, self),
            id(opening.open_store): self._open_store,
            id(sqlite3): files,
            id(code_of): _code_of,
        }
        replaced: list[tuple[Any, str, Any]] = []
        for name, module in list(sys.modules.items()):
            if name.startswith("headwater.") and not name.startswith(HERE) and module is not None:
                for key, value in list(vars(module).items()):
                    double = doubles.get(id(value))
                    if double is not None:
                        replaced.append((module, key, value))
                        setattr(module, key, double)
        replaced += [(overlapping, "FEW", overlapping.FEW), (owner, "MANY", owner.MANY)]
        overlapping.FEW = owner.MANY = 1  # what is done with many records only is done with any
        try:
            yield
        finally:
            for module, key, value in replaced:
                setattr(module, key, value)
            files.close()

    def _open_store(self, url: str) -> Any:
        """The store at an address: the same one for every process, and it outlives them."""
        store = self._stores.get(url)
        if store is None:
            store = self._stores[url] = MemoryStore()
        return Durable(store, self.scheduler)


class Durable:
    """A store as one process has it open: a dead process changes nothing more. It stands for a server, too."""

    is_server = True

    def __init__(self, store: Store, scheduler: Scheduler) -> None:
        self._store, self._scheduler = store, scheduler

    def close(self) -> None:
        """The store stays for the others."""

    def __getattr__(self, name: str) -> Any:
        if not self._scheduler.current.process.alive:
            raise Killed
        return getattr(self._store, name)


class _InMemory:
    """Stands for the module `sqlite3`: files are kept in memory. One that is opened by a URI is there for all who open
    it, until the end of the run; another one for who opened it."""

    def __init__(self) -> None:
        self._kept: dict[str, sqlite3.Connection] = {}

    def connect(self, path: object, *, uri: bool = False, **options: Any) -> sqlite3.Connection:
        if not uri:
            alone: sqlite3.Connection = sqlite3.connect(":memory:", **options)
            return alone
        file = str(path).removeprefix("file://").partition("?")[0]
        address = f"file:/{id(self)}{file}?vfs=memdb"
        if address not in self._kept:
            self._kept[address] = sqlite3.connect(address, uri=True, check_same_thread=False)
        shared: sqlite3.Connection = sqlite3.connect(address, uri=True, **options)
        return shared

    def close(self) -> None:
        for connection in self._kept.values():
            connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)


_CLUSTER = Process("cluster")
_code_of_each = cache(code_of)  # it parses source, for each app that is run


def _code_of(functions: Iterable[Callable[..., Any]], owner: type | None = None) -> str:
    return _code_of_each(tuple(functions), owner)
