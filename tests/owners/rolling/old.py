"""Counters, as they were deployed first."""

from __future__ import annotations

import headwater as hw
from tests.counters import Counter

app = hw.App("counters", aggregates=[Counter], partitions=6)
