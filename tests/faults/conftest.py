"""Brokers behind a proxy that makes faults on demand. Both belong to the tests of this room alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import Unavailable
from headwater.log.kafka import KafkaLog
from headwater.testing.brokers import Cluster, start_brokers
from headwater.testing.proxy import Proxy
from tests.conftest import CACHE, absent
from tests.faults.work import Work

OpenLog = Callable[..., KafkaLog]


@dataclass
class Network:
    """Two brokers, so that what one of them does not know yet the other may; everything between them and their
    clients, and between each other, goes through the proxy."""

    cluster: Cluster
    proxy: Proxy

    def port_of(self, node: int) -> int:
        """A broker's own port, by which the proxy knows it."""
        return next(one.port for one in self.cluster.nodes if one.id == node)


@pytest.fixture(scope="package")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with Proxy() as proxy:
        try:
            cluster = start_brokers(2, tmp_path_factory.mktemp("faults"), cache=CACHE, advertise=proxy.before)
        except Unavailable as error:
            absent(str(error))
        with closing(KafkaLog(cluster.bootstrap)) as log:
            Work(log).until(1)  # the first group and the first transaction take their time
        yield Network(cluster, proxy)
        for node in cluster.pids:
            cluster.kill(node)
        cluster.delete()


@pytest.fixture
def network(brokers: Network) -> Iterator[Network]:
    """The brokers without faults; those of the test are printed and ended with it."""
    brokers.proxy.heal()
    begin = len(brokers.proxy.log)
    yield brokers
    brokers.proxy.heal()
    print("\n".join(brokers.proxy.log[begin:]))


@pytest.fixture
def proxy(network: Network) -> Proxy:
    return network.proxy


@pytest.fixture
def open_log(network: Network, tmp_path: Path) -> Iterator[OpenLog]:
    """Opens a log there, with short time limits unless others are given."""
    with ExitStack() as opened:

        def open_(**options: float | str) -> KafkaLog:
            limits: dict[str, Any] = {
                "answer_timeout_s": 20.0,
                "session_timeout_s": 30.0,
                "transaction_timeout_s": 30.0,
                **options,
            }
            log = KafkaLog(network.cluster.bootstrap, index_directory=tmp_path, **limits)
            return opened.enter_context(closing(log))

        yield open_


@pytest.fixture
def log(open_log: OpenLog) -> KafkaLog:
    return open_log()
