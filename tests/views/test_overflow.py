"""A record that would make a sum larger than it can be is a dead letter, whatever batch it comes in; the view and its
other groups go on."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.errors import Misuse
from headwater.log.port import Record
from headwater.views import merging, room
from headwater.views.errors import BadStatement
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text
from tests.views.feeding import Fed, records_of
from tests.views.orders import Item, OrderEvent, OrderPlaced, append, make_log

HALF = Decimal("6e28")
"""Two of them do not fit in DECIMAL(38,9)."""

SUMS = "SELECT customerId, SUM(item_price) AS s, COUNT(*) AS n FROM order-events GROUP BY customerId"
QUERIES = {
    "grouped": SUMS,
    "of all": "SELECT SUM(item_price) AS s, COUNT(*) AS n FROM order-events",
    "of a view": "SELECT who, SUM(s) AS s, COUNT(*) AS n FROM each_order GROUP BY who",
    "windowed": "SELECT customerId, SUM(item_price) AS s, COUNT(*) AS n FROM order-events "
    "GROUP BY customerId, TUMBLE(_time, INTERVAL '1000 days', grace => INTERVAL '1 day')",
    "sessions": "SELECT customerId, SUM(item_price) AS s, COUNT(*) AS n FROM order-events "
    "GROUP BY customerId, SESSION(_time, INTERVAL '1000 days')",
}
INNER = "CREATE TABLE each_order AS SELECT orderId, LATEST(customerId) AS who, SUM(item_price) AS s FROM order-events "


def view_of(query: str, options: str = "") -> View:
    texts = [Text(f"{INNER} GROUP BY orderId;")] if "each_order" in query else []
    return plan_views([*texts, Text(f"CREATE TABLE v {options} AS {query}")], catalogue_of([OrderEvent], []))[-1]


def orders(*prices: str | Decimal, who: str = "big") -> list[OrderPlaced]:
    return [OrderPlaced(f"{who}{i}", who, [Item("a", Decimal(one))], Decimal(0)) for i, one in enumerate(prices)]


def records(events: Sequence[OrderPlaced]) -> list[Record]:
    log = make_log(1)
    append(log, events)
    return records_of(log)


def batches(of: Sequence[Record], sizes: Iterator[int]) -> Iterator[Sequence[Record]]:
    first = 0
    while first < len(of):
        size = next(sizes)
        yield of[first : first + size]
        first += size


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("query", QUERIES)
def test_the_record_that_does_not_fit_is_a_dead_letter_whatever_the_batches(
    query: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "MERGE_ROWS", 2)
    with closing(Fed(view_of(QUERIES[query]))) as fed:
        for some in batches(records(orders("1", HALF, HALF, "2", HALF, "3")), iter(lambda: size, 0)):
            fed.feed(some)
        told = fed.dead()
        assert told.keys() == {"big2", "big4"}
        assert all("the sum in column s of view v would no longer fit in DECIMAL(38,9)" in one for one in told.values())
        assert fed.rows("SELECT s, n FROM v") == [(Decimal("60000000000000000000000000006"), 4)]


@pytest.mark.parametrize("options", ["WITH (history = true)", "WITH (shared = true)"])
@pytest.mark.parametrize("place", [":memory:", "sqlite:///{}/views.db#shop"])
def test_it_is_the_same_with_another_kind_of_state(options: str, place: str, tmp_path: Path) -> None:
    with closing(Fed(view_of(SUMS, options), place.format(tmp_path))) as fed:
        for one in records(orders("1", HALF, HALF, "2")):
            fed.feed([one])
        assert fed.dead().keys() == {"big2"}
        assert fed.rows("SELECT n FROM v") == [(3,)]


@pytest.mark.parametrize("sign", [1, -1])
def test_what_fits_follows_from_the_log_alone(sign: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(merging, "MERGE_ROWS", 5)
    monkeypatch.setattr(room, "ROWS", 3)
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    events, expected, dead = list[OrderPlaced](), dict[str, int](), set[str]()
    for i in range(80):
        price = chance.choice([1, 10**20, 10**27, 3 * 10**28, 5 * 10**28, 9 * 10**28])
        who = chance.choice("abcdefgh")
        key = f"{who}{i}"
        events.append(OrderPlaced(key, who, [Item("a", Decimal(sign * price))], Decimal(0)))
        if expected.get(who, 0) + price < 10**29:
            expected[who] = expected.get(who, 0) + price
        else:
            dead.add(key)
    assert dead
    path, of = tmp_path / "views.duckdb", records(events)
    for some in batches(of, iter(lambda: chance.randrange(1, 20), 0)):
        with closing(Fed(view_of(SUMS), path)) as fed:
            fed.feed(some)
            assert fed.dead().keys() <= dead
    with closing(Fed(view_of(SUMS), path)) as fed:
        assert dict(fed.rows("SELECT customerId, s::HUGEINT FROM v")) == {
            who: sign * total for who, total in expected.items()
        }
        assert fed.dead().keys() == dead


def test_other_groups_go_on(tmp_path: Path) -> None:
    with closing(Fed(view_of(SUMS))) as fed:
        fed.feed(records([*orders(HALF, HALF), *orders("5", who="bob")]))
        fed.feed(records(orders("7", who="carl")))
        assert fed.dead().keys() == {"big1"}
        assert sorted(fed.rows("SELECT customerId, s FROM v WHERE s < 100")) == [
            ("bob", Decimal(5)),
            ("carl", Decimal(7)),
        ]


def test_rows_of_both_signs_that_come_to_little_stay_in_it() -> None:
    amounts = [Decimal(sign) * 10**28 for sign in (1, -1) * 8]  # together, without their signs, they do not fit
    with closing(Fed(view_of(SUMS))) as fed:
        for one in records(orders(*amounts, "3")):
            fed.feed([one])
        assert fed.dead() == {}
        assert fed.rows() == [("big", Decimal(3), 17)]


def test_whatever_goes_up_and_down_the_view_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MERGE_ROWS", 5)
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    prices = {f"{chance.choice('abcd')}{i}": chance.choice([-6, -3, 3, 6]) * 10**28 for i in range(60)}
    events = [OrderPlaced(key, key[0], [Item("a", Decimal(one))], Decimal(0)) for key, one in prices.items()]
    with closing(Fed(view_of(SUMS))) as fed:
        for some in batches(records(events), iter(lambda: chance.randrange(1, 4), 0)):
            fed.feed(some)
            fed.rows()
        expected: dict[str, int] = {}
        for key in prices.keys() - fed.dead().keys():
            expected[key[0]] = expected.get(key[0], 0) + prices[key]
        assert dict(fed.rows("SELECT customerId, s::HUGEINT FROM v")) == expected


@pytest.mark.parametrize(
    ("column", "having", "where"),
    [
        ("SUM(item_price)::TINYINT", "", "column s"),
        ("SUM(item_price)", " HAVING SUM(item_price)::TINYINT > 1", "HAVING"),
    ],
)
def test_what_a_group_has_come_to_and_does_not_go_with_the_statement_is_told_with_its_place(
    column: str, having: str, where: str
) -> None:
    query = f"SELECT customerId, {column} AS s FROM order-events GROUP BY customerId{having}"
    with closing(Fed(view_of(query))) as fed:
        fed.feed(records([*orders("100", "100", who="ann"), *orders("5", who="bob")]))
        with pytest.raises(Misuse, match=f"^view v, {where} does not go with the group {{'customerId': ann}}: .*WHERE"):
            fed.rows()
        assert fed.rows("SELECT * FROM v WHERE customerId = 'bob'") == [("bob", 5)]
        assert fed.rows("SELECT count(*) FROM v WHERE customerId = 'bob'") == [(1,)]


def test_a_sum_of_products_that_leaves_few_digits_is_refused() -> None:
    query = "SELECT customerId, {} AS s FROM order-events GROUP BY customerId"
    with pytest.raises(BadStatement, match=r"27 digits after the point.* 11 before it: cast a product"):
        view_of(query.format("SUM(total * discount * total)"))
    view_of(query.format("SUM((total * discount)::DECIMAL(38,9) * total)"))
    view_of(query.format("SUM(total * discount * 0.19)"))
