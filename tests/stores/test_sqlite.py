"""The store in a file keeps the contract, between processes and over restarts too."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.errors import Misuse, Unavailable
from headwater.log.port import TopicPartition
from headwater.stores.port import Loading, Store
from headwater.stores.sqlite import SqliteStore
from headwater.stores.sqlite_queries import FIRST_ROWS
from headwater.stores.sqlite_tables import statement_size
from headwater.testing.conformance.store import ACCOUNT, P0, Account, StoreConformance, put
from headwater.testing.conformance.switching import SwitchingConformance


class TestSqliteStore(SwitchingConformance, StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = SqliteStore(tmp_path / "a store with # and ?.db")
        yield store
        store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "views.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    store.open_tables("r", [ACCOUNT])
    yield store
    store.close()


def test_rows_positions_and_shapes_are_there_after_a_restart(store: SqliteStore, path: Path) -> None:
    put(store, [Account("ann", Decimal("1.10"))], None, 5)
    store.close()
    again = SqliteStore(path)
    assert again.positions("r") == {P0: 5}
    assert again.row(ACCOUNT, ("ann",)) == Account("ann", Decimal("1.10"))
    again.close()


def test_another_process_that_only_reads_finds_the_tables(store: SqliteStore, path: Path) -> None:
    put(store, [Account("ann", Decimal("1.10"))], None, 5)
    program = (
        "import sys; from headwater.stores.sqlite import SqliteStore\n"
        "from headwater.testing.conformance.store import ACCOUNT\n"
        "print(SqliteStore(sys.argv[1]).row(ACCOUNT, ('ann',)).total)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "1.10\n", done.stderr


def test_a_store_is_where_it_was_opened_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("views.db")
    monkeypatch.chdir(there)
    store.open_tables("r", [ACCOUNT])
    put(store, [Account("ann", Decimal("1.10"))], None, 5)
    assert store.row(ACCOUNT, ("ann",)) == Account("ann", Decimal("1.10"))
    assert list(store.query("SELECT name FROM account")) == [("ann",)]
    store.close()
    assert list(there.iterdir()) == []


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO account_v1 VALUES ('eve', '1')",
        "UPDATE account_v1 SET total = '0'",
        "DELETE FROM hw_positions",
        "DROP TABLE account_v1",
        "CREATE TEMP TABLE t AS SELECT 1",
        "PRAGMA query_only = OFF",
        "ATTACH DATABASE 'other.db' AS other",
        "BEGIN",
    ],
)
def test_a_query_cannot_write(store: SqliteStore, sql: str) -> None:
    put(store, [Account("ann", Decimal(1))], None, 1)
    with pytest.raises(Misuse, match="can only read"):
        store.query(sql)
    assert store.rows(ACCOUNT) == [Account("ann", Decimal(1))]


@pytest.mark.parametrize(
    ("sql", "args", "words"),
    [
        ("SELEC 1", (), 'near "SELEC": syntax error'),
        ("SELECT * FROM order", (), 'write "order" in double quotes'),
        ("SELECT colour FROM account", (), "no such column: colour"),
        ("SELECT * FROM account WHERE name = ?", (), r"1 place \(\?\), and 0 values were given"),
        ("SELECT * FROM account WHERE name = :name", {"other": 1}, ":name"),
        ("SELECT 1; SELECT 2", (), "one statement"),
        ("", (), "one SELECT statement"),
    ],
)
def test_a_wrong_query_is_answered_with_sqlites_words(
    store: SqliteStore, sql: str, args: tuple[object, ...] | dict[str, object], words: str
) -> None:
    with pytest.raises(Misuse, match=words):
        store.query(sql, args)


def test_arguments_of_queries_are_written_as_the_columns_are(store: SqliteStore) -> None:
    put(store, [Account("ann", Decimal("10.0")), Account("bob", Decimal("9.5"))], None, 1)
    assert list(store.query("SELECT name FROM account WHERE total = ?", [Decimal(10)])) == [("ann",)]
    assert list(store.query("SELECT name FROM account WHERE total < :t", {"t": Decimal("9.50000001")})) == [("bob",)]
    assert list(store.query("SELECT name FROM account WHERE total > 9.9")) == [("ann",)]


def test_a_long_answer_is_read_while_others_write(store: SqliteStore) -> None:
    count = 3 * FIRST_ROWS
    put(store, [Account(f"a{n:05}", Decimal(n)) for n in range(count)], None, 1)
    answer = iter(store.query("SELECT name, total FROM account ORDER BY name"))
    assert next(answer) == ("a00000", "0")
    put(store, [Account(f"a{n:05}", Decimal(-1)) for n in range(count)], 1, 2)
    assert [total for _, total in answer] == [str(n) for n in range(1, count)], "as it was when it was asked"
    assert store.row(ACCOUNT, ("a00001",)) == Account("a00001", Decimal(-1))


def test_sums_of_decimals_are_exact_and_ordered_as_numbers(store: SqliteStore) -> None:
    rows = [Account(f"a{n}", Decimal("0.10")) for n in range(1000)]
    rows += [Account(f"b{n}", Decimal("9.99")) for n in range(3)]
    put(store, rows, None, 1)
    sql = "SELECT substr(name, 1, 1) AS who, sum(total) AS s FROM account GROUP BY who"
    assert list(store.query(f"{sql} ORDER BY s DESC")) == [("a", 100), ("b", 29.97)]
    assert list(store.query(f"{sql} HAVING s < 30")) == [("b", 29.97)]
    assert list(store.query("SELECT max(total), min(total) FROM account")) == [("9.99", "0.10")]
    assert list(store.query("SELECT sum(total) FROM account WHERE name = 'nobody'")) == [(None,)]


def test_sums_that_a_double_cannot_hold_stay_exact(store: SqliteStore) -> None:
    put(store, [Account("a", Decimal("12345678901234567.89")), Account("b", Decimal("0.02"))], None, 1)
    assert list(store.query("SELECT sum(total) FROM account")) == [("12345678901234567.91",)]


def test_sums_over_windows_move_with_their_rows(store: SqliteStore) -> None:
    put(
        store,
        [Account(name, Decimal(total)) for name, total in zip("abc", ("0.1", "0.2", "0.4"), strict=True)],
        None,
        1,
    )
    sql = "SELECT sum(total) OVER (ORDER BY name ROWS 1 PRECEDING) FROM account ORDER BY name"
    assert list(store.query(sql)) == [(0.1,), (0.3,), (0.6,)]


@pytest.mark.parametrize("expression", ["sum(n)", "sum(n + 0.5)", "sum(NULL)", "sum('x')"])
def test_other_sums_are_sqlites_own(store: SqliteStore, expression: str) -> None:
    sql = f"SELECT {expression} FROM (SELECT 1 AS n UNION SELECT 2 UNION SELECT 40)"
    [expected] = sqlite3.connect(":memory:").execute(sql).fetchall()
    assert list(store.query(sql)) == [expected]


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("the minutes of the last meeting\n" * 100)
    with pytest.raises(Misuse, match=r"views\.db is not a SQLite database"):
        SqliteStore(path)


def test_the_database_of_somebody_else_is_refused_and_left_alone(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers (id)")
    other.close()
    with pytest.raises(Misuse, match="no store of headwater"):
        SqliteStore(path)
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]


def test_a_directory_that_does_not_exist_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"missing/views\.db cannot be opened"):
        SqliteStore(tmp_path / "missing" / "views.db")


def test_a_full_disk_keeps_rows_and_positions_of_the_last_commit(store: SqliteStore) -> None:
    put(store, [Account("ann", Decimal(1))], None, 1)
    store._writer.execute("PRAGMA max_page_count = 1")  # SQLite takes the number of pages that there are
    with pytest.raises(Unavailable, match="disk is full"):
        put(store, [Account(f"a{n}" * 100, Decimal(n)) for n in range(1000)], 1, 2)
    assert store.positions("r") == {P0: 1}
    assert store.rows(ACCOUNT) == [Account("ann", Decimal(1))]
    store._writer.execute("PRAGMA max_page_count = 1000000")
    put(store, [Account("bob")], 1, 2)
    assert store.positions("r") == {P0: 2}


def test_a_writer_that_waits_too_long_for_another_process_is_told_so(store: SqliteStore, path: Path) -> None:
    impatient = SqliteStore(path, busy_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match=r"another process keeps .* locked"):
        put(impatient, [], None, 1)
    other.execute("ROLLBACK")
    put(impatient, [], None, 1)
    impatient.close()


def test_keys_are_asked_for_in_statements_of_few_sizes_and_hardly_any_twice() -> None:
    sizes = {count: statement_size(count) for count in range(1, 32769)}
    assert all(count <= size <= count * 9 / 8 for count, size in sizes.items())
    assert (len(set(sizes.values())), max(sizes.values())) == (104, 32768)


ADD = """
import sys
from headwater.log.port import TopicPartition
from headwater.stores.sqlite import SqliteStore
from headwater.testing.conformance.store import ACCOUNT, Account
store, partition = SqliteStore(sys.argv[1]), TopicPartition("order-events", int(sys.argv[2]))
def add(loading):
    row = loading.load(ACCOUNT, [("ann",)]).get(("ann",)) or Account("ann")
    row.total += 1
    loading.save(ACCOUNT, [row])
