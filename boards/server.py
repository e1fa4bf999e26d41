"""The board's server: uvicorn in a thread, started and stopped by the program."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time

import uvicorn
from starlette.applications import Starlette

from boards.feed import Feed
from boards.guard import is_loopback
from schemas.base import PlanwatchError

START_S = 10.0
STOP_S = 5.0


class BoardServer:
    """A board that listens. `url` is known before `start`, since the port is taken when it is made."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._feed: Feed = app.state.feed
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{_reachable(host)}:{self.port}"
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", server_header=False, timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="planwatch-board", daemon=True
        )

    def start(self) -> BoardServer:
        """Serve in a thread; returns when requests are answered."""
        self._thread.start()
        until = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise PlanwatchError(f"The board did not start at {self.url}: see the log for the reason.")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """End the event streams, then the server. May be called twice."""
        self._feed.stopping.set()
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        self._socket.close()

    def __enter__(self) -> BoardServer:
        """Start."""
        return self.start()

    def __exit__(self, *args: object) -> None:
        """Stop."""
        self.stop()


def serve(app: Starlette, host: str = "127.0.0.1", port: int = 0) -> BoardServer:
    """A server for the board, not yet started. Port 0 takes any free one.

    Raises PlanwatchError when the port is taken, or when others could reach a board that has no token.
    """
    if not is_loopback(host) and not app.state.has_token:
        raise PlanwatchError(
            f"board.host is {host}: others could read the board. Set a token (board.token_file in planwatch.yaml, or "
            "PLANWATCH_BOARD_TOKEN), or set board.host to 127.0.0.1."
        )
    return BoardServer(app, host, port)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, proto)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(512)
    except OSError as error:
        raise PlanwatchError(
            f"The board cannot listen at {host}:{port}: {error.strerror or error}. Set another board.port in planwatch.yaml "
            "(0 takes any free one), or stop what uses it."
        ) from error
    return listening


def _reachable(host: str) -> str:
    """The host as it stands in an address: a wildcard is reached here at loopback."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 (compared, not bound)
        return "127.0.0.1"
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
