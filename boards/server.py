"""The board's server: uvicorn in a thread, started and stopped by the program."""

from __future__ import annotations

from starlette.applications import Starlette

from boards.feed import Feed
from boards.guard import is_loopback
from boards.threaded import ThreadedServer, Words
from schemas.base import PlanwatchError


class BoardServer(ThreadedServer):
    """A board that listens. `url` is known before `start`, since the port is taken when it is made."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._feed: Feed = app.state.feed
        super().__init__(app, host, port, Words("The board", "board"))

    def stop(self) -> None:
        """End the event streams, then the server. May be called twice."""
        self._feed.stopping.set()
        super().stop()


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
