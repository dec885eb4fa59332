"""`examine` on three brokers: copies that are missing or behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from headwater.log.findings import Finding
from headwater.log.kafka import KafkaLog
from headwater.log.topology import Topology
from headwater.operations.doctor import examine
from headwater.testing import PrefixedLog
from headwater.testing.brokers import Cluster
from headwater.testing.conformance.log.waiting import eventually, fresh
from tests.operations.test_doctor_on_kafka import alter, obey, only

pytestmark = [pytest.mark.kafka, pytest.mark.cluster, pytest.mark.slow]

PATIENCE_S = 60.0


@pytest.fixture
def log(kafka_cluster: Cluster, tmp_path: Path) -> Iterator[PrefixedLog]:
    """Without topics yet."""
    with closing(KafkaLog(kafka_cluster.bootstrap, answer_timeout_s=3, index_directory=tmp_path)) as log:
        yield PrefixedLog(log, fresh("") + "-")


@pytest.fixture(autouse=True)
def whole_again(kafka_cluster: Cluster) -> Iterator[None]:
    yield
    for node in kafka_cluster.nodes:
        kafka_cluster.restart(node.id)


@pytest.fixture
def operator(kafka_cluster: Cluster) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka_cluster.bootstrap, "log_level": 0})


def ensure(log: PrefixedLog) -> None:
    Topology.read(log).ensure(["account"], partitions=2)


def wrong(log: PrefixedLog) -> list[Finding]:
    """Without internal topics: other tests may have killed a broker a moment ago."""
    found = [one for one in examine(log) if one.level in ("warning", "fault")]
    return [one for one in found if "__" not in one.where]


def test_how_many_brokers_confirm_a_record(log: PrefixedLog, operator: AdminClient, kafka_cluster: Cluster) -> None:
    ensure(log)
    eventually(lambda: wrong(log) == [], PATIENCE_S, "what an app makes is well")
    for number, level, says in (
        ("1", "fault", "confirmed when 1 broker(s) have it: the loss of that one loses it"),
        ("3", "warning", "nothing is written while one of them is away"),
    ):
        alter(operator, "TOPIC", f"{log.prefix}account-events", {"min.insync.replicas": number})
        found = only(eventually(lambda: wrong(log), PATIENCE_S, f"{number} was noticed"))
        assert (found.level, found.check) == (level, "min.insync.replicas")
        assert says in found.found
        obey(operator, found.todo, kafka_cluster.url)
        eventually(lambda: wrong(log) == [], PATIENCE_S, f"{found.todo} helped")


@pytest.mark.timeout(240)
def test_copies_that_are_missing(log: PrefixedLog, operator: AdminClient, kafka_cluster: Cluster) -> None:
    name = f"{log.prefix}account-events"
    for done in operator.create_topics([NewTopic(name, 2, 1)]).values():
        done.result(30)
    ensure(log)
    found = only([one for one in wrong(log) if one.check == "replication"])
    assert (found.level, found.where) == ("fault", f"topic {name}")
    assert "its records are on 1 broker(s) of 3, not on 3" in found.found
    victim = operator.list_topics(name, timeout=10).topics[name].partitions[0].leader
    kafka_cluster.kill(victim)

    def told() -> tuple[Finding, Finding] | None:
        all = {one.where: one for one in wrong(log) if one.check == "in sync"}
        here, beside = all.get(f"partition {name}/0"), all.get(f"partition {log.prefix}account-state/0")
        return (here, beside) if here is not None and here.level == "fault" and beside is not None else None

    led_by_nobody, behind = eventually(told, PATIENCE_S, "the broker was missed")
    assert led_by_nobody.found == "no broker leads it: it can be neither read nor written"
    assert led_by_nobody.todo == f"start broker {victim}"
    assert (behind.level, behind.found) == ("warning", f"broker {victim} lacks the newest records")
    unknown = {one.check for one in examine(log) if one.level == "unknown"}
    assert "history" in unknown, "the rest is told, where one partition does not answer"
    kafka_cluster.restart(victim)
    eventually(lambda: not [one for one in wrong(log) if one.check == "in sync"], PATIENCE_S, "all is in sync again")
