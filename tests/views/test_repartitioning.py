"""A shared view that joins equals what DuckDB says of all events so far, wherever its partitions went.

The records of both sides are brought together in a topic of the view's own, whose partitions are in several files;
which file has one changes from batch to batch by a seed. `python -m tests.views.test_repartitioning 300` takes as many
seeds per shape as it is told.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from decimal import Decimal
from itertools import islice

import pytest

from headwater.failures.held import Shelves
from headwater.failures.parking import Parking, place_of
from headwater.failures.policy import stop
from headwater.log.port import NewRecord, Record, StoredRecord, TopicPartition
from headwater.messages.envelope import EPOCH
from headwater.schemas.topics import PLAIN
from headwater.views.errors import BadStatement
from headwater.views.file_tables import stored_marks
from headwater.views.nesting import leaves
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.repartitioning import ROUTED, Router, as_read, reached_in
from headwater.views.sharing import tagged
from headwater.views.texts import Text
from tests.views.comparing import same
from tests.views.feeding import Fed, small_merges
from tests.views.shopping import DESCRIBED, SaleMade, batches, catalogue, events, log_of, records_of
from tests.views.test_joins import BEFORE, SHAPES, Oracle, oracle_of
from tests.views.test_sharing import answered

ROUTABLE = [
    "inner",
    "inner folded",
    "left",
    "left folded",
    "right",
    "two keys",
    "as it was",
    "as it was, folded",
    "two streams",
    "two streams, left",
]
QUICK = ("left folded",)
FILES, TOPIC = 2, "v-repartition"


def plan(sql: str) -> View:
    text = f"{DESCRIBED}{BEFORE}CREATE TABLE v WITH (shared = true) AS {sql}"
    return next(one for one in plan_views([Text(text)], catalogue()) if one.name == "v")


def check(name: str, seed: int) -> None:
    """Raises AssertionError with the seed where the view is another than the oracle's."""
    chance = random.Random(seed)
    found = list(events(chance))
    records = records_of(found, random.Random(seed))
    view, log = plan(SHAPES[name]), log_of(found)
    oracle = Oracle(
        {kind.name for one in leaves(view) if one.origin == "events" for kind in one.types}, oracle_of(name)
    )
    router = Router(view, TOPIC, log, PLAIN)
    with ExitStack() as opened:
        opened.enter_context(closing(oracle))
        opened.enter_context(closing(router))
        router.open()
        files = [opened.enter_context(closing(Fed(tagged(view)))) for _ in range(FILES)]
        routed: dict[int, list[Record]] = {p: [] for p in range(log.topics([TOPIC])[TOPIC].partitions)}
        positions: dict[TopicPartition, int] = {}
        for parts in batched(batches(chance, records), 4):
            batch = [one for part in parts for one in part]
            oracle.add(batch)
            batch = [one for one in batch if one.topic in router.sources]
            positions |= {TopicPartition(one.topic, one.partition): one.offset + 1 for one in batch}
            made = router.made(batch, Parking(stop(), Shelves(), EPOCH), False)
            for one in [*made, *router.marks(positions)]:
                routed[one.partition].append(stored(one, len(routed[one.partition])))
            owners = {p: chance.randrange(FILES) for p in routed}
            for p, owner in owners.items():
                begun = files[owner].positions.get(TopicPartition(TOPIC, p), 0)
                files[owner].feed(routed[p][begun:])
                assert marks_of(files[owner], p) == positions, f"seed {seed}, {name}"
            rows, wanted = answered(view, files, owners, TOPIC), oracle.rows()
            assert same(rows, wanted), f"seed {seed}, {name}: {rows} instead of {wanted}"


def batched(found: Iterable[list[Record]], count: int) -> Iterator[list[list[Record]]]:
    """So many at a time: what is compared takes longer than what is read."""
    one = iter(found)
    while several := list(islice(one, count)):
        yield several


