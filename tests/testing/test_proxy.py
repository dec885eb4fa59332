"""The proxy before a broker: messages are told apart, and what is kept, dropped or cut is nothing else."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.testing import eventually
from headwater.testing.proxy import Api, Proxy, Request
from headwater.testing.proxy.answers import error_of, with_error
from headwater.testing.proxy.protocol import Frames, correlation_of, for_nobody, name_of, request_of

INVALID_PRODUCER_EPOCH = 47


def message(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def asking(api: int, correlation: int, client: str = "someone", version: int = 1) -> bytes:
    name = client.encode()
    return message(struct.pack(">hhih", api, version, correlation, len(name)) + name + b"the rest")


def answering(correlation: int, error: int = 0) -> bytes:
    return message(struct.pack(">iih", correlation, 0, error))


@given(st.lists(st.binary(max_size=50), max_size=20), st.lists(st.integers(1, 60), max_size=40))
def test_a_stream_is_cut_into_its_messages_wherever_it_is_torn(bodies: list[bytes], steps: list[int]) -> None:
    messages = [message(body) for body in bodies]
    stream, frames, found = b"".join(messages), Frames(), list[bytes]()
    for step in steps:
        found += frames.feed(stream[:step])
        stream = stream[step:]
    assert found + frames.feed(stream) == messages


def test_the_head_of_a_request_is_read() -> None:
    assert request_of(asking(Api.END_TXN, 7, "orders-a")) == Request(Api.END_TXN, 1, 7, "orders-a")
    nameless = message(struct.pack(">hhih", Api.FETCH, 12, 8, -1))
    assert str(request_of(nameless)) == "Fetch v12 #8 of a client without name"
    assert name_of(999) == "API 999"


ONE_TOPIC = b"\0\0\0\x01\0\x02ab"
"""An array of one name, and what follows of it."""
ONE_TOPIC_COMPACT = b"\x02\x03ab"
WITH_A_TAG = b"\x01\x07\x03abc"
"""One tagged field, number 7, of three bytes."""


def error_bytes(error: int) -> bytes:
    return struct.pack(">h", error)


ANSWERS: dict[str, tuple[Api, int, Callable[..., bytes]]] = {
    "EndTxn v1": (Api.END_TXN, 1, lambda *errors: bytes(4) + error_bytes(errors[0])),
    "EndTxn v3": (Api.END_TXN, 3, lambda *errors: b"\0" + bytes(4) + error_bytes(errors[0]) + WITH_A_TAG),
    "AddOffsetsToTxn v0": (Api.ADD_OFFSETS_TO_TXN, 0, lambda *errors: bytes(4) + error_bytes(errors[0])),
    "InitProducerId v4": (
        Api.INIT_PRODUCER_ID,
        4,
        lambda *errors: WITH_A_TAG + bytes(4) + error_bytes(errors[0]) + bytes(10) + b"\0",
    ),
    "ConsumerGroupHeartbeat v1": (
        Api.CONSUMER_GROUP_HEARTBEAT,
        1,
        lambda *errors: b"\0" + bytes(4) + error_bytes(errors[0]) + b"what it says to a member",
    ),
    "AddPartitionsToTxn v0": (
        Api.ADD_PARTITIONS_TO_TXN,
        0,
        lambda *errors: (
            bytes(4)
            + ONE_TOPIC
            + struct.pack(">i", len(errors))
            + b"".join(b"\0\0\0\x05" + error_bytes(error) for error in errors)
        ),
    ),
    "TxnOffsetCommit v3": (
        Api.TXN_OFFSET_COMMIT,
        3,
        lambda *errors: (
            b"\0"
            + bytes(4)
            + ONE_TOPIC_COMPACT
            + bytes([len(errors) + 1])
            + b"".join(b"\0\0\0\x05" + error_bytes(error) + b"\0" for error in errors)
            + WITH_A_TAG
            + b"\0"
        ),
    ),
    "Produce v10": (
        Api.PRODUCE,
        10,
        lambda *errors: (
            b"\0"
            + ONE_TOPIC_COMPACT
            + bytes([len(errors) + 1])
            # index, error, three times eight bytes, one record's own error, no text, no tags
            + b"".join(
                b"\0\0\0\x05" + error_bytes(error) + bytes(24) + b"\x02\0\0\0\x09\x04why\0\0\0" for error in errors
            )
            + b"\0"
            + bytes(4)
            + b"\0"
        ),
    ),
}
"""APIs, versions, and how an answer's body is made of the error codes of its partitions (or of its only one)."""


