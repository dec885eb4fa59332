"""Killed at any step of a transaction of either group, a stream that joins has each row once when all is read."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.log.opening import open_log
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, TopicSpec
from tests.logs import on_kafka
from tests.views.comparing import same
from tests.views.feeding import wait_until_visible
from tests.views.shopping import NOON, PARTITIONS, BuyerEvent, BuyerMoved, Rate, SaleEvent, SaleMade, ms, written
from tests.views.test_joins import Oracle, in_duckdb
from tests.views.test_stream_joins import SHAPES, content, plan, valued
from tests.views.test_streams import all_of

pytestmark = pytest.mark.slow

SHAPE, COUNT = "near, looked up", 13
STEPS = [("repartition", "appended"), ("stream", "filled")]


def fill(log: Log, chance: random.Random) -> None:
    log.create_topics([TopicSpec(name, count) for name, count in PARTITIONS.items()])
    found: list[SaleEvent | BuyerEvent | Rate] = []
    for i in range(COUNT):
        buyer = chance.choice(["ann", "bob"])
        found += [BuyerMoved(buyer, "N"), SaleMade(str(i), buyer, Decimal(i), []), Rate("N", Decimal(i))]
    for one in chance.sample(found, len(found)):
        topic, key, value = written(one)
        at = ms(NOON + timedelta(minutes=chance.randrange(20)))
        log.append([NewRecord(topic, partition_of(key, PARTITIONS[topic]), key, value, (), at)])


def rows(log: Log) -> tuple[list[tuple[object, ...]], set[bytes]]:
    records, columns = all_of(log, "v"), [one.name for one in plan(SHAPES[SHAPE].sql).output]
    found = [tuple(valued(content(one.value)[name]) for name in columns) for one in records]
    return found, {dict(one.headers)["ce_id"] for one in records}


def wanted(log: Log) -> list[tuple[object, ...]]:
    with closing(Oracle({"SaleMade", "BuyerMoved"}, in_duckdb(SHAPES[SHAPE].oracle))) as oracle:
        oracle.add([record for topic in PARTITIONS for record in all_of(log, topic)])
        return [tuple(map(valued, row)) for row in oracle.rows()]


def run(url: str, prefix: str, *how: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.views.write_joined", url, prefix, *how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    return done.returncode, done.stdout + done.stderr


def refuse_difference(log: Log, url: str, prefix: str, group: str, step: str) -> None:
    fill(log, random.Random(f"{group} {step}"))
    code, said = run(url, prefix, group, step, "1" if group == "stream" else "2")  # few batches have a pair
    assert code == -signal.SIGKILL, said
    assert len(rows(log)[0]) < len(wanted(log))
    code, said = run(url, prefix)
    assert (code, said.partition("\n")[0]) == (0, "all read"), said
    wait_until_visible(log, "v")
    found, ids = rows(log)
    assert same(found, wanted(log))
    assert len(ids) == len(found)


@pytest.mark.parametrize(("group", "step"), STEPS)
def test_on_sqlite(group: str, step: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with closing(open_log(url)) as log:
        refuse_difference(log, url, "", group, step)


@pytest.mark.kafka
def test_on_kafka(kafka_broker: str, tmp_path: Path) -> None:
    with on_kafka(kafka_broker, tmp_path) as (log, url, prefix):
        refuse_difference(log, url, prefix, "stream", "committed")
