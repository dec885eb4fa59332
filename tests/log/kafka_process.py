"""Another process on the same Kafka log, for tests that stop or kill it.

python kafka_process.py BOOTSTRAP SOURCE TARGET GROUP   joins the group; then every line of stdin
    "own 0"     reads until it owns the source; answers "owns"
    "commit N"  writes N to the target and moves the group to position N; answers "committed" or the error's name
    "open N"    does the same but for the commit: says "open" and waits
"""

from __future__ import annotations

import sys
import threading

from headwater.errors import HeadwaterError
from headwater.log.kafka import KafkaLog
from headwater.log.port import NewRecord, TopicPartition, Transaction


def main(bootstrap: str, source: str, target: str, group: str) -> None:
    log = KafkaLog(bootstrap, session_timeout_s=3, transaction_timeout_s=60)
    member = log.member(group, [source], name="child")
    writer = log.writer("child")
    owned: set[TopicPartition] = set()

    def read() -> None:
        batch = member.read(10, 0.05)
        owned.difference_update(batch.revoked)
        owned.update(batch.assigned)

    for line in sys.stdin:
        order, number = line.split()
        if order == "own":
            read()
            while not owned:
                read()
            print("owns", flush=True)
            continue

        def fill(transaction: Transaction, order: str = order, number: str = number) -> None:
            transaction.append([NewRecord(target, 0, b"child", number.encode())])
            transaction.positions(group, {TopicPartition(source, 0): int(number)}, member.fence())
            if order == "open":
                print("open", flush=True)
                threading.Event().wait()

        try:
            writer.transact(fill)
        except HeadwaterError as error:
            print(type(error).__name__, flush=True)
        else:
            print("committed", flush=True)
            read()


if __name__ == "__main__":
    main(*sys.argv[1:])
