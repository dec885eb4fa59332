"""The store when its server is full, busy, killed, or behind TLS."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from headwater.errors import Unavailable
from headwater.stores.opening import open_store
from headwater.stores.opensearch import OpenSearchStore
from headwater.stores.port import Loading, TableSchema
from headwater.testing.conformance.store import ACCOUNT, P0, P1, Account, put
from headwater.testing.search import SearchServer, start_search
from headwater.testing.waiting import eventually
from tests.conftest import CACHE

OTHER = TableSchema("other", 1, Account, ("name",))


@pytest.fixture
def store(opensearch_url: str) -> Iterator[OpenSearchStore]:
    store = OpenSearchStore(opensearch_url)
    store.open_tables("r", [ACCOUNT, OTHER])
    yield store
    store.close()


def note(at: int, loading: Loading) -> None:
    loading.save(ACCOUNT, [Account(f"a{at % 7}", Decimal(at))])


def both(total: int, loading: Loading) -> None:
    loading.save(ACCOUNT, [Account("ann", Decimal(total))])
    loading.save(OTHER, [Account("bob", Decimal(total)), Account("eve", Decimal(total))])


def test_an_index_that_cannot_be_written_leaves_nothing_of_the_batch(
    store: OpenSearchStore, opensearch_server: SearchServer
) -> None:
    store.apply("r", {}, {P0: 1}, lambda loading: both(1, loading))
    index = store._finding.now.table(OTHER).index
    opensearch_server.ask("PUT", f"/{index}/_settings", {"index.blocks.write": True})
    with pytest.raises(Unavailable, match="cannot be written now"):
        store.apply("r", {P0: 1}, {P0: 2}, lambda loading: both(2, loading))
    assert store.rows(ACCOUNT) == [Account("ann", Decimal(1))]
    assert store.row(ACCOUNT, ("ann",)) == Account("ann", Decimal(1))
    assert store.positions("r") == {P0: 1}
    opensearch_server.ask("PUT", f"/{index}/_settings", {"index.blocks.write": None})
    store.apply("r", {P0: 1}, {P0: 2}, lambda loading: both(3, loading))
    assert [row.total for row in store.rows(OTHER)] == [3, 3]


def test_items_that_a_full_server_does_not_take_are_sent_again_alone(
    store: OpenSearchStore, opensearch_server: SearchServer
) -> None:
    """The block of a full disk answers each item with 429, as a full queue does."""
    index = store._finding.now.table(OTHER).index
    opensearch_server.ask("PUT", f"/{index}/_settings", {"index.blocks.read_only_allow_delete": True})
    sent: list[int] = []
    ask = store._connection.ask

    def counted(method: str, path: str, body: object = None, **options: Any) -> Any:
        if path == "/_bulk" and isinstance(body, bytes):
            sent.append(body.count(b'"create"'))
            if len(sent) == 3:
                opensearch_server.ask("PUT", f"/{index}/_settings", {"index.blocks.read_only_allow_delete": None})
        return ask(method, path, body, **options)

    store._connection.ask = counted  # type: ignore[method-assign] # to look at what is sent
    store.apply("r", {}, {P0: 1}, lambda loading: both(1, loading))
    assert sent == [3, 2, 2]
    assert (len(store.rows(ACCOUNT)), len(store.rows(OTHER)), store.positions("r")) == (1, 2, {P0: 1})


def test_what_was_only_looked_at_and_has_changed_is_looked_at_again(opensearch_url: str) -> None:
    """One copies what the other writes: with what it saw at first, it would have been before the other and after it."""
    with closing(OpenSearchStore(opensearch_url)) as store, closing(OpenSearchStore(opensearch_url)) as other:
        store.open_tables("r", [ACCOUNT])
        put(store, [Account("ann", Decimal(1))], None, 1)
        seen: list[Decimal] = []

        def copy(loading: Loading) -> None:
            ann = loading.load(ACCOUNT, [("ann",), ("nobody",)])["ann",]
            seen.append(ann.total)
            if len(seen) == 1:
                change = [Account("ann", Decimal(2))]
                other.apply("r", {}, {P1: 1}, lambda inner: inner.save(ACCOUNT, change))
            loading.save(ACCOUNT, [Account("copy", ann.total)])

        store.apply("r", {P0: 1}, {P0: 2}, copy)
        assert seen == [1, 2]
        assert store.row(ACCOUNT, ("copy",)) == Account("copy", Decimal(2))


def test_two_processes_that_change_one_row_lose_nothing(opensearch_url: str) -> None:
    with closing(OpenSearchStore(opensearch_url)) as store, closing(OpenSearchStore(opensearch_url)) as other:
        store.open_tables("r", [ACCOUNT])

        def add(loading: Loading) -> None:
            row = loading.load(ACCOUNT, [("ann",)]).get(("ann",)) or Account("ann")
            row.total += 1
            loading.save(ACCOUNT, [row])

        def run(of: OpenSearchStore, partition: Any) -> None:
            for position in range(40):
                of.apply("r", {partition: position} if position else {}, {partition: position + 1}, add)

        threads = [threading.Thread(target=run, args=args) for args in ((store, P0), (other, P1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
        assert store.row(ACCOUNT, ("ann",)) == Account("ann", Decimal(80))
        assert store.positions("r") == {P0: 40, P1: 40}


def test_who_ends_well_leaves_nothing_on_the_list(opensearch_url: str, opensearch_server: SearchServer) -> None:
    with closing(OpenSearchStore(opensearch_url)) as store:
        store.open_tables("r", [ACCOUNT])
        put(store, [Account("ann")], None, 1)
    index = opensearch_url.rpartition("/")[2] + "-hw_store"
    assert "sessions" not in opensearch_server.ask("GET", f"/{index}/_doc/runner%2Fr")["_source"]


def test_a_table_that_another_process_has_made_anew_is_found(opensearch_url: str) -> None:
    with closing(OpenSearchStore(opensearch_url)) as store, closing(OpenSearchStore(opensearch_url)) as other:
        store.open_tables("r", [ACCOUNT])
        put(store, [Account("ann")], None, 1)
        assert other.row(ACCOUNT, ("ann",)) == Account("ann")
        store.forget("r")
        with pytest.raises(Unavailable, match="no table account version 1 yet"):
            other.rows(ACCOUNT)
        store.open_tables("r", [ACCOUNT])
        put(store, [Account("bob")], None, 1)
        assert other.positions("r") == {P0: 1}
        assert other.rows(ACCOUNT) == [Account("bob")]
        assert other.row(ACCOUNT, ("ann",)) is None


@pytest.mark.slow
def test_a_server_that_is_killed_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    server = start_search("opensearch", tmp_path / "server", cache=CACHE)
    try:
        with closing(OpenSearchStore(server.url)) as store:
            store.open_tables("r", [ACCOUNT])
            reached = threading.Event()
            failures: list[BaseException] = []

            def run() -> None:
                at = 0
                while at <= 250:
                    try:
                        start = store.positions("r")
                        at = start.get(P0, 0)
                        if at <= 250:
                            store.apply("r", start, {P0: at + 1}, partial(note, at))
                    except Unavailable:
                        reached.wait(0.05)
                    except BaseException as error:  # noqa: BLE001 -- told to the test
                        failures.append(error)
                        return
                    if at > 100:
                        reached.set()

            at_work = threading.Thread(target=run)
            at_work.start()
            assert reached.wait(60)
            server.kill()
            server.start()
            at_work.join(120)
            assert failures == []
            assert not at_work.is_alive()
            assert {row.name: row.total for row in store.rows(ACCOUNT)} == {f"a{n % 7}": n for n in range(244, 251)}
    finally:
        server.delete()


# --- in between


class Gate(BaseHTTPRequestHandler):
    """A proxy that lets in whoever brings one of these, as a search server with its security plug-in does."""

    protocol_version = "HTTP/1.1"
    behind = ""
    accepted: frozenset[str | None] = frozenset()

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("authorization") not in self.accepted:
            self.answer(401, b'{"error": {"type": "security_exception", "reason": "missing credentials"}}')
            return
        kind = {"content-type": self.headers["content-type"]}
        reply = urllib3.request(self.command, f"{self.behind}{self.path}", body=body, headers=kind, retries=False)
        self.answer(reply.status, reply.data)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on

    def log_message(self, *_: object) -> None:
        """Not in the tests' output."""


