"""The outbox: what is to be delivered, kept in the journal until a receiver has it.

Delivery happens in a thread per receiver, so that a receiver that hangs holds back neither the others nor the caller.
The journal is written by the caller of `flush` alone.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson

from alerts.outcomes import Outcome, Receiver, Rejected, RetryAfter
from schemas.alert import Notification
from schemas.base import Strict
from storage.backoff import backoff_s
from storage.ports import Journal

US = 1_000_000
OUTBOX_MAX = 10_000
SENT_MAX = 10_000
BATCH_MAX = 100
ASKED_MAX_S = 3600.0  # the longest wait that a receiver may ask for
ATTEMPTS_MAX = 5_000  # at the longest backoff some 17 days
OUTBOX, NOTIFIED = "outbox", "notified"

log = logging.getLogger("planwatch.alerts")


class Waiting(Strict):
    """A notification on its way to one receiver."""

    receiver: str
    notification: Notification
    attempts: int = 0
    due_at: int = 0  # microseconds UTC by the clock that `flush` is given

    @property
    def key(self) -> str:
        """Its key in the outbox."""
        return f"{self.receiver}|{self.notification.key}"


class _Result(NamedTuple):
    key: str
    outcome: Outcome


class _Batch:
    """A batch that a thread is delivering to one receiver, in order, up to the first failure."""

    def __init__(self, receiver: Receiver, waiting: Sequence[Waiting]) -> None:
        self.results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._receiver, self._waiting = receiver, waiting
        self._thread = threading.Thread(target=self._run, name="planwatch-deliver", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for item in self._waiting:
            try:
                outcome = self._receiver.deliver(item.notification)
            except Exception as error:  # whatever it is, it is the receiver's fault and must stop nothing else
                outcome = RetryAfter(0.0, f"{type(error).__name__}: {error}")
            self.results.put(_Result(item.key, outcome))
            if isinstance(outcome, RetryAfter):
                return

    def wait(self, seconds: float) -> bool:
        """Whether it was done within so many seconds."""
        self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive()


class Outbox:
    """Delivers at least once and drops nothing but by its bound, which it logs."""

    def __init__(self, journal: Journal, size_max: int = OUTBOX_MAX) -> None:
        self._journal = journal
        self._size_max = size_max
        self._lock = threading.Lock()
        self._running: dict[str, _Batch] = {}
        self._failures: dict[str, int] = {}
        self._held_until: dict[str, int] = {}
        self._waiting = {key: Waiting.model_validate_json(payload) for key, payload in journal.items(OUTBOX)}
        self._forget_delivered()

    def __len__(self) -> int:
        return len(self._waiting)

    def _forget_delivered(self) -> None:
        """After a crash between noting a delivery and clearing it; and keep the note of deliveries bounded."""
        sent = [key for key, _ in self._journal.items(NOTIFIED) if key.startswith("sent|")]
        done = [key for key in self._waiting if f"sent|{key}" in set(sent)] if self._waiting else []
        self._remove(done)
        if len(sent) > SENT_MAX:
            self._journal.delete(NOTIFIED, sent[:-SENT_MAX])

    def add(self, receiver: str, notification: Notification) -> list[tuple[str, str, bytes]]:
        """Take it in. Returns the records for the journal, which the caller writes with its own, all or nothing."""
        item = Waiting(receiver=receiver, notification=notification)
        with self._lock:
            if item.key in self._waiting or self._journal.get(NOTIFIED, f"sent|{item.key}") is not None:
                return []
            while len(self._waiting) >= self._size_max:
                self._drop_one()
            self._waiting[item.key] = item
        return [(OUTBOX, item.key, item.model_dump_json().encode())]

    def _drop_one(self) -> None:
        """Good news goes first, the oldest of it."""
        good = (k for k, w in self._waiting.items() if all(a.state == "resolved" for a in w.notification.alerts))
        key = next(good, next(iter(self._waiting)))
        log.warning("The outbox is full (%d): dropped the notification %s.", self._size_max, key)
        self._remove([key])

    def flush(self, now: int, receivers: Mapping[str, Receiver], wait_s: float) -> None:
        """Deliver what is due. Waits at most `wait_s`; what takes longer goes on and is noted by a later call."""
        with self._lock:
            self._collect(now)
            started = [self._start(name, receiver, now) for name, receiver in receivers.items()]
            deadline = time.monotonic() + wait_s
            for batch in started:
                if batch is not None:
                    batch.wait(deadline - time.monotonic())
            self._collect(now)

    def _start(self, name: str, receiver: Receiver, now: int) -> _Batch | None:
        if name in self._running or not _is_due(self._held_until.get(name, 0), now):
            return None
        due = [w for w in self._waiting.values() if w.receiver == name and _is_due(w.due_at, now)]
        if not due:
            return None
        # What never failed goes before what did: one message that cannot be taken must not hold back the others.
        due.sort(key=lambda w: w.due_at)
        self._running[name] = _Batch(receiver, due[:BATCH_MAX])
        return self._running[name]

    def _collect(self, now: int) -> None:
        for name, batch in list(self._running.items()):
            done = batch.wait(0)
            finished: list[tuple[str, str]] = []
            while not batch.results.empty():
                result = batch.results.get()
                word = self._settle(name, result, now)
                if word:
                    finished.append((result.key, word))
            if finished:
                note = {"at": now}
                records = [(NOTIFIED, f"sent|{key}", orjson.dumps({**note, "outcome": word})) for key, word in finished]
                self._journal.put_many(records)
                self._remove(key for key, _ in finished)
            if done:
                del self._running[name]

    def _settle(self, name: str, result: _Result, now: int) -> str | None:
        """What became of it, in a word; nothing when it stays in the outbox."""
        outcome = result.outcome
        item = self._waiting.get(result.key)
        if isinstance(outcome, RetryAfter):
            return self._put_off(name, item, outcome, now) if item is not None else None
        if self._failures.pop(name, 0):
            log.warning("Receiver %s answers again.", name)
        self._held_until.pop(name, None)
        if isinstance(outcome, Rejected):
            log.warning("Receiver %s rejected the notification %s: %s", name, result.key, outcome.reason)
            return f"rejected: {outcome.reason}"
        return "delivered"

    def _put_off(self, name: str, item: Waiting, outcome: RetryAfter, now: int) -> str | None:
        attempts = item.attempts + 1
        if attempts >= ATTEMPTS_MAX:
            log.warning("Receiver %s: gave up on %s after %d attempts: %s", name, item.key, attempts, outcome.reason)
            return f"gave up: {outcome.reason}"
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        if failures == 1:
            log.warning("Receiver %s cannot be reached, will be tried again: %s", name, outcome.reason)
        wait_s = max(min(outcome.seconds, ASKED_MAX_S), backoff_s(max(attempts, failures)))
        due_at = now + int(wait_s * US)
        self._held_until[name] = due_at
        later = item.model_copy(update={"attempts": attempts, "due_at": due_at})
        self._waiting[item.key] = later
        self._journal.put(OUTBOX, item.key, later.model_dump_json().encode())
        return None

    def _remove(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        if keys:
            self._journal.delete(OUTBOX, keys)
            for key in keys:
                self._waiting.pop(key, None)


def _is_due(due_at: int, now: int) -> bool:
    # Further away than any wait can be: the clock was set back.
    return due_at <= now or due_at - now > int(ASKED_MAX_S * US)
