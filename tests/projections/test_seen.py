"""Records that another program has written twice count once, on every store, also across a restart."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

import headwater as hw
from headwater.environment import KeptTelemetry, System
from headwater.errors import BadData, Misuse
from headwater.log.port import NewRecord, TopicPartition
from headwater.projections import seen
from headwater.projections.dedupe import Dedupe, identity_of
from headwater.projections.read_model import read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.projections.seen_rows import tables_of, tallies_in
from headwater.stores.memory import MemoryStore
from headwater.stores.opensearch import OpenSearchStore
from headwater.stores.port import Store
from headwater.stores.postgres import PostgresStore
from headwater.stores.redis import RedisStore
from headwater.stores.sqlite import SqliteStore
from tests.projections.test_dead_letters import ask, letters
from tests.projections.trade import TOPIC, Placed, Reading, make_log

P0, P1 = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store: Store
    match request.param:
        case "memory":
            store = MemoryStore()
        case "sqlite":
            store = SqliteStore(tmp_path / "views.db")
        case "postgres":
            store = PostgresStore(request.getfixturevalue("postgres_url"))
        case _:
            store = RedisStore(request.getfixturevalue("redis_url"))
    yield store
    store.close()


def counting(dedupe: Dedupe | None) -> type[hw.Projection]:
    class Customer(hw.Projection, dedupe=dedupe):
        customer: hw.Key[str]
        trades: int = 0

        @hw.on(Placed, key=lambda event, meta: event.customer)
        def placed(self, event: Placed) -> None:
            self.trades += 1

    return Customer


def sale(number: int, partition: int = 0, *, customer: str = "ann", id: str = "", key: bytes = b"till") -> NewRecord:
    """As another program would write it: number `number` of what `key` counts."""
    value = b'{"eventType":"Placed","tradeId":"t%d","customer":"%s","items":[],"total":"1","no":%d,"till":"%s"}' % (
        number,
        customer.encode(),
        number,
        key,
    )
    headers = [("ce_id", (id or f"id-{number}").encode()), ("ce_source", b"till"), ("ce_sequence", b"%d" % number)]
    return NewRecord(TOPIC, partition, key, value, headers)


def trades(reading: Reading) -> int:
    return sum(getattr(row, "trades") for row in reading.store.rows(reading.model.tables[0]))  # noqa: B009 -- of a class made here


WAYS = [
    hw.by_id,
    hw.by_id("tradeId"),
    hw.by_hash,
    hw.by_sequence,
    hw.by_sequence("no"),
    hw.by_sequence("no", of="till"),
]


@pytest.mark.parametrize("dedupe", WAYS, ids=lambda dedupe: dedupe.words)
def test_every_record_twice_counts_once_also_across_restarts(store: Store, dedupe: Dedupe) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    log = make_log(2)
    reading = Reading(log, counting(dedupe), store=store)
    everything = [sale(n, p, key=b"%d" % p) for n in range(60) for p in range(2)]
    sent = 0
    while sent < len(everything):
        fresh = everything[sent : sent + chance.randrange(1, 20)]
        sent += len(fresh)
        log.append([*fresh, *chance.choices(everything[:sent], k=chance.randrange(10))])
        reading.read(chance.randrange(1, 30))
        if chance.random() < 0.3:
            reading.start()
    log.append(everything)
    reading.start()
    reading.read(7)
    assert trades(reading) == len(everything)
    copies = sum(log.ends([P0, P1]).values()) - len(everything)
    assert sum(tally.duplicates for tally in tallies_in(store, reading.model)) == copies


def test_without_dedupe_each_copy_counts() -> None:
    log = make_log()
    log.append([sale(1), sale(1)])
    reading = Reading(log, counting(None))
    reading.read()
    assert (trades(reading), tallies_in(reading.store, reading.model)) == (2, [])


def test_gaps_are_counted_and_what_comes_late_is_no_copy(store: Store) -> None:
    log, telemetry = make_log(), KeptTelemetry()
    reading = Reading(log, counting(hw.by_sequence), store=store)
    reading.runner = ProjectionRunner(reading.model, log, store, environment=System(telemetry))
    reading.runner._shadowed_s = float("inf")
    reading.runner.assigned([P0])
    log.append([sale(n) for n in (5, 6, 9)])
    reading.read()
    [tally] = tallies_in(store, reading.model)
    assert (tally.duplicates, tally.skipped, tally.late) == (0, 2, 0), "what was before the first one is not known"
    log.append([sale(n) for n in (8, 8, 10, 6)])
    reading.read(1)
    [tally] = tallies_in(store, reading.model)
    assert (tally.duplicates, tally.skipped, tally.late) == (2, 2, 1)
    assert trades(reading) == 5
    labels = (("group", reading.model.runner), ("partition", "0"), ("topic", TOPIC))
    assert telemetry.gauges[seen.DUPLICATES, labels] == 2
    assert telemetry.gauges[seen.MISSING, labels] == 1
    reading.runner.revoked([P0])
    assert (seen.MISSING, labels) not in telemetry.gauges, "who has the partition now tells it"
    reading.reader.assign(reading.runner.assigned([P0]))
    log.append([sale(11)])
    reading.read()
    assert (telemetry.gauges[seen.DUPLICATES, labels], telemetry.gauges[seen.MISSING, labels]) == (2, 1)


def test_numbers_that_nobody_listens_to_are_no_gap() -> None:
    log = make_log()
    other = NewRecord(TOPIC, 0, b"till", b'{"eventType":"Audited"}', [("ce_sequence", b"2")])
    log.append([sale(1), other, sale(3)])
    reading = Reading(log, counting(hw.by_sequence))
    reading.read()
    assert tallies_in(reading.store, reading.model) == []


def test_ids_are_kept_for_a_window_of_positions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "WINDOW", 100)
    monkeypatch.setattr(seen, "BUCKET", 10)
    log = make_log()
    reading = Reading(log, counting(hw.by_id), store=store)
    log.append([sale(n) for n in range(100)])
    reading.read(9)
    log.append([sale(0)])  # at position 100: the window reaches back to position 0
    reading.read(9)
    assert trades(reading) == 100
    log.append([sale(n) for n in range(100, 150)])
    reading.read(9)
    reading.start()
    log.append([sale(20), sale(90)])
    reading.read(9)
    assert trades(reading) == 151, "the first one is forgotten, the second is not"
    rows = store.rows(tables_of(reading.model.runner).seen)
    assert len(rows) <= 100 / 10 + 2
    assert sum(len(seen.split(row.digests)) for row in rows) <= 100 + 2 * 10


@pytest.mark.slow
def test_ids_are_kept_in_a_search_server_as_well(opensearch_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(OpenSearchStore(opensearch_url)) as store:
        test_ids_are_kept_for_a_window_of_positions(store, monkeypatch)


def test_what_was_not_committed_was_not_seen(store: Store) -> None:
    """A handler fails behind a record: what comes before is committed, and seen; the rest comes again."""

    class Careful(hw.Projection, dedupe=hw.by_id):
        customer: hw.Key[str]
        trades: int = 0

        @hw.on(Placed, key=lambda event, meta: event.customer)
        def placed(self, event: Placed) -> None:
            if event.trade_id == "t3" and not repaired:
                raise ValueError("not yet")
            self.trades += 1

    repaired = False
    log = make_log()
    log.append([sale(n) for n in (1, 2, 3, 4)])
    reading = Reading(log, Careful, store=store, on_failure=hw.stop())
    with pytest.raises(hw.Failed, match="not yet"):
        reading.read()
    assert (trades(reading), reading.positions[P0]) == (2, 2)
    repaired = True
    reading.start()
    log.append([sale(n) for n in (4, 3, 2, 1)])
    reading.read()
    assert trades(reading) == 4


def test_a_copy_of_a_dead_letter_is_left_out_too(store: Store) -> None:
    class Careful(hw.Projection, dedupe=hw.by_id):
        customer: hw.Key[str]
        trades: list[str] = []

        @hw.on(Placed, key=lambda event, meta: event.customer)
        def placed(self, event: Placed) -> None:
            if event.trade_id == "t1" and not repaired:
                raise ValueError("not yet")
            self.trades.append(event.trade_id)

    repaired = False
    log = make_log()
    reading = Reading(log, Careful, store=store)
    for numbers in ((1, 2), (1, 2, 3), (1, 3)):
        log.append([sale(n) for n in numbers])
        reading.read()
        reading.start()
    assert store.rows(reading.model.tables[0]) == []
    repaired = True
    assert [one.step for one in ask(reading, letters(reading), "retry")] == ["retried"]
    assert [row.trades for row in store.rows(reading.model.tables[0])] == [["t1", "t2", "t3"]]


def test_another_runner_takes_over_what_was_seen(store: Store) -> None:
    log, projection = make_log(), counting(hw.by_id)
    first, second = Reading(log, projection, store=store), Reading(log, projection, store=store)
    log.append([sale(1), sale(2)])
    first.read()
    log.append([sale(2), sale(3)])
    second.start()
    second.read()
    log.append([sale(1), sale(3), sale(4)])
    batch = first.reader.read(100, 1.0)
    with pytest.raises(hw.HeadwaterError, match="but the store stands at"):
        first.runner.handle(batch, None)
    first.runner.revoked([P0])
    first.reader.assign(first.runner.assigned([P0]))
    first.read()
    assert trades(first) == 4


def test_a_record_that_cannot_be_recognised_stops_its_partition() -> None:
    log = make_log()
    nameless = NewRecord(TOPIC, 0, b"till", sale(1).value)
    unheard = NewRecord(TOPIC, 0, b"till", b'{"eventType":"Audited"}')
    log.append([sale(0), unheard, nameless, sale(2)])
    reading = Reading(log, counting(hw.by_id), on_failure=hw.stop())
    with pytest.raises(BadData, match=r"dedupe=by_id: the record has no header ce_id .*offset 2"):
        reading.read()
    assert (trades(reading), reading.positions[P0]) == (1, 2)


@pytest.mark.parametrize(
    ("dedupe", "value"),
    [
        (hw.by_id("no"), b'{"other":1}'),
        (hw.by_id("no"), b'{"no":null}'),
        (hw.by_id("no"), b"no JSON"),
        (hw.by_id("no"), b"[1]"),
        (hw.by_id("no"), None),
        (hw.by_sequence("no"), b'{"no":"one"}'),
        (hw.by_sequence("no"), b'{"no":-1}'),
        (hw.by_sequence("no"), b'{"no":1.5}'),
        (hw.by_sequence("no"), b'{"no":10000000000000000000}'),
        (hw.by_sequence("no", of="till"), b'{"no":1}'),
    ],
)
def test_nothing_to_recognise_it_by(dedupe: Dedupe, value: bytes | None) -> None:
    log = make_log()
    log.append([NewRecord(TOPIC, 0, b"k", value)])
    reader = log.reader()
    reader.assign({P0: 0})
    assert identity_of(dedupe, lambda record: record.value)(reader.read(1, 1.0).records[0]) is None


def test_ids_of_two_sources_are_two_and_numbers_are_counted_per_key() -> None:
    log = make_log()
    other = NewRecord(TOPIC, 0, b"till", sale(1).value, [("ce_id", b"id-1"), ("ce_source", b"another till")])
    log.append([sale(1), other])
    reading = Reading(log, counting(hw.by_id))
    reading.read()
    assert trades(reading) == 2
    log = make_log()
    keys = (b"a", b"b", b"\xff\x00", b"\\xff\\x00", None)
    log.append([msgspec.structs.replace(sale(n), key=key) for n in (1, 2) for key in keys])
    reading = Reading(log, counting(hw.by_sequence))
    reading.read()
    assert (trades(reading), tallies_in(reading.store, reading.model)) == (10, [])


def test_declarations_that_mean_nothing_are_refused() -> None:
    with pytest.raises(Misuse, match=r"Copies: dedupe='id' is none of hw.by_id"):

        class Copies(hw.Projection, dedupe="id"):
            customer: hw.Key[str]

    wrong: Callable[[], object]
    for wrong in (
        lambda: hw.by_hash("field"),
        lambda: hw.by_id(""),
        lambda: hw.by_id("a", of="b"),
        lambda: hw.by_sequence(1),  # type: ignore[arg-type] # on purpose
    ):
        with pytest.raises(Misuse, match="write dedupe="):
            wrong()


def test_projections_that_share_a_position_share_their_dedupe() -> None:
    class One(hw.Projection, group="both", dedupe=hw.by_id):
        customer: hw.Key[str]

        @hw.on(Placed, key=lambda event, meta: event.customer)
        def placed(self, event: Placed) -> None: ...

    class Other(hw.Projection, group="both"):
        customer: hw.Key[str]

        @hw.on(Placed, key=lambda event, meta: event.customer)
        def placed(self, event: Placed) -> None: ...

    with pytest.raises(Misuse, match=r"group 'both' share a position: give all the same dedupe= \(by_id, none\)"):
        read_models_of("app", [One, Other])


def test_another_dedupe_is_other_code() -> None:
    codes = {read_models_of("app", [counting(dedupe)])[0].code for dedupe in (*WAYS, None)}
    assert len(codes) == len(WAYS) + 1
