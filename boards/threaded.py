"""A web server in a thread: uvicorn, started and stopped by the program, with errors in the words of its user."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from typing import Any, NamedTuple, Self

import uvicorn
from starlette.types import ASGIApp

from schemas.base import PlanwatchError

START_S = 10.0
STOP_S = 5.0
BACKLOG = 512
PORT_MAX = 65_535


class Words(NamedTuple):
    """How a server is called in messages: what it is, and the settings of its host and port."""

    what: str  # "The board"
    setting: str  # "board": its host and port are board.host and board.port


class ThreadedServer:
    """A server that listens. `url` is known before `start`, since the port is taken when it is made.

    `stop_s`: how long it may take to answer what was asked before the end. `settings`: more of uvicorn's.
    """

    def __init__(
        self, app: ASGIApp, host: str, port: int, words: Words, stop_s: float = STOP_S, **settings: Any
    ) -> None:
        self._stop_s = stop_s
        self._words = words
        self._socket = _listen(host, port, words)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{reachable(host)}:{self.port}"
        # Proxy headers are not believed, and the program's logging stays as it is.
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=max(int(stop_s) - 3, 2),
            **settings,
        )
        self._server = uvicorn.Server(config)
        name = f"planwatch-{words.setting}"
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name=name, daemon=True)

    def start(self) -> Self:
        """Serve in a thread; returns when requests are answered."""
        self._thread.start()
        until = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise PlanwatchError(f"{self._words.what} did not start at {self.url}: see the log for the reason.")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Answer what was asked, for a moment, and end. May be called twice."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(self._stop_s)
        self._socket.close()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *args: object) -> None:
        """Stop."""
        self.stop()


def _listen(host: str, port: int, words: Words) -> socket.socket:
    if not 0 <= port <= PORT_MAX:  # the system would take the rest of a division by 65536
        raise PlanwatchError(f"{words.what} cannot listen at port {port}: a port is a number from 0 to {PORT_MAX}.")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, proto)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise PlanwatchError(
            f"{words.what} cannot listen at {host}:{port}: {error.strerror or error}. Set another {words.setting}.port "
            f"or {words.setting}.host (port 0 takes any free one), or stop what uses it."
        ) from error
    return listening


def reachable(host: str) -> str:
    """The host as it stands in an address: a wildcard is reached here at loopback."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 (compared, not bound)
        return "127.0.0.1"
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
