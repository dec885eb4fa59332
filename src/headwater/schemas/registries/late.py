"""A registry that is opened when it is first asked: an app names it where it is declared, before there is a log.

Where schemas are files, each process has those that were deployed with its code. In a rolling deployment older
processes meet records of newer code, so what an app writes with is carried in the log, too (`carry`), and found there.
The files stay the registry: what may be registered follows from them alone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from headwater.log.port import Log
from headwater.schemas.port import Schema, UnknownSchema

if TYPE_CHECKING:
    from headwater.schemas.registries.log_topic import LogRegistry
    from headwater.schemas.registries.port import Registry
    from headwater.schemas.registries.publishing import Published


class LateRegistry:
    """A `SchemaSource`. Arguments: address: see `open_registry`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._log: Log | None = None
        self._registry: Registry | None = None
        self._carried: LogRegistry | None = None

    def over(self, log: Log) -> None:
        """Says which log the app runs on, for a registry that lives there."""
        self._log = log

    def schema(self, id: int | UUID) -> Schema:
        registry = self.opened()
        try:
            return registry.schema(id)
        except UnknownSchema as missing:
            carried = self._in_the_log(registry)
            if carried is None:
                raise
            try:
                return carried.schema(id)
            except UnknownSchema:
                raise missing from None

    def id_of(self, subject: str, schema: Schema) -> int:
        return self.opened().id_of(subject, schema)

    def carry(self, published: Sequence[Published]) -> None:
        """Puts registered schemas beside the events, for processes with older files; nothing, where every process asks
        the same registry. Raises: Unavailable: the log, or it has another schema with the id of one."""
        registry = self.opened()
        carried = self._in_the_log(registry)
        if carried is not None:
            for one in published:
                carried.carry(one.subject, one.schema, registry.id_of(one.subject, one.schema))

    def location(self, id: int) -> str:
        return self.opened().location(id)

    def close(self) -> None:
        """Closes it; asked again, it is opened again. Idempotent."""
        with self._lock:
            registry, self._registry, self._carried = self._registry, None, None
        if registry is not None:
            registry.close()

    def opened(self) -> Registry:
        """The registry itself, with what it remembers. Raises: Misuse, Unavailable: as `open_registry`."""
        from headwater.schemas.registries.opening import open_registry

        with self._lock:
            if self._registry is None:
                self._registry = open_registry(self._address, self._log)
            return self._registry

    def _in_the_log(self, registry: Registry) -> LogRegistry | None:
        """None: the registry is one for all processes, or no log is open."""
        from headwater.schemas.registries.log_topic import LogRegistry

        with self._lock:
            if not registry.by_hand or self._log is None:
                return None
            if self._carried is None:
                self._carried = LogRegistry(self._log, "NONE")
            return self._carried
