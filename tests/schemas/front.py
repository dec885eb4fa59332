"""What stands in front of a registry where people have to log in: it lets those through who send the right header."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import urllib3


@contextmanager
def front(base: str, authorization: str) -> Iterator[str]:
    """The address of a front, on a port of its own. Arguments: base: what is behind it; authorization: the header."""

    class Front(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.headers.get("authorization") != authorization:
                self.say(401, b'{"error_code":401,"message":"Unauthorized"}')
                return
            headers = {"content-type": self.headers["content-type"]}
            behind = urllib3.request(self.command, base + self.path, body=body, headers=headers, retries=False)
            self.say(behind.status, behind.data)

        do_GET = do_POST = answer

        def say(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
