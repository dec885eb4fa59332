"""CREATE STREAM with joins: however topics are read, by whom, and however often it is begun anew, the topic has the
rows that DuckDB finds in all events, each once.

`python -m tests.views.test_stream_joins 300` takes as many seeds per shape as it is told.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

import headwater as hw
from headwater.environment import SYSTEM
from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, Member, NewRecord, Record, TopicSpec
from headwater.messages.envelope import read_meta
from headwater.operations.deadletters import DeadLetters, Selection
from headwater.operations.deadletters_places import InLog
from headwater.readers.held_records import Looking
from headwater.readers.loop import ReadingLoop
from headwater.readers.relaying import Relaying
from headwater.schemas.topics import PLAIN
from headwater.testing.waiting import eventually
from headwater.views import stream_rows
from headwater.views.errors import BadStatement
from headwater.views.nesting import leaves
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.repartitioning import Repartitioning
from headwater.views.stream_query import pairs_of, query_of
from headwater.views.stream_rows import TwoStreams
from headwater.views.streaming import StreamRunner, group_of, repartition_of
from headwater.views.texts import Text
from tests.logs import log as log
from tests.logs import open_again as open_again
from tests.views.comparing import NotApplied, check_seeds, same
from tests.views.shopping import (
    DESCRIBED,
    NOON,
    PARTITIONS,
    Buyer,
    BuyerEvent,
    BuyerMoved,
    Move,
    Rate,
    Sale,
    SaleEvent,
    SaleMade,
    Sell,
    catalogue,
    events,
    ms,
    records_of,
    written,
)
from tests.views.test_joins import AT, Oracle, in_duckdb
from tests.views.test_streams import all_of

QUICK = ("near", "looked up")
SEEDS = 1

BETWEEN = "m._time BETWEEN e._time - INTERVAL 3 MINUTE AND e._time + INTERVAL 3 MINUTE"
RATE = (
    "(SELECT arg_max(struct_pack(rate := o.rate, gone := o.gone), (since, place)) FROM old_rates o "
    "WHERE o.region = m.region AND o.since <= {})"
)


class Shape(NamedTuple):
    """Arguments: sql: of the stream; oracle: the same of all events; near: whether two streams are joined, so that
    their times may be in any order."""

    sql: str
    oracle: str
    near: bool


SHAPES = {
    "near": Shape(
        "SELECT e.sale, e.amount, m.region FROM sale-events e JOIN buyer-events m WITHIN INTERVAL 3 MINUTE "
        "ON e.buyer = m.name AND m.region <> 'S' WHERE e.amount > -10",
        f"SELECT e.sale, e.amount, m.region FROM sales e JOIN moves m ON e.buyer = m.name AND {BETWEEN} "
        "WHERE m.region <> 'S' AND e.amount > -10",
        True,
    ),
    "near, on one side": Shape(
        "SELECT e.sale, m.name FROM buyer-events m JOIN sale-events e "
        "WITHIN (INTERVAL 0 MINUTE, INTERVAL 5 MINUTE) ON upper(e.buyer) = upper(m.name) WHERE m._type = 'BuyerMoved'",
        "SELECT e.sale, m.name FROM sales e JOIN moves m ON e.buyer = m.name "
        "AND e._time BETWEEN m._time AND m._time + INTERVAL 5 MINUTE",
        True,
    ),
    "near itself": Shape(
        "SELECT a.sale AS one, b.sale AS two, b.amount FROM sale-events a JOIN sale-events b WITHIN INTERVAL 4 MINUTE "
        "ON a.buyer = b.buyer",
        "SELECT a.sale, b.sale, b.amount FROM sales a JOIN sales b ON a.buyer = b.buyer "
        "AND b._time BETWEEN a._time - INTERVAL 4 MINUTE AND a._time + INTERVAL 4 MINUTE",
        True,
    ),
    "near, elements": Shape(
        "SELECT e.sale, p, m.region FROM sale-events e JOIN buyer-events m WITHIN INTERVAL 3 MINUTE "
        "ON e.buyer = m.name, UNNEST(e.places) AS p",
        f"SELECT e.sale, unnest(e.places), m.region FROM sales e JOIN moves m ON e.buyer = m.name AND {BETWEEN}",
        True,
    ),
    "looked up": Shape(
        "SELECT e.sale, b.region, b.moves FROM sale-events e "
        "LEFT JOIN buyer-state FOR SYSTEM_TIME AS OF e._time AS b ON e.buyer = b.id AND b.moves > 0",
        "SELECT sale, CASE WHEN b.moves > 0 THEN b.region END AS region, "
        f"CASE WHEN b.moves > 0 THEN b.moves END AS moves FROM ({AT.format('')})",
        False,
    ),
    "looked up, or left out": Shape(
        "SELECT e.sale, p, b.credit FROM sale-events e, UNNEST(e.places) AS p "
        "JOIN buyer-state FOR SYSTEM_TIME AS OF e._time - INTERVAL 1 MINUTE AS b ON e.buyer = b.id WHERE b.credit <> 0",
        f"SELECT sale, unnest(places), b.credit FROM ({AT.format(' - INTERVAL 1 MINUTE')}) "
        "WHERE b IS NOT NULL AND b.credit <> 0",
        False,
    ),
    "others, looked up": Shape(
        "SELECT m.name, m.region, r.rate FROM buyer-events m "
        "LEFT JOIN rates FOR SYSTEM_TIME AS OF m._time AS r ON m.region = r.region",
        "SELECT name, region, CASE WHEN NOT r.gone THEN r.rate END AS rate FROM "
        f"(SELECT m.*, {RATE.format('m._time')} AS r FROM moves m)",
        False,
    ),
    "its own state, looked up": Shape(
        "SELECT m.name, m.region, b.moves FROM buyer-events m "
        "JOIN buyer-state FOR SYSTEM_TIME AS OF m._time AS b ON m.name = b.id WHERE m._type = 'BuyerMoved'",
        "SELECT name, region, moves FROM (SELECT m.*, (SELECT arg_max(v.moves, (since, place)) FROM versions v "
        "WHERE v.id = m.name AND v.since <= m._time) AS moves FROM moves m)",
        False,
    ),
    "near, looked up": Shape(
        "SELECT e.sale, m.region, r.rate FROM sale-events e JOIN buyer-events m WITHIN INTERVAL 3 MINUTE "
        "ON e.buyer = m.name LEFT JOIN rates FOR SYSTEM_TIME AS OF least(e._time, m._time) AS r ON m.region = r.region",
        "SELECT sale, region, CASE WHEN NOT r.gone THEN r.rate END AS rate FROM (SELECT e.sale, m.region, "
        f"{RATE.format('least(e._time, m._time)')} AS r FROM sales e JOIN moves m ON e.buyer = m.name AND {BETWEEN})",
        False,
    ),
}


def plan(sql: str, name: str = "v") -> View:
    return plan_views([Text(f"{DESCRIBED}CREATE STREAM {name} AS {sql}")], catalogue())[-1]


class Process:
    """One that writes a stream, turn by turn. Arguments: view; log; name; batch_records: how many it takes at once."""

    def __init__(self, view: View, log: Log, name: str, batch_records: int) -> None:
        self._stream, self._opened = StreamRunner("shop", view, log, SYSTEM, PLAIN), ExitStack()
        self._opened.callback(self._stream.close)
        made: list[tuple[Relaying, ReadingLoop]] = []
        if self._stream.repartition is not None:
            together = Repartitioning(view, self._stream.repartition, log, SYSTEM, PLAIN)
            self._opened.callback(together.close)
            made.append(together.begin(name))
        made.append(self._stream.begin(name))
        self._loops: list[tuple[ReadingLoop, Member]] = []
        for relaying, loop in made:
            self._opened.callback(relaying.close)
            loop._batch_records = batch_records
            member = loop.join()
            self._opened.callback(member.close)
            self._loops.append((loop, member))

    def turn(self) -> bool:
        """Whether it did anything."""
        return sum(loop.turn(member, 0.0) for loop, member in self._loops) > 0

    def close(self) -> None:
        self._opened.close()


def finish(processes: Sequence[Process]) -> None:
    for _ in range(10_000):
        if sum(one.turn() for one in processes) == 0:
            return
    raise AssertionError("they never come to an end")


def check(shape: Shape, seed: int, here: Path) -> None:
    """Raises AssertionError with the seed where the topic has other rows than the oracle."""
    chance = random.Random(seed)
    found = list(events(chance))
    view = plan(shape.sql)
    log = MemoryLog(session_timeout_s=3600)  # nobody loses partitions because the machine stood still
    log.create_topics([TopicSpec(name, count) for name, count in PARTITIONS.items()])
    types = {kind.name for one in leaves(view) if one.origin == "events" for kind in one.types}
    oracle = Oracle(types, in_duckdb(shape.oracle))
    oracle.add(records_of(found, random.Random(seed) if shape.near else None))
    written_so_far = written_in(log, found, random.Random(seed) if shape.near else None)
    names = iter(range(1_000))

    def begin() -> Process:
        return Process(view, log, f"p{next(names)}", chance.choice([1, 2, 5, 100]))

    processes = [begin() for _ in range(chance.choice([1, 1, 2]))]
    try:
        for _ in written_so_far:
            if chance.random() < 0.3:
                chance.choice(processes).turn()
            if chance.random() < 0.05:
                processes.pop(chance.randrange(len(processes))).close()
                processes.append(begin())
        finish(processes)
        records = all_of(log, "v")
        columns = [one.name for one in view.output]
        rows = [tuple(valued(content(one.value)[name]) for name in columns) for one in records]
        wanted = [tuple(map(valued, row)) for row in oracle.rows()]
        assert same(rows, wanted), f"seed {seed}: {sorted(rows, key=str)} instead of {sorted(wanted, key=str)}"
        assert len({dict(one.headers)["ce_id"] for one in records}) == len(records), f"seed {seed}"
    finally:
        for one in processes:
            one.close()
        oracle.close()


def written_in(
    log: Log, found: Sequence[SaleEvent | BuyerEvent | Rate], chance: random.Random | None
) -> Iterator[None]:
    """Writes events, one each time it goes on, with the times that `log_of` gives them."""
    for minute, one in enumerate(found):
        at = NOON + timedelta(minutes=minute if chance is None else chance.randrange(20))
        topic, key, value = written(one)
        log.append([NewRecord(topic, partition_of(key, PARTITIONS[topic]), key, value, (), ms(at))])
        yield


def content(value: bytes | None) -> Any:
    return msgspec.json.decode(value or b"")


def valued(cell: Any) -> Any:
    """As it can be compared: numbers stand in records as texts."""
    try:
        return Decimal(cell) if isinstance(cell, str) else cell
    except ArithmeticError:
        return cell


@pytest.mark.parametrize("name", [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in SHAPES])
def test_it_is_what_duckdb_says_of_all_events(name: str, tmp_path: Path) -> None:
    for seed in range(SEEDS):
        check(SHAPES[name], seed, tmp_path)


def written_all(log: Log, *found: tuple[str, bytes, bytes | None, int]) -> None:
    """Writes records. Arguments: found: topic, key, value and minute."""
    log.create_topics([TopicSpec(name, count) for name, count in PARTITIONS.items()])
    for topic, key, value, minute in found:
        at = ms(NOON + timedelta(minutes=minute))
        log.append([NewRecord(topic, partition_of(key, PARTITIONS[topic]), key, value, (), at)])


def streamed(view: View, log: Log, batch_records: int = 100) -> list[Record]:
    """What a process writes that reads all."""
    process = Process(view, log, "one", batch_records)
    try:
        finish([process])
    finally:
        process.close()
    return all_of(log, str(view.topic))


def whole(view: View, log: Log, batch_records: int = 100) -> list[Record]:
    """What a process writes that reads all. Raises: NotApplied: a statement fails at a record, so it is no answer."""
    records = streamed(view, log, batch_records)
    together = repartition_of("shop", view)
    for group in [group_of("shop", view), *([] if together is None else [together])]:
        if failed := held(log, group):
            raise NotApplied(str(failed))
    return records


def sale(name: str, buyer: str, minute: int, amount: str = "1") -> tuple[str, bytes, bytes | None, int]:
    return (*written(SaleMade(name, buyer, Decimal(amount), [])), minute)


def moved(name: str, region: str, minute: int) -> tuple[str, bytes, bytes | None, int]:
    return (*written(BuyerMoved(name, region)), minute)


def rate(region: str, value: bytes | None, minute: int) -> tuple[str, bytes, bytes | None, int]:
    return "rate-table", region.encode(), value, minute


def pairs_at_both_ends_of_the_time() -> None:
    """Raises: AssertionError: others are joined than those that are three minutes apart at most."""
    log = MemoryLog()
    written_all(
        log, moved("ann", "1", 1), moved("ann", "2", 2), sale("a", "ann", 5), moved("ann", "8", 8),
        moved("ann", "9", 9), moved("bob", "5", 5), sale("b", "ann", 11),
    )  # fmt: skip
    records = whole(plan(SHAPES["near"].sql), log, batch_records=1)
    found = sorted(f"{content(one.value)['sale']} {content(one.value)['region']}" for one in records)
    assert found == ["a 2", "a 8", "b 8", "b 9"]


def a_record_meets_itself_once() -> None:
    """Raises: AssertionError."""
    log = MemoryLog()
    written_all(log, sale("a", "ann", 0), sale("b", "ann", 1))
    records = whole(plan(SHAPES["near itself"].sql), log)
    found = sorted(content(one.value)["one"] + content(one.value)["two"] for one in records)
    assert found == ["aa", "ab", "ba", "bb"]


def rows_at_the_times_of_changes() -> None:
    """Raises: AssertionError: something else is found than what had been written by then."""
    log = MemoryLog()
    written_all(log, rate("N", b'{"region": "N", "rate": 1}', 0), rate("N", b'{"region": "N", "rate": 2}', 2))
    log.append([NewRecord("rate-table", 0, b"N", None, (), ms(NOON + timedelta(minutes=4)))])
    log.append([NewRecord("rate-table", 0, b"N", b'{"region": "N", "rate": 7}', (), ms(NOON + timedelta(minutes=6)))])
    for minute in range(6):
        topic, key, value, _ = moved(str(minute), "N", minute)
        at = ms(NOON + timedelta(minutes=minute))
        log.append([NewRecord(topic, partition_of(key, PARTITIONS[topic]), key, value, (), at)])
    for how in ("JOIN", "LEFT JOIN"):
        sql = SHAPES["others, looked up"].sql.replace("LEFT JOIN", how).replace("r.region", "r._key")
        view = plan(sql, how.split()[0].lower())
        records = [content(one.value) for one in whole(view, log)]
        rates = sorted((one["name"], one["rate"]) for one in records)
        gone = [] if how == "JOIN" else [("4", None), ("5", None)]
        assert rates == [("0", "1"), ("1", "1"), ("2", "2"), ("3", "2"), *gone]


EXAMPLES = [pairs_at_both_ends_of_the_time, a_record_meets_itself_once, rows_at_the_times_of_changes]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example(example: Callable[[], None]) -> None:
    example()


PLANTED: dict[str, tuple[Callable[[], None], Callable[[View], str], str, str]] = {
    "what came before is not joined": (pairs_at_both_ends_of_the_time, pairs_of, "- 180000000", "- 0"),
    "what comes too late is joined": (pairs_at_both_ends_of_the_time, pairs_of, "+ 180000000", "+ 240000000"),
    "of the left side nothing is kept": (pairs_at_both_ends_of_the_time, pairs_of, '"hw kept r0"', '"hw new r0"'),
    "of the right side nothing is kept": (pairs_at_both_ends_of_the_time, pairs_of, '"hw kept r1"', '"hw new r1"'),
    "a record does not meet itself": (a_record_meets_itself_once, pairs_of, '"hw at" <= ', '"hw at" < '),
    "a record meets itself twice": (a_record_meets_itself_once, pairs_of, '"hw at" < ', '"hw at" <= '),
    "what is written at that time is not found": (rows_at_the_times_of_changes, query_of, ") >= ", ") > "),
    "at the time of a change both are found": (rows_at_the_times_of_changes, query_of, ") < ", ") <= "),
    "what was removed is found": (rows_at_the_times_of_changes, query_of, 'NOT "r1"."hw went"', "true"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    example, made, text, instead = PLANTED[mistake]
    monkeypatch.setattr(stream_rows, made.__name__, lambda view: made(view).replace(text, instead))
    with pytest.raises(AssertionError):
        example()


@pytest.mark.slow
def test_a_process_that_does_not_read_its_topic_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TwoStreams, "taken", lambda self, start: None)
    with pytest.raises(AssertionError):
        begun_again()


def begun_again() -> None:
    """Raises: AssertionError: a process does not find what the one before has read."""
    log, view = MemoryLog(), plan(SHAPES["near"].sql)
    written_all(log, moved("ann", "N", 0))
    assert whole(view, log) == []
    topic, key, value, _ = sale("a", "ann", 1)
    log.append([NewRecord(topic, 0, key, value, (), ms(NOON))])
    assert len(whole(view, log)) == 1


def test_a_process_goes_on_where_the_one_before_ended() -> None:
    begun_again()


def held(log: Log, group: str = "shop-v-stream") -> dict[bytes, str]:
    """The dead letters of a group: key -> why."""
    return {row.key or b"": row.message for row in Looking(log, group, SYSTEM).contents().held.values() if row.failed}


def test_the_record_of_a_pair_tells_of_both() -> None:
    log = MemoryLog()
    written_all(log, moved("ann", "N", 0), sale("7", "ann", 2))
    [record] = streamed(plan(SHAPES["near"].sql), log)
    buyer, sold = partition_of(b"ann", PARTITIONS["buyer-events"]), partition_of(b"7", PARTITIONS["sale-events"])
    assert record.key == b"7"  # of the left one
    assert content(record.value) == {
        "eventType": "v", "eventVersion": 1, "sale": "7", "amount": "1", "region": "N",
        "timestamp": "2026-03-02T12:02:00Z",
    }  # fmt: skip
    meta = read_meta("v", 0, 0, record.key, record.headers, 0)
    assert isinstance(meta, hw.Meta)
    assert meta.id == f"sale-events-{sold}-0-buyer-events-{buyer}-0-v-0"
    assert (meta.causation_id, meta.time) == (f"sale-events-{sold}-0", NOON + timedelta(minutes=2))  # of the later one


def test_what_cannot_be_read_of_a_table_makes_a_dead_letter_of_who_looks_it_up_then() -> None:
    log, sql = MemoryLog(), f"{SHAPES['others, looked up'].sql} WHERE m.name <> 'joe'"
    written_all(
        log, rate("N", b'{"region": "N", "rate": 1}', 0), rate("N", b'{"region": "N", "rate": "x"}', 2),
        rate("N", b'{"region": "N", "rate": 3}', 4), rate("S", b"{bad", 2),
        moved("ann", "N", 1), moved("bob", "N", 3), moved("eve", "N", 5), moved("sue", "S", 3), moved("joe", "N", 3),
        moved("pat", "S", 1),
    )  # fmt: skip
    records = streamed(plan(sql), log)
    found = {content(one.value)["name"]: content(one.value)["rate"] for one in records}
    assert found == {"ann": "1", "eve": "3", "pat": None}
    why = held(log)
    assert why.keys() == {b"bob", b"sue"}
    assert "what it looks up is not known: rate-table, partition" in why[b"bob"]


def test_a_row_that_cannot_be_read_is_known_by_its_other_records() -> None:
    """Its key is two columns, which the record's key does not say."""
    table = "CREATE TABLE pairs (region VARCHAR PRIMARY KEY, name VARCHAR PRIMARY KEY) WITH (topic = 'rate-table');"
    sql = f"""{table}CREATE STREAM v AS SELECT m.name FROM buyer-events m
    JOIN pairs FOR SYSTEM_TIME AS OF m._time AS p ON p.name = m.name AND p.region = m.region"""
    log = MemoryLog()
    written_all(
        log, rate("7", b'{"region": "N", "name": "ann"}', 0), rate("8", b'{"region": "N", "name": "bob"}', 0),
        rate("7", b"{bad", 2), moved("ann", "N", 1), moved("bob", "N", 3), moved("ann", "N", 3),
    )  # fmt: skip
    view = plan_views([Text(sql)], catalogue())[-1]
    assert sorted(content(one.value)["name"] for one in streamed(view, log)) == ["ann", "bob"]
    assert held(log).keys() == {b"ann"}


