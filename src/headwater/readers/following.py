"""A batch as one step of all that is followed through it: a child of the only cause, or linked to several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from headwater.environment import Tracing
from headwater.log.port import Record

MOST_LINKS = 128
"""OpenTelemetry keeps as many of a span by default; of more it would not say which were left out."""


@contextmanager
def followed(tracing: Tracing, name: str, records: Sequence[Record]) -> Iterator[None]:
    """Follows what happens to a batch, if any of its records is followed.

    Arguments: name: of the step, such as "project revenue".
    """
    causes = causes_of(records)
    if not causes:
        yield
        return
    attributes: dict[str, str | int] = {
        "messaging.operation.type": "process",
        "messaging.destination.name": ",".join(sorted({record.topic for record in records})),
        "messaging.batch.message_count": len(records),
        "headwater.links_left_out": max(0, len(causes) - MOST_LINKS),
    }
    span = tracing.begin(name, "consumer", causes[:MOST_LINKS], attributes)
    try:
        with span.current():
            yield
    except BaseException as error:
        span.end(type(error).__name__, failed=True)
        raise
    span.end("done")


def causes_of(records: Sequence[Record]) -> list[bytes]:
    """The different `traceparent` headers, in order."""
    found: dict[bytes, None] = {}
    for record in records:
        for name, value in record.headers:
            if name == "traceparent":
                found[value] = None
                break
    return list(found)
