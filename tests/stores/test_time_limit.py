"""A question may take so long and no longer, and can be stopped by Ctrl-C."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from headwater.errors import Unavailable
from headwater.stores.memory import MemoryStore
from headwater.stores.sqlite import SqliteStore
from headwater.stores.sqlite_queries import ask
from tests.timing import in_time

COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {0}) "
A_MINUTE = COUNT.format(500_000_000) + "SELECT count(*) FROM c"
FIRST_ROWS_SOON = COUNT.format(1000) + "SELECT x FROM c WHERE x < 1000 OR (" + A_MINUTE + ") > 0"


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore]:
    opened = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.db")
    yield opened
    opened.close()


def test_a_query_that_takes_too_long_is_stopped_and_the_next_one_has_its_own_time(store: SqliteStore) -> None:
    def ask_for_too_much() -> None:
        with pytest.raises(Unavailable, match=r"the query did not end within 0\.1 s and was stopped"):
            store.query(A_MINUTE, timeout_s=0.1)

    in_time(30, ask_for_too_much)
    assert list(store.query(COUNT.format(1_000_000) + "SELECT count(*) FROM c")) == [(1_000_000,)]


def test_rows_that_come_too_late_are_not_waited_for(store: SqliteStore) -> None:
    with pytest.raises(Unavailable, match="was stopped"):
        list(store.query(FIRST_ROWS_SOON, timeout_s=0.2))
    assert list(store.query("SELECT 1")) == [(1,)]


def asked(frame: FrameType | None) -> bool:
    """Whether SQLite is asked in a thread; what it asks back of Python lies above."""
    lines, first = inspect.getsourcelines(ask)
    (asking,) = [first + number for number, line in enumerate(lines) if "connection.execute(sql, values)" in line]
    while frame is not None:
        if frame.f_code is ask.__code__ and frame.f_lineno == asking:
            return True
        frame = frame.f_back
    return False


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C as at a terminal: a shell starts what runs in the background deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("round", range(10))
def test_ctrl_c_stops_a_query(store: SqliteStore, round: int) -> None:
    main = threading.get_ident()

    def interrupt() -> None:
        while not asked(sys._current_frames()[main]):
            """Until it is."""
        os.kill(os.getpid(), signal.SIGINT)

    def ask_and_be_interrupted() -> None:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            store.query(A_MINUTE)
        thread.join()

    in_time(30, ask_and_be_interrupted)
    assert list(store.query("SELECT 1")) == [(1,)]
