"""The end of a question that is followed."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, TypeVar

import headwater as hw

T = TypeVar("T")


def ending(steps: Iterator[hw.Changes[T]]) -> closing[Generator[hw.Changes[T], Any, Any]]:
    """Ends it where this is left."""
    assert isinstance(steps, Generator)
    return closing(steps)
