"""`GET /metrics` over HTTP, for Prometheus: the standard library's server, on threads of its own."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from headwater.environment import KeptTelemetry
from headwater.errors import Misuse, Unavailable
from headwater.telemetry.exposition import CONTENT_TYPE, exposition

LOOPBACK = "127.0.0.1"
"""Where it listens unless it is told: what is served needs no password."""

SLOW_S = 10.0
"""After which a client that says nothing is left."""


class MetricsServer:
    """Serves until closed. Arguments: telemetry; host, port: 0 takes any free one.

    Raises: Unavailable: the address is taken, or not of this machine.
    """

    def __init__(self, telemetry: KeptTelemetry, port: int, host: str = LOOPBACK) -> None:
        class Handler(_Handler):
            kept = telemetry

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise Unavailable(f"metrics cannot be served on {host}:{port}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/metrics"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    kept: KeptTelemetry
    timeout = SLOW_S
    server_version, sys_version = "headwater", ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "only /metrics is here")
            return
        body = exposition(self.kept).encode()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Who scrapes is no event of this process."""


def host_and_port(text: str) -> tuple[str, int]:
    """Of "9464" or "0.0.0.0:9464". Raises: Misuse."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise Misuse(f"{text!r} is no port: write 9464, or 0.0.0.0:9464 to be reached from elsewhere")
    return host.strip("[]") or LOOPBACK, int(port)
