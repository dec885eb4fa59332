"""What Redis is asked for outside of a batch: whole tables, a page at a time, single rows, and positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import msgpack

from headwater.log.port import TopicPartition
from headwater.stores.port import Key
from headwater.stores.redis_connections import Server
from headwater.stores.redis_loading import load, no_table
from headwater.stores.redis_scripts import SCAN
from headwater.stores.redis_tables import WRITTEN_BY, RedisTable

_decode_page = msgpack.Decoder(list[list[str | bool]]).decode


def place_of(server: Server, table: str) -> str:
    """Where the rows of a table are."""
    found = server.call("HGET", f"{server.prefix}hw_places", table)
    return table if found is None else str(found, "utf-8")


def rows_at(server: Server, table: RedisTable, keys: Sequence[Key]) -> list[Any]:
    """The rows of these keys that exist."""
    return table.columns.decode(load(server, table, table.endings(keys)).rows)


def pages(server: Server, table: RedisTable, size: int) -> Iterator[list[Any]]:
    """All rows, so many at a time."""
    for page in texts(server, table.name, table.columns.names, size):
        yield table.columns.decode(page)


def texts(server: Server, table: str, columns: Sequence[str], size: int) -> Iterator[list[Sequence[str | bool]]]:
    """Pages of rows, all of one place: what is exchanged meanwhile is not mixed. Raises: Unavailable: no such table."""
    fields, begin, place = msgpack.encode([WRITTEN_BY, *columns]), "-", place_of(server, table)
    while True:
        answer = server.run(SCAN, table, place, fields, begin, size)
        if answer is None:
            raise no_table(server, " version ".join(table.rsplit("_v", 1)))
        page = _decode_page(answer)
        yield [row[1:] for row in page]
        if len(page) < size or not page:
            return
        begin = f"({page[-1][0]}"


def stored_positions(server: Server, runner: str) -> dict[TopicPartition, int]:
    """How far a runner's rows have come."""
    found = server.call("HGETALL", f"{server.prefix}hw_positions:{runner}")
    return {_partition_of(name): int(position) for name, position in found.items()}


def _partition_of(name: bytes) -> TopicPartition:
    topic, _, partition = name.decode().rpartition("/")
    return TopicPartition(topic, int(partition))
