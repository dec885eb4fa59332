"""The rules that a declaration keeps: each breach is `Misuse`, with a sentence that says what to write.

Called by `declare` while a class is made, before msgspec sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from headwater.errors import Misuse
from headwater.messages.checking import type_name
from headwater.messages.info import Kind, MessageInfo
from headwater.messages.keys import KEY_TYPES, is_key, key_type

ENTITY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")  # it becomes part of topic names


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
OPTIONS: Final = ("tag", "kw_only", "frozen", "weakref", "dict")  # of msgspec's own, those that make sense here


def refuse_unknown_words(class_name: str, words: Iterable[str]) -> None:
    for word in words:
        if word not in OPTIONS:
            raise Misuse(f"{class_name}: {word}= means nothing here: there are entity=, name=, version= and tag=")


def read_info(words: Words, types: Mapping[str, Any], parent: MessageInfo | None) -> MessageInfo:
    """What the class is. Raises Misuse for a declaration that cannot work, with what to write."""
    inherited = parent.entity if parent else None
    kind = words.kind or (parent.kind if parent else "value")
    refuse_bad_words(words, inherited)
    keys = tuple(name for name, note in types.items() if is_key(note))
    refuse_bad_keys(words.class_name, types, kind, keys)
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
        key_type=key_type(types[only]) if only else None,
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


def refuse_bad_keys(class_name: str, types: Mapping[str, Any], kind: Kind, keys: tuple[str, ...]) -> None:
    for name in keys:
        if key_type(types[name]) not in KEY_TYPES:
            raise Misuse(
                f"{class_name}.{name}: {type_name(key_type(types[name]))} cannot be a key: "
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


def refuse_hidden_fields(
    class_name: str,
    bases: tuple[type, ...],
    namespace: Mapping[str, Any],
    inherited: Iterable[str],
    own: Iterable[str],
) -> None:
    """A method with a field's name would become the field's default."""
    hidden = [name for name in {*inherited, *own} if is_method(namespace.get(name))]
    hiding = [name for name in own if any(is_method(vars(cls).get(name)) for base in bases for cls in base.__mro__)]
    for name in hidden + hiding:
        raise Misuse(
            f"{class_name}.{name} is a field and a method of the same name: the method would hide the field; "
            f"rename one of them"
        )


def is_method(value: object) -> bool:
    return callable(value) or isinstance(value, (property, classmethod, staticmethod))


def refuse_missing_defaults(cls: Any) -> None:
    """A state begins empty, before its first event."""
    required = cls.__struct_fields__[: len(cls.__struct_fields__) - len(cls.__struct_defaults__)]
    for name in required:
        if name not in cls.__hw__.key_fields:
            raise Misuse(
                f"{cls.__name__}.{name} has no default: a state begins empty, before its first event; "
                f"write {name}: … = …, or hw.Key[…] if it is the key"
            )
