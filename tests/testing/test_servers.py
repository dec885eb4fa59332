"""What starts real servers: no port is given away twice, and a server that ends by itself is told."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from headwater.errors import Unavailable
from headwater.testing.brokers import Cluster, Node, _is_mine, free_ports
from headwater.testing.conformance.log.waiting import attempts
from headwater.testing.redis import RedisServer
from headwater.testing.server_process import AGAIN_S

DRAWS = "from headwater.testing.brokers import free_ports\nprint(next(free_ports()), flush=True)\ninput()"


def test_a_port_belongs_to_the_process_that_drew_it_until_that_ends() -> None:
    other = subprocess.Popen([sys.executable, "-c", DRAWS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    port = int(other.stdout.readline())
    assert not _is_mine(port), "its server may be about to take it"
    other.communicate("\n")
    assert _is_mine(port)
    assert not _is_mine(port), "nor twice here"


def test_brokers_are_not_ready_while_one_of_them_does_not_run(tmp_path: Path) -> None:
    port, controller_port, *_ = (port for port, _ in zip(free_ports(), range(2), strict=False))
    cluster = Cluster(tmp_path, "cluster", tmp_path, [Node(1, port, controller_port)])
    with pytest.raises(Unavailable, match=f"broker 1 on port {port} did not start"):
        cluster._wait_until_ready(cluster.nodes, 60)


def test_a_server_that_ends_at_once_is_not_started_in_a_hurry(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, next(free_ports()), {"no-such-setting": "1"})
    started_s = time.monotonic()
    for calls, _ in enumerate(attempts(60, "it was started twice in one go"), 1):
        with pytest.raises(Unavailable, match="does not start"):
            server.start(timeout_s=0.5)
        starts = server.log_tail(1000).count("no-such-setting")
        assert starts <= calls + (time.monotonic() - started_s) / AGAIN_S
        if starts > calls:
            break
