"""Whether a partition stays held back, or a transaction is only just ending there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from headwater.log.port import Held, TopicPartition

LOOKS_S = 1.0
"""Between two looks. Where transactions end, the last stable offset has moved by then."""


def staying(
    held: Callable[[Sequence[TopicPartition]], dict[TopicPartition, Held]], partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, Held]:
    """Those that are held back at the same offset in two looks; takes `LOOKS_S` if one is at all.

    Arguments: held: `Log.held`. Raises: Unavailable.
    """
    before = held(partitions)
    if not before:
        return {}
    time.sleep(LOOKS_S)
    now = held(list(before))
    return {tp: found for tp, found in now.items() if found.stable == before[tp].stable}
