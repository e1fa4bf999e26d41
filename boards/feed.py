"""Views rendered once per change, however many people look at them, and sent as server-sent events."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import orjson
from anyio import to_thread

from boards.access import Access, Viewer
from boards.address import Address
from boards.page import View, page_title, render_sections
from boards.source import BoardSource

log = logging.getLogger(__name__)

CACHE_MAX = 64  # rendered pages kept
STREAMS_MAX = 200  # open event streams; each costs a render per change at most
HEARTBEAT_S = 10.0
INTERVAL_S = 0.2  # at most five updates a second per stream
HOLDS_S = 1.0  # how often an open stream makes sure that its viewer may still see it
SHARE_MAX = 0.25  # of the time may go into rendering: a slow view is sent more seldom


@dataclass(frozen=True)
class Rendered:
    """A view and its HTML at a version of the source."""

    version: int
    view: View
    sections: dict[str, str]
    made_at: float  # monotonic seconds: ages are counted from here
    took_s: float


class Feed:
    """Makes and keeps rendered views. Calls to the source run in worker threads, one per page at a time."""

    def __init__(self, source: BoardSource, *, poll_s: float) -> None:
        self.source = source
        self.poll_s = poll_s
        self.stopping = threading.Event()
        self.streams = 0
        self._kept: OrderedDict[tuple[Address, int | None, Access], Rendered] = OrderedDict()
        self._kept_lock = threading.Lock()
        self._locks = [threading.Lock() for _ in range(16)]

    async def home(self, access: Access) -> tuple[str, str]:
        """(dimension, id) of a viewer's first page. Raises LookupError where there is none."""
        return await to_thread.run_sync(self.source.home, access)

    async def rendered(self, address: Address, as_of: int | None, access: Access) -> Rendered:
        """The page at the source's present version, for who may see so much: shared by all who may see the same.

        Raises LookupError for what does not exist, or not for them.
        """
        return await to_thread.run_sync(self._rendered, address, as_of, access)

    def _rendered(self, address: Address, as_of: int | None, access: Access) -> Rendered:
        key = (address, as_of, access)
        with self._locks[hash(key) % len(self._locks)]:
            version = self.source.version()
            with self._kept_lock:
                kept = self._kept.get(key)
            if kept is not None and kept.version == version:
                return kept
            begun = time.monotonic()
            view = self._view(address, as_of, access)
            sections = render_sections(view, address)
            now = time.monotonic()
            made = Rendered(version, view, sections, now, now - begun)
            with self._kept_lock:
                self._kept[key] = made
                self._kept.move_to_end(key)
                while len(self._kept) > CACHE_MAX:
                    self._kept.popitem(last=False)
            return made

    def _view(self, address: Address, as_of: int | None, access: Access) -> View:
        if address.page == "deals":
            return self.source.deals(address.dimension, address.scope, as_of, access)
        if address.page == "health":
            return self.source.health(access)
        return self.source.view(address.dimension, address.scope, address.period, as_of, access)

    async def events(
        self, address: Address, as_of: int | None, viewer: Viewer, clock: Callable[[], float] = time.monotonic
    ) -> AsyncIterator[bytes]:
        """The page's events: `view` at once and after each change, `beat` when it is quiet, `problem` when it fails.

        `out` and the end once the viewer may no longer see it.
        """
        self.streams += 1
        sent: dict[str, str] = {}
        version: int | None = None
        due = beat = 0.0
        held = clock()
        try:
            yield b"retry: 1000\n\n"
            while not self.stopping.is_set():
                now = clock()
                if now - held >= HOLDS_S:
                    held = now
                    if not viewer.holds():
                        yield b"event: out\ndata: {}\n\n"
                        return
                # A look at the past stays as it is: it is sent once, then only the heartbeat.
                fresh = version is None or (as_of is None and self.source.version() != version)
                if fresh and now >= due:
                    message, made = await self._update(address, as_of, viewer.access, sent)
                    version = made.version if made else self.source.version()
                    due = now + max(INTERVAL_S, made.took_s / SHARE_MAX if made else 1.0)
                    beat = now + HEARTBEAT_S
                    yield message
                elif now >= beat:
                    beat = now + HEARTBEAT_S
                    yield b"event: beat\ndata: {}\n\n"
                await asyncio.sleep(self.poll_s)
            yield b"event: bye\ndata: {}\n\n"
        finally:
            self.streams -= 1

    async def _update(
        self, address: Address, as_of: int | None, access: Access, sent: dict[str, str]
    ) -> tuple[bytes, Rendered | None]:
        """The event with the sections that this stream has not yet, and what it was made from."""
        try:
            made = await self.rendered(address, as_of, access)
        except LookupError as error:
            return _event("problem", {"text": str(error.args[0] if error.args else error)}), None
        except Exception:  # the stream outlives a view that fails: the next change may mend it
            log.exception("board view failed: %s of %s %s", address.page, address.dimension, address.scope)
            return _event("problem", {"text": "The view could not be made. The log of the program says why."}), None
        changed = {name: html for name, html in made.sections.items() if sent.get(name) != html}
        sent.update(changed)
        return _event(
            "view",
            {"version": made.version, "title": page_title(made.view), "age_s": age_now(made), "sections": changed},
        ), made


def age_now(made: Rendered) -> int | None:
    """The age of the newest change now: what the view said, and the time since it was made."""
    if made.view.trust.age_s is None:
        return None
    return made.view.trust.age_s + int(time.monotonic() - made.made_at)


def _event(name: str, data: dict[str, object]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"