def test_where_a_method_fails_nothing_more_is_known_of_that_state(monkeypatch: pytest.MonkeyPatch) -> None:
    log = MemoryLog()
    written_all(
        log, moved("ann", "N", 0), moved("ann", "bad", 2), moved("ann", "S", 4), moved("bob", "S", 0),
        sale("1", "ann", 1), sale("2", "ann", 3), sale("3", "ann", 5), sale("4", "bob", 5),
    )  # fmt: skip
    moves = Buyer.moved

    def choosy(self: Buyer, event: BuyerMoved) -> None:
        if event.region == "bad":
            raise ValueError("there is no such region")
        moves(self, event)

    monkeypatch.setattr(Buyer, "moved", hw.evolves(choosy))
    records = streamed(plan(SHAPES["looked up"].sql), log)
    assert {content(one.value)["sale"]: content(one.value)["region"] for one in records} == {"1": "N", "4": "S"}
    why = held(log)
    assert why.keys() == {b"2", b"3"}
    assert "there is no such region" in why[b"2"]


def test_a_pair_at_which_an_expression_fails_is_a_dead_letter_of_the_later_record() -> None:
    log = MemoryLog()
    near = "sale-events e JOIN buyer-events m WITHIN INTERVAL 9 MINUTE ON e.buyer = m.name"
    sql = f"SELECT e.sale, m.region::INTEGER AS n FROM {near}"
    written_all(log, moved("ann", "x", 0), moved("bob", "5", 0), sale("1", "ann", 1), sale("2", "bob", 1))
    assert [content(one.value)["n"] for one in streamed(plan(sql), log)] == [5]
    assert held(log).keys() <= {b"1", b"ann"}
    assert len(held(log)) == 1


