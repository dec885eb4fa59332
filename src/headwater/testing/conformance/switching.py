"""The conformance suite of stores in which rows can be exchanged: what names show, and how rows beside others take
their place. Subclass it beside `StoreConformance`:

    class TestMyStore(SwitchingConformance, StoreConformance):
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import ClassVar

import msgspec
import pytest

from headwater.errors import Misuse, Unavailable
from headwater.log.port import TopicPartition
from headwater.stores.port import Loading, StaleRunner, TableSchema, bookkeeping_table
from headwater.stores.switching import Behind, Switch, SwitchingStore, beside, beside_runner

P0 = TopicPartition("order-events", 0)
RUNNER = "shop-account-v1"
BESIDE = beside_runner(RUNNER)


class Holder(msgspec.Struct):
    name: str
    total: Decimal = Decimal(0)


class Wider(msgspec.Struct):
    name: str
    total: Decimal = Decimal(0)
    owner: str = ""


HOLDER = TableSchema("account", 1, Holder, ("name",))
WIDER = TableSchema("account", 2, Wider, ("name",))
NEXT = beside(HOLDER)


def switching(shown: Mapping[str, int] | None = None, *, exchanged: bool = True) -> Switch:
    pairs = [(HOLDER, NEXT)] if exchanged else []
    return Switch(RUNNER, BESIDE, pairs, {"account": 1} if shown is None else shown, frozenset([P0.topic]))


def nothing(loading: Loading) -> None:
    """What a switch does besides, mostly."""


def fill(store: SwitchingStore, total: int, start: int | None, to: int, *, next: bool = False) -> None:
    table, runner = (NEXT, BESIDE) if next else (HOLDER, RUNNER)
    rows = [Holder(f"a{n}", Decimal(total)) for n in range(20)]
    before = {} if start is None else {P0: start}
    store.apply(runner, before, {P0: to}, lambda loading: loading.save(table, rows))


class SwitchingConformance:
    """What the port says of `shown`, `switch` and `scan`. `ask`: as of `StoreConformance`."""

    ask: ClassVar[str | None]

    @pytest.fixture
    def both(self, store: SwitchingStore) -> SwitchingStore:
        """Old rows up to 5, and new ones beside them up to 7."""
        store.open_tables(RUNNER, [HOLDER], "old code")
        store.open_tables(BESIDE, [NEXT], "new code")
        fill(store, 1, None, 5)
        fill(store, 2, None, 7, next=True)
        return store

    def test_rows_beside_take_the_place_of_others_with_positions_and_code(self, both: SwitchingStore) -> None:
        assert {row.total for row in both.rows(HOLDER)} == {1}
        both.switch(switching(), nothing)
        assert {row.total for row in both.rows(HOLDER)} == {2}
        assert {row.total for row in both.rows(NEXT)} == {1}
        assert [total for _, total in self.totals(both)] == [2] * 20
        assert (both.positions(RUNNER), both.positions(BESIDE)) == ({P0: 7}, {P0: 5})
        assert both.shown("account") == (1, RUNNER, "new code")
        assert both.open_tables(RUNNER, [HOLDER], "newest code") == "new code"
        assert both.open_tables(BESIDE, [NEXT], "newest code") == "old code"

    def test_what_a_runner_remembers_is_exchanged_with_its_rows_under_a_name_of_its_own(
        self, store: SwitchingStore
    ) -> None:
        notes = bookkeeping_table("notes", RUNNER, Holder, ("name",))
        for runner, tables, name in ((RUNNER, [HOLDER, notes], "old"), (BESIDE, [NEXT, beside(notes)], "new")):
            store.open_tables(runner, tables)
            store.apply(runner, {}, {P0: 5}, lambda loading, t=tables[1], n=name: loading.save(t, [Holder(n)]))  # type: ignore[misc] # called at once
        exchange = switching()._replace(tables=[(HOLDER, NEXT), (notes, beside(notes))])
        store.switch(exchange, nothing)
        assert (store.rows(notes), store.rows(beside(notes))) == ([Holder("new")], [Holder("old")])
        if self.ask is not None:
            asked = self.ask.replace("account", notes.name)
            assert [name for name, _ in store.query(asked)] == ["new"], "also by its name"
        store.forget(BESIDE)
        assert store.rows(notes) == [Holder("new")]

    def test_what_is_not_exchanged_stays_with_its_runner(self, both: SwitchingStore) -> None:
        audit = bookkeeping_table("audit", RUNNER, Holder, ("name",))
        both.open_tables(RUNNER, [HOLDER, audit])

        def note(name: str) -> None:
            at = both.positions(RUNNER)
            both.apply(RUNNER, at, at, lambda loading: loading.save(audit, [Holder(name)]))

        def noted() -> list[str]:
            both.open_tables(RUNNER, [HOLDER, audit])
            return sorted(row.name for row in both.rows(audit))

        note("before")
        both.switch(switching(), nothing)
        assert noted() == ["before"]
        note("between")
        fill(both, 1, 5, 7, next=True)
        both.switch(switching(), nothing)
        assert noted() == ["before", "between"]
        note("back")
        both.switch(switching(), nothing)
        both.forget(BESIDE)
        assert noted() == ["back", "before", "between"]
        note("alone")
        both.open_tables(BESIDE, [NEXT], "newest code")
        fill(both, 3, None, 7, next=True)
        both.switch(switching(), nothing)
        assert noted() == ["alone", "back", "before", "between"]
        both.forget(RUNNER)
        assert noted() == [], "it is forgotten with its runner"

    def test_the_way_back_is_the_same_exchange(self, both: SwitchingStore) -> None:
        both.switch(switching(), nothing)
        fill(both, 1, 5, 7, next=True)
        both.switch(switching(), nothing)
        assert {row.total for row in both.rows(HOLDER)} == {1}
        assert [total for _, total in self.totals(both)] == [1] * 20
        assert both.shown("account") == (1, RUNNER, "old code")

    def test_what_is_not_wanted_any_more_is_forgotten_and_can_begin_again(self, both: SwitchingStore) -> None:
        both.switch(switching(), nothing)
        both.forget(BESIDE)
        assert {row.total for row in both.rows(HOLDER)} == {2}
        assert [total for _, total in self.totals(both)] == [2] * 20
        assert both.positions(BESIDE) == {}
        both.open_tables(BESIDE, [NEXT], "newest code")
        assert both.rows(NEXT) == []
        fill(both, 3, None, 7, next=True)
        both.switch(switching(), nothing)
        assert {row.total for row in both.rows(HOLDER)} == {3}

    def test_a_runner_goes_on_with_the_new_rows(self, both: SwitchingStore) -> None:
        both.switch(switching(), nothing)
        with pytest.raises(StaleRunner):
            fill(both, 9, 5, 6)
        fill(both, 4, 7, 8)
        assert [total for _, total in self.totals(both)] == [4] * 20
        assert {row.total for row in both.rows(NEXT)} == {1}

    def test_names_never_show_rows_of_earlier_positions(self, both: SwitchingStore) -> None:
        fill(both, 1, 5, 8)
        with pytest.raises(Behind, match=r"account shows .* 8 of order-events/0, .* come to 7"):
            both.switch(switching(), nothing)
        assert {row.total for row in both.rows(HOLDER)} == {1}
        assert (both.positions(RUNNER), both.positions(BESIDE)) == ({P0: 8}, {P0: 7})
        both.switch(switching()._replace(topics=frozenset(["other-events"])), nothing)
        assert both.positions(RUNNER) == {P0: 7}, "a topic that is not read any more does not count"

    def test_work_is_part_of_the_switch(self, both: SwitchingStore) -> None:
        def fail(loading: Loading) -> None:
            loading.save(NEXT, [Holder("eve")])
            raise ArithmeticError("of the caller")

        with pytest.raises(ArithmeticError, match="of the caller"):
            both.switch(switching(), fail)
        assert {row.total for row in both.rows(HOLDER)} == {1}
        assert (both.positions(RUNNER), both.positions(BESIDE)) == ({P0: 5}, {P0: 7})
        assert both.row(NEXT, ("eve",)) is None
        seen: list[object] = []
        other = TableSchema("seen", 1, Holder, ("name",))
        both.open_tables("somebody", [other])

        def work(loading: Loading) -> None:
            seen.append(loading.load(other, [("ann",)]))
            loading.save(other, [Holder("ann")])

        both.switch(switching(), work)
        assert both.row(other, ("ann",)) == Holder("ann")
        assert seen[-1] == {}

    def test_a_name_shows_another_version_when_it_is_as_far(self, both: SwitchingStore) -> None:
        both.open_tables("shop-account-v2", [WIDER], "code 2")
        assert both.shown("account") == (1, RUNNER, "old code")
        show = switching({"account": 2}, exchanged=False)
        with pytest.raises(Behind, match="come to 0"):
            both.switch(show, nothing)
        both.apply("shop-account-v2", {}, {P0: 5}, lambda loading: loading.save(WIDER, [Wider("ann", Decimal(7))]))
        both.switch(show, nothing)
        assert both.shown("account") == (2, "shop-account-v2", "code 2")
        assert self.totals(both) == [("ann", Decimal(7))]
        assert len(both.rows(HOLDER)) == 20, "the other version stays"
        both.switch(switching(exchanged=False), nothing)
        assert both.shown("account") == (1, RUNNER, "old code")
        assert len(self.totals(both)) == 20

    def test_a_version_that_nobody_made_is_unavailable(self, both: SwitchingStore) -> None:
        with pytest.raises(Unavailable, match="no table account version 3 yet"):
            both.switch(switching({"account": 3}), nothing)
        assert both.shown("accounts") is None
        with pytest.raises(Unavailable, match="no table account version 3 yet"):
            both.scan("account", 3)

    def test_all_rows_of_a_version_are_read_without_its_class(self, both: SwitchingStore) -> None:
        rows = list(both.scan("account", 1).dicts())
        assert sorted(row["name"] for row in rows) == sorted(f"a{n}" for n in range(20))
        assert {Decimal(row["total"]) for row in rows} == {1}
        assert {Decimal(row["total"]) for row in both.scan(NEXT.name, 1).dicts()} == {2}

    def test_who_reads_by_name_sees_no_error_and_no_mixture(self, both: SwitchingStore) -> None:
        stop = threading.Event()
        wrong: list[object] = []
        reads: list[int] = []

        def look() -> None:
            while not stop.is_set():
                try:
                    found = [{total for _, total in self.totals(both)}, {row.total for row in both.rows(HOLDER)}]
                except (Misuse, Unavailable) as error:
                    wrong.append(error)
                    return
                reads.append(len(found))
                wrong.extend(one for one in found if one not in ({1}, {2}))

        readers = [threading.Thread(target=look) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            fill(both, 1, 5, 7)
            for _ in range(20):
                before = len(reads)
                both.switch(switching(), nothing)
                wait_for(lambda before=before: wrong or len(reads) > before + 2)  # type: ignore[misc] # called at once
        finally:
            stop.set()
            for reader in readers:
                reader.join(60)
        assert wrong == []

    def test_a_runner_at_work_loses_and_doubles_nothing_over_switches(self, both: SwitchingStore) -> None:
        """Rows count what was applied to them, so a total must be the position that it came to."""

        def count(runner: str, at: int, to: int) -> None:
            table = HOLDER if runner == RUNNER else NEXT

            def add(loading: Loading) -> None:
                row = loading.load(table, [("all",)]).get(("all",)) or Holder("all")
                row.total += to - at
                loading.save(table, [row])

            both.apply(runner, {P0: at}, {P0: to}, add)

        for runner, start in ((RUNNER, 5), (BESIDE, 7)):
            both.apply(runner, {P0: start}, {P0: 0}, nothing)
        stop = threading.Event()
        stale: list[StaleRunner] = []

        def run() -> None:
            at = 0
            while not stop.is_set():
                try:
                    count(RUNNER, at, at + 1)
                    at += 1
                except StaleRunner as error:
                    stale.append(error)
                    at = both.positions(RUNNER)[P0]

        at_work = threading.Thread(target=run)
        at_work.start()
        switched = 0
        for number in range(300):  # far ahead, so that it is noticed; or as far as the runner is by then, which is not
            count(BESIDE, both.positions(BESIDE)[P0], both.positions(RUNNER)[P0] + (3 if number % 2 else 100))
            try:
                both.switch(switching(), nothing)
            except Behind:
                continue
            switched += 1
            if switched == 5:
                break
        try:
            assert switched == 5
            wait_for(lambda: stale or not at_work.is_alive())
        finally:
            stop.set()
            at_work.join(60)
        assert not at_work.is_alive()
        assert stale, "the runner has noticed"
        for table, name in ((HOLDER, RUNNER), (NEXT, BESIDE)):
            assert both.row(table, ("all",)) == Holder("all", Decimal(both.positions(name)[P0]))

    def totals(self, store: SwitchingStore) -> list[tuple[str, Decimal]]:
        """What queries find by name; where a store answers none, the rows of the version that the name shows."""
        if self.ask is None:
            shown = store.shown("account")
            assert shown is not None
            rows = store.scan("account", shown.version).dicts()
            return [(row["name"], Decimal(row["total"])) for row in rows]
        return [(name, Decimal(total)) for name, total in store.query(self.ask)]


def wait_for(done: Callable[[], object], timeout_s: float = 60.0) -> None:
    pause = threading.Event()
    for _ in range(int(timeout_s / 0.001)):
        if done():
            return
        pause.wait(0.001)
    raise AssertionError("it did not come in time")
