"""What the stores are measured against: loops over the rows of the log's file, each written for this one table.

    read 10,000 values -> msgspec -> load the rows that they change -> a dict -> write rows and position in one go

Each does what it does with the store in as few statements, as large, as we could: they check no type, know no runner of
other partitions and no other table.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import psycopg
import redis
import urllib3

from benchmarks import bare
from benchmarks.replay import OFFSET_BITS, TOPIC, Deposited, decode_event

BATCH = 10_000

Row = list[int]
"""Cents, events."""


def batches(log: Path) -> Iterator[tuple[int, int, list[Deposited]]]:
    """Partition, the position after the batch, events."""
    with closing(sqlite3.connect(log)) as file:
        (slot,) = file.execute("SELECT first_slot FROM topics WHERE name = ?", [TOPIC]).fetchone()
        read = "SELECT place, value FROM records WHERE place >= ? AND place < ? ORDER BY place LIMIT ?"
        for partition in range(bare.PARTITIONS):
            place, end = slot + partition << OFFSET_BITS, slot + partition + 1 << OFFSET_BITS
            while records := file.execute(read, [place, end, BATCH]).fetchall():
                place = records[-1][0] + 1
                yield partition, place, [decode_event(value) for _, value in records]


def change(rows: dict[str, Row], events: list[Deposited]) -> None:
    get = rows.get
    for event in events:
        row = get(event.account_id)
        if row is None:
            row = rows[event.account_id] = [0, 0]
        if type(event) is Deposited:
            row[0] += event.cents
        else:
            row[0] -= event.cents
        row[1] += 1


# --- PostgreSQL

POSTGRES_TABLES = """
CREATE TABLE balance (account_id text COLLATE "C" PRIMARY KEY, cents bigint NOT NULL, events bigint NOT NULL)
    WITH (fillfactor = 80);
CREATE TABLE positions (part integer PRIMARY KEY, next bigint NOT NULL)
"""
POSTGRES_LOAD = (
    "SELECT account_id, cents, events FROM balance WHERE account_id = ANY($1::text[]) ORDER BY account_id FOR UPDATE"
)
POSTGRES_SAVE = (
    "INSERT INTO balance SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])"
    " ON CONFLICT (account_id) DO UPDATE SET cents = excluded.cents, events = excluded.events"
)
POSTGRES_POSITION = "INSERT INTO positions VALUES ($1, $2) ON CONFLICT (part) DO UPDATE SET next = excluded.next"


def postgres_tables(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(POSTGRES_TABLES)


def postgres(log: Path, url: str) -> float:
    """Fills a table of its own. Returns the seconds."""
    started = time.perf_counter()
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        connection.execute("SET synchronous_commit = off")
        for partition, place, events in batches(log):
            with connection.transaction():
                keys = {event.account_id for event in events}
                found = connection.execute(POSTGRES_LOAD, ["{" + ",".join(keys) + "}"]).fetchall()
                rows = {key: [cents, count] for key, cents, count in found}
                change(rows, events)
                columns = [rows, (cents for cents, _ in rows.values()), (count for _, count in rows.values())]
                connection.execute(POSTGRES_SAVE, ["{" + ",".join(map(str, column)) + "}" for column in columns])
                connection.execute(POSTGRES_POSITION, [partition, place])
    return time.perf_counter() - started


# --- Redis

REDIS_LOAD = """
local found = cmsgpack.unpack(ARGV[1])
for i, key in ipairs(found) do
    local row = redis.call('HMGET', 'balance:' .. key, 'cents', 'events')
    found[i] = row[1] and row
end
return cmsgpack.pack(found)
"""
REDIS_SAVE = """
for _, row in ipairs(cmsgpack.unpack(ARGV[1])) do
    redis.call('HSET', 'balance:' .. row[1], 'account_id', row[1], 'cents', row[2], 'events', row[3])
