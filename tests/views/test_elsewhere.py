"""The state of views in a store: what is written comes back, in one transaction with positions, from one owner."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headwater.errors import Unavailable
from headwater.log.port import Aborted, Record
from headwater.log.sqlite import SqliteLog
from headwater.testing.waiting import eventually
from headwater.views import elsewhere, recorder
from headwater.views.elsewhere_port import Changes, Lost, StateStore
from headwater.views.elsewhere_postgres import PostgresState
from headwater.views.file import ViewFile
from tests.views import comparing, feeding, test_joins, test_joins_expiring, test_oracle, test_oracle_windows
from tests.views.feeding import Fed, records_of, small_merges
from tests.views.orders import append, make_log, placed, seed_plan
from tests.views.test_killed import maintaining, refuse_difference, write

TYPES = """SELECT 170141183460469231731687303715884105727::HUGEINT AS a, uuid() AS b, now() AS c, TIME '10:00' AS d,
    INTERVAL '3 days 1 microsecond' AS e, {'x': 1, 'y': [1, 2]} AS f, MAP {'a': 1} AS g, 'x'::BLOB AS h,
    1.5::DOUBLE AS i, [1.5::DECIMAL(38,9)] AS j, NULL::VARCHAR AS k, 18446744073709551615::UBIGINT AS l,
    'infinity'::TIMESTAMP AS m,
    'a'::ENUM('a', 'b') AS n, {'b': now(), 't0': 5::HUGEINT} AS "o ""p"" q", '{}'::JSON AS r, DATE '2024-01-01' AS s"""


ORACLES: dict[str, Any] = {
    "events": test_oracle,
    "windows": test_oracle_windows,
    "joins": test_joins,
    "joins that expire": test_joins_expiring,
}


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where nothing is kept yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'state.db'}#shop"
    else:
        yield f"{request.getfixturevalue('postgres_url')}#shop"


def orders(chance: random.Random, count: int) -> list[Record]:
    with closing(make_log(2)) as log:
        append(log, [placed(str(chance.randrange(50)), f"{chance.randrange(999) / 100:.2f}") for _ in range(count)])
        return records_of(log)


def test_every_type_comes_back(place: str) -> None:
    with closing(ViewFile(place)) as file, file.writing() as connection:
        connection.execute(f'CREATE TABLE hw."t" AS {TYPES}')
        connection.execute(f'INSERT INTO hw."t" {TYPES}')
        rows = sorted(map(repr, connection.execute('FROM hw."t"').fetchall()))
    with closing(ViewFile(place)) as file, file.aside() as connection:
        assert sorted(map(repr, connection.execute('FROM hw."t"').fetchall())) == rows


def test_what_is_kept_is_what_the_tables_hold(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random statements of the kinds that views make, with few pieces to a table, so that it is written whole."""
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    monkeypatch.setattr(elsewhere, "MANY_PIECES", 4)
    monkeypatch.setattr(elsewhere, "SPARE_ROWS", 20)
    monkeypatch.setattr(recorder, "LITTLE_ROWS", chance.choice([-1, 10]))
    statements = [
        'CREATE TABLE IF NOT EXISTS hw."t 1" AS SELECT 1::BIGINT AS a WITH NO DATA',
        'INSERT INTO hw."t 1" SELECT range % 7 FROM range({n})',
        'INSERT INTO hw."t 1" SELECT range % 5 FROM range({n})',
        'DELETE FROM hw."t 1" WHERE a < {n} % 7',
        'DELETE FROM hw."t 1" AS x WHERE NOT EXISTS (SELECT 1 FROM range(3) AS y WHERE y.range = x.a)',
        'UPDATE hw."t 1" SET a = a + 1',
        'DELETE FROM hw."t 1"',
        'DROP TABLE IF EXISTS hw."t 1"',
        'CREATE OR REPLACE VIEW "v" AS SELECT sum(a) AS n FROM hw."t 1"',
    ]
    made = statements[0]

    def content(file: ViewFile) -> list[Any]:
        with file.aside() as connection:
            [(there,)] = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 't 1'").fetchall()
            return connection.execute('FROM hw."t 1" ORDER BY ALL').fetchall() if there else ["no table"]

    file = ViewFile(place)
    for _ in range(3):
        for _ in range(3):
            with file.writing() as connection:
                for statement in [made, *chance.choices(statements, chance.choices(range(9), k=9), k=5)]:
                    if "DROP" not in statement:
                        connection.execute(made)
                    connection.execute(statement.format(n=chance.randrange(30)))
        found = content(file)
        file.close()
        file = ViewFile(place)
        assert content(file) == found
    file.close()