def test_a_record_that_is_mended_is_joined_with_what_came_before_and_after() -> None:
    log, view = MemoryLog(), plan(SHAPES["near"].sql)
    written_all(log, moved("ann", "N", 0), ("sale-events", b"7", b"{bad", 1))
    topic, key, value, _ = sale("7", "ann", 1)
    with closing(Begun(view, log)) as begun:
        letters = DeadLetters({"v": InLog(log, begun.together.group, SYSTEM)}, SYSTEM)
        eventually(lambda: len(letters.letters(Selection())) == 1)
        [letter] = letters.letters(Selection())  # gone as soon as it is done
        asked = letters.ask(letter, "retry", who="me", reason="", value=value)
        assert letters.outcome(letter, asked, 60).step == "retried after an edit"
        eventually(lambda: regions(log) == ["N"])
    topic, key, value, _ = moved("ann", "W", 1)
    log.append([NewRecord(topic, partition_of(key, PARTITIONS[topic]), key, value, (), ms(NOON))])
    with closing(Begun(view, log)):  # it knows the mended record again
        eventually(lambda: regions(log) == ["N", "W"])


def regions(log: Log) -> list[str]:
    return sorted(content(one.value)["region"] for one in all_of(log, "v"))


class Begun:
    """A process that writes a stream, by itself. Arguments: view; log."""

    def __init__(self, view: View, log: Log) -> None:
        self._stream = StreamRunner("shop", view, log, SYSTEM, PLAIN)
        assert self._stream.repartition is not None
        self.together = Repartitioning(view, self._stream.repartition, log, SYSTEM, PLAIN)
        self._running = [self.together.begin("one"), self._stream.begin("one")]
        for _, loop in self._running:
            loop.start()

    def close(self) -> None:
        for relaying, loop in self._running:
            loop.stop()
            relaying.close()
        self._stream.close()
        self.together.close()


