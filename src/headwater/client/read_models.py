"""Read models as a client sees them: rows, SQL, and waiting until they include what a receipt speaks of.

The process that maintains them has a runner for each, whose progress wakes its readers; every other process
looks at the positions in the store, and makes or changes no table there: its app may be an older version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from headwater.client.receipts import Receipt
from headwater.entities.behaviour import Behaviour
from headwater.environment import Environment
from headwater.errors import Misuse
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import Topology
from headwater.messages.declare import State
from headwater.messages.tokens import decode_token
from headwater.projections.declare import Projection
from headwater.projections.entity_table import aggregate_tables
from headwater.projections.read_model import ReadModel, read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.projections.waiting import wait_until
from headwater.readers.loop import ReadingLoop
from headwater.stores.opening import open_store
from headwater.stores.port import Answer, Store, TableSchema
from headwater.stores.typed import rows_as

R = TypeVar("R", bound=State)
T = TypeVar("T")

After = Receipt | str | Sequence[Receipt] | None
"""What a read must include: a receipt, several, or a token. None: whatever is there."""


class ReadModels:
    """The projections of an app, and its aggregates as tables, in one store.

    Arguments: models; classes: projection or aggregate class -> its table and read model.
    """

    def __init__(
        self,
        store: Store,
        log: Log,
        topology: Topology,
        classes: Mapping[type, tuple[TableSchema[Any], ReadModel]],
        environment: Environment,
    ) -> None:
        self._store, self._log, self._topology, self._environment = store, log, topology, environment
        self._classes = classes
        self._models = list({model.runner: model for _, model in classes.values()}.values())
        self._runners: dict[str, tuple[ProjectionRunner, ReadingLoop]] = {}

    @classmethod
    def open(
        cls,
        app: str,
        projections: Sequence[type[Projection]],
        behaviours: Sequence[Behaviour[Any]],
        log: Log,
        topology: Topology,
        url: str,
        environment: Environment,
    ) -> ReadModels:
        """Opens the store.

        Raises: Misuse: two tables of one name, a store of another log. Unavailable: the store cannot be used.
        """
        classes: dict[type, tuple[TableSchema[Any], ReadModel]] = {}
        models = read_models_of(app, projections)
        models += aggregate_tables(app, behaviours, models)
        for model in models:
            classes.update({table.row: (table, model) for table in model.tables})
        store = open_store(url)
        try:
            store.bind(log.id)
        except BaseException:
            store.close()
            raise
        return cls(store, log, topology, classes, environment)

    @property
    def models(self) -> list[ReadModel]:
        return self._models

    @property
    def store(self) -> Store:
        return self._store

    def families(self) -> set[str]:
        """The entity types whose events feed some read model."""
        return {entity for model in self._models for entity in model.families}

    def loops(self, worker: str) -> list[ReadingLoop]:
        """The loops that maintain the read models in this process, not yet started."""
        for model in self._models:
            runner = ProjectionRunner(model, self._log, self._store, worker=worker, environment=self._environment)
            self._runners[model.runner] = (runner, runner.loop())
        return [loop for _, loop in self._runners.values()]

    def row(self, model: type[R], key: tuple[Any, ...], after: After, timeout_s: float) -> R | None:
        """See `Shop.row`."""
        table, source = self._find(model)
        self._wait([source], after, timeout_s)
        return self._store.row(table, key)

    def rows(self, model: type[R], equal: Mapping[str, object], after: After, timeout_s: float) -> list[R]:
        """See `Shop.rows`."""
        table, source = self._find(model)
        self._wait([source], after, timeout_s)
        return self._store.rows(table, equal)

    def query(self, sql: str, arguments: tuple[Any, ...], into: type[T], after: After, timeout_s: float) -> list[T]:
        """See `Shop.query`."""
        self.wait_for(sql, after, timeout_s)
        return list(rows_as(self.answer(sql, arguments, timeout_s=timeout_s), into))

    def wait_for(self, sql: str, after: After, timeout_s: float) -> None:
        """Waits until the read models that a query names include what `after` speaks of. Raises: NotYet, Misuse."""
        tables = self._tables_in(sql)
        named = [model for model in self._models if any(table in tables for table in model.tables)]
        self._wait(named, after, timeout_s)

    def answer(self, sql: str, arguments: Sequence[object] = (), *, timeout_s: float | None = None) -> Answer:
        """The answer to SQL as columns and tuples. Raises: Misuse. Unavailable: a table is not there yet, or it took
        longer than `timeout_s`."""
        try:
            return self._store.query(sql, arguments, timeout_s=timeout_s)
        except Misuse:
            for table in self._tables_in(sql):
                self._store.rows(table, limit=0)  # says so if nobody has made it yet, or if its shape is another one
            raise

    def lag(self) -> dict[str, int]:
        """Records still to read, per read model; a number of offsets, gaps included."""
        return {model.title: self._lag(model) for model in self._models}

    def close(self) -> None:
        for runner, _ in self._runners.values():
            runner.close()
        self._store.close()

    def _lag(self, model: ReadModel) -> int:
        topics = self._log.topics([topic.name for topic in model.topics])
        partitions = [
            TopicPartition(topic.name, p)
            for topic in model.topics
            if topic.name in topics
            for p in range(topics[topic.name].partitions)
        ]
        stored = self._store.positions(model.runner)
        return sum(max(0, end - stored.get(tp, 0)) for tp, end in self._log.ends(partitions).items())

    def _tables_in(self, sql: str) -> list[TableSchema[Any]]:
        """The tables that a query names."""
        words = set(re.findall(r"\w+", sql.lower()))
        return [table for table, _ in self._classes.values() if table.name in words]

    def _find(self, model: type[R]) -> tuple[TableSchema[R], ReadModel]:
        found = self._classes.get(model)
        if found is None:
            raise Misuse(f"{model.__name__} is no read model of this app; add it to hw.App(projections=[...])")
        return found

    def _wait(self, models: Iterable[ReadModel], after: After, timeout_s: float) -> None:
        wanted = self._wanted(after)
        for model in models:
            topics = {topic.name for topic in model.topics}
            part = {tp: position for tp, position in wanted.items() if tp.topic in topics}
            if not part:
                continue
            runner, loop = self._runners.get(model.runner, (None, None))
            wait_until(
                self._store,
                model.runner,
                part,
                timeout_s,
                log=self._log,
                title=model.title,
                progress=runner.progress if runner is not None else None,
                status=loop.status if loop is not None else None,
                environment=self._environment,
            )

    def _wanted(self, after: After) -> dict[TopicPartition, int]:
        """The positions of receipts or of a token. Raises: Misuse: they are of another log."""
        if after is None:
            return {}
        if isinstance(after, str):
            token = decode_token(after)
            if token.log_id != self._log.id:
                raise Misuse(f"the token is of log {token.log_id}, not of this one ({self._log.id})")
            return {TopicPartition(*tp): position for tp, position in token.positions.items()}
        wanted: dict[TopicPartition, int] = {}
        for receipt in [after] if isinstance(after, Receipt) else after:
            for tp, position in receipt.positions.items():
                wanted[tp] = max(position, wanted.get(tp, 0))
        return wanted
