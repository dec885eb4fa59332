"""A real PostgreSQL server on this machine, for tests and benchmarks.

`start_postgres(directory)` makes a database cluster there and starts a server on a free loopback port. As root it
runs under the account postgres, or nobody: PostgreSQL refuses root. What there is to know of a server stands in its
directory (`postgres.json`), so that another process can find and stop it: `PostgresServer.load(directory)`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from headwater.errors import Unavailable
from headwater.testing.brokers import free_ports
from headwater.testing.server_process import bring_up, last_lines, launched, lives, remember, wait_until_gone

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/pgsql/bin")


@dataclass(slots=True)
class PostgresServer:
    """A server. Arguments: directory: settings, data and log; port: on the loopback address; pid: of the process that
    was started last (0: none); fsync: whether what it commits survives the machine."""

    directory: Path
    port: int
    pid: int = 0
    fsync: bool = True

    @property
    def url(self) -> str:
        """The database that is there from the beginning; no password is asked for."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @classmethod
    def load(cls, directory: Path) -> PostgresServer | None:
        """The server that was made in this directory, running or not; None where there is none."""
        state = directory / "postgres.json"
        if not state.exists():
            return None
        content = json.loads(state.read_text())
        return cls(directory, content["port"], content["pid"], content["fsync"])

    @property
    def runs(self) -> bool:
        """Whether its process lives. A process id alone may belong to somebody else by now."""
        return lives(self.pid, str(self._data))

    def start(self, timeout_s: float = 120.0) -> None:
        """Starts the server and waits until it answers. After a crash it waits for what is left of the old one.

        Raises: Unavailable: with the last lines of its log.
        """
        if not bring_up(self._answers, lambda: self.runs, self._launch, timeout_s):
            raise Unavailable(f"PostgreSQL in {self.directory} does not start:\n{self.log_tail()}")

    def stop(self) -> None:
        """Ends the server in an orderly way; open connections are closed."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Ends the server as a power cut would (SIGKILL); its other processes end when they notice."""
        self._signal(signal.SIGKILL)

    def delete(self) -> None:
        """Stops the server and removes its directory."""
        self.stop()
        shutil.rmtree(self.directory)

    def log_tail(self, lines: int = 12) -> str:
        """The last lines that it wrote."""
        return last_lines(self.directory / "postgres.log", lines)

    @contextlib.contextmanager
    def schema(self) -> Iterator[str]:
        """The address of a schema of its own, dropped at the end: as good as a database, and made in no time."""
        name = f"s{uuid4().hex[:12]}"
        self._execute(f"CREATE SCHEMA {name}")
        try:
            yield f"{self.url}?options=-csearch_path%3D{name}"
        finally:
            self._execute(f"DROP SCHEMA {name} CASCADE")

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _answers(self) -> bool:
        import psycopg

        if not self.runs:
            return False
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=10).close()
            return True
        return False

    def _launch(self) -> None:
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "max_connections=300",
            "unix_socket_directories=",
        ]
        settings.append(f"fsync={'on' if self.fsync else 'off'}")
        options = [part for setting in settings for part in ("-c", setting)]
        command = [program("postgres"), "-D", str(self._data), *options]
        self.pid = launched(command, self.directory / "postgres.log", cwd=self.directory, **account())
        remember(self.directory / "postgres.json", {"port": self.port, "pid": self.pid, "fsync": self.fsync})

    def _signal(self, number: int) -> None:
        if not self.runs:
            return
        os.kill(self.pid, number)
        wait_until_gone(lambda: self.runs, f"PostgreSQL in {self.directory} (process {self.pid})")


def start_postgres(directory: Path | None = None, *, fsync: bool = True) -> PostgresServer:
    """Starts a server, or the one that already is in the directory, and returns when it answers.

    Arguments: directory: None: a new temporary one. The account that the server runs under must be able to reach it;
    fsync: False: does not wait for the disk, which only a crash of the machine could tell.
    Raises: Unavailable: PostgreSQL is not installed, or does not start.
    """
    directory = Path(tempfile.mkdtemp(prefix="headwater-postgres-")) if directory is None else directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    server = PostgresServer.load(directory)
    if server is None:
        server = PostgresServer(directory, next(free_ports()), fsync=fsync)
        _make_cluster(directory)
    server.start()
    return server


def _make_cluster(directory: Path) -> None:
    owner = account().get("user")
    if owner is not None:
        os.chown(directory, owner, -1)
    command = [program("initdb"), "-D", str(directory / "data"), "--username=postgres", "--auth=trust", "--no-sync"]
    made = subprocess.run(
        [*command, "--encoding=UTF8", "--locale=C.UTF-8"], capture_output=True, text=True, cwd=directory, **account()
    )
    if made.returncode:
        raise Unavailable(f"initdb in {directory} failed: {made.stderr.strip() or made.stdout.strip()}")


def account() -> dict[str, Any]:
    """How a process is started that must not be root's: under another account, if this one is root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise Unavailable("PostgreSQL does not run as root, and there is no account postgres or nobody")


def program(name: str) -> str:
    """The path of one of the server's programs, of several versions the newest.

    Raises: Unavailable: it is not installed.
    """
    found = [Path(place) / name for pattern in PLACES for place in sorted(Path("/").glob(pattern[1:]), key=_version)]
    installed = [str(path) for path in found if path.exists()]
    path = installed[-1] if installed else shutil.which(name)
    if path is None:
        raise Unavailable(
            f"PostgreSQL's {name} is not installed: ./scripts/setup-servers, or apt-get install postgresql"
        )
    return path


def _version(place: Path) -> list[int]:
    return [int(digits) for digits in "".join(c if c.isdigit() else " " for c in str(place)).split()]
