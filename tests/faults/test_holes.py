"""Ways in which a log on Kafka could lose, double or tear, each shut by a rule.

Each was found on real brokers. A test makes it happen and shows that the data are right; its twin leaves out the
one rule and shows that they are wrong then. The faults are made by a proxy, at a given request, so nothing here
depends on chance.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from headwater.errors import HeadwaterError, Unavailable
from headwater.log.kafka import KafkaLog
from headwater.log.kafka.connection import ClientLog
from headwater.log.kafka.membership import KafkaFence
from headwater.log.port import Aborted, Fenced, TopicPartition, Torn, Transaction
from headwater.testing import eventually
from headwater.testing.conformance.log.waiting import fresh, make_topic, numbered, writing
from headwater.testing.proxy import Api, Fault, Proxy
from tests.faults.conftest import OpenLog
from tests.faults.hasty import HastyWriter
from tests.faults.work import PATIENCE_S, Work, comes_about, visible_numbers

pytestmark = pytest.mark.kafka

INVALID_PRODUCER_EPOCH, PRODUCER_FENCED = 47, 90


class LateCommit:
    """The first EndTxn of a producer is kept back and its connection is cut. The client repeats it by itself and says
    that all is well. In the middle of the producer's next transaction the first one reaches the broker."""

    def __init__(self, log: KafkaLog, proxy: Proxy) -> None:
        self.log, self.topic = log, make_topic(log)
        self.partition = TopicPartition(self.topic, 0)
        self.writer = log.writer(fresh("late"))
        self.kept = proxy.keep_request(Api.END_TXN, client=self.writer._turns[0].id, cut=True)
        for number in range(2):  # one of each producer
            self.writer.transact(writing(numbered(self.topic, 0, [number])))
        assert self.kept.caught

    def next(self, seen: list[int]) -> None:
        """The next transaction of the first producer. Arguments: seen: gets the visible end in the middle of it."""

        def fill(transaction: Transaction) -> None:
            (offset,) = transaction.append(numbered(self.topic, 0, [2]))
            self.kept.release()
            if eventually(lambda: self.kept.errors) == [0]:
                eventually(lambda: self.end() > offset, saying="what the late commit did is visible")
            seen.append(self.end() - offset)
            transaction.append(numbered(self.topic, 0, [3]))

        self.writer.transact(fill)

    def end(self) -> int:
        return self.log.ends([self.partition])[self.partition]

    def visible(self) -> list[int]:
        return visible_numbers(self.log, self.topic)


def test_a_commit_that_comes_late_finds_its_producer_replaced(log: KafkaLog, proxy: Proxy) -> None:
    late, seen = LateCommit(log, proxy), list[int]()
    late.next(seen)
    assert late.kept.errors[0] in (INVALID_PRODUCER_EPOCH, PRODUCER_FENCED)
    assert seen == [0], "nothing of it was visible in its middle"
    assert late.visible() == [0, 1, 2, 3]


def test_without_doubts_about_a_producer_a_late_commit_tears_its_next_transaction(
    log: KafkaLog, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClientLog, "log", lambda self, level, form, *arguments: None)  # no line is a doubt
    late, seen = LateCommit(log, proxy), list[int]()
    with pytest.raises(Torn):
        late.next(seen)
    assert late.kept.errors == [0], "the broker took the late commit for one of this transaction"
    assert seen[0] > 0, "its half was visible before it was ended"
    assert late.visible() == [0, 1, 2]


def move_with_late_positions(log: KafkaLog, proxy: Proxy) -> tuple[Work, int]:
    """The first positions that a producer sends are kept back and its connection is cut; the client repeats them by
    itself. In the middle of the producer's next transaction, after its own positions, the first ones reach the group.
    Returns the position then."""
    work = Work(log)
    kept = proxy.keep_request(Api.TXN_OFFSET_COMMIT, client=work.writer._turns[0].id, cut=True)
    for position in range(2):  # one of each producer
        work.writer.transact(work.fill(position, 1))
    assert kept.caught
    next_one = work.fill(2, 1)

    def fill(transaction: Transaction) -> None:
        next_one(transaction)
        kept.release()
        eventually(lambda: kept.answered)

    work.writer.transact(fill)
    return work, work.position


def test_positions_that_come_late_find_their_producer_replaced(log: KafkaLog, proxy: Proxy) -> None:
    work, position = move_with_late_positions(log, proxy)
    assert position == 3
    work.until(5)
    assert work.visible == [0, 1, 2, 3, 4]


def test_without_doubts_about_a_producer_late_positions_take_the_group_back(
    log: KafkaLog, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClientLog, "log", lambda self, level, form, *arguments: None)  # no line is a doubt
    work, position = move_with_late_positions(log, proxy)
    assert position == 1, "those of the transaction before were the last that the group was told"
    work.until(3)
    assert work.visible == [0, 1, 2, 1, 2]


def test_nothing_of_a_transaction_is_sent_before_the_one_before_it_is_committed(
    open_log: OpenLog, proxy: Proxy
) -> None:
    hurried, patient = open_log(transaction_timeout_s=2, answer_timeout_s=2), open_log()

    def attempt() -> tuple[Work, Fault, str] | None:
        work = Work(hurried, preparing=patient)
        first, second = (turn.id for turn in work.writer._turns)
        lost = proxy.keep_request(Api.END_TXN, client=first, times=100)  # never let go: it will be aborted
        with pytest.raises((Aborted, Unavailable)) as raised:
            work.writer.transact(work.fill(0, 10))
        return (work, lost, second) if lost.caught and raised.type is Aborted else None

    work, lost, second = comes_about(attempt)
    assert not [request for _, request in proxy.requests if request.client == second]
    assert (work.position, work.visible) == (0, [])
    lost.discard()
    work.until(10)
    assert work.visible == list(range(10))


