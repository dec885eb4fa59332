"""The proxy's sockets and threads: a listener per broker, two threads per connection, one for each direction.

What is kept back holds up what comes after it in the same direction of the same connection, as in a network. A
client may give up meanwhile and connect anew; what it left behind still reaches the broker when it is let go.
"""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from headwater.testing.proxy.faults import Act, Fault, Faults
from headwater.testing.proxy.protocol import Frames, Request, correlation_of, for_nobody, request_of

logger = logging.getLogger("headwater.testing.proxy")

_ANSWER_S = 30.0
"""How long an answer is waited for that nobody but the fault wants to know any more."""
_NOTICED_S = 1.0
"""How long a client may take to notice that its connection was cut."""


class Proxy:
    """Stands before any number of brokers; a context manager. Thread-safe.

    `log` says what it did and when, `requests` has the head of every request that came, with the broker's port.
    """

    def __init__(self) -> None:
        self.log: list[str] = []
        self.requests: list[tuple[int, Request]] = []
        self._began = time.monotonic()
        self._faults = Faults()
        self._listeners: list[socket.socket] = []
        self._connections: list[_Connection] = []
        self._parted: set[int] = set()
        self._lock = threading.Lock()

    def before(self, port: int) -> int:
        """Listens for a broker. Arguments: port: the broker's own. Returns the port that clients must use."""
        listener = socket.create_server(("127.0.0.1", 0))
        self._listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener, port), name=f"proxy-{port}", daemon=True).start()
        own: int = listener.getsockname()[1]
        return own

    # Faults. `client`: what the client's id contains; `port`: the broker's own, None: any

    def keep_request(
        self, api: int, *, client: str = "", port: int | None = None, times: float = 1, cut: bool = False
    ) -> Fault:
        """Keeps the next request of an API until it is released. Arguments: cut: ends the client's connection when
        the request is there, so that the client asks again over another one."""
        return self._faults.add(Fault(Act.KEEP_REQUEST, api, client, port, times, cut, None, self.note))

    def keep_answer(
        self, api: int, *, client: str = "", port: int | None = None, times: float = 1, for_s: float | None = None
    ) -> Fault:
        """Keeps the answer to the next request of an API until it is released, or for so many seconds."""
        return self._faults.add(Fault(Act.KEEP_ANSWER, api, client, port, times, False, for_s, self.note))

    def drop_answer(
        self, api: int, *, client: str = "", port: int | None = None, times: float = 1, cut: bool = False
    ) -> Fault:
        """Lets the next request of an API through and drops its answer. Arguments: cut: ends the client's
        connection then; otherwise the client waits until its own time is out."""
        return self._faults.add(Fault(Act.DROP_ANSWER, api, client, port, times, cut, None, self.note))

    def fail(
        self,
        api: int,
        error: int,
        *,
        client: str = "",
        port: int | None = None,
        times: float = 1,
        carried_out: bool = True,
    ) -> Fault:
        """Answers the next request of an API with an error. Arguments: error: its code; carried_out: whether the broker
        does what was asked for all the same; if not, its client must be called like its transactional id."""
        act = Act.CHANGE_ANSWER if carried_out else Act.REFUSE
        return self._faults.add(Fault(act, api, client, port, times, False, None, self.note, error))

    def delay(self, seconds: float, *, client: str = "", port: int | None = None) -> Fault:
        """Every answer takes so much longer, until this is released. The log says so once."""
        self.note(f"answers to {client or 'anybody'} take {seconds:g} s longer")
        return self._faults.add(Fault(Act.KEEP_ANSWER, None, client, port, math.inf, False, seconds, lambda line: None))

    def silence(self, client: str, *, port: int | None = None) -> Fault:
        """Nothing that such clients send arrives, until this is discarded, with their connections: they wait for
        answers as behind a network that swallows everything. The log says so once."""
        self.note(f"nothing of {client or 'anybody'} arrives")
        return self._faults.add(Fault(Act.KEEP_REQUEST, None, client, port, math.inf, False, None, lambda line: None))

    def part(self, port: int) -> None:
        """Ends all connections to a broker and takes no new ones, those of other brokers included, until `join`."""
        with self._lock:
            self._parted.add(port)
            hit = [one for one in self._connections if not one.closed and one.port == port]
        for one in hit:
            one.close()
        self.note(f"the broker at port {port} cannot be reached; {len(hit)} connection(s) are cut")

    def join(self, port: int) -> None:
        """The broker can be reached again."""
        with self._lock:
            self._parted.discard(port)
        self.note(f"the broker at port {port} can be reached again")

    def cut(self, client: str = "") -> int:
        """Ends the connections of clients whose id contains this, and waits until they have noticed. Returns how
        many."""
        with self._lock:
            hit = [one for one in self._connections if not one.closed and client in one.client_id]
        for one in hit:
            one.hang_up()
        deadline = time.monotonic() + _NOTICED_S
        for one in hit:
            one.ended.wait(max(0.0, deadline - time.monotonic()))
            one.close()
        self.note(f"{len(hit)} connection(s) of {client or 'anybody'} are cut")
        return len(hit)

    def heal(self) -> None:
        """Ends all faults; what is kept is thrown away, and all brokers can be reached. Forgets `requests`."""
        self._faults.clear()
        with self._lock:
            self._parted.clear()
        self.requests = []

    def note(self, line: str) -> None:
        """Adds a line to the log."""
        self.log.append(f"{time.monotonic() - self._began:8.3f} s  {line}")
        logger.info("%s", line)

    def close(self) -> None:
        self._faults.clear()
        for listener in self._listeners:
            _shut(listener)
        with self._lock:
            connections = list(self._connections)
        for one in connections:
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self, listener: socket.socket, port: int) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client = listener.accept()[0]
                if port in self._parted:
                    client.close()
                    continue
                try:
                    broker = socket.create_connection(("127.0.0.1", port))
                except OSError:
                    client.close()  # as if nobody listened: the broker does not run
                    continue
                connection = _Connection(self, client, broker, port)
                with self._lock:
                    self._connections = [one for one in self._connections if not one.closed]
                    self._connections.append(connection)
                connection.start()

    def _fault(self, request: Request, port: int) -> Fault | None:
        self.requests.append((port, request))
        return self._faults.of(request, port)


