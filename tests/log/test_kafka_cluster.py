"""Three brokers, each record on three of them: one may die at any time, and nothing that was confirmed is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headwater.errors import Unavailable
from headwater.log.kafka import KafkaLog
from headwater.log.kafka.examining import _of_broker
from headwater.log.port import Aborted, Fenced, NewRecord, TopicPartition, Transaction
from headwater.testing.brokers import Cluster
from headwater.testing.conformance.log.attendance import Attendance
from headwater.testing.conformance.log.waiting import (
    attempts,
    carry_out,
    eventually,
    fresh,
    make_topic,
    numbers,
    read_topic,
    writing,
)

pytestmark = [pytest.mark.kafka, pytest.mark.cluster, pytest.mark.slow, pytest.mark.alone]
PATIENCE_S = 90.0


@pytest.fixture
def log(kafka_cluster: Cluster, tmp_path: Path) -> Iterator[KafkaLog]:
    log = KafkaLog(kafka_cluster.bootstrap, session_timeout_s=6, index_directory=tmp_path)
    yield log
    log.close()


@pytest.fixture(autouse=True)
def whole_again(kafka_cluster: Cluster) -> Iterator[None]:
    yield
    for node in kafka_cluster.nodes:
        kafka_cluster.restart(node.id)


def leader_of(cluster: Cluster, topic: str) -> int:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    leader: int = admin.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions[0].leader
    return leader


def test_every_record_is_on_three_brokers_and_two_must_have_it(kafka_cluster: Cluster, log: KafkaLog) -> None:
    topic = make_topic(log, 3)
    admin = AdminClient({"bootstrap.servers": kafka_cluster.bootstrap, "log_level": 0})
    partitions = admin.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
    assert [len(partition.replicas) for partition in partitions.values()] == [3, 3, 3]
    settings = log._administration._settings([topic])[topic]
    assert settings["min.insync.replicas"].value == "2"


def coordinator_of(cluster: Cluster, group: str) -> int:
    """0: nobody tells it just now."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    try:
        coordinator: int = admin.describe_consumer_groups([group])[group].result(timeout=10).coordinator.id
    except (KafkaException, TimeoutError):
        return 0
    return coordinator


@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", ["leader", "coordinator"])
def test_transactions_go_on_when_a_broker_dies_and_none_is_lost_or_doubled(
    kafka_cluster: Cluster, log: KafkaLog, victim: str
) -> None:
    """Each transaction writes the number of the position that it moves: the numbers must come out without a gap.

    The client may wait for a dead coordinator of the group for ever, and the group may lose its member meanwhile.
    """
    source, target, group = make_topic(log, records=100), make_topic(log), fresh("group")
    partition = TopicPartition(source, 0)
    attendance = Attendance(log, group, PATIENCE_S)
    member = attendance.join(log, [source])
    attendance.owns(member, 1)
    writer = log.writer(fresh("writer"))
    done = 0

    def one() -> int:
        """Does the next piece of work, as an owner does: from the position that was committed."""
        position = log.committed(group, [partition]).get(partition, 0)

        def fill(transaction: Transaction) -> None:
            transaction.append([NewRecord(target, 0, b"k", b"%d" % position)])
            transaction.positions(group, {partition: position + 1}, member.fence())

        writer.transact(fill)
        return position + 1

    of, what = (leader_of, target) if victim == "leader" else (coordinator_of, group)
    to_kill = [eventually(lambda: of(kafka_cluster, what), PATIENCE_S, f"the {victim} is told")]
    for _ in attempts(2 * PATIENCE_S, "a hundred transactions went through", pause_s=0):
        if to_kill and done >= 30:
            kafka_cluster.kill(to_kill.pop())
        try:
            attendance.turn(member)
            done = one()
        except (Aborted, Fenced, Unavailable):
            continue
        if done >= 100:
            break
    assert not to_kill, "a broker was killed"
    assert numbers(read_topic(log, target, PATIENCE_S)) == list(range(done))
    attendance.leave(member)


