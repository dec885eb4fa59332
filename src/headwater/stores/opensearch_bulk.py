"""Writing documents by the thousands, each under the condition that it still is what was read.

What the server has no room for now (429) is sent again, item by item; what somebody else has changed meanwhile is told.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import msgspec

from headwater.errors import HeadwaterError
from headwater.stores.opensearch_connection import Cause, Connection, refusal
from headwater.stores.opensearch_state import CONFLICT, MISSING, Version

BYTES, ITEMS = 5_000_000, 5_000
"""A request has about so many bytes, and at most so many documents."""

AT_ONCE = 2
"""So many requests are under way together: a server writes what one request brings to a shard with one thread."""

FEW = 500
"""So many documents are not worth a request more."""

BUSY, BUSY_S = (429, 503), 30.0
"""For so long items are sent again that a busy server does not take."""


class Write(NamedTuple):
    """One document to be written.

    Arguments: alias: of its index; id; version: as it was read (None: there was none); source: None removes it;
    lenient: whether it may have changed, and then stays.
    """

    alias: str
    id: str
    version: Version | None
    source: bytes | None
    lenient: bool = False


class Done(NamedTuple):
    """What came of writes. Arguments: versions: of those that were written, by their place; conflicts: how many had
    changed; refused: why the server does not take one of them (None: it took all)."""

    versions: dict[int, Version]
    conflicts: int
    refused: HeadwaterError | None


class _Item(msgspec.Struct):
    status: int
    seq_no: int = msgspec.field(name="_seq_no", default=-1)
    term: int = msgspec.field(name="_primary_term", default=0)
    error: Cause | None = None


class _Answer(msgspec.Struct):
    items: list[dict[str, _Item]]


_ANSWER = msgspec.json.Decoder(_Answer)
_ENCODER = msgspec.json.Encoder()


def bulk(connection: Connection, writes: Sequence[Write]) -> Done:
    """Writes documents; after the first that cannot be written, those of later requests may be left out.

    Raises: Unavailable: an answer is missing: nobody knows what was written.
    """
    versions: dict[int, Version] = {}
    write = partial(_write, connection, writes)
    parts = list(_parts(writes))
    for begin in range(0, len(parts), AT_ONCE):
        some = parts[begin : begin + AT_ONCE]
        if len(some) == 1:
            done = list(map(write, some))
        else:
            with ThreadPoolExecutor(AT_ONCE) as sending:
                done = list(sending.map(write, some))
        for one in done:
            versions.update(one.versions)
        conflicts, refused = (
            sum(one.conflicts for one in done),
            [one.refused for one in done if one.refused is not None],
        )
        if conflicts or refused:
            return Done(versions, conflicts, refused[0] if refused else None)
    return Done(versions, 0, None)


def _write(connection: Connection, writes: Sequence[Write], part: tuple[int, int]) -> Done:
    """Writes the documents between two places, in one request; and again what a busy server did not take."""
    versions: dict[int, Version] = {}
    places = list(range(*part))
    conflicts = 0
    refused: HeadwaterError | None = None
    deadline_s = time.monotonic() + BUSY_S
    pause_s = 0.05
    while places:
        again: list[int] = []
        for place, item in zip(places, _send(connection, [writes[place] for place in places]), strict=True):
            if item.status < 300 or (item.status == MISSING and item.error is None):  # 404: gone already
                versions[place] = Version(item.seq_no, item.term)
            elif item.status == CONFLICT:
                conflicts += not writes[place].lenient
            elif item.status in BUSY and time.monotonic() < deadline_s:
                again.append(place)
            else:
                refused = refusal(item.status, item.error or Cause(), connection.place)
        if again:
            time.sleep(random.uniform(pause_s / 2, pause_s))
            pause_s = min(2 * pause_s, 2.0)
        places = again
    return Done(versions, conflicts, refused)


def _send(connection: Connection, writes: Sequence[Write]) -> list[_Item]:
    """One request. A server that is busy as a whole has taken none of it."""
    lines: list[bytes] = []
    for alias, id, version, source, _ in writes:
        kind = "delete" if source is None else "create" if version is None else "index"
        condition = "" if version is None else f',"if_seq_no":{version.seq_no},"if_primary_term":{version.term}'
        about = f'{{"{kind}":{{"_index":"{alias}","require_alias":true{condition},"_id":'
        lines.append(about.encode() + _ENCODER.encode(id) + b"}}")
        if source is not None:
            lines.append(source)
    lines.append(b"")
    reply = connection.ask("POST", "/_bulk", b"\n".join(lines), accept=[429])
    if reply.status == 429:
        return [_Item(429, error=reply.cause)] * len(writes)
    return [item for items in _ANSWER.decode(reply.body).items for item in items.values()]


def _parts(writes: Sequence[Write]) -> Iterator[tuple[int, int]]:
    """Where requests begin and end."""
    most = min(ITEMS, max(FEW, -(-len(writes) // AT_ONCE)))
    begin = size = 0
    for place, write in enumerate(writes):
        size += len(write.source or b"") + 100
        if size > BYTES or place - begin >= most:
            yield begin, place
            begin, size = place, 0
    if begin < len(writes):
        yield begin, len(writes)
