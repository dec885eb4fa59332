"""`on`: how a projection or a process says which events (or timeouts) a method is for.

    @hw.on(OrderPlaced, key=lambda event, meta: meta.time.date())
    def placed(self, event: OrderPlaced, meta: hw.Meta) -> None: ...

The decorator checks what it is given where it stands, so a mistake shows when the class is made. What the key
functions mean is up to the room that runs the reactions.

`Reverted` is an event of every entity and carries no key. A reaction to it is one to the reverts of the entities that
the class listens to: with `key=` (or `keys=`) of all of them; with none, of those whose own key names the row or the
process, and then the id of what was reverted does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, Protocol, TypeVar

import msgspec

from headwater.errors import Misuse
from headwater.messages.builtin import Reverted
from headwater.messages.declare import Event, Timeout, members_of
from headwater.messages.envelope import Meta

M = TypeVar("M", bound=Event | Timeout)
M_co = TypeVar("M_co", bound=Event | Timeout, covariant=True)
S = TypeVar("S")
R = TypeVar("R")
P = ParamSpec("P")

REACTIONS: Final = "__hw_reactions__"
SIGNATURES: Final = (
    "(self, event), optionally followed by meta: hw.Meta and, in a projection, rows: hw.Rows and sink: hw.Sink"
)

ROLES: Final = {"Meta": "meta", "Rows": "rows", "Sink": "sink"}
"""What a method may ask for after the event, in this order."""


class Reaction(NamedTuple):
    """One method for one type of message.

    Arguments: message_type: a concrete class; function: the method, called with (state, event), then meta and
    rows and sink if wanted; key, keys: called with (event, meta), None: the message's own key; entity: the type of the
    entities whose message it is, None: of none.
    """

    message_type: type[Event] | type[Timeout]
    function: Callable[..., Any]
    key: Callable[[Any, Meta], object] | None
    keys: Callable[[Any, Meta], Iterable[object]] | None
    wants_meta: bool
    wants_rows: bool
    wants_sink: bool = False
    entity: str | None = None


class On(Protocol[M_co]):
    """What `on` returns: takes a method whose second argument is the message. The result takes any message, so
    that a second `on` may stand above the first."""

    def __call__(self, function: Callable[Concatenate[S, M_co, P], R], /) -> Callable[Concatenate[S, Any, P], R]: ...


def on(
    message: type[M],
    *,
    key: Callable[[M, Meta], object] | None = None,
    keys: Callable[[M, Meta], Iterable[object]] | None = None,
) -> On[M]:
    """Marks a method as the reaction to a type of event or timeout, or to all events of a family.

    Arguments: key: which row (or process) it is for, a tuple for a key of several fields; keys: several, the
    method runs once for each; neither: the one with the message's own key.
    Raises: Misuse: no message type, both key and keys, or a method with other arguments.
    """
    if not (isinstance(message, type) and issubclass(message, (Event, Timeout))):
        raise Misuse(f"@hw.on({getattr(message, '__name__', message)!s}): give it a class of hw.Event or hw.Timeout")
    if key is not None and keys is not None:
        raise Misuse(f"@hw.on({message.__name__}): give it key= or keys=, not both")
    for name, function in (("key", key), ("keys", keys)):
        if function is not None and not callable(function):
            raise Misuse(f"@hw.on({message.__name__}, {name}=…): give it a function of (event, meta)")

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        wants_meta, wants_rows, wants_sink = wanted_arguments(message, function)
        marks = list(getattr(function, REACTIONS, ()))
        kind: Any = message
        marks.insert(0, Reaction(kind, function, key, keys, wants_meta, wants_rows, wants_sink))
        setattr(function, REACTIONS, marks)
        return function

    return mark


def reactions_of(cls: type) -> list[Reaction]:
    """The reactions of a class, its bases' included, in order of definition; a family becomes its members, and one to
    `Reverted` one for each entity type. Raises: Misuse: nothing says of which."""
    found: dict[str, list[Reaction]] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            marks = getattr(value, REACTIONS, None)
            if marks is None:
                found.pop(name, None)
            else:
                found[name] = marks
    marked = [
        reaction._replace(message_type=member, entity=member.__hw__.entity)
        for marks in found.values()
        for reaction in marks
        for member in concrete(reaction.message_type)
    ]
    return [
        one for each in marked for one in (reverts(cls, each, marked) if each.message_type is Reverted else (each,))
    ]


def reverts(cls: Any, reaction: Reaction, others: Sequence[Reaction]) -> list[Reaction]:
    """A reaction to `Reverted`, for each entity type whose reverts are meant. Raises: Misuse: there is none."""
    keyed = reaction.key is not None or reaction.keys is not None
    entities = {one.entity: None for one in others if keyed or (one.key is None and one.keys is None)}
    entities.pop(None, None)
    if not entities:
        where, wanted = f"{cls.__name__}.{reaction.function.__name__}", "the events of which entity it reacts to"
        if any(one.entity is not None for one in others):
            wanted = "which row or process it is for: @hw.on(hw.Reverted, key=lambda event, meta: …)"
        raise Misuse(f"{where}: a revert is an event of every entity and has no key of its own: say {wanted}")
    key = reaction.key if keyed else partial(entity_key, cls.__hw__.key_type)
    return [reaction._replace(entity=entity, key=key) for entity in entities]


def entity_key(kind: Any, event: Event, meta: Meta) -> object:
    """The id of the entity, as a key of that type."""
    return meta.entity_id if kind is str else msgspec.convert(meta.entity_id, kind, strict=False)


def concrete(message: Any) -> list[Any]:
    return list(members_of(message)) if message.__hw__.family else [message]


def wanted_arguments(message: type, function: Callable[..., Any]) -> tuple[bool, bool, bool]:
    """Whether a method wants meta, rows, and a sink. Raises: Misuse: it takes something else."""
    where = f"{getattr(function, '__qualname__', function)} (@hw.on({message.__name__}))"
    if not inspect.isfunction(function):
        raise Misuse(f"{where} must be a method: put @hw.on directly above def")
    if inspect.iscoroutinefunction(function):
        raise Misuse(f"{where} must not be async: a reaction changes state and waits for nothing")
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) < 2 or any(p.kind is not p.POSITIONAL_OR_KEYWORD for p in parameters):
        raise Misuse(f"{where} must take {SIGNATURES}")
    refuse_other_message(message, function, parameters[1], where)
    wants = [role_of(parameter) for parameter in parameters[2:]]
    if wants != [role for role in ROLES.values() if role in wants]:
        names = ", ".join(parameter.name for parameter in parameters)
        raise Misuse(f"{where} takes ({names}); it must take {SIGNATURES}")
    return "meta" in wants, "rows" in wants, "sink" in wants


def role_of(parameter: inspect.Parameter) -> str | None:
    """By annotation, or by name where there is none."""
    if parameter.annotation is inspect.Parameter.empty:
        return parameter.name if parameter.name in ROLES.values() else None
    annotation = parameter.annotation
    words = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return ROLES.get(words.partition("[")[0].rpartition(".")[2])


def refuse_other_message(message: type, function: Callable[..., Any], parameter: inspect.Parameter, where: str) -> None:
    """The annotation of the event must not contradict the decorator. Unions and names that are not known here
    are left to the type checker."""
    annotation = parameter.annotation
    if isinstance(annotation, str):
        annotation = function.__globals__.get(annotation)
    is_message = isinstance(annotation, type) and issubclass(annotation, (Event, Timeout))
    if is_message and not issubclass(message, annotation):
        raise Misuse(f"{where}: its argument {parameter.name} is a {annotation.__name__}, not a {message.__name__}")