@pytest.mark.parametrize("what", ANSWERS)
def test_the_errors_of_an_answer_are_found_and_replaced(what: str) -> None:
    api, version, body = ANSWERS[what]
    request = Request(api, version, 7, "")

    def answer(*errors: int) -> bytes:
        return message(struct.pack(">i", 7) + body(*errors))

    assert correlation_of(answer(0, 0)) == 7
    assert error_of(request, answer(0, 0)) == 0
    assert error_of(request, answer(INVALID_PRODUCER_EPOCH, 0)) == INVALID_PRODUCER_EPOCH
    assert with_error(request, answer(0, 0), 25) == answer(25, 25)
    assert with_error(request, answer(25, 25), 0) == answer(0, 0)


def test_the_error_of_another_answer_is_not_known() -> None:
    assert error_of(Request(Api.FETCH, 1, 7, ""), answering(7)) is None


def test_a_request_for_nobody_is_the_same_for_another_transactional_id() -> None:
    sent = asking(Api.END_TXN, 7, "orders-a")[:-8] + b"\0\x08orders-a\0\0"
    request = request_of(sent)
    changed = for_nobody(request, sent)
    assert request_of(changed) == request
    assert changed == sent[:-10] + b"?rders-a\0\0"
    with pytest.raises(ValueError, match="not found"):
        for_nobody(request, asking(Api.FETCH, 7, "orders-a"))


