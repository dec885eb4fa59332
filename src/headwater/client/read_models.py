"""Read models as a client sees them: rows, SQL, and waiting until they include what a receipt speaks of.

The process that maintains them has a runner for each, whose progress wakes its readers; every other process
looks at the positions in the store, and makes or changes no table there: its app may be an older version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from headwater.client.arguments import refuse_receipts
from headwater.client.receipts import Receipt
from headwater.entities.behaviour import Behaviour
from headwater.environment import Environment
from headwater.errors import Misuse
from headwater.log.port import Log, Positions, TopicPartition
from headwater.log.topology import Topology
from headwater.messages.declare import State
from headwater.messages.tokens import decode_token
from headwater.projections.declare import Projection
from headwater.projections.entity_table import aggregate_tables
from headwater.projections.read_model import ReadModel, read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.projections.waiting import Progress, Watched, health, reached, refuse_held, wait_until
from headwater.readers.loop import ReadingLoop, Status
from headwater.readers.relaying import Relaying
from headwater.schemas.topics import PLAIN, Codecs
from headwater.stores.opening import StoreAddress, open_store
from headwater.stores.port import Answer, Store, TableSchema
from headwater.stores.typed import rows_as

if TYPE_CHECKING:
    from headwater.client.following import Following
    from headwater.client.views import Views
    from headwater.views.moments import Estimate, Moment

R = TypeVar("R", bound=State)
T = TypeVar("T")

After = Receipt | str | Sequence[Receipt] | None
"""What a read must include: a receipt, several, or a token. None: whatever is there."""

Wanted = Sequence[tuple[ReadModel, Positions]]
"""Read models, and how far each must have come."""

OF_VIEWS = "only views can be asked how they were"

VERSION = re.compile("_v[0-9]+$")
"""What follows a table's name where a query asks for one version of it."""


