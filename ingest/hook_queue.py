"""What signed requests wait in until they are written: bounded, written together, answered together.

Requests come from an event loop; one thread takes all that wait, writes them as few messages and lets their answers go.
So a request is answered when it is durable, and the more come at once the less each costs.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from ingest.door import Received, Refused, refuse
from ingest.hook_body import shape_of
from ingest.hook_sinks import Sink, Taken
from ingest.log_messages import Taking
from ingest.values import Bad
from schemas.base import PlanwatchError
from schemas.sources import ServeConfig
from storage.backoff import jittered_s

log = logging.getLogger(__name__)

#: Written at once, at most.
GROUP_REQUESTS, GROUP_BYTES = 500, 8 << 20
#: A write that takes longer counts as one that does not succeed: new requests are told so at once.
STUCK_S = 3.0
PROBE_FIRST_S, PROBE_MAX_S = 0.2, 5.0
RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S = 1, 60
#: Weight of the newest group in the time that a request takes.
SMOOTHING = 0.2
CLOSE_S = 60.0

Fate = Literal["written", "too_many_events", "too_late", "unwritten"]


class Outcome(NamedTuple):
    """What became of a request, and how many changes and refusals were in it."""

    fate: Fate
    accepted: int = 0
    quarantined: int = 0


@dataclass(eq=False, slots=True)
class Pending:
    """A request that waits to be written. `deadline` is of the monotonic clock."""

    taking: Taking
    message: Received
    received_ms: int
    deadline: float
    outcome: asyncio.Future[Outcome]

    @property
    def size(self) -> int:
        """Bytes of its body."""
        return len(self.message.body or b"")


class Observer(Protocol):
    """Is told what happens, by any thread."""

    def wrote(self, taken: Sequence[Taken], seconds: float) -> None:
        """These are durable."""
        ...

    def failed(self) -> None:
        """A write did not succeed."""
        ...


@dataclass
class _Usage:
    """What is held for requests right now. Altered by the event loop alone."""

    requests: int = 0
    size: int = 0  # bytes of bodies


class HookQueue:
    """The queue and the thread that empties it. `put`, `hold`, `release` and `full` are the event loop's alone."""

    def __init__(
        self, config: ServeConfig, sink: Sink, observer: Observer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config, self._sink, self._observer, self._clock = config, sink, observer, clock
        self._waiting: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self._usage = _Usage()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._request_s = 0.001  # what a request takes, smoothed
        self._failures = 0  # in a row
        #: Why nothing can be written; none: the last try was good.
        self._reason: str | None = "nothing was tried yet"
        self._probe_at = 0.0
        self._writing_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="planwatch-hook-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and end. Nothing may be put any more."""
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    # What a server asks.

    @property
    def depth(self) -> int:
        """Requests that wait or are being written."""
        return self._usage.requests

    @property
    def ended(self) -> bool:
        """Whether nothing will be written any more: after `close`, and should its thread ever fail."""
        return self._thread.ident is not None and not self._thread.is_alive()

    @property
    def full(self) -> bool:
        """Whether a request is to come again later."""
        usage, config = self._usage, self._config
        return usage.requests >= config.queue_requests_max or usage.size >= config.queue_bytes_max

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written right now; none: as far as is known it can."""
        since = self._writing_since
        if self.ended:
            return "the thread that writes has ended"
        if self._reason is not None:
            return self._reason
        if since is not None and (took := self._clock() - since) > min(STUCK_S, self._config.request_timeout_s):
            return f"a write has not come to its end for {took:.0f} s"
        return None

    @property
    def retry_after_s(self) -> int:
        """When to come again: once what waits is written at the present rate, or once the next try to write was made."""
        wait_s = self._usage.requests * self._request_s
        if self._reason is not None:
            wait_s = max(wait_s, self._probe_at - self._clock())
        return min(max(math.ceil(wait_s), RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)

    def hold(self, size: int) -> bool:
        """Make room for so many bytes of a body that is being read; False where there is none."""
        if self._usage.size + size > self._config.queue_bytes_max:
            return False
        self._usage.size += size
        return True

    def release(self, size: int) -> None:
        """The bytes that were held are not needed any more."""
        self._usage.size -= size

    def put(self, taking: Taking, message: Received, received_ms: int, deadline: float) -> asyncio.Future[Outcome]:
        """Let a request wait; its bytes are held already, and are released once it is done with, whoever waits for it."""
        self._loop = asyncio.get_running_loop()
        pending = Pending(taking, message, received_ms, deadline, self._loop.create_future())
        self._usage.requests += 1
        self._waiting.put(pending)
        return pending.outcome

    # The writer's thread.

    def _run(self) -> None:
        try:
            self._probe()
            ended = False
            while not ended:
                try:
                    first = self._waiting.get(timeout=self._probe_in_s())
                except queue.Empty:
                    self._probe()
                    continue
                group, ended = self._group(first)
                self._write(group)
        finally:
            self._sink.close()

    def _group(self, first: Pending | None) -> tuple[list[Pending], bool]:
        """All that waits, within bounds; and whether that is all that will ever come."""
        group: list[Pending] = []
        size, at = 0, first
        while at is not None:
            group.append(at)
            size += at.size
            if len(group) >= GROUP_REQUESTS or size >= GROUP_BYTES:
                return group, False
            try:
                at = self._waiting.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _write(self, group: Sequence[Pending]) -> None:
        started = self._writing_since = self._clock()
        settled: list[tuple[Pending, Outcome]] = []
        taken: list[Taken] = []
        for pending in group:
            # Its sender has been told to come again.
            result = self._take(pending) if started < pending.deadline else Outcome("too_late")
            if isinstance(result, Taken):
                taken.append(result)
                result = Outcome("written", len(result.changes), len(result.refused))
            settled.append((pending, result))
        try:
            self._sink.write(taken)
        except Exception as error:  # whatever it was, no request of these may be told that it is written
            self._failed(error)
            settled = [(p, Outcome("unwritten") if o.fate == "written" else o) for p, o in settled]
            settled += [(pending, Outcome("unwritten")) for pending in self._all_waiting()]
        else:
            seconds = self._clock() - started
            if taken:
                self._worked()
                self._request_s += SMOOTHING * (seconds / len(group) - self._request_s)
                self._observer.wrote(taken, seconds)
        finally:
            self._writing_since = None
        self._settle(settled)

    def _take(self, pending: Pending) -> Taken | Outcome:
        """What is in a request; an outcome where it is too much at once."""
        config, context, message = self._config, pending.taking.context, pending.message
        origin, body = f"hooks/{context.source}", message.body or b""
        shape = shape_of(body, config.nesting_max, config.batch_events_max)
        if shape.depth > config.nesting_max:
            bad = Bad(
                "too_deep",
                f"the body is nested deeper than {config.nesting_max} levels; send it flatter, or raise serve.nesting_max",
            )
            return Taken(context, pending.received_ms, [], [refuse(context, origin, 0, body, bad, message.headers)])
        if shape.elements > config.batch_events_max:
            return Outcome("too_many_events")
        changes: list[bytes] = []
        refused: list[Refused] = []
        for item in pending.taking.take(message, origin, 0):
            if isinstance(item, Refused):
                refused.append(item)
            else:
                changes.append(item)
        return Taken(context, pending.received_ms, changes, refused)

    def _all_waiting(self) -> list[Pending]:
        """What waits, while nothing can be written: it is told so rather than kept. The end stays in the queue."""
        found: list[Pending] = []
        with suppress(queue.Empty):
            while True:
                at = self._waiting.get_nowait()
                if at is None:
                    self._waiting.put(None)
                    break
                found.append(at)
        return found

    def _settle(self, settled: Sequence[tuple[Pending, Outcome]]) -> None:
        loop = self._loop
        if settled and loop is not None:
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(self._answer, settled)

    def _answer(self, settled: Sequence[tuple[Pending, Outcome]]) -> None:
        """In the event loop: make room, and let the answers go."""
        for pending, outcome in settled:
            self._usage.requests -= 1
            self._usage.size -= pending.size
            if not pending.outcome.done():
                pending.outcome.set_result(outcome)

    def _probe_in_s(self) -> float | None:
        return None if self._reason is None else max(self._probe_at - self._clock(), 0.0)

    def _probe(self) -> None:
        self._writing_since = self._clock()
        try:
            self._sink.probe()
        except Exception as error:
            self._failed(error)
        else:
            self._worked()
        finally:
            self._writing_since = None

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        reason = str(error) if isinstance(error, PlanwatchError) else type(error).__name__
        if self._failures == 1:
            unforeseen = None if isinstance(error, PlanwatchError) else error
            log.error("what comes in cannot be written", extra={"fields": {"reason": reason}}, exc_info=unforeseen)
        self._reason = reason
        self._probe_at = self._clock() + jittered_s(self._failures, PROBE_FIRST_S, PROBE_MAX_S)
        self._observer.failed()

    def _worked(self) -> None:
        if self._failures:
            log.info("what comes in is written again", extra={"fields": {"failures": self._failures}})
        self._failures, self._reason = 0, None
