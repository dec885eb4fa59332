"""Committed positions, as they were sampled during the run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from headwater.testing.audit.earlier import Earlier, Known
from headwater.testing.audit.history import PositionSample
from headwater.testing.audit.violations import Invariant, Violation


def check_positions(samples: Iterable[PositionSample]) -> Iterator[Violation]:
    """POSITIONS, the first breach of each reader and partition. A reset on purpose is a breach, too."""
    found: defaultdict[tuple[str, str, int], list[PositionSample]] = defaultdict(list)
    for sample in samples:
        found[sample.reader, sample.topic, sample.partition].append(sample)
    for (reader, topic, partition), ones in found.items():
        earlier = Earlier(Known(one.ended_s, one.position, "") for one in ones)
        for one in sorted(ones, key=lambda sample: sample.started_s):
            known = earlier.before(one.started_s)
            if known is not None and one.position < known.value:
                sentence = (
                    f"the position of {reader} in {topic}/{partition} went back from {known.value} to {one.position}"
                )
                yield Violation(Invariant.POSITIONS, sentence, topic=topic, partition=partition, offset=one.position)
                break
