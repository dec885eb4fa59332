"""What the derivations of Avro and JSON Schema share: a class as msgspec describes it, in an order of our own.

Nothing may enter a schema that differs between two machines. `typing` hands out whichever of two equal unions was
written first in the process, so their members are put in order here, by kind and name.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeGuard

from msgspec import NODEFAULT, inspect

from headwater.errors import Misuse
from headwater.messages.declare import TYPE_FIELDS, Message
from headwater.messages.json_codec import VERSION_FIELDS
from headwater.messages.shapes import complete

TIME_FIELD: Final = "timestamp"
EMPTY: Final = (list, dict, set, frozenset, tuple)


class Head(NamedTuple):
    """The fields that a record carries beside those of its class, by their names on the wire."""

    type_field: str
    version_field: str
    time_field: str | None


def described(cls: type[Message]) -> inspect.StructType:
    """The fields of a class. Raises: Misuse: it is a family, or a name in it is not defined."""
    complete(cls, late=True)
    found = inspect.type_info(cls)
    assert isinstance(found, inspect.StructType)
    return found


def head_of(cls: type[Message]) -> Head | None:
    """None for values: they are parts of records."""
    kind = cls.__hw__.kind
    if kind not in TYPE_FIELDS:
        return None
    return Head(TYPE_FIELDS[kind], VERSION_FIELDS[kind], TIME_FIELD if kind == "event" else None)


def name_of(struct: inspect.StructType) -> str:
    """The wire name of a message or value."""
    name: str = struct.cls.__hw__.wire_name  # type: ignore[attr-defined] # only declared classes are in messages
    return name


def members(union: inspect.UnionType) -> list[inspect.Type]:
    """The types of a union: null first, the others by kind and name."""
    return sorted(union.types, key=_place)


def _place(kind: inspect.Type) -> tuple[bool, str, str]:
    name = ""
    if isinstance(kind, inspect.StructType):
        name = name_of(kind)
    elif isinstance(kind, inspect.EnumType):
        name = kind.cls.__name__
    return not isinstance(kind, inspect.NoneType), type(kind).__name__, name


def default_of(field: inspect.Field) -> Any:
    """The value that a field has where nothing is said; NODEFAULT: it has to be said, or is made anew each time."""
    if field.default is not NODEFAULT:
        return field.default
    if field.default_factory in EMPTY:
        return field.default_factory()
    return NODEFAULT


def is_opaque(kind: inspect.Type) -> bool:
    """Whether a type stands for any JSON."""
    return isinstance(kind, (inspect.AnyType, inspect.RawType))


def is_array(kind: inspect.Type) -> TypeGuard[inspect.ListType | inspect.VarTupleType | inspect.SetType]:
    """Whether a type is a list of any length; frozen sets are sets."""
    return isinstance(kind, (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType))


def choices(kind: inspect.EnumType | inspect.LiteralType) -> list[Any]:
    """The values on the wire: of an Enum as declared, of a Literal sorted."""
    if isinstance(kind, inspect.EnumType):
        return [member.value for member in kind.cls]
    return sorted(kind.values, key=lambda value: (type(value).__name__, value))


class Names:
    """The names that are taken in a schema, and by which class. Two classes of one name cannot be told apart."""

    def __init__(self) -> None:
        self._taken: dict[str, object] = {}

    def take(self, name: str, owner: object, inside: str) -> bool:
        """Whether the name is new here. Raises: Misuse: another class has it; `inside`: the place, for the text."""
        known = self._taken.get(name)
        if known is None:
            self._taken[name] = owner
            return True
        if known != owner:
            raise Misuse(
                f"{inside}: {known!r} and {owner!r} are both called {name!r} in the schema: give one of them another "
                'name (a value: class …(hw.Value, name="…"))'
            )
        return False
