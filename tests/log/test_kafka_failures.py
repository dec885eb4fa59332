"""What goes wrong around a log on Kafka: owners that freeze or die, brokers that go away, damaged files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from headwater.errors import Misuse, Unavailable
from headwater.log.kafka import KafkaLog
from headwater.log.kafka.connection import Connection, Contact, KafkaOptions
from headwater.log.port import Aborted, NewRecord, Reader, TopicPartition, Transaction
from headwater.testing.brokers import Cluster, start_brokers
from headwater.testing.conformance.log.attendance import Attendance
from headwater.testing.conformance.log.waiting import (
    attempts,
    carry_out,
    eventually,
    fresh,
    make_topic,
    numbered,
    numbers,
    read_topic,
    settled_ends,
    writing,
)
from tests.conftest import CACHE, absent
from tests.timing import in_time

pytestmark = pytest.mark.kafka
PATIENCE_S = 60.0


@pytest.fixture
def log(kafka_broker: str, tmp_path: Path) -> Iterator[KafkaLog]:
    log = KafkaLog(kafka_broker.removeprefix("kafka://"), session_timeout_s=3, index_directory=tmp_path / "keys")
    yield log
    log.close()


class Child:
    """An owner in another process: see `kafka_process`."""

    def __init__(self, kafka_broker: str, source: str, target: str, group: str) -> None:
        program = Path(__file__).with_name("kafka_process.py")
        self.process = subprocess.Popen(
            [sys.executable, str(program), kafka_broker.removeprefix("kafka://"), source, target, group],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def carries_out(self, line: str, answer: str) -> None:
        """Has something done by an owner. On a machine that stood still the group may have dropped it: then it is done
        when it owns its partition again."""
        for _ in attempts(PATIENCE_S, f"{line} was answered with {answer}"):
            self.order("own 0")
            assert self.answer() == "owns"
            self.order(line)
            if self.answer() == answer:
                return

    def order(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


@pytest.fixture
def topics_and_group(log: KafkaLog) -> tuple[str, str, str]:
    return make_topic(log, records=20), make_topic(log), fresh("group")


@pytest.fixture
def child(kafka_broker: str, topics_and_group: tuple[str, str, str]) -> Iterator[Child]:
    child = Child(kafka_broker, *topics_and_group)
    yield child
    child.process.kill()
    child.process.wait()


def test_an_owner_that_was_frozen_and_replaced_is_refused(
    log: KafkaLog, child: Child, topics_and_group: tuple[str, str, str]
) -> None:
    source, target, group = topics_and_group
    partition = TopicPartition(source, 0)
    child.carries_out("commit 1", "committed")
    child.signal(signal.SIGSTOP)
    attendance = Attendance(log, group, PATIENCE_S)
    successor = attendance.join(log, [source], "successor")
    attendance.owns(successor, 1)
    log.settle(group, [partition, TopicPartition(target, 0)])

    def fill(transaction: Transaction) -> None:
        transaction.append(numbered(target, 0, [2]))
        transaction.positions(group, {partition: 2}, successor.fence())

    attendance.carry_out(successor, log.writer(fresh("successor")), fill, 1)
    child.signal(signal.SIGCONT)
    for _ in attempts(PATIENCE_S, "it was told that it owns nothing any more"):
        child.order("commit 10")
        if (answer := child.answer()) == "Fenced":
            break
        assert answer == "Aborted", "as long as the group does not say whom it knows"
    assert numbers(read_topic(log, target, PATIENCE_S)) == [1, 2]
    assert log.committed(group, [partition]) == {partition: 2}
    attendance.leave(successor)


@pytest.mark.parametrize("order", ["open 2", "idle"])
def test_what_an_owner_left_open_when_it_was_killed_is_ended_at_once(
    log: KafkaLog, child: Child, topics_and_group: tuple[str, str, str], order: str
) -> None:
    source, target, group = topics_and_group
    child.carries_out("commit 1", "committed")
    if order != "idle":
        child.carries_out(order, "open")
    child.signal(signal.SIGKILL)
    attendance = Attendance(log, fresh("other"), PATIENCE_S)
    attendance.group = group
    member = log.member(group, [source], name="successor")
    for _ in attempts(PATIENCE_S, "the successor owns the partition", pause_s=0):
        if member.read(0, 0.05).assigned:
            break
    started = time.monotonic()
    log.settle(group, [TopicPartition(source, 0), TopicPartition(target, 0)])
    took_s = time.monotonic() - started
    assert took_s < 30, "the child's transaction time-out is a minute"
    end = [TopicPartition(target, 0)]
    assert log.ends(end) == log.ends(end, committed=False)
    assert log.committed(group, [TopicPartition(source, 0)]) == {TopicPartition(source, 0): 1}
    assert numbers(read_topic(log, target, PATIENCE_S)) == [1]
    member.close()


def appended(records: list[NewRecord], told: list[int], transaction: Transaction) -> None:
    told.extend(transaction.append(records))


def test_a_committed_transaction_ends_with_an_offset_that_is_no_record(log: KafkaLog) -> None:
    topic = make_topic(log)
    writer = log.writer(fresh("writer"))
    told: list[int] = []
    for number in range(3):
        records = numbered(topic, 0, [number])
        carry_out(writer, partial(appended, records, told), PATIENCE_S)
        # A commit is told before its marks are written, so the next record might come before the mark.
        assert settled_ends(log, topic, PATIENCE_S) == {TopicPartition(topic, 0): 2 * number + 2}
    assert told == [0, 2, 4]


def test_large_headers_count_too(log: KafkaLog) -> None:
    topic = make_topic(log)
    record = NewRecord(topic, 0, b"the-key", b"small", [("large", b"h" * 1_100_000)])
    with pytest.raises(Misuse, match=topic):
        log.append([record])
    with pytest.raises(Misuse, match=topic):
        log.writer(fresh("writer")).transact(writing([record]))
    assert read_topic(log, topic, PATIENCE_S) == []


def test_a_producer_that_reported_anything_during_a_transaction_is_replaced(log: KafkaLog) -> None:
    topic = make_topic(log)
    writer = log.writer(fresh("writer"))
    turn = writer._turns[0]

    def fill(transaction: Transaction) -> None:
        transaction.append(numbered(topic, 0, [1]))
        turn._log.log(6, "%s", "Disconnected while requesting")

    carry_out(writer, fill, PATIENCE_S)
    assert turn._producer is None
    for number in (2, 3):
        carry_out(writer, writing(numbered(topic, 0, [number])), PATIENCE_S)
    assert numbers(read_topic(log, topic, PATIENCE_S)) == [1, 2, 3]


def test_a_line_that_comes_after_the_commit_replaces_its_producer_too(log: KafkaLog) -> None:
    topic = make_topic(log)
    writer = log.writer(fresh("writer"))
    turns = list(writer._turns)
    count = 0

    def write() -> None:
        nonlocal count
        carry_out(writer, writing(numbered(topic, 0, [count])), PATIENCE_S)
        count += 1

    for _ in attempts(PATIENCE_S, "both producers were without a doubt"):
        write()
        if all(turn._producer is not None for turn in turns):
            break
    before = [turn._producer for turn in turns]
    kept = turns[1]._log, turns[1]._lines_at_end
    turns[0]._log.log(6, "%s", "Disconnected, noticed late")
    write()
    write()
    assert turns[0]._producer is not before[0]
    assert turns[1]._producer is before[1] or kept[0].lines > kept[1], "the other one said nothing, and is kept"
    assert numbers(read_topic(log, topic, PATIENCE_S)) == list(range(count))


def test_times_of_events_may_be_long_past_and_far_ahead_and_delete_nothing(log: KafkaLog) -> None:
    topic = make_topic(log)
    year_ms = 365 * 86_400_000
    times = [28 * year_ms, 230 * year_ms]  # 1997 and 2199
    log.append([NewRecord(topic, 0, b"k", b"0", (), times[0]), NewRecord(topic, 0, b"k", b"1", (), times[1])])
    again = [NewRecord(topic, 0, b"k", b"%d" % (2 + n), (), time) for n, time in enumerate(times)]
    carry_out(log.writer(fresh("writer")), writing(again), PATIENCE_S)
    assert [record.timestamp_ms for record in read_topic(log, topic, PATIENCE_S)] == times * 2
    settings = log._administration._settings([topic])[topic]
    kept = {name: settings[name].value for name in ("retention.ms", "retention.bytes", "cleanup.policy")}
    assert kept == {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}


class TestKeys:
    def test_a_damaged_index_is_built_anew(self, log: KafkaLog, kafka_broker: str, tmp_path: Path) -> None:
        topic = make_topic(log, records=100)
        partition = TopicPartition(topic, 0)
        assert len(log.keyed(partition, b"key-3")) == 10
        log.close()
        (file,) = (tmp_path / "keys").rglob("0.db")
        file.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)
        again = KafkaLog(kafka_broker.removeprefix("kafka://"), index_directory=tmp_path / "keys")
        assert len(again.keyed(partition, b"key-3")) == 10
        again.close()

    def test_the_second_question_reads_only_its_answer(self, log: KafkaLog) -> None:
        topic = make_topic(log, records=5000)
        partition = TopicPartition(topic, 0)
        log.keyed(partition, b"key-1")
        before = log.records_read
        assert len(log.keyed(partition, b"key-2")) == 500
        assert log.records_read - before == 500

    def test_records_without_a_key_are_passed_over(self, log: KafkaLog) -> None:
        topic = make_topic(log)
        log.append([NewRecord(topic, 0, None, b"nobody's"), NewRecord(topic, 0, b"k", None, [("h", b"1")], 5)])
        (record,) = log.keyed(TopicPartition(topic, 0), b"k")
        assert (record.value, record.timestamp_ms, [tuple(h) for h in record.headers]) == (None, 5, [("h", b"1")])


class TestNobodyThere:
    def test_a_refused_connection_is_known_at_once_and_says_what_to_do(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{listener.getsockname()[1]}"

            def refused() -> None:
                with pytest.raises(Unavailable, match=f"{address}.*python -m headwater.testing.broker_command start"):
                    KafkaLog(address)

            in_time(2, refused)  # nobody listens there, and nobody else can

    def test_a_server_that_never_answers_is_waited_for_so_long(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()

            def unanswered() -> None:
                with pytest.raises(Unavailable):
                    KafkaLog(f"127.0.0.1:{listener.getsockname()[1]}", connect_timeout_s=1)

            in_time(3, unanswered)

    @pytest.mark.parametrize("address", ["localhost", "localhost:kafka", ""])
    def test_an_address_needs_host_and_port(self, address: str) -> None:
        with pytest.raises(Misuse, match="host:port"):
            KafkaLog(address)


def test_records_fetched_before_the_cluster_went_away_do_not_hide_that_it_did(own_broker: Cluster) -> None:
    now = [0.0]
    connection = Connection(own_broker.bootstrap, KafkaOptions(answer_timeout_s=4.0))
    contact = Contact(connection, lambda: now[0])
    own_broker.kill(1)
    contact.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    contact.heard()
    contact.check()
    now[0] = 2.0
    with pytest.raises(Unavailable, match="1/1 brokers are down"):
        contact.check()
    own_broker.restart(1)

    def heard_of() -> bool:
        """Whether it is in touch again. A slow broker does not answer a check in time."""
        try:
            contact.check()
        except Unavailable:
            return False
        return contact.down_since is None

    eventually(heard_of, PATIENCE_S, "the broker answers again")


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A broker that may be paused and killed."""
    try:
        cluster = start_brokers(1, tmp_path_factory.mktemp("own-broker"), cache=CACHE)
    except Unavailable as error:
        absent(str(error))
    yield cluster
    cluster.delete()


