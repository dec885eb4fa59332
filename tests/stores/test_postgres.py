"""The store in PostgreSQL keeps the contract, on a real server, between processes and over its restarts too."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from enum import IntEnum
from typing import Any, Literal

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.errors import Misuse, Unavailable
from headwater.log.port import TopicPartition
from headwater.stores.opening import open_store
from headwater.stores.port import Loading, StaleRunner, Store, TableSchema
from headwater.stores.postgres import PostgresStore
from headwater.stores.postgres_queries import FIRST_ROWS
from headwater.stores.switching import Switch
from headwater.stores.typed import rows_as
from headwater.testing.conformance.log.waiting import fresh
from headwater.testing.conformance.store import ACCOUNT, EVERYTHING, P0, P1, SAMPLES, Account, StoreConformance, put
from headwater.testing.conformance.switching import SwitchingConformance
from headwater.testing.postgres import PostgresServer
from headwater.testing.waiting import eventually


class TestPostgresStore(SwitchingConformance, StoreConformance):
    @pytest.fixture
    def store(self, postgres_url: str) -> Iterator[Store]:
        store = PostgresStore(postgres_url)
        yield store
        store.close()


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    store = PostgresStore(postgres_url)
    store.open_tables("r", [ACCOUNT])
    yield store
    store.close()


def test_rows_positions_and_shapes_are_there_for_another_process(store: PostgresStore, postgres_url: str) -> None:
    put(store, [Account("ann", Decimal("1.10"))], None, 5)
    program = (
        "import sys; from headwater.stores.opening import open_store\n"
        "from headwater.testing.conformance.store import ACCOUNT\n"
        "store = open_store(sys.argv[1])\n"
        "print(store.row(ACCOUNT, ('ann',)).total, *store.positions('r').values())"
    )
    done = subprocess.run([sys.executable, "-c", program, postgres_url], capture_output=True, text=True, timeout=60)
    assert done.stdout == "1.10 5\n", done.stderr


# --- questions


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO account_v1 VALUES ('eve', '1')",
        "WITH gone AS (DELETE FROM account_v1 RETURNING *) SELECT * FROM gone",
        "SELECT 1; DROP TABLE account_v1",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "SELECT nextval('counter')",
        "COMMIT",
        "CREATE TEMP TABLE t AS SELECT 1",
        "",
    ],
)
def test_a_query_cannot_write(store: PostgresStore, postgres_url: str, sql: str) -> None:
    put(store, [Account("ann", Decimal(1))], None, 1)
    with psycopg.connect(postgres_url) as other:
        other.execute("CREATE SEQUENCE counter")
    with pytest.raises(Misuse):
        store.query(sql)
    assert store.rows(ACCOUNT) == [Account("ann", Decimal(1))]


@pytest.mark.parametrize(
    ("sql", "args", "words"),
    [
        ("DELETE FROM account_v1", (), "can only read"),
        ("SELECT * FROM order", (), 'write "order" in double quotes'),
        ("SELECT colour FROM account", (), 'column "colour" does not exist'),
        ("SELECT * FROM account WHERE name = ? AND total = ?", ("x",), "2 places .*1 value was given"),
        ("SELECT * FROM account WHERE name = :name", {"other": 1}, "asks for :name"),
        ("SELECT 1; SELECT 2", (), "multiple commands"),
        ("SELECT 1 / (total - total) FROM account", (), "division by zero"),
    ],
)
def test_a_wrong_query_is_answered_with_the_servers_words(
    store: PostgresStore, sql: str, args: tuple[object, ...] | dict[str, object], words: str
) -> None:
    put(store, [Account("ann", Decimal(1))], None, 1)
    with pytest.raises(Misuse, match=words):
        store.query(sql, args)
    assert list(store.query("SELECT 1")) == [(1,)]


def test_arguments_stand_for_question_marks_names_or_numbers(store: PostgresStore) -> None:
    put(store, [Account("ann", Decimal("10.0")), Account("b?b", Decimal("9.5"))], None, 1)
    asked: list[tuple[str, Any]] = [
        ("SELECT name FROM account WHERE total < ? AND name <> 'what?'", [Decimal("9.51")]),
        ("SELECT name FROM account WHERE total < :t AND total::text <> ':t'", {"t": Decimal("9.51")}),
        ("SELECT name FROM account WHERE total < $1", [9.51]),
        ("SELECT name FROM account WHERE name = 'b?b' -- really?", []),
        ("SELECT name FROM account WHERE '{\"b?b\": 1}'::jsonb ?? name AND name LIKE ?", ["%b"]),
        ("SELECT name FROM account WHERE name = ANY(?)", [["b?b", "eve"]]),
    ]
    for sql, args in asked:
        assert list(store.query(sql, args)) == [("b?b",)], sql


def test_a_long_answer_is_read_while_others_write(store: PostgresStore) -> None:
    count = 3 * FIRST_ROWS
    put(store, [Account(f"a{n:05}", Decimal(n)) for n in range(count)], None, 1)
    answer = iter(store.query("SELECT name, total FROM account ORDER BY name"))
    assert next(answer) == ("a00000", 0)
    put(store, [Account(f"a{n:05}", Decimal(-1)) for n in range(count)], 1, 2)
    assert [total for _, total in answer] == list(range(1, count)), "as it was when it was asked"
    assert store.row(ACCOUNT, ("a00001",)) == Account("a00001", Decimal(-1))


def test_a_query_that_takes_too_long_is_stopped_and_the_next_one_has_its_own_time(store: PostgresStore) -> None:
    with pytest.raises(Unavailable, match=r"the query did not end within 0\.1 s and was stopped"):
        store.query("SELECT count(*) FROM generate_series(1, 1000000000)", timeout_s=0.1)
    late = f"SELECT n FROM generate_series(1, {FIRST_ROWS + 1}) AS n WHERE n <= {FIRST_ROWS} OR pg_sleep(60) IS NULL"
    with pytest.raises(Unavailable, match="was stopped"):
        list(store.query(late, timeout_s=0.5))
    assert list(store.query("SELECT 1")) == [(1,)]


# --- values


def test_an_answer_is_read_typed(store: PostgresStore) -> None:
    store.open_tables("all", [EVERYTHING])
    store.apply("all", {}, {P0: 1}, lambda loading: loading.save(EVERYTHING, SAMPLES))
    found = list(rows_as(store.query("SELECT * FROM everything ORDER BY number"), EVERYTHING.row))
    assert found == SAMPLES
    assert list(rows_as(store.query("SELECT sum(flag::int * 2^40::bigint) FROM everything"), int)) == [2**40]
    assert list(rows_as(store.query("SELECT id FROM everything WHERE flag"), str)) == [str(SAMPLES[1].id)]


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Odd(msgspec.Struct):
    id: str
    number: int = 0
    maybe: int | None = None
    text: str | None = None
    parts: dict[str, str] = {}
    ratio: float = 0.0
    level: Level = Level.LOW
    size: Literal[1, 2] = 1


ODD = TableSchema("odd", 1, Odd, ("id",))
words = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\0\x1a01"\\{},'), max_size=6)
odd_rows = st.builds(
    Odd,
    words,
    st.integers() | st.integers(-(10**30), 10**30),
    st.none() | st.integers(),
    st.none() | words,
    st.dictionaries(words, words, max_size=2),
    st.floats(allow_nan=False),
    st.sampled_from(Level),
    st.sampled_from((1, 2)),
)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(odd_rows, max_size=4, unique_by=lambda row: row.id))
def test_whatever_an_event_may_bring_comes_back_equal(store: PostgresStore, rows: list[Odd]) -> None:
    store.forget("odd")
    store.open_tables("odd", [ODD])
    store.apply("odd", {}, {P0: 1}, lambda loading: loading.save(ODD, rows))
    expected = sorted(rows, key=lambda row: row.id.replace("\x1a", "\x1a1").replace("\0", "\x1a0"))
    assert store.rows(ODD) == expected
    assert sorted(rows_as(store.query("SELECT * FROM odd"), Odd), key=lambda row: row.id) == sorted(
        rows, key=lambda row: row.id
    )
    for row in rows:
        assert store.row(ODD, (row.id,)) == row
        assert row in store.rows(ODD, {"text": row.text, "parts": row.parts, "number": row.number})


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (Odd("a", text="\ud800"), "column text: .*surrogates"),
        (Odd("a", number=10**5000), "column number: .*digits"),
        (Odd("a", level=1), "column level: 1 is no"),  # type: ignore[arg-type] # it is the mistake
        (Odd("k" * 10_000 + "".join(map(chr, range(0x4E00, 0x6000)))), "cannot be kept.*index row"),
    ],
)
def test_what_cannot_be_kept_is_misuse(store: PostgresStore, row: Odd, complaint: str) -> None:
    store.open_tables("odd", [ODD])
    with pytest.raises(Misuse, match=complaint):
        store.apply("odd", {}, {P0: 1}, lambda loading: loading.save(ODD, [row]))
    assert store.positions("odd") == {}


@pytest.mark.parametrize("total", ["sNaN", "1E+20000", "1E-20000"])
def test_decimals_that_the_server_has_not_are_misuse(store: PostgresStore, total: str) -> None:
    with pytest.raises(Misuse, match="account version 1, column total: "):
        put(store, [Account("ann", Decimal(total))], None, 1)
    put(store, [Account("ann", Decimal("-Infinity"))], None, 1)
    assert store.rows(ACCOUNT) == [Account("ann", Decimal("-Infinity"))]


# --- tables


def test_names_of_63_characters_keep_their_versions_apart(store: PostgresStore) -> None:
    name = "n" * 63
    first, second = (TableSchema(name, version, Account, ("name",)) for version in (1, 2))
    for table in (first, second):
        store.open_tables(f"r{table.version}", [table])
        row = [Account("ann", Decimal(table.version))]
        store.apply(f"r{table.version}", {}, {P0: 1}, lambda loading, t=table, row=row: loading.save(t, row))  # type: ignore[misc] # mypy infers no lambda with a default
    assert store.rows(first) == [Account("ann", Decimal(1))]
    assert list(store.query(f"SELECT total FROM {name}")) == [(1,)]
    store.switch(Switch("r2", "", [], {name: 2}, frozenset()), lambda loading: None)
    assert list(store.query(f"SELECT total FROM {name}")) == [(2,)]


def test_who_may_read_a_view_may_read_its_next_version(store: PostgresStore, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("GRANT SELECT ON account TO pg_monitor")
        store.open_tables("r2", [TableSchema("account", 2, Account, ("name",))])
        store.switch(Switch("r2", "", [], {"account": 2}, frozenset()), lambda loading: None)
        assert store.shown("account") == (2, "r2", "")
        asked = other.execute("SELECT has_table_privilege('pg_monitor', 'account', 'SELECT')")
        assert asked.fetchone() == (True,)


def test_the_table_of_somebody_else_is_left_alone(store: PostgresStore, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as other:
        other.execute("CREATE TABLE customer (id text)")
    with pytest.raises(Misuse, match=r'customer version 1 cannot be made in postgresql://.*"customer" is not a view'):
        store.open_tables("c", [TableSchema("customer", 1, Account, ("name",))])
    assert list(store.query("SELECT * FROM customer")) == []


def test_a_column_that_the_server_has_in_every_table_is_refused(store: PostgresStore) -> None:
    class Hidden(msgspec.Struct):
        name: str
        xmin: int = 0

    with pytest.raises(Misuse, match=r"hidden version 1 cannot be made .*xmin"):
        store.open_tables("h", [TableSchema("hidden", 1, Hidden, ("name",))])


# --- several runners


def both(first: Callable[[], None], second: Callable[[], None]) -> list[Exception]:
    """Runs both at once, and returns what they raised."""
    failures: list[Exception] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 -- told to the test
            failures.append(error)

    threads = [threading.Thread(target=run, args=[work]) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return failures


def adding(keys: list[str], met: threading.Barrier | None = None) -> Callable[[Loading], None]:
    """Adds one to rows; the first attempts of two runners meet after they have loaded."""
    attempts: list[int] = []

    def work(loading: Loading) -> None:
        rows = loading.load(ACCOUNT, [(key,) for key in keys])
        if met is not None and not attempts:
            attempts.append(1)
            met.wait(60)
        found = [rows.get((key,)) or Account(key) for key in keys]
        for row in found:
            row.total += 1
        loading.save(ACCOUNT, found)

    return work


def test_two_runners_that_make_the_same_row_lose_nothing(store: PostgresStore) -> None:
    met = threading.Barrier(2)
    failures = both(
        lambda: store.apply("r", {}, {P0: 1}, adding(["a", "b"], met)),
        lambda: store.apply("r", {}, {P1: 1}, adding(["b", "a"], met)),
    )
    assert failures == []
    assert store.rows(ACCOUNT) == [Account("a", Decimal(2)), Account("b", Decimal(2))]


def test_two_runners_that_lock_rows_in_another_order_do_not_block_each_other(store: PostgresStore) -> None:
    keys = [f"a{n:03}" for n in range(200)]
    put(store, [Account(key) for key in keys], None, 1)
    attempts: list[TopicPartition] = []

    def many(partition: TopicPartition, start: int, keys: list[str]) -> None:
        add = adding(keys)

        def work(loading: Loading) -> None:
            attempts.append(partition)
            add(loading)

        for n in range(10):
            before = {partition: start + n} if start + n else {}
            store.apply("r", before, {partition: start + n + 1}, work)

    assert both(lambda: many(P0, 1, keys), lambda: many(P1, 0, keys[::-1])) == []
    assert {row.total for row in store.rows(ACCOUNT)} == {Decimal(20)}
    assert len(attempts) == 20, "the server has ended none of them because of the other"


def test_a_row_that_was_missing_and_is_there_before_the_commit_is_seen(store: PostgresStore) -> None:
    seen: list[Account | None] = []

    def work(loading: Loading) -> None:
        seen.append(loading.load(ACCOUNT, [("ann",)]).get(("ann",)))
        if len(seen) == 1:
            store.apply("r", {}, {P1: 1}, lambda other: other.save(ACCOUNT, [Account("ann", Decimal(7))]))
        loading.delete(ACCOUNT, [("ann",)])

    store.apply("r", {}, {P0: 1}, work)
    assert seen == [None, Account("ann", Decimal(7))]
    assert store.rows(ACCOUNT) == []


def test_of_two_runners_of_one_partition_one_is_told_so(store: PostgresStore) -> None:
    met = threading.Barrier(2)
    failures = both(
        lambda: store.apply("r", {}, {P0: 1}, adding(["a"], met)),
        lambda: store.apply("r", {}, {P0: 1}, adding(["b"], met)),
    )
    assert [type(error) for error in failures] == [StaleRunner]
    assert len(store.rows(ACCOUNT)) == 1


def test_one_statement_loads_and_one_writes_whatever_the_number_of_rows(
    store: PostgresStore, postgres_url: str
) -> None:
    put(store, [Account(f"a{n}") for n in range(1000)], None, 1)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute(
            "CREATE FUNCTION count_writes() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO writes VALUES (TG_OP); RETURN NULL; END $$"
        )
        other.execute("CREATE TABLE writes (kind text)")
        other.execute(
            "CREATE TRIGGER count AFTER INSERT OR UPDATE ON account_v1 FOR EACH STATEMENT"
            " EXECUTE FUNCTION count_writes()"
        )
        store.apply("r", {P0: 1}, {P0: 2}, adding([f"a{n}" for n in range(1000)]))
        kinds = [kind for (kind,) in other.execute("SELECT kind FROM writes")]
    assert kinds == ["UPDATE"]
    assert {row.total for row in store.rows(ACCOUNT)} == {Decimal(1)}


# --- addresses and failures


def test_no_message_shows_the_password(postgres_server: PostgresServer) -> None:
    port = postgres_server.port
    for url in (
        f"postgresql://nobody:s3cret@127.0.0.1:{port}/postgres",
        "postgresql://postgres:s3cret@127.0.0.1:1/postgres",
        "postgresql://postgres:s3cret%zz@127.0.0.1/postgres",
        "postgresql://postgres:s3cret@127.0.0.1/postgres?colour=red",
        "postgresql://postgres:s3cret@127.0.0.1:port/postgres",
        "postgresql+psycopg://postgres:s3@cret@127.0.0.1/postgres",
    ):
        with pytest.raises((Misuse, Unavailable)) as caught:
            open_store(url)
        assert "cret" not in str(caught.value), url
        assert caught.value.__cause__ is None or "cret" not in str(caught.value.__cause__), url


def test_a_wrong_password_is_said_so(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url, autocommit=True) as other:
        other.execute("DROP ROLE IF EXISTS locked")
        other.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
    rules = postgres_server.directory / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"host all locked 127.0.0.1/32 scram-sha-256\n{before}")
    try:
        with psycopg.connect(postgres_server.url, autocommit=True) as other:
            other.execute("SELECT pg_reload_conf()")
        place = f"postgresql://locked@127.0.0.1:{postgres_server.port}/postgres"

        def refusal() -> str:
            try:
                open_store(place.replace("locked@", "locked:wrong@")).close()
            except Unavailable as error:
                return str(error)
            return ""  # the server has not read its rules yet

        expected = re.compile(f"{place} does not accept the user or the password: .*locked")
        eventually(lambda: expected.search(refusal()), saying="it is refused, and told so")
    finally:
        rules.write_text(before)


def test_a_database_in_another_encoding_is_refused(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url, autocommit=True) as other:
        other.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        try:
            with pytest.raises(Misuse, match=r"latin is encoded in LATIN1: make a database WITH ENCODING 'UTF8'"):
                open_store(postgres_server.url.removesuffix("/postgres") + "/latin")
        finally:
            other.execute("DROP DATABASE latin WITH (FORCE)")


@pytest.fixture
def ending(postgres_url: str) -> Iterator[tuple[PostgresStore, Callable[[], int]]]:
    """A store, and what ends its connections at the server, where other tests have some as well. Returns: how many."""
    name = fresh("mine")

    def end() -> int:
        with psycopg.connect(postgres_url, autocommit=True) as other:
            mine = "pg_stat_activity WHERE application_name = %s"
            ended = other.execute(f"SELECT pg_terminate_backend(pid, 60000) FROM {mine}", [name]).fetchall()
        assert all(gone for (gone,) in ended)
        return len(ended)

    with closing(PostgresStore(f"{postgres_url}&application_name={name}")) as store:
        store.open_tables("r", [ACCOUNT])
        yield store, end


def test_connections_that_the_server_has_ended_are_replaced(ending: tuple[PostgresStore, Callable[[], int]]) -> None:
    store, end = ending
    put(store, [Account("ann")], None, 1)
    assert end() > 0
    put(store, [Account("bob")], 1, 2)
    assert len(store.rows(ACCOUNT)) == 2


def test_a_connection_that_ends_within_the_work_writes_nothing(
    ending: tuple[PostgresStore, Callable[[], int]],
) -> None:
    store, end = ending
    put(store, [Account("ann")], None, 1)

    def work(loading: Loading) -> None:
        loading.save(ACCOUNT, [Account("ann", Decimal(9))])
        assert end() > 0
        loading.save(ACCOUNT, [Account("ann", Decimal(10))])

    with pytest.raises(Unavailable, match="postgresql://postgres@127"):
        store.apply("r", {P0: 1}, {P0: 2}, work)
    assert store.rows(ACCOUNT) == [Account("ann")]
    assert store.positions("r") == {P0: 1}


def test_without_the_package_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from headwater.stores.opening import open_store\n"
        "open_store('postgresql://localhost/shop')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (
        "headwater.errors.Misuse: a store in PostgreSQL needs psycopg: pip install 'headwater[postgres]'" in done.stderr
    )