class Slow(Gate):
    """Lets in everybody; who searches accounts before it is `over` has no answer."""

    accepted = frozenset({None})
    over: threading.Event

    def pass_on(self) -> None:
        if "-account/_search" not in self.path or self.over.is_set():
            super().pass_on()
            return
        self.over.wait(60)
        self.close_connection = True

    do_POST = pass_on


@contextmanager
def serving(handler: type[Gate], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A proxy on a port of its own, which it gives. Arguments: context: of TLS, if it speaks that."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def gate(opensearch_server: SearchServer, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of a gate with TLS, and the certificate that it shows."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "pem")]
    subprocess.run(made, check=True, capture_output=True)
    user = urllib3.make_headers(basic_auth="ann:p@ss:word")["authorization"]
    handler = type(
        "Guarded",
        (Gate,),
        {"behind": f"http://127.0.0.1:{opensearch_server.port}", "accepted": frozenset({user, "ApiKey a2V5"})},
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem", tmp_path / "key")
    with serving(handler, context) as port:
        yield port, tmp_path / "pem"


def test_a_query_that_takes_too_long_is_given_up(opensearch_url: str, opensearch_server: SearchServer) -> None:
    place, prefix = f"http://127.0.0.1:{opensearch_server.port}", opensearch_url.rpartition("/")[2]
    handler = type("Held", (Slow,), {"behind": place, "over": (over := threading.Event())})
    with serving(handler) as port, closing(OpenSearchStore(f"opensearch://127.0.0.1:{port}/{prefix}")) as store:
        store.open_tables("r", [ACCOUNT])
        with pytest.raises(Unavailable, match=r"did not end within 0\.1 s and was stopped"):
            store.query('{"index": "account"}', timeout_s=0.1)
        over.set()
        assert list(store.query('{"index": "account"}')) == []


def test_a_store_behind_tls_takes_a_password_or_a_key(gate: tuple[int, Path], opensearch_url: str) -> None:
    port, certificate = gate
    place, prefix = f"localhost:{port}", opensearch_url.rpartition("/")[2]
    good = [f"ann:p%40ss%3Aword@{place}/{prefix}?tls=true", f"{place}/{prefix}?api_key=a2V5"]
    for number, address in enumerate(good):
        with closing(open_store(f"opensearch://{address}&ca_certs={certificate}")) as store:
            store.open_tables("r", [ACCOUNT])
            put(store, [Account("ann")], number or None, number + 1)
            assert store.row(ACCOUNT, ("ann",)) == Account("ann")
    with pytest.raises(Unavailable, match="does not accept the user, the password or the key") as caught:
        open_store(f"opensearch://ann:s3cret@{place}/{prefix}?ca_certs={certificate}")
    assert "s3cret" not in str(caught.value)
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        open_store(f"opensearch://{good[0]}")


def test_without_the_package_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['urllib3'] = None\n"
        "from headwater.stores.opening import open_store\n"
        "open_store('opensearch://localhost/shop')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "Misuse: a store in a search server needs urllib3: pip install 'headwater[opensearch]'" in done.stderr


def test_other_programs_see_what_is_committed_soon(store: OpenSearchStore, opensearch_server: SearchServer) -> None:
    """Though they wait for no position, and nobody refreshes anything for them."""
    put(store, [Account("ann")], None, 1)
    alias = f"{store._connection.address.prefix}-account"
    eventually(lambda: (opensearch_server.ask("GET", f"/{alias}/_count") or {}).get("count") == 1)
