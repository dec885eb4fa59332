"""A real schema registry on this machine, for tests: Apicurio Registry, with the REST interface of Confluent's.

`start_registry(directory)` starts a server on a free loopback port, with its data there. What there is to know of it
stands in its directory (`registry.json`), so that another process can find and stop it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.errors import Unavailable
from headwater.log.kafka.connection import cache_directory
from headwater.testing.brokers import free_ports
from headwater.testing.registry_files import TITLE, java, registry_application
from headwater.testing.server_process import asked, last_lines, launched, lives, remember, wait_until_gone


@dataclass(slots=True)
class RegistryServer:
    """A server. Arguments: directory: data and log; port: on the loopback address; cache: where its files are; pid: of
    the process that was started last (0: none)."""

    directory: Path
    port: int
    cache: Path
    pid: int = 0

    @property
    def url(self) -> str:
        """The address of its Confluent-compatible interface."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    @classmethod
    def load(cls, directory: Path) -> RegistryServer | None:
        """The server that was made in this directory, running or not; None where there is none."""
        state = directory / "registry.json"
        if not state.exists():
            return None
        content = json.loads(state.read_text())
        return cls(directory, **{**content, "cache": Path(content["cache"])})

    @property
    def runs(self) -> bool:
        """Whether its process lives. A process id alone may belong to somebody else by now."""
        return lives(self.pid, str(self.directory))

    def start(self, timeout_s: float = 180) -> None:
        """Starts the server and waits until it answers. Raises: Unavailable: with the last lines of its log."""
        deadline_s = time.monotonic() + timeout_s
        if not self.runs:
            self._launch()
        while self.ask("GET", "/subjects") is None:
            if not self.runs or time.monotonic() > deadline_s:
                raise Unavailable(f"{TITLE} in {self.directory} does not start:\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends the server; what is registered is there again after the next start."""
        if not self.runs:
            return
        os.kill(self.pid, signal.SIGTERM)
        wait_until_gone(lambda: self.runs, f"the registry in {self.directory} (process {self.pid})")

    def delete(self) -> None:
        """Stops the server and removes its directory."""
        self.stop()
        shutil.rmtree(self.directory)

    def log_tail(self, lines: int = 12) -> str:
        """The last lines that it wrote."""
        return last_lines(self.directory / "registry.log", lines)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request, as another program sends it. Returns: the content; None: no answer, or it refuses."""
        return asked(method, self.url + path, body, "application/vnd.schemaregistry.v1+json")

    def _launch(self) -> None:
        options = [
            "-Dquarkus.http.host=127.0.0.1",
            f"-Dquarkus.http.port={self.port}",
            f"-Dquarkus.datasource.jdbc.url=jdbc:h2:file:{self.directory}/data/registry",
        ]
        command = java(registry_application(self.cache), *options)
        self.pid = launched(command, self.directory / "registry.log", cwd=self.directory)
        remember(self.directory / "registry.json", {"port": self.port, "cache": str(self.cache), "pid": self.pid})


def start_registry(directory: Path | None = None, *, cache: Path | None = None) -> RegistryServer:
    """Starts a server, or the one that already is in the directory, and returns when it answers.

    Arguments: directory: None: a new temporary one; cache: for its files (None: `cache_directory()`).
    Raises: Unavailable: Java or Maven is missing, or it does not start.
    """
    directory = Path(tempfile.mkdtemp(prefix="headwater-registry-")) if directory is None else directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    server = RegistryServer.load(directory)
    if server is None:
        server = RegistryServer(directory, next(iter(free_ports())), cache or cache_directory())
    server.start()
    return server
