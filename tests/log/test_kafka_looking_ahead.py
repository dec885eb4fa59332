"""A member that is read ahead while a transaction is open: what came is prepared, and comes once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from unittest import mock

import pytest
from confluent_kafka import KafkaError, KafkaException

from headwater.errors import Unavailable
from headwater.log.kafka.log import KafkaLog
from headwater.log.kafka.membership import KafkaMember
from headwater.log.port import Batch, Member, TopicPartition, Transaction
from headwater.testing.conformance.log.waiting import fresh, make_topic, numbered, numbers
from headwater.testing.waiting import eventually

pytestmark = pytest.mark.kafka


@pytest.fixture
def log(kafka_broker: str, tmp_path: Path) -> Iterator[KafkaLog]:
    with closing(KafkaLog(kafka_broker.removeprefix("kafka://"), index_directory=tmp_path)) as log:
        yield log


class Read:
    """A member of a topic with two partitions, and a batch in which the first of the numbers came."""

    def __init__(self, log: KafkaLog) -> None:
        self.log, self.topic, self.group = log, make_topic(log, 2), fresh("group")
        self.member: Member = log.member(self.group, [self.topic], name="ahead")
        log.append(numbered(self.topic, 0, [0]))

        def first() -> Batch | None:
            batch = self.member.read(100, 0.1)
            if batch.assigned:
                self.member.start(dict.fromkeys(batch.assigned, 0))
            return batch if batch.records else None

        self.batch = eventually(first)

    def ahead(self, count: int) -> list[object]:
        """Writes numbers from 1 on, to both partitions in turn, and has them read ahead. Gives the list as it is; some
        are missing where the member's client has not got them yet."""
        for number in range(1, count + 1):
            self.log.append(numbered(self.topic, number % 2, [number]))
        seen = self.log.reader()  # when it has them all, so has the member's client, or it gets them in a moment
        seen.assign({TopicPartition(self.topic, p): 0 for p in range(2)})
        found: list[int] = []

        def all_there() -> bool:
            found.extend(numbers(seen.read(100, 0.1).records))
            return len(found) > count

        eventually(all_there)
        seen.close()
        ahead = self.batch.look_ahead()
        assert self.batch.look_ahead() is ahead
        assert isinstance(ahead, list)
        return ahead

    @contextmanager
    def failing(self, error: Exception) -> Iterator[None]:
        """While what brings the records raises this."""
        assert isinstance(self.member, KafkaMember)
        with mock.patch.object(self.member._reader, "read", side_effect=error):
            yield

    def rest(self, count: int) -> list[Batch]:
        """What comes from now on, until there are so many records."""
        batches: list[Batch] = []

        def enough() -> bool:
            batches.append(self.member.read(100, 0.1))
            return sum(len(batch.records) for batch in batches) >= count

        eventually(enough)
        return batches


def read_ahead(log: KafkaLog, count: int) -> tuple[Read, list[object]]:
    """A member that has read so many numbers ahead, from 1 on."""

    def attempt() -> tuple[Read, list[object]] | None:
        read = Read(log)
        ahead = read.ahead(count)
        if len(ahead) == count:
            return read, ahead
        read.member.close()
        return None

    return eventually(attempt)


def test_the_next_read_goes_on_with_the_list_that_was_read_ahead(log: KafkaLog) -> None:
    read, ahead = read_ahead(log, 10)
    begun = list(ahead)
    log.append(numbered(read.topic, 0, [11, 12, 13]))  # some of them are there by the next read, usually
    batches = read.rest(13)
    assert batches[0].records is ahead, "what was prepared is found again"
    assert batches[0].records[: len(begun)] == begun
    assert sorted(n for batch in batches for n in numbers(batch.records)) == list(range(1, 14))
    reached = {tp: at for batch in batches for tp, at in batch.reached.items()}
    assert reached == log.ends(sorted(reached)), "and so far it was read"
    read.member.close()


def test_what_is_read_again_from_the_beginning_comes_once(log: KafkaLog) -> None:
    """As after a transaction that was aborted."""
    read, _ = read_ahead(log, 10)
    read.member.start({TopicPartition(read.topic, 0): 0})
    found = [n for batch in read.rest(11) for n in numbers(batch.records)]
    assert sorted(found) == list(range(11))
    assert [n for n in found if n % 2 == 0] == [0, 2, 4, 6, 8, 10]
    read.member.close()


def test_what_is_lost_is_somebody_elses(log: KafkaLog) -> None:
    read, _ = read_ahead(log, 10)
    other = log.member(read.group, [read.topic], name="other")
    gone: list[TopicPartition] = []

    def revoked() -> bool:
        other.read(0, 0.05)
        gone.extend(read.member.read(0, 0.05).revoked)
        return bool(gone)

    eventually(revoked)
    kept = 1 - gone[0].partition
    wanted = [n for n in range(1, 11) if n % 2 == kept]
    assert [n for batch in read.rest(len(wanted)) for n in numbers(batch.records)] == wanted
    read.member.close()
    other.close()


def test_it_is_read_while_the_transaction_is_open(log: KafkaLog) -> None:
    read = Read(log)
    target, writer = TopicPartition(make_topic(log), 0), log.writer(fresh("writer"))
    log.append(numbered(read.topic, 0, [1]))
    ends: list[int] = []

    def meanwhile() -> None:
        read.batch.look_ahead()
        ends.append(log.ends([target])[target])

    def fill(tx: Transaction) -> None:
        tx.write(numbered(target.topic, 0, range(500)))
        tx.positions(read.group, read.batch.reached, read.member.fence())

    writer.transact(fill, meanwhile)
    assert ends == [0], "once, and nothing was committed by then"
    assert log.committed(read.group, list(read.batch.reached)) == read.batch.reached
    assert eventually(lambda: log.ends([target])[target]) >= 500
    read.member.close()


class Interrupted(BaseException):
    pass


def test_what_is_done_meanwhile_and_fails_aborts_the_transaction(log: KafkaLog) -> None:
    read = Read(log)
    target, writer = TopicPartition(make_topic(log), 0), log.writer(fresh("writer"))

    def fill(tx: Transaction) -> None:
        tx.write(numbered(target.topic, 0, [1]))
        tx.positions(read.group, read.batch.reached, read.member.fence())

    def interrupted() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        writer.transact(fill, interrupted)
    assert not log.committed(read.group, list(read.batch.reached))
    writer.transact(lambda tx: tx.write(numbered(target.topic, 0, [2])))
    reader = log.reader()
    reader.assign({target: 0})
    assert eventually(lambda: numbers(reader.read(100, 0.1).records)) == [2]
    read.member.close()


def test_what_keeps_it_from_reading_is_told_by_the_next_read(log: KafkaLog) -> None:
    read = Read(log)
    error = KafkaException(KafkaError(KafkaError._TIMED_OUT, retriable=True))
    with read.failing(error):
        assert not read.batch.look_ahead()
    with pytest.raises(KafkaException) as raised:
        read.member.read(100, 0.1)
    assert raised.value is error
    read.member.close()


def test_what_was_read_ahead_is_still_there_when_the_read_after_it_fails(log: KafkaLog) -> None:
    read, _ = read_ahead(log, 10)
    with read.failing(Unavailable("no answer")), pytest.raises(Unavailable):
        read.member.read(100, 0.1)
    assert sorted(n for batch in read.rest(10) for n in numbers(batch.records)) == list(range(1, 11))
    read.member.close()
