"""A process that opens and closes readers for as long as it lives."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from headwater.log.kafka.log import KafkaLog
from headwater.log.port import TopicPartition
from headwater.testing.conformance.log.waiting import carry_out, fresh, make_topic, numbered, writing
from headwater.testing.waiting import eventually

pytestmark = pytest.mark.kafka

MANY = 1100
"""A process can have 1,024 thread-local keys, and each client of the library has one."""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["readers", "members"])
def test_what_is_closed_gives_its_client_back(kafka_broker: str, tmp_path: Path, what: str) -> None:
    with closing(KafkaLog(kafka_broker.removeprefix("kafka://"), index_directory=tmp_path)) as log:
        topic = make_topic(log, 1)
        for number in range(MANY):
            one = log.reader() if what == "readers" else log.member(fresh("many"), [topic], name=f"m{number}")
            one.close()


def threads() -> set[str]:
    """Those of the client library in this process, by number."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            if (task / "comm").read_text().startswith("rdk:"):
                found.add(task.name)
    return found


def test_a_log_that_is_closed_has_no_thread_of_the_client_any_more(kafka_broker: str, tmp_path: Path) -> None:
    before = threads()  # of clients of earlier tests, which may be ending
    log = KafkaLog(kafka_broker.removeprefix("kafka://"), index_directory=tmp_path)
    topic = make_topic(log, 1)
    partition = TopicPartition(topic, 0)
    log.append(numbered(topic, 0, [1]))
    writer = log.writer(fresh("w"))
    carry_out(writer, writing(numbered(topic, 0, [2])), 60)
    reader, member = log.reader(), log.member(fresh("g"), [topic], name="m")
    reader.assign({partition: 0})
    eventually(lambda: member.read(1, 0.1).assigned)
    log.keyed(partition, b"none")
    log.groups()
    assert threads() - before
    log.close()
    eventually(lambda: threads() <= before)
    assert not reader.read(1, 0).records


def test_a_member_that_is_dropped_while_it_joins_its_group_holds_nobody_up(kafka_broker: str, tmp_path: Path) -> None:
    """librdkafka never comes back from it, with a thread that keeps a core busy."""
    with closing(KafkaLog(kafka_broker.removeprefix("kafka://"), index_directory=tmp_path)) as log:
        topic = make_topic(log, 1)

        def drop_one() -> None:
            joining = log.member(group := fresh("dropped"), [topic], name="dropped")
            eventually(lambda: joining.id and any(one.members for one in log.groups([group])))

        def drop_some() -> None:
            for _ in range(6):
                drop_one()

        dropping = threading.Thread(target=drop_some, daemon=True)
        dropping.start()
        dropping.join(120)
        assert not dropping.is_alive()


def test_a_member_can_be_closed_while_it_is_told_what_it_owns(kafka_broker: str, tmp_path: Path) -> None:
    """In a process of its own: where it cannot, nothing in the process goes on."""
    bootstrap = kafka_broker.removeprefix("kafka://")
    with closing(KafkaLog(bootstrap, index_directory=tmp_path)) as log:
        topic = make_topic(log, 1)
    program, seed = Path(__file__).with_name("closing_process.py"), random.randrange(1_000_000)
    command = [sys.executable, str(program), bootstrap, topic, str(seed), "100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "closed\n", f"seed {seed}: {done.stderr}"
