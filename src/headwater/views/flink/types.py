"""The types of Flink SQL, and what its arithmetic does to decimals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from headwater.views.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    TIMESTAMP,
    UUID,
    VARCHAR,
    ListOf,
    MapOf,
    Scalar,
    SqlType,
    StructOf,
)

INTEGER: Final = Scalar("INTEGER")
HUGEINT: Final = Scalar("HUGEINT")
WHOLE: Final = (Scalar("TINYINT"), Scalar("SMALLINT"), INTEGER, BIGINT)
NAMES: Final = {
    BOOLEAN: "BOOLEAN",
    DOUBLE: "DOUBLE",
    VARCHAR: "STRING",
    UUID: "STRING",
    DATE: "DATE",
    TIMESTAMP: "TIMESTAMP_LTZ(6)",
    HUGEINT: "DECIMAL(38, 0)",
    **dict.fromkeys(WHOLE, "BIGINT"),
}
DECIMAL: Final = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
MOST: Final = 38
"""Digits of a decimal, in DuckDB and in Flink."""
KEPT: Final = 6
"""Digits after the point that Flink keeps of a result that would have more than 38."""


def flink_type(kind: SqlType) -> str | None:
    """The type as Flink's SQL; None: it has none that means the same."""
    if isinstance(kind, ListOf):
        of = flink_type(kind.of)
        return None if of is None else f"ARRAY<{of}>"
    if isinstance(kind, MapOf):
        of = flink_type(kind.of)
        return None if of is None else f"MAP<STRING, {of}>"
    if isinstance(kind, StructOf):
        members = [(one.wire, flink_type(one.type)) for one in kind.members]
        if any(of is None for _, of in members):
            return None
        return f"ROW<{', '.join(f'{ticked(name)} {of}' for name, of in members)}>"
    found = DECIMAL.fullmatch(kind.name)
    return NAMES.get(kind) if found is None else f"DECIMAL({found[1]}, {found[2]})"


def ticked(name: str) -> str:
    """A name as an identifier of Flink, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """A text as a literal."""
    return "'" + value.replace("'", "''") + "'"


def decimal(digits: int, scale: int) -> Scalar:
    return Scalar(f"DECIMAL({digits},{scale})")


def digits_of(kind: SqlType) -> tuple[int, int] | None:
    """Precision and scale of a number without a float in it, as Flink has it; None: it is none."""
    if kind == HUGEINT:
        return MOST, 0
    if kind in WHOLE:
        return 19, 0
    found = DECIMAL.fullmatch(kind.name) if isinstance(kind, Scalar) else None
    return None if found is None else (int(found[1]), int(found[2]))


def is_number(kind: SqlType) -> bool:
    return kind == DOUBLE or digits_of(kind) is not None


def adjusted(digits: int, scale: int) -> tuple[int, int]:
    """What Flink makes of a result with more than 38 digits: it takes some of those after the point."""
    if digits <= MOST:
        return digits, scale
    return MOST, max(MOST - (digits - scale), min(scale, KEPT))


def added(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    """The digits of a sum or difference."""
    scale = max(left[1], right[1])
    return adjusted(max(left[0] - left[1], right[0] - right[1]) + scale + 1, scale)


def multiplied(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    """The digits of a product."""
    return adjusted(left[0] + right[0], left[1] + right[1])


def common(kinds: Sequence[SqlType]) -> SqlType | None:
    """The type of which values of all of these are; None: there is none without a change of meaning."""
    first = kinds[0]
    if all(kind == first for kind in kinds):
        return first
    if all(kind in WHOLE for kind in kinds):
        return BIGINT
    if not all(map(is_number, kinds)):
        return None
    if DOUBLE in kinds:
        return DOUBLE
    return decimal(MOST, max(found[1] for kind in kinds if (found := digits_of(kind)) is not None))
