"""What a declaration says, in one value: the part of a class that travels, without the class's Python name.

Filled by `declare` when a class is made, read by codecs, entities, owners, projections and stores through
`cls.__hw__`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["value", "event", "command", "timeout", "state"]


@dataclass(frozen=True, slots=True)
class MessageInfo:
    """The identity of a declared class.

    Arguments: kind; entity: the entity type that it belongs to (None: values, states, timeouts of no entity);
    wire_name: what it is called in records, never derived from its module; version: the version of its shape;
    key_field: Python name of the key's field (None where there is none, or several in a state); key_type: the
    type in `Key[...]`; family: whether the class only ties others together and has no instances;
    key_fields: all key fields in order (a state may have several).
    """

    kind: Kind
    entity: str | None
    wire_name: str
    version: int
    key_field: str | None
    key_type: Any
    family: bool
    key_fields: tuple[str, ...] = ()
