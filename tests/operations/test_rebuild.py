"""A rebuild, step by step: who may work on it, how fast, what stops it, and what names show meanwhile."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.errors import BadData, Failed, Misuse, Unavailable
from headwater.failures.held import Asked, tables_of
from headwater.log.port import Log, TopicPartition
from headwater.operations.rebuild import Rebuilding
from headwater.operations.rebuild_building import Progress, Throttle
from headwater.operations.rebuild_state import LEASE_S, Lost, Who, find
from headwater.projections.declare import table_of
from headwater.projections.read_model import read_models_of
from headwater.readers.spans import BATCH_RECORDS
from headwater.stores.memory import MemoryStore
from headwater.stores.opening import open_store
from headwater.stores.port import StaleRunner
from headwater.stores.switching import SwitchingStore, beside_runner
from headwater.testing.clock import VirtualEnvironment
from headwater.testing.waiting import eventually
from tests.projections.trade import TOPIC, OpenTrade, Paid, Placed, Reading, append, make_log, placed, raw

P0 = TopicPartition(TOPIC, 0)
ELSEWHERE = Who("other-host/77/one", "ann")
HERE = Who(f"{socket.gethostname()}/{os.getpid()}/two", "bob")


class Counted(hw.Projection):
    customer: hw.Key[str]
    orders: int = 0
    total: Decimal = Decimal(0)

    @hw.on(Placed, key=lambda event, meta: event.customer)
    def placed(self, event: Placed) -> None:
        self.orders += 1
        self.total += event.total


class Narrower(hw.Projection, name="counted", version=2):
    customer: hw.Key[str]

    @hw.on(Placed, key=lambda event, meta: event.customer)
    def placed(self, event: Placed) -> None: ...


class Clock(VirtualEnvironment):
    """Its deadlines are virtual, too."""

    at_s = 0.0

    def monotonic_s(self) -> float:
        return self.at_s


class Waits(threading.Event):
    """A stop that nobody sets: waiting for it moves the clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.at_s += timeout or 0.0
        return super().is_set()


def silent(progress: Progress) -> None:
    """Nobody looks."""


def trades(count: int, partitions: int = 1) -> Log:
    log = make_log(partitions)
    for partition in range(partitions):
        append(log, [placed(f"t{n}", customer=f"c{n % 7}", total="0.01") for n in range(count)], partition)
    return log


def rebuilding(reading: Reading, who: Who = HERE, clock: VirtualEnvironment | None = None) -> Rebuilding:
    return Rebuilding(reading.model, reading.store, reading.log, who, clock or VirtualEnvironment())


def build(one: Rebuilding, **options: Any) -> bool:
    return one.build(options.pop("tell", silent), options.pop("stop", threading.Event()), **options)


def progressed(reading: Reading) -> int:
    return sum(reading.store.positions(beside_runner(reading.model.runner)).values())


# --- who may work on it


