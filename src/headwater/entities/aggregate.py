"""How an aggregate is declared.

    class Order(hw.Aggregate[OrderEvent]):
        status: str = "new"

        @hw.decides
        def place(self, command: PlaceOrder, meta: hw.Meta) -> OrderPlaced: ...

        @hw.evolves
        def placed(self, event: OrderPlaced) -> None: ...

The annotation of the first argument says which message a method is for. Annotations are read where the
decorator stands, so classes made inside functions, and names under `from __future__ import annotations`,
resolve.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from headwater.errors import Misuse
from headwater.messages.declare import Event, State

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Callable[..., Any])


class Aggregate(State, Generic[E]):
    """The state of one entity; its subclass adds fields (each with a default) and methods.

    `id` is the entity's key as text, `version` the number of its events. Both are set by headwater.
    """

    id: str = ""
    version: int = 0


def decides(function: F) -> F:
    """Marks a method that answers a command: it returns an event, a sequence of events or None, or raises a
    `Rejected`. It must not change the state."""
    _mark(function, "decides")
    return function


def evolves(function: F) -> F:
    """Marks a method that applies an event to the state, in place. It must not refuse."""
    _mark(function, "evolves")
    return function


class Handler(typing.NamedTuple):
    """A marked method: what it is for, and whether it takes `meta`."""

    role: str
    function: Callable[..., Any]
    messages: tuple[type, ...]
    wants_meta: bool


def handlers_of(aggregate: type) -> list[Handler]:
    """The marked methods of a class, its bases' included, in order of definition.

    Raises: Misuse: an annotation that is missing or names nothing.
    """
    found: dict[str, Handler] = {}
    for base in reversed(aggregate.__mro__):
        for name, value in vars(base).items():
            mark = getattr(value, "__hw_mark__", None)
            if mark is None:
                found.pop(name, None)
                continue
            role, enclosing = mark
            found[name] = _handler(aggregate, value, role, enclosing)
    return list(found.values())


def _mark(function: Callable[..., Any], role: str) -> None:
    body = sys._getframe(2)  # the class body; the function around it, if any, is one further
    enclosing = dict(body.f_back.f_locals) if body.f_back is not None else {}
    function.__hw_mark__ = (role, {**enclosing, **body.f_locals})  # type: ignore[attr-defined] # ours, read above


def _handler(aggregate: type, function: Callable[..., Any], role: str, enclosing: Mapping[str, Any]) -> Handler:
    where = f"{aggregate.__name__}.{function.__name__}"
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if not 1 <= len(parameters) <= 2 or parameters[0].annotation is inspect.Parameter.empty:
        what = "command" if role == "decides" else "event"
        raise Misuse(f"{where} must take ({what}: ItsType) or ({what}: ItsType, meta: hw.Meta)")
    annotation = parameters[0].annotation
    if isinstance(annotation, str):
        names = {**function.__globals__, **enclosing, aggregate.__name__: aggregate}
        try:
            annotation = eval(annotation, names)
        except (NameError, AttributeError, SyntaxError) as error:
            raise Misuse(f"{where}: the annotation {annotation!r} cannot be resolved: {error}") from error
    union = isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
    kinds = typing.get_args(annotation) if union else (annotation,)
    return Handler(role, function, tuple(kinds), len(parameters) == 2)
