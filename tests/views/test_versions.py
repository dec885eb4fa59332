"""Which version of a view queries find, and how two of them compare."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import duckdb
import msgspec
import pytest

import headwater as hw
from headwater.environment import SYSTEM
from headwater.errors import Unavailable
from headwater.failures.held import Asked, tables_of
from headwater.log.port import TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.operations.deadletters_places import OfView
from headwater.stores.switching import Behind
from headwater.testing.waiting import eventually
from headwater.views.comparing import Rows, difference
from headwater.views.file import MEMORY, ViewFile
from headwater.views.file_tables import move_positions, stored_positions
from headwater.views.versions import Shown, Version, Versions
from tests.views.orders import append, make_log, placed

P0 = TopicPartition("order-events", 0)


@pytest.fixture
def file() -> Iterator[ViewFile]:
    with closing(ViewFile(MEMORY)) as file:
        yield file


def version(runner: str, *, at_word: bool = False) -> Version:
    return Version("sums", runner, runner, ("the statement",), f"SELECT '{runner}' AS made_by", at_word=at_word)


def reached(file: ViewFile, runner: str, position: int) -> None:
    with file.writing() as connection:
        move_positions(connection, runner, stored_positions(connection, runner), {P0: position})


def found(file: ViewFile) -> str:
    with file.aside() as connection:
        [(name,)] = connection.execute("SELECT made_by FROM sums").fetchall()
    return str(name)


def test_a_changed_statement_is_shown_when_it_is_as_far_and_the_one_before_is_kept(file: ViewFile) -> None:
    versions = Versions(file)
    versions.declare(version("a"))
    versions.made("a")
    reached(file, "a", 10)
    versions.declare(version("b"))
    versions.made("b")
    for position, shown in ((9, "a"), (10, "b")):
        reached(file, "b", position)
        versions.look("b")
        assert found(file) == shown
    again = Versions(file)
    assert {one.runner: one.state for one in again.of("sums")} == {"a": "before", "b": "shown"}
    reached(file, "b", 11)
    with pytest.raises(Behind, match=r"shows the rows of position 11 of order-events/0, and those .* have come to 10"):
        again.switch("a")
    reached(file, "a", 11)
    again.switch("a")
    again.look("b")  # a way back is not gone again by itself
    assert found(file) == "a"
    assert again.of("sums")[-1] == msgspec.structs.replace(version("b", at_word=True), state="beside")


def test_what_an_operator_asked_for_waits_for_a_word(file: ViewFile) -> None:
    versions = Versions(file)
    for name in ("a", "b"):
        versions.declare(version(name, at_word=name == "b"))
        versions.made(name)
        reached(file, name, 5)
    versions.look("b")
    assert found(file) == "a"
    versions.switch("b")
    assert found(file) == "b"
    versions.drop("a")
    assert [one.runner for one in Versions(file).of("sums")] == ["b"]


ASKED = Asked("7", "retry", *P0, 3, False, None, "user:ann", "", SYSTEM.now())


def test_nobody_waits_for_a_retry_in_rows_that_have_no_reader_any_more(file: ViewFile) -> None:
    Versions(file).declare(version("a"))
    file.open_tables("a", list(tables_of("a")))
    again = Versions(file)  # in a process whose classes are others
    again.declare(version("b"))
    with pytest.raises(Unavailable, match=r"are made anew.*hw rebuild sums --status"):
        Shown(file, again, "sums", "b").letters.ask(ASKED)
    assert file.rows(tables_of("a").asked) == []
    again.declare(version("a"))  # they can still be maintained
    Shown(file, again, "sums", "b").letters.ask(ASKED)
    assert file.rows(tables_of("a").asked) == [ASKED]


def test_a_retry_in_rows_that_queries_no_longer_find_has_an_answer(file: ViewFile) -> None:
    versions = Versions(file)
    for name in ("a", "b"):
        versions.declare(version(name))
        file.open_tables(name, list(tables_of(name)))
        versions.made(name)
    place = OfView(lambda: Shown(file, versions, "sums", "b").letters, SYSTEM)
    place.ask(ASKED)
    assert place.line(ASKED) is None
    versions.switch("b")
    with pytest.raises(Unavailable, match="rows that were made anew"):
        place.line(ASKED)


@pytest.mark.parametrize("key", [(), ("k",)])
def test_a_comparison_counts_what_differs(key: tuple[str, ...]) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    with duckdb.connect() as connection:
        for _ in range(20):
            sides = []
            for name in ("old", "new"):
                keys = chance.sample([None, *range(9)], 6) if key else chance.choices([None, 1, 2], k=6)
                rows = [(one, chance.choice([None, "x", "y"])) for one in keys]
                connection.execute(f"CREATE OR REPLACE TABLE {name} (k INTEGER, v VARCHAR)")
                connection.executemany(f"INSERT INTO {name} VALUES (?, ?)", [list(row) for row in rows])
                sides.append(rows)
            one = difference(connection, Rows("SELECT * FROM old", key), Rows("SELECT * FROM new", key))
            if key:
                old, new = dict(sides[0]), dict(sides[1])
                gone, came = len(old.keys() - new.keys()), len(new.keys() - old.keys())
                changed = sum(old[each] != new[each] for each in old.keys() & new.keys())
            else:
                counts = [Counter(side) for side in sides]
                gone, came, changed = (counts[0] - counts[1]).total(), (counts[1] - counts[0]).total(), 0
            assert (one.only_old, one.only_new, one.changed) == (gone, came, changed)
            assert (one.old_hash == one.new_hash) == (sorted(map(str, sides[0])) == sorted(map(str, sides[1])))
            if key:
                assert len(one.examples) == min(10, gone + came + changed)


def test_columns_and_types_are_compared_and_doubles_with_a_tolerance() -> None:
    old = "SELECT 1 AS k, 0.1::DOUBLE + 0.2::DOUBLE AS d, 5 AS n, 'x' AS gone"
    new = "SELECT 1 AS k, 0.3::DOUBLE AS d, 5.0::DECIMAL(9, 2) AS n, 'y' AS came"
    with duckdb.connect() as connection:
        one = difference(connection, Rows(old, ("k",)), Rows(new, ("k",)))
        assert (one.changed, one.gone, one.added) == (0, [("gone", "VARCHAR")], [("came", "VARCHAR")])
        assert one.retyped == [("n", "INTEGER", "DECIMAL(9,2)")]
        one = difference(connection, Rows(old, ("k",)), Rows(new.replace("0.3", "0.31"), ("k",)))
    [example] = one.examples
    assert (example.key, example.new) == ({"k": 1}, {"d": 0.31})


def app_of(quantity: type) -> hw.App:
    """The same events, read with another type of a field."""

    class Item(hw.Value):
        quantity: quantity  # type: ignore[valid-type] # given when it runs

    class OrderEvent(hw.Event, entity="order"):
        order_id: hw.Key[str]

    class OrderPlaced(OrderEvent):
        items: list[Item]

    return hw.App("shop", events=[OrderEvent], views="*.sql")


def test_rows_whose_events_are_read_otherwise_by_now_stay_until_new_ones_are_as_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pieces.sql").write_text("CREATE TABLE pieces AS SELECT SUM(quantity) AS n FROM order-events;")
    log, ask = SqliteLog(tmp_path / "log.db"), "SELECT n FROM pieces"
    with closing(log):
        make_log(1, log)
        append(log, [placed("1", "2.5"), placed("2", "2.5")])
        with app_of(int).run(log) as shop:
            eventually(lambda: shop.lag()["pieces"] == 0)
            assert shop.query(ask, into=Decimal) == [2]
        append(log, [placed("3", "2.5")])
        with app_of(float).run(log) as shop:
            found = [shop.query(ask, into=float)]

            def asked_again() -> bool:
                found.append(shop.query(ask, into=float))
                return found[-1] == [3.0]

            eventually(asked_again)
            assert all(one in ([2.0], [3.0]) for one in found)
            assert isinstance(found[-1][0], float)