def read_on(reader: Reader, waiting_for: str) -> None:
    for _ in attempts(PATIENCE_S, waiting_for, pause_s=0):
        reader.read(100, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["paused", "killed"])
def test_while_the_broker_is_gone_calls_end_and_later_they_work_again(
    own_broker: Cluster, tmp_path: Path, how: str
) -> None:
    log = KafkaLog(
        own_broker.bootstrap,
        answer_timeout_s=1.5,
        transaction_timeout_s=3,
        session_timeout_s=3,
        index_directory=tmp_path,
    )
    patient = KafkaLog(own_broker.bootstrap, answer_timeout_s=PATIENCE_S, index_directory=tmp_path)
    topic = make_topic(patient)
    partition = TopicPartition(topic, 0)
    writer, reader = log.writer(fresh("writer")), log.reader()

    def works(call: Callable[[], object]) -> bool:
        try:
            call()
        except (Unavailable, Aborted):
            return False
        return True

    # On a busy machine an answer may take longer than this log waits for one.
    eventually(lambda: works(lambda: log.append(numbered(topic, 0, [0]))), PATIENCE_S, "append works")
    eventually(lambda: works(lambda: writer.transact(writing(numbered(topic, 0, [1])))), PATIENCE_S, "transact works")
    settled_ends(patient, topic, PATIENCE_S)
    reader.assign({partition: 0})
    if how == "paused":
        own_broker.pause(1)
    else:
        own_broker.kill(1)
    calls: dict[str, Callable[[], object]] = {
        "ends": lambda: log.ends([partition]),
        "append": lambda: log.append(numbered(topic, 0, [100])),
        "transact": lambda: writer.transact(writing(numbered(topic, 0, [101]))),
        "committed": lambda: log.committed("group", [partition]),
        "groups": log.groups,
        "keyed": lambda: log.keyed(partition, b"key-0"),
        "topics": log.topics,
    }
    for name, call in calls.items():
        started = time.monotonic()
        with pytest.raises(Unavailable, match=own_broker.bootstrap):
            call()
        assert time.monotonic() - started < 30, name
    with pytest.raises(Unavailable, match=own_broker.bootstrap):
        read_on(reader, "a reader told that the broker is gone")
    if how == "paused":
        own_broker.resume(1)
    else:
        own_broker.restart(1)
    calls["transact"] = lambda: writer.transact(writing(numbered(topic, 0, [2])))
    calls["append"] = lambda: log.append(numbered(topic, 0, [3]))
    for name, call in calls.items():
        eventually(lambda: works(call), PATIENCE_S, f"{name} works again")  # noqa: B023 -- called within this turn
    seen = set(numbers(read_topic(patient, topic, PATIENCE_S)))
    assert {0, 1, 2, 3} <= seen, "nothing that was confirmed is lost"
    assert 101 not in seen, "what was refused is not there"
    patient.close()
    log.close()
