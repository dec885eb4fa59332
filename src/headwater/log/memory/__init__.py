"""The log in memory. `MemoryLog` is all that others need."""

from __future__ import annotations

from headwater.log.memory.log import MemoryLog

__all__ = ["MemoryLog"]
