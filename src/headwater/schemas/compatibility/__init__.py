"""Whether what one schema wrote can be read with another: Avro and JSON Schema, by level. Pure."""

from headwater.schemas.compatibility.levels import (
    DEFAULT_LEVEL,
    LEVELS,
    Break,
    Level,
    breaks,
    level_named,
    unreadable,
)

__all__ = ["DEFAULT_LEVEL", "LEVELS", "Break", "Level", "breaks", "level_named", "unreadable"]
