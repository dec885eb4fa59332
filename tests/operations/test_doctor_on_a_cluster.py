"""`examine` on three brokers: copies that are missing or behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from headwater.errors import Unavailable
from headwater.log.findings import Finding
from headwater.log.kafka import KafkaLog
from headwater.log.topology import Topology
from headwater.operations.doctor import examine
from headwater.testing import PrefixedLog
from headwater.testing.brokers import Cluster
from headwater.testing.conformance.log.waiting import eventually, fresh
from tests.operations.test_doctor_on_kafka import alter, noticed, obey, only

pytestmark = [pytest.mark.kafka, pytest.mark.cluster, pytest.mark.slow, pytest.mark.alone]

PATIENCE_S = 90.0


@pytest.fixture
def log(kafka_cluster: Cluster, tmp_path: Path) -> Iterator[PrefixedLog]:
    """Without topics yet."""
    with closing(KafkaLog(kafka_cluster.bootstrap, answer_timeout_s=60, index_directory=tmp_path)) as log:
        yield PrefixedLog(log, fresh("") + "-")


@pytest.fixture
def hasty(log: PrefixedLog, kafka_cluster: Cluster, tmp_path: Path) -> Iterator[PrefixedLog]:
    """The same log, for who does not wait long for a broker that is dead."""
    with closing(KafkaLog(kafka_cluster.bootstrap, answer_timeout_s=3, index_directory=tmp_path)) as opened:
        yield PrefixedLog(opened, log.prefix)


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


def trouble(found: list[Finding]) -> list[Finding]:
    """Without internal topics: other tests may have killed a broker a moment ago."""
    return [one for one in found if one.level in ("warning", "fault") and "__" not in one.where]


def wrong(log: PrefixedLog) -> list[Finding]:
    return trouble(examine(log))


def test_how_many_brokers_confirm_a_record(log: PrefixedLog, operator: AdminClient, kafka_cluster: Cluster) -> None:
    ensure(log)
    eventually(lambda: wrong(log) == [], PATIENCE_S, "what an app makes is well")
    for number, level, says in (
        ("1", "fault", "confirmed when 1 broker(s) have it: the loss of that one loses it"),
        ("3", "warning", "nothing is written while one of them is away"),
    ):
        alter(operator, "TOPIC", f"{log.prefix}account-events", {"min.insync.replicas": number})
        found = noticed(lambda: wrong(log), PATIENCE_S, f"{number} was noticed")
        assert (found.level, found.check) == (level, "min.insync.replicas")
        assert says in found.found
        obey(operator, found.todo, kafka_cluster.url)
        eventually(lambda: wrong(log) == [], PATIENCE_S, f"{found.todo} helped")


def make_with_one_copy(log: PrefixedLog, operator: AdminClient) -> str:
    """The topics of an app, of which that of events has one copy. Returns its name."""
    name = f"{log.prefix}account-events"
    for done in operator.create_topics([NewTopic(name, 2, 1)]).values():
        done.result(60)
    ensure(log)
    return name


def test_a_topic_of_one_copy(log: PrefixedLog, operator: AdminClient) -> None:
    name = make_with_one_copy(log, operator)
    found = only([one for one in wrong(log) if one.check == "replication"])
    assert (found.level, found.where) == ("fault", f"topic {name}")
    assert "its records are on 1 broker(s) of 3, not on 3" in found.found


def looked_again(log: PrefixedLog) -> list[Finding]:
    """All that is found; nothing, where a broker that has just died, or is starting, was asked and gave no answer."""
    try:
        return examine(log)
    except Unavailable as error:
        print(error)
        return []


@pytest.mark.timeout(240)
def test_copies_that_are_missing(
    log: PrefixedLog, hasty: PrefixedLog, operator: AdminClient, kafka_cluster: Cluster
) -> None:
    name = make_with_one_copy(log, operator)
    victim = operator.list_topics(name, timeout=60).topics[name].partitions[0].leader
    kafka_cluster.kill(victim)

    def told() -> tuple[Finding, Finding] | None:
        found = looked_again(hasty)
        all = {one.where: one for one in found if one.check == "in sync"}
        here, beside = all.get(f"partition {name}/0"), all.get(f"partition {log.prefix}account-state/0")
        if here is None or here.level != "fault" or beside is None or beside.level != "warning":
            return None  # another broker may be about to lead the other one
        # The rest is told, where one partition does not answer.
        return (here, beside) if ("unknown", "history") in {(one.level, one.check) for one in found} else None

    led_by_nobody, behind = eventually(told, PATIENCE_S, "the broker was missed")
    assert led_by_nobody.found == "no broker leads it: it can be neither read nor written"
    assert led_by_nobody.todo == f"start broker {victim}"
    assert behind.found == f"broker {victim} lacks the newest records"
    kafka_cluster.restart(victim)

    def well() -> bool:
        found = looked_again(hasty)
        return bool(found) and not [one for one in trouble(found) if one.check == "in sync"]

    eventually(well, PATIENCE_S, "all is in sync again")