def test_a_view_goes_on_from_what_is_kept(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a file, with restarts and merges."""
    small_merges(monkeypatch)
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    fed = Fed(seed_plan(), place)
    with closing(Fed(seed_plan())) as beside:
        for batch in test_oracle.batches(chance, orders(chance, 60)):
            fed.feed(batch)
            beside.feed(batch)
            if chance.random() < 0.2:
                fed.close()
                fed = Fed(seed_plan(), place)
            assert sorted(fed.rows()) == sorted(beside.rows())
            assert fed.positions == beside.positions
    fed.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["events", "windows", "joins", "joins that expire"])
def test_views_of_all_shapes_equal_the_same_question(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One shape of each kind, from a seed, beside batch SQL, with its state in a file of SQLite."""
    small_merges(monkeypatch)
    monkeypatch.setattr(feeding, "ViewFile", lambda path: ViewFile(f"sqlite:///{path}#x"))
    monkeypatch.setattr(comparing, "MEMORY", tmp_path / "whole.db")
    shapes: list[Any] = list(ORACLES[kind].SHAPES)
    seed = random.randrange(10**6)
    shape = random.Random(seed).choice(shapes)
    print("seed", seed, shape)
    ORACLES[kind].check(shape, seed, tmp_path)


def test_what_fails_is_not_kept(place: str) -> None:
    with closing(ViewFile(place)) as file:
        with pytest.raises(Unavailable, match="Could not convert"), file.writing() as connection:
            connection.execute("CREATE TABLE hw.t AS SELECT unnest(['1', 'x'])::INTEGER AS a")
        with file.writing() as connection:
            connection.execute("CREATE TABLE hw.u (a INTEGER)")
    with closing(ViewFile(place)) as file, file.aside() as connection:
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
    assert "u" in names
    assert "t" not in names


def test_one_process_has_it(place: str) -> None:
    with closing(ViewFile(place)), pytest.raises(Unavailable, match="another process maintains the views"):
        ViewFile(place)
    ViewFile(place).close()


def test_who_comes_next_finds_the_lock_free(postgres_url: str) -> None:
    first, second = PostgresState(postgres_url, "shop"), PostgresState(postgres_url, "shop")
    first.claim()
    assert first._connection is not None
    backend = first._connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)  # the server takes its time
    threading.Timer(0.3, os.kill, (backend, signal.SIGCONT)).start()
    first.close()
    second.claim()
    second.close()


class Unanswered:
    """A store of which an answer is lost. Arguments: written: whether it had written the changes."""

    def __init__(self, store: StateStore, *, written: bool) -> None:
        self._commit, self._written = store.commit, written

    def __call__(self, number: int, changes: Changes) -> None:
        if self._written:
            self._commit(number, changes)
        raise Unavailable("the answer was lost")


