"""A view whose partitions are in several files equals the same view in one file, wherever the partitions went.

Which process reads a partition changes from batch to batch by a seed; one that is given a partition goes on where it
was with it, or at its beginning. The view in one file is compared with the batch in `test_oracle`.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from headwater.log.port import Log, Record, TopicPartition
from headwater.views.errors import BadStatement
from headwater.views.file import MEMORY, ViewFile
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.shares import put_rows, rows_of
from headwater.views.sharing import parted, tagged
from headwater.views.sources import Catalogue, catalogue_of
from headwater.views.state import compile_view
from headwater.views.texts import Text
from headwater.views.versions import show
from tests.views.comparing import same
from tests.views.feeding import Fed, records_of, small_merges
from tests.views.orders import TOPIC, Order, OrderEvent, OrderPlaced, append, make_log
from tests.views.shapes import SHAPES
from tests.views.test_oracle import events
from tests.views.timed import timed_log

ORDERS = catalogue_of([OrderEvent], [("order", Order)])
TIMED = catalogue_of([OrderPlaced], [])

STATEMENTS = {
    **{one.name: (one.view, ORDERS) for one in SHAPES},
    "states": ("SELECT len(prices) AS n, COUNT(*) AS orders, MAX(id) AS last FROM order-state GROUP BY ALL", ORDERS),
    "rows of states": ("SELECT id, len(prices) AS n FROM order-state", ORDERS),
    "sessions": (
        "SELECT customerId, window_start, window_end, COUNT(*) AS n, COUNT(DISTINCT orderId) AS o, SUM(total) AS s "
        "FROM order-events GROUP BY customerId, SESSION(_time, INTERVAL 5 MINUTE)",
        TIMED,
    ),
    "hops": (
        "SELECT customerId, window_start, COUNT(*) AS n, MIN(total) AS lo FROM order-events "
        "GROUP BY customerId, HOP(_time, INTERVAL 10 MINUTE, INTERVAL 5 MINUTE)",
        TIMED,
    ),
}
FILES = 2


def plan(statement: str, catalogue: Catalogue, options: str = "shared = true") -> View:
    [view] = plan_views(
        [Text(f"CREATE TABLE v WITH ({options}) AS {statement}")], Catalogue(catalogue.sources.values())
    )
    return view


def check(name: str, seed: int) -> None:
    """Raises AssertionError with the seed where the two differ."""
    chance = random.Random(seed)
    statement, catalogue = STATEMENTS[name]
    view = plan(statement, catalogue)
    log: Log = timed_log(chance) if catalogue is TIMED else make_log(2)
    if catalogue is ORDERS:
        append(log, events(chance))
    records = {p: [one for one in records_of(log) if one.partition == p] for p in range(2)}
    with ExitStack() as opened:
        whole = opened.enter_context(closing(Fed(replace(view, shared=False))))
        files = [opened.enter_context(closing(Fed(tagged(view)))) for _ in range(FILES)]
        read = dict.fromkeys(records, 0)
        while any(read[p] < len(records[p]) for p in records):
            owners = {p: chance.randrange(FILES) for p in records}
            for p in records:
                more = records[p][read[p] : read[p] + chance.choice([3, 10, 40])]
                feed(whole, more)
                read[p] += len(more)
                owner = files[owners[p]]
                begun = owner.positions.get(TopicPartition(TOPIC, p), 0)
                feed(owner, [one for one in records[p][: read[p]] if one.offset >= begun])
            found = answered(view, files, owners)
            assert same(found, whole.rows()), f"seed {seed}, {name}: {found} instead of {whole.rows()}"


def feed(fed: Fed, records: Sequence[Record]) -> None:
    if records:
        fed.feed(records)


def answered(view: View, files: Sequence[Fed], owners: dict[int, int], topic: str = TOPIC) -> list[tuple[object, ...]]:
    """The rows over all partitions, each from the file of its owner."""
    kept, compiled = compile_view(tagged(view), "test-view"), compile_view(view, "test-view")
    with closing(ViewFile(MEMORY)) as file, file.writing() as connection:
        for table in parted(kept.tables):
            parts = []
            for i, fed in enumerate(files):
                mine = [TopicPartition(topic, p) for p, owner in owners.items() if owner == i]
                with fed.file.aside() as aside:
                    parts.append((rows_of(aside, table.name, table.fold, mine), mine))
            put_rows(connection, table.name, parts)
        show(connection, view.name, compiled.rows)
        return connection.execute(f'FROM "{view.name}"').fetchall()


@pytest.fixture(autouse=True)
def many_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    small_merges(monkeypatch)


QUICK = ("distinct", "sessions", "states")


@pytest.mark.parametrize(
    "name", [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in STATEMENTS]
)
def test_parts_of_a_view_are_the_view(name: str) -> None:
    check(name, random.randrange(10**6))


@pytest.mark.parametrize(
    ("statement", "options", "why"),
    [
        ("SELECT orderId FROM order-events", "history = true, ", "history"),
        ("SELECT orderId, COUNT(*) AS n FROM order-events GROUP BY orderId", "sink = 'sqlite:///x.db', ", "a sink"),
    ],
)
def test_what_cannot_be_shared_is_refused(statement: str, options: str, why: str) -> None:
    with pytest.raises(BadStatement, match=f"v cannot be shared: .*{why}"):
        plan(statement, ORDERS, f"{options}shared = true")


if __name__ == "__main__":
    for one in STATEMENTS:
        for number in range(int(sys.argv[1])):
            check(one, number)
        print(f"{one}: {sys.argv[1]} seeds", flush=True)
