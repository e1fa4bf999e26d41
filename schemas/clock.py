"""The one clock port: now, in microseconds since 1970-01-01 UTC."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time; driven by hand in tests."""

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us

    def now(self) -> int:
        """The time it was last set to."""
        return self.now_us
