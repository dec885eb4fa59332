"""Ids: unique across threads and forked processes, ordered by time, UUIDv7 by the letter."""

from __future__ import annotations

import os
import threading
import time
import uuid

from headwater.environment import System
from headwater.testing import eventually


def test_an_id_is_a_uuid_of_version_7_in_its_usual_form() -> None:
    system = System()
    for text in [system.new_id() for _ in range(1000)]:
        read = uuid.UUID(text)
        assert str(read) == text
        assert (read.version, read.variant) == (7, uuid.RFC_4122)


def test_later_ids_sort_after_earlier_ones() -> None:
    system = System()
    first = system.new_id()
    made_ms = int(first[:8] + first[9:13], 16)
    eventually(lambda: time.time_ns() // 1_000_000 > made_ms)
    assert first < system.new_id()


def test_threads_never_get_the_same_id() -> None:
    system = System()
    found: list[list[str]] = [[] for _ in range(4)]

    def draw(into: list[str]) -> None:
        into.extend(system.new_id() for _ in range(5000))

    threads = [threading.Thread(target=draw, args=(one,)) for one in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id for one in found for id in one}) == 20_000


def test_a_forked_child_draws_its_own() -> None:
    system = System()
    system.new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, "\n".join(system.new_id()[14:] for _ in range(50)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = set(os.read(reading, 10_000).decode().split())
    os.close(reading)
    os.close(writing)
    assert not theirs & {system.new_id()[14:] for _ in range(50)}
