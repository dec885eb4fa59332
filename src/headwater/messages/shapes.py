"""The shape of a declared class: its fields with their types, and the rules that a declaration keeps.

`declare` asks here, step by step, while a class is made: `of_class_body` reads the annotations, `read_info`
decides what the class is, `complete` compiles the tests. A field whose type names a class that comes later
in the module leaves the shape open until the first message is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from headwater.errors import Misuse
from headwater.messages import annotations as notes
from headwater.messages import checking
from headwater.messages.info import Kind, MessageInfo
from headwater.messages.keys import KEY_TYPES, is_key, key_type

ENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")  # it becomes part of topic names


class Words(NamedTuple):
    """The words of a class statement: `class class_name(…, entity=…, name=…, version=…)`.

    Arguments: kind: given by the roots of each kind only; built_in: one of headwater's own, of every entity.
    """

    class_name: str
    entity: str | None
    name: str | None
    version: int
    kind: Kind | None
    built_in: bool


WORDS: Final[dict[str, Any]] = {"entity": None, "name": None, "version": 1, "kind": None, "built_in": False}


@dataclass(slots=True)
class Shape:
    """Arguments: types: the resolved type of each field, inherited ones first; names: what the class body could
    see, kept only while a field is open; tests: per field whether a value fits (None: still open); times:
    fields that hold a datetime."""

    types: dict[str, Any]
    own: Mapping[str, Any]
    names: Mapping[str, Any] | None
    tests: tuple[tuple[str, checking.Test], ...] | None = None
    times: tuple[str, ...] = ()


def of_class_body(class_name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Shape:
    """Reads the annotations of a class that is being made. Raises Misuse where a method hides a field."""
    module = namespace.get("__module__", "")
    own = {
        name: note for name, note in namespace.get("__annotations__", {}).items() if not notes.is_class_variable(note)
    }
    names = notes.names_in_sight(module, namespace) if needs_names(own) else {}
    types: dict[str, Any] = {}
    for base in reversed(bases):
        types |= getattr(getattr(base, "__hw_shape__", None), "types", {})
    refuse_hidden_fields(class_name, bases, namespace, {*types, *own})
    types |= notes.resolve(own, module, names)
    return Shape(types, own, names)


def needs_names(own: Mapping[str, Any]) -> bool:
    return any(isinstance(note, str) or "ForwardRef" in repr(note) or "'" in repr(note) for note in own.values())


def refuse_hidden_fields(
    class_name: str, bases: tuple[type, ...], namespace: Mapping[str, Any], fields: set[str]
) -> None:
    """A method with a field's name would become the field's default."""
    hidden = [name for name in fields if is_method(namespace.get(name))]
    inherited = [
        name
        for name in namespace.get("__annotations__", {})
        if any(is_method(vars(cls).get(name)) for base in bases for cls in base.__mro__)
    ]
    for name in hidden + inherited:
        raise Misuse(
            f"{class_name}.{name} is a field and a method of the same name: the method would hide the field; "
            f"rename one of them"
        )


def is_method(value: object) -> bool:
    return callable(value) or isinstance(value, (property, classmethod, staticmethod))


def read_info(words: Words, shape: Shape, parent: MessageInfo | None) -> MessageInfo:
    """What the class is. Raises Misuse for a declaration that cannot work, with what to write."""
    inherited = parent.entity if parent else None
    kind = words.kind or (parent.kind if parent else "value")
    refuse_bad_words(words, inherited)
    keys = tuple(name for name, note in shape.types.items() if is_key(note))
    refuse_bad_keys(words.class_name, shape, kind, keys)
    family = words.kind is not None or (words.entity is not None and kind != "state")
    if not family and not words.built_in:
        refuse_orphans(words.class_name, kind, inherited, keys)
    only = keys[0] if len(keys) == 1 else None
    return MessageInfo(
        kind=kind,
        entity=words.entity or inherited,
        wire_name=words.name or words.class_name,
        version=words.version,
        key_field=only,
        key_type=key_type(shape.types[only]) if only else None,
        family=family,
        key_fields=keys,
    )


def refuse_bad_words(words: Words, inherited: str | None) -> None:
    class_name, entity, name, version = words.class_name, words.entity, words.name, words.version
    if entity is not None and not (isinstance(entity, str) and ENTITY.fullmatch(entity)):
        raise Misuse(
            f"{class_name}: entity={entity!r} becomes part of topic names: use letters, digits, '.', '_' and '-'"
        )
    if entity is not None and inherited is not None:
        raise Misuse(f"{class_name} is in a family of the entity {inherited!r} already: leave out entity={entity!r}")
    if not isinstance(version, int) or version < 1:
        raise Misuse(f"{class_name}: version={version!r} must be a whole number from 1")
    if name is not None and not (isinstance(name, str) and name):
        raise Misuse(f"{class_name}: name={name!r} must be a text of at least one character")


def refuse_bad_keys(class_name: str, shape: Shape, kind: Kind, keys: tuple[str, ...]) -> None:
    for name in keys:
        if key_type(shape.types[name]) not in KEY_TYPES:
            raise Misuse(
                f"{class_name}.{name}: {checking.type_name(key_type(shape.types[name]))} cannot be a key: "
                "use hw.Key[str], hw.Key[int], hw.Key[UUID] or hw.Key[date]"
            )
    if kind == "value" and keys:
        raise Misuse(f"{class_name}.{keys[0]}: a value has no identity: leave out hw.Key")
    if kind != "state" and len(keys) > 1:
        raise Misuse(
            f"{class_name} has the keys {' and '.join(keys)}: a message belongs to one entity; "
            "keep hw.Key on the field that names it"
        )


def refuse_orphans(class_name: str, kind: Kind, entity: str | None, keys: tuple[str, ...]) -> None:
    """A message that goes to a log must say whose it is."""
    if kind in ("event", "command") and entity is None:
        base = kind.capitalize()
        raise Misuse(
            f"{class_name} belongs to no entity: declare a family first, "
            f'class Order{base}(hw.{base}, entity="order"): order_id: hw.Key[str], '
            f"then class {class_name}(Order{base})"
        )
    if kind in ("event", "command", "timeout") and not keys:
        raise Misuse(
            f"{class_name} has no key: declare the field that names its entity, order_id: hw.Key[str], "
            "in it or once in its family"
        )


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
    missing = [name for name in cls.__struct_fields__ if name not in shape.types]
    own = {name: shape.own[name] for name in missing if name in shape.own}
    shape.types |= notes.resolve(own, cls.__module__, {**(shape.names or {}), cls.__name__: cls})
    for base in cls.__mro__[1:]:
        if missing and isinstance(getattr(base, "__hw_shape__", None), Shape):
            shape.types = {**base.__hw_shape__.types, **shape.types}
    missing = [name for name in cls.__struct_fields__ if name not in shape.types]
    if missing and late:
        raise Misuse(
            f"{cls.__name__}.{missing[0]}: a name in {shape.own.get(missing[0])!r} is not defined; "
            "define that class first, in the same function or module"
        )
    for name in shape.own:
        if name in shape.types:
            cls.__annotations__[name] = notes.strict(shape.types[name])
    if cls.__hw__.kind == "state":
        refuse_missing_defaults(cls)
    if not missing:
        compile_tests(cls, shape)


def compile_tests(cls: Any, shape: Shape) -> None:
    tests = []
    for name in cls.__struct_fields__:
        try:
            test = checking.test_of(shape.types[name])
        except checking.Unsupported as reason:
            raise Misuse(f"{cls.__name__}.{name}: {reason}") from None
        tests.append((name, filled(test) if is_key(shape.types[name]) else test))
    try:
        msgspec.json.Decoder(cls)
    except (TypeError, NameError) as reason:
        raise Misuse(f"{cls.__name__}: {reason}") from reason
    shape.times = tuple(n for n in cls.__struct_fields__ if notes.mentions(shape.types[n], datetime))
    shape.names = None
    if not cls.__hw__.family:
        shape.tests = tuple(tests)


def filled(test: checking.Test) -> checking.Test:
    return lambda value: value != "" and test(value)


def refuse_missing_defaults(cls: Any) -> None:
    """A state begins empty, before its first event."""
    required = cls.__struct_fields__[: len(cls.__struct_fields__) - len(cls.__struct_defaults__)]
    for name in required:
        if name not in cls.__hw__.key_fields:
            raise Misuse(
                f"{cls.__name__}.{name} has no default: a state begins empty, before its first event; "
                f"write {name}: … = …, or hw.Key[…] if it is the key"
            )


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
