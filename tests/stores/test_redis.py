"""The store in Redis keeps the contract, on a real server, between processes and over its restarts too."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.errors import Misuse, Unavailable
from headwater.log.port import TopicPartition
from headwater.stores.opening import open_store
from headwater.stores.port import Key, Loading, StaleRunner, Store, TableSchema
from headwater.stores.redis import RedisStore
from headwater.stores.switching import Switch
from headwater.testing.brokers import free_ports
from headwater.testing.conformance.store import ACCOUNT, P0, P1, Account, StoreConformance, put
from headwater.testing.conformance.switching import SwitchingConformance
from headwater.testing.redis import NOTHING_KEPT, RedisServer, start_redis
from tests.orders import Order, OrderPlaced, PlaceOrder


class TestRedisStore(SwitchingConformance, StoreConformance):
    ask: ClassVar[str | None] = None

    @pytest.fixture
    def store(self, redis_url: str) -> Iterator[Store]:
        store = RedisStore(redis_url)
        yield store
        store.close()


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    store = RedisStore(redis_url)
    store.bind("log 1")
    store.open_tables("r", [ACCOUNT])
    yield store
    store.close()


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Any]:
    """Of another program's."""
    with closing(redis.Redis.from_url(redis_server.url, decode_responses=True, socket_timeout=60)) as client:
        yield client


@pytest.fixture
def prefix(redis_url: str) -> str:
    return redis_url.partition("prefix=")[2]


def test_rows_positions_and_shapes_are_there_for_another_process(store: RedisStore, redis_url: str) -> None:
    put(store, [Account("ann", Decimal("1.10"))], None, 5)
    program = (
        "import sys; from headwater.stores.opening import open_store\n"
        "from headwater.testing.conformance.store import ACCOUNT\n"
        "store = open_store(sys.argv[1])\n"
        "print(store.row(ACCOUNT, ('ann',)).total, *store.positions('r').values())"
    )
    done = subprocess.run([sys.executable, "-c", program, redis_url], capture_output=True, text=True, timeout=60)
    assert done.stdout == "1.10 5\n", done.stderr


def test_another_program_reads_a_row_by_the_name_that_the_table_points_to(
    store: RedisStore, client: Any, prefix: str
) -> None:
    put(store, [Account("ann", Decimal("1.10"))], None, 5)
    table = client.get(f"{prefix}:account")
    assert client.hmget(f"{prefix}:{table}:ann", "name", "total") == ["ann", "1.10"]
    assert client.zrange(f"{prefix}:{table}", 0, -1) == ["ann"]
    store.open_tables("r-v2", [TableSchema("account", 2, Account, ("name",))])
    assert client.get(f"{prefix}:account") == "account_v1"
    store.switch(Switch("r-v2", "", [], {"account": 2}, frozenset()), lambda loading: None)
    assert client.get(f"{prefix}:account") == "account_v2"
    store.forget("r-v2")
    assert client.get(f"{prefix}:account") is None


# --- values


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
    clock: time | None = None
    span: timedelta = timedelta(0)


