"""What rows and questions are in a search server: values, order, searches in its own language."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.errors import Misuse, Unavailable
from headwater.stores.opensearch import OpenSearchStore
from headwater.stores.opensearch_queries import PAGE
from headwater.stores.opensearch_values import order_of
from headwater.stores.port import TableSchema
from headwater.stores.typed import rows_as
from headwater.testing.conformance.store import ACCOUNT, EVERYTHING, P0, SAMPLES, Account, Everything, put
from headwater.testing.search import SearchServer


@pytest.fixture
def store(opensearch_url: str) -> Iterator[OpenSearchStore]:
    store = OpenSearchStore(opensearch_url)
    store.open_tables("r", [ACCOUNT])
    yield store
    store.close()


class Odd(msgspec.Struct):
    id: str
    number: int = 0
    maybe: int | None = None
    text: str | None = None
    parts: dict[str, str] = {}
    ratio: float = 0.0
    amount: Decimal | None = None
    at: datetime | None = None
    span: timedelta = timedelta(0)
    raw: bytes = b""


ODD = TableSchema("odd", 1, Odd, ("id",))
words = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\0"\\{}[,_'), max_size=6)
odd_rows = st.builds(
    Odd,
    words,
    st.integers() | st.integers(-(10**30), 10**30),
    st.none() | st.integers(),
    st.none() | words | st.just("long" * 10_000),
    st.dictionaries(words, words, max_size=2),
    st.floats(allow_nan=False),
    st.none() | st.decimals(allow_nan=False),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.timedeltas(),
    st.binary(max_size=4),
)


@pytest.mark.slow
@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(odd_rows, max_size=6, unique_by=lambda row: row.id))
def test_whatever_an_event_may_bring_comes_back_equal(store: OpenSearchStore, rows: list[Odd]) -> None:
    store.forget("odd")
    store.open_tables("odd", [ODD])
    store.apply("odd", {}, {P0: 1}, lambda loading: loading.save(ODD, rows))
    assert store.rows(ODD) == sorted(rows, key=lambda row: row.id)
    for row in rows:
        assert store.row(ODD, (row.id,)) == row
    for row in rows[:2]:
        for name in Odd.__struct_fields__:
            assert row in store.rows(ODD, {name: getattr(row, name)}), name
    for name in ("amount", "at", "span", "raw", "maybe"):
        found = [getattr(row, name) for row in store.rows(ODD, order=[name])]
        small = [value for value in found if not isinstance(value, int) or abs(value) < 2**63]
        assert small == sorted(small, key=lambda value: (value is not None, value)), name


@settings(deadline=None)
@given(st.lists(st.decimals(allow_nan=False) | st.integers(), max_size=8))
def test_texts_sort_as_the_numbers_do(numbers: list[Decimal | int]) -> None:
    exact = [Decimal(number) for number in numbers]
    assert [Decimal(n) for n in sorted(exact, key=order_of)] == sorted(exact)
    assert order_of(Decimal("10.00")) == order_of(10) == order_of(Decimal("1E+1"))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [(Odd("a", text="\ud800"), "column text: .*surrogates"), (Odd("a", number=10**5000), "column number: .*digits")],
)
def test_what_cannot_be_kept_is_misuse(store: OpenSearchStore, row: Odd, complaint: str) -> None:
    store.open_tables("odd", [ODD])
    with pytest.raises(Misuse, match=complaint):
        store.apply("odd", {}, {P0: 1}, lambda loading: loading.save(ODD, [row]))
    assert store.positions("odd") == {}


def test_other_programs_find_rows_by_their_key_and_search_nested_values(
    store: OpenSearchStore, opensearch_server: SearchServer
) -> None:
    prefix = store._connection.address.prefix
    store.open_tables("all", [EVERYTHING])
    store.apply("all", {}, {P0: 1}, lambda loading: loading.save(EVERYTHING, SAMPLES))
    put(store, [Account("ann", Decimal("9.90")), Account("bob")], None, 1)
    store.apply("r", {P0: 1}, {P0: 2}, lambda loading: loading.delete(ACCOUNT, [("bob",)]))
    [index] = opensearch_server.ask("GET", f"/_alias/{prefix}-account")
    assert opensearch_server.ask("GET", f"/{index}/_doc/ann")["_source"]["total"] == "9.90"
    opensearch_server.ask("POST", f"/{prefix}-*/_refresh")
    assert opensearch_server.ask("GET", f"/{prefix}-account/_count")["count"] == 1
    dear = {"range": {"lines.price": {"gt": 11.6}}}
    found = opensearch_server.ask(
        "POST", f"/{prefix}-everything/_search", {"query": {"nested": {"path": "lines", "query": dear}}}
    )
    assert [hit["_source"]["status"] for hit in found["hits"]["hits"]] == ["done"]


# --- questions


@pytest.mark.parametrize(
    ("text", "args", "words"),
    [
        ("SELECT * FROM account", (), 'as JSON .*write {"index"'),
        ('{"query": {"match_all": {}}}', (), "in which table"),
        ('{"index": "acount"}', (), "acount"),
        ('{"index": "account", "query": {"terms": {"name": "?"}}}', (), "understand the query: .*terms"),
        ('{"index": "account", "query": {"colour": {}}}', (), "colour"),
        ('{"index": "account", "query": {"term": {"name": "?"}}}', ("a", "b"), "fewer places"),
        ('{"index": "account", "query": {"terms": {"name": ["?", "?"]}}}', ("a",), "more places"),
        ('{"index": "account", "query": {"term": {"name": ":name"}}}', {"other": 1}, "asks for :name"),
    ],
)
def test_a_wrong_query_is_answered_with_the_servers_words(
    store: OpenSearchStore, text: str, args: Any, words: str
) -> None:
    with pytest.raises(Misuse, match=words):
        list(store.query(text, args))


def test_arguments_stand_for_question_marks_or_names(store: OpenSearchStore) -> None:
    put(store, [Account("ann", Decimal("10.0")), Account("?", Decimal("9.5"))], None, 1)
    asked: list[tuple[str, Any]] = [
        ('{"index": "account", "query": {"range": {"total": {"lt": "?"}}}}', [Decimal("9.51")]),
        ('{"index": "account", "query": {"range": {"total": {"lt": ":t"}}}}', {"t": 9.51}),
        ('{"index": "account", "query": {"term": {"name": "?"}}}', ["?"]),
        ('{"index": "account", "query": {"term": {"name": "?"}}}', []),
        ('{"index": "account", "query": {"terms": {"name": "?"}}}', [["?", "eve"]]),
    ]
    for text, args in asked:
        assert list(rows_as(store.query(text, args), Account)) == [Account("?", Decimal("9.5"))], text


def test_a_long_answer_is_read_while_others_write(store: OpenSearchStore) -> None:
    count = 2 * PAGE + 1
    put(store, [Account(f"a{n:05}", Decimal(n)) for n in range(count)], None, 1)
    answer = iter(store.query('{"index": "account", "sort": ["name"]}'))
    assert next(answer) == ("a00000", "0")
    put(store, [Account(f"a{n:05}", Decimal(-1)) for n in range(count)], 1, 2)
    assert [total for _, total in answer] == [str(n) for n in range(1, count)], "as it was when it was asked"
    assert store.rows(ACCOUNT, limit=1) == [Account("a00000", Decimal(-1))]
    assert len(store.rows(ACCOUNT)) == count
    assert len(list(store.query('{"index": "account", "size": 7}'))) == 7


def test_buckets_are_rows(store: OpenSearchStore) -> None:
    store.open_tables("all", [EVERYTHING])
    rows = [
        Everything(date(2024, 4, n % 3 + 1), "s", n, SAMPLES[0].id, n % 2 == 0, amount=Decimal(n)) for n in range(6)
    ]
    store.apply("all", {}, {P0: 1}, lambda loading: loading.save(EVERYTHING, rows))
    days = '"day": {"date_histogram": {"field": "day", "calendar_interval": "day"}'
    total = '"total": {"sum": {"field": "amount"}}'
    answer = store.query(f'{{"index": "everything", "size": 0, "aggs": {{{days}, "aggs": {{{total}}}}}}}}}')
    assert answer.columns == ("day", "doc_count", "total")
    assert list(answer) == [("2024-04-01", 2, 3.0), ("2024-04-02", 2, 5.0), ("2024-04-03", 2, 7.0)]
    assert list(store.query(f'{{"index": "everything", "size": 0, "aggs": {{{total}}}}}')) == [(15.0,)]


# --- addresses


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("opensearch://localhost/Shop", "'Shop' cannot begin the names of indices"),
        ("opensearch://localhost/shop?colour=red", "no option 'colour'"),
        ("opensearch:///shop", "host"),
        ("opensearch://user:s3cret@localhost:port/shop", "none of a search server"),
    ],
)
def test_an_address_that_is_none_is_misuse(url: str, words: str) -> None:
    with pytest.raises(Misuse, match=words) as caught:
        OpenSearchStore(url)
    assert "s3cret" not in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable_and_no_message_shows_the_password() -> None:
    with pytest.raises(Unavailable, match=r"opensearch://127\.0\.0\.1:1/shop cannot be reached") as caught:
        OpenSearchStore("opensearch://ann:s3cret@127.0.0.1:1/shop")
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__}"