@pytest.mark.parametrize("written", [True, False])
def test_a_commit_without_an_answer_counts_once(place: str, monkeypatch: pytest.MonkeyPatch, written: bool) -> None:
    records = orders(random.Random(1), 40)
    with closing(Fed(seed_plan(), place)) as fed, closing(Fed(seed_plan())) as beside:
        fed.feed(records[:20])
        beside.feed(records[:20])
        store = store_of(fed)
        with monkeypatch.context() as patched:
            patched.setattr(store, "commit", Unanswered(store, written=written))
            with pytest.raises(Unavailable, match="the answer was lost"):
                fed.feed(records[20:])
        assert sorted(fed.rows()) == sorted(beside.rows())
        if written:
            with pytest.raises(Aborted):  # it stands elsewhere: a runner looks again where
                fed.feed(records[20:])
        else:
            fed.feed(records[20:])
        beside.feed(records[20:])
        assert fed.positions == beside.positions
        assert sorted(fed.rows()) == sorted(beside.rows())


def test_a_connection_that_ends_is_made_again(postgres_url: str) -> None:
    records = orders(random.Random(2), 40)
    with closing(Fed(seed_plan(), f"{postgres_url}#shop")) as fed, closing(Fed(seed_plan())) as beside:
        fed.feed(records[:20])
        end_connection(postgres_url, fed)
        with pytest.raises(Unavailable):
            fed.feed(records[20:])
        fed.feed(records[20:])
        beside.feed(records)
        assert sorted(fed.rows()) == sorted(beside.rows())


def test_a_former_owner_writes_nothing_and_tells_nothing(postgres_url: str) -> None:
    records, place = orders(random.Random(3), 60), f"{postgres_url}#shop"
    with closing(Fed(seed_plan(), place)) as former:
        former.feed(records[:20])
        end_connection(postgres_url, former)
        with closing(Fed(seed_plan(), place)) as owner:
            owner.feed(records[20:40])
            with pytest.raises(Unavailable):
                former.feed(records[20:40])
            with pytest.raises(Lost, match="another process has taken over"):
                former.feed(records[20:40])
            with pytest.raises(Lost, match="start this process again"):
                former.rows()
            owner.feed(records[40:])
            with closing(Fed(seed_plan())) as beside:
                beside.feed(records)
                assert sorted(owner.rows()) == sorted(beside.rows())


def end_connection(url: str, fed: Fed) -> None:
    """The server ends the connection that a state is written on."""
    pid = store_of(fed)._connection.info.backend_pid
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 60000)", [pid])


def store_of(fed: Fed) -> Any:
    assert fed.file._elsewhere is not None
    return fed.file._elsewhere._store


@pytest.mark.slow
def test_killed_at_any_step_it_counts_each_event_once(place: str, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        write(log, chance, 200)
        records = records_of(log)
        for step in chance.sample(["decoded", "added", "positions written", "written down", "committed"], 2):
            with maintaining(tmp_path / "log.db", place, step, str(chance.randrange(1, 6))) as child:
                assert child.wait(180) == -signal.SIGKILL
            released(place)
            assert refuse_difference(place, records) < 200
        with maintaining(tmp_path / "log.db", place) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "all read\n"
        released(place)
        assert refuse_difference(place, records) == 200


def released(place: str) -> None:
    """Waits until a server has noticed that a process is dead."""

    def opened() -> bool:
        try:
            ViewFile(place).close()
        except Unavailable:
            return False
        return True

    eventually(opened, 120)


def test_a_state_that_was_lost_is_noticed(place: str) -> None:
    records = orders(random.Random(4), 40)
    with closing(Fed(seed_plan(), place)) as fed:
        fed.feed(records[:20])
        lose(place)
        with pytest.raises(Lost, match="start this process again"):
            fed.feed(records[20:])
    with closing(Fed(seed_plan(), place)) as fed, closing(Fed(seed_plan())) as beside:
        assert fed.positions == {}
        fed.feed(records)
        beside.feed(records)
        assert sorted(fed.rows()) == sorted(beside.rows())


def lose(place: str) -> None:
    url = place.rpartition("#")[0]
    if url.startswith("sqlite"):
        for end in ("", "-wal"):
            Path(f"{url.removeprefix('sqlite:///')}{end}").unlink(missing_ok=True)
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            for table in ("states", "objects", "pieces"):
                connection.execute(f"DELETE FROM hw_view_{table}")
