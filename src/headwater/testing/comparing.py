"""What differs between the messages that a test expected and those that came, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

ABSENT = "nothing"


def shown(message: object) -> str:
    """A message, state or error as its author would write it."""
    if isinstance(message, type):
        return f"any {message.__name__}"
    if isinstance(message, BaseException):
        fields = getattr(type(message), "__hw_values__", None)
        if fields is None:
            return f"{type(message).__name__}: {message}"
        given = ", ".join(f"{name}={vars(message)[name]!r}" for name in fields.__struct_fields__)
        return f"{type(message).__name__}({given})"
    return repr(message)


def listed(what: str, messages: Sequence[object]) -> str:
    """`2 events:` and one line for each, or `no event`."""
    if not messages:
        return f"no {what}"
    lines = "".join(f"\n    {shown(message)}" for message in messages)
    return f"{len(messages)} {what}{'s' if len(messages) > 1 else ''}:{lines}"


def same(expected: object, came: object) -> bool:
    """Whether a message is the expected one; a class stands for all its messages."""
    if isinstance(expected, type):
        return isinstance(came, expected)
    return type(expected) is type(came) and expected == came


def differences(what: str, expected: Sequence[object], came: Sequence[object]) -> list[str]:
    """One line per difference, of two lists of messages in order; none if they are the same."""
    found: list[str] = []
    for index in range(max(len(expected), len(came))):
        name = f"{what} {index + 1}"
        if index >= len(came):
            found.append(f"{name}: {shown(expected[index])} is missing")
        elif index >= len(expected):
            found.append(f"{name}: {shown(came[index])} was not expected")
        elif not same(expected[index], came[index]):
            found += [f"{name}, {line}" for line in _of_messages(expected[index], came[index])]
    return found


def field_differences(expected: Mapping[str, Any], came: object) -> list[str]:
    """One line per field of a struct that is not as expected; a field that it does not have is one, too."""
    found: list[str] = []
    for name, value in expected.items():
        if hasattr(came, name):
            found += _of_values(name, value, getattr(came, name))
        else:
            known = ", ".join(_fields(came)) if _is_struct(came) else "none"
            found.append(f"{name}: there is no such field (there are: {known})")
    return found


def _of_messages(expected: object, came: object) -> Iterator[str]:
    if isinstance(expected, type) or type(expected) is not type(came):
        kind = expected if isinstance(expected, type) else type(expected)
        yield f"expected {kind.__name__}, came {shown(came)}"
        return
    for line in _of_values("", expected, came):
        yield f"{type(came).__name__}{line}"


def _of_values(path: str, expected: Any, came: Any) -> Iterator[str]:
    if expected == came and type(expected) is type(came):
        return
    if _is_struct(expected) and type(expected) is type(came):
        for name in _fields(expected):
            yield from _of_values(f"{path}.{name}", getattr(expected, name), getattr(came, name))
    elif isinstance(expected, (list, tuple)) and isinstance(came, (list, tuple)):
        for index in range(max(len(expected), len(came))):
            yield from _of_values(f"{path}[{index}]", _at(expected, index), _at(came, index))
    elif expected != came or _is_struct(expected):
        yield f"{path}: expected {_value(expected)}, came {_value(came)}"


class _Absent:
    """Stands for an element that one of two lists does not have."""


_ABSENT = _Absent()


def _at(values: Sequence[Any], index: int) -> Any:
    return values[index] if index < len(values) else _ABSENT


def _value(value: object) -> str:
    return ABSENT if value is _ABSENT else repr(value)


def _is_struct(value: object) -> bool:
    return isinstance(value, msgspec.Struct)


def _fields(value: Any) -> tuple[str, ...]:
    return tuple(value.__struct_fields__)
