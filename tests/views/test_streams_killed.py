"""Killed at any step of a transaction, a stream has each row once when it has been read to the end."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from headwater.failures.letters import deadletters_topic
from headwater.log.opening import open_log
from headwater.log.port import Log
from tests.logs import on_kafka
from tests.processes.mortal import STEPS
from tests.views.feeding import wait_until_visible
from tests.views.orders import CODEC, TOPIC, OrderPlaced, append, make_log, placed
from tests.views.test_streams import all_of

pytestmark = pytest.mark.slow
COUNT = 60


def fill(log: Log, chance: random.Random) -> None:
    """Orders, and some records that nobody can read, each of its own key."""
    make_log(2, log)
    append(
        log,
        [
            (f"bad {i}", b"{bad")
            if chance.random() < 0.05
            else placed(str(chance.randrange(20)), *(f"{chance.randrange(1, 999) / 100:.2f}" for _ in range(3)))
            for i in range(COUNT)
        ],
    )


def wanted(log: Log) -> tuple[list[tuple[str, str, str, str]], int]:
    """Id, order, key and price of each row, and how many records are none."""
    rows, bad = [], 0
    for record in all_of(log, TOPIC):
        event = CODEC.decode(record.value)
        if not isinstance(event, OrderPlaced):
            bad += 1
            continue
        for place, item in enumerate(event.items):
            id = f"{record.topic}-{record.partition}-{record.offset}-sold-{place}"
            rows.append((id, event.order_id, item.sku, f"{item.item_price.normalize():f}"))
    return sorted(rows), bad


def there(log: Log) -> list[tuple[str, str, str, str]]:
    found = []
    for record in all_of(log, "sold"):
        row, id = msgspec.json.decode(record.value or b""), dict(record.headers)["ce_id"].decode()
        found.append((id, row["orderId"], (record.key or b"").decode(), row["price"]))
    return sorted(found)


def run(url: str, prefix: str, *step: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.views.write_stream", url, prefix, *step]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    return done.returncode, done.stdout + done.stderr


def refuse_difference(log: Log, url: str, prefix: str, step: str) -> None:
    fill(log, random.Random(step))
    rows, bad = wanted(log)
    code, said = run(url, prefix, step, "3")
    assert code == -signal.SIGKILL, said
    before = there(log)
    assert len(before) < len(rows)
    code, said = run(url, prefix)
    assert (code, said.partition("\n")[0]) == (0, "all read"), said
    wait_until_visible(log, "sold", deadletters_topic("shop-sold-stream"))
    assert there(log) == rows
    assert len(all_of(log, deadletters_topic("shop-sold-stream"))) == bad


@pytest.mark.parametrize("step", STEPS)
def test_on_sqlite(step: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with closing(open_log(url)) as log:
        refuse_difference(log, url, "", step)


@pytest.mark.kafka
@pytest.mark.parametrize("step", ["filled", "committed"])
def test_on_kafka(step: str, kafka_broker: str, tmp_path: Path) -> None:
    with on_kafka(kafka_broker, tmp_path) as (log, url, prefix):
        refuse_difference(log, url, prefix, step)