class Server:
    """Answers every request at once and remembers the correlation ids that came."""

    def __init__(self) -> None:
        self.came: list[int] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        frames = Frames()
        with closing(client):
            while data := client.recv(4096):
                for request in map(request_of, frames.feed(data)):
                    self.came.append(request.correlation)
                    client.sendall(answering(request.correlation))

    def close(self) -> None:
        with suppress(OSError):  # closed before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Client:
    """Sends requests and reads answers over one connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._frames = Frames()

    def ask(self, *requests: bytes) -> None:
        self._socket.sendall(b"".join(requests))

    def answers(self, count: int) -> list[int]:
        """The correlation ids of the next answers; fewer where the connection ends."""
        found: list[int] = []
        while len(found) < count:
            try:
                data = self._socket.recv(4096)
            except ConnectionError:
                break
            if not data:
                break
            found += map(correlation_of, self._frames.feed(data))
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        yield proxy


@pytest.fixture
def port(proxy: Proxy, server: Server) -> int:
    return proxy.before(server.port)


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with closing(Client(port)) as client:
        yield client


def test_without_faults_everything_passes(proxy: Proxy, client: Client) -> None:
    client.ask(*(asking(Api.PRODUCE, number) for number in range(100)))
    assert client.answers(100) == list(range(100))
    assert [request.correlation for _, request in proxy.requests] == list(range(100))
    assert proxy.log == []


def test_an_answer_is_dropped_and_the_next_one_comes(proxy: Proxy, client: Client) -> None:
    fault = proxy.drop_answer(Api.PRODUCE, client="some")
    client.ask(asking(Api.FETCH, 1), asking(Api.PRODUCE, 2), asking(Api.PRODUCE, 3))
    assert client.answers(2) == [1, 3]
    assert [request.correlation for request in fault.answered] == [2]
    assert "Produce v1 #2 of someone: its answer is dropped" in proxy.log[0]


def test_others_are_left_alone(proxy: Proxy, client: Client) -> None:
    faults = [proxy.drop_answer(Api.PRODUCE, client="else"), proxy.drop_answer(Api.PRODUCE, port=1)]
    client.ask(asking(Api.PRODUCE, 1))
    assert client.answers(1) == [1]
    assert [fault.caught for fault in faults] == [[], []]


def test_the_connection_is_cut_instead_of_an_answer(proxy: Proxy, server: Server, client: Client) -> None:
    proxy.drop_answer(Api.PRODUCE, cut=True)
    client.ask(asking(Api.PRODUCE, 1), asking(Api.PRODUCE, 2))
    assert client.answers(2) == []
    assert server.came[0] == 1


def test_an_answer_is_kept_until_it_is_let_go(proxy: Proxy, server: Server, client: Client) -> None:
    fault = proxy.keep_answer(Api.PRODUCE)
    client.ask(asking(Api.PRODUCE, 1), asking(Api.PRODUCE, 2))
    eventually(lambda: fault.answered)
    eventually(lambda: server.came == [1, 2])
    fault.release()
    assert client.answers(2) == [1, 2]


def test_a_request_is_kept_with_all_that_comes_after_it(proxy: Proxy, server: Server, client: Client) -> None:
    fault = proxy.keep_request(Api.PRODUCE)
    client.ask(asking(Api.FETCH, 1), asking(Api.PRODUCE, 2), asking(Api.PRODUCE, 3))
    assert client.answers(1) == [1]
    eventually(lambda: fault.caught)
    assert server.came == [1]
    fault.release()
    assert client.answers(2) == [2, 3]


def test_a_request_reaches_the_broker_after_its_client_was_cut(
    proxy: Proxy, server: Server, client: Client, port: int
) -> None:
    fault = proxy.keep_request(Api.END_TXN, cut=True)
    client.ask(asking(Api.END_TXN, 1))
    assert client.answers(1) == []
    with closing(Client(port)) as again:
        again.ask(asking(Api.END_TXN, 2))
        assert again.answers(1) == [2]
    assert server.came == [2]
    fault.release()
    eventually(lambda: fault.errors == [0])
    assert server.came == [2, 1]


def test_what_is_still_kept_at_the_end_is_thrown_away(proxy: Proxy, server: Server, client: Client) -> None:
    fault = proxy.keep_request(Api.PRODUCE)
    client.ask(asking(Api.PRODUCE, 1))
    eventually(lambda: fault.caught)
    proxy.heal()
    assert client.answers(1) == []
    assert server.came == []


def test_connections_are_cut_and_new_ones_are_taken(proxy: Proxy, client: Client, port: int) -> None:
    client.ask(asking(Api.PRODUCE, 1, "mine"))
    assert client.answers(1) == [1]
    assert proxy.cut("somebody else's") == 0
    assert proxy.cut("mi") == 1
    assert client.answers(1) == []
    with closing(Client(port)) as again:
        again.ask(asking(Api.PRODUCE, 2))
        assert again.answers(1) == [2]


def test_the_sockets_of_a_connection_that_ended_stay_its_own_while_a_thread_may_use_them(
    proxy: Proxy, client: Client
) -> None:
    """Their numbers would go to the next connection, and the thread would take the answers of that one."""
    fault = proxy.keep_answer(Api.PRODUCE)
    client.ask(asking(Api.PRODUCE, 1))
    eventually(lambda: fault.answered)
    (connection,) = proxy._connections
    client.close()
    eventually(lambda: connection.closed)
    assert min(connection._client.fileno(), connection._broker.fileno()) > 0
    fault.release()
    eventually(lambda: connection._client.fileno() == connection._broker.fileno() == -1)


def test_a_broker_that_does_not_run_looks_like_that(proxy: Proxy) -> None:
    with closing(socket.socket()) as held:  # nobody listens there, and nobody else can
        held.bind(("127.0.0.1", 0))
        with closing(Client(proxy.before(held.getsockname()[1]))) as client:
            assert client.answers(1) == []


def test_answers_are_delayed_until_that_is_over(proxy: Proxy, client: Client) -> None:
    fault = proxy.delay(0.01)
    client.ask(asking(Api.PRODUCE, 1), asking(Api.FETCH, 2))
    assert client.answers(2) == [1, 2]
    assert len(fault.caught) == 2
    fault.release()
    client.ask(asking(Api.PRODUCE, 3))
    assert client.answers(1) == [3]
    assert len(fault.caught) == 2


def test_nothing_of_a_silenced_client_arrives_and_its_connection_ends_with_the_silence(
    proxy: Proxy, server: Server, client: Client, port: int
) -> None:
    silence = proxy.silence("someone")
    client.ask(asking(Api.PRODUCE, 1), asking(Api.FETCH, 2))
    eventually(lambda: silence.caught)
    with closing(Client(port)) as other:
        other.ask(asking(Api.PRODUCE, 3, "another"))
        assert other.answers(1) == [3]
    silence.discard()
    assert client.answers(1) == []
    assert server.came == [3]
    with closing(Client(port)) as again:
        again.ask(asking(Api.PRODUCE, 4))
        assert again.answers(1) == [4]


def test_a_broker_out_of_reach_takes_no_connections_until_it_is_back(
    proxy: Proxy, server: Server, client: Client, port: int
) -> None:
    client.ask(asking(Api.PRODUCE, 1))
    assert client.answers(1) == [1]
    proxy.part(server.port)
    assert client.answers(1) == []
    with closing(Client(port)) as refused:
        assert refused.answers(1) == []
    proxy.join(server.port)
    with closing(Client(port)) as again:
        again.ask(asking(Api.PRODUCE, 2))
        assert again.answers(1) == [2]
    assert server.came == [1, 2]
