"""Members that keep their partitions while the group moves on, in virtual time on a model of Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.log.kafka import KafkaLog
from headwater.log.port import Aborted, Transaction
from headwater.testing.conformance.log.attendance import Attendance
from headwater.testing.conformance.log.waiting import fresh, make_topic, numbered, read_topic
from headwater.testing.simulation.client.producer import Producer
from headwater.testing.simulation.simulation import Simulation


def test_who_is_fenced_by_its_own_producer_while_the_group_moves_on_does_its_work_again(tmp_path: Path) -> None:
    """Were it `Fenced`, its reader would wait for an assignment that never comes: it keeps a partition."""
    simulation = Simulation(1)
    with simulation.running():
        log, other = (KafkaLog("simulated:9092", session_timeout_s=3, index_directory=tmp_path) for _ in range(2))
        source, target = make_topic(log, 2), make_topic(log)
        attendance = Attendance(log, fresh("group"), 60)
        member = attendance.join(log, [source])
        attendance.owns(member, 2)
        writer, owned = log.writer(fresh("writer")), attendance.owned[member]
        id = writer._turns[0].id

        def fill(transaction: Transaction) -> None:
            transaction.append(numbered(target, 0, [1]))
            transaction.positions(attendance.group, dict.fromkeys(owned, 1), member.fence())
            group = simulation.cluster.group(attendance.group)
            other.member(attendance.group, [source], name="other")
            while group.generation < 2 or group.state != "stable":
                simulation.scheduler.sleep(0.1)
            Producer(simulation, {"transactional.id": id}).init_transactions()

        with pytest.raises(Aborted):
            writer.transact(fill)
        assert read_topic(log, target, 60) == []
        log.close()