def test_what_a_stream_that_joins_has_written_is_read_from_its_topic() -> None:
    sql = f"""{DESCRIBED}CREATE STREAM near WITH (topic = 'pairs') AS {SHAPES["near"].sql};
    CREATE STREAM v AS SELECT n.sale, n.amount * 2 AS twice, r.rate FROM near n
    LEFT JOIN rates FOR SYSTEM_TIME AS OF n._time AS r ON n.region = r.region"""
    near, v = plan_views([Text(sql)], catalogue())
    log = MemoryLog()
    written_all(log, rate("N", b'{"region": "N", "rate": 1}', 0), moved("ann", "N", 0), sale("7", "ann", 2, "2.5"))
    streamed(near, log)
    [record] = streamed(v, log)
    assert content(record.value)["twice"] == "5"
    assert content(record.value)["rate"] == "1"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (
            "SELECT e.sale, b.region FROM sale-events e LEFT JOIN buyer-state b ON e.buyer = b.id",
            r"JOIN buyer-state FOR SYSTEM_TIME AS OF e\._time AS … ON …; or CREATE TABLE",
        ),
        (
            "SELECT e.sale FROM sale-events e LEFT JOIN buyer-events m WITHIN INTERVAL 3 MINUTE ON e.buyer = m.name",
            "a row without a partner may get one later",
        ),
        (
            "SELECT e.sale FROM sale-events e JOIN buyer-events m "
            "WITHIN (INTERVAL 3 MINUTE, grace => INTERVAL 1 MINUTE) ON e.buyer = m.name",
            "a stream's WITHIN has no grace: leave it out",
        ),
        (
            "SELECT e.sale FROM sale-events e JOIN buyer-events m WITHIN INTERVAL 3 MINUTE ON e.buyer = m.name "
            "JOIN buyer-events n WITHIN INTERVAL 3 MINUTE ON n.name = m.name",
            "a stream has one WITHIN: write the join with buyer-events as a stream of its own",
        ),
        (
            "SELECT e.sale FROM sale-events e, UNNEST(e.places) AS p JOIN buyer-events m WITHIN INTERVAL 3 MINUTE "
            "ON e.buyer = m.name",
            "WITHIN comes first in a stream",
        ),
        (
            "SELECT e.sale FROM sale-events e JOIN buyer-events m WITHIN INTERVAL 3 MINUTE "
            "ON e.amount = length(m.name)",
            "records are brought together by texts or whole numbers",
        ),
        (
            "SELECT e.sale FROM sale-events e JOIN homes FOR SYSTEM_TIME AS OF e._time AS h ON e.buyer = h.name",
            "homes is a view, and of these is not kept what they were",
        ),
        ("SELECT id, region FROM buyer-state", "these rows can change later"),
        (
            "SELECT m.region, COUNT(*) AS n FROM sale-events e JOIN buyer-events m WITHIN INTERVAL 3 MINUTE "
            "ON e.buyer = m.name GROUP BY m.region",
            "these rows can change later",
        ),
    ],
)
def test_a_join_that_a_stream_cannot_have_is_refused(query: str, why: str) -> None:
    homes = "CREATE TABLE homes AS SELECT name, LATEST(region) AS home FROM buyer-events GROUP BY name;"
    with pytest.raises(BadStatement, match=why):
        plan_views([Text(f"{homes}CREATE STREAM v AS {query}")], catalogue())


