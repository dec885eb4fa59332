"""What becomes of a record is the same in whichever batch it comes: alone, among few, among many, good ones or bad."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest

from headwater.log.port import Record, StoredRecord
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text
from tests.views.feeding import Fed
from tests.views.orders import TOPIC, OrderEvent

SEED = 20261128

HEAD = '{"eventType":"OrderPlaced","eventVersion":1,"orderId":"%s",'
ITEMS = '"customerId":"c","items":[{"sku":"s","itemPrice":"1","quantity":1}],'
TAIL = '"total":"1","timestamp":"2026-04-12T00:00:00Z"}'


def items(text: str) -> str:
    return f'{HEAD}"customerId":"c","items":{text},{TAIL}'


def one_item(fields: str) -> str:
    return items(f"[{{{fields}}}]")


SAID_TWICE = {
    "a key": HEAD + '"orderId":"twice",' + ITEMS + TAIL,
    "a list": HEAD + ITEMS + '"items":[{"sku":"s","itemPrice":"2","quantity":1}],' + TAIL,
    "a field of an item": one_item('"sku":"s","itemPrice":"1","itemPrice":"7","quantity":1'),
    "a field that is null the first time": HEAD + '"discount":null,"discount":"3",' + ITEMS + TAIL,
    "a field that is null the second time": HEAD + '"discount":"3","discount":null,' + ITEMS + TAIL,
    "a field of another type the first time": HEAD + '"total":"x",' + ITEMS + TAIL,
    "the type": HEAD + ITEMS + '"eventType":"OrderCancelled",' + TAIL,
    "the version": HEAD + ITEMS + '"eventVersion":9,' + TAIL,
    "the version with an escape": HEAD + ITEMS + '"event\\u0056ersion":9,' + TAIL,
    "an unknown field": HEAD + '"zz":1,"zz":2,' + ITEMS + TAIL,
}
NO_JSON = {
    "NaN": HEAD + '"zz":NaN,' + ITEMS + TAIL,
    "-nan": HEAD + '"zz":[1, -nan],' + ITEMS + TAIL,
    "Infinity": HEAD + ITEMS + '"zz": Infinity ,' + TAIL,
    "inf": HEAD + ITEMS + '"zz":{"a":[-inf]},' + TAIL,
    "a comma behind the last field": HEAD + ITEMS + TAIL[:-1] + ",}",
    "a comma behind the last item": items('[{"sku":"s","itemPrice":"1","quantity":1} , ]'),
    "a comment": HEAD + "/*x*/" + ITEMS + TAIL,
    "something behind the end": HEAD + ITEMS + TAIL + "x",
    "half of it": HEAD + ITEMS,
    "a zero in front": one_item('"sku":"s","itemPrice":"1","quantity":01'),
    "a plus sign": HEAD + '"zz":+1,' + ITEMS + TAIL,
    "a control character": HEAD + '"zz":"a\nb",' + ITEMS + TAIL,
    "half a character": HEAD + '"zz":"\\ud800",' + ITEMS + TAIL,
    "apostrophes": HEAD + "'zz':1," + ITEMS + TAIL,
}
WRONG = {
    "a number for text": HEAD + '"customerId":5,"items":[],' + TAIL,
    "text for a list": items('"x"'),
    "text for an item": items('["x"]'),
    "null for an item": items("[null]"),
    "null for a list": items("null"),
    "an object for a list": items('{"sku":"s","itemPrice":"1","quantity":1}'),
    "true for a price": one_item('"sku":"s","itemPrice":true,"quantity":1'),
    "no price": one_item('"sku":"s","quantity":1'),
    "no customer": HEAD + '"items":[],' + TAIL,
    "no total": HEAD + ITEMS + '"timestamp":"2026-04-12T00:00:00Z"}',
    "an unreadable time": HEAD + ITEMS + '"total":"1","timestamp":"soon"}',
    "a price that is none": one_item('"sku":"s","itemPrice":"NaN","quantity":1'),
    "a price without end": one_item('"sku":"s","itemPrice":"Infinity","quantity":1'),
    "half a quantity": one_item('"sku":"s","itemPrice":"1","quantity":1.5'),
    "a quantity as text": one_item('"sku":"s","itemPrice":"1","quantity":"1"'),
    "a huge quantity": one_item('"sku":"s","itemPrice":"1","quantity":99999999999999999999'),
    "a price with many digits": one_item('"sku":"s","itemPrice":"0.00000000001","quantity":1'),
    "the version as text": HEAD.replace(":1,", ':"1",') + ITEMS + TAIL,
}
ODD = {
    "an escape in a name": one_item('"sku":"s","item\\u0050rice":"3","quantity":1'),
    "another case": one_item('"sku":"s","itemPrice":"1","itemprice":"5","quantity":1'),
    "white space": HEAD + ITEMS.replace(":", ": ").replace(",", " ,\n") + TAIL,
    "prose": HEAD + '"zz":"Paris, in June, [sic]: nan, or inf",' + ITEMS + TAIL,
    "the same names inside": HEAD + '"zz":{"orderId":"x","items":[{"itemPrice":"9"}],"eventType":"x"},' + ITEMS + TAIL,
    "exponents": one_item('"sku":"s","itemPrice":"1E1","quantity":1'),
    "a point in front": one_item('"sku":"s","itemPrice":".5","quantity":1'),
    "underscores": one_item('"sku":"s","itemPrice":"1_0","quantity":1'),
    "spaces in a number": one_item('"sku":"s","itemPrice":" 1 ","quantity":1'),
    "no head": '{"orderId":"%s",' + ITEMS + '"eventType":"OrderPlaced",' + TAIL,
    "very deep": HEAD + f'"zz":{"[" * 3000}{"]" * 3000},' + ITEMS + TAIL,
    "no field at all": "{}",
    "nothing": "",
}
WEIRD = SAID_TWICE | NO_JSON | WRONG | ODD

VIEWS = {
    "the seed": "SELECT orderId, SUM(item_price) AS total FROM order-events GROUP BY orderId",
    "counts": "SELECT _key, COUNT(*) AS n FROM order-events GROUP BY _key",
    "no field": "SELECT _key, _offset FROM order-events WHERE _type = 'OrderPlaced'",
    "times": "SELECT _key, MAX(_time) AS last FROM order-events GROUP BY _key",
    "what may be missing": "SELECT orderId, SUM(discount) AS d, MAX(total) AS t FROM order-events GROUP BY orderId",
    "quantities": "SELECT orderId, SUM(quantity) AS n, MIN(customer_id) AS c FROM order-events GROUP BY orderId",
}


def records() -> list[Record]:
    """Each weird one with a good one before it and one behind it, of keys of their own."""
    texts = []
    for name, text in WEIRD.items():
        texts += [(f"before {name}", HEAD + ITEMS + TAIL), (name, text), (f"after {name}", HEAD + ITEMS + TAIL)]
    return [
        StoredRecord(TOPIC, 0, i, key.encode(), text.replace("%s", f"o{i}").encode(), (), 1_780_000_000_000)
        for i, (key, text) in enumerate(texts)
    ]


def fed_in(cuts: Callable[[Sequence[Record]], Sequence[Sequence[Record]]], sql: str) -> tuple[object, object]:
    """Rows and dead letters of a view that is fed so."""
    [view] = plan_views([Text(f"CREATE TABLE v AS {sql}")], catalogue_of([OrderEvent], []))
    with closing(Fed(view)) as fed:
        for batch in cuts(records()):
            fed.feed(batch)
        return sorted(fed.rows(), key=repr), fed.dead()


def at_random(found: Sequence[Record]) -> list[Sequence[Record]]:
    print(f"seed {SEED}")
    chance, cut = random.Random(SEED), list[Sequence[Record]]()
    while found:
        size = chance.choice([1, 2, 3, 10, 40])
        cut, found = [*cut, found[:size]], found[size:]
    return cut


@pytest.mark.parametrize("sql", VIEWS.values(), ids=VIEWS.keys())
def test_a_batch_changes_nothing_of_what_becomes_of_a_record(sql: str) -> None:
    alone = fed_in(lambda found: [[one] for one in found], sql)
    assert fed_in(lambda found: [found], sql) == alone
    assert fed_in(at_random, sql) == alone


@pytest.mark.parametrize("sql", VIEWS.values(), ids=VIEWS.keys())
def test_what_is_no_json_is_a_dead_letter_wherever_it_is_broken(sql: str) -> None:
    _, dead = fed_in(lambda found: [found], sql)
    assert isinstance(dead, dict)
    assert NO_JSON.keys() <= dead.keys()


def test_of_a_field_that_is_said_twice_the_last_one_counts_as_everywhere() -> None:
    rows, dead = fed_in(lambda found: [found], VIEWS["the seed"].replace("orderId", "_key"))
    assert isinstance(rows, list)
    assert isinstance(dead, dict)
    found = dict(rows)
    assert (found["a list"], found["a field of an item"]) == (2, 7)
    assert {"the version", "the version with an escape"} <= dead.keys()
