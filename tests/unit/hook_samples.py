"""A webhook server with a sink in memory, on a real port."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from boards.threaded import ThreadedServer, Words
from ingest import hook_protocol
from ingest.door import Context, RecordDoor
from ingest.hook_queue import HookQueue
from ingest.hook_server import Hook, create_app
from ingest.hook_sinks import Taken
from ingest.log_messages import Taking
from ingest.salesforce import SalesforceDoor
from schemas.base import PlanwatchError
from schemas.clock import SystemClock
from schemas.config import Config
from schemas.sources import HookConfig, ServeConfig
from tests.hooks import SECRET

CONFIG = Config(time="log", stages=({"name": "Won", "kind": "won"},))  # type: ignore[arg-type]


class MemorySink:
    """Keeps in memory. While `open` is not set a write waits; while `broken` is set it fails."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Event()  # a write has begun
        self.broken = False
        self.closed = False

    def write(self, taken: Sequence[Taken]) -> None:
        """Keep these."""
        self.begun.set()
        assert self.open.wait(30)
        if self.broken:
            raise PlanwatchError("the disk is full.")
        self.taken += taken

    def probe(self) -> None:
        """Whether it can be written to."""
        if self.broken:
            raise PlanwatchError("the disk is full.")

    def close(self) -> None:
        """Nothing to let go of."""
        self.closed = True

    @property
    def event_ids(self) -> list[str]:
        """Of the changes that were kept."""
        return [orjson.loads(change)["event_id"] for item in self.taken for change in item.changes]

    @property
    def codes(self) -> list[str]:
        """Of the refusals that were kept."""
        return [refused.code for item in self.taken for refused in item.refused]


class Told:
    """What the server says that happened."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.failures = 0
        self.changes = 0

    def answered(self, source: str, outcome: str) -> None:
        self.answers[source, outcome] += 1

    def signature_refused(self, source: str, reason: str) -> None:
        self.reasons[source, reason] += 1

    def wrote(self, taken: Sequence[Taken], seconds: float) -> None:
        self.changes += sum(len(item.changes) for item in taken)

    def failed(self) -> None:
        self.failures += 1


class Served:
    """A server that answers; `url` without a path."""

    def __init__(self, hooks: Sequence[Hook], config: ServeConfig, **settings: Any) -> None:
        self.sink, self.told = MemorySink(), Told()
        self.queue = HookQueue(config, self.sink, self.told)
        app = create_app(hooks, self.queue, config, self.told, SystemClock())
        words = Words("The webhook server", "serve")
        self.server = ThreadedServer(app, "127.0.0.1", 0, words, 15, **{**hook_protocol.settings(), **settings})
        self.url, self.port = self.server.url, self.server.port

    def stop(self) -> None:
        """End it as the program does."""
        self.server.stop()
        self.queue.close()


def hook(
    tenant: str = "acme",
    source: str = "crm",
    door: RecordDoor | None = None,
    secrets: Callable[[], Sequence[bytes]] = lambda: (SECRET.encode(),),
) -> Hook:
    """A source that is called, its requests proved by Standard Webhooks."""
    context = Context(tenant, source, CONFIG, None, SystemClock())
    reader = (door or SalesforceDoor()).reader(context)
    return Hook(Taking(context, reader), HookConfig(), ("standard-webhooks",), secrets)


@contextmanager
def serving(*hooks: Hook, settings: dict[str, Any] | None = None, **bounds: Any) -> Iterator[Served]:
    """A server with these hooks (else one, `crm`) and bounds."""
    served = Served(hooks or (hook(),), ServeConfig(**bounds), **(settings or {}))
    served.queue.start()
    served.server.start()
    try:
        yield served
    finally:
        served.sink.open.set()
        served.stop()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A connection that waits 20 seconds for anything at most."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        yield connection


def read_to_end(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    found = b""
    while part := connection.recv(65_536):
        found += part
    return found
