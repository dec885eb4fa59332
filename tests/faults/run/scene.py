"""What faults strike: brokers, the network before them, the processes that own; and who is who among them now."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headwater.log.kafka import KafkaLog
from headwater.log.port import TopicPartition
from headwater.testing import eventually
from headwater.testing.brokers import Cluster, start_brokers
from headwater.testing.proxy import Api, Proxy
from tests.disks import SmallDisk, small_disk_or_none
from tests.faults.run.owners import OwnerProcess, Owners

T = TypeVar("T")

OWNERS = 3
SESSION_S = 5.0
"""After so long without a sign of life an owner is replaced."""
LIMITS = (
    f"session_timeout_s={SESSION_S:g}&transaction_timeout_s=8&answer_timeout_s=8&poll_timeout_s=20&connect_timeout_s=20"
)
DISK_BYTES = 400_000_000
SMALL = 3
"""The broker whose disk can be filled."""
HAPPENS_S = 25.0
"""How long a fault may wait for what it strikes at."""


class Missed(Exception):
    """What a fault waits for did not come: it has not struck."""


@dataclass
class Scene:
    """Arguments: disk: the small one's; None: it cannot be filled here."""

    directory: Path
    cluster: Cluster
    proxy: Proxy
    owners: Owners
    disk: SmallDisk | None
    url: str
    store: str
    log: list[str]
    began_s: float

    def note(self, line: str) -> None:
        """Adds a line to the log of the round, with the time since it began."""
        self.log.append(f"{time.monotonic() - self.began_s:8.3f} s  {line}")
        with (self.directory / "faults.log").open("a") as file:
            file.write(self.log[-1] + "\n")

    def open_log(self) -> KafkaLog:
        options: dict[str, Any] = dict(pair.split("=") for pair in LIMITS.split("&"))
        return KafkaLog(self.cluster.bootstrap, index_directory=self.directory / "index", **options)

    # --- who is who

    def node_at(self, port: int) -> int:
        return next(node.id for node in self.cluster.nodes if node.port == port)

    def leader(self, partition: TopicPartition) -> int:
        """The broker that leads a partition. Raises: Missed."""

        def asked() -> int:
            topic = self._admin().list_topics(partition.topic, timeout=5).topics[partition.topic]
            return int(topic.partitions[partition.partition].leader)

        return self.happens(lambda: _or_none(asked), f"{partition} has a leader")

    def group_coordinator(self, group: str) -> int:
        """Raises: Missed."""

        def asked() -> int:
            admin = self._admin()  # kept until the answer is there: without it, nobody answers
            return int(
                admin.describe_consumer_groups([group], request_timeout=5)[group].result(timeout=6).coordinator.id
            )

        return self.happens(lambda: _or_none(asked), f"{group} has a coordinator")

    def transaction_coordinator(self, client: str) -> int:
        """The broker to which such a client sent its last commit. Raises: Missed."""
        found = self.happens(
            lambda: [port for port, request in self.proxy.requests if _commits(request.api, request.client, client)],
            f"a transaction of {client} is committed",
        )
        return self.node_at(found[-1])

    def controller(self) -> int:
        """The active one, as the newest of the brokers' own notes says."""
        notes = [
            json.loads(file.read_text())
            for file in self.cluster.directory.glob("node-*/data/__cluster_metadata-0/quorum-state")
        ]
        return int(max(notes, key=lambda note: note["leaderEpoch"])["leaderId"])

    def any_owner(self, chance: random.Random) -> OwnerProcess:
        """Raises: Missed: none runs."""
        owners = [one for one in self.owners.running if one.ready.is_set()]
        if not owners:
            raise Missed("no owner runs")
        return chance.choice(owners)

    def happens(self, condition: Callable[[], T | None], what: str, timeout_s: float = HAPPENS_S) -> T:
        """The first true answer of a condition. Raises: Missed: not in time."""
        try:
            return eventually(condition, timeout_s)
        except AssertionError as error:
            raise Missed(f"within {timeout_s:g} s it did not happen that {what}") from error

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.cluster.bootstrap, "log_level": 0})


def _commits(api: int, client: str, wanted: str) -> bool:
    return api == Api.END_TXN and wanted in client


def _or_none(ask: Callable[[], int]) -> int | None:
    """Who is asked for; None: nobody knows just now."""
    try:
        found = ask()
    except (KafkaException, TimeoutError):
        return None
    return found if found > 0 else None


@contextmanager
def a_scene(directory: Path, cache: Path) -> Iterator[Scene]:
    """Three brokers behind a proxy and three owners, all ready. Arguments: directory: is made, and keeps what they
    print; the brokers' data are removed. Raises: Unavailable: the brokers cannot be started."""
    directory.mkdir(parents=True)
    home = directory / "brokers"
    began_s = time.monotonic()
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy())
        disk = stack.enter_context(small_disk_or_none(home / f"node-{SMALL}" / "data", DISK_BYTES))
        cluster = start_brokers(3, home, cache=cache, advertise=proxy.before)
        stack.callback(_end, cluster)
        store = f"sqlite:///{directory / 'models.db'}"
        url = f"{cluster.url}?{LIMITS}&index_directory={directory / 'index'}"
        owners = Owners(url, store, OWNERS, directory)
        stack.callback(owners.kill)
        owners.wait_ready()
        yield Scene(directory, cluster, proxy, owners, disk, url, store, [], began_s)
    for data in home.glob("node-*/data"):
        shutil.rmtree(data, ignore_errors=True)


def _end(cluster: Cluster) -> None:
    for node in cluster.pids:
        cluster.resume(node)
        cluster.kill(node)