ODD = TableSchema("odd", 1, Odd, ("id",))
words = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\0:%{},"), max_size=6)
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
    st.none() | st.times() | st.times(timezones=st.just(UTC)),
    st.timedeltas(),
)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(odd_rows, max_size=4, unique_by=lambda row: row.id))
def test_whatever_an_event_may_bring_comes_back_equal(store: RedisStore, rows: list[Odd]) -> None:
    store.forget("odd")
    store.open_tables("odd", [ODD])
    store.apply("odd", {}, {P0: 1}, lambda loading: loading.save(ODD, rows))
    assert store.rows(ODD) == sorted(rows, key=lambda row: row.id)
    by_size = sorted(rows, key=lambda row: (row.maybe is not None, row.maybe or 0, row.id))
    assert [row.id for row in store.rows(ODD, order=["maybe"])] == [row.id for row in by_size]
    assert store.rows(ODD, order=["-span"], limit=1) == sorted(rows, key=lambda row: (-row.span, row.id))[:1]
    store.rows(ODD, order=["clock", "parts"])
    for row in rows:
        assert store.row(ODD, (row.id,)) == row
        assert row in store.rows(ODD, {"text": row.text, "parts": row.parts, "number": row.number})
        assert store.rows(ODD, {"id": row.id, "size": row.size}) == [row]
        assert store.rows(ODD, {"id": row.id, "size": 3 - row.size}) == []


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (Odd("a", text="\ud800"), "column text: .*surrogates"),
        (Odd("a", number=10**5000), "column number: .*digits"),
        (Odd("a", level=1), "column level: 1 is no"),  # type: ignore[arg-type] # it is the mistake
        (Odd("a", size=3), "column size: 3 is not"),  # type: ignore[arg-type] # it is the mistake
    ],
)
def test_what_cannot_be_kept_is_misuse(store: RedisStore, row: Odd, complaint: str) -> None:
    store.open_tables("odd", [ODD])
    with pytest.raises(Misuse, match=complaint):
        store.apply("odd", {}, {P0: 1}, lambda loading: loading.save(ODD, [row]))
    assert store.positions("odd") == {}


def test_numbers_that_are_none_sort_first_as_in_the_other_stores(store: RedisStore) -> None:
    class Measured(msgspec.Struct):
        id: int
        ratio: float = 0.0
        total: Decimal = Decimal(0)

    table = TableSchema("measured", 1, Measured, ("id",))
    store.open_tables("m", [table])
    rows = [Measured(10, float("nan"), Decimal("NaN")), Measured(9, 2.0, Decimal(2)), Measured(-1, -1.0, Decimal(-1))]
    store.apply("m", {}, {P0: 1}, lambda loading: loading.save(table, rows))
    assert [row.id for row in store.rows(table)] == [-1, 9, 10]
    assert [row.id for row in store.rows(table, order=["ratio"])] == [10, -1, 9]
    assert [row.id for row in store.rows(table, order=["-total"])] == [9, -1, 10]


class Pair(msgspec.Struct):
    first: str
    second: str
    day: date = date(2024, 1, 1)
    at: datetime = datetime(2024, 1, 1, tzinfo=UTC)


def test_keys_of_several_parts_are_not_taken_for_each_other(store: RedisStore) -> None:
    table = TableSchema("pair", 1, Pair, ("first", "second"))
    store.open_tables("p", [table])
    rows = [Pair(a, b) for a in ("a", "a:", "a%3A", "") for b in ("b", ":b", "%3Ab")]
    store.apply("p", {}, {P0: 1}, lambda loading: loading.save(table, rows))
    assert store.rows(table) == sorted(rows, key=lambda row: (row.first, row.second))
    assert [store.row(table, (row.first, row.second)) for row in rows] == rows


def test_the_first_rows_in_the_order_of_the_key_are_read_alone_where_redis_sorts_such_keys(
    store: RedisStore, client: Any
) -> None:
    by_day = TableSchema("by_day", 1, Pair, ("day", "first"))
    by_time = TableSchema("by_time", 1, Pair, ("at",))
    store.open_tables("p", [by_day, by_time])
    zone = timezone(timedelta(hours=2))
    rows = [
        Pair(f"{n % 7}:{n}", "", date(2024, 1, 1 + n % 3), datetime(2024, 1, 1, n % 24, 0, 0, n % 2, zone))
        for n in range(24)
    ]

    def save(loading: Loading) -> None:
        loading.save(by_day, rows)
        loading.save(by_time, rows)

    store.apply("p", {}, {P0: 1}, save)
    client.config_resetstat()
    assert store.rows(by_day, limit=5) == sorted(rows, key=lambda row: (row.day, row.first))[:5]
    assert store.rows(by_time, limit=5) == sorted(rows, key=lambda row: row.at)[:5]
    assert client.info("commandstats")["cmdstat_hmget"]["calls"] == 10
    wanted = [row for row in rows if row.day.day == 2]
    assert store.rows(by_time, {"day": date(2024, 1, 2)}, limit=3) == sorted(wanted, key=lambda row: row.at)[:3]


