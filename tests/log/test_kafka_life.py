"""The two tables that a transaction on Kafka follows: what every error means, and what every answer leads to."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st

from headwater.log.kafka.answers import _NAMES, AFTER_NOTHING, MEANINGS, Kind, Tells, error_behind, kind_of
from headwater.log.kafka.life import (
    FAILURES,
    TRANSITIONS,
    IllegalSignal,
    Life,
    Signal,
    State,
    signal_of,
    signal_of_share,
)

ERRORS = {
    name: code
    for name in dir(KafkaError)
    if name.strip("_").isupper() and isinstance(code := getattr(KafkaError, name), int)
}
"""All errors that the client has a name for."""

ASKED_FOR_BY_A_TRANSACTION = {
    Kind.PASSING: "NOT_COORDINATOR COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE CONCURRENT_TRANSACTIONS "
    "NOT_ENOUGH_REPLICAS NOT_LEADER_FOR_PARTITION _TRANSPORT",
    Kind.LATE: "_TIMED_OUT _MSG_TIMED_OUT REQUEST_TIMED_OUT",
    Kind.AT_ODDS: "INVALID_PRODUCER_ID_MAPPING UNKNOWN_PRODUCER_ID INVALID_TXN_STATE TRANSACTION_ABORTABLE "
    "OUT_OF_ORDER_SEQUENCE_NUMBER _STATE",
    Kind.OUSTED: "_FENCED INVALID_PRODUCER_EPOCH PRODUCER_FENCED",
    Kind.OUTDATED: "ILLEGAL_GENERATION STALE_MEMBER_EPOCH REBALANCE_IN_PROGRESS",
    Kind.NO_MEMBER: "UNKNOWN_MEMBER_ID FENCED_INSTANCE_ID FENCED_MEMBER_EPOCH",
    Kind.REFUSED: "MSG_SIZE_TOO_LARGE INVALID_TIMESTAMP",
    Kind.MISSING: "UNKNOWN_TOPIC_OR_PART _UNKNOWN_TOPIC _UNKNOWN_PARTITION",
    Kind.FORBIDDEN: "GROUP_AUTHORIZATION_FAILED TOPIC_AUTHORIZATION_FAILED TRANSACTIONAL_ID_AUTHORIZATION_FAILED "
    "CLUSTER_AUTHORIZATION_FAILED",
    Kind.UNSUITED: "UNSUPPORTED_VERSION INVALID_TRANSACTION_TIMEOUT",
}

FINAL = {
    State.COMMITTED,
    State.ABORTED,
    State.ABANDONED,
    State.NOTHING_WRITTEN,
    State.TORN,
    State.UNDECIDED,
}
PATHS = st.lists(st.integers(0, 99), max_size=12)
"""Which of the signals that are possible comes next, time after time."""


def test_every_error_of_the_client_has_a_row() -> None:
    assert len(ERRORS) > 150
    assert [name for name, code in ERRORS.items() if code not in MEANINGS] == []


def test_no_error_has_two_rows() -> None:
    names = [name for row in _NAMES.values() for name in row.split()]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(("kind", "names"), ASKED_FOR_BY_A_TRANSACTION.items())
def test_an_error_that_a_transaction_meets_means_what_it_should(kind: Kind, names: str) -> None:
    assert {name: kind_of(KafkaError(ERRORS[name])) for name in names.split()} == dict.fromkeys(names.split(), kind)


def test_an_error_without_a_name_is_one_that_nobody_asked_for() -> None:
    assert kind_of(KafkaError(12_345)) is Kind.UNASKED


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_error_has_an_end(kind: Kind) -> None:
    ends = {
        Tells.ABORTED: {Kind.PASSING, Kind.LATE, Kind.AT_ODDS, Kind.OUTDATED},
        Tells.FENCED: {Kind.NO_MEMBER},
        Tells.FENCED_IF_NOT_HELD: {Kind.OUSTED},
        Tells.MISUSE: {Kind.REFUSED, Kind.MISSING},
        Tells.UNAVAILABLE: {Kind.FORBIDDEN, Kind.UNSUITED, Kind.UNASKED},
    }
    assert kind in ends[AFTER_NOTHING[kind]]


def error(code: int, *, retriable: bool = False, requires_abort: bool = False, fatal: bool = False) -> KafkaError:
    return KafkaError(code, "", fatal, retriable, requires_abort)


@pytest.mark.parametrize(
    ("flags", "in_time", "signal"),
    [
        ({}, True, Signal.FATAL),
        ({"fatal": True}, True, Signal.FATAL),
        ({"retriable": True}, True, Signal.RETRIABLE),
        ({"retriable": True}, False, Signal.OUT_OF_TIME),
        ({"requires_abort": True}, True, Signal.REQUIRES_ABORT),
        ({"requires_abort": True, "retriable": True}, True, Signal.REQUIRES_ABORT),
    ],
)
@pytest.mark.parametrize("name", ["_TIMED_OUT", "NOT_COORDINATOR", "ILLEGAL_GENERATION", "INVALID_TXN_STATE"])
def test_what_to_do_at_once_is_what_the_client_says_of_any_error(
    name: str, flags: dict[str, bool], in_time: bool, signal: Signal
) -> None:
    assert signal_of(error(ERRORS[name], **flags), in_time) is signal


@pytest.mark.parametrize(
    ("share", "signal"),
    [(0.0, Signal.NOTHING_VISIBLE), (0.5, Signal.PART_VISIBLE), (1.0, Signal.ALL_VISIBLE)],
)
def test_what_is_visible_is_all_or_a_part_or_nothing(share: float, signal: Signal) -> None:
    assert signal_of_share(share) is signal


ROWS = {
    (State.NEW, Signal.SEND): State.OPEN,
    (State.NEW, Signal.GIVE_UP): State.NEW,
    (State.OPEN, Signal.SEND): State.OPEN,
    (State.OPEN, Signal.OK): State.OPEN,
    (State.OPEN, Signal.RETRIABLE): State.OPEN,
    (State.OPEN, Signal.REQUIRES_ABORT): State.FAILED,
    (State.OPEN, Signal.FATAL): State.FAILED,
    (State.OPEN, Signal.OUT_OF_TIME): State.FAILED,
    (State.OPEN, Signal.COMMIT): State.COMMITTING,
    (State.OPEN, Signal.GIVE_UP): State.ABORTING,
    (State.COMMITTING, Signal.OK): State.COMMITTED,
    (State.COMMITTING, Signal.RETRIABLE): State.COMMITTING,
    (State.COMMITTING, Signal.REQUIRES_ABORT): State.UNKNOWN,
    (State.COMMITTING, Signal.FATAL): State.UNKNOWN,
    (State.COMMITTING, Signal.OUT_OF_TIME): State.UNKNOWN,
    (State.COMMITTING, Signal.GIVE_UP): State.ABANDONED,
    (State.COMMITTED, Signal.GIVE_UP): State.COMMITTED,
    (State.ABORTING, Signal.OK): State.ABORTED,
    (State.ABORTING, Signal.RETRIABLE): State.ABANDONED,
    (State.ABORTING, Signal.REQUIRES_ABORT): State.ABANDONED,
    (State.ABORTING, Signal.FATAL): State.ABANDONED,
    (State.ABORTING, Signal.OUT_OF_TIME): State.ABANDONED,
    (State.FAILED, Signal.REPLACED): State.SHUT_OUT,
    (State.FAILED, Signal.UNREACHABLE): State.UNDECIDED,
    (State.FAILED, Signal.GIVE_UP): State.ABANDONED,
    (State.SHUT_OUT, Signal.ALL_VISIBLE): State.TORN,
    (State.SHUT_OUT, Signal.PART_VISIBLE): State.TORN,
    (State.SHUT_OUT, Signal.NOTHING_VISIBLE): State.NOTHING_WRITTEN,
    (State.SHUT_OUT, Signal.UNREACHABLE): State.UNDECIDED,
    (State.UNKNOWN, Signal.REPLACED): State.FENCED,
    (State.UNKNOWN, Signal.UNREACHABLE): State.UNDECIDED,
    (State.FENCED, Signal.ALL_VISIBLE): State.COMMITTED,
    (State.FENCED, Signal.PART_VISIBLE): State.TORN,
    (State.FENCED, Signal.NOTHING_VISIBLE): State.NOTHING_WRITTEN,
    (State.FENCED, Signal.UNREACHABLE): State.UNDECIDED,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("signal", Signal)
def test_every_signal_in_every_state_leads_where_it_should_or_is_refused(state: State, signal: Signal) -> None:
    life = Life("orders-1-a")
    life.state = state
    expected = ROWS.get((state, signal))
    if expected is None:
        with pytest.raises(IllegalSignal, match=f"{signal.name} of orders-1-a while it is {state.name}"):
            life.on(signal)
        assert life.state is state
    else:
        assert life.on(signal) is life.state is expected


def walk(choices: list[int]) -> list[tuple[State, Signal, State]]:
    """The steps of a life."""
    life, steps = Life("orders-1-a"), []
    for choice in choices:
        before = life.state
        if possible := list(TRANSITIONS[before]):
            signal = possible[choice % len(possible)]
            steps.append((before, signal, life.on(signal)))
    return steps


@given(PATHS)
def test_it_is_committed_only_when_commit_was_asked_for_and_said_ok_or_the_log_shows_it(choices: list[int]) -> None:
    steps = walk(choices)
    for before, signal, after in steps:
        if after is State.COMMITTED and before is not State.COMMITTED:
            assert any(signal is Signal.COMMIT for _, signal, _ in steps)
            assert (before, signal) in {(State.COMMITTING, Signal.OK), (State.FENCED, Signal.ALL_VISIBLE)}


@given(PATHS)
def test_nothing_is_said_of_what_failed_before_its_producer_was_replaced(choices: list[int]) -> None:
    failed = replaced = False
    for _, signal, after in walk(choices):
        failed = failed or after in (State.FAILED, State.UNKNOWN)
        replaced = replaced or signal is Signal.REPLACED
        if failed and after in (State.COMMITTED, State.NOTHING_WRITTEN, State.TORN):
            assert replaced


@given(PATHS)
def test_after_a_failure_nothing_is_sent_and_no_call_is_repeated(choices: list[int]) -> None:
    failed = False
    for before, signal, after in walk(choices):
        if failed:
            assert signal not in (Signal.SEND, Signal.COMMIT, Signal.RETRIABLE)
            assert after not in (State.OPEN, State.COMMITTING, State.ABORTING)
        failed = failed or (before in (State.OPEN, State.COMMITTING) and signal in FAILURES)


@given(PATHS)
def test_an_end_is_an_end(choices: list[int]) -> None:
    ended: State | None = None
    for _, _, after in walk(choices):
        assert ended in (None, after)
        ended = after if after in FINAL else None


@pytest.mark.parametrize("state", [state for state in State if state not in FINAL])
def test_every_state_that_is_no_end_can_reach_one(state: State) -> None:
    reached, added = {state}, True
    while added:
        more = {after for before in reached for after in TRANSITIONS[before].values()}
        added = not more <= reached
        reached |= more
    assert reached & FINAL


def test_a_client_that_ends_in_the_middle_of_a_report_is_understood() -> None:
    ended = KafkaException(KafkaError(KafkaError._FENCED))
    broken = SystemError("<method 'offset'> returned a result with an exception set")
    broken.__cause__ = ended
    assert error_behind(broken) is error_behind(ended) is ended.args[0]
    lost = error_behind(SystemError("<method 'flush'> returned NULL without setting an exception"))
    assert (lost.fatal(), kind_of(lost)) == (True, Kind.AT_ODDS)
    with pytest.raises(SystemError, match="another"):
        error_behind(SystemError("another"))
