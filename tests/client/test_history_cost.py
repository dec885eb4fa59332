"""Looking back at one entity costs what that entity has, however much the log holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.entities.behaviour import Behaviour
from headwater.log.opening import open_log
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord
from tests.bank import Account, Deposited
from tests.logs import on_kafka

EVENTS, ENTITIES, PARTITIONS = 1_000_000, 40_000, 4
EACH = EVENTS // ENTITIES
app = hw.App("bank", aggregates=[Account], partitions=PARTITIONS)


def fill(log: Log) -> None:
    """Writes the million as another program would: no headers, one day after the other."""
    with app.run(log, store="memory://"):
        pass
    codec = Behaviour(Account).events
    days = [datetime(2024, 1, 1 + day, tzinfo=UTC) for day in range(EACH)]
    keys = [f"a{number}".encode() for number in range(ENTITIES)]
    where = [partition_of(key, PARTITIONS) for key in keys]
    for day in days:
        records = [
            NewRecord("account-events", p, key, codec.encode(Deposited(key.decode(), Decimal(1)), day))
            for key, p in zip(keys, where, strict=True)
        ]
        for start in range(0, ENTITIES, 10_000):
            log.append(records[start : start + 10_000])


def best_ms(action: Callable[[], Any]) -> float:
    best = 1e9
    for _ in range(5):
        started = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - started)
    return best * 1000


def assert_cheap(log: Log, limit_ms: float) -> None:
    with app.connect(log, store="memory://") as shop:
        read = shop_reads(log, lambda: shop.history(Account, "a777"))
        assert read == EACH
        history = shop.history(Account, "a777")
        assert [r.meta.version for r in history] == list(range(1, EACH + 1))
        then = datetime(2024, 1, 10, 12, tzinfo=UTC)
        assert shop_reads(log, lambda: shop.get(Account, "a777", as_of=then)) == EACH
        assert shop.get(Account, "a777", as_of=then).balance == 10
        took = best_ms(lambda: shop.history(Account, "a777")), best_ms(lambda: shop.get(Account, "a778", as_of=then))
        print(f"history {took[0]:.2f} ms, as_of {took[1]:.2f} ms")
        assert max(took) < limit_ms


def shop_reads(log: Log, action: Callable[[], Any]) -> int:
    action()  # a log without a key index of its own reads it in first
    before = log.records_read
    action()
    return log.records_read - before


@pytest.mark.slow
@pytest.mark.alone
def test_embedded_it_reads_just_its_own_events_in_under_5_ms(tmp_path: Path) -> None:
    log = open_log(f"sqlite:///{tmp_path / 'bank.db'}")
    fill(log)
    assert_cheap(log, 5)
    log.close()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_on_kafka_it_reads_just_its_own_events_in_under_50_ms(kafka_broker: str, tmp_path: Path) -> None:
    with on_kafka(kafka_broker, tmp_path) as (log, _, _):
        fill(log)
        assert_cheap(log, 50)
