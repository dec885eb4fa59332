"""Rejections: refusals that travel. Raised where a command is decided, raised again where it was sent.

    class Overdrawn(hw.Rejected):
        \"\"\"The balance is {balance} only.\"\"\"
        balance: Decimal

    raise Overdrawn(balance=account.balance)

What travels is the wire name (the class's name, or `name=`), the text and the fields. A caller that does not
know the class gets a plain `Rejected` with the same name and text.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator
from string import Formatter
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform
from weakref import ref

import msgspec

from headwater.errors import HeadwaterError, Misuse
from headwater.messages.annotations import is_class_variable
from headwater.messages.declare import MessageMeta, Value, field, make


class Wire(msgspec.Struct):
    """A rejection on its way: `{"rejected":"Overdrawn","text":"The balance is 3 only.","fields":{"balance":"3"}}`."""

    rejected: str
    text: str
    fields: msgspec.Raw = msgspec.Raw(b"{}")


_known: defaultdict[str, list[ref[type[Rejected]]]] = defaultdict(list)
"""The classes of each wire name, while they are in use."""


@dataclass_transform(field_specifiers=(field,))
class Rejected(HeadwaterError):
    """The command was refused: the caller acts next.

    A subclass's docstring is the text that people read; its first line may name fields in braces. Fields are
    declared as in a value, and checked as a value's.
    """

    __hw_name__: ClassVar[str] = "Rejected"
    __hw_values__: ClassVar[type[Value]]
    __hw_turn__: ClassVar[int] = 0  # grows each time that a rejection of another class is made

    def __init__(self, *args: Any, **fields: Any) -> None:
        cls = type(self)
        if cls is Rejected:
            super().__init__(*args)
            return
        checked = msgspec.structs.astuple(cls.__hw_values__(*args, **fields))
        super().__init__(*checked)  # so that copies and pickles are made again alike
        self._hold(checked)

    def _hold(self, checked: tuple[Any, ...]) -> None:
        cls = type(self)
        vars(self).update(zip(cls.__hw_values__.__struct_fields__, checked, strict=True))
        if not cls.__hw_turn__ or cls.__hw_turn__ != Rejected.__hw_turn__:
            Rejected.__hw_turn__ += 1
            cls.__hw_turn__ = Rejected.__hw_turn__

    if TYPE_CHECKING:

        def __init_subclass__(cls, *, name: str | None = None) -> None: ...

    else:

        def __init_subclass__(cls, *, name: str | None = None) -> None:
            super().__init_subclass__()
            cls.__hw_name__ = name or cls.__name__
            cls.__hw_turn__ = 0
            cls.__hw_values__ = values_of(cls)
            unknown = set(named_in(text_of(cls))) - set(cls.__hw_values__.__struct_fields__)
            if unknown:
                raise Misuse(f"the docstring of {cls.__name__} names {{{unknown.pop()}}}, which is no field of it")
            _known[cls.__hw_name__].append(ref(cls))

    @property
    def name(self) -> str:
        """The wire name."""
        return str(vars(self).get("__hw_name__", type(self).__hw_name__))

    def __str__(self) -> str:
        if type(self) is Rejected:
            return str(self.args[0]) if self.args else "the command was refused"
        return text_of(type(self)).format_map(vars(self))


def values_of(cls: type[Rejected]) -> Any:
    """A value class with the rejection's fields: it checks, names and encodes them."""
    own = inspect.get_annotations(cls)
    fields = {name: note for name, note in own.items() if not is_class_variable(note)}
    defaults = {name: cls.__dict__[name] for name in fields if name in cls.__dict__}
    base = getattr(cls.__base__, "__hw_values__", Value)
    body = {"__annotations__": fields, "__module__": cls.__module__, "__qualname__": cls.__qualname__, **defaults}
    return MessageMeta(cls.__name__, (base,), body)


def text_of(cls: type[Rejected]) -> str:
    """The first line of a class's docstring; its name where it has none."""
    return (cls.__doc__ or "").strip().partition("\n")[0].strip() or cls.__name__


def named_in(text: str) -> Iterator[str]:
    for _, name, _, _ in Formatter().parse(text):
        if name is not None:
            yield name.partition(".")[0].partition("[")[0]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Wire).decode


def rejection_to_wire(rejection: Rejected) -> bytes:
    """A rejection as JSON."""
    wire = Wire(rejection.name, str(rejection))
    if type(rejection) is not Rejected:
        values = make(type(rejection).__hw_values__, *rejection.args)  # they were checked when it was made
        wire.fields = msgspec.Raw(_encode(values))
    return _encode(wire)


def rejection_from_wire(value: bytes) -> Rejected:
    """The rejection in a JSON text, of its own class where that is imported here.

    Raises: Misuse when the text is no rejection.
    """
    try:
        wire = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as reason:
        raise Misuse(f"this is no rejection: {reason}") from reason
    for cls in known_as(wire.rejected):
        try:
            values = msgspec.json.decode(wire.fields, type=cls.__hw_values__)
        except msgspec.ValidationError:
            continue  # another version of the class, with other fields: its name and text still hold
        return _made(cls, values)
    plain = Rejected(wire.text)
    vars(plain)["__hw_name__"] = wire.rejected
    return plain


def _made(cls: type[Rejected], values: Value) -> Rejected:
    """A rejection of values that were checked where it was raised."""
    if cls.__init__ is not Rejected.__init__:
        return cls(**msgspec.structs.asdict(values))
    checked = msgspec.structs.astuple(values)
    made = cls.__new__(cls, *checked)
    made._hold(checked)
    return made


def known_as(name: str) -> list[type[Rejected]]:
    """The classes of a wire name. Where a process has several (two test modules), the one raised last is meant."""
    found = [cls for one in _known.get(name, ()) if (cls := one()) is not None]
    return found if len(found) < 2 else sorted(found, key=lambda cls: cls.__hw_turn__, reverse=True)