def test_the_second_is_told_who_builds_where_and_since_when() -> None:
    reading, clock = Reading(trades(10), Counted), VirtualEnvironment()
    stuck = Stuck(clock)
    first = threading.Thread(target=build, args=[rebuilding(reading, ELSEWHERE, clock)], kwargs={"tell": stuck.tell})
    first.start()
    stuck.begun.wait(60)
    told = r"counted is being rebuilt by ann on other-host, process 77, since 2024-04-10 10:30:00 UTC"
    with pytest.raises(Unavailable, match=told):
        build(rebuilding(reading, HERE, clock))
    with pytest.raises(Unavailable, match=told):
        rebuilding(reading, HERE, clock).drop()
    status = rebuilding(reading, HERE, clock).status()
    assert (status.state, status.holder and status.holder.who) == ("building", "ann")
    stuck.go_on.set()
    first.join(60)
    assert rebuilding(reading).status().state == "built"
    assert build(rebuilding(reading, HERE, clock)), "and then it is free"


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis"])
def test_of_many_that_begin_at_once_one_wins(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/m.db" if kind == "sqlite" else request.getfixturevalue(f"{kind}_url")
    log, count = trades(10), 6
    at_once, go_on = threading.Barrier(count), threading.Event()
    won: list[str] = []
    refused: list[str] = []

    def begin(name: str) -> None:
        with closing(open_store(url)) as store:
            reading = Reading.__new__(Reading)
            reading.log, reading.store = log, store
            [reading.model] = read_models_of("test", [Counted])
            one = rebuilding(reading, Who(f"other-host/7/{name}", name))

            def tell(progress: Progress) -> None:
                if name not in won:
                    won.append(name)
                    assert go_on.wait(60)

            at_once.wait(60)
            try:
                build(one, tell=tell)
            except Unavailable as error:
                refused.append(str(error))

    threads = [threading.Thread(target=begin, args=[f"ann-{n}"]) for n in range(count)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(refused) == count - 1, saying="all others are told")
    go_on.set()
    for thread in threads:
        thread.join(60)
    [winner] = won
    assert all(f"counted is being rebuilt by {winner} on other-host, process 7, since" in text for text in refused)


class Stuck:
    """Holds a builder where it tells its first progress."""

    def __init__(self, clock: VirtualEnvironment) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def tell(self, progress: Progress) -> None:
        self.begun.set()
        assert self.go_on.wait(60)


def test_the_lease_of_a_silent_process_expires_and_the_next_goes_on_from_its_progress() -> None:
    reading, clock = Reading(trades(10), Counted), VirtualEnvironment()
    part, stuck = threading.Event(), Stuck(clock)
    lost: list[BaseException] = []

    def tell(progress: Progress) -> None:
        if progress.done == 4:
            part.set()
            stuck.tell(progress)

    def first() -> None:
        try:
            build(rebuilding(reading, ELSEWHERE, clock), tell=tell, per_second=40)  # four at once
        except Unavailable as error:
            lost.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    part.wait(60)
    assert progressed(reading) == 4
    clock.advance(timedelta(seconds=LEASE_S - 1))
    with pytest.raises(Unavailable, match="by ann on other-host"):
        build(rebuilding(reading, HERE, clock))
    clock.advance(timedelta(seconds=2))
    told: list[Progress] = []
    assert build(rebuilding(reading, HERE, clock), tell=told.append)
    assert told[0].done == 4, "it went on"
    stuck.go_on.set()
    thread.join(60)
    assert [type(error) for error in lost] == [Lost]
    assert "is not this process's any more" in str(lost[0])
    assert rebuilding(reading).status().state == "built"
    assert progressed(reading) == 10


def test_the_lease_of_a_process_that_is_gone_ends_at_once_on_its_machine() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    reading = Reading(trades(10), Counted)
    killed = rebuilding(reading, Who(f"{socket.gethostname()}/{gone.pid}/x", "ann"))
    with pytest.raises(SystemExit):
        build(killed, tell=leave_held(killed))
    assert isinstance(reading.store, SwitchingStore)
    row = find(reading.store, reading.model.runner)
    assert row is not None
    assert row.holder is not None, "it was killed"
    assert rebuilding(reading).status().state == "paused"
    assert build(rebuilding(reading))


def leave_held(one: Rebuilding) -> Callable[[Progress], None]:
    """Ends a builder as a kill does: it says nothing more."""

    def tell(progress: Progress) -> None:
        one._lease.change = lambda change: None  # type: ignore[method-assign] # it is killed
        raise SystemExit

    return tell


def test_whoever_builds_is_asked_to_pause_and_goes_on_later() -> None:
    reading = Reading(trades(10), Counted)
    builder, other = rebuilding(reading, ELSEWHERE), rebuilding(reading)

    def tell(progress: Progress) -> None:
        if progress.done == 4:
            holder = other.pause()
            assert holder is not None
            assert holder.who == "ann"

    assert not build(builder, tell=tell, per_second=40)
    assert (other.status().state, progressed(reading)) == ("paused", 8), "after its next batch"
    assert other.pause() is None
    assert build(other)
    assert (other.status().state, progressed(reading)) == ("built", 10)


def test_who_builds_may_stop_it() -> None:
    reading, stop = Reading(trades(10), Counted), threading.Event()
    assert not build(rebuilding(reading), tell=lambda progress: stop.set(), stop=stop, per_second=40)
    assert rebuilding(reading).status().state == "paused"
    assert progressed(reading) == 4


# --- how fast


@pytest.mark.parametrize("per_second", [1, 7, 100, 5_000_000])
def test_no_more_is_read_per_second_than_was_said(per_second: int) -> None:
    """By counting: a clock that only moves while the builder waits shows how long it would have taken."""
    count = 3 * per_second if per_second <= 100 else 300
    reading, clock = Reading(trades(count), Counted), Clock()
    read: dict[int, int] = {}
    done = 0

    def tell(progress: Progress) -> None:
        nonlocal done
        second = int(clock.at_s + 1e-9)
        read[second] = read.get(second, 0) + progress.done - done
        done = progress.done

    assert build(rebuilding(reading, clock=clock), tell=tell, stop=Waits(clock), per_second=per_second)
    assert sum(read.values()) == count
    assert max(read.values()) <= per_second
    assert clock.at_s == pytest.approx(count / per_second)


def test_a_slow_time_is_not_made_up_for() -> None:
    throttle = Throttle(100, 0.0)
    assert throttle.pause_s(10, 0.0) == pytest.approx(0.1)
    assert throttle.pause_s(10, 60.0) == 0.0
    assert throttle.pause_s(10, 60.0) == pytest.approx(0.1)
    assert (throttle.batch_records, Throttle(None, 0.0).batch_records, Throttle(3, 0.0).batch_records) == (
        10,
        BATCH_RECORDS,
        1,
    )


def test_progress_tells_rate_and_time_left() -> None:
    reading, clock = Reading(trades(10), Counted), Clock()
    told: list[Progress] = []
    assert build(rebuilding(reading, clock=clock), tell=told.append, stop=Waits(clock), per_second=40)
    assert told[0] == (0, 10, 0.0, None)
    assert [one.done for one in told] == [0, 4, 8, 10, 10]
    assert told[2].rate == pytest.approx(80.0), "eight in a tenth of a second"
    assert told[2].left_s == pytest.approx(2 / 80.0)
    of_counted = (("read_model", "counted"),)
    assert clock.telemetry.gauges == {
        ("headwater_rebuild_left_events", of_counted): 0.0,
        ("headwater_rebuild_events", of_counted): 10.0,
    }


# --- what stops it


def test_what_comes_before_an_event_that_cannot_be_read_is_kept() -> None:
    log = trades(5)
    log.append([raw(b'{"eventType":"Placed","eventVersion":1,"tradeId":"t","customer":7}')])
    reading = Reading(log, Counted, on_failure=hw.stop())
    one = rebuilding(reading)
    with pytest.raises(BadData, match="offset 5"):
        build(one)
    status = one.status()
    assert (status.state, status.done, status.total, status.holder) == ("failed", 5, 6, None)
    assert "offset 5" in (status.failure or "")
    with pytest.raises(Misuse, match="not all made yet"):
        one.switch(silent)


def test_a_handler_that_fails_stops_it_at_its_event() -> None:
    class Fails(hw.Projection):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed) -> None:
            if event.trade_id == "t3":
                raise ZeroDivisionError("on purpose")

    reading = Reading(trades(5), Fails, on_failure=hw.stop())
    with pytest.raises(Failed, match=r"Fails\.placed failed on Placed event-3"):
        build(rebuilding(reading))
    assert progressed(reading) == 3


