"""How the webhook server speaks HTTP: uvicorn's h11, with a bound on connections and on the patience with each."""

from __future__ import annotations

import asyncio
import resource
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: How long a client may take between two requests, and to send the head of one; its body has serve.request_timeout_s.
PATIENCE_S = 15.0
#: Bytes of a request's head, at most.
HEAD_BYTES_MAX = 16 * 1024
#: Connections that the system lets wait until they are taken.
BACKLOG = 4096
#: Files that this process may open, and those of them that are not connections: databases, brokers, logs.
FILES_MAX, FILES_KEPT = 16_384, 256
FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class HookProtocol(H11Protocol):
    """One connection. Where there are `limit_concurrency` of them with it, it is told to come again."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._done_before = -1  # requests of this connection that were answered at the last look
        self._done = 0
        self._look = self.loop.call_later(PATIENCE_S, self._look_at)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self.connections.discard(self)  # it is no reason to refuse the others' requests
            transport.write(FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._look.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """A request was answered."""
        self._done += 1
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What comes is no HTTP any more: say so where no answer has begun, and let none begin after it."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _look_at(self) -> None:
        """End the connection of a client that we have waited for all the while since the last look."""
        if self.transport.is_closing():
            return
        # What is being answered has a deadline of its own.
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering and self._done in (self._done_before, 0):
            self._give_up()
            return
        self._done_before = -1 if answering else self._done
        self._look = self.loop.call_later(PATIENCE_S, self._look_at)

    def _give_up(self) -> None:
        began = self.conn.our_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if began:  # a head that never comes to its end
            self.transport.write(LATE)
        self.transport.close()


def settings() -> dict[str, Any]:
    """How uvicorn is set up for it; lets this process open as many files as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = FILES_MAX if most == resource.RLIM_INFINITY else min(most, FILES_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return {
        "http": HookProtocol,
        "ws": "none",
        "backlog": BACKLOG,
        "limit_concurrency": max(files - FILES_KEPT, FILES_KEPT),
        "h11_max_incomplete_event_size": HEAD_BYTES_MAX,
        "timeout_keep_alive": int(PATIENCE_S),
    }