def test_a_transaction_that_does_not_wait_for_the_one_before_it_passes_over_its_work(
    open_log: OpenLog, proxy: Proxy
) -> None:
    hurried, patient = open_log(transaction_timeout_s=2, answer_timeout_s=2), open_log()

    def attempt() -> Work | None:
        work = Work(hurried, writer := HastyWriter(hurried, fresh("hasty")), preparing=patient)
        lost = proxy.keep_request(Api.END_TXN, client=writer._turns[0].id, times=100)
        try:
            first = writer.begin(work.fill(0, 10))
        except HeadwaterError as error:
            print(f"not this time: {error}")
            lost.discard()
            return None
        eventually(lambda: lost.caught or first.done())
        try:
            writer.begin(work.fill(10, 10)).result(PATIENCE_S)
        except HeadwaterError as error:
            print(f"not this time: {error}")
            lost.discard()
        failure = first.exception(PATIENCE_S)
        return work if lost.caught and work.position == 20 and isinstance(failure, Aborted) else None

    work = comes_about(attempt)
    assert work.visible == list(range(10, 20)), "nobody will ever do 0 to 9"


@pytest.fixture(params=["classic", "consumer"])
def working(request: pytest.FixtureRequest, open_log: OpenLog) -> Work:
    """An owner at work, of either group protocol."""
    work = Work(open_log(group_protocol=request.param))
    work.until(3)
    return work


def test_positions_of_who_never_joined_are_refused(working: Work) -> None:
    stranger = working.log.member(working.group, [working.source], name="stranger")  # it never reads, so never joins
    with pytest.raises(Fenced):
        working.log.writer(fresh("stranger")).transact(
            lambda transaction: transaction.positions(working.group, {working.partition: 40}, stranger.fence())
        )
    assert working.position == 3
    working.until(5)
    assert working.visible == list(range(5))


def test_without_a_look_at_the_member_id_positions_of_who_never_joined_are_taken(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(log)
    work.until(3)
    stranger = log.member(work.group, [work.source], name="stranger")
    monkeypatch.setattr(KafkaFence, "check", lambda self, group, partitions: None)
    fence = KafkaFence(stranger, "", stranger._consumer.consumer_group_metadata(), frozenset([work.partition]))
    log.writer(fresh("stranger")).transact(
        lambda transaction: transaction.positions(work.group, {work.partition: 40}, fence)
    )
    assert work.position == 40, "Kafka took them, though another member owns the partition"


class Guess:
    """Instead of `Outcome`: does not look. Arguments: share: what it says is visible."""

    def __init__(self, share: float) -> None:
        self._share = share

    def of(self, written: object) -> float:
        return self._share


class Unanswered(NamedTuple):
    """A transaction whose EndTxn got no answer until its time was out. `told` is what the writer says, `visible` what
    can be read."""

    told: str
    visible: list[int]


def unanswered(open_log: OpenLog, proxy: Proxy, lost: str, guess: float | None = None) -> Unanswered:
    """Arguments: lost: "request": the cluster never sees it and aborts; "answer": the cluster commits. guess: the
    writer does not look what became of it, it believes this."""
    hurried, patient = open_log(transaction_timeout_s=2, answer_timeout_s=2), open_log()

    def attempt() -> Unanswered | None:
        topic, writer = make_topic(patient), hurried.writer(fresh("unanswered"))
        if guess is not None:
            writer._outcome = Guess(guess)  # type: ignore[assignment] # all that is asked of it
        lose = proxy.keep_request if lost == "request" else proxy.drop_answer
        losing = lose(Api.END_TXN, client=writer._turns[0].id, times=100)
        told = "committed"
        try:
            writer.transact(writing(numbered(topic, 0, [0])))
        except HeadwaterError as error:
            told = type(error).__name__
        losing.discard()
        visible = visible_numbers(patient, topic)
        came_late = lost == "answer" and not visible  # the cluster had ended it when it was asked to commit
        # Else two seconds were not enough to read it, or to come that far: never wrong, but not what is asked here.
        decided = told in ("committed", "Aborted")
        return Unanswered(told, visible) if losing.caught and decided and not came_late else None

    return comes_about(attempt)


@pytest.mark.parametrize(("lost", "told", "visible"), [("request", "Aborted", []), ("answer", "committed", [0])])
def test_what_became_of_a_commit_without_an_answer_is_read(
    open_log: OpenLog, proxy: Proxy, lost: str, told: str, visible: list[int]
) -> None:
    assert unanswered(open_log, proxy, lost) == (told, visible)


def test_who_takes_it_for_committed_loses_it(open_log: OpenLog, proxy: Proxy) -> None:
    assert unanswered(open_log, proxy, "request", guess=1.0) == ("committed", [])


def test_who_takes_it_for_aborted_would_do_it_twice(open_log: OpenLog, proxy: Proxy) -> None:
    assert unanswered(open_log, proxy, "answer", guess=0.0) == ("Aborted", [0])