class Brittle(hw.Projection):
    trade_id: hw.Key[str]
    events: int = 0

    @hw.on(Placed)
    def placed(self, event: Placed) -> None:
        if event.customer in BUGS:
            raise ZeroDivisionError("on purpose")
        self.events += 1


BUGS: set[str] = set()


def brittle(reading: Reading) -> tuple[dict[str, int], list[str | None]]:
    """The rows, and the keys that are held."""
    held = reading.store.rows(tables_of(reading.model.runner).held)
    rows = reading.store.rows(table_of(Brittle))
    return {row.trade_id: row.events for row in rows}, [
        row.key.decode() if row.key is not None else None for row in held
    ]


@pytest.mark.parametrize("bug", ["mended", "made"])
def test_what_is_set_aside_is_exchanged_with_the_rows(bug: str) -> None:
    """A bug was mended, or made, since the rows of before: what is held is what the code of the rebuild holds."""
    log = make_log()
    append(log, [placed("a", "ann"), placed("b", "bob"), placed("b", "ann"), placed("a", "bob")])
    old, new = ({"bob"}, set()) if bug == "mended" else (set(), {"bob"})
    every: tuple[dict[str, int], list[str | None]] = ({"a": 2, "b": 2}, [])
    some: tuple[dict[str, int], list[str | None]] = ({"a": 1}, ["b", "b", "a"])
    BUGS.clear()
    BUGS.update(old)
    reading = Reading(log, Brittle)
    reading.read()
    assert brittle(reading) == (some if bug == "mended" else every)
    BUGS.clear()
    BUGS.update(new)
    one = rebuilding(reading)
    assert build(one)
    status = one.status()
    assert (status.dead_letters, status.failure) == (
        (0, None)
        if bug == "mended"
        else (
            2,
            "Brittle.placed failed at topic trade-events, partition 0, offset 1: ZeroDivisionError: on purpose",
        )
    )
    if bug == "made":
        with pytest.raises(Misuse, match=r"2 events are dead letters of the rows .* and none of those .* offset 1: "):
            one.switch(silent)
        assert brittle(reading) == every
        reading.runner.close()
    one.switch(silent)
    assert brittle(reading) == (every if bug == "mended" else some)
    if bug == "made":
        reading.start()
    reading.runner._retrying._looked_s = -1  # its time to look
    reading.runner.idle(None)
    append(log, [placed("a", "ann"), placed("c", "ann")], first=4)
    reading.read()
    rows, held = brittle(reading)
    assert (rows, held) == (
        ({"a": 3, "b": 2, "c": 1}, []) if bug == "mended" else ({"a": 1, "c": 1}, ["b", "b", "a", "a"])
    )
    if bug == "mended":
        with pytest.raises(Misuse, match="2 events are dead letters"):
            one.roll_back(silent)
        reading.runner.close()
    one.roll_back(silent)
    BUGS.clear()
    assert brittle(reading)[1] == (["b", "b", "a", "a"] if bug == "mended" else [])


