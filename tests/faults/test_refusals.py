"""Answers with an error code, to every request of a transaction: what the writer says is what the log shows.

The proxy changes the error code of an answer, so here a request that is said to have failed was carried out, which is
the worse case: whoever believes the answer is wrong. With `carried_out=False` a coordinator really refuses.

Answers that the client deals with itself (it asks again) must end in a commit; of the others the writer says what its
table says, and whatever it says, the numbers in the log agree with it, and the next transaction goes through.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from confluent_kafka import KafkaError

from headwater.errors import HeadwaterError, Unavailable
from headwater.log.kafka import KafkaLog
from headwater.log.port import Aborted, Transaction, Undecided
from headwater.testing.conformance.log.attendance import Attendance
from headwater.testing.conformance.log.waiting import fresh, make_topic, numbered
from headwater.testing.proxy import Api, Fault, Proxy
from tests.faults.conftest import Network, OpenLog
from tests.faults.work import PATIENCE_S, Work

pytestmark = pytest.mark.kafka

PASSING = "NOT_COORDINATOR COORDINATOR_LOAD_IN_PROGRESS"
FORBIDDEN = "TRANSACTIONAL_ID_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED"

TOLD: dict[tuple[Api, str], str] = {
    (Api.PRODUCE, "committed"): "NOT_LEADER_FOR_PARTITION NOT_ENOUGH_REPLICAS REQUEST_TIMED_OUT UNKNOWN_TOPIC_OR_PART",
    # The first two end the client for good, in the middle of a call that only waits for reports.
    (Api.PRODUCE, "Aborted"): "INVALID_PRODUCER_EPOCH OUT_OF_ORDER_SEQUENCE_NUMBER UNKNOWN_PRODUCER_ID "
    "INVALID_TXN_STATE TRANSACTION_ABORTABLE CONCURRENT_TRANSACTIONS",
    (Api.PRODUCE, "Misuse"): "MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE INVALID_TIMESTAMP INVALID_RECORD",
    (Api.PRODUCE, "Unavailable"): "TOPIC_AUTHORIZATION_FAILED UNSUPPORTED_FOR_MESSAGE_FORMAT",
    (Api.ADD_PARTITIONS_TO_TXN, "committed"): f"{PASSING} CONCURRENT_TRANSACTIONS UNKNOWN_TOPIC_OR_PART",
    (Api.ADD_PARTITIONS_TO_TXN, "Aborted"): "INVALID_PRODUCER_ID_MAPPING UNKNOWN_PRODUCER_ID INVALID_PRODUCER_EPOCH "
    "PRODUCER_FENCED INVALID_TXN_STATE OPERATION_NOT_ATTEMPTED REQUEST_TIMED_OUT",
    (Api.ADD_PARTITIONS_TO_TXN, "Unavailable"): f"TOPIC_AUTHORIZATION_FAILED {FORBIDDEN} UNSUPPORTED_VERSION",
    (Api.ADD_OFFSETS_TO_TXN, "committed"): f"{PASSING} CONCURRENT_TRANSACTIONS REQUEST_TIMED_OUT",
    (Api.ADD_OFFSETS_TO_TXN, "Aborted"): "INVALID_PRODUCER_ID_MAPPING INVALID_PRODUCER_EPOCH PRODUCER_FENCED "
    "INVALID_TXN_STATE",
    (Api.ADD_OFFSETS_TO_TXN, "Unavailable"): f"{FORBIDDEN} GROUP_AUTHORIZATION_FAILED",
    # Half a second each: the client's own pause before it asks again.
    (Api.TXN_OFFSET_COMMIT, "committed"): f"{PASSING} CONCURRENT_TRANSACTIONS REQUEST_TIMED_OUT",
    (Api.TXN_OFFSET_COMMIT, "Aborted"): "ILLEGAL_GENERATION STALE_MEMBER_EPOCH REBALANCE_IN_PROGRESS "
    "INVALID_PRODUCER_ID_MAPPING INVALID_PRODUCER_EPOCH PRODUCER_FENCED INVALID_TXN_STATE",
    (Api.TXN_OFFSET_COMMIT, "Fenced"): "UNKNOWN_MEMBER_ID FENCED_INSTANCE_ID FENCED_MEMBER_EPOCH",
    (Api.TXN_OFFSET_COMMIT, "Unavailable"): f"{FORBIDDEN} GROUP_AUTHORIZATION_FAILED OFFSET_METADATA_TOO_LARGE",
    # It was committed, whatever the answer says.
    (Api.END_TXN, "committed"): f"{PASSING} {FORBIDDEN} CONCURRENT_TRANSACTIONS INVALID_PRODUCER_ID_MAPPING "
    "INVALID_PRODUCER_EPOCH PRODUCER_FENCED INVALID_TXN_STATE REQUEST_TIMED_OUT UNKNOWN TRANSACTION_ABORTABLE",
    (Api.INIT_PRODUCER_ID, "committed"): f"{PASSING} CONCURRENT_TRANSACTIONS REQUEST_TIMED_OUT NOT_ENOUGH_REPLICAS",
    (Api.INIT_PRODUCER_ID, "Unavailable"): f"{FORBIDDEN} INVALID_PRODUCER_EPOCH PRODUCER_FENCED "
    "INVALID_TRANSACTION_TIMEOUT",
}
"""By API and what the writer says then (what it raises, or that it was committed): the errors of an answer that was
changed. All of them are ones that a broker may give to that request."""

REFUSED: dict[str, str] = {
    "committed": f"{PASSING} CONCURRENT_TRANSACTIONS",
    "Aborted": "INVALID_PRODUCER_ID_MAPPING INVALID_PRODUCER_EPOCH PRODUCER_FENCED INVALID_TXN_STATE REQUEST_TIMED_OUT "
    "TRANSACTION_ABORTABLE",
    "Unavailable": f"{FORBIDDEN} UNKNOWN",
}
"""The same for a commit that was not carried out."""


def rows(told: dict[str, str], api: Api) -> list[ParameterSet]:
    """A test for each; the first of a row is among the quick ones."""
    return [
        pytest.param(api, name, says, id=f"{api.name} {name}", marks=[pytest.mark.slow] if place else [])
        for says, names in told.items()
        for place, name in enumerate(names.split())
    ]


CHANGED = [row for (api, says), names in TOLD.items() for row in rows({says: names}, api)]


@pytest.fixture(scope="module")
def owners(brokers: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Work]]:
    """An owner per group protocol, made when it is wanted: joining a group takes longer than any test here."""
    made: dict[str, Work] = {}
    yield made
    for work in made.values():
        work.log.close()
        work.patient.close()


@pytest.fixture
def owner(request: pytest.FixtureRequest, owners: dict[str, Work], network: Network, tmp_path: Path) -> Work:
    """At work, with a producer that goes on from the transaction before."""
    protocol = getattr(request, "param", "classic")
    if protocol not in owners:
        log, patient = (
            KafkaLog(
                network.cluster.bootstrap,
                group_protocol=protocol,
                answer_timeout_s=answer_s,
                transaction_timeout_s=15,
                index_directory=tmp_path,
            )
            for answer_s in (10, 30)
        )
        owners[protocol] = Work(log, preparing=patient, records=1000)
    work = owners[protocol]
    work.attendance.turn(work.member)
    work.until(work.position + 2)
    return work


class Said:
    """A transaction of one number while a fault is on: the log agrees with what the writer `says` of it, and the next
    one goes through. `error`: what the writer raised."""

    def __init__(self, owner: Work, proxy: Proxy, fault: Fault) -> None:
        before = owner.position
        self.error: HeadwaterError | None = None
        try:
            owner.writer.transact(owner.fill(before, 1))
        except HeadwaterError as error:
            self.error = error
        proxy.heal()
        assert fault.caught, "it happened"
        self.says = "committed" if self.error is None else type(self.error).__name__
        end = before + (self.error is None)
        assert owner.position == end, f"the writer says {self.says}"
        assert owner.visible == list(range(end))
        owner.until(end + 1)
        assert owner.visible == list(range(end + 1)), "and it goes on"


@pytest.mark.parametrize(("api", "name", "says"), CHANGED)
def test_what_is_said_of_a_failed_answer_is_what_the_log_shows(
    owner: Work, proxy: Proxy, api: Api, name: str, says: str
) -> None:
    turn = owner.writer._turns[0]
    if api is Api.INIT_PRODUCER_ID:
        turn.close()  # it is replaced, then, before it begins
    said = Said(owner, proxy, proxy.fail(api, getattr(KafkaError, name), client=turn.id))
    assert said.says == says, said.error


@pytest.mark.parametrize(("api", "name", "says"), rows(REFUSED, Api.END_TXN))
def test_what_is_said_of_a_refused_commit_is_what_the_log_shows(
    owner: Work, proxy: Proxy, api: Api, name: str, says: str
) -> None:
    turn = owner.writer._turns[0]
    said = Said(owner, proxy, proxy.fail(api, getattr(KafkaError, name), client=turn.id, carried_out=False))
    assert said.says == says, said.error


@pytest.mark.parametrize("owner", ["consumer"], indirect=True)
@pytest.mark.parametrize(
    ("api", "name", "says"),
    [
        *rows({"Aborted": "ILLEGAL_GENERATION STALE_MEMBER_EPOCH INVALID_PRODUCER_EPOCH"}, Api.TXN_OFFSET_COMMIT),
        *rows({"Fenced": "UNKNOWN_MEMBER_ID FENCED_MEMBER_EPOCH"}, Api.TXN_OFFSET_COMMIT),
        *rows({"committed": "INVALID_TXN_STATE"}, Api.END_TXN),
    ],
)
def test_the_same_in_a_group_of_the_newer_protocol(owner: Work, proxy: Proxy, api: Api, name: str, says: str) -> None:
    said = Said(owner, proxy, proxy.fail(api, getattr(KafkaError, name), client=owner.writer._turns[0].id))
    assert said.says == says, said.error


@pytest.mark.parametrize(
    ("api", "name", "says"),
    [
        (Api.TXN_OFFSET_COMMIT, "CONCURRENT_TRANSACTIONS", "Aborted"),
        (Api.ADD_OFFSETS_TO_TXN, "COORDINATOR_LOAD_IN_PROGRESS", "Aborted"),
        pytest.param(Api.PRODUCE, "NOT_ENOUGH_REPLICAS", "Aborted", marks=pytest.mark.slow),
        pytest.param(Api.END_TXN, "COORDINATOR_LOAD_IN_PROGRESS", "committed", marks=pytest.mark.slow),
    ],
)
def test_what_does_not_pass_is_given_up(owner: Work, proxy: Proxy, api: Api, name: str, says: str) -> None:
    fault = proxy.fail(api, getattr(KafkaError, name), client=owner.writer._turns[0].id, times=1_000_000)
    said = Said(owner, proxy, fault)
    assert said.says == says, said.error


def asked(proxy: Proxy, id: str) -> list[int]:
    """What a producer asked its coordinator to begin something with, in order: itself, or a transaction."""
    apis = (Api.INIT_PRODUCER_ID, Api.ADD_PARTITIONS_TO_TXN)
    return [request.api for _, request in proxy.requests if request.client == id and request.api in apis]


def test_who_gives_up_straight_after_its_first_record_keeps_its_producer(owner: Work, proxy: Proxy) -> None:
    before, id = owner.position, owner.writer._turns[0].id
    proxy.requests.clear()

    def fill(transaction: Transaction) -> None:
        transaction.write(numbered(owner.target, 0, [before]))
        raise RuntimeError("its own reason")

    with pytest.raises(RuntimeError, match="its own reason"):
        owner.writer.transact(fill)
    owner.writer.transact(owner.fill(before, 1))
    assert owner.visible == list(range(before + 1))
    assert set(asked(proxy, id)) == {Api.ADD_PARTITIONS_TO_TXN}


def test_who_gives_up_when_its_producer_has_ended_goes_on_with_a_new_one(owner: Work, proxy: Proxy) -> None:
    before = owner.position
    fault = proxy.fail(Api.PRODUCE, KafkaError.INVALID_PRODUCER_EPOCH, client=owner.writer._turns[0].id)

    def fill(transaction: Transaction) -> None:
        transaction.write(numbered(owner.target, 0, [before]))
        raise RuntimeError("its own reason")

    with pytest.raises(RuntimeError, match="its own reason"):
        owner.writer.transact(fill)
    assert fault.caught
    owner.until(before + 1)
    assert owner.visible == list(range(before + 1))


@pytest.mark.parametrize("name", ["ILLEGAL_GENERATION", "COORDINATOR_LOAD_IN_PROGRESS"])
def test_who_is_fenced_and_cannot_be_told_of_another_owner_keeps_its_partitions(
    owner: Work, proxy: Proxy, name: str
) -> None:
    """Its producer is out, and the group is asked whether it still accepts the fence: it has moved on, or is busy."""
    id = owner.writer._turns[0].id
    proxy.fail(Api.TXN_OFFSET_COMMIT, KafkaError.INVALID_PRODUCER_EPOCH, client=id)
    said = Said(owner, proxy, proxy.fail(Api.TXN_OFFSET_COMMIT, getattr(KafkaError, name), client=id, times=1_000_000))
    assert isinstance(said.error, Aborted), said.error


def test_who_is_fenced_and_no_member_any_more_has_lost_its_partitions(owner: Work, proxy: Proxy) -> None:
    id = owner.writer._turns[0].id
    proxy.fail(Api.TXN_OFFSET_COMMIT, KafkaError.INVALID_PRODUCER_EPOCH, client=id)
    said = Said(owner, proxy, proxy.fail(Api.TXN_OFFSET_COMMIT, KafkaError.UNKNOWN_MEMBER_ID, client=id))
    assert said.says == "Fenced"


def test_when_no_producer_can_replace_a_doubtful_one_nothing_is_decided(owner: Work, proxy: Proxy) -> None:
    id, before = owner.writer._turns[0].id, owner.position
    proxy.fail(Api.END_TXN, KafkaError.INVALID_TXN_STATE, client=id)
    proxy.fail(Api.INIT_PRODUCER_ID, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, client=id)
    with pytest.raises(Undecided, match="may have been carried out"):
        owner.writer.transact(owner.fill(before, 1))
    proxy.heal()
    owner.writer.transact(owner.fill(before + 1, 1))
    assert asked(proxy, id)[:2] == [Api.INIT_PRODUCER_ID, Api.ADD_PARTITIONS_TO_TXN], "it is replaced first"
    assert owner.visible == list(range(before + 2)), "what was not decided had been carried out"


def test_a_member_whose_client_was_ended_says_so_and_another_may_join(open_log: OpenLog, proxy: Proxy) -> None:
    log, group = open_log(group_protocol="consumer", session_timeout_s=6), fresh("group")
    attendance = Attendance(log, group, PATIENCE_S)
    topic = make_topic(log)
    member = attendance.join(log, [topic], "ended")
    attendance.owns(member, 1)
    fault = proxy.fail(Api.CONSUMER_GROUP_HEARTBEAT, KafkaError.INVALID_REQUEST, client="ended@")
    with pytest.raises(Unavailable, match="Invalid request"):
        attendance.until(lambda: False, "the member knows that it was ended", member)
    assert fault.caught
    member.close()
    attendance.owns(attendance.join(log, [topic], "another"), 1)
