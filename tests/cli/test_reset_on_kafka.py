"""`hw reset` beside kafka-consumer-groups on one broker: the same words, the same positions; and what it does that the
other cannot."""

from __future__ import annotations

import shlex
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition

from headwater.log.opening import open_log
from headwater.log.port import NewRecord, TopicPartition, TopicSpec
from headwater.testing import eventually
from headwater.testing.conformance.log.waiting import fresh, settled_ends
from tests.cli.conftest import Shell
from tests.cli.consumer_groups import consumer_groups, offsets_in
from tests.cli.test_on_kafka import PATIENCE_S, SESSIONS, TILL_APP
from tests.cli.test_run import Process

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

HOUR_MS = 3_600_000
SCENARIOS = (
    "--to-earliest",
    "--to-latest",
    "--to-current",
    "--to-offset 4",
    "--to-offset 1000",
    "--shift-by -2",
    "--shift-by 3",
    "--by-duration PT4H30M",
)


@pytest.fixture
def server(kafka_broker: str) -> str:
    return kafka_broker.removeprefix("kafka://")


@pytest.fixture
def topic(kafka_broker: str) -> str:
    """Three partitions with 9 records each, one an hour, the last ones in a transaction; one that is empty."""
    name = fresh("reset")
    now_ms = int(time.time() * 1000)
    with closing(open_log(kafka_broker)) as log, closing(log.writer(f"{name}-writer")) as writer:
        log.create_topics([TopicSpec(name, 4)])
        records = [
            NewRecord(name, p, b"k", b"%d" % n, timestamp_ms=now_ms - (9 - n) * HOUR_MS)
            for p in range(3)
            for n in range(9)
        ]
        log.append([record for record in records if (record.value or b"") < b"6"])
        writer.transact(lambda transaction: transaction.write([one for one in records if (one.value or b"") >= b"6"]))
        settled_ends(log, name, PATIENCE_S)
    return name


def commit(server: str, group: str, topic: str, offsets: dict[int, int]) -> None:
    """As a program of others would: no member, no mark."""
    consumer = Consumer({"bootstrap.servers": server, "group.id": group})
    at = [KafkaPartition(topic, partition, offset) for partition, offset in offsets.items()]
    consumer.commit(offsets=at, asynchronous=False)
    consumer.close()


@pytest.fixture
def group(server: str, topic: str) -> str:
    name = fresh("theirs")
    commit(server, name, topic, {0: 3, 1: 7, 2: 0})
    return name


def test_every_scenario_gives_the_positions_of_kafka_consumer_groups(
    shell: Shell, kafka_broker: str, server: str, topic: str, group: str
) -> None:
    at = f"--topic {topic}:0,1,2"
    when = time.strftime("%Y-%m-%dT%H:%M:%S.000", time.gmtime(time.time() - 2.5 * 3600))
    for scenario in (*SCENARIOS, f"--to-datetime {when}", f"--to-datetime {when}Z"):
        words = shlex.split(f"--reset-offsets --group {group} {at} {scenario}")
        theirs = offsets_in(consumer_groups(server, *words).out)
        ours = offsets_in(shell(f"reset --on {kafka_broker} --group {group} {at} {scenario} --output table").out)
        assert theirs, scenario
        assert ours == theirs, scenario


def test_positions_are_exchanged_as_csv(
    shell: Shell, kafka_broker: str, server: str, topic: str, group: str, directory: Path
) -> None:
    ours = shell(f"reset --on {kafka_broker} --group {group} --topic {topic} --to-offset 5 --export").out
    words = ["--reset-offsets", "--group", group, "--topic", topic, "--to-offset", "5", "--export"]
    theirs = consumer_groups(server, *words).out
    assert sorted(theirs.split()) == sorted(ours.split())
    (directory / "theirs.csv").write_text(theirs)
    moves = shell(f"reset --on {kafka_broker} --group {group} --from-file theirs.csv --execute").rows
    assert {move["partition"]: move["newOffset"] for move in moves} == {0: 5, 1: 5, 2: 5, 3: 0}
    described = consumer_groups(server, "--describe", "--group", group).out
    assert offsets_in(described, "CURRENT-OFFSET") == {(group, topic, p): at for p, at in enumerate([5, 5, 5, 0])}
    (directory / "ours.csv").write_text(ours.replace(",5", ",2"))
    words = ["--reset-offsets", "--group", group, "--from-file", str(directory / "ours.csv")]
    assert offsets_in(consumer_groups(server, *words).out) == {
        (group, topic, p): at for p, at in enumerate([2, 2, 2, 0])
    }
    shell(f"reset --on {kafka_broker} --group {group} --all-topics --shift-by 1 --execute")
    assert shell(f"reset --on {kafka_broker} --group {group} --all-topics --to-current").code == 0, "still theirs"