class TestOnALog:
    @pytest.fixture
    def app(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hw.App:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "v.sql").write_text(
            "CREATE STREAM v AS SELECT e.sale, b.region, m.region AS later FROM sale-events e "
            "JOIN buyer-events m WITHIN INTERVAL 1 HOUR ON e.buyer = m.name "
            "LEFT JOIN buyer-state FOR SYSTEM_TIME AS OF e._time AS b ON e.buyer = b.id"
        )
        return hw.App("shop", aggregates=[Sale, Buyer], views="*.sql", partitions=2)

    def test_pairs_are_written_once_and_the_next_process_goes_on(self, app: hw.App, log: Log) -> None:
        with app.run(log) as shop:
            shop.send(Move("ann", "N"))
            shop.send(Sell("7", "ann", Decimal(1)))
            eventually(lambda: told(log) == ["7 N N"])
        with app.run(log) as shop:
            shop.send(Move("ann", "S"))
            eventually(lambda: told(log) == ["7 N N", "7 N S"])


def told(log: Log) -> list[str]:
    found = [content(one.value) for one in all_of(log, "v")]
    return sorted(f"{one['sale']} {one['region']} {one['later']}" for one in found)


if __name__ == "__main__":
    check_seeds(SHAPES, check, int(sys.argv[1]))