def test_what_is_a_dead_letter_before_and_after_is_no_hindrance_and_what_was_discarded_is_passed_over() -> None:
    log = make_log()
    append(log, [placed("a", "bob"), placed("a", "ann"), placed("b", "bob"), placed("b", "ann")])
    BUGS.update({"bob"})
    reading = Reading(log, Brittle)
    reading.read()
    assert brittle(reading) == ({}, ["a", "a", "b", "b"])
    tables = tables_of(reading.model.runner)
    asked = Asked("id", "discard", TOPIC, 0, 0, False, None, "ann", "no such customer", VirtualEnvironment().now())
    reading.store.apply("an operator", {}, {}, lambda loading: loading.save(tables.asked, [asked]))
    reading.runner._retrying._looked_s = -1e9  # at once
    reading.runner._retrying.look(reading.positions)
    assert brittle(reading) == ({"a": 1}, ["b", "b"])
    one = rebuilding(reading)
    assert build(one)
    assert all(compared.equal for compared in one.compare())
    one.switch(silent)
    assert brittle(reading) == ({"a": 1}, ["b", "b"])
    BUGS.clear()


def test_a_runner_that_has_not_heard_of_an_exchange_holds_nothing_back_that_is_not_held() -> None:
    log = make_log()
    append(log, [placed("b", "bob")])
    BUGS.update({"bob"})
    reading = Reading(log, Brittle)
    reading.read()
    BUGS.clear()
    one = rebuilding(reading)
    assert build(one)
    one.switch(silent)
    append(log, [placed("b", "ann")], first=1)
    with pytest.raises(StaleRunner, match="what is set aside for test-brittle-v1 has changed"):
        reading.read()
    reading.reader.assign(reading.runner.assigned([P0]))
    reading.read()
    assert brittle(reading) == ({"b": 2}, [])


def test_rows_that_other_code_has_begun_are_not_mixed_with_ours() -> None:
    reading, stop = Reading(trades(10), Counted), threading.Event()
    build(rebuilding(reading), tell=lambda progress: stop.set(), stop=stop, per_second=40)
    reading.model = replace(reading.model, code="other")
    with pytest.raises(Misuse, match="begun by other code than yours"):
        build(rebuilding(reading))
    rebuilding(reading).drop()
    assert build(rebuilding(reading))
    reading.runner.close()
    reading.model = replace(reading.model, code="a third one")
    with pytest.raises(Misuse, match="begun by other code than yours"):
        rebuilding(reading).switch(silent)


# --- the switch


def spoilt(count: int) -> Reading:
    """A read model with a row that is wrong."""
    reading = Reading(trades(count), Counted)
    reading.read()
    spoil(reading)
    return reading


def spoil(reading: Reading) -> None:
    wrong = [Counted("c0", 1, Decimal(1000))]
    reading.store.apply("an operator", {}, {}, lambda loading: loading.save(table_of(Counted), wrong))


def totals(reading: Reading) -> dict[str, Decimal]:
    return {row.customer: row.total for row in reading.store.rows(table_of(Counted))}


