"""A real Redis server on this machine, for tests and benchmarks.

`start_redis(directory)` starts a server on a free loopback port. What there is to know of it stands in its directory
(`redis.json`), so that another process can find and stop it: `RedisServer.load(directory)`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from headwater.errors import Unavailable
from headwater.testing.brokers import free_ports
from headwater.testing.server_process import ANSWER_S, bring_up, last_lines, launched, lives, remember, wait_until_gone

EVERY_SECOND = {"appendonly": "yes", "appendfsync": "everysec"}
"""What a server is started with that keeps its data as most do: a log of commands, on the disk once a second."""

NOTHING_KEPT = {"appendonly": "no", "save": '""'}


@dataclass(slots=True)
class RedisServer:
    """A server. Arguments: directory: settings, data and log; port: on the loopback address; settings: as in
    redis.conf; pid: of the process that was started last (0: none)."""

    directory: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    pid: int = 0

    @property
    def url(self) -> str:
        """The first database; no password is asked for."""
        return f"redis://127.0.0.1:{self.port}/0"

    @classmethod
    def load(cls, directory: Path) -> RedisServer | None:
        """The server that was made in this directory, running or not; None where there is none."""
        state = directory / "redis.json"
        if not state.exists():
            return None
        content = json.loads(state.read_text())
        return cls(directory, content["port"], content["settings"], content["pid"])

    @property
    def runs(self) -> bool:
        """Whether its process lives. A process id alone may belong to somebody else by now."""
        return lives(self.pid, f"127.0.0.1:{self.port}")

    def start(self, timeout_s: float = 120.0) -> None:
        """Starts the server and waits until it answers. Raises: Unavailable: with the last lines of its log."""
        if not bring_up(self._answers, lambda: self.runs, self._launch, timeout_s):
            raise Unavailable(f"Redis in {self.directory} does not start:\n{self.log_tail()}")

    def stop(self) -> None:
        """Ends the server in an orderly way."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the server as a power cut would (SIGKILL)."""
        self._signal(signal.SIGKILL)

    def delete(self) -> None:
        """Stops the server and removes its directory."""
        self.kill()
        shutil.rmtree(self.directory)

    def log_tail(self, lines: int = 12) -> str:
        """The last lines that it wrote."""
        return last_lines(self.directory / "redis.log", lines)

    @contextlib.contextmanager
    def store(self) -> Iterator[str]:
        """The address of an empty store, whose keys are removed at the end."""
        import redis

        prefix = f"s{uuid4().hex[:12]}"
        yield f"{self.url}?prefix={prefix}"
        with contextlib.closing(redis.Redis.from_url(self.url, socket_timeout=ANSWER_S)) as client:
            keys = list(client.scan_iter(f"{prefix}:*", 1000))
            if keys:
                client.unlink(*keys)

    def _answers(self) -> bool:
        import redis

        if not self.runs:
            return False
        lost = redis.ConnectionError, redis.TimeoutError
        with contextlib.suppress(*lost), contextlib.closing(redis.Redis.from_url(self.url)) as client:
            client.ping()
            return True
        return False

    def _launch(self) -> None:
        given = {"bind": "127.0.0.1", "port": str(self.port), "daemonize": "no", **self.settings}
        written = self.directory / "redis.conf"
        written.write_text("".join(f"{name} {value}\n" for name, value in given.items()))
        command = [program(), str(written)]
        self.pid = launched(command, self.directory / "redis.log", cwd=self.directory)
        remember(self.directory / "redis.json", {"port": self.port, "settings": self.settings, "pid": self.pid})

    def _signal(self, number: int) -> None:
        if not self.runs:
            return
        os.kill(self.pid, number)
        wait_until_gone(lambda: self.runs, f"Redis in {self.directory} (process {self.pid})")


def start_redis(directory: Path | None = None, settings: Mapping[str, str] = EVERY_SECOND) -> RedisServer:
    """Starts a server, or the one that already is in the directory, and returns when it answers.

    Arguments: directory: None: a new temporary one; settings: as in redis.conf, of a new server.
    Raises: Unavailable: Redis is not installed, or does not start.
    """
    directory = Path(tempfile.mkdtemp(prefix="headwater-redis-")) if directory is None else directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    server = RedisServer.load(directory) or RedisServer(directory, next(free_ports()), dict(settings))
    server.start()
    return server


def program() -> str:
    """The path of the server's program. Raises: Unavailable: it is not installed."""
    path = shutil.which("redis-server") or shutil.which("valkey-server")
    if path is None:
        raise Unavailable("redis-server is not installed: ./scripts/setup-servers, or apt-get install redis-server")
    return path