def stored(one: NewRecord, offset: int) -> Record:
    return StoredRecord(one.topic, one.partition, offset, one.key, one.value, one.headers, 0)


def marks_of(fed: Fed, partition: int) -> dict[TopicPartition, int]:
    """How far the sources were read, as a partition says."""
    with fed.file.aside() as connection:
        said = stored_marks(connection, fed.model.runner)
    return {TopicPartition(topic, p): position for place, topic, p, position in said if place == partition}


@pytest.fixture(autouse=True)
def many_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    small_merges(monkeypatch)


@pytest.mark.parametrize(
    "name", [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in ROUTABLE]
)
def test_parts_of_a_join_are_the_join(name: str) -> None:
    check(name, random.randrange(10**6))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("two tables", "a state by its id"),
        ("three", "more than two"),
        ("elements", "UNNEST afterwards"),
        ("a view", "join topics and states"),
        ("others, left", "replaced from another partition"),
    ],
)
def test_what_cannot_be_brought_together_is_refused(name: str, why: str) -> None:
    with pytest.raises(BadStatement, match=f"v cannot be shared: .*{why}"):
        plan(SHAPES[name])


def test_what_expires_is_refused() -> None:
    within = "JOIN buyer-events m WITHIN (INTERVAL 3 MINUTE, grace => INTERVAL 1 MINUTE) ON e.buyer = m.name"
    with pytest.raises(BadStatement, match="leave the grace out"):
        plan(f"SELECT e.sale, m.region FROM sale-events e {within}")


def test_keys_whose_equal_values_are_written_otherwise_are_refused() -> None:
    with pytest.raises(BadStatement, match="by texts and whole numbers"):
        plan("SELECT e.sale FROM sale-events e JOIN buyer-events b WITHIN INTERVAL 1 HOUR ON e.amount = b.paid")


def test_a_record_comes_out_as_it_went_in() -> None:
    view = plan(SHAPES["inner"])
    found = list(events(random.Random(5)))
    records = [one for one in records_of(found) if one.topic == "sale-events"]
    with closing(Router(view, TOPIC, log_of(found), PLAIN)) as router:
        router.open()
        made = router.made(records, Parking(stop(), Shelves(), EPOCH), False)
        assert made
        known = {place_of(one): one for one in records}
        for one in made:
            record = as_read(stored(one, 0), "r0")
            before = known[place_of(record)]
            assert (record.key, record.value, record.timestamp_ms) == (before.key, before.value, before.timestamp_ms)
            assert ROUTED not in dict(record.headers)
            assert as_read(stored(one, 0), "r1").topic == ""  # the buyers are others
            assert reached_in(stored(one, 0)) == []


def test_a_key_that_cannot_be_computed_is_that_record_s_trouble() -> None:
    # not a text that cannot be converted: DuckDB says that it does not support the zone
    sql = (
        "SELECT e.sale, m.region FROM sale-events e JOIN buyer-events m "
        "WITHIN INTERVAL 1 HOUR ON (e._time AT TIME ZONE e.buyer)::VARCHAR = m.name"
    )
    found = [SaleMade("1", "UTC", Decimal(1), []), SaleMade("2", "Atlantis", Decimal(1), [])]
    with closing(Router(plan(sql), TOPIC, log_of(found), PLAIN)) as router:
        router.open()
        good, bad = sorted(records_of(found), key=lambda one: b"Atlantis" in (one.value or b""))
        assert len(router.made([good], Parking(stop(), Shelves(), EPOCH), False)) == 1
        parking = Parking(stop(), Shelves(), EPOCH)
        assert router.made([bad], parking, False) == []
        assert "Atlantis" in str(parking.pauses[TopicPartition(bad.topic, bad.partition)].cause)


if __name__ == "__main__":
    for shape in ROUTABLE:
        for number in range(int(sys.argv[1])):
            check(shape, number)
        print(f"{shape}: {sys.argv[1]} seeds", flush=True)
