"""`App`: the parts of a service, assembled. It only wires; what happens is in the rooms that it names.

`run`: this process does the work (owns entities, maintains read models, reacts) and is a client as well.
`connect`: another process does the work. Both give the same `Shop`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

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
from headwater.log.topology import Topology, events_topic
from headwater.messages.declare import Event
from headwater.messages.reactions import reactions_of
from headwater.messages.upcasts import refuse_missing_steps
from headwater.owners.keeping import AS_USUAL, Keeping
from headwater.processes.declare import Process, ProcessShape, shape_of
from headwater.projections.declare import Projection
from headwater.schemas.codec import Format
from headwater.schemas.derivation import SchemaKind
from headwater.schemas.registries.late import LateRegistry
from headwater.schemas.topics import Codecs
from headwater.services import Part, Services, start_services
from headwater.settings import store_url_for, views_place_for
from headwater.stores.opening import StoreAddress

if TYPE_CHECKING:
    from headwater.client.views import Views
    from headwater.schemas.registries.publishing import Published
    from headwater.views.plan import View
    from headwater.views.reading import Statements

PARTITIONS = 8
READY_S = 60.0

PARTS: tuple[Part, ...] = ("commands", "projections", "views", "processes")


class App:
    """The declaration of a service.

    Arguments: name: names its consumer groups and the source of its events; aggregates, projections,
    processes: the classes; views: files of SQL, as a pattern ("views/*.sql", from the current directory), see
    docs/views.md; events: families that only views read; partitions: of the topics that it makes, fixed for their life;
    schemas: where the schemas of its events are registered: a directory such as "schemas/", "log://" or "https://…"
    (None: nowhere). A process that runs its commands starts only when they are compatible with the earlier ones;
    codecs: by topic, such as {"order-events": "avro"}, what its events are written as: "avro", "json-schema" or "json"
    (what a topic has that is not named). Of a topic that is named all three are read.
    Raises: Misuse: two aggregates of one entity type, a class that is declared wrongly, or an old version of an event
    that nothing reads.
    """

    def __init__(
        self,
        name: str,
        *,
        aggregates: Sequence[type[Aggregate[Any]]] = (),
        projections: Sequence[type[Projection]] = (),
        processes: Sequence[type[Process]] = (),
        views: str | None = None,
        events: Sequence[type[Event]] = (),
        partitions: int = PARTITIONS,
        schemas: str | None = None,
        codecs: Mapping[str, Format] | None = None,
    ) -> None:
        self.name, self.partitions, self.schemas = name, partitions, schemas
        self.registry = None if schemas is None else LateRegistry(schemas)
        self.codecs = Codecs(codecs or {}, self.registry)
        if views is not None and not isinstance(views, str):
            raise Misuse(f"views={views!r}: give a pattern of files of SQL, such as 'views/*.sql'")
        self.views, self.events = views, tuple(events)
        self.behaviours: dict[type, Behaviour[Any]] = {one: Behaviour(one, self.codecs) for one in aggregates}
        self.projections = tuple(projections)
        self.processes: tuple[ProcessShape, ...] = tuple(shape_of(one) for one in processes)
        self._refuse_unknown_topics()
        refuse_missing_steps(
            [
                *(behaviour.family for behaviour in self.behaviours.values()),
                *(one.message_type for projection in self.projections for one in reactions_of(projection)),
                *(event for shape in self.processes for event in shape.reactions),
                *self.events,
            ]
        )
        names = [b.entity for b in self.behaviours.values()] + [shape.entity for shape in self.processes]
        for entity in names:
            if names.count(entity) > 1:
                raise Misuse(f"app {name!r} has two owners of {entity!r}; an entity type has one aggregate or process")

    def _refuse_unknown_topics(self) -> None:
        known = {behaviour.entity for behaviour in self.behaviours.values()}
        known |= {entity for shape in self.processes for entity in shape.families}
        known |= {str(one.entity) for each in self.projections for one in reactions_of(each)}
        known |= {str(one.__hw__.entity) for one in self.events}
        topics = sorted(map(events_topic, known))
        for topic in self.codecs.topics:
            if topic not in topics:
                raise Misuse(f"codecs= names {topic!r}, and the app reads and writes {', '.join(topics) or 'nothing'}")

    def known_events(self) -> list[type[Event]]:
        """An event of each family that some part of the app knows."""
        found: list[Any] = [*self.events, *(one.family for one in self.behaviours.values())]
        found += [reaction.message_type for one in self.projections for reaction in reactions_of(one)]
        found += [event for shape in self.processes for event in shape.reactions]
        return list({one.__hw__.entity: one for one in found if one.__hw__.entity is not None}.values())

    def plans(self) -> list[View]:
        """Its views; none: it has none. Raises: Misuse: they cannot be read, or their packages are not installed."""
        found = self.statements()
        return [] if found is None else found.plans

    def statements(self) -> Statements | None:
        """The statements of its views; None: it has none. Raises: as `plans`."""
        if self.views is None:
            return None
        try:
            from headwater.views.reading import statements_of
        except ImportError as error:
            raise Misuse(f"views need DuckDB and its like: pip install 'headwater[views]' ({error})") from error
        aggregates = [(one.entity, one.aggregate) for one in self.behaviours.values()]
        return statements_of(self.views, self.known_events(), aggregates)

    def published(self) -> list[Published]:
        """The schemas of the events that it writes. Raises: Misuse: a class that no schema can describe."""
        from headwater.schemas.registries.publishing import published_by

        found: list[Published] = []
        for behaviour in self.behaviours.values():
            topic = events_topic(behaviour.entity)
            kind: SchemaKind = "avro" if self.codecs.format_of(topic) == "avro" else "json"
            found += published_by(topic, behaviour.events.classes.values(), kind)
        return found

    def listened(self) -> dict[str, list[type[Event]]]:
        """The events of others that its projections and processes react to, by topic."""
        own = {behaviour.entity for behaviour in self.behaviours.values()}
        reactions = [reaction for one in self.projections for reaction in reactions_of(one)]
        reactions += [reaction for shape in self.processes for reaction in shape.reactions.values()]
        found: dict[str, list[type[Event]]] = {}
        for cls in dict.fromkeys(reaction.message_type for reaction in reactions):
            if issubclass(cls, Event) and cls.__hw__.entity is not None and cls.__hw__.entity not in own:
                found.setdefault(events_topic(cls.__hw__.entity), []).append(cls)
        return found

    def run(
        self,
        url: str | Log,
        *,
        only: Sequence[Part] = PARTS,
        store: StoreAddress | None = None,
        views_store: str | None = None,
        state_memory_mb: int = AS_USUAL.memory_mb,
        standby: bool = False,
        environment: Environment = SYSTEM,
    ) -> Running:
        """Does the work of the app on a log, as a context manager: `with` gives `Shop`, `async with` `AsyncShop`.

        Arguments: url: see `open_log`, or an open log, which stays open; only: which parts this process runs;
        store: where read models live (`memory://`, `sqlite:///file`, or a function that opens a store of your own;
        None: beside the log); views_store: where the state of views is kept (`duckdb:///file`, `sqlite:///file` or
        `postgresql://…`; None: in a file of DuckDB beside the read models); state_memory_mb: how
        much memory states may take on Kafka, where a file on this machine has all of them; standby: whether
        entities that other processes own are followed on this machine, so that it takes over at once; environment:
        time and ids.
        """
        unknown = [part for part in only if part not in PARTS]
        if unknown:
            raise Misuse(f"only={unknown!r}: the parts are {', '.join(PARTS)}")
        keeping = Keeping(state_memory_mb, standby)
        return Running(self, url, tuple(only), store, views_store, environment, keeping)

    def connect(
        self,
        url: str | Log,
        *,
        store: StoreAddress | None = None,
        views_store: str | None = None,
        environment: Environment = SYSTEM,
    ) -> Running:
        """A client of the app's entities and read models; another process does the work. Else as `run`."""
        return Running(self, url, (), store, views_store, environment)