class _Connection:
    """One client's connection and the proxy's own to the broker.

    Whoever ends it only shuts the sockets down. They are closed when both threads have left: a number of a file that is
    free goes to the next connection, and what a thread was just about to send or receive would be done to that one.
    """

    def __init__(self, proxy: Proxy, client: socket.socket, broker: socket.socket, port: int) -> None:
        self._proxy, self._client, self._broker, self.port = proxy, client, broker, port
        self._asked: dict[int, tuple[Request, Fault | None]] = {}
        self._client_is_cut = False
        self._threads = 2
        self._lock = threading.Lock()
        self.ended = threading.Event()
        self.client_id = ""
        for one in (client, broker):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for carry in (self._carry_requests, self._carry_answers):
            threading.Thread(target=self._run, args=(carry,), name=f"proxy-{self.port}", daemon=True).start()

    @property
    def closed(self) -> bool:
        return self.ended.is_set()

    def hang_up(self) -> None:
        """Tells the client that nothing more will come; it ends its side then."""
        self._end(self._client, socket.SHUT_WR)

    def close(self) -> None:
        self.ended.set()
        self._end(self._client)
        self._end(self._broker)

    def _end(self, side: socket.socket, how: int = socket.SHUT_RDWR) -> None:
        """A thread that waits for it wakes up."""
        with self._lock, contextlib.suppress(OSError):  # ended before
            side.shutdown(how)

    def _run(self, carry: Callable[[], None]) -> None:
        try:
            with contextlib.suppress(OSError):
                carry()
        finally:
            self.close()
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    self._client.close()
                    self._broker.close()

    def _carry_requests(self) -> None:
        for message in _messages(self._client):
            request = request_of(message)
            self.client_id = request.client
            fault = self._proxy._fault(request, self.port)
            self._asked[request.correlation] = request, fault
            if fault is None or fault.act is not Act.KEEP_REQUEST:
                refused = fault is not None and fault.act is Act.REFUSE
                self._broker.sendall(for_nobody(request, message) if refused else message)
            elif not self._send_late(message, request, fault):
                break

    def _send_late(self, message: bytes, request: Request, fault: Fault) -> bool:
        """Sends a request when its fault lets it go. Returns whether the client is still connected, as far as the
        proxy is concerned."""
        if fault.cut:
            self._client_is_cut = True
            self._end(self._client)
        if not fault.kept(request):
            return False
        self._broker.sendall(message)
        if fault.cut:
            self.ended.wait(_ANSWER_S)  # the other thread ends it with the answer
        return not fault.cut

    def _carry_answers(self) -> None:
        for message in _messages(self._broker):
            request, fault = self._asked.pop(correlation_of(message))
            if fault is not None:
                fault.answer(request, message)
                if fault.cut:
                    break
                if fault.act is Act.DROP_ANSWER:
                    continue
                if fault.act is Act.KEEP_ANSWER and not fault.kept(request):
                    break
                message = fault.changed(request, message)
            if not self._client_is_cut:
                self._client.sendall(message)


def _messages(source: socket.socket) -> Iterator[bytes]:
    """Whole messages, until the other side is gone."""
    frames = Frames()
    while data := source.recv(65_536):
        yield from frames.feed(data)


def _shut(listener: socket.socket) -> None:
    """Ends a listener; the thread that waits for it wakes up."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