def test_ends_are_told_by_the_new_leaders_of_partitions(kafka_cluster: Cluster, log: KafkaLog, tmp_path: Path) -> None:
    """Who asked while there was no leader must not believe in the dead one for ever."""
    with closing(KafkaLog(kafka_cluster.bootstrap, answer_timeout_s=4, index_directory=tmp_path)) as asking:
        topic = make_topic(log, 6)
        partitions = [TopicPartition(topic, number) for number in range(6)]

        def told() -> bool:
            try:
                return set(asking.ends(partitions).values()) == {0}
            except Unavailable as error:
                print(error)
                return False

        eventually(told, PATIENCE_S, "the ends are told")
        kafka_cluster.kill(leader_of(kafka_cluster, topic))
        eventually(told, PATIENCE_S, "the ends are told while the broker is dead")


def test_beside_a_dead_broker_no_client_keeps_the_processor_busy(kafka_cluster: Cluster, tmp_path: Path) -> None:
    """Not even while a question waits for that broker: with one wrong setting that alone took half a core and more."""
    with closing(KafkaLog(kafka_cluster.bootstrap, answer_timeout_s=4, index_directory=tmp_path)) as log:
        topic = make_topic(log, 3, records=1)
        attendance = Attendance(log, fresh("group"), PATIENCE_S)
        attendance.owns(attendance.join(log, [topic]), 3)
        reader = log.reader()
        reader.assign({TopicPartition(topic, number): 0 for number in range(3)})
        carry_out(log.writer(fresh("writer")), writing([NewRecord(topic, 0, b"k", b"1")]), PATIENCE_S)
        victim = leader_of(kafka_cluster, topic)
        assert _of_broker(log._connection, victim)
        kafka_cluster.kill(victim)
        for _ in attempts(PATIENCE_S, "the dead broker was waited for"):
            began_s, used_s = time.monotonic(), time.process_time()
            assert _of_broker(log._connection, victim) is None
            took_s, used_s = time.monotonic() - began_s, time.process_time() - used_s
            if took_s > 3:  # else its connection broke a moment ago, and the question with it
                break
        assert used_s / took_s < 0.2, "as a part of one core"


def test_groups_are_told_by_their_new_coordinators(kafka_cluster: Cluster, log: KafkaLog) -> None:
    topic, group = make_topic(log, records=3), fresh("group")
    partition = TopicPartition(topic, 0)
    attendance = Attendance(log, group, PATIENCE_S)
    member = attendance.join(log, [topic])
    attendance.owns(member, 1)
    attendance.commit(member, {partition: 2})
    attendance.leave(member)
    assert log.groups([group])[0].positions == log.committed(group, [partition]) == {partition: 2}
    dead = eventually(lambda: coordinator_of(kafka_cluster, group), PATIENCE_S, "the coordinator is told")
    kafka_cluster.kill(dead)
    for _ in attempts(PATIENCE_S, "the group has another coordinator"):
        if dead != coordinator_of(kafka_cluster, group) > 0:
            break
    kafka_cluster.restart(dead)  # it lives, and coordinates the group no more
    assert log.groups([group])[0].positions == log.committed(group, [partition]) == {partition: 2}


def test_appends_and_readers_survive_a_leader(kafka_cluster: Cluster, log: KafkaLog) -> None:
    topic = make_topic(log)
    confirmed: list[int] = []
    reader = log.reader()
    reader.assign({TopicPartition(topic, 0): 0})
    seen: list[int] = []
    for number in range(200):
        if number == 50:
            kafka_cluster.kill(leader_of(kafka_cluster, topic))
        try:
            log.append([NewRecord(topic, 0, b"k", b"%d" % number)])
        except Unavailable:
            continue
        confirmed.append(number)
        seen += numbers(reader.read(100, 0).records)
    assert len(confirmed) >= 150
    for _ in attempts(PATIENCE_S, "the reader saw everything that was confirmed", pause_s=0):
        seen += numbers(reader.read(100, 0.1).records)
        if set(confirmed) <= set(seen):
            break
    assert len(seen) == len(set(seen)), "nothing came twice"
    assert sorted(seen) == seen
