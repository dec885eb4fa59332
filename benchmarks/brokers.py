"""One Kafka broker for a benchmark, fresh and gone afterwards."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.testing.brokers import Cluster, start_brokers


@contextmanager
def one_broker() -> Iterator[Cluster]:
    """A broker with an empty directory of its own, on this machine."""
    cluster = start_brokers(1, Path(tempfile.mkdtemp(prefix="headwater-bench-")))
    print(f"one Kafka broker at {cluster.bootstrap}", file=sys.stderr, flush=True)
    try:
        yield cluster
    finally:
        cluster.delete()
