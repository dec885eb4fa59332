"""Read models as a client sees them: rows, SQL, and waiting until they include what a receipt speaks of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from headwater.client.receipts import Receipt
from headwater.entities.behaviour import Behaviour
from headwater.environment import Environment
from headwater.errors import Misuse
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import Topology
from headwater.messages.declare import State
from headwater.messages.tokens import decode_token
from headwater.projections.declare import Projection, table_of
from headwater.readers.loop import ReadingLoop
from headwater.stores.opening import open_store
from headwater.stores.port import Answer, Store, TableSchema

R = TypeVar("R", bound=State)
T = TypeVar("T")

After = Receipt | str | Sequence[Receipt] | None
"""What a read must include: a receipt, several, or a token. None: whatever is there."""


class ReadModels:
    """The projections of an app, and its aggregates as tables, in one store."""

    def __init__(self, store: Store, log: Log, tables: Mapping[type, TableSchema[Any]]) -> None:
        self._store, self._log, self._tables = store, log, tables

    @classmethod
    def open(
        cls,
        app: str,
        projections: Sequence[type[Projection]],
        behaviours: Sequence[Behaviour[Any]],
        log: Log,
        topology: Topology,
        url: str,
        *,
        writable: bool,
        environment: Environment,
    ) -> ReadModels:
        store = open_store(url)
        store.bind(log.id)
        return cls(store, log, {one: table_of(one) for one in projections})

    def families(self) -> set[str]:
        return set()

    def loops(self) -> list[ReadingLoop]:
        return []

    def row(self, model: type[R], key: tuple[Any, ...], after: After, timeout_s: float) -> R | None:
        self._wait(model, after, timeout_s)
        found: R | None = self._store.row(self._table(model), key)
        return found

    def rows(self, model: type[R], equal: Mapping[str, object], after: After, timeout_s: float) -> list[R]:
        self._wait(model, after, timeout_s)
        return self._store.rows(self._table(model), equal)

    def query(self, sql: str, arguments: tuple[Any, ...], into: type[T], after: After, timeout_s: float) -> list[T]:
        return [msgspec.convert(row, into, strict=False) for row in self.answer(sql, arguments).dicts()]

    def answer(self, sql: str, arguments: Sequence[object] = ()) -> Answer:
        return self._store.query(sql, arguments)

    def lag(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        self._store.close()

    def _table(self, model: type[R]) -> TableSchema[R]:
        found = self._tables.get(model)
        if found is None:
            raise Misuse(f"{model.__name__} is no read model of this app; add it to hw.App(projections=[...])")
        return found

    def _wait(self, model: type, after: After, timeout_s: float) -> None:
        """To come with the runner."""

    @staticmethod
    def _wanted(after: After) -> dict[TopicPartition, int]:
        if after is None:
            return {}
        if isinstance(after, str):
            return {TopicPartition(*tp): offset for tp, offset in decode_token(after).positions.items()}
        wanted: dict[TopicPartition, int] = {}
        for receipt in [after] if isinstance(after, Receipt) else after:
            for tp, offset in receipt.positions.items():
                wanted[tp] = max(offset, wanted.get(tp, 0))
        return wanted
