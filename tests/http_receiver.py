"""An HTTP server on this machine that keeps what is posted to it, for tests of webhooks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, TypeVar

S = TypeVar("S", bound=ThreadingHTTPServer)


class Post(NamedTuple):
    """A request as it came."""

    path: str
    headers: Message
    body: bytes


class HttpReceiver(ThreadingHTTPServer):
    """Answers with `code` and the headers `answer`, and keeps what it got."""

    def __init__(self) -> None:
        self.code = 200
        self.answer: dict[str, str] = {}
        self.got: list[Post] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: HttpReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(Post(self.path, self.headers, body))
        self.send_response(self.server.code)
        for name, value in self.server.answer.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def http_receiver() -> AbstractContextManager[HttpReceiver]:
    """A receiver, running."""
    return running(HttpReceiver())


@contextmanager
def running(server: S) -> Iterator[S]:
    """A server at work in a thread, closed at the end."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
