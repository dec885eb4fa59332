"""Declaring messages and states: what a class statement means, decided when the class is made.

    class OrderEvent(hw.Event, entity="order"):      a family: ties its subclasses to one entity and one key
        order_id: hw.Key[str]

    class OrderPlaced(OrderEvent, version=2):        a message: name, version and fields travel, nothing else
        total: Decimal

Fields travel in camel case; `item_price: Decimal = hw.field(name="item_price")` keeps a wire name of its own.

The metaclasses take `entity`, `name` and `version` off the class statement, resolve the annotations, refuse
what could never be read back, and leave a `MessageInfo` on the class. Messages are frozen and are checked each
time that a program makes one; decoding does not pass here, since the decoder checks by itself. States are
mutable and checked by whoever stores them (`check`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, dataclass_transform

import msgspec
from msgspec import field as field  # the checkers know it as a field specifier under this name

from headwater.errors import Misuse
from headwater.messages import rules, shapes
from headwater.messages.info import Kind, MessageInfo
from headwater.messages.keys import key_text

make = msgspec.StructMeta.__call__
TYPE_FIELDS: Final[dict[Kind, str]] = {
    "event": "eventType",
    "command": "commandType",
    "timeout": "timeoutType",
}


class Declared(msgspec.StructMeta):
    """What the metaclasses of messages and states share: `entity`, `name`, `version`, and a `MessageInfo`."""

    __hw__: MessageInfo
    __hw_shape__: shapes.Shape
    __hw_family__: Declared | None
    __hw_members__: dict[str, Declared]

    if TYPE_CHECKING:  # the class keywords that the checkers accept

        def __new__(
            mcls,
            class_name: str,
            bases: tuple[type, ...],
            namespace: Any,
            /,
            *,
            entity: str | None = None,
            name: str | None = None,
            version: int = 1,
            tag: str | None = None,
            kind: Kind | None = None,
            built_in: bool = False,
            frozen: bool = False,
            kw_only: bool = False,
            weakref: bool = False,
            dict: bool = False,
        ) -> Any: ...

    else:

        def __new__(mcls, class_name, bases, namespace, /, **keywords):
            words = rules.Words(class_name, *(keywords.pop(key, value) for key, value in rules.WORDS.items()))
            rules.refuse_unknown_words(class_name, keywords)
            parent = next((base for base in bases if isinstance(base, Declared)), None)
            shape = shapes.of_class_body(class_name, bases, namespace)
            info = rules.read_info(words, shape.types, parent.__hw__ if parent else None)
            if info.kind in TYPE_FIELDS and words.kind is None:
                keywords |= {"tag_field": TYPE_FIELDS[info.kind], "tag": info.wire_name}
            keywords.setdefault("frozen", info.kind != "state")
            try:
                cls = super().__new__(mcls, class_name, bases, namespace, rename="camel", **keywords)
            except (TypeError, ValueError) as reason:
                raise Misuse(f"{class_name}: {reason}") from reason
            cls.__hw__, cls.__hw_shape__ = info, shape
            shapes.complete(cls)
            enter_family(cls, parent)
            return cls


def enter_family(cls: Declared, parent: Declared | None) -> None:
    """Makes the class known to its family. Raises Misuse when another class has its wire name."""
    if cls.__hw__.family:
        cls.__hw_family__, cls.__hw_members__ = cls, {}
        return
    family = parent.__hw_family__ if parent is not None else None
    if family is None or not family.__hw__.entity:  # values, states, timeouts of no entity
        cls.__hw_family__, cls.__hw_members__ = cls, {cls.__hw__.wire_name: cls}
        return
    known = family.__hw_members__.get(cls.__hw__.wire_name)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise Misuse(
            f"{cls.__qualname__} and {known.__qualname__} have the same wire name {cls.__hw__.wire_name!r} in the "
            f'entity {cls.__hw__.entity!r}: give one of them another, class {cls.__name__}(…, name="…")'
        )
    cls.__hw_family__ = family
    family.__hw_members__[cls.__hw__.wire_name] = cls  # the same class made again (a reload) replaces itself


class MessageMeta(Declared):
    """The class of message classes: calling one checks what it was given."""

    if not TYPE_CHECKING:  # the checkers take the signature from the fields

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            message = make(cls, *args, **kwargs)
            shape = cls.__hw_shape__
            if shape.tests is None:
                shapes.complete(cls, late=True)
            for name, test in shape.tests:
                if not test(getattr(message, name)):
                    raise Misuse(shapes.complaint_about(message))
            if shape.times:
                shapes.set_to_utc(message, shape.times)
            return message


class StateMeta(Declared):
    """The class of state classes."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Message(msgspec.Struct, metaclass=MessageMeta, kind="value", frozen=True):
    """What `Value`, `Event`, `Command` and `Timeout` share."""

    if TYPE_CHECKING:
        __hw__: ClassVar[MessageInfo]


class Value(Message, kind="value"):
    """A part of messages and states: fields, no identity. In a union of several, give each a `tag="…"`."""


class Event(Message, kind="event"):
    """Something that happened to an entity."""


class Command(Message, kind="command"):
    """Something that an entity is asked to do."""


class Timeout(Message, kind="timeout"):
    """Something that a process asked to be told later."""


@dataclass_transform(field_specifiers=(field,))
class State(msgspec.Struct, metaclass=StateMeta, kind="state"):
    """What is kept per key and changes: aggregates, rows of projections, processes. Every field has a default,
    except the key's."""

    if TYPE_CHECKING:
        __hw__: ClassVar[MessageInfo]


def check(declared: Message | State) -> None:
    """Looks at all fields again, as at making. Raises Misuse that names the first one that does not fit."""
    if type(declared).__hw_shape__.tests is None:
        shapes.complete(type(declared), late=True)
    complaint = shapes.complaint_about(declared)
    if complaint is not None:
        raise Misuse(complaint)


def key_of(message: Message) -> str:
    """The text of a message's key: the id of its entity. Raises Misuse for an empty key."""
    name = message.__hw__.key_field
    if name is None:
        raise Misuse(f"{type(message).__name__} has no key: declare one field as hw.Key[str]")
    return key_text(getattr(message, name))


def family_of(cls: type[Message]) -> type[Message]:
    """The class that declared `entity=` for this one; a class of no family is its own."""
    return cls.__hw_family__ or cls  # type: ignore[return-value] # a family is of messages


def members_of(family: type[Message]) -> list[type[Message]]:
    """The concrete messages of a family that are known by now, in order of declaration."""
    return list(family_of(family).__hw_members__.values())  # type: ignore[arg-type] # as above