def test_the_comparison_names_the_rows_that_differ() -> None:
    reading = spoilt(70)
    one = rebuilding(reading)
    build(one)
    [compared] = one.compare()
    assert (compared.changed, compared.only_old, compared.only_new, compared.same_place) == (1, 0, 0, True)
    [example] = compared.examples
    assert example.key == {"customer": "c0"}
    assert example.old == {"orders": 1, "total": "1000"}
    assert example.new == {"orders": 10, "total": "0.10"}
    assert compared.old is not None
    assert (compared.old.rows, compared.new.rows) == (7, 7)
    assert compared.old.hash != compared.new.hash
    reading.store.apply("an operator", {}, {}, lambda loading: loading.delete(table_of(Counted), [("c1",)]))
    [compared] = one.compare()
    assert (compared.changed, compared.only_new) == (1, 1)
    append(reading.log, [placed("t", customer="c9")])
    reading.read()
    [compared] = one.compare()
    assert (compared.only_old, compared.same_place) == (1, False)
    build(one)
    [compared] = one.compare()
    assert (compared.only_old, compared.same_place) == (0, True)


def test_rows_under_another_key_differ_all_and_can_be_switched_to() -> None:
    class ByTrade(hw.Projection, name="counted", version=2):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed) -> None: ...

    old = spoilt(70)
    new = Reading.__new__(Reading)
    new.log, new.store = old.log, old.store
    [new.model] = read_models_of("test", [ByTrade])
    one = rebuilding(new)
    build(one)
    [compared] = one.compare()
    assert (compared.only_old, compared.only_new, compared.changed) == (7, 70, 0)
    assert (compared.columns_gone, compared.columns_new) == (["customer", "orders", "total"], ["trade_id"])
    one.switch(silent)
    assert len(list(old.store.query("SELECT trade_id FROM counted"))) == 70


def ahead_of(old: Reading) -> tuple[Reading, Rebuilding]:
    """Another version that queries find, and that has read an event more; and its rebuild."""
    new = Reading(old.log, Narrower, store=old.store)
    one = rebuilding(new)
    build(one)
    one.switch(silent)
    new.start()
    append(old.log, [placed("t", customer="c9")])
    new.read()
    return new, one


def test_the_way_back_to_a_version_waits_until_its_workers_have_read_what_the_other_ones_have() -> None:
    old = Reading(trades(7), Counted)
    old.read()
    _new, one = ahead_of(old)
    store: Any = old.store
    switch, tries = store.switch, [0]

    def second_time(*arguments: Any) -> None:
        tries[0] += 1
        if tries[0] == 2:
            old.read()
        switch(*arguments)

    store.switch = second_time
    one.roll_back(silent)
    assert (tries, totals(old)["c9"]) == ([2], Decimal(10))


def test_the_way_back_to_a_version_that_nobody_maintains_is_refused_at_once() -> None:
    old = Reading(trades(7), Counted)
    old.read()
    old.runner.close()
    new, one = ahead_of(old)
    with pytest.raises(Unavailable, match="start the processes of that version, and let them catch up"):
        one.roll_back(silent)
    assert new.store.shown("counted").version == 2  # type: ignore[attr-defined] # a store that switches


def test_what_came_since_the_build_is_there_after_the_switch_and_after_the_way_back() -> None:
    reading = spoilt(7)
    one = rebuilding(reading)
    build(one)
    append(reading.log, [placed("t", customer="c1", total="0.01")])
    reading.read()
    one.switch(silent)
    assert (totals(reading)["c0"], totals(reading)["c1"]) == (Decimal("0.01"), Decimal("0.02"))
    append(reading.log, [placed("t", customer="c2", total="0.01")])
    one.roll_back(silent)
    found = totals(reading)
    assert (found["c0"], found["c1"], found["c2"]) == (Decimal(1000), Decimal("0.02"), Decimal("0.02"))
    one.switch(silent)
    assert totals(reading)["c0"] == Decimal("0.01")
    with pytest.raises(Misuse, match="queries find the new rows of counted already"):
        one.switch(silent)
    with pytest.raises(Misuse, match="from before the last switch are still there"):
        build(one)
    one.drop()
    assert one.status().state == ""
    with pytest.raises(Misuse, match="nothing is being rebuilt"):
        one.roll_back(silent)


def test_a_switch_that_cannot_catch_up_gives_up_and_says_why() -> None:
    """The app's own worker has always read one event more than the builder."""
    reading, clock = spoilt(7), Clock()
    one = rebuilding(reading, clock=clock)
    build(one)
    store: Any = reading.store
    switch = store.switch

    def first(*arguments: Any) -> None:
        append(reading.log, [placed("t", customer="c1", total="0.01")])
        reading.read()
        clock.at_s += 10
        switch(*arguments)

    store.switch = first
    with pytest.raises(Unavailable, match=r"counted shows the rows of position .* for 30 s; try again when fewer"):
        one.switch(silent)
    assert one.status().state == "built"
    assert totals(reading)["c0"] == 1000
    store.switch = switch
    one.switch(silent)
    assert totals(reading)["c0"] == Decimal("0.01")