def test_both_refuse_while_a_member_lives(shell: Shell, kafka_broker: str, server: str, topic: str, group: str) -> None:
    patient = f"{kafka_broker}{SESSIONS}&poll_timeout_s=600"  # it does not read while the other tool runs
    with closing(open_log(patient)) as log, closing(log.member(group, [topic], name="reader")) as member:
        eventually(lambda: member.read(10, 0.2).assigned)
        words = ["--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute"]
        said = consumer_groups(server, *words)
        assert "can only be reset if the group" in said.out + said.err
        ended = shell(f"reset --on {kafka_broker} --group {group} --topic {topic} --to-earliest --execute")
        assert f"group {group} is being read by reader@" in ended.error
        assert shell(f"reset --on {kafka_broker} --group {group} --topic {topic} --to-earliest").code == 0


@pytest.fixture
def entity(directory: Path, kafka_broker: str) -> str:
    name = fresh("till")
    (directory / "tills.py").write_text(TILL_APP.format(entity=name))
    (directory / "headwater.toml").write_text(f'app = "tills:app"\non = "{kafka_broker}{SESSIONS}"\n')
    return name


PAY = """send Pay '{"till":"1","amount":"1.50"}'"""
ROWS = "query 'SELECT till, total FROM takings'"


def test_a_reset_made_with_the_other_tool_is_told_and_the_store_counts(
    shell: Shell, kafka_broker: str, server: str, entity: str
) -> None:
    runner, events = f"{entity}-takings-v1", f"{entity}-events"
    process = Process()
    try:
        process.said()
        for _ in range(4):
            assert shell(PAY).code == 0
        eventually(lambda: shell(ROWS).rows == [{"till": "1", "total": "6.00"}])
        with closing(open_log(kafka_broker)) as log:
            eventually(lambda: any(log.groups([runner])[0].positions.values()))
            assert process.stop(signal.SIGTERM) == 0
            eventually(lambda: not log.groups([runner])[0].members, saying="it has left")
    finally:
        process.popen.kill()
        process.popen.wait()
    words = ["--reset-offsets", "--group", runner, "--topic", events, "--to-earliest", "--execute"]
    consumer_groups(server, *words)
    ended = shell("lag --output table")
    assert f"group {runner} was set to 0 in {events}" in ended.err
    moves = shell(f"reset --group {runner} --all-topics --to-current").rows
    assert sum(move["currentOffset"] for move in moves) > 0, "the store's"
    again = Process()
    try:
        again.said()
        eventually(lambda: any(f"group {runner} was set to 0" in line for line in again.err.queue))
        assert shell(PAY).code == 0
        eventually(lambda: shell(ROWS).rows == [{"till": "1", "total": "7.50"}])
        with closing(open_log(kafka_broker)) as log:
            eventually(lambda: not log.groups([runner])[0].foreign)
            assert again.stop(signal.SIGTERM) == 0
            eventually(lambda: not log.groups([runner])[0].members, saying="it has left")
    finally:
        again.popen.kill()
        again.popen.wait()
    assert "by another program" not in shell("lag --output table").err
    shell(f"reset --group {runner} --all-topics --to-earliest --execute")
    assert "start the process that runs it" in shell(ROWS).error
    with closing(open_log(kafka_broker)) as log:
        [found] = log.groups([runner])
        assert (set(found.positions.values()), found.foreign) == ({0}, frozenset())
    assert TopicPartition(events, 0) in found.positions
