"""The shape of a declared class: its fields with their types, and the tests that their values must pass.

`declare` asks here while a class is made: `of_class_body` reads the annotations, `complete` compiles the tests.
A field whose type names a class that comes later in the module leaves the shape open until the first message is
made, or a codec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec

from headwater.errors import Misuse
from headwater.messages import annotations as notes
from headwater.messages import checking
from headwater.messages.keys import is_key
from headwater.messages.rules import refuse_hidden_fields, refuse_missing_defaults


@dataclass(slots=True)
class Shape:
    """Arguments: types: the resolved type of each field, inherited ones first; names: what the class body could
    see, kept only while a field is open; tests: per field whether a value fits (None: still open); times:
    fields that hold a datetime; busy: the tests are being made."""

    types: dict[str, Any]
    own: Mapping[str, Any]
    names: Mapping[str, Any] | None
    tests: tuple[tuple[str, checking.Test], ...] | None = None
    times: tuple[str, ...] = ()
    busy: bool = False


def of_class_body(class_name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Shape:
    """Reads the annotations of a class that is being made. Raises Misuse where a method hides a field."""
    module = namespace.get("__module__", "")
    own = notes.own_annotations(namespace)
    names = notes.names_in_sight(module, namespace, own) if needs_names(own) else {}
    types: dict[str, Any] = {}
    for base in reversed(bases):
        types |= getattr(getattr(base, "__hw_shape__", None), "types", {})
    refuse_hidden_fields(class_name, bases, namespace, types, own)
    types |= notes.resolve(own, module, names)
    return Shape(types, own, names)


def needs_names(own: Mapping[str, Any]) -> bool:
    return any(isinstance(note, str) or "ForwardRef" in repr(note) or "'" in repr(note) for note in own.values())


def complete(cls: Any, late: bool = False) -> None:
    """Compiles the tests of a class's fields, when all their types are known.

    Arguments: late: this is the last moment, an unknown name is an error now. Raises Misuse.
    """
    shape: Shape = cls.__hw_shape__
    if cls.__hw__.family and late:
        raise Misuse(
            f"{cls.__name__} is a family, it has no instances: make one of its members, "
            f"class Something({cls.__name__}): …"
        )
    resolve_types(cls, shape)
    missing = [name for name in cls.__struct_fields__ if name not in shape.types]
    if missing and late:
        raise Misuse(
            f"{cls.__name__}.{missing[0]}: a name in {shape.own.get(missing[0])!r} is not defined; "
            "define that class first, in the same function or module"
        )
    if missing:
        return
    shape.busy = True
    try:
        if all(is_complete(part, late) for note in shape.types.values() for part in parts_of(note)):
            compile_tests(cls, shape)
    finally:
        shape.busy = False


def resolve_types(cls: Any, shape: Shape) -> None:
    """Resolves what can be resolved by now, and hands msgspec the strict form of it."""
    own = {name: note for name, note in shape.own.items() if name not in shape.types}
    shape.types |= notes.resolve(own, cls.__module__, {**(shape.names or {}), cls.__name__: cls})
    if shape.own:
        types = {**shape.own, **{name: shape.types[name] for name in shape.own if name in shape.types}}
        cls.__annotations__ = {
            name: notes.strict(note, key=name in cls.__hw__.key_fields and cls.__hw__.kind != "state")
            for name, note in types.items()
        }
    if cls.__hw__.kind == "state":
        refuse_missing_defaults(cls)
    if not all(name in shape.types for name in cls.__struct_fields__):
        inherit_types(cls)


def inherit_types(cls: Any) -> None:
    """Takes over what was learned of inherited fields after this class was made."""
    for base in cls.__mro__[1:]:
        if isinstance(getattr(base, "__hw_shape__", None), Shape):
            complete(base)
            cls.__hw_shape__.types = {**base.__hw_shape__.types, **cls.__hw_shape__.types}


def parts_of(annotation: Any) -> Iterator[Any]:
    """The value classes inside a type."""
    annotation = notes.unwrapped(annotation)
    if checking.is_value_class(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from parts_of(argument)


def is_complete(part: Any, late: bool) -> bool:
    """Whether a value class inside another is complete. One that is just being completed counts as such: it may
    contain itself."""
    shape: Shape = part.__hw_shape__
    if shape.tests is None and not shape.busy:
        complete(part, late)
    return shape.tests is not None or shape.busy


def compile_tests(cls: Any, shape: Shape) -> None:
    tests = []
    for name in cls.__struct_fields__:
        try:
            test = checking.test_of(shape.types[name])
        except checking.Unsupported as reason:
            raise Misuse(f"{cls.__name__}.{name}: {reason}") from None
        names_entity = is_key(shape.types[name]) and cls.__hw__.kind != "state"  # a row's key may be empty
        tests.append((name, filled(test) if names_entity else test))
    try:
        msgspec.json.Decoder(cls)
    except (TypeError, NameError) as reason:
        raise Misuse(f"{cls.__name__}: {reason}") from reason
    shape.times = tuple(n for n in cls.__struct_fields__ if notes.mentions(shape.types[n], datetime))
    shape.names = None
    if not cls.__hw__.family:
        shape.tests = tuple(tests)


def filled(test: checking.Test) -> checking.Test:
    """The test of a key: it names topics' records and headers, so it is never empty and always has bytes."""
    if test is checking.is_text:
        return names_something
    return lambda value: test(value) and (value.__class__ is not str or (value != "" and is_unicode(value)))


def names_something(value: Any) -> bool:
    """As `filled` of text, which most keys are: in one step where it is what it should be."""
    if value.__class__ is str:
        return value != "" and (value.isascii() or is_unicode(value))
    return checking.is_text(value)


def is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogates, which UTF-8 cannot say."""
    return text.isascii() or text.encode(errors="replace").decode() == text


def complaint_about(declared: Any) -> str | None:
    """What is wrong with the first field that does not fit; None when all do."""
    shape: Shape = declared.__hw_shape__
    for name, test in shape.tests or ():
        value = getattr(declared, name)
        if test(value):
            continue
        where = f"{type(declared).__name__}.{name}"
        if value == "" and is_key(shape.types[name]):
            return f"{where} is empty: the key names the entity, give it at least one character"
        if type(value) is str and not is_unicode(value):
            return f"{where} is {value!r}, which is no Unicode text: decode the bytes that it came from properly"
        return checking.complaint(shape.types[name], value, where)
    return None


def set_to_utc(message: Any, fields: tuple[str, ...]) -> None:
    """Times travel in UTC; so that a message equals itself after the journey, it holds them in UTC."""
    for name in fields:
        value = getattr(message, name)
        settled = in_utc(value)
        if settled is not value:
            msgspec.structs.force_setattr(message, name, settled)


def in_utc(value: Any) -> Any:
    if type(value) is datetime:
        return value if value.tzinfo is UTC else value.astimezone(UTC)
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(map(in_utc, value))
    if type(value) is dict:
        return {in_utc(key): in_utc(element) for key, element in value.items()}
    return value