class ReadModels:
    """The projections of an app, and its aggregates as tables, in one store; and its views, in their file.

    Arguments: classes: projection or aggregate class -> its table and read model; views: None: the app has none.
    """

    def __init__(
        self,
        store: Store,
        log: Log,
        topology: Topology,
        classes: Mapping[type, tuple[TableSchema[Any], ReadModel]],
        environment: Environment,
        views: Views | None = None,
    ) -> None:
        self._views = views
        self._store, self._log, self._topology, self._environment = store, log, topology, environment
        self._classes = classes
        self._models = list({model.runner: model for _, model in classes.values()}.values())
        self._tables = {table.name for table, _ in classes.values()}
        self._runners: dict[str, tuple[ProjectionRunner, ReadingLoop]] = {}

    @classmethod
    def open(
        cls,
        app: str,
        projections: Sequence[type[Projection]],
        behaviours: Sequence[Behaviour[Any]],
        log: Log,
        topology: Topology,
        url: StoreAddress,
        environment: Environment,
        codecs: Codecs = PLAIN,
        views: Views | None = None,
    ) -> ReadModels:
        """Opens the store.

        Raises: Misuse: two tables of one name, a store of another log. Unavailable: the store cannot be used.
        """
        classes: dict[type, tuple[TableSchema[Any], ReadModel]] = {}
        models = read_models_of(app, projections, codecs)
        models += aggregate_tables(app, behaviours, models)
        for model in models:
            classes.update({table.row: (table, model) for table in model.tables})
        refuse_one_name(classes.values(), [] if views is None else views.names)
        store = open_store(url)
        try:
            store.bind(log.id)
        except BaseException:
            store.close()
            raise
        return cls(store, log, topology, classes, environment, views)

    @property
    def models(self) -> list[ReadModel]:
        return self._models

    @property
    def store(self) -> Store:
        return self._store

    @property
    def views(self) -> Views | None:
        """None: the app has none."""
        return self._views

    @property
    def _view_models(self) -> list[ReadModel]:
        return [] if self._views is None else self._views.models

    def families(self) -> set[str]:
        """The entity types whose events feed some read model."""
        found = {entity for model in [*self._models, *self._view_models] for entity in model.families}
        return found if self._views is None else found | self._views.families

    @property
    def notices(self) -> list[str]:
        """What runners of this process have noticed that is no failure."""
        return [text for runner, _ in self._runners.values() for text in runner.notices] + (
            [] if self._views is None else self._views.notices
        )

    def loops(self, worker: str) -> list[ReadingLoop]:
        """The loops that maintain the read models in this process, not yet started."""
        for model in self._models:
            runner = ProjectionRunner(model, self._log, self._store, worker=worker, environment=self._environment)
            self._runners[model.runner] = (runner, runner.loop())
        return [loop for _, loop in self._runners.values()]

    def view_loops(self, worker: str) -> list[ReadingLoop]:
        """As `loops`, for the views."""
        return [] if self._views is None else self._views.loops(worker)

    def streams(self, worker: str) -> list[tuple[Relaying, ReadingLoop]]:
        """What writes the streams of the views into topics, and what reads for it, not yet started."""
        return [] if self._views is None else self._views.streams(worker)

    # --- waiting

    def wanted(self, read: type | str, after: After) -> Wanted:
        """What has to be reached before something is read. Arguments: read: a class of rows, or SQL.

        Raises: Misuse: no such read model, or `after` is of another log.
        """
        models = self._named_in(read) if isinstance(read, str) else [self._find(read)[1]]
        if after is None:
            return []
        positions = self._positions_of(after)
        return [(model, part) for model in models if (part := self._part(model, positions))]

    def wait(self, wanted: Wanted, timeout_s: float) -> None:
        """Waits in the calling thread until all is reached. Raises: NotYet."""
        for model, part in wanted:
            self._wait(model, part, timeout_s)

    def look(self, wanted: Wanted) -> bool:
        """Whether all is reached by now. Raises: NotYet: nobody is alive who could bring it there, or it is held."""
        for model, part in wanted:
            store, _, status = self._maintained(model)
            positions = store.positions(model.runner)
            if reached(positions, part):
                refuse_held(store, model.runner, part, positions, model.title)
                continue
            state, _ = health(store.notes(model.runner), status, self._environment)
            if state == "running":
                self._refuse_waiting(model)
                return False
            self._wait(model, part, 0)
        return True

    # --- reading what is there

    def row(self, model: type[R], key: tuple[Any, ...]) -> R | None:
        """See `Shop.row`."""
        return self._store.row(self._find(model)[0], key)

    def rows(self, model: type[R], equal: Mapping[str, object]) -> list[R]:
        """See `Shop.rows`."""
        return self._store.rows(self._find(model)[0], equal)

    def query(self, sql: str, arguments: tuple[Any, ...], into: type[T], timeout_s: float) -> list[T]:
        """See `Shop.query`."""
        return list(rows_as(self.answer(sql, arguments, timeout_s=timeout_s), into))

    def answer(self, sql: str, arguments: Sequence[object] = (), *, timeout_s: float | None = None) -> Answer:
        """The answer to SQL as columns and tuples. Raises: Misuse. Unavailable: a table is not there yet, or it took
        longer than `timeout_s`."""
        if self._views is not None and self._views.named_in(sql, self._is_stored):
            return self._views.answer(sql, arguments, timeout_s)
        try:
            return self._store.query(sql, arguments, timeout_s=timeout_s)
        except Misuse:
            for table in self._tables_in(sql):
                self._store.rows(table, limit=0)  # says so if nobody has made it yet, or if its shape is another one
            raise

    def follow(
        self, sql: str, arguments: tuple[Any, ...], into: type[T], since: str | None, timeout_s: float, most: int
    ) -> Following[T]:
        """See `Shop.follow`."""
        from headwater.client.following import Following

        return Following(self._some_views("only views can be followed"), sql, arguments, into, since, timeout_s, most)

    def past(
        self, sql: str, arguments: Sequence[object], moment: Moment | str, timeout_s: float | None, most: int
    ) -> Answer:
        """The answer to SQL as it was. See `Shop.query`."""
        return self._some_views(OF_VIEWS).past.answer(sql, arguments, moment, timeout_s, most)

    def estimate(self, sql: str, moment: Moment | str) -> Estimate:
        """See `Shop.estimate`."""
        return self._some_views(OF_VIEWS).past.estimate(sql, moment)

    def _some_views(self, why: str) -> Views:
        """Raises: Misuse: the app has none."""
        if self._views is None:
            raise Misuse(f"{why}, and this app has none: hw.App(…, views=…)")
        return self._views

    def lag(self) -> dict[str, int]:
        """Records still to read, per read model; a number of offsets, gaps included."""
        return {model.title: self._lag(model) for model in [*self._models, *self._view_models]}

    def close(self) -> None:
        if self._views is not None:
            self._views.close()
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
        stored = self._maintained(model)[0].positions(model.runner)
        return sum(max(0, end - stored.get(tp, 0)) for tp, end in self._log.ends(partitions).items())

    def _named_in(self, sql: str) -> list[ReadModel]:
        """The read models that a query names; all, if it names none: it may reach them by another way."""
        if self._views is not None and (views := self._views.named_in(sql, self._is_stored)):
            return views
        tables = self._tables_in(sql)
        return [model for model in self._models if not tables or any(table in tables for table in model.tables)]

    def _is_stored(self, name: str) -> bool:
        return VERSION.sub("", name) in self._tables

    def _tables_in(self, sql: str) -> list[TableSchema[Any]]:
        """The tables that a query names, with or without their version."""
        words = {VERSION.sub("", word) for word in re.findall(r"\w+", sql.lower())}
        return [table for table, _ in self._classes.values() if table.name in words]

    def _find(self, model: type[R]) -> tuple[TableSchema[R], ReadModel]:
        found = self._classes.get(model)
        if found is None:
            raise Misuse(f"{model.__name__} is no read model of this app; add it to hw.App(projections=[...])")
        return found

    def _part(self, model: ReadModel, wanted: Positions) -> dict[TopicPartition, int]:
        topics = {topic.name for topic in model.topics}
        return {tp: position for tp, position in wanted.items() if tp.topic in topics}

    def _wait(self, model: ReadModel, part: Positions, timeout_s: float) -> None:
        store, progress, status = self._maintained(model)
        self._refuse_waiting(model)
        wait_until(
            store,
            model.runner,
            part,
            timeout_s,
            log=self._log,
            title=model.title,
            progress=progress,
            status=status,
            environment=self._environment,
        )

    def _refuse_waiting(self, model: ReadModel) -> None:
        """Raises: Unavailable: this process maintains a view, and another one has all of its partitions."""
        if self._views is not None and model in self._view_models:
            self._views.refuse_waiting(model)

    def _maintained(self, model: ReadModel) -> tuple[Watched, Progress | None, Status | None]:
        """What tells how far a read model is; and of its runner, if that runs here, what wakes and what it says."""
        if self._views is not None and model in self._view_models:
            return self._views.watched(model)
        runner, loop = self._runners.get(model.runner, (None, None))
        return self._store, None if runner is None else runner.progress, None if loop is None else loop.status

    def _positions_of(self, after: Receipt | str | Sequence[Receipt]) -> dict[TopicPartition, int]:
        """The positions of receipts or of a token. Raises: Misuse: they are of another log."""
        if isinstance(after, str):
            token = decode_token(after)
            self._refuse_other(token.log_id, "token")
            return {TopicPartition(*tp): position for tp, position in token.positions.items()}
        receipts = [after] if isinstance(after, Receipt) else after
        refuse_receipts(receipts)
        wanted: dict[TopicPartition, int] = {}
        for receipt in receipts:
            self._refuse_other(receipt.log, "receipt")
            for tp, position in receipt.positions.items():
                wanted[tp] = max(position, wanted.get(tp, 0))
        return wanted

    def _refuse_other(self, log_id: str, what: str) -> None:
        if log_id != self._log.id:
            raise Misuse(f"the {what} is of log {log_id}, not of this one ({self._log.id})")


def refuse_one_name(classes: Iterable[tuple[TableSchema[Any], ReadModel]], views: Iterable[str]) -> None:
    """Raises: Misuse: a view is called as a table is."""
    tables = {table.name: model.title for table, model in classes}
    for view in views:
        if view.lower() in tables:
            raise Misuse(f"view {view} has the name of the table of {tables[view.lower()]}: give it another")