def test_nothing_is_written_to_the_log_and_no_group_moves() -> None:
    reading = spoilt(20)
    before = state_of(reading.log)
    one = rebuilding(reading)
    build(one)
    one.switch(silent)
    one.roll_back(silent)
    one.drop()
    assert state_of(reading.log) == before


def state_of(log: Log) -> tuple[Any, ...]:
    topics = log.topics()
    ends = log.ends([TopicPartition(name, p) for name, topic in topics.items() for p in range(topic.partitions)])
    return sorted(topics), ends, [(group.name, dict(group.positions)) for group in log.groups()]


def test_tables_of_a_group_are_exchanged_together() -> None:
    class Closed(hw.Projection, group="trades"):
        trade_id: hw.Key[str]

        @hw.on(Paid)
        def paid(self, event: Paid) -> None: ...

    class Opened(hw.Projection, group="trades"):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed, rows: hw.Rows) -> None:
            rows.delete(Closed, event.trade_id)

    log = trades(5)
    append(log, [Paid("t1", Decimal(1)), Paid("t2", Decimal(1)), placed("t2")])
    reading = Reading(log, Closed, Opened)
    reading.read()
    for table in (Closed, Opened):
        reading.store.apply("an operator", {}, {}, lambda loading, t=table: loading.delete(table_of(t), [("t1",)]))  # type: ignore[misc] # mypy infers no lambda with a default
    one = rebuilding(reading)
    build(one)
    assert {compared.table: compared.only_new for compared in one.compare()} == {"closed": 1, "opened": 1}
    one.switch(silent)
    assert [row.trade_id for row in reading.store.rows(table_of(Closed))] == ["t1"]
    assert [row.trade_id for row in reading.store.rows(table_of(Opened))] == [f"t{n}" for n in range(5)]


def test_a_version_that_its_own_processes_maintain_is_not_dropped() -> None:
    old = Reading(trades(7), Counted)
    old.read()

    class Newer(hw.Projection, name="counted", version=2):
        customer: hw.Key[str]

        @hw.on(Placed, key=lambda event, meta: event.customer)
        def placed(self, event: Placed) -> None: ...

    new = Reading.__new__(Reading)
    new.log, new.store = old.log, old.store
    [new.model] = read_models_of("test", [Newer])
    one = rebuilding(new)
    build(one)
    one.switch(silent)
    with pytest.raises(Unavailable, match="processes still maintain the older rows of counted"):
        one.drop()
    old.runner.close()
    one.drop()
    with pytest.raises(Unavailable, match="no table counted version 1"):
        old.store.scan("counted", 1)  # type: ignore[attr-defined] # of a store that exchanges tables


def test_what_was_seen_moves_with_the_rows_also_of_a_version_that_never_ran() -> None:
    class Once(hw.Projection, dedupe=hw.by_id):
        customer: hw.Key[str]
        orders: int = 0

        @hw.on(Placed, key=lambda event, meta: event.customer)
        def placed(self, event: Placed) -> None:
            self.orders += 1

    def twice(first: int) -> None:
        append(log, [placed("t1"), placed("t2")], first=first)
        append(log, [placed("t2"), placed("t1")], first=first)  # their ids are those of before

    log = make_log()
    twice(0)
    never = Reading.__new__(Reading)
    never.log, never.store = log, MemoryStore()
    [never.model] = read_models_of("test", [Once])
    one = rebuilding(never)
    build(one)
    twice(10)
    one.switch(silent)
    running = Reading(log, Once, store=never.store)
    append(log, [placed("t1")], first=0)
    append(log, [placed("t3")], first=20)
    running.read()
    assert running.store.rows(table_of(Once)) == [Once("ann", 5)]


def test_rows_are_the_fold_of_the_log_for_rows_that_come_and_go() -> None:
    log = make_log(2)
    for partition in range(2):
        events = [placed(f"t{n % 11}") if n % 3 else Paid(f"t{n % 7}", Decimal(1)) for n in range(200)]
        append(log, events, partition)
    reading = Reading(log, OpenTrade)
    reading.read()
    one = rebuilding(reading)
    build(one, per_second=100_000_000)
    [compared] = one.compare()
    assert compared.equal
