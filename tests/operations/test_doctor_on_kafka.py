"""`examine` on a real broker that is set up wrong, one thing at a time; and after what it advised was done."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions

import headwater as hw
from headwater.environment import System
from headwater.log.findings import Finding
from headwater.log.opening import open_log
from headwater.log.port import NewRecord, TopicPartition, TopicSpec
from headwater.log.topology import Topology
from headwater.operations.doctor import examine
from headwater.testing import PrefixedLog
from headwater.testing.conformance.log.waiting import attempts, eventually, fresh
from headwater.testing.places import forget_on_kafka
from tests.bank import Account, Deposit, Open

pytestmark = pytest.mark.kafka

PATIENCE_S = 60.0
OpenHere = Callable[..., PrefixedLog]


@pytest.fixture(scope="module")
def operator(kafka_broker: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka_broker.removeprefix("kafka://")})


@pytest.fixture
def open_here(kafka_broker: str, tmp_path: Path) -> Iterator[OpenHere]:
    """Opens the log of this test, with options of the address."""
    prefix = fresh("") + "-"
    with ExitStack() as opened:
        opened.callback(forget_on_kafka, kafka_broker, prefix)

        def open_(options: str = "") -> PrefixedLog:
            url = f"{kafka_broker}?index_directory={tmp_path / 'index'}{options}"
            return PrefixedLog(opened.enter_context(closing(open_log(url))), prefix)

        yield open_


@pytest.fixture
def log(open_here: OpenHere) -> PrefixedLog:
    """With the topics of an entity type."""
    log = open_here()
    Topology.read(log).ensure(["account"], partitions=2)
    return log


def wrong(log: PrefixedLog) -> list[Finding]:
    """What is not well, but for the one broker that all of this runs on."""
    found = [one for one in examine(log) if one.level in ("warning", "fault")]
    return [one for one in found if (one.check, one.where) != ("replication", "cluster")]


def only(findings: list[Finding]) -> Finding:
    (one,) = findings
    return one


def noticed(look: Callable[[], list[Finding]], patience_s: float, what: str) -> Finding:
    """The one thing that is wrong, once it is seen alone: what brokers tell of a change comes together in a moment."""
    return only(eventually(lambda: found if len(found := look()) == 1 else [], patience_s, what))


def ended(log: PrefixedLog) -> PrefixedLog:
    """A log, once all that was written to it is seen: a commit may be answered before its marks are written."""
    partitions = [TopicPartition(name, p) for name, topic in log.topics().items() for p in range(topic.partitions)]
    eventually(lambda: log.held(partitions) == {}, PATIENCE_S, "transactions have ended")
    return log


def alter(operator: AdminClient, kind: str, name: str, settings: dict[str, str]) -> None:
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in settings.items()]
    resource = ConfigResource(ConfigResource.Type[kind], name, incremental_configs=entries)
    for done in operator.incremental_alter_configs([resource]).values():
        done.result(60)


def obey(operator: AdminClient, todo: str | None, broker: str) -> None:
    """Does what a command line of kafka-configs.sh does."""
    program, *words = shlex.split(todo or "")
    assert program == "kafka-configs.sh"
    assert words[2] == "--alter"
    given = dict(zip(words[:2] + words[3:], (words[:2] + words[3:])[1:], strict=False))
    assert given["--bootstrap-server"] == broker.removeprefix("kafka://")
    settings = dict(part.split("=") for part in given["--add-config"].split(","))
    alter(operator, given["--entity-type"].removesuffix("s").upper(), given["--entity-name"], settings)


WRONG = [
    ("events", {"retention.ms": "604800000"}, "fault", "retention", "deleted after 7 d; they must be kept for ever"),
    ("events", {"retention.bytes": "1000000"}, "fault", "retention", "deleted past 1,000,000 bytes of a partition"),
    ("events", {"cleanup.policy": "compact"}, "fault", "retention", "all but the latest record of a key is removed"),
    ("state", {"cleanup.policy": "compact,delete"}, "fault", "retention", "states are deleted by age"),
    ("commands", {"cleanup.policy": "compact"}, "fault", "retention", "cleanup.policy=compact, not delete"),
    ("commands", {"retention.ms": "3600000"}, "warning", "retention", "what waits for longer is never carried out"),
    ("commands", {"message.timestamp.type": "CreateTime"}, "fault", "record times", "long ago is deleted unread"),
    ("events", {"message.timestamp.type": "LogAppendTime"}, "warning", "record times", "another time than readers"),
    ("events", {"message.timestamp.before.max.ms": "86400000"}, "fault", "record times", "another time is refused"),
    ("events", {"message.timestamp.after.max.ms": "3600000"}, "fault", "record times", "another time is refused"),
    ("events", {"max.message.bytes": "100000"}, "fault", "message size", "1,000,000 bytes, and would be refused"),
    ("events", {"unclean.leader.election.enable": "true"}, "fault", "unclean election", "may lead, and they are gone"),
    ("events", {"min.insync.replicas": "2"}, "fault", "min.insync.replicas", "nothing can be written"),
]


def test_what_an_app_makes_is_well(log: PrefixedLog) -> None:
    assert wrong(log) == []
    looked = {one.check for one in examine(log) if one.level == "ok"}
    assert looked == {
        *("record", "partition counts", "history", "in sync", "min.insync.replicas", "unclean election", "retention"),
        *("record times", "message size", "time-outs", "transactions", "stopped"),
    }


@pytest.mark.slow
def test_each_setting_of_a_topic(log: PrefixedLog, operator: AdminClient, kafka_broker: str) -> None:
    for topic, settings, level, check, says in WRONG:
        name = f"{log.prefix}account-{topic}"
        print(name, settings)
        alter(operator, "TOPIC", name, settings)
        found = noticed(lambda: wrong(log), PATIENCE_S, f"{settings} of {topic} were noticed")
        assert (found.level, found.check, found.where) == (level, check, f"topic {name}")
        assert says in found.found
        obey(operator, found.todo, kafka_broker)
        eventually(lambda: wrong(log) == [], PATIENCE_S, f"{found.todo} helped")


def test_partitions_that_were_added(log: PrefixedLog, open_here: OpenHere, operator: AdminClient) -> None:
    for done in operator.create_partitions([NewPartitions(f"{log.prefix}account-commands", 3)]).values():
        done.result(60)
    new, other = TopicPartition("account-commands", 2), open_here()
    eventually(lambda: other.topics([new.topic])[new.topic].partitions == 3, PATIENCE_S, "brokers know it")
    assert log.ends([new]) == {new: 0}, "also for who knew the topic before"
    both = eventually(lambda: found if len(found := wrong(log)) == 2 else [], PATIENCE_S, "the partition was noticed")
    record, counts = both
    assert (record.level, record.check, record.where) == ("fault", "record", "topic account-commands")
    assert "was made with 2 partitions and has 3 now: keys have moved" in record.found
    assert (counts.level, counts.check, counts.where) == ("fault", "partition counts", "entity type account")
    assert "account-commands 3, account-state 2" in counts.found
    assert "`hw replay`" in (counts.todo or "")


def test_topics_of_other_counts_that_no_app_has_used_yet(log: PrefixedLog) -> None:
    log.create_topics([TopicSpec("order-commands", 2), TopicSpec("order-state", 3, compacted=True)])
    found = only(wrong(log))
    assert (found.check, found.where) == ("partition counts", "entity type order")
    assert "order-commands, order-state" in (found.todo or "")


def test_events_that_are_gone(log: PrefixedLog, operator: AdminClient) -> None:
    log.append([NewRecord("account-events", 1, b"1", b"{}") for _ in range(5)])
    behind = KafkaPartition(f"{log.prefix}account-events", 1, 3)
    for done in operator.delete_records([behind]).values():
        done.result(60)
    found = only(wrong(log))
    assert (found.level, found.check, found.where) == ("fault", "history", "partition account-events/1")
    assert "begins at offset 3" in found.found


@pytest.fixture
def left_open(log: PrefixedLog, kafka_broker: str) -> Iterator[str]:
    """The transactional id of a producer that has written to the first partition of the events and does no more."""
    id = fresh("abandoned")
    producer = a_producer(kafka_broker, id)
    producer.begin_transaction()
    producer.produce(f"{log.prefix}account-events", b"{}", b"1", 0)
    assert producer.flush(60) == 0
    yield id
    del producer


def a_producer(broker: str, id: str) -> Producer:
    """Also ends what the id has open."""
    settings = {"bootstrap.servers": broker.removeprefix("kafka://"), "transactional.id": id, "log_level": 0}
    producer = Producer({**settings, "transaction.timeout.ms": 600_000})
    producer.init_transactions(60)
    return producer


def test_a_transaction_that_was_left_open(
    log: PrefixedLog, left_open: str, open_here: OpenHere, kafka_broker: str
) -> None:
    at = TopicPartition("account-events", 0)
    log.append([NewRecord(*at, b"1", b"{}")])
    assert log.ends([at]) == {at: 0}
    found = only(wrong(open_here("&transaction_timeout_s=600")))
    assert (found.level, found.check) == ("warning", "transactions"), "a program may take ten minutes if it says so"
    assert found.where == f"partition {log.prefix}{at}"
    assert f"nothing from offset 0 to 1 can be read: {left_open} (producer " in found.found
    assert f"forceTerminateTransaction --transactionalId {left_open}" in (found.todo or "")
    assert only(wrong(open_here("&transaction_timeout_s=1"))).level == "fault", "ours would have been over"
    a_producer(kafka_broker, left_open)
    eventually(lambda: wrong(log) == [], PATIENCE_S, "ended by a producer of the same name")


def test_time_limits_that_brokers_refuse(open_here: OpenHere, log: PrefixedLog) -> None:
    for option, says in {
        "transaction_timeout_s=1000": "our transactions ask for 1000 s, and are refused",
        "session_timeout_s=0.5": "members ask for a session of 0.5 s, and it allows 1 to 1800 s",
        "session_timeout_s=0.2&group_protocol=consumer": "members ask for a session of 0.2 s, and it allows 1 to 60 s",
    }.items():
        found = only(wrong(open_here(f"&{option}")))
        assert (found.level, found.check) == ("fault", "time-outs")
        assert says in found.found


def test_a_group_that_notices_a_dead_owner_late(
    open_here: OpenHere, log: PrefixedLog, operator: AdminClient, kafka_broker: str
) -> None:
    other = open_here("&group_protocol=consumer")
    member = other.member("account-owners", ["account-commands"], name="owner")
    with closing(member):
        owned: set[TopicPartition] = set()
        for _ in attempts(PATIENCE_S, "the member owns both partitions", pause_s=0):
            batch = member.read(1, 0.1)
            owned = owned - set(batch.revoked) | set(batch.assigned)
            if len(owned) == 2:
                break
        assert wrong(log) == []
        group = f"{log.prefix}account-owners"
        alter(operator, "GROUP", group, {"consumer.session.timeout.ms": "45000"})
        found = noticed(lambda: wrong(log), PATIENCE_S, "the time-out was noticed")
        assert (found.level, found.check, found.where) == ("warning", "time-outs", f"group {group}")
        obey(operator, found.todo, kafka_broker)
        eventually(lambda: wrong(log) == [], PATIENCE_S, f"{found.todo} helped")


class OffBy(System):
    """A machine whose clock is wrong. Arguments: s: how far it is ahead, in seconds."""

    def __init__(self, s: float) -> None:
        super().__init__()
        self._by = timedelta(seconds=s)

    def now(self) -> datetime:
        return super().now() + self._by


@pytest.mark.slow
@pytest.mark.parametrize(("s", "says"), [(120.0, r"s ahead of the broker"), (-120.0, r"s behind the broker")])
def test_an_owner_whose_clock_is_wrong(log: PrefixedLog, s: float, says: str) -> None:
    app = hw.App("bank", aggregates=[Account], partitions=2)
    with app.run(log, store="memory://", environment=OffBy(s)) as shop:
        shop.send(Open("1", "ann"))
    found = only(wrong(ended(log)))
    assert (found.level, found.check) == ("fault", "clocks")
    assert says in found.found
    assert "account-owners-" in found.found, "whose clock it was"
    with app.run(log, store="memory://") as shop:

        def right() -> bool:
            """Where the machine stood still before each of the newest three was appended, they look late, too."""
            for _ in range(3):
                shop.send(Deposit("1", Decimal(1)))
            return wrong(ended(log)) == []

        eventually(right, PATIENCE_S, "the newest states tell that clocks are right")
    assert [one.level for one in examine(log) if one.check == "clocks"] == ["ok"]
    here = [one for one in examine(log, OffBy(-60.0)) if one.check == "clocks"]
    assert only(here).where == "this machine"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["events", "commands", "state", "replies"])
def test_a_topic_that_was_deleted(log: PrefixedLog, open_here: OpenHere, operator: AdminClient, kind: str) -> None:
    """It is named, and all the rest is looked at: also what is wrong with a clock, unless it was the states."""
    topic = f"account-{kind}"
    with hw.App("bank", aggregates=[Account], partitions=2).run(
        log, store="memory://", environment=OffBy(120.0)
    ) as shop:
        shop.send(Open("1", "ann"))
    ended(log)
    delete(operator, log, topic)
    other = open_here()
    eventually(lambda: topic not in {**log.topics(), **other.topics()}, PATIENCE_S, "brokers know it")
    for knew_it, one in ((True, log), (False, other)):
        print("knew the topic before", knew_it)
        gone, *others = wrong(one)
        assert (gone.level, gone.check, gone.where) == ("fault", "record", f"topic {topic}")
        assert "was recorded but is gone" in gone.found
        assert [each.check for each in others] == ([] if kind == "state" else ["clocks"])
        told = {each.check: each.found for each in examine(one)}
        assert told.keys() >= {"record", "partition counts", "history", "transactions", "stopped", "clocks"}
        assert not [check for check, found in told.items() if "could not be looked at" in found]


@pytest.mark.slow
def test_a_topic_that_was_made_again_with_fewer_partitions(
    log: PrefixedLog, open_here: OpenHere, operator: AdminClient
) -> None:
    delete(operator, log, "account-state")
    eventually(lambda: "account-state" not in log.topics(), PATIENCE_S, "brokers know it")
    log.create_topics([TopicSpec("account-state", 1, compacted=True, log_time=True)])
    found = wrong(open_here())
    assert [one.check for one in found] == ["record", "partition counts"]
    assert "was made with 2 partitions and has 1 now" in found[0].found


def delete(operator: AdminClient, log: PrefixedLog, topic: str) -> None:
    for done in operator.delete_topics([f"{log.prefix}{topic}"]).values():
        done.result(60)