def test_a_large_table_is_read_page_by_page(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.stores.redis.PAGE", 100)
    count = 201
    put(store, [Account(f"a{n:06}", Decimal(n)) for n in range(count)], None, 1)
    assert [row.total for row in store.rows(ACCOUNT)] == list(range(count))
    assert store.rows(ACCOUNT, {"total": Decimal(count - 1)}, limit=1) == [
        Account(f"a{count - 1:06}", Decimal(count - 1))
    ]


# --- several runners


def adding(key: str, meanwhile: Callable[[int], None] = lambda attempt: None) -> Callable[[Loading], None]:
    """Adds one to a row. Arguments: meanwhile: called with the number of the attempt when the row was loaded."""
    attempts: list[int] = []

    def work(loading: Loading) -> None:
        row = loading.load(ACCOUNT, [(key,)]).get((key,)) or Account(key)
        attempts.append(1)
        meanwhile(len(attempts))
        row.total += 1
        loading.save(ACCOUNT, [row])

    return work


def other_commit(store: Store, work: Callable[[Loading], None]) -> None:
    """One of partition 1, wherever it stands."""
    at = store.positions("r").get(P1)
    store.apply("r", {} if at is None else {P1: at}, {P1: (at or 0) + 1}, work)


@pytest.mark.parametrize("before", [[], [Account("ann", Decimal(10))]])
def test_a_row_that_another_runner_changes_meanwhile_is_read_again(store: RedisStore, before: list[Account]) -> None:
    put(store, before, None, 1)
    meanwhile = {1: lambda: other_commit(store, adding("ann")), 2: lambda: None}
    store.apply("r", {P0: 1}, {P0: 2}, adding("ann", lambda attempt: meanwhile[attempt]()))
    assert store.rows(ACCOUNT) == [Account("ann", Decimal(len(before) * 10 + 2))]


def test_a_row_that_is_removed_and_made_again_meanwhile_is_read_again(store: RedisStore) -> None:
    put(store, [Account("ann", Decimal(1))], None, 1)

    def replace() -> None:
        other_commit(store, lambda loading: loading.delete(ACCOUNT, [("ann",)]))
        other_commit(store, lambda loading: loading.save(ACCOUNT, [Account("ann", Decimal(5))]))

    meanwhile: dict[int, Callable[[], None]] = {1: replace, 2: lambda: None}
    store.apply("r", {P0: 1}, {P0: 2}, adding("ann", lambda attempt: meanwhile[attempt]()))
    assert store.rows(ACCOUNT) == [Account("ann", Decimal(6))]


def test_a_table_that_is_begun_again_meanwhile_is_read_again(store: RedisStore) -> None:
    put(store, [Account("ann", Decimal(10))], None, 1)

    def begin_again() -> None:
        store.forget("r")
        store.open_tables("r", [ACCOUNT])

    meanwhile: dict[int, Callable[[], None]] = {1: begin_again, 2: lambda: None}
    store.apply("r", {}, {}, adding("ann", lambda attempt: meanwhile[attempt]()))
    assert store.rows(ACCOUNT) == [Account("ann", Decimal(1))]


def test_rows_that_are_exchanged_meanwhile_are_read_again(store: RedisStore) -> None:
    other = TableSchema("account", 2, Account, ("name",))
    store.open_tables("s", [other])
    put(store, [Account("ann", Decimal(10))], None, 1)
    store.apply("s", {}, {P0: 1}, lambda loading: loading.save(other, [Account("ann", Decimal(20))]))
    exchange = Switch("r", "s", ((ACCOUNT, other),), {}, frozenset())
    meanwhile = {1: lambda: store.switch(exchange, lambda loading: None), 2: lambda: None}
    store.apply("r", {}, {}, adding("ann", lambda attempt: meanwhile[attempt]()))
    assert store.rows(ACCOUNT) == [Account("ann", Decimal(21))]
    assert store.rows(other) == [Account("ann", Decimal(10))]


def test_a_row_that_was_only_looked_at_is_compared_too(store: RedisStore) -> None:
    """Otherwise two runners that each look at what the other one writes would both be wrong."""
    seen: list[Account | None] = []

    def copy(loading: Loading) -> None:
        seen.append(loading.load(ACCOUNT, [("from",)]).get(("from",)))
        if len(seen) == 1:
            other_commit(store, lambda other: other.save(ACCOUNT, [Account("from", Decimal(7))]))
        loading.save(ACCOUNT, [Account("to", seen[-1].total if seen[-1] else Decimal(0))])

    store.apply("r", {}, {P0: 1}, copy)
    assert seen == [None, Account("from", Decimal(7))]
    assert store.row(ACCOUNT, ("to",)) == Account("to", Decimal(7))


def test_what_the_work_says_of_a_mixture_of_commits_is_not_believed(store: RedisStore) -> None:
    """Somebody moves all from one row to another between the two looks of a handler."""
    put(store, [Account("from", Decimal(5)), Account("to")], None, 1)
    attempts: list[int] = []

    def audit(loading: Loading) -> None:
        attempts.append(1)
        first = loading.load(ACCOUNT, [("from",)])["from",]
        if len(attempts) == 1:
            moved = [Account("from"), Account("to", Decimal(5))]
            other_commit(store, lambda other: other.save(ACCOUNT, moved))
        if first.total + loading.load(ACCOUNT, [("to",)])["to",].total != 5:
            raise ArithmeticError("money was made")

    store.apply("r", {P0: 1}, {P0: 2}, audit)
    assert len(attempts) == 2


def test_a_row_that_was_loaded_once_is_the_same_for_the_rest_of_the_work(store: RedisStore) -> None:
    put(store, [Account("ann", Decimal(1))], None, 1)
    found: list[dict[Key, Account]] = []

    def work(loading: Loading) -> None:
        first = loading.load(ACCOUNT, [("ann",)])
        first["ann",].total += 100  # not saved
        if not found:
            other_commit(store, adding("ann"))
        found.append(loading.load(ACCOUNT, [("ann",), ("ann",)]))

    store.apply("r", {P0: 1}, {P0: 2}, work)
    assert [rows["ann",].total for rows in found] == [1, 2]


def test_a_runner_that_others_keep_overtaking_gets_its_turn(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.stores.redis_turns.LASTS_S", 600)  # however long this process stands still in it
    others: list[threading.Thread] = []

    def meanwhile(attempt: int) -> None:
        other = threading.Thread(target=other_commit, args=[store, adding("ann")])
        other.start()
        others.append(other)
        other.join(0.2 if attempt > 3 else 60)  # in our turn it waits for us

    store.apply("r", {}, {P0: 1}, adding("ann", meanwhile))
    for other in others:
        other.join(60)
    assert len(others) == 4, "overtaken three times, and not in its turn"
    assert store.rows(ACCOUNT) == [Account("ann", Decimal(5))]


def test_the_turn_of_a_runner_that_died_ends_by_itself(store: RedisStore, client: Any, prefix: str) -> None:
    client.set(f"{prefix}:hw_turn:r", "somebody", px=200)
    put(store, [Account("ann")], None, 1)
    assert store.positions("r") == {P0: 1}


def test_of_two_runners_of_one_partition_one_is_told_so(store: RedisStore) -> None:
    with pytest.raises(StaleRunner):
        store.apply("r", {}, {P0: 1}, adding("ann", lambda _: put(store, [Account("bob")], None, 1)))
    assert store.rows(ACCOUNT) == [Account("bob")]


# --- tables


def test_what_was_forgotten_half_is_gone_before_the_table_is_opened_again(
    store: RedisStore, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, [Account(f"a{n:05}") for n in range(6000)], None, 1)
    with monkeypatch.context() as dying:
        dying.setattr(store, "_sweep", lambda table: None)
        store.forget("r")
    assert store.positions("r") == {}
    with pytest.raises(Unavailable, match="no table account version 1"):
        store.rows(ACCOUNT)
    store.open_tables("r", [ACCOUNT])
    assert store.rows(ACCOUNT) == []
    assert list(client.scan_iter(f"{prefix}:account_v1*")) == []


def test_who_still_fills_a_forgotten_table_does_not_bring_it_back(store: RedisStore, redis_url: str) -> None:
    put(store, [Account("ann")], None, 1)
    with closing(RedisStore(redis_url)) as other:
        other.forget("r")
    with pytest.raises(StaleRunner):
        put(store, [Account("ann")], 1, 2)
    with pytest.raises(Unavailable, match="the tables of r were removed from redis://"):
        put(store, [Account("ann")], None, 2)
    assert store.positions("r") == {}


def test_a_column_that_every_row_has_already_is_refused(store: RedisStore) -> None:
    class Marked(msgspec.Struct):
        name: str
        _hw: int = 0

    with pytest.raises(Misuse, match="no column can be called _hw"):
        store.open_tables("m", [TableSchema("marked", 1, Marked, ("name",))])


def test_a_key_of_another_type_under_our_name_stops_a_write_before_it_begins(
    store: RedisStore, client: Any, prefix: str
) -> None:
    client.set(f"{prefix}:account_v1:bob", "of another program")
    with pytest.raises(Misuse, match=f"another program has keys .*same prefix in redis://.*{prefix}"):
        put(store, [Account("ann"), Account("bob")], None, 1)
    assert store.rows(ACCOUNT) == []
    assert store.positions("r") == {}


# --- servers and addresses


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts a server of this test's own."""
    started: list[RedisServer] = []

    def start(**given: str) -> RedisServer:
        settings = NOTHING_KEPT | {name.replace("_", "-"): value for name, value in given.items()}
        started.append(start_redis(tmp_path / f"redis{len(started)}", settings))
        return started[-1]

    yield start
    for server in started:
        server.delete()


def test_a_server_that_would_evict_rows_is_refused(own_server: Callable[..., RedisServer]) -> None:
    server = own_server(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    with pytest.raises(Misuse, match=r"127\.0\.0\.1.*maxmemory-policy allkeys-lru.*Set maxmemory-policy noeviction"):
        RedisStore(server.url)


def test_a_cluster_is_refused(own_server: Callable[..., RedisServer]) -> None:
    bus = str(next(free_ports()))  # by itself it is the server's port and 10,000, where some client may sit
    with pytest.raises(Misuse, match="part of a Redis cluster"):
        RedisStore(own_server(cluster_enabled="yes", cluster_port=bus).url)


def test_a_full_server_takes_a_whole_batch_or_nothing_of_it(own_server: Callable[..., RedisServer]) -> None:
    server = own_server(maxmemory="12mb", maxmemory_policy="noeviction")
    with closing(RedisStore(server.url)) as store:
        store.open_tables("r", [ACCOUNT])

        def fill(batch: int) -> None:
            rows = [Account(f"{batch}-{n} " + "x" * 1000) for n in range(1000)]
            put(store, rows, batch or None, batch + 1)

        refusal = r"no memory left.*nothing of this write was kept"
        with pytest.raises(Unavailable, match=refusal):  # noqa: PT012 -- nobody knows which one
            for batch in range(100):
                fill(batch)
        [at] = store.positions("r").values()
        assert len(store.rows(ACCOUNT)) == 1000 * at
        with closing(redis.Redis.from_url(server.url, socket_timeout=60)) as client:
            client.config_set("maxmemory", "200mb")
        fill(at)
        assert len(store.rows(ACCOUNT)) == 1000 * (at + 1)


def test_a_server_that_comes_back_empty_is_filled_again_from_the_log(own_server: Callable[..., RedisServer]) -> None:
    server = own_server()
    with closing(RedisStore(server.url)) as store:
        store.bind("log 1")
        store.open_tables("r", [ACCOUNT], "code")
        put(store, [Account("ann", Decimal(1))], None, 5)
        server.kill()
        with pytest.raises(Unavailable, match=r"redis://127\.0\.0\.1"):
            put(store, [Account("ann", Decimal(2))], 5, 6)
        server.start()
        with pytest.raises(StaleRunner):
            put(store, [Account("ann", Decimal(2))], 5, 6)
        with pytest.raises(StaleRunner, match="lost the tables of r"):
            put(store, [Account("ann", Decimal(1))], None, 5)
        put(store, [Account("ann", Decimal(1))], None, 5)
        assert store.rows(ACCOUNT) == [Account("ann", Decimal(1))]
        assert store.open_tables("r", [ACCOUNT], "new code") == "code"
        server.kill()
        server.start()
        assert store.positions("r") == {}
        assert store.rows(ACCOUNT) == [], "who asks for positions finds the tables, too"
        with pytest.raises(Misuse, match="made from the log log 1"):
            store.bind("log 2")


def test_a_connection_is_encrypted_and_the_server_is_known_by_its_certificate(
    own_server: Callable[..., RedisServer], tmp_path: Path
) -> None:
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*made, *subject], cwd=tmp_path, check=True, capture_output=True)
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    port = next(free_ports())
    own_server(
        tls_port=str(port),
        tls_cert_file=str(certificate),
        tls_key_file=str(key),
        tls_ca_cert_file=str(certificate),
        tls_auth_clients="yes",
    )
    files = (
        f"ssl_ca_certs={quote(str(certificate))}&ssl_certfile={quote(str(certificate))}&ssl_keyfile={quote(str(key))}"
    )
    with closing(open_store(f"rediss://127.0.0.1:{port}/1?prefix=shop&{files}")) as store:
        store.open_tables("r", [ACCOUNT])
        put(store, [Account("ann")], None, 1)
        assert store.rows(ACCOUNT) == [Account("ann")]
    with pytest.raises(Unavailable, match=r"(?i)certificate"):
        open_store(f"rediss://127.0.0.1:{port}/1")


def test_databases_and_prefixes_keep_stores_apart(redis_server: RedisServer, redis_url: str, store: RedisStore) -> None:
    put(store, [Account("ann")], None, 1)
    for url in (redis_url.replace("/0?", "/1?"), f"{redis_url}-other"):
        with closing(RedisStore(url)) as other:
            assert other.positions("r") == {}
            other.bind("log 2")
    with closing(redis.Redis.from_url(redis_server.url, db=1, socket_timeout=60)) as client:
        client.flushdb()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://u:s3cret@/0", "write redis://"),
        ("redis://u:s3cret@host:port/0", "write redis://"),
        ("redis://u:s3cret@host/shop", "write redis://"),
        ("redis://u:s3cret@host/0?prefix=a b", "cannot begin the names of keys"),
        ("redis://u:s3cret@host/0?retry=yes", "option 'retry': redis:// takes prefix"),
        ("redis://u:s3cret@host/0?ssl_keyfile=x", "option 'ssl_keyfile': redis:// takes prefix"),
        ("redis://u:s3cret@127.0.0.1:1/0", r"redis://127\.0\.0\.1:1/0\?prefix=headwater: .*refused"),
        ("redis+sentinel://u:s3cret@host/0", r"u:\*\*\*@host"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_without_its_password(url: str, words: str) -> None:
    with pytest.raises((Misuse, Unavailable), match=words) as caught:
        open_store(url)
    assert "s3cret" not in str(caught.value)


def test_a_password_is_asked_for(own_server: Callable[..., RedisServer]) -> None:
    server = own_server()
    with closing(redis.Redis.from_url(server.url, socket_timeout=60)) as client:
        client.execute_command("ACL", "SETUSER", "shop", "on", ">right:@/", "~shop:*", "+@all")
        client.execute_command("ACL", "SETUSER", "default", "off")
    place = f"127.0.0.1:{server.port}/0?prefix=shop"
    for credentials in ("", "shop:wrong@"):
        with pytest.raises(Unavailable, match="does not accept the user or the password"):
            open_store(f"redis://{credentials}{place}")
    with closing(open_store(f"redis://shop:{quote('right:@/', safe='')}@{place}")) as store:
        store.open_tables("r", [ACCOUNT])
        put(store, [Account("ann")], None, 1)


def test_a_script_that_the_server_has_forgotten_is_sent_again(store: RedisStore, client: Any) -> None:
    put(store, [Account("ann")], None, 1)
    client.script_flush()
    put(store, [Account("bob")], 1, 2)
    assert len(store.rows(ACCOUNT)) == 2


def test_connections_that_the_server_has_ended_are_replaced(store: RedisStore, client: Any) -> None:
    put(store, [Account("ann")], None, 1)
    client.client_kill_filter(_type="normal", skipme=True)
    put(store, [Account("bob")], 1, 2)
    assert len(store.rows(ACCOUNT)) == 2


def test_a_replica_can_be_read_and_is_not_written(own_server: Callable[..., RedisServer]) -> None:
    primary = own_server(repl_diskless_sync_delay="0")
    with closing(RedisStore(primary.url)) as store:
        store.open_tables("r", [ACCOUNT])
        put(store, [Account("ann")], None, 1)
    replica = own_server(replicaof=f"127.0.0.1 {primary.port}")
    with closing(redis.Redis.from_url(primary.url, socket_timeout=120)) as client:
        client.set("last", "written")  # of one who has written nothing, a replica has all before it has loaded anything
        assert client.wait(1, 100_000) == 1
    with closing(open_store(replica.url)) as reading:
        assert reading.rows(ACCOUNT) == [Account("ann")]
        with pytest.raises(Unavailable, match="can only be read now"):
            put(reading, [Account("bob")], 1, 2)


def test_without_the_package_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "from headwater.stores.opening import open_store\n"
        "open_store('redis://localhost/0')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "headwater.errors.Misuse: a store in Redis needs its client: pip install 'headwater[redis]'" in done.stderr


def test_partitions_of_any_topic_are_told_apart(store: RedisStore) -> None:
    odd = TopicPartition("a.b-c_d", 12)
    store.apply("r", {}, {odd: 2**53 + 1}, lambda loading: None)
    assert store.positions("r") == {odd: 2**53 + 1}


class Total(hw.Projection):
    name: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(OrderPlaced, key=lambda event, meta: "all")
    def placed(self, event: OrderPlaced) -> None:
        self.total += event.total


def test_an_app_keeps_its_read_models_there(redis_url: str, tmp_path: Path) -> None:
    app = hw.App("shop", aggregates=[Order], projections=[Total])
    log = f"sqlite:///{tmp_path}/log.db"
    for total in (Decimal("1.10"), Decimal("2.20")):
        with app.run(log, store=redis_url) as shop:
            receipt = shop.send(PlaceOrder(f"o{total}", Decimal("1.10")), timeout_s=60)
            assert shop.row(Total, "all", after=receipt, timeout_s=60) == Total("all", total)
            with pytest.raises(Misuse, match="Redis has no SQL"):
                shop.query("SELECT * FROM total", into=Total)