for position in range(300):
    store.apply("r", {partition: position} if position else {}, {partition: position + 1}, add)
"""


def test_processes_that_change_one_row_lose_nothing(store: SqliteStore, path: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", ADD, str(path), str(n)]) for n in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert store.row(ACCOUNT, ("ann",)) == Account("ann", Decimal(900))
    assert store.positions("r") == {TopicPartition("order-events", n): 300 for n in range(3)}


def test_one_write_per_row_and_one_statement_per_load(store: SqliteStore) -> None:
    statements: list[str] = []
    store._writer.set_trace_callback(statements.append)

    def work(loading: Loading) -> None:
        loading.load(ACCOUNT, [(f"a{n}",) for n in range(1000)])
        loading.save(ACCOUNT, [Account(f"a{n}") for n in range(10)])

    store.apply("r", {}, {P0: 1}, work)
    assert sum(s.startswith('SELECT "name"') for s in statements) == 1
    assert sum(s.startswith('INSERT INTO "account_v1"') for s in statements) == 10


def test_the_file_can_be_read_by_other_programs(store: SqliteStore, path: Path) -> None:
    put(store, [Account("ann", Decimal("1.10"))], None, 1)
    other = sqlite3.connect(f"file:{os.fspath(path)}?mode=ro", uri=True)
    assert other.execute("SELECT * FROM account_v1").fetchall() == [("ann", "1.10")]
    assert other.execute("SELECT sum(total) FROM account_v1").fetchall() == [(1.1,)]
    with pytest.raises(sqlite3.OperationalError, match="no such collation sequence: decimal"):
        other.execute("SELECT * FROM account_v1 ORDER BY total")
    other.close()
