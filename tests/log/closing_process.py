"""A process that closes members of groups while the news of their assignment waits to be polled.

python closing_process.py BOOTSTRAP TOPIC SEED MANY
    says "closed" at the end. The client's second question while it closes meets the broker's confirmation that the
    member left, at a moment that is drawn: where it was too late by a hair, it never had an answer.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

import confluent_kafka

from headwater.log.kafka import KafkaLog, membership
from headwater.testing.conformance.log.waiting import fresh
from headwater.testing.waiting import eventually


def main(bootstrap: str, topic: str, seed: int, many: int) -> None:
    chance = random.Random(seed)

    class Delayed(confluent_kafka.Consumer):
        def subscribe(self, topics: Any, on_assign: Any = None, on_revoke: Any = None, on_lost: Any = None) -> None:
            def told_late(*told: Any) -> None:
                until = time.perf_counter() + chance.uniform(0, 0.002)
                while time.perf_counter() < until:
                    pass
                on_revoke(*told)

            super().subscribe(topics, on_assign=on_assign, on_revoke=told_late, on_lost=on_lost)

    membership.Consumer = Delayed  # type: ignore[attr-defined]  # where it is looked up, which is no export
    log = KafkaLog(bootstrap)
    for _ in range(many):
        close_one(log, topic)
    print("closed", flush=True)


def close_one(log: KafkaLog, topic: str) -> None:
    joining = log.member(group := fresh("closing"), [topic], name="closing")
    eventually(lambda: joining.id and any(one.members for one in log.groups([group])))
    joining.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
