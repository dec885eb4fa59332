"""The transaction coordinator, as clients from before KIP-890 meet it.

    Empty ─add─► Ongoing ─end─► Prepare ─the last mark is written─► Complete ─add─► Ongoing …

"OK" to a commit means that it is decided (Prepare). The marks are written afterwards, to each partition at its own
time. A transaction is known by producer id and epoch alone, and those stay the same from one transaction to the
next: a request that comes late is taken for one of the transaction that is open then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

from confluent_kafka import KafkaError

from headwater.testing.simulation.cluster.partition import Refused

Where = tuple[str, int]
"""Topic and partition; the positions of groups have one, too."""

State = Literal["empty", "ongoing", "prepare", "complete"]


class Transactional:
    """What is known of a transactional id."""

    def __init__(self, id: str, pid: int) -> None:
        self.id, self.pid, self.epoch = id, pid, -1
        self.state: State = "empty"
        self.commit = False
        self.partitions: dict[Where, None] = {}
        self.timeout_s = 60.0
        self.number = 0  # of its transaction, for the time limit


class TransactionCoordinator:
    """Arguments: later: has something done after so many seconds; mark: writes a mark (partition, producer id, epoch,
    commit); mark_delay_s: how long the mark for a partition takes; note: for the trace."""

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], None],
        mark: Callable[[Where, int, int, bool], None],
        mark_delay_s: Callable[[Where], float],
        note: Callable[[str], None],
    ) -> None:
        self._later, self._mark, self._mark_delay_s, self._note = later, mark, mark_delay_s, note
        self._ids: dict[str, Transactional] = {}
        self._by_pid: dict[int, Transactional] = {}
        self._last_pid = 1000

    def new_pid(self) -> int:
        self._last_pid += 1
        return self._last_pid

    def initialise(self, id: str, timeout_s: float) -> tuple[int, int]:
        """InitProducerId: producer id and epoch. Raises: Refused."""
        one = self._ids.get(id)
        if one is None:
            one = self._ids[id] = Transactional(id, self.new_pid())
            self._by_pid[one.pid] = one
        if one.state == "ongoing":
            one.epoch += 1
            self._prepare(one, False)
        if one.state == "prepare":
            raise Refused(KafkaError.CONCURRENT_TRANSACTIONS)
        one.epoch += 1
        one.state, one.timeout_s = "empty", timeout_s
        return one.pid, one.epoch

    def add(self, id: str, pid: int, epoch: int, partitions: Iterable[Where]) -> None:
        """AddPartitionsToTxn, AddOffsetsToTxn. Raises: Refused."""
        one = self._checked(id, pid, epoch)
        if one.state == "prepare":
            raise Refused(KafkaError.CONCURRENT_TRANSACTIONS)
        if one.state != "ongoing":
            one.state = "ongoing"
            one.number += 1
            one.partitions.clear()
            self._limit(one)
        one.partitions.update(dict.fromkeys(partitions))

    def end(self, id: str, pid: int, epoch: int, commit: bool) -> None:
        """EndTxn. Raises: Refused."""
        one = self._checked(id, pid, epoch)
        match one.state:
            case "ongoing":
                self._prepare(one, commit)
            case "complete" if one.commit == commit:
                pass
            case "prepare" if one.commit == commit:
                raise Refused(KafkaError.CONCURRENT_TRANSACTIONS)
            case _:
                raise Refused(KafkaError.INVALID_TXN_STATE)

    def verify(self, pid: int, epoch: int, partition: Where) -> None:
        """Whether a transaction that wants to begin in a partition has been told of here. Raises: Refused."""
        one = self._by_pid.get(pid)
        if one is None or one.epoch != epoch:
            raise Refused(KafkaError.INVALID_PRODUCER_EPOCH)
        if one.state != "ongoing" or partition not in one.partitions:
            raise Refused(KafkaError.INVALID_TXN_STATE)

    @property
    def quiet(self) -> bool:
        """Whether nothing is open or waits for its marks."""
        return all(one.state in ("empty", "complete") for one in self._ids.values())

    def _checked(self, id: str, pid: int, epoch: int) -> Transactional:
        one = self._ids.get(id)
        if one is None or one.pid != pid:
            raise Refused(KafkaError.INVALID_PRODUCER_ID_MAPPING)
        if one.epoch != epoch:
            raise Refused(KafkaError.PRODUCER_FENCED)
        return one

    def _prepare(self, one: Transactional, commit: bool) -> None:
        one.state, one.commit = "prepare", commit
        self._note(f"{'commit' if commit else 'abort'} of {one.id} (epoch {one.epoch}) is decided")
        missing = dict(one.partitions)
        if not missing:
            one.state = "complete"

        def write(partition: Where) -> None:
            self._mark(partition, one.pid, one.epoch, commit)
            del missing[partition]
            if not missing:
                one.state = "complete"

        for partition in one.partitions:
            self._later(self._mark_delay_s(partition), partial(write, partition))

    def _limit(self, one: Transactional) -> None:
        number = one.number

        def expire() -> None:
            if one.number == number and one.state == "ongoing":
                self._note(f"the time of {one.id} is over")
                one.epoch += 1
                self._prepare(one, False)

        self._later(one.timeout_s, expire)
