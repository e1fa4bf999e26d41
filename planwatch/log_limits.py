"""A limit on warnings that say the same again and again: an outage must not fill a disk, nor hide what else happens."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

BURST = 5
WINDOW_S = 60.0
KEYS_MAX = 1_000


class RepeatLimit(logging.Filter):
    """Lets the first few equal warnings and errors of each window through; the next one to pass says how many were not.

    Equal are those of one logger, level, text before its arguments, tenant and reason: so the same complaint about
    one offset after another is one. Below WARNING and from CRITICAL on everything passes.
    """

    def __init__(
        self, burst: int = BURST, window_s: float = WINDOW_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._burst, self._window_s, self._clock = burst, window_s, clock
        self._seen: OrderedDict[tuple[object, ...], list[float]] = OrderedDict()  # key → window's start, count
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is written."""
        if not logging.WARNING <= record.levelno < logging.CRITICAL:
            return True
        key, now = self._key(record), self._clock()
        with self._lock:
            start, count = self._seen.pop(key, [now, 0.0])
            suppressed = 0
            if now - start >= self._window_s:
                suppressed = max(int(count) - self._burst, 0)
                start, count = now, 0.0
            self._seen[key] = [start, count + 1]
            while len(self._seen) > KEYS_MAX:
                self._seen.popitem(last=False)
        if suppressed:
            record.repeated = suppressed
        return count < self._burst

    @staticmethod
    def _key(record: logging.LogRecord) -> tuple[object, ...]:
        facts = record.__dict__.get("fields")
        facts = {**record.__dict__, **(facts if isinstance(facts, dict) else {})}
        error = record.exc_info[0] if record.exc_info else None
        said = (str(part)[:200] for part in (record.msg, facts.get("tenant"), facts.get("reason")))
        return record.name, record.levelno, error, *said
