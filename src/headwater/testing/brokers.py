"""Real Kafka brokers on this machine, for tests, benchmarks and the first hour of a user.

`start_brokers(3, directory)` formats and starts brokers in KRaft's combined mode on free loopback ports and
returns a `Cluster`, whose nodes can be killed, paused and restarted. Everything about a cluster stands in its
directory (settings, data, logs, `cluster.json` with ports and process ids), so that another process can find,
use and stop it: `Cluster.load(directory)`. The same directory started again has the same data and ports.

Kafka itself comes from Maven Central into a cache, once (`kafka_files`). `broker_command` is the command line
that `scripts/broker` wraps.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shlex
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

from headwater.errors import Misuse, Unavailable
from headwater.log.kafka.connection import cache_directory
from headwater.testing.kafka_files import class_archive, java, kafka_libraries, run_java
from headwater.testing.server_process import last_lines, launched, lives, remember, told_of, wait_until_gone

START_S = 180.0
"""How long brokers may take until they answer, on a machine that starts other servers at the same time."""

GONE_S = 60.0
"""How long a process may take until it has ended, or stands still, after it was told to."""

_MINE: list[TextIO] = []
"""Open, and so locked, until this process ends: a file for each port that it was given."""

_LOGGING = """status = error
rootLogger.level = warn
rootLogger.appenderRef.0.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c)%n
"""


@dataclass(slots=True)
class Node:
    """One broker of a cluster. `pid` is the last known process; 0: never started. `advertised` is the port that others
    are told to use, if it is not its own (0)."""

    id: int
    port: int
    controller_port: int
    pid: int = 0
    advertised: int = 0


@dataclass(slots=True)
class Cluster:
    """Brokers that share a directory. Nodes are named by their id, from 1.

    Arguments: directory: settings, data, logs; cluster_id: what Kafka was formatted with; nodes; cache: where
    Kafka's jars are.
    """

    directory: Path
    cluster_id: str
    cache: Path
    nodes: list[Node] = field(default_factory=list)

    @property
    def bootstrap(self) -> str:
        """host:port of every node, with commas."""
        return ",".join(f"127.0.0.1:{node.advertised or node.port}" for node in self.nodes)

    @property
    def url(self) -> str:
        return f"kafka://{self.bootstrap}"

    @property
    def pids(self) -> dict[int, int]:
        """The process id of every node that runs, by node id."""
        return {node.id: node.pid for node in self.nodes if self._runs(node)}

    @classmethod
    def load(cls, directory: Path) -> Cluster | None:
        """The cluster that was made in this directory, running or not; None where there is none."""
        state = directory / "cluster.json"
        if not state.exists():
            return None
        content = json.loads(state.read_text())
        nodes = [Node(**node) for node in content["nodes"]]
        return cls(directory, content["cluster_id"], Path(content["cache"]), nodes)

    def start(self, timeout_s: float = START_S) -> None:
        """Starts every node that does not run and waits until all answer.

        Raises: Unavailable: one of them died or did not answer in time; the message carries its last lines.
        """
        for node in self.nodes:
            if not self._runs(node):
                self._launch(node)
        self._wait_until_ready(self.nodes, timeout_s)

    def stop(self, timeout_s: float = 30) -> None:
        """Ends every node in an orderly way; one that is paused or does not end in time is killed."""
        running = [node for node in self.nodes if self._runs(node)]
        for node in running:
            # All at once: the last two controllers of three cannot hand over to anybody.
            os.kill(node.pid, signal.SIGTERM)
            os.kill(node.pid, signal.SIGCONT)
        for node in running:
            try:
                self._wait_until_gone(node, timeout_s)
            except Unavailable:
                self.kill(node.id)

    def end(self, node: int, timeout_s: float = GONE_S) -> None:
        """Ends one node in an orderly way: it hands over what it leads. Raises: Unavailable: not in time."""
        os.kill(self._node(node).pid, signal.SIGTERM)
        self._wait_until_gone(self._node(node), timeout_s)

    def kill(self, node: int) -> None:
        """Ends a node as a power cut would (SIGKILL)."""
        os.kill(self._node(node).pid, signal.SIGKILL)
        self._wait_until_gone(self._node(node))

    def pause(self, node: int) -> None:
        """Freezes a node: its connections stay open and nothing answers. Raises: Unavailable: it goes on."""
        pid = self._node(node).pid
        os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + GONE_S
        while not told_of(pid, "state").startswith("T"):
            if time.monotonic() > deadline:
                raise Unavailable(f"broker {node} (process {pid}) was not stopped within {GONE_S:g} s")
            time.sleep(0.01)

    def resume(self, node: int) -> None:
        os.kill(self._node(node).pid, signal.SIGCONT)

    def restart(self, node: int, timeout_s: float = START_S) -> None:
        """Starts a node that was killed, with the data it had, and waits until it answers. Raises: Unavailable."""
        if not self._runs(self._node(node)):
            self._launch(self._node(node))
        others = [one for one in self.nodes if one.id != node and self._runs(one)]
        self._wait_until_ready([self._node(node), *others], timeout_s)

    def delete(self) -> None:
        """Stops the cluster and removes its directory, data included, and what its clients kept on this machine."""
        self.stop()
        shutil.rmtree(self.directory)
        self.forget()

    def forget(self) -> None:
        """Removes what clients kept of the cluster in the cache: indexes, and copies of states."""
        shutil.rmtree(self.cache / "clusters" / self.cluster_id, ignore_errors=True)

    def save(self) -> None:
        content = {
            "cluster_id": self.cluster_id,
            "cache": str(self.cache),
            "nodes": [asdict(node) for node in self.nodes],
        }
        remember(self.directory / "cluster.json", content)

    def log_tail(self, node: int, lines: int = 12) -> str:
        """The last lines that a node wrote."""
        return last_lines(self._home(self._node(node)) / "broker.log", lines)

    def _node(self, id: int) -> Node:
        return next(node for node in self.nodes if node.id == id)

    def _home(self, node: Node) -> Path:
        return self.directory / f"node-{node.id}"

    def _runs(self, node: Node) -> bool:
        """Whether the node's process lives."""
        return lives(node.pid, str(self._home(node)))

    def _launch(self, node: Node) -> None:
        home, libraries = self._home(node), kafka_libraries(self.cache)
        settings = home / "server.properties"
        if not (home / "data" / "meta.properties").exists():
            home.mkdir(parents=True, exist_ok=True)
            (home / "log4j2.properties").write_text(_LOGGING)
            settings.write_text(_settings(self, node))
            run_java(libraries, "kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", str(settings))
        # Node 1's first orderly end writes the archive of loaded classes that later starts use.
        first = node.id == 1 and not class_archive(libraries).exists()
        writing = [f"-XX:ArchiveClassesAtExit={class_archive(libraries)}"] if first else []
        logging = f"-Dlog4j2.configurationFile={home / 'log4j2.properties'}"
        command = [*java(libraries, *writing), logging, "kafka.Kafka", str(settings)]
        node.pid = launched(command, home / "broker.log")
        self.save()

    def _wait_until_ready(self, nodes: Sequence[Node], timeout_s: float) -> None:
        """Until all of these take connections, and one of them knows them all."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        deadline = time.monotonic() + timeout_s
        for node in nodes:
            self._wait_for_port(node, deadline)
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        while time.monotonic() < deadline:
            with contextlib.suppress(KafkaException):
                if {node.id for node in nodes} <= admin.list_topics(timeout=5).brokers.keys():
                    return
                time.sleep(0.02)
        raise Unavailable(f"the brokers in {self.directory} did not find each other within {timeout_s:g} s")

    def _wait_for_port(self, node: Node, deadline: float) -> None:
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", node.port), timeout=10).close()
                return
            except OSError:
                if not self._runs(node):
                    break
                time.sleep(0.02)
        raise Unavailable(
            f"broker {node.id} on port {node.port} did not start; the end of {self._home(node) / 'broker.log'}:\n"
            f"{self.log_tail(node.id)}"
        )

    def _wait_until_gone(self, node: Node, timeout_s: float = GONE_S) -> None:
        wait_until_gone(lambda: self._runs(node), f"broker {node.id} (process {node.pid})", timeout_s)


def start_brokers(
    nodes: int = 1,
    directory: Path | None = None,
    *,
    port: int | None = None,
    cache: Path | None = None,
    advertise: Callable[[int], int] | None = None,
) -> Cluster:
    """Starts a cluster, or the one that already is in the directory, and returns when all nodes answer.

    Arguments: nodes: 1 or 3 (3: replication 3, at least 2 in sync); directory: for settings and data (None: a
    new temporary one); port: the first node's, the others take the next ones (None: free ones); cache: for
    Kafka's jars (None: `cache_directory()`); advertise: for a new cluster, gives the port that clients and other
    brokers use instead of a node's own (see `testing.proxy`).
    Raises: Misuse: the directory holds a cluster of another size or port; Unavailable: Java or Maven is
    missing, or a broker does not start.
    """
    directory = Path(tempfile.mkdtemp(prefix="headwater-kafka-")) if directory is None else directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    cluster = Cluster.load(directory)
    if cluster is None:
        cluster = Cluster(directory, _new_cluster_id(), cache or cache_directory(), _new_nodes(nodes, port))
        if advertise is not None:
            for node in cluster.nodes:
                node.advertised = advertise(node.port)
    if len(cluster.nodes) != nodes or port not in (None, cluster.nodes[0].port):
        raise Misuse(
            f"{directory} holds {len(cluster.nodes)} node(s) from port {cluster.nodes[0].port}: start it as it "
            "is, choose another directory, or remove it: python -m headwater.testing.broker_command --directory "
            f"{shlex.quote(str(directory))} stop --delete"
        )
    cluster.start()
    return cluster


def _new_cluster_id() -> str:
    import base64

    return base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=").replace("-", "A", 1)


def _new_nodes(count: int, port: int | None) -> list[Node]:
    free = free_ports()
    return [Node(number + 1, next(free) if port is None else port + number, next(free)) for number in range(count)]


def free_ports() -> Generator[int, None, None]:
    """Ports that nobody uses now. Held until the caller is done with all, so that none comes twice; and no other
    process gets one of them here while this one lives, for a server takes its port some seconds later, and leaves it
    when it is started anew.

    Below those that the system gives to outgoing connections: a broker asks its own controller's port until it
    answers, and from a port of that range such a connection would in the end meet itself and keep the port.
    """
    draw = random.SystemRandom()
    with contextlib.ExitStack() as held:
        while True:
            port = draw.randrange(15_000, _first_outgoing_port())
            listener = held.enter_context(socket.socket())
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue  # somebody has it: another draw
            if _is_mine(port):
                yield port


def _is_mine(port: int) -> bool:
    """Whether no other process on this machine, and no earlier call here, was given this port."""
    places = Path(tempfile.gettempdir()) / f"headwater-ports-{os.getuid()}"
    places.mkdir(exist_ok=True)
    place = (places / str(port)).open("w")
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        place.close()
        return False
    _MINE.append(place)
    return True


def _first_outgoing_port() -> int:
    setting = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(setting.read_text().split()[0]) if setting.exists() else 32_768
    return max(first, 16_000)


def _settings(cluster: Cluster, node: Node) -> str:
    copies = min(3, len(cluster.nodes))
    in_sync = 2 if copies == 3 else 1
    voters = ",".join(f"{n.id}@127.0.0.1:{n.controller_port}" for n in cluster.nodes)
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": node.id,
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.advertised or node.port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": cluster.directory / f"node-{node.id}" / "data",
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        # Few partitions of the internal topics: the first group and the first transaction wait for them all.
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.num.partitions": 4,
        # By default the cleaner takes 128 MB of the heap at the start.
        "log.cleaner.dedupe.buffer.size": 8_388_608,
        # Quick answers to what tests do: joins, dead members, dead brokers, transactions left open.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "group.consumer.min.session.timeout.ms": 1000,
        "group.consumer.min.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
