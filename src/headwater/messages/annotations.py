"""From the annotations of a class body to types that msgspec decodes strictly.

Annotations arrive as objects, as strings (`from __future__ import annotations`) or with strings inside
(`list["Node"]`); classes may be made inside functions. `resolve` turns them into types with the names that
the class body could see; `strict` makes the few changes that decoding needs.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from datetime import datetime
from types import FrameType, SimpleNamespace, UnionType
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin, get_type_hints

import msgspec

AWARE = Annotated[datetime, msgspec.Meta(tz=True)]


def own_annotations(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations of a class body that is being made, class variables left out."""
    if sys.version_info >= (3, 14):  # PEP 649: they are a function in the body's namespace
        from annotationlib import Format, call_annotate_function, get_annotate_from_class_namespace

        annotate = get_annotate_from_class_namespace(namespace)
        found = {} if annotate is None else call_annotate_function(annotate, Format.FORWARDREF)
    else:
        found = namespace.get("__annotations__", {})
    return {name: note for name, note in found.items() if not is_class_variable(note)}


def names_in_sight(module: str, namespace: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """The names that a class body could use beside its module's: the locals of the function that makes the
    class, and the body's own, but not its fields' defaults (`date: date | None = None` means the type).
    Called while the class is made."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != module:
        frame = frame.f_back
    outer = {} if frame is None or frame.f_locals is frame.f_globals else dict(frame.f_locals)
    return {**outer, **{name: value for name, value in namespace.items() if name not in fields}}


def resolve(annotations: Mapping[str, Any], module: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """The types of those annotations whose names are known by now; the others are left out. Raises whatever
    else an annotation raises when it is evaluated."""
    scope = vars(sys.modules[module]) if module in sys.modules else {}
    types: dict[str, Any] = {}
    for field, annotation in annotations.items():
        holder = SimpleNamespace(__annotations__={field: annotation})
        try:
            types[field] = get_type_hints(holder, scope, dict(names), include_extras=True)[field]
        except NameError:
            continue
    return types


def is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.partition("[")[0].rpartition(".")[2].strip() == "ClassVar"
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def strict(annotation: Any, key: bool = False) -> Any:
    """The same type for msgspec, with every `datetime` bound to have a time zone, and a text that is a key to have
    at least one character."""
    if key and mentions(annotation, str):
        return Annotated[annotation, msgspec.Meta(min_length=1)]
    annotation = unwrapped(annotation)
    if annotation is datetime:
        return AWARE
    arguments = get_args(annotation)
    if not mentions(annotation, datetime):
        return annotation
    origin = get_origin(annotation)
    if origin is Annotated:
        inner = strict(arguments[0])
        return Annotated[(inner, *annotation.__metadata__)]
    changed = tuple(strict(argument) for argument in arguments)
    if origin in (Union, UnionType):
        return Union[changed]  # noqa: UP007 -- made from a tuple
    return origin[changed]


def mentions(annotation: Any, wanted: type) -> bool:
    """Whether a type is, or has somewhere inside, `wanted`."""
    annotation = unwrapped(annotation)
    return annotation is wanted or any(mentions(part, wanted) for part in get_args(annotation))


def unwrapped(annotation: Any) -> Any:
    """What a `NewType` or a `type X = …` stands for."""
    while True:
        if hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation
