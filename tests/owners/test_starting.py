"""An owner looks at its topics before it starts: a count that moves keys is refused, with the way out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

import headwater as hw
from headwater.log.kafka import KafkaLog
from headwater.log.memory import MemoryLog
from headwater.log.port import Log, NewRecord, TopicDescription, TopicSpec
from headwater.log.topology import META_TOPIC, EntityTopics
from headwater.testing import PrefixedLog, eventually
from headwater.testing.conformance.log.waiting import fresh
from headwater.testing.places import forget_on_kafka
from tests.bank import Account, AccountEvent, Deposit
from tests.logs import OpenAgain
from tests.orders import Order, OrderPlaced, Payment, PlaceOrder, RequestPayment

app = hw.App("bank", aggregates=[Account], partitions=3)


def test_topics_that_were_there_before_with_another_count(log: Log) -> None:
    log.create_topics([TopicSpec("account-events", 5)])
    with (
        pytest.raises(
            hw.Misuse, match=r"'account' must have one partition count, but account-events has 5 partitions, "
        ),
        app.run(log),
    ):
        pass


def test_topics_that_were_there_before_with_the_same_count_are_taken(log: Log) -> None:
    log.create_topics([TopicSpec("account-events", 3)])
    with app.run(log, only=["commands"]) as bank:
        assert bank.send(Deposit("a", Decimal(1))).version == 1


def test_the_count_of_the_first_start_stays(open_again: OpenAgain) -> None:
    with app.run(open_again(), only=["commands"]) as bank:
        bank.send(Deposit("a", Decimal(1)))
    wider = hw.App("bank", aggregates=[Account], partitions=16)
    log = open_again()
    with wider.run(log, only=["commands"]) as bank:
        assert bank.send(Deposit("a", Decimal(1))).version == 2
    assert log.topics()["account-commands"].partitions == 3


@pytest.mark.parametrize(
    ("record_of", "words"),
    [
        ("another log", r"topics of 'account' were recorded on the log .*, and this is "),
        ("other topics", r"topic account-\w+ was deleted and made again \(its id was .*, now .*\)"),
    ],
)
def test_a_record_of_what_is_not_there(log: Log, record_of: str, words: str) -> None:
    with app.run(log, only=["commands"]):
        pass
    other = MemoryLog()
    with app.run(other, only=["commands"]):
        pass
    there = {name: topic.id for name, topic in log.topics().items() if name.startswith("account-")}
    record = EntityTopics("account", 3, log.id if record_of == "another log" else other.id, there)
    other.append([NewRecord(META_TOPIC, 0, b"account", msgspec.json.encode(record))])
    with pytest.raises(hw.Unavailable, match=words), app.run(other):
        pass


class LateLog(PrefixedLog):
    """A log that has not heard of new topics yet when it is asked for the first time, as one of several brokers may."""

    def __init__(self, log: Log) -> None:
        super().__init__(log, "")
        self._heard_of: set[str] = set()

    def topics(self, names: Collection[str] | None = None) -> dict[str, TopicDescription]:
        there = super().topics(names)
        heard_of, self._heard_of = self._heard_of, self._heard_of | there.keys()
        return {name: topic for name, topic in there.items() if name in heard_of}


def test_topics_of_which_a_broker_has_not_heard_yet_are_looked_for_again() -> None:
    log = MemoryLog()
    for _ in range(2):  # they are new, and then they are recorded
        with app.run(LateLog(log), only=["commands"]) as bank:
            bank.send(Deposit("a", Decimal(1)))
    assert {topic.partitions for name, topic in log.topics().items() if name.startswith("account-")} == {3}


@pytest.fixture
def on_kafka(kafka_broker: str, tmp_path: Path) -> Iterator[tuple[PrefixedLog, str, str]]:
    """A log, the broker's address and the prefix of the topics there: for what only a broker's tools can do."""
    bootstrap, prefix = kafka_broker.removeprefix("kafka://"), fresh("") + "-"
    log = KafkaLog(bootstrap, index_directory=tmp_path)
    yield PrefixedLog(log, prefix), bootstrap, prefix
    log.close()
    forget_on_kafka(kafka_broker, prefix)


@pytest.mark.kafka
def test_partitions_that_were_added_since(on_kafka: tuple[PrefixedLog, str, str]) -> None:
    from confluent_kafka.admin import AdminClient, NewPartitions

    log, bootstrap, prefix = on_kafka
    with app.run(log, only=["commands"]):
        pass
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for answer in admin.create_partitions([NewPartitions(f"{prefix}account-commands", 5)]).values():
        answer.result(60)
    # The broker learns of it a moment after it was confirmed.
    eventually(lambda: log.topics(["account-commands"])["account-commands"].partitions == 5)
    with (
        pytest.raises(hw.Misuse, match=r"account-commands was made with 3 partitions and has 5 now: keys have moved"),
        app.run(log),
    ):
        pass


@pytest.mark.kafka
def test_a_topic_that_is_gone(on_kafka: tuple[PrefixedLog, str, str]) -> None:
    from confluent_kafka.admin import AdminClient

    log, bootstrap, prefix = on_kafka
    with app.run(log, only=["commands"]):
        pass
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for answer in admin.delete_topics([f"{prefix}account-state"]).values():
        answer.result(60)
    eventually(lambda: not log.topics(["account-state"]))  # as above
    with pytest.raises(hw.Unavailable, match="account-state was recorded but is gone; restore it"), app.run(log):
        pass


class Ledger(hw.Aggregate[AccountEvent]):
    """Another owner of accounts."""


def test_an_entity_type_has_one_owner_in_an_app() -> None:
    with pytest.raises(hw.Misuse, match="app 'bank' has two owners of 'account'"):
        hw.App("bank", aggregates=[Account, Ledger])


class Asking(hw.Process):
    """Knows nothing of payments but how to ask for them."""

    order_id: hw.Key[str]

    @hw.on(OrderPlaced)
    def ask(self, event: OrderPlaced) -> RequestPayment:
        return RequestPayment(f"p-{event.order_id}", event.total)


def test_a_process_waits_for_the_topics_of_those_it_sends_to(open_again: OpenAgain) -> None:
    """Payments belong to another app, which comes later: nothing is lost, nothing is sent twice."""
    orders = hw.App("orders", aggregates=[Order], processes=[Asking], partitions=2)
    payments = hw.App("payments", aggregates=[Payment], partitions=2)
    running = orders.run(open_again(), only=["commands", "processes"])
    with running as shop:
        shop.send(PlaceOrder("1", Decimal(3)))
        assert running.services is not None
        status = next(one for one in running.services.statuses if one.name == "asking-owner")
        eventually(lambda: status.state == "retrying")
        assert "no app has made the topics of 'payment'" in str(status.last_failure)
        with payments.run(open_again(), only=["commands"]) as till:
            assert eventually(lambda: till.find(Payment, "p-1")).requested == 1
            shop.send(PlaceOrder("2", Decimal(4)))
            assert eventually(lambda: till.find(Payment, "p-2")).requested == 1
            assert till.get(Payment, "p-1").requested == 1
