"""The conformance suite of the store port.

Subclass it in a test module and give it a fixture that opens the store:

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self) -> Iterator[Store]:
            store = MyStore(url)
            yield store
            store.close()

Each test begins with an empty store. `ask` is a query that selects name and total of all accounts, ordered by
total, in the store's own language; None: the store answers no queries, and says so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import ClassVar, Literal
from uuid import UUID

import msgspec
import pytest

from headwater.errors import Misuse, Unavailable
from headwater.log.port import TopicPartition
from headwater.stores.port import Loading, RunnerNote, StaleRunner, Store, TableSchema, bookkeeping_table
from headwater.stores.typed import rows_as

P0, P1 = TopicPartition("order-events", 0), TopicPartition("order-events", 1)


class Account(msgspec.Struct):
    name: str
    total: Decimal = Decimal(0)


class Reordered(msgspec.Struct):
    name: str
    owner: str = ""
    total: int = 0


class Colour(Enum):
    RED = "red"


class Line(msgspec.Struct, frozen=True):
    sku: str
    price: Decimal


class Everything(msgspec.Struct):
    """One column of each kind."""

    day: date
    shop: str
    number: int
    id: UUID
    flag: bool = False
    ratio: float = 0.0
    amount: Decimal = Decimal(0)
    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    clock: time = time(0)
    span: timedelta = timedelta(0)
    raw: bytes = b""
    colour: Colour = Colour.RED
    status: Literal["new", "done"] = "new"
    note: str | None = None
    due: datetime | None = None
    lines: list[Line] = []
    tags: dict[str, int] = {}
    either: int | str = 0


ACCOUNT = TableSchema("account", 1, Account, ("name",))
EVERYTHING = TableSchema("everything", 1, Everything, ("day", "shop", "number", "id"))
KEY = (date(2024, 2, 29), "Łódź 'x' \"y\" \x00", -(2**63), UUID(int=7))
SAMPLES = [
    Everything(*KEY),
    Everything(
        date.max,
        "",
        2**63 - 1,
        UUID(int=2**128 - 1),
        True,
        0.1,
        Decimal("12345678901234567890.1234567890"),
        datetime(2024, 4, 10, 10, 30, 0, 1, tzinfo=timezone(timedelta(hours=2))),
        time(23, 59, 59, 999999),
        timedelta(days=-3, microseconds=5),
        bytes(range(256)),
        Colour.RED,
        "done",
        "",
        datetime.max.replace(tzinfo=UTC),
        [Line("CD-1", Decimal("11.70"))],
        {"a": 1},
        "7",
    ),
]


def put(store: Store, rows: Iterable[Account], start: int | None, to: int, runner: str = "r") -> None:
    before = {} if start is None else {P0: start}
    store.apply(runner, before, {P0: to}, lambda loading: loading.save(ACCOUNT, list(rows)))


class StoreConformance:
    """What the port's docstring promises."""

    ask: ClassVar[str | None] = "SELECT name, total FROM account ORDER BY total"

    @property
    def asked(self) -> str:
        if self.ask is None:
            pytest.skip("it answers no queries")
        return self.ask

    @pytest.fixture
    def accounts(self, store: Store) -> Store:
        store.open_tables("r", [ACCOUNT])
        return store

    def test_rows_and_positions_are_committed_together(self, accounts: Store) -> None:
        assert accounts.positions("r") == {}
        put(accounts, [Account("ann", Decimal("9.90"))], None, 5)
        assert accounts.positions("r") == {P0: 5}
        assert accounts.row(ACCOUNT, ("ann",)) == Account("ann", Decimal("9.90"))
        assert accounts.row(ACCOUNT, ("bob",)) is None

    def test_an_exception_of_the_work_leaves_rows_and_positions_as_they_were(self, accounts: Store) -> None:
        put(accounts, [Account("ann", Decimal(1))], None, 5)

        def fail(loading: Loading) -> None:
            loading.save(ACCOUNT, [Account("ann", Decimal(2))])
            loading.delete(ACCOUNT, [("ann",)])
            raise ArithmeticError("of the handler")

        with pytest.raises(ArithmeticError, match="of the handler"):
            accounts.apply("r", {P0: 5}, {P0: 6}, fail)
        assert accounts.row(ACCOUNT, ("ann",)) == Account("ann", Decimal(1))
        assert accounts.positions("r") == {P0: 5}

    @pytest.mark.parametrize("start", [None, 4, 6])
    def test_a_runner_that_starts_elsewhere_than_the_store_stands_writes_nothing(
        self, accounts: Store, start: int | None
    ) -> None:
        put(accounts, [Account("ann", Decimal(1))], None, 5)
        with pytest.raises(StaleRunner, match="order-events/0"):
            put(accounts, [Account("ann", Decimal(2))], start, 7)
        assert accounts.row(ACCOUNT, ("ann",)) == Account("ann", Decimal(1))
        assert accounts.positions("r") == {P0: 5}

    def test_positions_of_other_partitions_and_runners_are_not_compared(self, accounts: Store) -> None:
        put(accounts, [], None, 5)
        accounts.apply("r", {}, {P1: 3}, lambda loading: None)
        accounts.apply("other", {}, {P0: 1}, lambda loading: None)
        assert accounts.positions("r") == {P0: 5, P1: 3}
        assert accounts.positions("other") == {P0: 1}

    def test_rows_are_loaded_saved_and_deleted_by_key(self, accounts: Store) -> None:
        put(accounts, [Account(f"a{n}", Decimal(n)) for n in range(5000)], None, 1)

        def work(loading: Loading) -> None:
            found = loading.load(ACCOUNT, [(f"a{n}",) for n in range(0, 10_000, 2)])
            assert len(found) == 2500
            assert found["a4998",] == Account("a4998", Decimal(4998))
            assert loading.load(ACCOUNT, []) == {}
            loading.delete(ACCOUNT, [("a0",), ("never there",)])
            loading.save(ACCOUNT, [Account("a2", Decimal(-1))])
            assert loading.load(ACCOUNT, [("a0",), ("a2",)]) == {("a2",): Account("a2", Decimal(-1))}

        accounts.apply("r", {P0: 1}, {P0: 2}, work)
        assert accounts.row(ACCOUNT, ("a0",)) is None
        assert accounts.row(ACCOUNT, ("a2",)) == Account("a2", Decimal(-1))

    def test_every_type_of_column_comes_back_equal(self, store: Store) -> None:
        store.open_tables("r", [EVERYTHING])
        store.apply("r", {}, {P0: 1}, lambda loading: loading.save(EVERYTHING, SAMPLES))
        assert store.rows(EVERYTHING, order=["number"]) == SAMPLES
        assert store.row(EVERYTHING, KEY) == SAMPLES[0]
        again: dict[tuple[object, ...], Everything] = {}
        store.apply("r", {P0: 1}, {P0: 2}, lambda loading: again.update(loading.load(EVERYTHING, [KEY])))
        assert again == {KEY: SAMPLES[0]}

    @pytest.mark.parametrize("wrong", ["12", 1.5, None, True])
    def test_a_value_of_another_type_is_refused_with_its_column(self, accounts: Store, wrong: object) -> None:
        with pytest.raises(Misuse, match=r"account version 1, column total: .* is no Decimal"):
            put(accounts, [Account("ann", wrong)], None, 1)  # type: ignore[arg-type] # it is the mistake
        assert accounts.positions("r") == {}

    def test_rows_are_filtered_ordered_and_limited(self, accounts: Store) -> None:
        totals = {"a": "10.00", "b": "9.5", "c": "10.0", "d": "-3"}
        put(accounts, [Account(name, Decimal(total)) for name, total in totals.items()], None, 1)
        assert [row.name for row in accounts.rows(ACCOUNT)] == ["a", "b", "c", "d"]
        assert [row.name for row in accounts.rows(ACCOUNT, order=["-total"])] == ["a", "c", "b", "d"]
        assert [row.name for row in accounts.rows(ACCOUNT, order=["total"], limit=2)] == ["d", "b"]
        assert [row.name for row in accounts.rows(ACCOUNT, {"total": Decimal(10)})] == ["a", "c"]
        with pytest.raises(Misuse, match="no column 'sum': it has name, total"):
            accounts.rows(ACCOUNT, order=["sum"])

    def test_queries_find_the_table_by_its_name_and_compare_decimals_as_numbers(self, accounts: Store) -> None:
        put(accounts, [Account("a", Decimal("10.0")), Account("b", Decimal("9.50"))], None, 1)
        answer = accounts.query(self.asked)
        assert answer.columns == ("name", "total")
        assert list(rows_as(answer, Account)) == [Account("b", Decimal("9.50")), Account("a", Decimal("10.0"))]

    def test_a_wrong_query_is_misuse_with_the_stores_words(self, accounts: Store) -> None:
        with pytest.raises(Misuse, match="acount"):
            accounts.query(self.asked.replace("account", "acount"))

    def test_a_store_without_queries_says_what_else_there_is(self, accounts: Store) -> None:
        if self.ask is not None:
            pytest.skip("it answers queries")
        with pytest.raises(Misuse, match=r"row\(.*rows\("):
            accounts.query("SELECT name, total FROM account")

    def test_readers_see_committed_rows_only(self, accounts: Store) -> None:
        put(accounts, [Account("ann", Decimal(1))], None, 1)
        inside, seen = threading.Event(), threading.Event()
        found: list[Account | None] = []

        def work(loading: Loading) -> None:
            loading.save(ACCOUNT, [Account("ann", Decimal(2))])
            inside.set()
            seen.wait(0.2)  # a store that reads and writes in turn lets the reader in only afterwards
            raise ArithmeticError("of the handler")

        def look() -> None:
            inside.wait(60)
            found.append(accounts.row(ACCOUNT, ("ann",)))
            seen.set()

        reader = threading.Thread(target=look)
        reader.start()
        with pytest.raises(ArithmeticError):
            accounts.apply("r", {P0: 1}, {P0: 2}, work)
        reader.join(60)
        assert found == [Account("ann", Decimal(1))]

    def test_runners_that_change_one_row_at_the_same_time_lose_nothing(self, accounts: Store) -> None:
        def run(partition: TopicPartition) -> None:
            for position in range(40):
                start = {partition: position} if position else {}
                accounts.apply("r", start, {partition: position + 1}, add_one)

        def add_one(loading: Loading) -> None:
            row = loading.load(ACCOUNT, [("ann",)]).get(("ann",)) or Account("ann")
            row.total += 1
            loading.save(ACCOUNT, [row])

        threads = [threading.Thread(target=run, args=[TopicPartition("order-events", n)]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(180)
        assert accounts.row(ACCOUNT, ("ann",)) == Account("ann", Decimal(160))

    def test_a_changed_shape_needs_a_new_version(self, accounts: Store) -> None:
        changed = TableSchema("account", 1, Reordered, ("name",))
        with pytest.raises(Misuse, match=r"owner is new; total was Decimal and is int.*version=2"):
            accounts.open_tables("r", [changed])
        put(accounts, [Account("ann", Decimal(1))], None, 1)
        renewed = TableSchema("account", 2, Reordered, ("name",))
        accounts.open_tables("r-v2", [renewed])
        assert accounts.rows(renewed) == []
        assert len(accounts.rows(ACCOUNT)) == 1, "the old version's rows stay"
        accounts.open_tables("r", [ACCOUNT])
        assert len(accounts.rows(ACCOUNT)) == 1

    def test_what_is_forgotten_can_begin_again_in_another_shape(self, accounts: Store) -> None:
        put(accounts, [Account("ann", Decimal(1))], None, 1)
        accounts.forget("r")
        assert accounts.positions("r") == {}
        with pytest.raises(Unavailable, match="no table account version 1"):
            accounts.row(ACCOUNT, ("ann",))
        if self.ask is not None:
            with pytest.raises(Misuse, match="account"):
                accounts.query(self.ask)
        changed = TableSchema("account", 1, Reordered, ("name",))
        assert accounts.open_tables("other", [changed], "new code") == "new code"
        assert accounts.rows(changed) == []

    def test_a_table_has_one_runner(self, accounts: Store) -> None:
        with pytest.raises(Misuse, match="filled by r, not by other"):
            accounts.open_tables("other", [ACCOUNT])

    def test_a_table_that_nobody_opened_is_unavailable(self, store: Store) -> None:
        with pytest.raises(Unavailable, match="no table account version 1 yet"):
            store.row(ACCOUNT, ("ann",))

    def test_what_a_runner_remembers_is_a_table_that_moves_with_its_positions(self, store: Store) -> None:
        notes = bookkeeping_table("notes", "shop-account-v1", Account, ("name",))
        store.open_tables("shop-account-v1", [ACCOUNT, notes])

        def work(loading: Loading) -> None:
            loading.save(notes, [Account("held", Decimal(1)), Account("done", Decimal(2))])
            loading.delete(notes, [("done",)])

        store.apply("shop-account-v1", {}, {P0: 3}, work)
        with pytest.raises(StaleRunner):
            store.apply("shop-account-v1", {P0: 2}, {P0: 2}, lambda loading: loading.delete(notes, [("held",)]))
        assert store.rows(notes) == [Account("held", Decimal(1))]
        store.apply("shop-account-v1", {P0: 3}, {P0: 3}, lambda loading: loading.delete(notes, [("held",)]))
        assert (store.rows(notes), store.positions("shop-account-v1")) == ([], {P0: 3})

    def test_somebody_who_moves_no_position_may_write_rows(self, accounts: Store) -> None:
        put(accounts, [], None, 5)
        accounts.apply("an operator", {}, {}, lambda loading: loading.save(ACCOUNT, [Account("ann", Decimal(1))]))
        assert accounts.row(ACCOUNT, ("ann",)) == Account("ann", Decimal(1))
        assert (accounts.positions("r"), accounts.positions("an operator")) == ({P0: 5}, {})

    def test_the_code_under_which_rows_were_begun_is_remembered(self, store: Store) -> None:
        assert store.open_tables("r", [ACCOUNT], "code 1") == "code 1"
        assert store.open_tables("r", [ACCOUNT], "code 2") == "code 2", "no row was made by code 1"
        put(store, [], None, 1)
        assert store.open_tables("r", [ACCOUNT], "code 3") == "code 2"

    def test_a_store_belongs_to_one_log(self, store: Store) -> None:
        store.bind("log 1")
        store.bind("log 1")
        with pytest.raises(Misuse, match="made from the log log 1, this is log log 2"):
            store.bind("log 2")

    def test_workers_say_how_they_are(self, store: Store) -> None:
        early, late = (datetime(2024, 4, 10, 10, minute, tzinfo=UTC) for minute in (1, 2))
        first = RunnerNote("host/1", "running", None, early, frozenset({P0, P1}))
        second = RunnerNote("host/2", "failed", "Revenue.placed failed", late)
        for note in (first, second):
            store.note("r", note)
        assert store.notes("r") == [second, first]
        assert store.notes("other") == []
        store.note("r", RunnerNote("host/1", "stopped", None, late))
        assert store.notes("r") == [second]
