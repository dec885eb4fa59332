"""A record that cannot be applied is set aside with the later ones of its key, in order; all others flow."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.environment import KeptTelemetry, System
from headwater.errors import Unavailable
from headwater.failures import FailurePolicy
from headwater.failures.held import Action, Audit, HeldRecord, exchanged, tables_of
from headwater.log.port import NewRecord, TopicPartition
from headwater.operations.deadletters import DeadLetters, Letter, Selection
from headwater.projections.read_model import read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.projections.waiting import wait_until
from headwater.stores.memory import MemoryStore
from headwater.stores.port import Loading, R, Store, TableSchema
from headwater.stores.postgres import PostgresStore
from headwater.stores.sqlite import SqliteStore
from headwater.testing.waiting import eventually
from tests.projections.trade import TOPIC, Paid, Placed, Reading, append, make_log, placed

P0, P1 = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)
BROKEN = {"now": True}


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store: Store
    match request.param:
        case "memory":
            store = MemoryStore()
        case "sqlite":
            store = SqliteStore(tmp_path / "views.db")
        case _:
            store = PostgresStore(request.getfixturevalue("postgres_url"))
    yield store
    store.close()


@pytest.fixture(autouse=True)
def broken() -> None:
    """The handler of `Journal` has a bug while this is so."""
    BROKEN["now"] = True


class Journal(hw.Projection):
    """What happened to a trade, in order: a customer called "bug" meets one."""

    trade_id: hw.Key[str]
    words: list[str] = []

    @hw.on(Placed)
    def placed(self, event: Placed) -> None:
        self.words.append(f"{event.customer} {event.total}")
        if event.customer == "bug" and BROKEN["now"]:
            raise ZeroDivisionError(f"of {event.trade_id}")

    @hw.on(Paid)
    def paid(self, event: Paid) -> None:
        self.words.append(f"paid {event.amount}")


def journal(reading: Reading) -> dict[str, list[str]]:
    return {row.trade_id: row.words for row in reading.store.rows(reading.model.tables[0])}


def held(reading: Reading) -> list[HeldRecord]:
    return reading.store.rows(tables_of(reading.model.runner).held)


def offsets(rows: list[HeldRecord], *, failed: bool) -> list[int]:
    return [row.record_offset for row in rows if row.failed is failed]


def letters_of(reading: Reading) -> DeadLetters:
    return DeadLetters.of_models(reading.store, [reading.model], System())


def letters(reading: Reading, **selection: Any) -> list[Letter]:
    return letters_of(reading).letters(Selection(**selection))


def ask(
    reading: Reading, chosen: list[Letter], action: Action, *, reason: str = "", value: bytes | None = None
) -> list[Audit]:
    """Asks, lets the runner do it, and gives what came of it."""
    desk = letters_of(reading)
    asked = [desk.ask(letter, action, who="user:ann", reason=reason, value=value) for letter in chosen]
    while reading.store.rows(tables_of(reading.model.runner).asked):
        reading.runner._retrying._looked_s = -1  # it need not wait for its time
        reading.runner.idle(None)
    return [desk.outcome(letter, id, 0) for letter, id in zip(chosen, asked, strict=True)]


@pytest.mark.parametrize("batch_records", [1, 3, 100])
def test_poison_in_the_middle_of_a_batch_leaves_its_neighbours_alone(store: Store, batch_records: int) -> None:
    log = make_log(2)
    append(log, [placed("a", total="1"), placed("b", "bug", "2"), placed("a", total="3"), placed("b", total="4")])
    log.append([NewRecord(TOPIC, 0, b"c", b"no JSON"), NewRecord(TOPIC, 0, None, b"no JSON either")])
    append(log, [placed("c", total="5"), placed("a", total="6")], first=6)
    append(log, [placed("b", total="7")], partition=1)
    reading = Reading(log, Journal, store=store)
    reading.read(batch_records)
    assert journal(reading) == {"a": ["ann 1", "ann 3", "ann 6"], "b": ["ann 7"]}
    rows = held(reading)
    assert (offsets(rows, failed=True), offsets(rows, failed=False)) == ([1, 4, 5], [3, 6])
    assert reading.positions == log.ends([P0, P1])
    [bug, bytes_, nameless] = [row for row in rows if row.failed]
    assert (bug.stage, bug.handler, bug.error, bug.message) == ("apply", "Journal.placed", "ZeroDivisionError", "of b")
    assert (bytes_.stage, bytes_.error, bytes_.value, nameless.key) == ("decode", "BadData", b"no JSON", None)
    assert bug.attempts == 1
    assert bug.first_failed == bug.last_failed is not None
    assert bug.headers[2][0] == "content-type" or dict(bug.headers)["ce_type"] == b"Placed"


@pytest.mark.parametrize("kind", ["row", "key of a row"])
def test_a_row_that_the_store_refuses_is_a_dead_letter_of_its_event(store: Store, kind: str) -> None:
    class Wrong(hw.Projection):
        name: hw.Key[str]
        count: int = 0

        @hw.on(Placed, key=lambda event, meta: "\ud800" if event.customer == "key of a row" else event.trade_id)
        def placed(self, event: Placed) -> None:
            self.count = "many" if event.customer == "row" else 1  # type: ignore[assignment] # it is the mistake

    log = make_log()
    append(log, [placed("a"), placed("b", kind), placed("c"), placed("d", kind), placed("b"), placed("e")])
    reading = Reading(log, Wrong, store=store)
    reading.read()
    assert [row.name for row in store.rows(reading.model.tables[0])] == ["a", "c", "e"]
    assert (offsets(held(reading), failed=True), offsets(held(reading), failed=False)) == ([1, 3], [4])


def test_what_a_failed_handler_has_changed_is_undone_also_in_rows_that_it_looked_up() -> None:
    class Buyer(hw.Projection, group="buyers"):
        customer: hw.Key[str]
        seen: list[str] = []

    class Trade(hw.Projection, group="buyers"):
        trade_id: hw.Key[str]
        totals: list[Decimal] = []

        @hw.on(Placed)
        def placed(self, event: Placed, rows: hw.Rows) -> None:
            self.totals.append(event.total)
            buyer = rows.get(Buyer, event.customer) or Buyer(event.customer)
            buyer.seen.append(event.trade_id)
            rows.put(buyer)
            rows.put(Buyer("last", [event.trade_id]))
            if event.total > 5:
                raise ValueError("too much")

    log = make_log()
    append(
        log,
        [placed("a"), placed("b", total="1"), placed("a", total="9"), placed("c", "new", "9"), placed("b", total="2")],
    )
    reading = Reading(log, Trade, Buyer)
    reading.read()
    trades, buyers = (reading.store.rows(table) for table in reading.model.tables)
    assert trades == [Trade("b", [Decimal(1), Decimal(2)])]
    assert buyers == [Buyer("ann", ["b", "b"]), Buyer("last", ["b"])]
    assert offsets(held(reading), failed=True) == [0, 3]


@pytest.mark.parametrize("batch_records", [1, 7, 1000])
def test_rows_are_the_fold_of_what_is_not_held_and_nothing_is_lost(batch_records: int) -> None:
    seed = random.randrange(10**9)
    print("seed", seed)
    chance = random.Random(seed)
    log = make_log(3)
    everything: dict[str, list[str]] = {}
    wanted: dict[str, list[str]] = {}
    aside = 0
    closed: set[str] = set()
    for n in range(400):
        key = f"t{chance.randrange(30)}"
        customer = "bug" if chance.random() < 0.05 else "ann"
        append(log, [placed(key, customer, str(n))], int(key[1:]) % 3, n)
        everything.setdefault(key, []).append(f"{customer} {n}")
        if customer == "bug" or key in closed:
            closed.add(key)
            aside += 1
        else:
            wanted.setdefault(key, []).append(f"{customer} {n}")
    reading = Reading(log, Journal)
    reading.read(batch_records)
    assert journal(reading) == wanted
    assert len(held(reading)) == aside
    BROKEN["now"] = False
    while letters(reading):
        ask(reading, letters(reading), "retry")
    assert journal(reading) == everything
    assert held(reading) == []


@pytest.fixture
def failed() -> Reading:
    """Trade b has a dead letter at offset 1, and two records behind it."""
    log = make_log()
    append(log, [placed("a"), placed("b", "bug", "1"), placed("b", total="2"), Paid("b", Decimal(3)), placed("c")])
    reading = Reading(log, Journal)
    reading.read()
    return reading


def test_a_retry_applies_what_failed_and_then_what_waited_for_it(failed: Reading) -> None:
    assert "b" not in journal(failed)
    [letter] = letters(failed)
    assert (letter.id, letter.waiting) == ("test-journal-v1/trade-events/0/1", 2)
    BROKEN["now"] = False
    [line] = ask(failed, [letter], "retry")
    assert (line.step, line.message, line.who) == ("retried", "2 of 2 records behind it were applied", "user:ann")
    assert journal(failed)["b"] == ["bug 1", "ann 2", "paid 3"]
    assert held(failed) == []
    append(failed.log, [placed("b", total="4")], first=9)
    failed.read()
    assert journal(failed)["b"][3:] == ["ann 4"]


def test_what_fails_again_stays_at_the_front_with_its_attempts(failed: Reading) -> None:
    [letter] = letters(failed)
    [line] = ask(failed, [letter], "retry")
    assert (line.step, line.message) == ("failed again", "of b")
    [again] = letters(failed)
    assert (again.row.attempts, again.waiting) == (2, 2)
    assert again.row.first_failed == letter.row.first_failed
    assert again.row.last_failed is not None
    assert letter.row.last_failed is not None
    assert again.row.last_failed > letter.row.last_failed
    assert "b" not in journal(failed)


def test_a_second_retry_does_nothing(failed: Reading) -> None:
    [letter] = letters(failed)
    BROKEN["now"] = False
    first, second = ask(failed, [letter, letter], "retry")
    assert (first.step, second.step) == ("retried", "nothing to do")
    assert journal(failed)["b"] == ["bug 1", "ann 2", "paid 3"]


def test_what_a_server_has_lost_of_a_retry_is_carried_out_again(failed: Reading) -> None:
    """One that dies may lose its last commits; nobody may notice, since a retry moves no position."""
    [letter] = letters(failed)
    before, rows = held(failed), tables_of(failed.model.runner)
    BROKEN["now"] = False
    ask(failed, [letter], "retry")

    def fall_back(loading: Loading) -> None:
        loading.save(rows.held, before)
        loading.delete(failed.model.tables[0], [("b",)])

    failed.store.apply("", {}, {}, fall_back)
    [line] = ask(failed, [letter], "retry")
    assert line.message == "2 of 2 records behind it were applied"
    assert journal(failed)["b"] == ["bug 1", "ann 2", "paid 3"]
    assert held(failed) == []


def test_one_that_waited_may_be_the_next_to_fail(failed: Reading) -> None:
    append(failed.log, [placed("b", "bug", "5"), placed("b", total="6")], first=9)
    failed.read()
    [letter] = letters(failed)
    good = failed.log.keyed(P0, b"a")[0].value
    assert good is not None
    [line] = ask(failed, [letter], "retry", value=good.replace(b'"a"', b'"b"'))
    assert line.step == "retried after an edit"
    assert line.before == letter.row.value
    assert line.message == "2 of 4 records behind it were applied"
    assert journal(failed)["b"] == ["ann 10.00", "ann 2", "paid 3"]
    [next_one] = letters(failed)
    assert (next_one.row.record_offset, next_one.row.attempts, next_one.waiting) == (5, 1, 1)


def test_a_discarded_one_is_gone_with_its_reason_and_what_waited_is_applied(failed: Reading) -> None:
    [letter] = letters(failed)
    [line] = ask(failed, [letter], "discard", reason="a test order")
    assert (line.step, line.reason, line.handler) == ("discarded", "a test order", "Journal.placed")
    assert journal(failed)["b"] == ["ann 2", "paid 3"]
    assert held(failed) == []


def test_a_record_without_a_key_is_tried_again_alone() -> None:
    log = make_log()
    bad, good = log.append([NewRecord(TOPIC, 0, None, b"no JSON"), NewRecord(TOPIC, 0, None, b"no JSON")])
    reading = Reading(log, Journal)
    reading.read()
    [line] = ask(reading, letters(reading)[:1], "discard")
    assert line.record_offset == bad
    assert offsets(held(reading), failed=True) == [good]


def test_letters_are_grouped_by_what_went_wrong(failed: Reading) -> None:
    failed.log.append([NewRecord(TOPIC, 0, b"x", b"no JSON"), NewRecord(TOPIC, 0, b"y", b"no JSON")])
    failed.read()
    bytes_, bug = letters_of(failed).troubles(Selection())
    assert (bytes_.stage, bytes_.error, bytes_.letters, bytes_.waiting) == ("decode", "BadData", 2, 0)
    assert (bug.handler, bug.error, bug.letters, bug.waiting) == ("Journal.placed", "ZeroDivisionError", 1, 2)
    assert bug.first is not None
    assert bytes_.last is not None
    assert bug.first <= bytes_.last
    assert [letter.row.key for letter in letters(failed, errors=["BadData"])] == [b"x", b"y"]
    assert [letter.row.key for letter in letters(failed, keys=["b"])] == [b"b"]
    with pytest.raises(hw.Misuse, match="no dead letter test-journal-v1/trade-events/0/77"):
        letters(failed, ids=["test-journal-v1/trade-events/0/77"])


@pytest.mark.parametrize("policy", [hw.dead_letter(held_records=3), hw.dead_letter(held_mb=1)])
def test_at_the_limit_the_partition_pauses_and_goes_on_when_there_is_room(policy: FailurePolicy) -> None:
    log = make_log(2)
    large = "x" * 300_000
    append(log, [placed("a", "bug")])
    append(log, [placed("a", large, str(n)) for n in range(6)], first=1)
    append(log, [placed("c", total="7")], first=8)
    append(log, [placed("d", total="8")], partition=1)
    reading = Reading(log, Journal, on_failure=policy)
    telemetry = KeptTelemetry()
    reading.runner = ProjectionRunner(reading.model, log, reading.store, environment=System(telemetry))
    loop = reading.runner.loop()
    loop.start()
    eventually(lambda: 0 in loop.status.stopped, saying="the partition pauses")
    assert "as much is set aside there as may be" in loop.status.stopped[0]
    [alert] = [text for (name, _), text in telemetry.alerts.items() if name == "headwater_partition_paused"]
    assert "trade-events/0 is paused" in alert.text
    eventually(lambda: "d" in journal(reading), saying="the other partition goes on")
    assert "c" not in journal(reading)
    assert reading.positions[P0] == 3 if policy.held_records == 3 else reading.positions[P0] == 4
    assert len(held(reading)) == reading.positions[P0]
    [letter] = letters(reading)
    BROKEN["now"] = False
    letters_of(reading).ask(letter, "retry", who="user:ann", reason="")
    eventually(lambda: "c" in journal(reading), saying="it goes on")
    loop.stop()
    assert [words.split()[1] for words in journal(reading)["a"]] == ["10.00", "0", "1", "2", "3", "4", "5"]
    assert held(reading) == []
    assert not telemetry.alerts
    assert loop.status.stopped == {}


def test_a_record_of_newer_code_may_stop_its_partition_alone() -> None:
    log = make_log(2)
    newer = b'{"eventType":"Paid","eventVersion":2,"tradeId":"a","amount":"1"}'
    log.append(
        [NewRecord(TOPIC, 0, b"a", newer), NewRecord(TOPIC, 0, b"b", newer), NewRecord(TOPIC, 1, b"c", b"no JSON")]
    )
    append(log, [placed("e")])
    append(log, [placed("d")], partition=1)
    reading = Reading(log, Journal, on_failure=hw.dead_letter(newer="stop"))
    while "d" not in journal(reading):
        reading.runner.handle(reading.reader.read(100, 1.0), None)
    assert reading.positions == {P0: 0, P1: log.ends([P1])[P1]}
    assert "version 2 of Paid is newer" in reading.runner.failures[0]
    assert offsets(held(reading), failed=True) == [0]


def test_a_record_of_newer_code_may_be_skipped_and_is_a_dead_letter_that_holds_nothing(store: Store) -> None:
    log = make_log()
    newer = b'{"eventType":"Paid","eventVersion":2,"tradeId":"a","amount":"1","of a later day":[1]}'
    log.append([NewRecord(TOPIC, 0, b"a", newer)])
    append(log, [placed("a", total="1"), placed("a", "bug", "2"), placed("a", total="3")])
    reading = Reading(log, Journal, store=store, on_failure=hw.dead_letter(newer="skip"))
    reading.read(2)
    assert journal(reading) == {"a": ["ann 1"]}
    assert (offsets(held(reading), failed=True), offsets(held(reading), failed=False)) == ([0, 2], [3])
    skipped, bug = letters(reading)
    assert (skipped.waiting, skipped.row.value, bug.waiting) == (0, newer, 1)
    [again] = ask(reading, [skipped], "retry")  # a dead letter of its key stands in the way
    BROKEN["now"] = False
    [done] = ask(reading, [bug], "retry")
    assert (again.step, done.step) == ("failed again", "retried")
    assert journal(reading) == {"a": ["ann 1", "bug 2", "ann 3"]}
    [again] = ask(reading, [skipped], "retry")
    assert (again.step, again.message) == ("failed again", skipped.row.message)
    append(log, [placed("a", total="4")], first=4)
    reading.read()
    [done] = ask(reading, [skipped], "retry", value=b'{"eventType":"Paid","tradeId":"a","amount":"1"}')
    assert done.step == "retried after an edit"
    assert journal(reading) == {"a": ["ann 1", "bug 2", "ann 3", "ann 4", "paid 1"]}
    assert held(reading) == []


def test_projections_of_a_group_have_one_policy() -> None:
    class One(hw.Projection, group="both", on_failure=hw.stop()):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed) -> None: ...

    class Two(hw.Projection, group="both", on_failure=hw.dead_letter()):
        trade_id: hw.Key[str]

    with pytest.raises(hw.Misuse, match="One and Two share the position of group 'both': give both the same on_fail"):
        read_models_of("test", [One, Two])
    [model] = read_models_of("test", [One])
    assert model.on_failure.stops


@pytest.mark.parametrize("wrong", [{"held_records": 0}, {"held_mb": 0}, {"newer": "wait"}])
def test_a_policy_that_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(hw.Misuse):
        hw.dead_letter(**wrong)


def test_a_read_that_waits_for_what_is_held_is_told_at_once(failed: Reading) -> None:
    for offset, words in (
        (1, "it is a dead letter: Journal.placed failed: ZeroDivisionError"),
        (3, "it is held behind"),
    ):
        with pytest.raises(hw.NotYet, match=rf"runner: held; last failure: trade-events/0, offset {offset} .*{words}"):
            wait_until(failed.store, failed.model.runner, {P0: offset + 1}, 60, log=failed.log)
    wait_until(failed.store, failed.model.runner, {P0: 5}, 0, log=failed.log)


class Shaky(MemoryStore):
    """Away at the next look at what is set aside, where `down`."""

    down = False

    def rows(self, table: TableSchema[R], *filters: Any, **more: Any) -> list[R]:
        if self.down and table.row is HeldRecord:
            self.down = False
            raise Unavailable("the store is down")
        return super().rows(table, *filters, **more)


def test_what_is_set_aside_was_exchanged_while_the_store_went_away_and_is_read_again() -> None:
    log, store = make_log(), Shaky()
    append(log, [placed("b", "bug", "1"), placed("b", total="2")])
    reading = Reading(log, Journal, store=store)
    reading.read()
    tables = tables_of(reading.model.runner)

    def exchange(loading: Loading) -> None:
        loading.delete(tables.held, [(*P0, 0), (*P0, 1)])
        loading.save(tables.asked, [exchanged(System().now())])

    store.apply(reading.model.runner, reading.positions, reading.positions, exchange)
    store.down = True
    for _ in range(2):
        reading.runner._retrying._looked_s = -1
        with suppress(Unavailable):
            reading.runner.idle(None)
    append(log, [placed("b", total="3")], first=2)
    reading.read()
    assert journal(reading) == {"b": ["ann 3"]}


def test_a_partition_that_paused_goes_on_where_it_paused_when_rows_were_exchanged() -> None:
    """What was read behind the pause was dropped; nobody has applied it."""
    log = make_log()
    append(log, [placed("a", "bug"), placed("a", total="1"), placed("a", total="2"), placed("c", total="3")])
    reading = Reading(log, Journal, on_failure=hw.dead_letter(held_records=2))
    reading.runner.handle(reading.reader.read(1000, 1.0), None)
    assert (reading.positions, list(reading.runner.failures)) == ({P0: 2}, [0])
    tables = tables_of(reading.model.runner)

    def exchange(loading: Loading) -> None:
        loading.delete(tables.held, [(*P0, 0), (*P0, 1)])
        loading.save(tables.asked, [exchanged(System().now())])

    store, runner = reading.store, reading.model.runner
    store.apply(runner, reading.positions, reading.positions, exchange)
    BROKEN["now"] = False
    reading.runner._retrying._looked_s = -1
    reading.runner.idle(None)
    if resumed := reading.runner.resumed():
        reading.reader.assign(resumed)
    assert reading.runner.failures == {}
    append(log, [placed("c", total="4")], first=4)
    reading.read()
    assert journal(reading) == {"a": ["ann 2"], "c": ["ann 3", "ann 4"]}
