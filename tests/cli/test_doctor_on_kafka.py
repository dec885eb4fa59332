"""A transaction that is left open on a broker: told by the app that reads there, by `hw lag`, and by `hw doctor`."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from headwater.errors import Unavailable
from headwater.testing.brokers import Cluster, start_brokers
from headwater.testing.conformance.log.waiting import eventually
from tests.cli.conftest import Shell
from tests.cli.test_mistakes import REFUSED
from tests.cli.test_on_kafka import PAY, TILL_APP
from tests.cli.test_run import Process
from tests.conftest import CACHE, absent

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]

PATIENCE_S = 60.0
STATES = "__transaction_state"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Of its own: the doctor looks at everything, and it is started anew."""
    try:
        cluster = start_brokers(1, tmp_path_factory.mktemp("doctor"), cache=CACHE)
    except Unavailable as error:
        absent(str(error))
    yield cluster
    cluster.delete()


@pytest.fixture
def running(directory: Path, broker: Cluster) -> Iterator[Process]:
    """An app at work, whose transactions may take three seconds. Its members may stand still for longer."""
    (directory / "tills.py").write_text(TILL_APP.format(entity="till"))
    on = f"{broker.url}?transaction_timeout_s=3&session_timeout_s=30"
    (directory / "headwater.toml").write_text(f'app = "tills:app"\non = "{on}"\n')
    process = Process()
    process.said()
    yield process
    process.popen.kill()
    process.popen.wait()


def a_producer(broker: Cluster, id: str) -> Producer:
    """Also ends what the id has open."""
    settings = {"bootstrap.servers": broker.bootstrap, "transactional.id": id, "log_level": 0}
    producer = Producer({**settings, "transaction.timeout.ms": 600_000})
    producer.init_transactions(PATIENCE_S)
    return producer


def left_open(broker: Cluster, id: str) -> Producer:
    """A producer that has written to the first partition of the events, and does no more."""
    producer = a_producer(broker, id)
    producer.begin_transaction()
    producer.produce("till-events", b"{}", b"1", 0)
    assert producer.flush(PATIENCE_S) == 0
    return producer


def faults(shell: Shell) -> list[dict[str, Any]]:
    ended = shell("doctor")
    found = [row for row in map(json.loads, ended.out.splitlines()) if row["level"] == "fault"]
    assert ended.code == bool(found), ended
    return found


def held(shell: Shell) -> set[tuple[str, int, int]]:
    """The partitions that are held back, with how far groups are behind there."""
    return {(row["topic"], row["partition"], row["lag"]) for row in shell("lag").rows if row.get("held")}


def test_it_is_told_everywhere_until_it_is_over(shell: Shell, running: Process, broker: Cluster) -> None:
    assert shell(PAY).code == 0
    eventually(lambda: not held(shell), PATIENCE_S, "what the app wrote can be read")
    assert faults(shell) == []
    producer = left_open(broker, "left-open")
    line = running.told("alert: till-events, partition 0: ")
    assert "a transaction has been open for more than 3 s, so nothing from offset" in line
    assert f"`hw doctor --on {broker.url}`" in line
    eventually(lambda: held(shell) == {("till-events", 0, 0)}, PATIENCE_S, "readers are at the end of what can be seen")
    assert "a transaction is open from offset" in shell("lag --output table").err
    (fault,) = faults(shell)
    assert (fault["check"], fault["where"]) == ("transactions", "partition till-events/0")
    assert "left-open (producer" in fault["found"]
    a_producer(broker, "left-open")
    running.told("over: till-events, partition 0: ")
    assert faults(shell) == []
    assert running.stop(signal.SIGTERM) == 0
    del producer


def test_one_that_no_coordinator_knows(shell: Shell, running: Process, broker: Cluster) -> None:
    """Its coordinator forgets it: its record is taken out of the coordinators' own topic, as only a client of this name
    may, and the broker starts anew."""
    assert running.stop(signal.SIGTERM) == 0
    producer = left_open(broker, "forgotten")
    topic = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(STATES, timeout=PATIENCE_S).topics[STATES]
    name = {"client.id": "__admin_client", "log_level": 0}
    eraser = Producer({"bootstrap.servers": broker.bootstrap, **name})
    failures: list[object] = []
    key = b"\0\0" + len("forgotten").to_bytes(2, "big") + b"forgotten"
    at = abs(java_hash("forgotten")) % len(topic.partitions)
    eraser.produce(STATES, None, key, at, on_delivery=lambda error, _: failures.append(error))
    assert eraser.flush(PATIENCE_S) == 0
    assert failures == [None]
    broker.kill(1)
    broker.restart(1)

    def found() -> bool:
        """A broker that has just begun may not answer everything, or lead nothing yet."""
        ended = shell("doctor")
        told = [row["check"] for row in map(json.loads, ended.out.splitlines()) if row["level"] == "fault"]
        return (ended.code, told) == (REFUSED, ["transactions"])

    eventually(found, PATIENCE_S, "the doctor finds it, and nothing else")
    (fault,) = faults(shell)
    assert (fault["check"], fault["where"]) == ("transactions", "partition till-events/0")
    assert "a transaction hangs that no coordinator knows, so nobody is going to end it" in fault["found"]
    assert " abort --topic till-events --partition 0 --start-offset " in fault["todo"]
    del producer


def java_hash(text: str) -> int:
    """`String.hashCode` of Java."""
    number = 0
    for character in text:
        number = (31 * number + ord(character)) & 0xFFFFFFFF
    return number - (1 << 32) if number >= 1 << 31 else number
