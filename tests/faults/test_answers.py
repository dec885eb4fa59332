"""Answers of the cluster that are dropped or late, and connections that are cut: nothing is lost, nothing is doubled.

Which transactions are hit is drawn from a seed that is printed; `HEADWATER_SEED` repeats it.
"""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from headwater.log.kafka import KafkaLog, appending, connection
from headwater.log.port import Aborted, Transaction
from headwater.testing import eventually
from headwater.testing.conformance.log.waiting import attempts, make_topic, numbered
from headwater.testing.proxy import Api, Proxy
from tests.faults.conftest import OpenLog
from tests.faults.work import PATIENCE_S, Work, visible_numbers

pytestmark = pytest.mark.kafka

TRANSACTIONS = 8
PATHS = [
    pytest.param(Api.PRODUCE, id="Produce"),
    pytest.param(Api.TXN_OFFSET_COMMIT, id="TxnOffsetCommit"),
    pytest.param(Api.INIT_PRODUCER_ID, id="InitProducerId"),
    pytest.param(Api.END_TXN, id="EndTxn"),
]


def hit(name: str, count: int) -> set[int]:
    """Before which transactions something goes wrong."""
    seed = f"{os.environ.get('HEADWATER_SEED', '1')}/{name}"
    hits = sorted(random.Random(seed).sample(range(TRANSACTIONS), count))
    print(f"seed {seed}: before the transactions of {hits}")
    return set(hits)


@pytest.mark.parametrize("api", PATHS)
@pytest.mark.parametrize("way", ["dropped and cut", "dropped in silence", "late"])
def test_numbers_come_out_without_a_gap(open_log: OpenLog, proxy: Proxy, api: Api, way: str) -> None:
    work = Work(open_log(answer_timeout_s=1.5), preparing=open_log())
    mine = work.writer._turns[0].id.removesuffix("-a")
    count = 1 if way == "dropped in silence" else 2  # a silence lasts until the client's time is out
    hits, faults = hit(f"{api.name} {way}", count), []

    def before(position: int) -> None:
        if position not in hits:
            return
        hits.remove(position)
        if way == "late":
            faults.append(proxy.keep_answer(api, client=mine, for_s=0.3))
        else:
            faults.append(proxy.drop_answer(api, client=mine, cut=way == "dropped and cut"))
        if api == Api.INIT_PRODUCER_ID:
            proxy.cut(mine)  # a doubt: both producers are replaced

    work.until(TRANSACTIONS, before)
    assert [len(fault.caught) for fault in faults] == [1] * count, "it happened"
    assert work.visible == list(range(TRANSACTIONS))


def test_connections_that_are_cut_lose_nothing(open_log: OpenLog, proxy: Proxy) -> None:
    work = Work(open_log(answer_timeout_s=1.5), preparing=open_log())
    hits = hit("cut", 1)

    def before(position: int) -> None:
        if position in hits:
            hits.remove(position)
            proxy.cut()

    work.until(TRANSACTIONS, before)
    assert not hits
    assert work.visible == list(range(TRANSACTIONS))


def test_a_connection_that_was_closed_does_not_make_a_group_unavailable(open_log: OpenLog, proxy: Proxy) -> None:
    """Brokers close what was idle. The admin client may then wait for the group's coordinator without asking it."""
    work = Work(open_log(), records=1000)
    assert work.position == 0
    assert work.log.groups([work.group])
    done = 0
    for _ in attempts(PATIENCE_S, "positions and members are told within 5 s"):  # unless all stood still just then
        assert proxy.cut("headwater@")
        assert proxy.cut("positions@")
        for number in range(done, done + 30):  # an owner at work asks nothing of it for a long time
            work.writer.transact(work.fill(number, 1))
        done += 30
        started = time.monotonic()
        assert work.position == done
        assert work.log.groups([work.group])
        if time.monotonic() - started < 5:
            return


def test_where_all_answers_are_slow_the_first_client_that_was_asked_is_still_listened_to(
    open_log: OpenLog, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each new one would begin anew: to find the brokers takes it several answers."""
    log = open_log()
    topic = make_topic(log)
    monkeypatch.setattr(connection, "_FIRST_PATIENCE_S", 0.25)
    log._connection._admin = None
    proxy.delay(0.5, client="headwater@")
    assert log._administration.topic_id(topic)


def test_positions_of_groups_are_never_asked_for_through_the_admin_client(log: KafkaLog, proxy: Proxy) -> None:
    """It ends the whole process when it asks a broker that coordinates the group no longer."""
    work = Work(log)
    proxy.cut(work.writer._turns[0].id)  # what becomes of a transaction is asked for, too
    work.until(2)
    log.settle(work.group, [work.partition])
    assert work.log.groups([work.group])[0].positions == {work.partition: 2}
    asking = {request.client.split("@")[0] for _, request in proxy.requests if request.api == Api.OFFSET_FETCH}
    assert asking == {"positions"}


def test_a_producer_that_is_fenced_by_its_own_late_request_begins_anew(log: KafkaLog, proxy: Proxy) -> None:
    """Its first InitProducerId is kept back, repeated by the client, and aborts a transaction when it comes."""
    work = Work(log)
    first = work.writer._turns[0].id
    kept = proxy.keep_request(Api.INIT_PRODUCER_ID, client=first, cut=True)
    work.until(4)
    assert kept.caught
    assert work.writer._turns[0].id == first, "it is its turn"
    fourth = work.fill(4, 1)

    def fill(transaction: Transaction) -> None:
        fourth(transaction)
        kept.release()
        eventually(lambda: kept.answered)

    with pytest.raises(Aborted):
        work.writer.transact(fill)
    work.until(TRANSACTIONS)
    assert work.visible == list(range(TRANSACTIONS))


def append_without_an_answer(log: KafkaLog, proxy: Proxy) -> list[int]:
    """Appends three numbers one by one; the answer to the second is lost. Returns what can be read."""
    topic = make_topic(log)
    for number in range(3):
        fault = proxy.drop_answer(Api.PRODUCE, client="appender@", cut=True) if number == 1 else None
        log.append(numbered(topic, 0, [number]))
        assert fault is None or fault.caught
    return visible_numbers(log, topic)


def test_an_append_whose_answer_is_lost_is_there_once(log: KafkaLog, proxy: Proxy) -> None:
    assert append_without_an_answer(log, proxy) == [0, 1, 2]


def test_without_numbers_of_the_producer_it_is_there_twice(
    log: KafkaLog, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(settings: dict[str, object], logger: object) -> Producer:
        return Producer({**settings, "enable.idempotence": False}, logger=logger)

    monkeypatch.setattr(appending, "Producer", plain)
    assert append_without_an_answer(log, proxy) == [0, 1, 1, 2]


def test_appends_go_on_with_a_new_producer_when_one_fails_for_good(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is fatal to a client comes out of the call that lets it report, as one or the other exception."""
    failures: list[Exception] = [KafkaException(KafkaError(KafkaError._FATAL)), SystemError("returned NULL")]

    class Failing(Producer):
        def poll(self, timeout: float = -1) -> int:
            reported = super().poll(timeout)
            if reported and failures:
                raise failures.pop()
            return reported

    monkeypatch.setattr(appending, "Producer", Failing)
    topic = make_topic(log)
    with ThreadPoolExecutor(1) as appends:
        for number in range(3):
            appends.submit(log.append, numbered(topic, 0, [number])).result(60)
    assert not failures
    assert visible_numbers(log, topic) == [0, 1, 2]