end
redis.call('HSET', 'positions', ARGV[2], ARGV[3])
"""


def redis_script(log: Path, url: str) -> float:
    """Fills an empty database. Returns the seconds."""
    started = time.perf_counter()
    decode = msgspec.msgpack.Decoder(list[tuple[str, str] | bool]).decode
    with closing(redis.Redis.from_url(url)) as client:
        load, save = (client.script_load(script) for script in (REDIS_LOAD, REDIS_SAVE))
        for partition, place, events in batches(log):
            keys = list({event.account_id for event in events})
            found = decode(client.execute_command("EVALSHA", load, 0, msgspec.msgpack.encode(keys)))
            there = zip(keys, found, strict=True)
            rows = {key: [int(row[0]), int(row[1])] for key, row in there if row}  # type: ignore[index] # True never comes
            change(rows, events)
            written = msgspec.msgpack.encode([(key, str(cents), str(count)) for key, (cents, count) in rows.items()])
            client.execute_command("EVALSHA", save, 0, written, partition, place)
    return time.perf_counter() - started


# --- OpenSearch

SEARCH_INDEX = {
    "settings": {"index.refresh_interval": "1s"},
    "mappings": {
        "dynamic": False,
        "properties": {
            "account_id": {"type": "keyword"},
            "cents": {"type": "long"},
            "events": {"type": "long"},
        },
    },
}
ITEMS = 5_000
"""Documents a request, as many as the library sends."""


class _Source(msgspec.Struct):
    account_id: str
    cents: int
    events: int


class _Found(msgspec.Struct):
    source: _Source | None = msgspec.field(name="_source", default=None)


class _FoundAll(msgspec.Struct):
    docs: list[_Found]


class _Written(msgspec.Struct):
    errors: bool


def opensearch_index(url: str) -> None:
    body = msgspec.json.encode(SEARCH_INDEX)
    reply = urllib3.request("PUT", url, body=body, headers={"content-type": "application/json"}, retries=False)
    if reply.status >= 300:
        raise RuntimeError(reply.data[:500])


def opensearch(log: Path, url: str) -> float:
    """Fills an index of its own. Arguments: url: `http://host:port/index`. Returns the seconds."""
    started = time.perf_counter()
    base, _, index = url.rpartition("/")
    client = urllib3.PoolManager(retries=False, timeout=60)

    def ask(method: str, path: str, body: bytes, kind: str = "application/json") -> bytes:
        reply = client.request(method, f"{base}{path}", body=body, headers={"content-type": kind})
        if reply.status >= 300:
            raise RuntimeError(reply.data[:500])
        return reply.data

    encoder, found_all, written = (
        msgspec.json.Encoder(),
        msgspec.json.Decoder(_FoundAll),
        msgspec.json.Decoder(_Written),
    )
    for partition, place, events in batches(log):
        keys = list({event.account_id for event in events})
        rows: dict[str, Row] = {}
        for begin in range(0, len(keys), ITEMS):
            body = encoder.encode({"ids": keys[begin : begin + ITEMS]})
            for found in found_all.decode(ask("POST", f"/{index}/_mget", body)).docs:
                if found.source is not None:
                    rows[found.source.account_id] = [found.source.cents, found.source.events]
        change(rows, events)
        changed = list(rows.items())
        for begin in range(0, len(changed), ITEMS):
            lines: list[object] = []
            for key, (cents, count) in changed[begin : begin + ITEMS]:
                lines += {"index": {"_id": key}}, _Source(key, cents, count)
            answer = ask("POST", f"/{index}/_bulk", encoder.encode_lines(lines), "application/x-ndjson")
            if written.decode(answer).errors:
                raise RuntimeError(answer[:500])
        ask("PUT", f"/{index}-positions/_doc/{partition}", encoder.encode({"next": place}))
    return time.perf_counter() - started


# --- SQLite

SQLITE_TABLES = """
CREATE TABLE balance (account_id TEXT PRIMARY KEY, cents INTEGER NOT NULL, events INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE positions (part INTEGER PRIMARY KEY, next INTEGER NOT NULL)
"""
SQLITE_SAVE = (
    "INSERT INTO balance VALUES (?, ?, ?)"
    " ON CONFLICT (account_id) DO UPDATE SET cents = excluded.cents, events = excluded.events"
)
SQLITE_POSITION = "INSERT INTO positions VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET next = excluded.next"


def sqlite_tables(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SQLITE_TABLES)


def sqlite(log: Path, path: Path) -> float:
    """Fills a file of its own. Returns the seconds."""
    started = time.perf_counter()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")
        for partition, place, events in batches(log):
            connection.execute("BEGIN IMMEDIATE")
            keys = list({event.account_id for event in events})
            load = f"SELECT account_id, cents, events FROM balance WHERE account_id IN ({','.join('?' * len(keys))})"
            rows = {key: [cents, count] for key, cents, count in connection.execute(load, keys)}
            change(rows, events)
            connection.executemany(SQLITE_SAVE, [(key, cents, count) for key, (cents, count) in rows.items()])
            connection.execute(SQLITE_POSITION, (partition, place))
            connection.execute("COMMIT")
    return time.perf_counter() - started
