"""A real search server on this machine, for tests and benchmarks: OpenSearch or Elasticsearch, one node.

`start_search("opensearch", directory)` starts a server on free loopback ports, with its data there. What there is to
know of it stands in its directory (`search.json`), so that another process can find and stop it:
`SearchServer.load(directory)`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from headwater.errors import Unavailable
from headwater.log.kafka.connection import cache_directory
from headwater.testing.brokers import free_ports
from headwater.testing.search_files import PROGRAM, RELEASES, Product, java, search_libraries
from headwater.testing.server_process import asked, last_lines, launched, lives, remember, wait_until_gone


@dataclass(slots=True)
class SearchServer:
    """A server.

    Arguments: directory: data and log; product; port, transport_port: on the loopback address; cache: where its jars
    are; pid: of the process that was started last (0: none).
    """

    directory: Path
    product: Product
    port: int
    transport_port: int
    cache: Path
    pid: int = 0

    @property
    def url(self) -> str:
        """The address of a store there."""
        return f"{self.product}://127.0.0.1:{self.port}"

    @classmethod
    def load(cls, directory: Path) -> SearchServer | None:
        """The server that was made in this directory, running or not; None where there is none."""
        state = directory / "search.json"
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
        while self.ask("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s") is None:
            if not self.runs or time.monotonic() > deadline_s:
                title = RELEASES[self.product].title
                raise Unavailable(f"{title} in {self.directory} does not start:\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends the server in an orderly way."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the server as a power cut would (SIGKILL)."""
        self._signal(signal.SIGKILL)

    def delete(self) -> None:
        """Stops the server and removes its directory."""
        self.stop()
        shutil.rmtree(self.directory)

    def log_tail(self, lines: int = 12) -> str:
        """The last lines that it wrote."""
        return last_lines(self.directory / "search.log", lines)

    @contextlib.contextmanager
    def prefix(self) -> Iterator[str]:
        """The address of a store of its own, whose indices are removed at the end."""
        name = f"t{uuid4().hex[:12]}"
        try:
            yield f"{self.url}/{name}"
        finally:
            found = self.ask("GET", f"/_cat/indices/{name}-*?format=json&h=index") or []
            if found:
                self.ask("DELETE", "/" + ",".join(one["index"] for one in found))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request, as another program sends it. Returns: the content; None: no answer, or it refuses."""
        return asked(method, f"http://127.0.0.1:{self.port}{path}", body, "application/json")

    def _launch(self) -> None:
        libraries = search_libraries(self.product, self.cache)
        ports = [str(self.port), str(self.transport_port)]
        command = [*java(libraries), PROGRAM, str(self.directory), *ports, RELEASES[self.product].plugins]
        self.pid = launched(command, self.directory / "search.log", cwd=self.directory)
        content = {
            "product": self.product,
            "port": self.port,
            "transport_port": self.transport_port,
            "cache": str(self.cache),
            "pid": self.pid,
        }
        remember(self.directory / "search.json", content)

    def _signal(self, number: int) -> None:
        if not self.runs:
            return
        os.kill(self.pid, number)
        wait_until_gone(lambda: self.runs, f"the server in {self.directory} (process {self.pid})")


def start_search(product: Product, directory: Path | None = None, *, cache: Path | None = None) -> SearchServer:
    """Starts a server, or the one that already is in the directory, and returns when it answers.

    Arguments: directory: None: a new temporary one; cache: for its jars (None: `cache_directory()`).
    Raises: Unavailable: Java or Maven is missing, or it does not start.
    """
    directory = Path(tempfile.mkdtemp(prefix=f"headwater-{product}-")) if directory is None else directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    server = SearchServer.load(directory)
    if server is None:
        port, transport_port = islice(free_ports(), 2)
        server = SearchServer(directory, product, port, transport_port, cache or cache_directory())
    server.start()
    return server