class Running:
    """An app on a log, from `with` to its end. Made by `App.run` and `App.connect`."""

    def __init__(
        self,
        app: App,
        log: str | Log,
        parts: tuple[Part, ...],
        store: StoreAddress | None,
        views_store: str | None,
        environment: Environment,
        keeping: Keeping = AS_USUAL,
    ) -> None:
        self._app, self._parts = app, parts
        self._url = log if isinstance(log, str) else log.url
        self._given = None if isinstance(log, str) else log
        self._store, self._views_store = store, views_store
        self._environment, self._keeping = environment, keeping
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
        if self._app.registry is not None:
            self._app.registry.close()
        if self._log is not None and self._given is None:
            self._log.close()
        self.services = self._desk = self.models = self._log = None

    def _where(self, app: str) -> StoreAddress:
        store = self._store
        return store_url_for(self._url, app, store) if store is None or isinstance(store, str) else store

    def _open_views(self, log: Log) -> Views | None:
        """The views of the app; their packages are needed only where there are any. Raises: Misuse."""
        app = self._app
        statements = app.statements()
        if statements is None or not statements.plans:
            return None
        from headwater.client.views import Views

        store = self._store if isinstance(self._store, str) else None
        place = views_place_for(self._url, app.name, store, self._views_store)
        return Views(app.name, statements, log, place, self._environment, app.codecs)

    def _check_schemas(self) -> None:
        """Raises: Misuse: events of this code must not be written. Unavailable: the registry cannot be asked."""
        if self._app.registry is None or not self._app.behaviours:
            return
        from headwater.schemas.registries.publishing import ready
        from headwater.schemas.subjects import parsed_subject

        registry, published = self._app.registry.opened(), self._app.published()
        ready(registry, published)  # what it learns here, writers need not ask again
        codecs, framed = self._app.codecs, []
        for one in published:
            if codecs.format_of(parsed_subject(one.subject).topic) == "json":
                codecs.locations[one.subject] = registry.location(registry.id_of(one.subject, one.schema))
            else:
                framed.append(one)
        self._app.registry.carry(framed)

    def _open(self) -> tuple[Desk, ReadModels]:
        if self._log is not None:
            raise Misuse("this app is entered already; call run or connect again for another one")
        app, environment = self._app, self._environment
        process = f"{socket.gethostname()}-{os.getpid()}-{environment.new_id()[-12:]}"
        log = self._log = self._given or open_log(self._url)
        try:
            if app.registry is not None:
                app.registry.over(log)
            topology = Topology.read(log)
            topology.check_beginnings()
            if "commands" in self._parts:
                self._check_schemas()
            self.models = ReadModels.open(
                app.name,
                app.projections,
                list(app.behaviours.values()),
                log,
                topology,
                self._where(app.name),
                environment,
                app.codecs,
                self._open_views(log),
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
