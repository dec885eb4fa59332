"""How a process is declared: a state with one key, and reactions that return commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from headwater.errors import Misuse
from headwater.failures.policy import DEFAULT, FailurePolicy
from headwater.messages.builtin import Reverted
from headwater.messages.declare import Event, State, StateMeta
from headwater.messages.info import Kind
from headwater.messages.reactions import Reaction, reactions_of


class ProcessMeta(StateMeta):
    """The class of process classes: takes `on_failure` off the class statement."""

    __hw_on_failure__: FailurePolicy

    def __new__(
        mcls,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        /,
        *,
        on_failure: FailurePolicy = DEFAULT,
        **options: Any,
    ) -> Any:
        cls = super().__new__(mcls, class_name, bases, namespace, **options)
        cls.__hw_on_failure__ = on_failure
        return cls


class Process(State, metaclass=ProcessMeta, kind="state"):
    """The state of one run of a process; its subclass names the key and adds fields with defaults. `on_failure` says
    what happens at an event that it cannot react to.

    class Billing(hw.Process, version=1):
        order_id: hw.Key[str]

        @hw.on(OrderPlaced)
        def charge(self, event: OrderPlaced, meta: hw.Meta) -> RequestPayment: ...
    """

    if TYPE_CHECKING:

        def __init_subclass__(
            cls,
            *,
            name: str | None = None,
            version: int = 1,
            on_failure: FailurePolicy = DEFAULT,
            entity: str | None = None,
            kind: Kind | None = None,
        ) -> None: ...


class ProcessShape(NamedTuple):
    """A process class, read once.

    Arguments: name: identifies it in command ids and source marks, whatever its version; entity: names its
    topics (a new version has new ones, so its state starts anew while its commands stay the same commands); on_failure:
    what happens at an event that it cannot react to; reverts: the entity types whose reverts it reacts to.
    """

    process: type[Process]
    name: str
    entity: str
    key_field: str
    reactions: dict[type[Event], Reaction]
    on_failure: FailurePolicy = DEFAULT
    reverts: frozenset[str] = frozenset()

    @property
    def families(self) -> list[str]:
        """The entity types that it listens to."""
        return sorted({event.__hw__.entity for event in self.reactions if event.__hw__.entity is not None})

    def events_of(self, entity: str) -> list[type[Event]]:
        """What it listens to of an entity type."""
        own = [event for event in self.reactions if event.__hw__.entity == entity]
        return [*own, Reverted] if entity in self.reverts else own


def shape_of(process: type[Process]) -> ProcessShape:
    """Reads a process class. Raises: Misuse: no single key, no reaction, two for one event, one that asks for
    what a process has not."""
    info = process.__hw__
    if len(info.key_fields) != 1:
        raise Misuse(f"process {process.__name__} needs exactly one field of type hw.Key[...]")
    found: dict[type[Event], Reaction] = {}
    reverts: set[str] = set()
    for reaction in reactions_of(process):
        event = reaction.message_type
        if not issubclass(event, Event):
            raise Misuse(f"{process.__name__}.{reaction.function.__name__}: {event.__name__} is not an event")
        if event in found and (event is not Reverted or found[event].function is not reaction.function):
            raise Misuse(f"{process.__name__} has two reactions to {event.__name__}")
        if reaction.keys is not None:
            raise Misuse(f"{process.__name__}.{reaction.function.__name__}: a process takes key=, not keys=")
        if reaction.wants_rows or reaction.wants_sink:
            raise Misuse(
                f"{process.__name__}.{reaction.function.__name__} asks for rows or a sink, which only projections have"
            )
        found[event] = reaction
        if event is Reverted and reaction.entity is not None:
            reverts.add(reaction.entity)
    if not found:
        raise Misuse(f"process {process.__name__} reacts to nothing; add a method with @hw.on(SomeEvent)")
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", info.wire_name).lower()
    entity = name if info.version == 1 else f"{name}-v{info.version}"
    policy = cast("ProcessMeta", process).__hw_on_failure__
    return ProcessShape(process, name, entity, info.key_fields[0], found, policy, frozenset(reverts))
