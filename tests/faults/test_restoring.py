"""A new owner restores while the marks of its predecessor's last commit are still under way.

The commit was answered, the group's position tells of it, and no record of it can be read yet: its marks are written
by each broker at its own time. The proxy keeps them from the broker that leads the events and states; the positions and
replies are led by the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

import headwater as hw
from headwater.environment import System
from headwater.log.kafka import KafkaLog
from headwater.log.port import Positions, TopicPartition
from headwater.log.topology import commands_topic, events_topic, owners_group, replies_topic, state_topic
from headwater.owners.partition import PartitionMemory
from headwater.owners.restore import restore
from headwater.owners.state_record import decode_covered
from headwater.owners.states import StatesInMemory
from headwater.testing import PrefixedLog, eventually
from headwater.testing.conformance.log.waiting import fresh
from headwater.testing.proxy import Api, Fault
from tests.bank import Account, Deposit
from tests.faults.conftest import Network
from tests.faults.work import PATIENCE_S

pytestmark = pytest.mark.kafka

ENTITY, GROUP = "account", owners_group("account")
app = hw.App("bank", aggregates=[Account], partitions=1)


class HastyLog(PrefixedLog):
    """Leaves out what is named in `without`: "settling" waits for open transactions, "marks" are the written ends up
    to which is read; without them it is read to what is the end at first sight."""

    without: frozenset[str] = frozenset()

    def settle(self, group: str, partitions: Sequence[TopicPartition]) -> None:
        if "settling" not in self.without:
            super().settle(group, partitions)

    def ends(self, partitions: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        return super().ends(partitions, committed=committed or "marks" in self.without)


class Bequest:
    """An account with three deposits, whose owner has left; the marks of the third are kept back.

    Arguments: network; log.
    """

    def __init__(self, network: Network, log: KafkaLog) -> None:
        self.network = network
        self.log = HastyLog(log, fresh("bequest") + "-")
        self.kept = self._leave()
        self.commands = TopicPartition(commands_topic(ENTITY), 0)

    def _leave(self) -> Fault:
        admin = AdminClient({"bootstrap.servers": self.network.cluster.bootstrap, "log_level": 0})
        coordinator = eventually(lambda: coordinator_of(admin, self.log.prefix + GROUP), PATIENCE_S)
        (other,) = {node.id for node in self.network.cluster.nodes} - {coordinator}
        places = {commands_topic: coordinator, replies_topic: coordinator, events_topic: other, state_topic: other}
        topics = [NewTopic(self.log.prefix + of(ENTITY), 1, replica_assignment=[[at]]) for of, at in places.items()]
        for created in admin.create_topics(topics).values():
            created.result(timeout=60)
        with app.run(self.log, only=["commands"]) as bank:
            for number in (1, 2):
                bank.send(Deposit("ann", Decimal(number)))
            written = [TopicPartition(of(ENTITY), 0) for of in (events_topic, state_topic)]
            eventually(lambda: self.log.ends(written) == self.log.ends(written, committed=False))
            kept = self.network.proxy.keep_request(Api.WRITE_TXN_MARKERS, port=self.network.port_of(other), times=1000)
            assert bank.send(Deposit("ann", Decimal(3))).version == 3
        eventually(lambda: kept.caught)  # to each broker in its own time
        return kept

    def restored(self) -> PartitionMemory:
        return restore(self.log, ENTITY, GROUP, {0: StatesInMemory()}, 1, True, System())[0]

    def questions(self) -> int:
        """How often somebody asked whether there is news."""
        asking = (Api.LIST_OFFSETS, Api.FETCH, Api.INIT_PRODUCER_ID)
        return sum(request.api in asking for _, request in self.network.proxy.requests)


def coordinator_of(admin: AdminClient, group: str) -> int | None:
    """The broker that keeps a group's positions; None: it is not known yet."""
    try:
        node: int = admin.describe_consumer_groups([group])[group].result(timeout=60).coordinator.id
    except KafkaException:
        return None
    return node


def versions(memory: PartitionMemory) -> set[int]:
    """Which versions of the account are known: that of its state, and one more for each event after it."""
    assert isinstance(memory.states, StatesInMemory)
    (state,) = memory.states.records.values()
    covered = decode_covered(state)
    return set(range(1, covered.version + sum(map(len, memory.tail.values())) + 1))


@pytest.mark.parametrize("without", [set(), {"settling"}, {"marks"}], ids=["as it is", "marks alone", "settling alone"])
def test_the_last_commit_is_waited_for(network: Network, log: KafkaLog, without: set[str]) -> None:
    bequest = Bequest(network, log)
    position: Positions = bequest.log.committed(GROUP, [bequest.commands])
    assert position == {bequest.commands: 3}, "the group's position tells of the third"
    bequest.log.without = frozenset(without)
    with ThreadPoolExecutor(1) as restoring:
        future: Future[PartitionMemory] = restoring.submit(bequest.restored)
        asked = bequest.questions()
        eventually(lambda: bequest.questions() > asked + 20, PATIENCE_S)
        assert not future.done(), "it waits"
        bequest.kept.release()
        memory = future.result(PATIENCE_S)
    assert (memory.next_command, versions(memory)) == (3, {1, 2, 3})


def test_to_the_first_end_the_last_commit_is_lost(network: Network, log: KafkaLog) -> None:
    bequest = Bequest(network, log)
    bequest.log.without = frozenset({"settling", "marks"})
    memory = bequest.restored()
    assert memory.next_command == 3, "the third deposit is taken for done"
    assert versions(memory) == {1, 2}, "and its version would be given again"
