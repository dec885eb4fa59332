"""Real servers for the suite: started once per run, shared by its workers, gone at its end.

A broker that is already there is used instead when `HEADWATER_KAFKA` holds its address.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key  # the real one: 2 is captured
from hypothesis import HealthCheck, settings

from headwater.errors import Unavailable
from headwater.testing.brokers import Cluster, start_brokers
from headwater.testing.postgres import PostgresServer, start_postgres
from headwater.testing.redis import RedisServer, start_redis
from headwater.testing.registry import RegistryServer, start_registry
from headwater.testing.search import SearchServer, start_search
from headwater.testing.search_files import Product

# A machine that stands still for a moment says nothing of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

CACHE = Path(os.environ.get("HEADWATER_CACHE") or Path(__file__).parent.parent / ".cache")


AFTER_LIMIT_S = 60
"""So many seconds after its time limit a test that still runs ends its process and tells what each thread does: it
waits in a call that keeps Python's lock, or once more, while it is torn down. Another worker goes on with the rest."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    marked = item.get_closest_marker("timeout")
    limit_s = float(marked.args[0] if marked else item.config.getini("timeout"))
    stderr = item.config.stash[fault_handler_stderr_fd_key]
    faulthandler.dump_traceback_later(limit_s + AFTER_LIMIT_S, exit=True, file=stderr)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def absent(why: str) -> None:
    """A server that cannot be started: skipped on a laptop, a failure in CI."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one broker, for everybody: leave it running, use names of your own."""
    given = os.environ.get("HEADWATER_KAFKA")
    if given:
        yield given
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    users = shared / "kafka-users"
    user = users / str(os.getpid())
    with (shared / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            cluster = start_brokers(1, shared / "kafka", cache=CACHE)
        except Unavailable as error:
            absent(str(error))
        users.mkdir(exist_ok=True)
        user.touch()
    yield cluster.url
    with (shared / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        user.unlink()
        if not any(users.iterdir()):
            cluster.stop()
            shutil.rmtree(cluster.directory, ignore_errors=True)
            cluster.forget()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server for everybody: leave it running, use `postgres_url`."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    users = shared / "postgres-users"
    user, place = users / str(os.getpid()), shared / "postgres-place"
    with (shared / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            # not below `shared`, which the server's account cannot enter
            server = start_postgres(Path(place.read_text()) if place.exists() else None, fsync=False)
        except Unavailable as error:
            absent(str(error))
        place.write_text(str(server.directory))
        users.mkdir(exist_ok=True)
        user.touch()
    yield server
    with (shared / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        user.unlink()
        if not any(users.iterdir()):
            place.unlink()
            server.delete()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty store."""
    with postgres_server.schema() as url:
        yield url


@contextmanager
def shared_search(product: Product, factory: pytest.TempPathFactory) -> Iterator[SearchServer]:
    """A search server for everybody: leave it running, use a prefix of your own."""
    base = factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    users = shared / f"{product}-users"
    user = users / str(os.getpid())
    with (shared / f"{product}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            server = start_search(product, shared / product, cache=CACHE)
        except Unavailable as error:
            absent(str(error))
        users.mkdir(exist_ok=True)
        user.touch()
    yield server
    with (shared / f"{product}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        user.unlink()
        if not any(users.iterdir()):
            server.delete()


@pytest.fixture(scope="session")
def opensearch_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchServer]:
    with shared_search("opensearch", tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="session")
def elasticsearch_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchServer]:
    with shared_search("elasticsearch", tmp_path_factory) as server:
        yield server


@pytest.fixture
def opensearch_url(opensearch_server: SearchServer) -> Iterator[str]:
    """The address of an empty store."""
    with opensearch_server.prefix() as url:
        yield url


@pytest.fixture
def elasticsearch_url(elasticsearch_server: SearchServer) -> Iterator[str]:
    """The address of an empty store."""
    with elasticsearch_server.prefix() as url:
        yield url


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server of this worker's own: leave it running, use `redis_url`."""
    try:
        server = start_redis(tmp_path_factory.mktemp("redis"))
    except Unavailable as error:
        absent(str(error))
    yield server
    server.delete()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """The address of an empty store."""
    with redis_server.store() as url:
        yield url


@pytest.fixture(scope="session")
def registry_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A schema registry for everybody: leave it running, use subjects of your own."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    users = shared / "registry-users"
    user = users / str(os.getpid())
    with (shared / "registry.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            server = start_registry(shared / "registry", cache=CACHE)
        except Unavailable as error:
            absent(str(error))
        users.mkdir(exist_ok=True)
        user.touch()
    yield server
    with (shared / "registry.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        user.unlink()
        if not any(users.iterdir()):
            server.delete()


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three brokers of this worker's own: tests may kill nodes, and bring them back."""
    try:
        cluster = start_brokers(3, tmp_path_factory.mktemp("kafka-cluster"), cache=CACHE)
    except Unavailable as error:
        absent(str(error))
    yield cluster
    cluster.delete()
